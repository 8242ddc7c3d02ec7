"""Reads of fulfilments, their histories, and the batches that were handed off as files."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from sqlalchemy import select, text
from sqlalchemy.ext.asyncio import AsyncSession

from domain.fulfilment import Standing, standing
from models.fulfilment import Fulfilment, FulfilmentBatch, FulfilmentEvent
from models.paging import KeyPart, Keyset, Page, page

FULFILMENTS: Final = Keyset("fulfilments", (Fulfilment.at, Fulfilment.id))
BATCHES: Final = Keyset("fulfilment_batches", (FulfilmentBatch.created_at, FulfilmentBatch.id))

# How the payment of an invoice stands. A lost dispute took the money as well; only a won one leaves it with us.
PAYMENT: Final = text(
    """
SELECT i.status, i.amount_due,
    coalesce((SELECT sum(r.amount) FROM refunds AS r WHERE r.invoice_id = i.id AND r.status = 'succeeded'), 0)::bigint
        AS returned,
    coalesce((SELECT sum(a.returned) FROM attempts AS a WHERE a.invoice_id = i.id), 0)::bigint AS held,
    EXISTS (SELECT 1 FROM attempts AS a WHERE a.invoice_id = i.id AND a.settlement = 'voided') AS voided,
    EXISTS (SELECT 1 FROM disputes AS d WHERE d.invoice_id = i.id AND d.status <> 'won') AS disputed
FROM invoices AS i WHERE i.id = :invoice
"""
)


@dataclass(frozen=True, slots=True)
class FulfilmentFilter:
    """Which fulfilments; None does not ask. `since` counts, `until` does not."""

    status: str | None = None
    customer_id: str | None = None
    subscription_id: str | None = None
    order_id: str | None = None
    invoice_id: str | None = None
    batch_id: str | None = None
    since: datetime | None = None
    until: datetime | None = None
    attention: bool | None = None
    test_mode: bool | None = None


async def fulfilment(session: AsyncSession, fulfilment_id: str) -> Fulfilment | None:
    return await session.get(Fulfilment, fulfilment_id)


async def fulfilments(
    session: AsyncSession, wanted: FulfilmentFilter, *, after: tuple[KeyPart, ...] | None, limit: int
) -> Page[Fulfilment]:
    """Newest first."""
    statement = select(Fulfilment)
    for name in ("status", "customer_id", "subscription_id", "order_id", "invoice_id", "batch_id", "test_mode"):
        value = getattr(wanted, name)
        if value is not None:
            statement = statement.where(getattr(Fulfilment, name) == value)
    if wanted.since is not None:
        statement = statement.where(Fulfilment.at >= wanted.since)
    if wanted.until is not None:
        statement = statement.where(Fulfilment.at < wanted.until)
    if wanted.attention is not None:
        waits = Fulfilment.attention.is_not(None)
        statement = statement.where(waits if wanted.attention else ~waits)
    return await page(session, statement, FULFILMENTS, after=after, limit=limit)


async def history(session: AsyncSession, fulfilment_id: str) -> Sequence[FulfilmentEvent]:
    """All that happened to it, in order."""
    statement = (
        select(FulfilmentEvent).where(FulfilmentEvent.fulfilment_id == fulfilment_id).order_by(FulfilmentEvent.seq)
    )
    return (await session.scalars(statement)).all()


async def replaced_by(session: AsyncSession, fulfilment_id: str) -> str | None:
    """What was sent in its place."""
    return await session.scalar(select(Fulfilment.id).where(Fulfilment.replaces_id == fulfilment_id))


async def payment_of(session: AsyncSession, invoice_id: str) -> Standing:
    """How its payment stands."""
    return standing_of((await session.execute(PAYMENT, {"invoice": invoice_id})).one())


def standing_of(row: Any) -> Standing:
    """A row of `PAYMENT` as what is decided on."""
    return standing(
        invoice=row.status,
        amount_due=row.amount_due,
        returned=row.returned,
        held=row.held,
        voided=row.voided,
        disputed=row.disputed,
    )


async def batch(session: AsyncSession, batch_id: str) -> FulfilmentBatch | None:
    return await session.get(FulfilmentBatch, batch_id)


async def batches(session: AsyncSession, *, after: tuple[KeyPart, ...] | None, limit: int) -> Page[FulfilmentBatch]:
    return await page(session, select(FulfilmentBatch), BATCHES, after=after, limit=limit)


async def batch_rows(session: AsyncSession, batch_id: str) -> Sequence[Any]:
    """What the file of a batch says, in the order of payment."""
    return (await session.execute(_BATCH_ROWS, {"batch": batch_id})).mappings().all()


_BATCH_ROWS = text(
    """
SELECT f.id AS fulfilment_id, coalesce(f.order_id, concat(f.subscription_id, ' / ', f.cycle)) AS reference,
    f.recipient, f.address ->> 'line1' AS line1, f.address ->> 'line2' AS line2, f.address ->> 'city' AS city,
    f.address ->> 'region' AS region, f.address ->> 'postal_code' AS postal_code, f.address ->> 'country' AS country,
    p.code AS product, f.description, coalesce(pr.option, '') AS option, f.quantity, f.status
FROM fulfilments AS f JOIN products AS p ON p.id = f.product_id LEFT JOIN prices AS pr ON pr.id = f.price_id
WHERE f.batch_id = :batch ORDER BY f.at, f.id
"""
)
