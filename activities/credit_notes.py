"""How a credit note is written: once, with the next number of its customer's series."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import datetime

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from domain.calendar import local_day
from domain.errors import Broken
from domain.money import Money
from domain.tax import TaxShare, taxes_of_part


async def write_credit_note(
    connection: AsyncConnection,
    *,
    id: str,  # noqa: A002 - its own id, beside four of others
    invoice_id: str,
    customer_id: str,
    refund_id: str | None,
    amount: int,
    taxes: Sequence[TaxShare] = (),
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
    `taxes` is what of it is tax; `disposition` is `refund`, `void` or `credit`; `zone` is where its date is read.
    Raises `Broken` without a customer.
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
            "taxes": written(taxes),
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


async def taxes_of_credit(connection: AsyncConnection, invoice_id: str, amount: int) -> tuple[TaxShare, ...]:
    """What of so much of an invoice is tax, where others were credited before. Its row is held until the commit."""
    row = (await connection.execute(_TAXED, {"invoice": invoice_id})).one()
    if not row.taxes:
        return ()
    before = (await connection.execute(_BEFORE, {"invoice": invoice_id})).all()
    split: Counter[str] = Counter()
    for each in before:
        split.update(each.taxes)
    return taxes_of_part(
        read(row.taxes),
        Money(row.total, row.currency),
        Money(sum(each.amount for each in before), row.currency),
        Money(amount, row.currency),
        read(split),
    )


def written(taxes: Sequence[TaxShare]) -> str:
    """As the column `taxes` holds them: place → minor units."""
    return json.dumps({share.place: share.amount for share in taxes})


def read(taxes: Mapping[str, int]) -> tuple[TaxShare, ...]:
    """The other way round."""
    return tuple(TaxShare(place, amount) for place, amount in taxes.items())


_TAXED = text("SELECT total, currency, taxes FROM invoices WHERE id = :invoice FOR NO KEY UPDATE")
# What is on its way to a subscription has no note yet, and is split already.
_BEFORE = text(
    """
SELECT amount, taxes FROM credit_notes WHERE invoice_id = :invoice
UNION ALL
SELECT amount, taxes FROM credit_transfers WHERE invoice_id = :invoice AND status = 'pending'
"""
)
_SERIES = text("SELECT invoice_prefix FROM customers WHERE id = :customer FOR NO KEY UPDATE")
_KNOWN = text("SELECT number FROM credit_notes WHERE id = :id")
_WRITE = text(
    """
INSERT INTO credit_notes (
    id, number, invoice_id, customer_id, refund_id, amount, taxes, currency, disposition, reason, actor, at, local_date,
    test_mode
)
SELECT :id, 'CN-' || :prefix || '-' || lpad((count(*) + 1)::text, 4, '0'), :invoice, CAST(:customer AS text), :refund,
    :amount, CAST(:taxes AS jsonb), :currency, :disposition, :reason, :actor, :at, :local_date, :test_mode
FROM credit_notes WHERE customer_id = CAST(:customer AS text)
RETURNING number
"""
)
