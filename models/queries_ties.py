"""Reads of parents and children."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession

from models.billing import Subscription
from models.customers import Customer, PaymentMethod
from models.paging import KeyPart, Keyset, Page, page
from models.queries_subscriptions import CANCELED

CHILDREN: Final = Keyset("children", (Customer.created_at, Customer.id))


async def locked(session: AsyncSession, *customer_ids: str) -> dict[str, Customer]:
    """These customers, locked one after the other in the order of their ids: two requests never wait for each other."""
    rows: Sequence[Customer] = (
        await session.scalars(
            select(Customer).where(Customer.id.in_(customer_ids)).order_by(Customer.id).with_for_update()
        )
    ).all()
    return {row.id: row for row in rows}


async def children_count(session: AsyncSession, customer_id: str) -> int:
    statement = select(func.count()).select_from(Customer).where(Customer.parent_id == customer_id)
    return (await session.execute(statement)).scalar_one()


async def children(
    session: AsyncSession, customer_id: str, *, after: tuple[KeyPart, ...] | None, limit: int
) -> Page[Customer]:
    return await page(
        session, select(Customer).where(Customer.parent_id == customer_id), CHILDREN, after=after, limit=limit
    )


async def methods_count(session: AsyncSession, customer_id: str) -> int:
    """Working methods of a customer's own."""
    statement = (
        select(func.count())
        .select_from(PaymentMethod)
        .where(PaymentMethod.customer_id == customer_id, PaymentMethod.removed_at.is_(None))
    )
    return (await session.execute(statement)).scalar_one()


async def living_counts(session: AsyncSession, customer_ids: Sequence[str]) -> dict[str, int]:
    """How many subscriptions of each customer have not ended. One statement."""
    statement = (
        select(Subscription.customer_id, func.count().label("living"))
        .where(Subscription.customer_id.in_(customer_ids), Subscription.status != CANCELED)
        .group_by(Subscription.customer_id)
    )
    return {row.customer_id: row.living for row in await session.execute(statement)}
