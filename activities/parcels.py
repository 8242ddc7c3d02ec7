"""How a fulfilment is changed: read under its lock, written with a line of its history and all that follows from it.

The payment is read after the lock is held. Whoever takes a payment back looks for its fulfilments in the transaction
that says so: one of the two waits for the other, and nothing goes out in between.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

from sqlalchemy import Row, text
from sqlalchemy.ext.asyncio import AsyncConnection

from activities.letters import columns_of
from activities.outbox import NewMessage, put
from activities.tasks import NewTask, close_task, open_task
from domain.fulfilment import Fulfilment, Standing, Status, Withdrawal, replacement_id, stop
from domain.ids import derive
from domain.letters import Reader
from domain.state import SYSTEM
from models.queries_fulfilment import PAYMENT, standing_of
from models.queries_letters import letter_set
from providers.letters.desk import compose

SHIPPED_TEMPLATE: Final = "shipped"
ORDER_CANCELED: Final = "its order was cancelled"


@dataclass(frozen=True, slots=True)
class Held:
    """A fulfilment whose row is locked. `moment` is the database's clock, or the subscription's where that is ahead."""

    id: str
    fulfilment: Fulfilment
    payment: Standing
    moment: datetime
    row: Row[Any]


@dataclass(frozen=True, slots=True)
class Line:
    """One line of the history. `at` None: now. `command_id`: of the request that asked for it."""

    kind: str
    actor: str = SYSTEM
    reason: str = ""
    data: Mapping[str, Any] = field(default_factory=dict[str, Any])
    at: datetime | None = None
    command_id: str | None = None


async def hold(connection: AsyncConnection, fulfilment_id: str) -> Held | None:
    """Lock it, and read how its payment stands. Two statements."""
    row = (await connection.execute(_HOLD, {"id": fulfilment_id})).one_or_none()
    if row is None:
        return None
    payment = standing_of((await connection.execute(PAYMENT, {"invoice": row.invoice_id})).one())
    fulfilment = Fulfilment(
        status=Status(row.status),
        withdrawal=Withdrawal(row.withdrawal),
        carrier=row.carrier,
        tracking=row.tracking,
        tracked_at=row.tracked_at,
        shipped_at=row.shipped_at,
        delivered_at=row.delivered_at,
        returned_at=row.returned_at,
        replaced=row.replaced,
    )
    return Held(row.id, fulfilment, payment, row.moment, row)


async def save(
    connection: AsyncConnection,
    held: Held,
    after: Fulfilment,
    line: Line | None,
    *,
    attention: str | None = None,
    tries: int = 0,
    reason: str | None = None,
) -> None:
    """Write it as it is now, its line where it is worth one, and what follows. `tries`: calls without an answer."""
    values = {
        "id": held.id,
        "status": after.status.value,
        "withdrawal": after.withdrawal.value,
        "carrier": after.carrier,
        "tracking": after.tracking,
        "tracked_at": after.tracked_at,
        "shipped_at": after.shipped_at,
        "delivered_at": after.delivered_at,
        "returned_at": after.returned_at,
        "replaced": after.replaced,
        "attention": attention,
        "tries": tries,
        "reason": reason,
        "lines": int(line is not None),
    }
    seq = await connection.scalar(_SAVE, values)
    if line is not None:
        await connection.execute(_TELL, _told(held.id, seq, line, held.moment))
    await _follow(connection, held, after)


async def pin(connection: AsyncConnection, held: Held, provider: str, batch_id: str | None = None) -> None:
    """To whom and where it goes, as that is now: the shipping address, else the billing address."""
    values = {"id": held.id, "customer": held.row.customer_id, "provider": provider, "batch": batch_id}
    await connection.execute(_PIN, values)


async def has_address(connection: AsyncConnection, held: Held) -> bool:
    """Whether there is anywhere to ship it to."""
    return await connection.scalar(_HAS_ADDRESS, {"customer": held.row.customer_id}) is not None


async def reship(connection: AsyncConnection, held: Held, line: Line) -> str:
    """Write the one that is sent in its place; returns its id."""
    identity = replacement_id(held.id)
    values = {"id": identity, "replaces": held.id, "at": held.moment}
    await connection.execute(_RESHIP, values)
    created = Line("created", line.actor, line.reason, {"replaces": held.id})
    await connection.execute(_TELL, _told(identity, 1, created, held.moment))
    return identity


async def stop_unpaid(connection: AsyncConnection, invoice_id: str) -> tuple[str, ...]:
    """What an invoice ships stays in where its payment is lost now. Returns what has to be asked back.

    To be called in the transaction that takes the payment back; one statement where it ships nothing.
    """
    due: list[str] = []
    for identity in (await connection.execute(_OF_INVOICE, {"invoice": invoice_id})).scalars().all():
        held = await hold(connection, identity)
        if held is None:
            continue
        if held.payment.is_lost:
            held = await halt(connection, held)
        if held.fulfilment.withdrawal is Withdrawal.DUE:
            due.append(identity)
    return tuple(due)


async def stop_of_order(
    connection: AsyncConnection, order_id: str, actor: str, *, also_of_subscriptions: bool
) -> tuple[Held, ...]:
    """What a cancelled order has paid stays in, whatever becomes of the money; safe to repeat.

    `also_of_subscriptions`: with the first cycles of those that it started. Those that are left alone are not returned.
    """
    of_order = {"order": order_id, "all": also_of_subscriptions}
    parcels: list[Held] = []
    for identity in (await connection.execute(_OF_ORDER, of_order)).scalars().all():
        held = await hold(connection, identity)
        if held is None:
            continue
        after = stop(held.fulfilment)
        if after != held.fulfilment:
            await save(connection, held, after, Line("stopped", actor, ORDER_CANCELED), reason=ORDER_CANCELED)
        parcels.append(Held(held.id, after, held.payment, held.moment, held.row))
    return tuple(parcels)


async def halt(connection: AsyncConnection, held: Held) -> Held:
    """Its payment is lost: stop it, or have people see to what is out already."""
    after, why = stop(held.fulfilment), f"its payment is {held.payment}"
    if after != held.fulfilment:
        await save(connection, held, after, Line("stopped", SYSTEM, why), reason=why)
    elif held.fulfilment.status in {Status.HANDED_OFF, Status.SHIPPED, Status.DELIVERED}:
        await open_task(connection, _task(held, why))
    return Held(held.id, after, held.payment, held.moment, held.row)


async def _follow(connection: AsyncConnection, held: Held, after: Fulfilment) -> None:
    before = held.fulfilment
    if after.status is Status.SHIPPED and before.status is not Status.SHIPPED:
        await _tell_customer(connection, held, after)
    if after.withdrawal is before.withdrawal:
        return
    stopped = Status.STOPPED in {after.status, before.status}
    why = held.row.reason or f"its payment is {held.payment}" if stopped else "it was canceled"
    if after.withdrawal is Withdrawal.DONE:
        await close_task(connection, _task(held, why).id, actor=SYSTEM, outcome="the provider does not ship it")
    elif after.withdrawal is not Withdrawal.DUE or after.status is Status.STOPPED:
        await open_task(connection, _task(held, why))


def _task(held: Held, why: str) -> NewTask:
    return NewTask(
        kind="fulfilment_withdrawal",
        title=f"Stop or call back the parcel of {held.row.description}: {why}",
        next_action=(
            "Look at the fulfilment: where the provider could not take it back, call them or the carrier, or ask the"
            " customer to send it back."
        ),
        subject_kind="fulfilment",
        subject_id=held.id,
        customer_id=held.row.customer_id,
        detail={"provider": held.row.provider, "tracking": held.row.tracking},
    )


async def _tell_customer(connection: AsyncConnection, held: Held, after: Fulfilment) -> None:
    """It is on its way: once for each parcel."""
    to = (await connection.execute(_READER, {"customer": held.row.customer_id})).one()
    if not to.email:
        return
    name = " ".join(part for part in (to.first_name, to.last_name) if part) or to.company
    facts = {
        "carrier": after.carrier,
        "tracking": after.tracking,
        "product": held.row.description,
        "subscription": held.row.subscription_id or "",
        "method": "",
    }
    reader = Reader(name, to.email, to.language, to.time_zone, to.first_name, to.last_name, to.company)
    letter = compose(await letter_set(connection), SHIPPED_TEMPLATE, facts, reader)
    await put(
        connection,
        NewMessage(
            id=shipped_message_id(held.id),
            customer_id=held.row.customer_id,
            recipient=to.email,
            at=held.moment.replace(microsecond=0),
            subscription_id=held.row.subscription_id,
            **columns_of(letter),
        ),
    )


def shipped_message_id(fulfilment_id: str) -> str:
    """The message that tells the customer of a parcel; it may well not be there."""
    return derive("msg", fulfilment_id, SHIPPED_TEMPLATE)


async def unsent(connection: AsyncConnection, fulfilments: Sequence[str]) -> tuple[str, ...]:
    """Messages about these that wait to be sent."""
    ids = [shipped_message_id(each) for each in fulfilments]
    return tuple((await connection.execute(_UNSENT, {"ids": ids})).scalars())


def _told(identity: str, seq: int, line: Line, moment: datetime) -> dict[str, Any]:
    return {
        "id": identity,
        "seq": seq,
        "at": line.at or moment,
        "kind": line.kind,
        "actor": line.actor,
        "reason": line.reason,
        "data": json.dumps(dict(line.data), ensure_ascii=False),
        "command": line.command_id,
    }


_HOLD = text(
    """
SELECT f.*, greatest(now(), f.at) AS moment, extract(epoch FROM now() - f.recorded_at)::float8 AS age_s
FROM fulfilments AS f WHERE f.id = :id FOR UPDATE
"""
)
_SAVE = text(
    """
UPDATE fulfilments SET status = :status, withdrawal = :withdrawal, carrier = :carrier, tracking = :tracking,
    tracked_at = :tracked_at, shipped_at = :shipped_at, delivered_at = :delivered_at, returned_at = :returned_at,
    replaced = :replaced, attention = :attention, reason = coalesce(:reason, reason),
    tries = :tries,
    handed_off_at = CASE WHEN :status = 'handed_off' THEN coalesce(handed_off_at, greatest(now(), at))
        ELSE handed_off_at END,
    event_seq = event_seq + :lines, updated_at = now()
WHERE id = :id RETURNING event_seq
"""
)
_TELL = text(
    """
INSERT INTO fulfilment_events (fulfilment_id, seq, at, kind, actor, reason, data, command_id)
VALUES (:id, :seq, :at, :kind, :actor, :reason, CAST(:data AS jsonb), :command) ON CONFLICT DO NOTHING
"""
)
# The order in which addresses are asked: where the customer wants parcels, else where the invoice goes.
_ADDRESS = """
    SELECT jsonb_build_object(
        'line1', a.line1, 'line2', a.line2, 'city', a.city, 'region', a.region, 'postal_code', a.postal_code,
        'country', a.country
    ) FROM addresses AS a WHERE a.customer_id = :customer
    ORDER BY (a.kind = 'shipping') DESC, a.is_default DESC, a.created_at DESC, a.id LIMIT 1
"""
_PIN = text(
    f"""
UPDATE fulfilments AS f SET address = ({_ADDRESS}), provider = :provider, batch_id = :batch,
    recipient = coalesce(nullif(concat_ws(', ', nullif(trim(concat(c.first_name, ' ', c.last_name)), ''),
        nullif(c.company, '')), ''), c.email)
FROM customers AS c WHERE c.id = f.customer_id AND f.id = :id
"""  # noqa: S608 - put together from constants
)
_HAS_ADDRESS = text("SELECT 1 FROM addresses WHERE customer_id = :customer LIMIT 1")
_OF_ORDER = text(
    """
SELECT f.id FROM fulfilments AS f JOIN invoices AS i ON i.id = f.invoice_id
WHERE i.order_id = :order AND (:all OR f.subscription_id IS NULL) ORDER BY f.id
"""
)
_OF_INVOICE = text("SELECT id FROM fulfilments WHERE invoice_id = :invoice ORDER BY id")
_RESHIP = text(
    """
INSERT INTO fulfilments (
    id, customer_id, subscription_id, cycle, order_id, invoice_id, product_id, price_id, description, quantity,
    test_mode, replaces_id, at
)
SELECT :id, customer_id, subscription_id, cycle, order_id, invoice_id, product_id, price_id, description, quantity,
    test_mode, id, :at
FROM fulfilments WHERE id = :replaces ON CONFLICT DO NOTHING
"""
)
_READER = text("SELECT email, first_name, last_name, company, language, time_zone FROM customers WHERE id = :customer")
_UNSENT = text("SELECT id FROM messages WHERE id = ANY(:ids) AND status = 'pending'")
