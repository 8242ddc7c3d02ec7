"""What a payment ships, as the books write it: a part of their one statement, only where there is something to ship."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

from domain.fulfilment import cycle_fulfilment_id, ships
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
