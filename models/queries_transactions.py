"""Reads of transactions: charges, refunds and voids as one list over all customers, newest first."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from sqlalchemy import func, literal, select, tuple_
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import InstrumentedAttribute
from sqlalchemy.sql.elements import ColumnElement

from models.billing import Attempt, SubscriptionEvent
from models.customers import PaymentMethod
from models.paging import KeyPart, Keyset, Page
from models.refunds import Refund, RefundTry

TRANSACTIONS: Final = Keyset("transactions", (Attempt.at, Attempt.recorded_at, Attempt.id))
CHARGE: Final = "charge"
RETURNS: Final = "returns"  # refunds and voids: what has a charge


@dataclass(frozen=True, slots=True)
class TransactionFilter:
    """Which transactions; None does not ask. Amounts are minor units, both ends count; `until` does not.

    Kind: `charge`, `refund` or `void`. A customer's are also those on their methods for a child.
    """

    kind: str | None = None
    status: str | None = None
    settlement: str | None = None
    gateway: str | None = None
    customer_id: str | None = None
    currency: str | None = None
    amount_min: int | None = None
    amount_max: int | None = None
    since: datetime | None = None
    until: datetime | None = None
    last4: str | None = None
    brand: str | None = None
    test_mode: bool | None = None
    charge_id: str | None = None


@dataclass(frozen=True, slots=True)
class Transaction:
    """One movement of money that was asked for. `charge_id`: of a refund or void, the charge it takes back."""

    id: str
    kind: str
    charge_id: str | None
    customer_id: str
    invoice_id: str
    subscription_id: str | None
    order_id: str | None
    amount: int
    currency: str
    status: str
    settlement: str | None
    gateway: str | None
    payment_method_id: str | None
    brand: str | None
    last4: str | None
    at: datetime
    recorded_at: datetime
    test_mode: bool


@dataclass(frozen=True, slots=True)
class _Source:
    """One table of the list: its columns as those of a transaction, in the order of the list, and its conditions."""

    statement: Any
    key: tuple[InstrumentedAttribute[Any], ...]
    columns: Mapping[str, ColumnElement[Any] | InstrumentedAttribute[Any]]


async def transactions(
    session: AsyncSession, wanted: TransactionFilter, *, after: tuple[KeyPart, ...] | None, limit: int
) -> Page[Transaction]:
    """The newest of both tables, each read along its own index, merged."""
    rows: list[Transaction] = []
    kinds = wanted.kind if wanted.charge_id is None else RETURNS
    for source in _sources(kinds):
        statement = _where(source, wanted)
        if after is not None:
            seen = tuple_(*(literal(part, column.type) for column, part in zip(source.key, after, strict=True)))
            statement = statement.where(tuple_(*source.key) < seen)
        statement = statement.order_by(*(column.desc() for column in source.key)).limit(limit + 1)
        rows += _read(await session.execute(statement))
    rows.sort(key=_key, reverse=True)
    return Page(rows[:limit], _key(rows[limit - 1]) if len(rows) > limit else None)


async def transaction(session: AsyncSession, transaction_id: str) -> Transaction | None:
    """A charge, refund or void by its id."""
    for source in _sources(None):
        found = _read(await session.execute(source.statement.where(source.columns["id"] == transaction_id)))
        if found:
            return found[0]
    return None


async def billed_again(session: AsyncSession, subscription_id: str, actor: str, reason: str) -> str | None:
    """The charge that this wish led to; None where there was no method to make one with."""
    asked = (
        select(SubscriptionEvent.seq)
        .where(
            SubscriptionEvent.subscription_id == subscription_id,
            SubscriptionEvent.kind == "charge_asked",
            SubscriptionEvent.actor == actor,
            SubscriptionEvent.reason == reason,
        )
        .order_by(SubscriptionEvent.seq.desc())
        .limit(1)
        .scalar_subquery()
    )
    issued = select(SubscriptionEvent.data["invoice_id"].astext).where(
        SubscriptionEvent.subscription_id == subscription_id,
        SubscriptionEvent.seq == asked + 1,
        SubscriptionEvent.kind == "invoice_issued",
    )
    made = select(Attempt.id).where(Attempt.invoice_id == issued.scalar_subquery())
    return await session.scalar(made.order_by(Attempt.number.desc()).limit(1))


def _sources(kind: str | None) -> list[_Source]:
    if kind is None:
        return [_charges(), _returns()]
    return [_charges() if kind == CHARGE else _returns()]


def _charges() -> _Source:
    columns: dict[str, Any] = _same_named(Attempt, "recorded_at", "at", "settlement") | {
        "kind": literal(CHARGE),
        "charge_id": literal(None),
        "payment_method_id": Attempt.payment_method_id,
    }
    method = Attempt.payment_method_id
    statement = _select(columns).select_from(Attempt).outerjoin(PaymentMethod, PaymentMethod.id == method)
    return _Source(statement, (Attempt.at, Attempt.recorded_at, Attempt.id), columns)


def _returns() -> _Source:
    """Refunds and voids. Money goes back to the method that paid, unless another one was chosen."""
    method = func.coalesce(Refund.payment_method_id, Attempt.payment_method_id)
    # Only the try that went through is ever settled.
    settlement = (
        select(func.max(RefundTry.settlement))
        .where(RefundTry.refund_id == Refund.id)
        .correlate(Refund)
        .scalar_subquery()
    )
    columns: dict[str, Any] = _same_named(Refund, "recorded_at", "kind") | {
        "charge_id": Refund.attempt_id,
        "at": Refund.requested_at,
        "settlement": settlement,
        "payment_method_id": method,
    }
    statement = (
        _select(columns)
        .select_from(Refund)
        .join(Attempt, Attempt.id == Refund.attempt_id)
        .outerjoin(PaymentMethod, PaymentMethod.id == method)
    )
    return _Source(statement, (Refund.requested_at, Refund.recorded_at, Refund.id), columns)


def _same_named(table: type[Attempt | Refund], *more: str) -> dict[str, Any]:
    names = (
        "id",
        "customer_id",
        "invoice_id",
        "subscription_id",
        "order_id",
        "amount",
        "currency",
        "status",
        "gateway",
    )
    return {name: getattr(table, name) for name in (*names, "test_mode", *more)}


def _select(columns: Mapping[str, Any]) -> Any:
    return select(*(column.label(name) for name, column in columns.items()), PaymentMethod.brand, PaymentMethod.last4)


def _where(source: _Source, wanted: TransactionFilter) -> Any:
    columns, conditions = source.columns, list[Any]()
    for name in ("kind", "status", "settlement", "gateway", "currency", "test_mode", "charge_id"):
        value = getattr(wanted, name)
        if value is not None:
            conditions.append(columns[name] == value)
    if wanted.amount_min is not None:
        conditions.append(columns["amount"] >= wanted.amount_min)
    if wanted.amount_max is not None:
        conditions.append(columns["amount"] <= wanted.amount_max)
    if wanted.since is not None:
        conditions.append(columns["at"] >= wanted.since)
    if wanted.until is not None:
        conditions.append(columns["at"] < wanted.until)
    if wanted.customer_id is not None:
        # A refund is its charge's customer's: asked of the charges, both tables are read by an index.
        conditions.append((Attempt.customer_id == wanted.customer_id) | (Attempt.payer_id == wanted.customer_id))
    return source.statement.where(*conditions, *_card(wanted))


def _card(wanted: TransactionFilter) -> list[ColumnElement[bool]]:
    """Through the customers who have or had such a card: they have an index, and a hot table is spared one."""
    if wanted.last4 is None and wanted.brand is None:
        return []
    same = [
        column == value
        for column, value in ((PaymentMethod.last4, wanted.last4), (PaymentMethod.brand, wanted.brand))
        if value is not None
    ]
    if wanted.last4 is None:
        return same
    card = PaymentMethod.__table__.alias("card")
    owners = func.array(select(card.c.customer_id).where(card.c.last4 == wanted.last4).scalar_subquery())
    theirs = (Attempt.customer_id == func.any(owners)) | (Attempt.payer_id == func.any(owners))
    return [*same, theirs]


def _key(row: Transaction) -> tuple[datetime, datetime, str]:
    return row.at, row.recorded_at, row.id


def _read(rows: Any) -> Sequence[Transaction]:
    return [Transaction(**row) for row in rows.mappings()]
