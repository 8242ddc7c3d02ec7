"""Reads of vouchers, credit notes, and the credit that customers have."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from sqlalchemy import func, or_, select
from sqlalchemy.ext.asyncio import AsyncSession

from domain import ledger
from domain.vouchers import code_of
from models.billing import LedgerEntry, LedgerPosting
from models.credits import CreditTransfer, Voucher, VoucherMovement
from models.paging import KeyPart, Keyset, Page, page
from models.queries_customers import whole
from models.refunds import CreditNote

VOUCHERS: Final = Keyset("vouchers", (Voucher.issued_at, Voucher.id))
CREDIT_NOTES: Final = Keyset("credit_notes", (CreditNote.at, CreditNote.id))
MOVEMENTS: Final = Keyset("credits", (LedgerEntry.at, LedgerEntry.id))


@dataclass(frozen=True, slots=True)
class CreditBalance:
    """The credit of one subscription, in minor units: what its next rebills use up first."""

    subscription_id: str | None
    currency: str
    amount: int


@dataclass(frozen=True, slots=True)
class CreditMovement:
    """One change of a customer's credit; `amount` is what it added."""

    id: str
    at: datetime
    kind: str
    description: str
    subscription_id: str | None
    invoice_id: str | None
    currency: str
    amount: int


async def voucher(session: AsyncSession, code_or_id: str) -> Voucher | None:
    """By its id or by its code; upper and lower case are one in a code."""
    wanted = or_(Voucher.id == code_or_id, Voucher.code == code_of(code_or_id))
    return (await session.scalars(select(Voucher).where(wanted))).one_or_none()


async def vouchers(
    session: AsyncSession,
    *,
    customer_id: str | None,
    test_mode: bool | None,
    after: tuple[KeyPart, ...] | None,
    limit: int,
) -> Page[Voucher]:
    statement = select(Voucher)
    if customer_id is not None:
        statement = statement.where(Voucher.customer_id == customer_id)
    if test_mode is not None:
        statement = statement.where(Voucher.test_mode == test_mode)
    return await page(session, statement, VOUCHERS, after=after, limit=limit)


async def balances(session: AsyncSession, voucher_ids: Sequence[str]) -> Mapping[str, int]:
    """Voucher → what is left of it, in minor units, as the ledger has it."""
    accounts = {ledger.voucher(each): each for each in voucher_ids}
    statement = (
        select(LedgerPosting.account, func.sum(LedgerPosting.amount))
        .where(LedgerPosting.account.in_(accounts))
        .group_by(LedgerPosting.account)
    )
    held = {accounts[account]: -int(amount) for account, amount in await session.execute(statement)}
    return {each: held.get(each, 0) for each in voucher_ids}


async def voucher_movements(session: AsyncSession, voucher_id: str, limit: int) -> Sequence[VoucherMovement]:
    """The last changes of its balance, newest first."""
    statement = (
        select(VoucherMovement)
        .where(VoucherMovement.voucher_id == voucher_id)
        .order_by(VoucherMovement.at.desc(), VoucherMovement.recorded_at.desc(), VoucherMovement.id)
        .limit(limit)
    )
    return (await session.scalars(statement)).all()


async def transfer(session: AsyncSession, transfer_id: str) -> CreditTransfer | None:
    return await session.get(CreditTransfer, transfer_id)


async def credit_note(session: AsyncSession, note_id: str) -> CreditNote | None:
    return await session.get(CreditNote, note_id)


async def credit_notes(
    session: AsyncSession,
    *,
    customer_id: str | None,
    invoice_id: str | None,
    disposition: str | None,
    test_mode: bool | None,
    after: tuple[KeyPart, ...] | None,
    limit: int,
) -> Page[CreditNote]:
    statement = select(CreditNote)
    same = {
        CreditNote.invoice_id: invoice_id,
        CreditNote.disposition: disposition,
        CreditNote.test_mode: test_mode,
    }
    for column, value in same.items():
        if value is not None:
            statement = statement.where(column == value)
    if customer_id is not None:
        statement = statement.where(CreditNote.customer_id.in_(whole(customer_id)))
    return await page(session, statement, CREDIT_NOTES, after=after, limit=limit)


async def notes_of_invoice(session: AsyncSession, invoice_id: str) -> Sequence[CreditNote]:
    """What corrects this invoice, in the order of their numbers."""
    statement = select(CreditNote).where(CreditNote.invoice_id == invoice_id).order_by(CreditNote.number)
    return (await session.scalars(statement)).all()


async def credit_balances(session: AsyncSession, customer_id: str, *, test_mode: bool) -> Sequence[CreditBalance]:
    """What the customer has on account, by subscription: what we owe, so a credit balance is above zero here."""
    statement = (
        select(LedgerEntry.subscription_id, LedgerPosting.currency, func.sum(LedgerPosting.amount))
        .join(LedgerPosting, LedgerPosting.entry_id == LedgerEntry.id)
        .where(
            LedgerEntry.customer_id.in_(whole(customer_id)),
            LedgerEntry.test_mode == test_mode,
            LedgerPosting.account == ledger.CUSTOMER_CREDIT,
        )
        .group_by(LedgerEntry.subscription_id, LedgerPosting.currency)
        .order_by(LedgerPosting.currency, LedgerEntry.subscription_id)
    )
    rows = await session.execute(statement)
    return [CreditBalance(subscription, currency, -int(amount)) for subscription, currency, amount in rows]


async def credit_movements(
    session: AsyncSession, customer_id: str, *, test_mode: bool, after: tuple[KeyPart, ...] | None, limit: int
) -> Page[CreditMovement]:
    """Every entry that changed the customer's credit, newest first."""
    touches = select(LedgerPosting.entry_id).where(
        LedgerPosting.entry_id == LedgerEntry.id, LedgerPosting.account == ledger.CUSTOMER_CREDIT
    )
    statement = select(LedgerEntry).where(
        LedgerEntry.customer_id.in_(whole(customer_id)), LedgerEntry.test_mode == test_mode, touches.exists()
    )
    found = await page(session, statement, MOVEMENTS, after=after, limit=limit)
    sums = (
        select(LedgerPosting.entry_id, LedgerPosting.currency, func.sum(LedgerPosting.amount))
        .where(
            LedgerPosting.entry_id.in_([entry.id for entry in found.rows]),
            LedgerPosting.account == ledger.CUSTOMER_CREDIT,
        )
        .group_by(LedgerPosting.entry_id, LedgerPosting.currency)
    )
    added = {entry: (currency, -int(amount)) for entry, currency, amount in await session.execute(sums)}
    return Page([_movement(entry, *added[entry.id]) for entry in found.rows], found.next)


def _movement(entry: LedgerEntry, currency: str, amount: int) -> CreditMovement:
    return CreditMovement(
        entry.id, entry.at, entry.kind, entry.description, entry.subscription_id, entry.invoice_id, currency, amount
    )
