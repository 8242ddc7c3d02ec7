"""Reads of subscriptions and their timelines."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from sqlalchemy import and_, or_, select
from sqlalchemy.ext.asyncio import AsyncSession

from models.billing import Attempt, Invoice, Subscription, SubscriptionEvent
from models.customers import Customer
from models.paging import KeyPart, Keyset, Page, page

SUBSCRIPTIONS: Final = Keyset("subscriptions", (Subscription.created_at, Subscription.id))
DUE: Final = Keyset("subscriptions_due", (Subscription.next_due_at, Subscription.id), newest_first=False)
EVENTS: Final = Keyset("events", (SubscriptionEvent.seq,), newest_first=False)

CANCELED: Final = "canceled"
IN_DUNNING: Final = "overdue"


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which subscriptions; None does not ask."""

    status: str | None = None
    customer_id: str | None = None
    product_id: str | None = None
    price_id: str | None = None
    external_id: str | None = None
    due_before: datetime | None = None
    dunning: bool | None = None
    held: bool | None = None
    attention: bool | None = None
    test_mode: bool | None = None


async def subscription(session: AsyncSession, subscription_id: str) -> Subscription | None:
    return await session.get(Subscription, subscription_id)


async def subscriptions(
    session: AsyncSession, wanted: Wanted, *, after: tuple[KeyPart, ...] | None, limit: int
) -> Page[Subscription]:
    """Newest first; with `due_before`, the next due first."""
    statement = select(Subscription)
    same = {
        Subscription.status: wanted.status,
        Subscription.customer_id: wanted.customer_id,
        Subscription.product_id: wanted.product_id,
        Subscription.price_id: wanted.price_id,
        Subscription.external_id: wanted.external_id,
        Subscription.held: wanted.held,
        Subscription.test_mode: wanted.test_mode,
    }
    for column, value in same.items():
        if value is not None:
            statement = statement.where(column == value)
    if wanted.dunning is not None:
        overdue = Subscription.status == IN_DUNNING
        statement = statement.where(overdue if wanted.dunning else ~overdue)
    if wanted.attention is not None:
        clear = Subscription.attention.is_(None)
        statement = statement.where(~clear if wanted.attention else clear)
    if wanted.due_before is not None:
        statement = statement.where(Subscription.next_due_at < wanted.due_before)
    return await page(session, statement, order_of(wanted), after=after, limit=limit)


def order_of(wanted: Wanted) -> Keyset:
    return SUBSCRIPTIONS if wanted.due_before is None else DUE


async def living_of(session: AsyncSession, customer_id: str) -> Sequence[str]:
    """Ids of the customer's subscriptions that are not cancelled."""
    statement = (
        select(Subscription.id)
        .where(Subscription.customer_id == customer_id, Subscription.status != CANCELED)
        .order_by(Subscription.id)
    )
    return (await session.scalars(statement)).all()


async def with_open_invoice(session: AsyncSession, customer_id: str) -> Sequence[str]:
    """Ids of the subscriptions that have something to collect from this customer: their own, and of children they pay
    for.
    """
    own = and_(Customer.id == customer_id, Customer.pays == "self")
    children = and_(Customer.parent_id == customer_id, Customer.pays == "parent")
    statement = (
        select(Invoice.subscription_id)
        .join(Customer, Customer.id == Invoice.customer_id)
        .where(or_(own, children), Invoice.status == "open", Invoice.subscription_id.is_not(None))
        .distinct()
        .order_by(Invoice.subscription_id)
    )
    return [each for each in await session.scalars(statement) if each is not None]


async def events(
    session: AsyncSession, subscription_id: str, *, after: tuple[KeyPart, ...] | None, limit: int
) -> Page[SubscriptionEvent]:
    statement = select(SubscriptionEvent).where(SubscriptionEvent.subscription_id == subscription_id)
    return await page(session, statement, EVENTS, after=after, limit=limit)


async def open_attempts(session: AsyncSession, subscription_id: str) -> Sequence[Attempt]:
    """Attempts without a final answer."""
    statement = (
        select(Attempt)
        .join(Invoice, Invoice.id == Attempt.invoice_id)
        .where(
            Invoice.subscription_id == subscription_id,
            Attempt.status.in_(("pending", "unknown", "parked", "action_required")),
        )
        .order_by(Attempt.at)
    )
    return (await session.scalars(statement)).all()


async def id_of_external(session: AsyncSession, external_id: str) -> str | None:
    return await session.scalar(select(Subscription.id).where(Subscription.external_id == external_id))
