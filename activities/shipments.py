"""What a payment ships, as the books write it: a part of their one statement, only where there is something to ship."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any, Final

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from domain.fulfilment import cycle_fulfilment_id, order_fulfilment_id, ships
from domain.state import Entry, State

# A part of the statement of `activities.books`; other renewals do not carry it.
SHIPS: Final = """,
shipped AS (
    INSERT INTO fulfilments (
        id, customer_id, subscription_id, cycle, invoice_id, product_id, price_id, description, quantity, test_mode, at
    )
    SELECT id, :customer, :subscription, cycle, invoice_id, product_id, price_id, description, quantity, :test_mode, at
    FROM jsonb_to_recordset(CAST(:fulfilments AS jsonb)) AS r(
        id text, cycle int, invoice_id text, product_id text, price_id text, description text, quantity int,
        at timestamptz
    )
    ON CONFLICT DO NOTHING
    RETURNING id, at
),
shipped_told AS (
    INSERT INTO fulfilment_events (fulfilment_id, seq, at, kind, actor)
    SELECT id, 1, at, 'created', 'system' FROM shipped
)
"""


@dataclass(frozen=True, slots=True)
class OrderParcel:
    """A line of an order that was paid by this invoice. `position`: its place in the order."""

    order_id: str
    position: int
    customer_id: str
    invoice_id: str
    product_id: str
    price_id: str | None
    description: str
    quantity: int
    test_mode: bool
    at: datetime


async def ship_order(connection: AsyncConnection, lines: Sequence[OrderParcel]) -> tuple[str, ...]:
    """Write what the paid lines of an order ship, those of physical products; returns what is to be dispatched.

    To be called in the transaction that writes the payment; safe to repeat. One statement.
    """
    rows = [
        asdict(line) | {"id": order_fulfilment_id(line.order_id, line.position), "at": line.at.isoformat()}
        for line in lines
    ]
    found = await connection.execute(_SHIP_ORDER, {"rows": json.dumps(rows, ensure_ascii=False)})
    return tuple(found.scalars())


def fulfilments_of(state: State, entries: Iterable[Entry]) -> list[dict[str, Any]]:
    """What these payments ship, by the terms in force: none change while an invoice is collected."""
    return [
        {
            "id": cycle_fulfilment_id(state.id, int(entry.data["cycle"] or 0)),
            "cycle": entry.data["cycle"],
            "invoice_id": entry.data["invoice_id"],
            "product_id": state.terms.product_id,
            "price_id": state.terms.price_id,
            "description": state.terms.product_name,
            "quantity": state.terms.quantity,
            "at": entry.at.isoformat(),
        }
        for entry in entries
        if ships(entry)
    ]


_SHIP_ORDER = text(
    """
WITH wanted AS (
    SELECT r.* FROM jsonb_to_recordset(CAST(:rows AS jsonb)) AS r(
        id text, order_id text, position int, customer_id text, invoice_id text, product_id text, price_id text,
        description text, quantity int, test_mode bool, at timestamptz
    )
    JOIN products AS p ON p.id = r.product_id AND p.physical
),
shipped AS (
    INSERT INTO fulfilments (
        id, customer_id, order_id, invoice_id, product_id, price_id, description, quantity, test_mode, at
    )
    SELECT id, customer_id, order_id, invoice_id, product_id, price_id, description, quantity, test_mode, at FROM wanted
    ON CONFLICT DO NOTHING RETURNING id, at
),
told AS (
    INSERT INTO fulfilment_events (fulfilment_id, seq, at, kind, actor)
    SELECT id, 1, at, 'created', 'system' FROM shipped
)
SELECT id FROM wanted ORDER BY position
"""
)
