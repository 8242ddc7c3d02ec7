"""Reads of refunds, with their tries, their timeline and the credit note that documents them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from sqlalchemy import case, func, select
from sqlalchemy.ext.asyncio import AsyncSession

from models.billing import Attempt, Invoice
from models.paging import KeyPart, Keyset, Page, page
from models.refunds import CreditNote, Refund, RefundEvent, RefundTry

REFUNDS: Final = Keyset("refunds", (Refund.requested_at, Refund.id))


@dataclass(frozen=True, slots=True)
class RefundFilter:
    """Which refunds; None does not ask. `mode`: `test` or `live`."""

    status: str | None = None
    kind: str | None = None
    customer_id: str | None = None
    charge_id: str | None = None
    invoice_id: str | None = None
    subscription_id: str | None = None
    mode: str | None = None
    attention: bool | None = None


async def refund(session: AsyncSession, refund_id: str) -> Refund | None:
    return await session.get(Refund, refund_id)


async def refunds(
    session: AsyncSession, wanted: RefundFilter, *, after: tuple[KeyPart, ...] | None, limit: int
) -> Page[Refund]:
    statement = select(Refund)
    same = {
        Refund.status: wanted.status,
        Refund.kind: wanted.kind,
        Refund.customer_id: wanted.customer_id,
        Refund.attempt_id: wanted.charge_id,
        Refund.invoice_id: wanted.invoice_id,
        Refund.subscription_id: wanted.subscription_id,
        Refund.test_mode: None if wanted.mode is None else wanted.mode == "test",
    }
    for column, value in same.items():
        if value is not None:
            statement = statement.where(column == value)
    if wanted.attention is not None:
        marked = Refund.attention.is_not(None)
        statement = statement.where(marked if wanted.attention else ~marked)
    return await page(session, statement, REFUNDS, after=after, limit=limit)


async def refunds_of_invoice(session: AsyncSession, invoice_id: str) -> Sequence[Refund]:
    statement = select(Refund).where(Refund.invoice_id == invoice_id).order_by(Refund.requested_at, Refund.id)
    return (await session.scalars(statement)).all()


async def tries(session: AsyncSession, refund_id: str) -> Sequence[RefundTry]:
    statement = select(RefundTry).where(RefundTry.refund_id == refund_id).order_by(RefundTry.number)
    return (await session.scalars(statement)).all()


async def events(session: AsyncSession, refund_id: str) -> Sequence[RefundEvent]:
    statement = select(RefundEvent).where(RefundEvent.refund_id == refund_id).order_by(RefundEvent.seq)
    return (await session.scalars(statement)).all()


async def credit_note_of(session: AsyncSession, of: Refund) -> CreditNote | None:
    """The credit note of a refund that succeeded; found through its invoice, which has an index."""
    statement = select(CreditNote).where(CreditNote.invoice_id == of.invoice_id, CreditNote.refund_id == of.id)
    return (await session.scalars(statement)).one_or_none()


async def refundable(session: AsyncSession, charges: Sequence[str]) -> dict[str, int]:
    """Charge id → what may still be given back, in minor units: never more than is left of its invoice."""
    left = func.greatest(func.least(Attempt.amount - Attempt.returned, Invoice.total - Invoice.credited), 0)
    captured = (Attempt.status == "approved") & (func.coalesce(Attempt.settlement, "") != "voided")
    statement = (
        select(Attempt.id, case((captured, left), else_=0))
        .join(Invoice, Invoice.id == Attempt.invoice_id)
        .where(Attempt.id.in_(charges))
    )
    return {charge: int(amount) for charge, amount in await session.execute(statement)}


async def captured_charge_of(session: AsyncSession, invoice_id: str) -> Attempt | None:
    """The charge that paid this invoice; the newest, should there be more than one."""
    statement = (
        select(Attempt)
        .where(Attempt.invoice_id == invoice_id, Attempt.status == "approved")
        .order_by(Attempt.number.desc())
        .limit(1)
    )
    return (await session.scalars(statement)).one_or_none()
