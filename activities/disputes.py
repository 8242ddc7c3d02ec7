"""How a gateway's signed event is kept and acted upon: in the books once, whatever comes twice or out of order.

An event is kept first. What it does to its dispute follows in the same transaction, under a lock of that dispute:
status, money, task, blacklist. What it asks of the subscription is written there as due and done afterwards.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection
from temporalio import activity

from activities.blacklist import blacklist
from activities.courier import Courier
from activities.ledger import DoubleEntry, post
from activities.parcels import stop_unpaid
from activities.runs import Door
from activities.tasks import NewTask, close_task, move_deadline, open_task
from domain.blacklist import marks
from domain.business import Consequence
from domain.disputes import Dispute, DisputeEvent, DisputeStatus, Folded, consequences, fold, postings, read_event
from domain.errors import InvalidInput, NotFound, Refused
from domain.ids import derive
from domain.messages import Cancel, Command, Envelope, Pause, RefundChoice, When
from domain.money import Money
from domain.state import SYSTEM
from models.queries_business import dispute_rules
from models.session import Database

UNKNOWN_SALE: Final = "unknown_sale"
DUE, DONE, REFUSED = "due", "done", "refused"

# In the middle of a dispute no credit is given for a period whose payment may be lost.
_COMMANDS: Final[Mapping[Consequence, Command]] = {
    Consequence.PAUSE: Pause(When.PERIOD_END),
    Consequence.CANCEL: Cancel(When.NOW, RefundChoice.NONE),
}


@dataclass(frozen=True, slots=True)
class GatewayEventRequest:
    """An event whose signature was checked. `data` is the gateway's."""

    gateway: str
    event_id: str
    kind: str
    at: datetime
    data: dict[str, Any] = field(default_factory=dict[str, Any])


@dataclass(frozen=True, slots=True)
class TakenEvent:
    """What an event led to. `follow`: the dispute for whose subscription something is still to be done."""

    outcome: str
    follow: str | None = None


@dataclass(frozen=True, slots=True)
class _Sale:
    """The charge that a dispute is about, as far as the dispute needs it."""

    attempt: str
    invoice: str
    subscription: str | None
    order: str | None
    customer: str
    at: datetime
    test_mode: bool
    email: str
    fingerprint: str | None


class Disputes:
    """Activities of disputes. `door` leads to the subscriptions, `courier` to the parcels that are asked back."""

    def __init__(self, database: Database, door: Door, courier: Courier) -> None:
        self._database = database
        self._door = door
        self._courier = courier

    @activity.defn(name="take_gateway_event")
    async def take(self, request: GatewayEventRequest) -> TakenEvent:
        """Keep an event and do what it says to its dispute; safe to repeat.

        An event of a sale that is not in our books stays unhandled, with a task; the next event of its dispute, or the
        same one sent again, takes it up.
        """
        async with self._database.begin() as connection:
            try:
                event = read_event(request.kind, request.at, request.data)
            except InvalidInput as unreadable:
                await _keep(connection, request, None)
                return await _set_aside(connection, request, unreadable)
            if event is None:
                await _keep(connection, request, None)
                await _handled(connection, request.gateway, request.event_id, "ignored")
                return TakenEvent("ignored")
            dispute_id = derive("dis", request.gateway, event.dispute)
            await _keep(connection, request, dispute_id)
            await connection.execute(_LOCK, {"id": dispute_id})
            outcomes = await _take_waiting(connection, request.gateway, dispute_id)
            due = await connection.scalar(_IS_DUE, {"id": dispute_id, "due": DUE})
            parcels = (await connection.execute(_PARCELS, {"id": dispute_id})).scalars().all()
        await self._courier.dispatch(parcels)
        return TakenEvent(outcomes.get(request.event_id, "known"), dispute_id if due else None)

    @activity.defn(name="follow_dispute")
    async def follow(self, dispute_id: str) -> None:
        """Ask of the subscription, or of those an order started, what is due.

        A refusal is noted and is an answer: it may be over already.
        """
        async with self._database.begin() as connection:
            row = (await connection.execute(_CONSEQUENCE, {"id": dispute_id})).one()
        for status in DisputeStatus:
            due = row.consequence.get(status)
            if due is None or due["result"] != DUE:
                continue
            asked = Consequence(due["action"]), f"dispute {row.gateway_id} {status}"
            refusals = [await self._ask(each, derive("cmd", dispute_id, status), *asked) for each in row.subscriptions]
            # Of an order, each subscription is asked; it counts as refused where none of them took it.
            result = {"action": due["action"], "result": DONE}
            if refusals and None not in refusals:
                result = {"action": due["action"], "result": REFUSED, "code": refusals[0]}
            async with self._database.begin() as connection:
                await connection.execute(_LOCK, {"id": dispute_id})
                await connection.execute(_FOLLOWED, {"id": dispute_id, "result": json.dumps({status: result})})

    async def _ask(self, subscription: str, command_id: str, action: Consequence, reason: str) -> str | None:
        """The code of the refusal; None where it was taken."""
        try:
            await self._door.send(subscription, Envelope(command_id, _COMMANDS[action], SYSTEM, reason))
        except (Refused, NotFound) as refused:
            return refused.code
        return None


async def _keep(connection: AsyncConnection, request: GatewayEventRequest, dispute_id: str | None) -> None:
    body = {"at": request.at.isoformat(), "data": request.data}
    await connection.execute(
        _KEEP,
        {
            "gateway": request.gateway,
            "event": request.event_id,
            "kind": request.kind,
            "subject": dispute_id,
            "body": json.dumps(body),
        },
    )


async def _handled(connection: AsyncConnection, gateway: str, event_id: str, outcome: str) -> None:
    await connection.execute(_HANDLED, {"gateway": gateway, "event": event_id, "outcome": outcome})


async def _set_aside(connection: AsyncConnection, request: GatewayEventRequest, unreadable: InvalidInput) -> TakenEvent:
    """The gateway signed it, so it is kept; only a person can find out what it means."""
    why = f"{unreadable.field} {unreadable.message}"
    await open_task(
        connection,
        NewTask(
            kind="gateway_event_unreadable",
            title=f"An event of {request.gateway} cannot be read: {why}",
            next_action="Look the event up at the gateway; if it is about a dispute, enter what it says by hand.",
            subject_kind="gateway_event",
            subject_id=derive("gev", request.gateway, request.event_id),
            detail={"gateway": request.gateway, "event_id": request.event_id, "kind": request.kind},
        ),
    )
    await _handled(connection, request.gateway, request.event_id, f"unreadable: {why}")
    return TakenEvent("unreadable")


async def _take_waiting(connection: AsyncConnection, gateway: str, dispute_id: str) -> dict[str, str]:
    """Take the dispute's events that wait, in the gateway's order; event id → what it led to."""
    rows = (await connection.execute(_WAITING, {"id": dispute_id})).all()
    events: dict[str, DisputeEvent] = {}
    for row in rows:
        event = read_event(row.kind, datetime.fromisoformat(row.body["at"]), row.body["data"])
        if event is not None:
            events[row.event_id] = event
    outcomes: dict[str, str] = {}
    for event_id, event in sorted(events.items(), key=lambda each: (each[1].at, each[0])):
        sale = await _sale(connection, gateway, event.reference)
        if sale is None:
            await _ask_for_sale(connection, gateway, dispute_id, event)
            await connection.execute(_WAITS, {"gateway": gateway, "event": event_id, "outcome": UNKNOWN_SALE})
            outcomes[event_id] = UNKNOWN_SALE
            continue
        outcomes[event_id] = await _fold(connection, gateway, dispute_id, event, sale)
        await _handled(connection, gateway, event_id, outcomes[event_id])
    return outcomes


async def _fold(connection: AsyncConnection, gateway: str, dispute_id: str, event: DisputeEvent, sale: _Sale) -> str:
    """One event: its dispute, and in the same transaction all that follows from it in our own books."""
    known, consequence = await _known(connection, dispute_id)
    folded = fold(known, event)
    if folded.conflict is not None:
        await _show_conflict(connection, gateway, dispute_id, event, sale, folded.conflict)
        return f"conflict: {folded.conflict}"
    after = folded.dispute
    if after == known:
        return "changed nothing"
    rules = await dispute_rules(connection)
    due = consequences(known, after, rules)
    consequence |= {status.value: {"action": action.value, "result": DUE} for status, action in due.items()}
    was_lost = known is not None and known.status is DisputeStatus.LOST
    if after.status is DisputeStatus.LOST and not was_lost and rules.blacklist_on_lost:
        listed = marks(email=sale.email, fingerprints=[sale.fingerprint or ""])
        reason = f"lost the dispute {event.dispute} at {gateway}"
        await blacklist(connection, listed, cause=dispute_id, actor=SYSTEM, reason=reason)
        consequence["blacklisted"] = sorted(mark.kind.value for mark in listed)
    await connection.execute(_WRITE, _row(gateway, dispute_id, event, sale, after, consequence))
    await _post(connection, gateway, dispute_id, event, sale, folded)
    await stop_unpaid(connection, sale.invoice)
    await _tell_people(connection, dispute_id, known, after, sale)
    return after.status.value


async def _post(
    connection: AsyncConnection, gateway: str, dispute_id: str, event: DisputeEvent, sale: _Sale, folded: Folded
) -> None:
    dispute = folded.dispute
    for step in folded.steps:
        await post(
            connection,
            DoubleEntry(
                id=derive("led", dispute_id, step),
                # A test-mode subscription may be ahead of the gateway's clock: no dispute is older than its charge.
                at=max(event.at, sale.at),
                kind=f"dispute_{step}",
                postings=postings(step, gateway, amount=dispute.amount, fee=dispute.fee, currency=dispute.currency),
                description=f"dispute {step}",
                test_mode=sale.test_mode,
                customer_id=sale.customer,
                subscription_id=sale.subscription,
                invoice_id=sale.invoice,
                subject_id=dispute_id,
            ),
        )


async def _tell_people(
    connection: AsyncConnection, dispute_id: str, known: Dispute | None, after: Dispute, sale: _Sale
) -> None:
    """The task of a dispute: opened with it, its deadline the gateway's, closed by its outcome."""
    amount = Money(after.amount, after.currency)
    task = NewTask(
        kind="dispute",
        title=f"Answer the dispute of {amount}",
        next_action="Send the gateway the evidence before the deadline: order, delivery, messages; or let it be lost.",
        subject_kind="dispute",
        subject_id=dispute_id,
        customer_id=sale.customer,
        deadline=after.evidence_due_at,
        detail={"charge_id": sale.attempt, "reason": after.reason},
    )
    if after.status.is_final:
        await close_task(connection, task.id, actor=SYSTEM, outcome=f"the dispute was {after.status}")
    elif known is None:
        await open_task(connection, task)
    else:
        await move_deadline(connection, task.id, known.evidence_due_at, after.evidence_due_at)
    await close_task(connection, _unknown_sale(dispute_id), actor=SYSTEM, outcome="the sale is in our books by now")


async def _ask_for_sale(connection: AsyncConnection, gateway: str, dispute_id: str, event: DisputeEvent) -> None:
    await open_task(
        connection,
        NewTask(
            kind="dispute_unknown_sale",
            title=f"{gateway} has a dispute of {Money(event.amount, event.currency)} for a sale that is not ours",
            next_action=(
                "Find the sale in a comparison with the gateway's books. Once it is in ours, have the gateway send the"
                " event again."
            ),
            subject_kind="dispute",
            subject_id=dispute_id,
            deadline=event.evidence_due_at,
            detail={"gateway": gateway, "dispute": event.dispute, "reference": event.reference},
        ),
    )


async def _show_conflict(
    connection: AsyncConnection, gateway: str, dispute_id: str, event: DisputeEvent, sale: _Sale, why: str
) -> None:
    await open_task(
        connection,
        NewTask(
            kind="dispute_conflict",
            title=f"{gateway} contradicts itself about a dispute: {why}",
            next_action="Ask the gateway which is true. Our books keep the first word.",
            subject_kind="dispute",
            subject_id=dispute_id,
            customer_id=sale.customer,
            detail={"gateway": gateway, "dispute": event.dispute, "said": event.status.value},
        ),
    )


def _unknown_sale(dispute_id: str) -> str:
    return NewTask("dispute_unknown_sale", "", "", "dispute", dispute_id).id


def _row(
    gateway: str, dispute_id: str, event: DisputeEvent, sale: _Sale, after: Dispute, consequence: dict[str, Any]
) -> dict[str, Any]:
    return {
        "id": dispute_id,
        "gateway": gateway,
        "gateway_id": event.dispute,
        "attempt": sale.attempt,
        "invoice": sale.invoice,
        "subscription": sale.subscription,
        "order": sale.order,
        "customer": sale.customer,
        "amount": after.amount,
        "fee": after.fee,
        "currency": after.currency,
        "status": after.status.value,
        "reason": after.reason,
        "evidence_due_at": after.evidence_due_at,
        "opened_at": after.opened_at,
        "closed_at": after.closed_at,
        "consequence": json.dumps(consequence),
        "test_mode": sale.test_mode,
    }


async def _known(connection: AsyncConnection, dispute_id: str) -> tuple[Dispute | None, dict[str, Any]]:
    row = (await connection.execute(_KNOWN, {"id": dispute_id})).one_or_none()
    if row is None:
        return None, {}
    dispute = Dispute(
        DisputeStatus(row.status), row.reference, row.amount, row.currency, row.fee, row.reason, row.opened_at,
        row.evidence_due_at, row.closed_at,
    )  # fmt: skip
    return dispute, dict(row.consequence)


async def _sale(connection: AsyncConnection, gateway: str, reference: str) -> _Sale | None:
    row = (await connection.execute(_SALE, {"gateway": gateway, "reference": reference})).one_or_none()
    return _Sale(*row) if row is not None else None


_KEEP = text(
    """
INSERT INTO gateway_events (gateway, event_id, kind, subject_id, body)
VALUES (:gateway, :event, :kind, :subject, CAST(:body AS jsonb))
ON CONFLICT DO NOTHING
"""
)
_LOCK = text("SELECT pg_advisory_xact_lock(hashtextextended(:id, 0))")
_WAITING = text("SELECT event_id, kind, body FROM gateway_events WHERE subject_id = :id AND handled_at IS NULL")
_HANDLED = text(
    """
UPDATE gateway_events SET handled_at = now(), outcome = :outcome
WHERE gateway = :gateway AND event_id = :event AND handled_at IS NULL
"""
)
_WAITS = text("UPDATE gateway_events SET outcome = :outcome WHERE gateway = :gateway AND event_id = :event")
_SALE = text(
    """
SELECT a.id, a.invoice_id, a.subscription_id, a.order_id, a.customer_id, a.at, a.test_mode, c.email, m.fingerprint
FROM attempts AS a JOIN customers AS c ON c.id = a.customer_id
LEFT JOIN payment_methods AS m ON m.id = a.payment_method_id
WHERE a.reference = :reference AND a.gateway = :gateway
"""
)
_KNOWN = text(
    """
SELECT d.status, a.reference, d.amount, d.currency, d.fee, d.reason, d.opened_at, d.evidence_due_at, d.closed_at,
    d.consequence
FROM disputes AS d JOIN attempts AS a ON a.id = d.attempt_id WHERE d.id = :id
"""
)
_WRITE = text(
    """
INSERT INTO disputes (
    id, gateway, gateway_id, attempt_id, invoice_id, subscription_id, order_id, customer_id, amount, fee, currency,
    status, reason, evidence_due_at, opened_at, closed_at, consequence, test_mode
) VALUES (
    :id, :gateway, :gateway_id, :attempt, :invoice, :subscription, :order, :customer, :amount, :fee, :currency, :status,
    :reason, :evidence_due_at, :opened_at, :closed_at, CAST(:consequence AS jsonb), :test_mode
)
ON CONFLICT (id) DO UPDATE SET
    fee = excluded.fee, status = excluded.status, reason = excluded.reason,
    evidence_due_at = excluded.evidence_due_at, opened_at = excluded.opened_at, closed_at = excluded.closed_at,
    consequence = excluded.consequence, updated_at = now()
"""
)
_IS_DUE = text(
    """
SELECT true FROM disputes, jsonb_each(consequence) AS each(cause, said)
WHERE id = :id AND said ->> 'result' = :due LIMIT 1
"""
)
_PARCELS = text(
    """
SELECT f.id FROM fulfilments AS f JOIN disputes AS d ON d.invoice_id = f.invoice_id
WHERE d.id = :id AND f.withdrawal = 'due' ORDER BY f.id
"""
)
_CONSEQUENCE = text(
    """
SELECT d.gateway_id, d.consequence, array_remove(
    d.subscription_id || ARRAY(SELECT l.subscription_id FROM order_lines AS l WHERE l.order_id = d.order_id), NULL
) AS subscriptions FROM disputes AS d WHERE d.id = :id
"""
)
_FOLLOWED = text("UPDATE disputes SET consequence = consequence || CAST(:result AS jsonb) WHERE id = :id")
