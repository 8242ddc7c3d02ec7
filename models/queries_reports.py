"""Numbers over all customers, counted by PostgreSQL: each report is one statement whose columns are the report's.

A period is a day or a month of the asked zone. A report by customer counts each under themselves; by parent, children
under their parent. `chosen` is a condition on `customers`: by parent, the parent has to meet it.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from typing import Any, Final, Literal

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    RowMapping,
    Select,
    Text,
    and_,
    case,
    cast,
    func,
    null,
    or_,
    select,
    type_coerce,
)
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import InstrumentedAttribute, aliased

from domain.calendar import at_local
from models.billing import Attempt, Invoice, LedgerEntry, LedgerPosting, Subscription, SubscriptionEvent
from models.customers import Customer
from models.disputes import Dispute
from models.queries_value import CHARGED_BACK, PAID, REFUNDED
from models.refunds import Refund

ROWS_AT_ONCE: Final = 1_000  # of a stream

_FORMATS: Final = {"day": "YYYY-MM-DD", "month": "YYYY-MM"}
# A customer is what the best of their subscriptions is.
_STANDINGS: Final = ("active", "trialing", "overdue", "paused", "scheduled", "canceled")
_NO_SUBSCRIPTION: Final = "none"

Per = Literal["customer", "parent"]
Counted = Select[*tuple[Any, ...]]


@dataclass(frozen=True, slots=True)
class Span:
    """From the start of the first local day to the end of the last one, counted by day or by month."""

    first_day: date
    last_day: date
    zone: str
    by: Literal["day", "month"]

    @property
    def start(self) -> datetime:
        return at_local(self.first_day, time(0), self.zone)

    @property
    def end(self) -> datetime:
        """Not included."""
        return at_local(self.last_day + timedelta(days=1), time(0), self.zone)

    def covers(self, at: ColumnElement[datetime] | InstrumentedAttribute[datetime]) -> ColumnElement[bool]:
        return and_(at >= self.start, at < self.end)

    def period(self, at: ColumnElement[datetime] | InstrumentedAttribute[datetime]) -> ColumnElement[str]:
        return func.to_char(func.timezone(self.zone, at), _FORMATS[self.by])


@dataclass(frozen=True, slots=True)
class Asked:
    """Whose books, which customers, and whether by customer or by parent; None does not tell them apart."""

    test_mode: bool = False
    chosen: ColumnElement[bool] | None = None
    per: Per | None = None


async def first_rows(session: AsyncSession, statement: Counted, limit: int) -> Sequence[RowMapping]:
    return (await session.execute(statement.limit(limit))).mappings().all()


async def all_rows(session: AsyncSession, statement: Counted) -> AsyncIterator[Sequence[RowMapping]]:
    """Every row, a part at a time, through a cursor of the server: memory does not grow with the report."""
    result = await session.stream(statement)
    async for part in result.mappings().partitions(ROWS_AT_ONCE):
        yield part


@dataclass(frozen=True, slots=True)
class _Facts:
    """Where the rows of a report have their time, their customer and their mode."""

    at: Any
    customer_id: Any
    test_mode: Any


def new_customers(span: Span, asked: Asked) -> Counted:
    """Customers by when they came and what they are now. By parent: no child counts, but its subscriptions do."""
    member = aliased(Customer)
    belongs = member.id == Customer.id
    conditions = [span.covers(Customer.created_at), Customer.merged_into.is_(None)]
    if asked.per == "parent":
        belongs = or_(belongs, member.parent_id == Customer.id)
        conditions.append(Customer.parent_id.is_(None))
    if asked.chosen is not None:
        conditions.append(asked.chosen)
    ranks = {name: number for number, name in enumerate(_STANDINGS)}
    best = (
        select(func.min(case(ranks, value=Subscription.status)))
        .join(member, member.id == Subscription.customer_id)
        .where(belongs, Subscription.test_mode == asked.test_mode)
        .correlate(Customer)
        .scalar_subquery()
    )
    rows = select(span.period(Customer.created_at).label("period"), best.label("best")).where(*conditions).subquery()
    standing = case(dict(enumerate(_STANDINGS)), value=rows.c.best, else_=_NO_SUBSCRIPTION)
    columns: list[Any] = [rows.c.period, standing.label("status"), func.count().label("customers")]
    return select(*columns).group_by(rows.c.period, rows.c.best).order_by(rows.c.period, rows.c.best)


def payments(span: Span, asked: Asked) -> Counted:
    """Tries to collect, by when they were made, gateway and what became of them."""
    facts = _Facts(Attempt.at, Attempt.customer_id, Attempt.test_mode)
    keys = {"gateway": Attempt.gateway, "status": Attempt.status, "currency": Attempt.currency}
    return _counted(span, asked, facts, keys, "payments", {"amount": Attempt.amount})


def refunds(span: Span, asked: Asked) -> Counted:
    """Refunds and voids, by when they were asked for."""
    facts = _Facts(Refund.requested_at, Refund.customer_id, Refund.test_mode)
    keys = {"kind": Refund.kind, "status": Refund.status, "reason": Refund.reason, "currency": Refund.currency}
    return _counted(span, asked, facts, keys, "refunds", {"amount": Refund.amount})


def disputes(span: Span, asked: Asked) -> Counted:
    """Disputes, by when they were opened."""
    facts = _Facts(Dispute.opened_at, Dispute.customer_id, Dispute.test_mode)
    keys = {name: getattr(Dispute, name) for name in ("gateway", "status", "reason", "currency")}
    return _counted(span, asked, facts, keys, "disputes", {"amount": Dispute.amount, "fees": Dispute.fee})


def sales(span: Span, asked: Asked) -> Counted:
    """Invoices, by when they were issued."""
    facts = _Facts(Invoice.issued_at, Invoice.customer_id, Invoice.test_mode)
    keys = {"reason": Invoice.reason, "status": Invoice.status, "currency": Invoice.currency}
    return _counted(span, asked, facts, keys, "invoices", {"total": Invoice.total, "credited": Invoice.credited})


def dunning(span: Span, asked: Asked) -> Counted:
    """First failures and what was recovered of them, by when they failed, policy and why the last method did.

    A first failure is the start of dunning: every method at hand declined, or there was none. It is recovered where
    its invoice is paid by now.
    """
    failed = SubscriptionEvent
    why = (
        select(func.coalesce(Attempt.code, Attempt.status))
        .where(Attempt.invoice_id == Invoice.id, Attempt.at <= failed.at)
        .order_by(Attempt.number.desc())
        .limit(1)
        .correlate(Invoice, failed)
        .scalar_subquery()
    )
    is_paid = case((Invoice.status == "paid", 1), else_=0)
    rows = (
        select(
            failed.at,
            failed.data["policy"].astext.label("policy"),
            func.coalesce(why, "").label("reason"),
            Invoice.currency,
            Invoice.customer_id,
            Invoice.test_mode,
            Invoice.amount_due.label("amount_failed"),
            (Invoice.amount_due * is_paid).label("amount_recovered"),
            is_paid.label("recovered"),
        )
        .join(Invoice, Invoice.id == failed.data["invoice_id"].astext)
        .where(failed.kind == "dunning_started", span.covers(failed.at))
        .subquery()
    )
    keys = {name: rows.c[name] for name in ("policy", "reason", "currency")}
    sums = {name: rows.c[name] for name in ("recovered", "amount_failed", "amount_recovered")}
    return _counted(span, asked, _Facts(rows.c.at, rows.c.customer_id, rows.c.test_mode), keys, "first_failures", sums)


def lifetime_value(asked: Asked) -> Counted:
    """What customers were worth so far, by currency (`models.queries_value`)."""
    booked, holder = aliased(Customer), aliased(Customer)  # entries stay with whom they were booked for
    whose = _whose(asked, holder)
    rows = (
        select(
            whose.label("customer"),
            LedgerPosting.currency,
            PAID.label("paid"),
            REFUNDED.label("refunded"),
            CHARGED_BACK.label("charged_back"),
        )
        .select_from(LedgerEntry)
        .join(LedgerPosting, LedgerPosting.entry_id == LedgerEntry.id)
        .join(booked, booked.id == LedgerEntry.customer_id)
        .join(holder, holder.id == func.coalesce(booked.merged_into, booked.id))
        .where(LedgerEntry.test_mode == asked.test_mode, *_only(asked, holder))
        .group_by(holder.id, LedgerPosting.currency)
        .subquery()
    )
    paid, refunded, charged_back = (_total(rows.c[name]) for name in ("paid", "refunded", "charged_back"))
    columns: list[Any] = [
        rows.c.customer,
        rows.c.currency,
        func.count().label("customers"),
        paid.label("paid"),
        refunded.label("refunded"),
        charged_back.label("charged_back"),
        (paid - refunded - charged_back).label("value"),
    ]
    keys = [rows.c.customer, rows.c.currency]
    return select(*columns).group_by(*keys).order_by(*keys)


def _counted(
    span: Span, asked: Asked, facts: _Facts, keys: Mapping[str, Any], count: str, sums: Mapping[str, Any]
) -> Counted:
    """How many, and these sums, of what happened in the span: by period, customer where asked, and these keys."""
    holder = aliased(Customer)
    rows = (
        select(
            span.period(facts.at).label("period"),
            _whose(asked, holder).label("customer"),
            *(column.label(name) for name, column in (*keys.items(), *sums.items())),
        )
        .join(holder, holder.id == facts.customer_id)
        .where(span.covers(facts.at), facts.test_mode == asked.test_mode, *_only(asked, holder))
        .subquery()
    )
    by = [rows.c[name] for name in ("period", "customer", *keys)]
    return (
        select(*by, func.count().label(count), *(_total(rows.c[name]).label(name) for name in sums))
        .group_by(*by)
        .order_by(*by)
    )


def _whose(asked: Asked, holder: type[Customer]) -> ColumnElement[Any]:
    match asked.per:
        case "customer":
            return type_coerce(holder.id, Text)
        case "parent":
            return func.coalesce(holder.parent_id, holder.id)
        case None:
            return cast(null(), Text)


def _only(asked: Asked, holder: type[Customer]) -> list[ColumnElement[bool]]:
    if asked.chosen is None:
        return []
    counted = func.coalesce(holder.parent_id, holder.id) if asked.per == "parent" else holder.id
    return [counted.in_(select(Customer.id).where(asked.chosen))]


def _total(column: ColumnElement[Any]) -> ColumnElement[int]:
    return cast(func.coalesce(func.sum(column), 0), BigInteger)
