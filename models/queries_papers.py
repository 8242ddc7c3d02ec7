"""Reads for documents: everything that an invoice says on paper, as of one moment."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime
from typing import Final

from sqlalchemy import or_, select
from sqlalchemy.ext.asyncio import AsyncSession

from domain.papers import InvoicePaper, PaperLine, PaperNote, PaperPayment, PaperTax, Seller
from models.billing import Attempt, Invoice, InvoiceLine
from models.customers import Address, Customer, PaymentMethod
from models.merges import MergeMove
from models.orders import Order
from models.queries_business import SELLER, seller_of
from models.queries_merges import owner_when_issued
from models.refunds import CreditNote
from models.tasks import BusinessPolicyChange

APPROVED: Final = "approved"
_NUMBER: Final = select(Order.number)


async def invoice_paper(session: AsyncSession, invoice_id: str) -> InvoicePaper | None:
    """What this invoice says on paper; None where there is no such invoice.

    The seller is who they were when it was issued, so a later move does not change it; the buyer is the customer it was
    issued to, also when that one was merged into another. Payments and credit notes are
    those there are now.
    """
    row = await session.get(Invoice, invoice_id)
    if row is None:
        return None
    issued_to = await owner_when_issued(session, "invoices.customer_id", row.id, row.customer_id)
    customer = await session.get(Customer, issued_to)
    if customer is None:
        return None
    parts = select(InvoiceLine).where(InvoiceLine.invoice_id == invoice_id).order_by(InvoiceLine.position)
    lines = (await session.scalars(parts)).all()
    notes = await session.scalars(
        select(CreditNote).where(CreditNote.invoice_id == invoice_id).order_by(CreditNote.number)
    )
    buyer, country = await _buyer(session, customer)
    return InvoicePaper(
        number=row.number,
        on=date.fromisoformat(row.local_date),
        language=customer.language,
        zone=customer.time_zone,
        currency=row.currency,
        status=row.status,
        test_mode=row.test_mode,
        seller=await _seller_then(session, row.issued_at),
        buyer=buyer,
        buyer_country=country,
        buyer_tax_id=customer.tax_id or "",
        subscription=row.subscription_id,
        order=None if row.order_id is None else await session.scalar(_NUMBER.where(Order.id == row.order_id)),
        lines=tuple(
            PaperLine(
                line.description,
                line.quantity,
                line.unit_amount,
                line.amount,
                _period(line),
                tuple((share["name"], share["amount"]) for share in line.discounts),
            )
            for line in lines
        ),
        total=row.total,
        credit_applied=row.credit_applied,
        amount_due=row.amount_due,
        payments=await _payments(session, invoice_id),
        taxes=rates_of(lines),
        net=row.total - row.tax,
        notes=tuple(PaperNote(note.number, date.fromisoformat(note.local_date), note.amount) for note in notes),
    )


def rates_of(lines: Sequence[InvoiceLine]) -> tuple[PaperTax, ...]:
    """What the lines of each rate add up to, in the order in which they first appear."""
    sums: dict[tuple[str, int, bool, str | None], tuple[int, int]] = {}
    for line in lines:
        if line.tax_place is None:
            continue
        key = (line.tax_place, line.tax_rate or 0, line.tax_inclusive, line.tax_reason)
        net, tax = sums.get(key, (0, 0))
        sums[key] = net + line.net, tax + line.tax
    return tuple(PaperTax(*key, net, tax) for key, (net, tax) in sums.items())


def _period(line: InvoiceLine) -> tuple[datetime, datetime] | None:
    return None if line.period_start is None or line.period_end is None else (line.period_start, line.period_end)


async def _seller_then(session: AsyncSession, at: datetime) -> Seller:
    """As it was set then; where it was set only afterwards, as it was set first."""
    changes = select(BusinessPolicyChange.new).where(BusinessPolicyChange.key == SELLER)
    then = changes.where(BusinessPolicyChange.at <= at).order_by(BusinessPolicyChange.id.desc()).limit(1)
    first = changes.order_by(BusinessPolicyChange.id).limit(1)
    return seller_of(await session.scalar(then) or await session.scalar(first) or {})


async def _buyer(session: AsyncSession, customer: Customer) -> tuple[tuple[str, ...], str]:
    """Line by line, and the country."""
    moved = select(MergeMove.row_id).where(
        MergeMove.what == "addresses.customer_id",
        MergeMove.old_owner == customer.id,
        MergeMove.undone_at.is_(None),
    )
    statement = (
        select(Address)
        .where(or_(Address.customer_id == customer.id, Address.id.in_(moved)), Address.kind == "billing")
        .order_by(Address.is_default.desc(), Address.created_at, Address.id)
        .limit(1)
    )
    address = (await session.scalars(statement)).one_or_none()
    name = " ".join(part for part in (customer.title, customer.first_name, customer.last_name) if part)
    shown = [customer.company, name]
    if address is not None:
        city = " ".join(part for part in (address.postal_code, address.city) if part)
        shown += [address.line1, address.line2, city, address.region]
    country = address.country if address is not None else ""
    return tuple(part for part in shown if part) or (customer.email,), country


async def _payments(session: AsyncSession, invoice_id: str) -> tuple[PaperPayment, ...]:
    statement = (
        select(Attempt.at, Attempt.amount, PaymentMethod.brand, PaymentMethod.kind, PaymentMethod.last4)
        .outerjoin(PaymentMethod, PaymentMethod.id == Attempt.payment_method_id)
        .where(Attempt.invoice_id == invoice_id, Attempt.status == APPROVED)
        .order_by(Attempt.number)
    )
    rows = (await session.execute(statement)).all()
    return tuple(
        PaperPayment(row.at, " ".join(part for part in (row.brand or row.kind, row.last4) if part), row.amount)
        for row in rows
    )
