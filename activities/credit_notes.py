"""How a credit note is written: once, with the next number of its customer's series."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from domain.calendar import local_day
from domain.errors import Broken


async def write_credit_note(
    connection: AsyncConnection,
    *,
    id: str,  # noqa: A002 - its own id, beside four of others
    invoice_id: str,
    customer_id: str,
    refund_id: str | None,
    amount: int,
    currency: str,
    disposition: str,
    reason: str,
    actor: str,
    at: datetime,
    zone: str,
    test_mode: bool,
) -> str:
    """Write the note and give its number: `CN-`, the customer's prefix, and a count without gaps.

    One that is there already under this id stays as it is, and so does its number. `amount` in minor units, above zero;
    `disposition` is `refund`, `void` or `credit`; `zone` is where its date is read. Raises `Broken` without a customer.
    """
    # The customer's row is held until the commit: the next note counts this one, or this one never was.
    prefix = await connection.scalar(_SERIES, {"customer": customer_id})
    if prefix is None:
        raise Broken(f"customer {customer_id} is missing")
    known = await connection.scalar(_KNOWN, {"id": id})
    if known is not None:
        return known
    number = await connection.scalar(
        _WRITE,
        {
            "id": id,
            "prefix": prefix,
            "invoice": invoice_id,
            "customer": customer_id,
            "refund": refund_id,
            "amount": amount,
            "currency": currency,
            "disposition": disposition,
            "reason": reason,
            "actor": actor,
            "at": at,
            "local_date": local_day(at, zone).isoformat(),
            "test_mode": test_mode,
        },
    )
    return str(number)


_SERIES = text("SELECT invoice_prefix FROM customers WHERE id = :customer FOR NO KEY UPDATE")
_KNOWN = text("SELECT number FROM credit_notes WHERE id = :id")
_WRITE = text(
    """
INSERT INTO credit_notes (
    id, number, invoice_id, customer_id, refund_id, amount, currency, disposition, reason, actor, at, local_date,
    test_mode
)
SELECT :id, 'CN-' || :prefix || '-' || lpad((count(*) + 1)::text, 4, '0'), :invoice, CAST(:customer AS text), :refund,
    :amount, :currency, :disposition, :reason, :actor, :at, :local_date, :test_mode
FROM credit_notes WHERE customer_id = CAST(:customer AS text)
RETURNING number
"""
)
