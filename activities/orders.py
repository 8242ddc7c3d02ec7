"""What an order asks of the world: a charge, subscriptions that begin, and on a cancellation their end and the money.

Each activity writes the journal it was given first; ids of all that is made come from the order, so a step run twice
has done its work once.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from sqlalchemy import text
from temporalio import activity

from activities.alive import alive
from activities.books import payer
from activities.collector import Collector
from activities.courier import Courier
from activities.order_books import OrderBooks, write_order
from activities.parcels import stop_of_order
from domain.errors import NotFound, Refused
from domain.facts import Outcome, Recorded
from domain.fulfilment import Status, Withdrawal
from domain.ids import derive
from domain.links import NO_LINKS, LinkMaker
from domain.messages import AddDiscount, Cancel, Envelope, RemoveDiscount, Start, When
from domain.order_cancel import stays_in
from domain.order_messages import EndedSubscription, OrderFact, Started, StoppedParcel, Undone
from domain.order_state import Ending, OrderState, order_subscription_id
from domain.orders import apply, start_of
from domain.refund_messages import OpenRefund, RefundMode
from domain.refund_state import RefundState
from domain.state import SYSTEM, State
from models.queries_discounts import customer_discounts, fitting
from models.session import Database, database_now
from providers.gateways.base import Gateway


@dataclass(frozen=True, slots=True)
class OrderRequest:
    """What a step's activity needs: the order before it and the time. `give_up`: withdraw the charge before asking.

    `position`: the line whose subscription is to begin.
    """

    state: OrderState
    now: datetime
    give_up: bool = False
    position: int = 0


class RefundDoor(Protocol):
    """The way to a refund."""

    async def open(self, wanted: OpenRefund) -> RefundState: ...


class OrderDoor(Protocol):
    """The way to subscriptions and refunds."""

    @property
    def refunds(self) -> RefundDoor: ...

    async def start(self, start: Start, *, wait: bool = True) -> State | None: ...

    async def send(self, subscription_id: str, envelope: Envelope) -> State: ...


class OrderSteps:
    """Activities of orders. `gateway` gives the gateway of a name, `door` leads to subscriptions and refunds."""

    def __init__(
        self,
        database: Database,
        gateway: Callable[[str], Gateway],
        courier: Courier,
        door: OrderDoor,
        links: LinkMaker = NO_LINKS,
    ) -> None:
        self._links = links
        self._database = database
        self._courier = courier
        self._door = door
        self._collector = Collector(database, gateway, courier, OrderBooks(), links)

    @activity.defn(name="charge_order")
    @alive
    async def charge_order(self, request: OrderRequest) -> Outcome:
        """Ask the gateway for all that is due, or to take or give back what it holds; and write what came of it."""
        return await self._collector.charge(request.state, request.now)

    @activity.defn(name="ask_about_order")
    @alive
    async def ask_about_order(self, request: OrderRequest) -> Outcome:
        """Ask what became of the charge whose answer is missing; `give_up` withdraws it first."""
        return await self._collector.ask_gateway(request.state, request.now, give_up=request.give_up)

    @activity.defn(name="record_order")
    @alive
    async def record_order(self, request: OrderRequest) -> Recorded:
        """Write all lines of the journal; safe to repeat."""
        await self._write(request.state, request.state.seq - len(request.state.journal))
        return Recorded(request.state.seq)

    @activity.defn(name="start_order_line")
    @alive
    async def start_order_line(self, request: OrderRequest) -> Started:
        """Start the subscription of a line that the order has paid for; once, however often it is asked."""
        state = request.state
        start = start_of(state, request.position)
        await self._door.start(start)
        await self._discounts_since(start)
        fact = Started(request.position, start.id)
        await self._conclude(request, fact)
        return fact

    async def _discounts_since(self, start: Start) -> None:
        """What the customer was given since the order's lines were agreed, and what was taken back, from now on."""
        terms = start.terms
        async with self._database.session() as session:
            rows = await customer_discounts(session, start.customer_id)
            fit = fitting(rows, terms.currency, terms.product_id, await database_now(session))
        known = {one.id for one in start.discounts}
        for row in rows:
            if row.id in known and row.ended_at is not None:
                ended = Envelope(derive("cmd", start.id, row.id, "end"), RemoveDiscount(row.id), SYSTEM)
                await self._send_if_taken(start.id, ended)
        for one in fit:
            if one.id not in known:
                command = AddDiscount(one, terms.currency if one.amount else None)
                await self._send_if_taken(start.id, Envelope(derive("cmd", start.id, one.id), command, SYSTEM))

    async def _send_if_taken(self, subscription_id: str, envelope: Envelope) -> None:
        try:
            await self._door.send(subscription_id, envelope)
        except (Refused, NotFound):  # it has it, or has it no more
            return

    @activity.defn(name="undo_order")
    @alive
    async def undo_order(self, request: OrderRequest) -> Undone:
        """Stop what a cancelled order sends, end its subscriptions, give its money back: by a void, else a refund."""
        state = request.state
        ending = state.ending or Ending("system", "", give_back=False, end_subscriptions=False)
        await self._write(state, state.seq - len(state.journal))
        done = await self._told(state)
        if done is not None:
            return done
        # First of all: while the money is on its way back nothing leaves the house.
        parcels = await self._stop_parcels(state, ending)
        ended = await self._end_subscriptions(state, ending) if ending.end_subscriptions else ()
        refund_id, status, refusal = await self._give_back(state, ending)
        fact = Undone(ended, refund_id, status, refusal, parcels)
        await self._conclude(request, fact)
        return fact

    async def _stop_parcels(self, state: OrderState, ending: Ending) -> tuple[StoppedParcel, ...]:
        also = stays_in(of_subscription=True, give_back=ending.give_back, end_subscriptions=ending.end_subscriptions)
        async with self._database.begin() as connection:
            held = await stop_of_order(connection, state.id, ending.actor, also_of_subscriptions=also)
        await self._courier.dispatch([each.id for each in held if each.fulfilment.withdrawal is Withdrawal.DUE])
        return tuple(
            StoppedParcel(
                each.id,
                each.fulfilment.status.value,
                each.fulfilment.withdrawal.value,
                each.fulfilment.status is Status.STOPPED,
            )
            for each in held
        )

    async def _end_subscriptions(self, state: OrderState, ending: Ending) -> tuple[EndedSubscription, ...]:
        return tuple(
            [
                await self._end(order_subscription_id(state.id, position), state, ending)
                for position in sorted(state.started)
            ]
        )

    async def _end(self, subscription_id: str, state: OrderState, ending: Ending) -> EndedSubscription:
        envelope = Envelope(
            derive("cmd", state.id, subscription_id, "cancel"), Cancel(When.NOW), ending.actor, ending.reason
        )
        try:
            await self._door.send(subscription_id, envelope)
        except (Refused, NotFound) as refused:  # it is over already, or closed for good
            return EndedSubscription(subscription_id, refused.code)
        return EndedSubscription(subscription_id)

    async def _give_back(self, state: OrderState, ending: Ending) -> tuple[str | None, str | None, str | None]:
        """The refund and its status; or, where nothing goes back, the code of why."""
        if not ending.give_back or state.invoice_id is None:
            return None, None, None if ending.give_back else "kept"
        async with self._database.begin() as connection:
            charge = await connection.scalar(_CAPTURED, {"invoice": state.invoice_id})
        if charge is None:
            return None, None, "not_captured"
        wanted = OpenRefund(
            derive("re", state.id, "cancel"),
            charge,
            RefundMode.VOID_FIRST,
            ending.reason,
            ending.actor,
            test_mode=state.test_mode,
        )
        try:
            refund = await self._door.refunds.open(wanted)
        except (Refused, NotFound) as refused:  # disputed, or given back before
            return None, None, refused.code
        return refund.id, refund.status, None

    async def _conclude(self, request: OrderRequest, fact: OrderFact) -> None:
        """Write what was in the journal, the outcome and all that follows from it."""
        state = apply(request.state, fact, request.now)
        await self._write(state, request.state.seq - len(request.state.journal))

    async def _write(self, state: OrderState, since: int) -> None:
        """Write the lines after `since`; those that are there stay."""
        async with self._database.begin() as connection:
            to = await payer(connection, state.customer_id, self._links)
            entries = [entry for entry in state.journal if entry.seq > since]
            messages = await write_order(connection, state, entries, to)
        await self._courier.dispatch(messages)

    async def _told(self, state: OrderState) -> Undone | None:
        """What an earlier run of this cancellation has written: it stands."""
        async with self._database.begin() as connection:
            rows = (await connection.execute(_AFTER, {"order": state.id, "seq": state.seq})).all()
        if not rows:
            return None
        ended = [row.data for row in rows if row.kind in {"subscription_ended", "subscription_kept"}]
        back = next((row.data for row in rows if row.kind == "money_back"), None)
        kept = next((row.data for row in rows if row.kind == "money_kept"), None)
        return Undone(
            tuple(EndedSubscription(each["subscription_id"], each.get("code")) for each in ended),
            back["refund_id"] if back else None,
            back["status"] if back else None,
            kept["code"] if kept else None,
            tuple(
                StoppedParcel(
                    row.data["fulfilment_id"],
                    row.data["status"],
                    row.data["withdrawal"],
                    row.kind == "parcel_stopped",
                )
                for row in rows
                if row.kind in {"parcel_stopped", "parcel_stays"}
            ),
        )


_CAPTURED = text("SELECT id FROM attempts WHERE invoice_id = :invoice AND status = 'approved' LIMIT 1")
_AFTER = text("SELECT kind, data FROM order_events WHERE order_id = :order AND seq > :seq ORDER BY seq")
