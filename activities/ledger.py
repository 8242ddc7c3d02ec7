"""Double entries that are not a line of a subscription's timeline: refunds, disputes, vouchers, corrections."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from domain.calendar import whole_second
from domain.ledger import Posting, balanced


@dataclass(frozen=True, slots=True)
class DoubleEntry:
    """One movement of money. `id` is made from what it is about, so that a repetition adds nothing.

    `subject_id`: the refund, dispute, voucher or difference it belongs to.
    """

    id: str
    at: datetime
    kind: str
    postings: Sequence[Posting]
    description: str
    test_mode: bool
    customer_id: str | None = None
    subscription_id: str | None = None
    invoice_id: str | None = None
    subject_id: str | None = None


async def post(connection: AsyncConnection, entry: DoubleEntry) -> bool:
    """Write an entry once; False where it was written before. Raises `Broken` if it does not sum to zero."""
    sides = balanced(entry.kind, entry.postings)
    written = await connection.scalar(
        _ENTRY,
        {
            "id": entry.id,
            # The books count whole seconds, so that what is asked of an instant has all that happened at it.
            "at": whole_second(entry.at),
            "kind": entry.kind,
            "customer": entry.customer_id,
            "subscription": entry.subscription_id,
            "invoice": entry.invoice_id,
            "subject": entry.subject_id,
            "description": entry.description,
            "test_mode": entry.test_mode,
        },
    )
    if written is None:
        return False
    await connection.execute(
        _POSTINGS,
        [
            {
                "entry": entry.id,
                "position": place,
                "account": side.account,
                "currency": side.currency,
                "amount": side.amount,
            }
            for place, side in enumerate(sides, start=1)
        ],
    )
    return True


async def balance(connection: AsyncConnection, account: str, currency: str) -> int:
    """What an account holds now: debit above zero, credit below."""
    return int(await connection.scalar(_BALANCE, {"account": account, "currency": currency}) or 0)


_ENTRY = text(
    """
INSERT INTO ledger_entries (
    id, at, kind, customer_id, subscription_id, invoice_id, subject_id, description, test_mode
) VALUES (:id, :at, :kind, :customer, :subscription, :invoice, :subject, :description, :test_mode)
ON CONFLICT DO NOTHING RETURNING id
"""
)
_POSTINGS = text(
    """
INSERT INTO ledger_postings (entry_id, position, account, currency, amount)
VALUES (:entry, :position, :account, :currency, :amount)
"""
)
_BALANCE = text("SELECT sum(amount)::bigint FROM ledger_postings WHERE account = :account AND currency = :currency")
