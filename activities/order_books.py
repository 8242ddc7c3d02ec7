"""How an order reaches the books: its row, lines and timeline, and all that follows from the lines of its journal.

Invoices, ledger and letters follow by the same statement as a subscription's (`activities.books`). Everything has an id
made from the order and the entry, so a repetition adds nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import TextClause, text
from sqlalchemy.ext.asyncio import AsyncConnection

from activities.attempts import Owner
from activities.books import FOLLOWS, Payer, as_json, followed
from activities.letters import LetterSubject, rows_for
from activities.shipments import OrderParcel, ship_order
from activities.told import Told
from domain.facts import Outcome
from domain.links import Link
from domain.order_lines import LINES_MAX, due_by_line
from domain.order_state import OrderState, order_subscription_id
from domain.orders import apply, attention, collecting_of
from domain.state import Entry
from models.queries_links import keep_link

NAMED_MAX = 3  # lines that a letter names


class OrderBooks:
    """An order as a debtor (see `activities.collector.Books`)."""

    def owner(self, state: OrderState) -> Owner:
        collecting = collecting_of(state)
        return Owner(
            reference=f"charge:{state.id}:{collecting.sequence}:{collecting.attempt}",
            description=f"order {state.id}",
            customer_id=state.customer_id,
            currency=state.currency,
            test_mode=state.test_mode,
            order_id=state.id,
        )

    def apply(self, state: OrderState, outcome: Outcome, now: datetime) -> OrderState:
        return apply(state, outcome, now)

    async def write(
        self,
        connection: AsyncConnection,
        state: OrderState,
        entries: Sequence[Entry],
        to: Payer,
        now: datetime,  # noqa: ARG002 - an order's row has no clock of its own
        *,
        first: bool = False,
        tell: Sequence[Entry] | None = None,
    ) -> tuple[str, ...]:
        return await write_order(connection, state, entries, to, first=first, tell=tell)

    async def told(self, connection: AsyncConnection, state: OrderState) -> Told | None:
        row = (await connection.execute(_NEXT, {"order": state.id, "seq": state.seq + 1})).one_or_none()
        return Told(row.kind, row.data) if row is not None else None


async def write_order(
    connection: AsyncConnection,
    state: OrderState,
    entries: Sequence[Entry],
    to: Payer,
    *,
    first: bool = False,
    tell: Sequence[Entry] | None = None,
) -> tuple[str, ...]:
    """Write these lines of the timeline, the order's row and its lines; returns the ids of the messages to send.

    Safe to repeat with the same entries. `first`: another outcome of the same step must not have been written in the
    meantime; raises `IntegrityError` where one was.
    """
    row = _row(state)
    await connection.execute(_NEW, row)
    number = await connection.scalar(_ROW, row)
    if number is not None:  # else the books are further already
        lines = as_json(_lines(state))
        await connection.execute(_LINES, {"order": state.id, "lines": lines})
        await connection.execute(_NO_LINES, {"order": state.id, "last": len(state.lines)})
    named = [(method.id, str(method)) for method in to.methods]
    subject = LetterSubject(state.id, _sold(state, number), invoice_id=state.invoice_id if state.collecting else None)
    messages = rows_for(subject, entries if tell is None else tell, to.reader, to.letters, named, to.links)
    pays: list[Link] = [link for message in messages if (link := message.pop("pays")) is not None]
    parameters = {"subscription": None, "order": state.id, **followed(state, entries, messages)}
    await connection.execute(_FIRST if first else _AGAIN, parameters)
    for link in pays:
        await keep_link(connection, link, customer_id=state.customer_id, actor="letter")
    if any(_frees_codes(state, entry) for entry in entries):
        await _free_codes(connection, state)
    parcels = await ship_order(connection, _parcels(state, entries))
    return (*(message["id"] for message in messages), *parcels)


def _frees_codes(state: OrderState, entry: Entry) -> bool:
    """Whether a promotion code may be free again: nothing was bought with it, or its line is gone."""
    unpaid = state.paid_at is None and entry.kind in {"order_canceled", "order_lapsed"}
    return unpaid or entry.kind == "lines_changed"


async def _free_codes(connection: AsyncConnection, state: OrderState) -> None:
    over = state.ended_at is not None
    kept = [] if over else [one.id for line in state.lines for one in line.discounts]
    ours = [order_subscription_id(state.id, position) for position in range(1, LINES_MAX + 1)]
    await connection.execute(_FREE, {"customer": state.customer_id, "subscriptions": ours, "kept": kept})


def _parcels(state: OrderState, entries: Sequence[Entry]) -> list[OrderParcel]:
    """What is sent once it is paid: one-time lines. A subscription's first cycle ships with its own beginning."""
    return [
        OrderParcel(
            order_id=state.id,
            position=line.position,
            customer_id=state.customer_id,
            invoice_id=str(entry.data["invoice_id"]),
            product_id=line.product_id,
            price_id=line.price_id,
            description=line.description,
            quantity=line.quantity,
            test_mode=state.test_mode,
            at=entry.at,
        )
        for entry in entries
        if entry.kind == "order_paid" and entry.data["invoice_id"] is not None
        for line in state.lines
        if line.terms is None and line.product_id is not None
    ]


def _row(state: OrderState) -> dict[str, Any]:
    return {
        "id": state.id,
        "external_id": state.external_id,
        "customer": state.customer_id,
        "basket": state.basket_id,
        "channel": state.channel.value,
        "funnel": state.funnel,
        "page": state.page,
        "agent": state.agent,
        "status": state.status.value,
        "currency": state.currency,
        "total": state.total,
        "revision": state.revision,
        "invoice": state.invoice_id,
        "attention": attention(state),
        "test_mode": state.test_mode,
        "seq": state.seq,
        "created_at": state.created_at,
        "placed_at": state.placed_at,
        "paid_at": state.paid_at,
        "ended_at": state.ended_at,
    }


def _lines(state: OrderState) -> list[dict[str, Any]]:
    due = due_by_line(state.dues)
    return [
        {
            "position": line.position,
            "kind": line.kind.value,
            "description": line.description,
            "product_id": line.product_id,
            "price_id": line.price_id,
            "quantity": line.quantity,
            "unit_amount": line.unit_amount,
            "list_amount": line.list_amount,
            "reason": line.reason,
            "due_now": due.get(line.position, 0),
            "start_at": line.start_at.isoformat() if line.start_at else None,
            "subscription_id": (
                order_subscription_id(state.id, line.position) if line.position in state.started else None
            ),
        }
        for line in state.lines
    ]


def _sold(state: OrderState, number: str | None) -> str:
    """What the order is called in letters of any language: what it is for, and its number."""
    named = [line.description for line in state.lines[:NAMED_MAX]]
    more = ["…"] if len(state.lines) > NAMED_MAX else []
    what = ", ".join([*named, *more])
    return f"{what} ({number})" if number is not None else what


# A number is drawn only for an order that has none yet.
_NEW: TextClause = text(
    """
INSERT INTO orders (
    id, number, external_id, customer_id, basket_id, channel, funnel, page, agent, status, currency, total, revision,
    invoice_id, attention, test_mode, event_seq, created_at, placed_at, paid_at, ended_at
)
SELECT CAST(:id AS text), 'O-' || nextval('order_numbers'), :external_id, :customer, :basket, :channel, :funnel, :page,
    :agent, :status, :currency, :total, :revision, :invoice, :attention, :test_mode, :seq, :created_at, :placed_at,
    :paid_at, :ended_at
WHERE NOT EXISTS (SELECT 1 FROM orders WHERE id = CAST(:id AS text))
ON CONFLICT (id) DO NOTHING
"""
)
_ROW: TextClause = text(
    """
UPDATE orders SET customer_id = :customer, status = :status,
    total = :total, revision = :revision, invoice_id = :invoice,
    attention = :attention, event_seq = :seq, placed_at = :placed_at, paid_at = :paid_at, ended_at = :ended_at,
    updated_at = now()
WHERE id = :id AND event_seq <= :seq
RETURNING number
"""
)
_LINES: TextClause = text(
    """
INSERT INTO order_lines AS l (
    order_id, position, kind, description, product_id, price_id, quantity, unit_amount, amount, list_amount, reason,
    due_now, start_at, subscription_id
)
SELECT :order, r.position, r.kind, r.description, r.product_id, r.price_id, r.quantity, r.unit_amount,
    r.quantity * r.unit_amount, r.list_amount, r.reason, r.due_now, r.start_at, r.subscription_id
FROM jsonb_to_recordset(CAST(:lines AS jsonb)) AS r(
    position int, kind text, description text, product_id text, price_id text, quantity int, unit_amount bigint,
    list_amount bigint, reason text, due_now bigint, start_at timestamptz, subscription_id text
)
ON CONFLICT (order_id, position) DO UPDATE SET
    kind = excluded.kind, description = excluded.description, product_id = excluded.product_id,
    price_id = excluded.price_id, quantity = excluded.quantity, unit_amount = excluded.unit_amount,
    amount = excluded.amount, list_amount = excluded.list_amount, reason = excluded.reason, due_now = excluded.due_now,
    start_at = excluded.start_at, subscription_id = excluded.subscription_id
"""
)
_NO_LINES: TextClause = text("DELETE FROM order_lines WHERE order_id = :order AND position > :last")
_FREE: TextClause = text(
    """
WITH back AS (
    UPDATE redemptions SET status = 'given_back', ended_at = now()
    WHERE customer_id = :customer AND subscription_id = ANY(:subscriptions) AND status <> 'given_back'
        AND NOT id = ANY(CAST(:kept AS text[]))
    RETURNING coupon_id, promotion_code_id
),
coupon AS (UPDATE coupons SET redeemed = redeemed - 1 FROM back WHERE coupons.id = back.coupon_id)
UPDATE promotion_codes SET redeemed = redeemed - 1 FROM back WHERE promotion_codes.id = back.promotion_code_id
"""
)
_EVENTS = """
WITH events AS (
    INSERT INTO order_events (order_id, seq, at, kind, actor, reason, data)
    SELECT :order, seq, at, kind, actor, reason, data
    FROM jsonb_to_recordset(CAST(:events AS jsonb))
        AS r(seq int, at timestamptz, kind text, actor text, reason text, data jsonb)
    /* again */
),
"""
_FIRST: TextClause = text(_EVENTS + FOLLOWS)
_AGAIN: TextClause = text(_EVENTS.replace("/* again */", "ON CONFLICT DO NOTHING") + FOLLOWS)
_NEXT: TextClause = text("SELECT kind, data FROM order_events WHERE order_id = :order AND seq = :seq")
