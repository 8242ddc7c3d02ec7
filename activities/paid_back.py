"""A subscription is told what of its invoices went back, before whoever asked for it has the answer."""

from __future__ import annotations

from typing import Protocol

from sqlalchemy import text

from domain.paid_back import PaidBack
from domain.state import InvoiceReason
from models.session import Database


class Listener(Protocol):
    """How a subscription is told (`workflows.commands` is the real one)."""

    async def paid_back(self, subscription_id: str, told: PaidBack) -> None: ...


async def tell_paid_back(database: Database, listener: Listener, note_id: str) -> None:
    """Tell the subscription of a credit note that is in the books; safe to repeat."""
    async with database.begin() as connection:
        row = (await connection.execute(_NOTE, {"note": note_id})).one()
    told = PaidBack(note_id, row.cycle, InvoiceReason(row.reason), row.amount)
    await listener.paid_back(row.subscription_id, told)


_NOTE = text(
    """
SELECT n.amount, i.subscription_id, i.cycle, i.reason FROM credit_notes AS n JOIN invoices AS i ON i.id = n.invoice_id
WHERE n.id = :note
"""
)
