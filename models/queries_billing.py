"""Reads of invoices, charges, messages and the ledger."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from sqlalchemy import false, func, select, text
from sqlalchemy.ext.asyncio import AsyncSession

from models.billing import Attempt, Invoice, InvoiceLine, LedgerEntry, LedgerPosting, Message, SubscriptionEvent
from models.orders import OrderEvent
from models.paging import KeyPart, Keyset, Page, page
from models.queries_customers import whole

INVOICES: Final = Keyset("invoices", (Invoice.issued_at, Invoice.number))
DUE: Final = Keyset("invoices_due", (Invoice.issued_at, Invoice.number), newest_first=False)
CHARGES: Final = Keyset("charges", (Attempt.at, Attempt.recorded_at, Attempt.id))
MESSAGES: Final = Keyset("messages", (Message.at, Message.id))
ENTRIES: Final = Keyset("ledger_entries", (LedgerEntry.at, LedgerEntry.id))

# A charge is over when its outcome is known and, where it took money, the gateway has settled it. What is authorised
# has yet to be taken or given back.
NOT_ANSWERED: Final = ("pending", "unknown", "parked", "action_required", "authorised", "capturing", "releasing")
UNSETTLED: Final = "pending"


@dataclass(frozen=True, slots=True)
class BillingFilter:
    """Which rows; None does not ask."""

    customer_id: str | None = None
    subscription_id: str | None = None
    invoice_id: str | None = None
    status: str | None = None
    test_mode: bool | None = None


@dataclass(frozen=True, slots=True)
class Balance:
    """What one account holds in one currency: debit above zero."""

    account: str
    currency: str
    amount: int


async def invoice(session: AsyncSession, invoice_id: str) -> Invoice | None:
    return await session.get(Invoice, invoice_id)


async def invoices(
    session: AsyncSession, wanted: BillingFilter, *, after: tuple[KeyPart, ...] | None, limit: int
) -> Page[Invoice]:
    statement = select(Invoice)
    same = {
        Invoice.customer_id: wanted.customer_id,
        Invoice.subscription_id: wanted.subscription_id,
        Invoice.status: wanted.status,
        Invoice.test_mode: wanted.test_mode,
    }
    for column, value in same.items():
        if value is not None:
            statement = statement.where(column == value)
    return await page(session, statement, INVOICES, after=after, limit=limit)


async def invoices_due(
    session: AsyncSession, customer_id: str | None, *, test_mode: bool, after: tuple[KeyPart, ...] | None, limit: int
) -> Page[Invoice]:
    """Those that wait for their money, the oldest first."""
    # Words and not a parameter: only then can the planner tell that the index of open invoices holds them all.
    statement = select(Invoice).where(text("invoices.status = 'open'"), Invoice.test_mode == test_mode)
    if customer_id is not None:
        statement = statement.where(Invoice.customer_id == customer_id)
    return await page(session, statement, DUE, after=after, limit=limit)


async def lines(session: AsyncSession, invoice_id: str) -> Sequence[InvoiceLine]:
    statement = select(InvoiceLine).where(InvoiceLine.invoice_id == invoice_id).order_by(InvoiceLine.position)
    return (await session.scalars(statement)).all()


async def charge(session: AsyncSession, charge_id: str) -> Attempt | None:
    return await session.get(Attempt, charge_id)


async def charges_of(session: AsyncSession, invoice_id: str) -> Sequence[Attempt]:
    statement = select(Attempt).where(Attempt.invoice_id == invoice_id).order_by(Attempt.number)
    return (await session.scalars(statement)).all()


async def charges(
    session: AsyncSession,
    wanted: BillingFilter,
    *,
    gateway: str | None,
    pending: bool | None,
    since: datetime | None,
    until: datetime | None,
    after: tuple[KeyPart, ...] | None,
    limit: int,
) -> Page[Attempt]:
    statement = select(Attempt)
    if wanted.customer_id is not None:  # their own, and those of children that were paid for them
        own = Attempt.customer_id == wanted.customer_id
        statement = statement.where(own | (Attempt.payer_id == wanted.customer_id))
    same = {
        Attempt.invoice_id: wanted.invoice_id,
        Attempt.status: wanted.status,
        Attempt.gateway: gateway,
        Attempt.test_mode: wanted.test_mode,
    }
    for column, value in same.items():
        if value is not None:
            statement = statement.where(column == value)
    if wanted.subscription_id is not None:
        # Through its invoices: they have an index by subscription, and a hot table is spared one.
        billed = select(Invoice.id).where(Invoice.subscription_id == wanted.subscription_id)
        statement = statement.where(Attempt.invoice_id.in_(billed))
    if pending is not None:
        unsettled = func.coalesce(Attempt.settlement == UNSETTLED, false())
        not_over = Attempt.status.in_(NOT_ANSWERED) | unsettled
        statement = statement.where(not_over if pending else ~not_over)
    if since is not None:
        statement = statement.where(Attempt.at >= since)
    if until is not None:
        statement = statement.where(Attempt.at < until)
    return await page(session, statement, CHARGES, after=after, limit=limit)


async def events_of_invoice(session: AsyncSession, owed: Invoice) -> Sequence[SubscriptionEvent | OrderEvent]:
    """The lines of the timeline, its subscription's or its order's, that speak of this invoice."""
    if owed.order_id is not None:
        own = OrderEvent.order_id == owed.order_id, OrderEvent.data["invoice_id"].astext == owed.id
        return (await session.scalars(select(OrderEvent).where(*own).order_by(OrderEvent.seq))).all()
    statement = (
        select(SubscriptionEvent)
        .where(
            SubscriptionEvent.subscription_id == owed.subscription_id,
            SubscriptionEvent.data["invoice_id"].astext == owed.id,
        )
        .order_by(SubscriptionEvent.seq)
    )
    return (await session.scalars(statement)).all()


async def messages_of(session: AsyncSession, owed: Invoice, events: Sequence[int]) -> Sequence[Message]:
    """The messages that told of these lines of the timeline of the invoice's subscription, or order."""
    statement = (
        select(Message)
        .where(
            Message.customer_id == owed.customer_id,
            Message.subscription_id.is_not_distinct_from(owed.subscription_id),
            Message.order_id.is_not_distinct_from(owed.order_id),
            Message.event_seq.in_(events),
        )
        .order_by(Message.at, Message.id)
    )
    return (await session.scalars(statement)).all()


async def message(session: AsyncSession, message_id: str) -> Message | None:
    return await session.get(Message, message_id)


async def messages(
    session: AsyncSession,
    wanted: BillingFilter,
    *,
    template: str | None,
    refund_id: str | None,
    audience: str | None,
    direction: str | None = None,
    after: tuple[KeyPart, ...] | None,
    limit: int,
) -> Page[Message]:
    statement = select(Message)
    same = {
        Message.customer_id: wanted.customer_id,
        Message.subscription_id: wanted.subscription_id,
        Message.status: wanted.status,
        Message.template: template,
        Message.refund_id: refund_id,
        Message.audience: audience,
        Message.direction: direction,
    }
    for column, value in same.items():
        if value is not None:
            statement = statement.where(column == value)
    return await page(session, statement, MESSAGES, after=after, limit=limit)


async def trial_balance(session: AsyncSession, *, at: datetime | None, test_mode: bool) -> Sequence[Balance]:
    """Every account with its balance, of entries up to and with `at`; per currency they sum to zero."""
    statement = (
        select(LedgerPosting.account, LedgerPosting.currency, func.sum(LedgerPosting.amount))
        .join(LedgerEntry, LedgerEntry.id == LedgerPosting.entry_id)
        .where(LedgerEntry.test_mode == test_mode)
        .group_by(LedgerPosting.account, LedgerPosting.currency)
        .order_by(LedgerPosting.currency, LedgerPosting.account)
    )
    if at is not None:
        statement = statement.where(LedgerEntry.at <= at)
    return [Balance(account, currency, int(amount)) for account, currency, amount in await session.execute(statement)]


async def ledger_entries(
    session: AsyncSession, wanted: BillingFilter, *, after: tuple[KeyPart, ...] | None, limit: int
) -> Page[LedgerEntry]:
    statement = select(LedgerEntry)
    same = {
        LedgerEntry.subscription_id: wanted.subscription_id,
        LedgerEntry.invoice_id: wanted.invoice_id,
        LedgerEntry.test_mode: wanted.test_mode,
    }
    for column, value in same.items():
        if value is not None:
            statement = statement.where(column == value)
    if wanted.customer_id is not None:
        statement = statement.where(LedgerEntry.customer_id.in_(whole(wanted.customer_id)))
    return await page(session, statement, ENTRIES, after=after, limit=limit)


async def postings(session: AsyncSession, entries: Sequence[str]) -> Sequence[LedgerPosting]:
    statement = (
        select(LedgerPosting)
        .where(LedgerPosting.entry_id.in_(entries))
        .order_by(LedgerPosting.entry_id, LedgerPosting.position)
    )
    return (await session.scalars(statement)).all()


async def one_off_invoice(
    session: AsyncSession, subscription_id: str, *, upto: int, amount: int, description: str
) -> Invoice | None:
    """The last invoice of a charge by hand for this, among the first `upto` changes that were billed."""
    statement = (
        select(Invoice)
        .join(InvoiceLine, InvoiceLine.invoice_id == Invoice.id)
        .where(
            Invoice.subscription_id == subscription_id,
            Invoice.reason == "one_off",
            Invoice.sequence <= upto,
            InvoiceLine.unit_amount == amount,
            InvoiceLine.description == description,
        )
        .order_by(Invoice.sequence.desc())
        .limit(1)
    )
    return (await session.scalars(statement)).one_or_none()
