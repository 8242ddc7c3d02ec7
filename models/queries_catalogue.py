"""Reads of products, prices and dunning policies."""

from __future__ import annotations

from typing import Final

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession

from domain.terms import DEFAULT_DUNNING, DunningTerms, EndAction, Retry, RetryMessage
from models.catalogue import DunningPolicy, Price, Product
from models.customers import Customer
from models.paging import KeyPart, Keyset, Page, page

PRODUCTS: Final = Keyset("products", (Product.created_at, Product.id))
PRICES: Final = Keyset("prices", (Price.created_at, Price.id))
POLICIES: Final = Keyset("dunning_policies", (DunningPolicy.created_at, DunningPolicy.id))


async def product(session: AsyncSession, product_id: str, *, lock: bool = False) -> Product | None:
    return await session.get(Product, product_id, with_for_update=lock or None)


async def price(session: AsyncSession, price_id: str) -> Price | None:
    return await session.get(Price, price_id)


async def prices_with_products(session: AsyncSession, price_ids: list[str]) -> dict[str, tuple[Price, Product]]:
    """Each of these prices that there is, with what it is the price of. One statement."""
    statement = select(Price, Product).join(Product, Product.id == Price.product_id).where(Price.id.in_(price_ids))
    return {row[0].id: (row[0], row[1]) for row in await session.execute(statement)}


async def policy(session: AsyncSession, policy_id: str) -> DunningPolicy | None:
    return await session.get(DunningPolicy, policy_id)


async def latest_version(session: AsyncSession, product_id: str, code: str) -> Price | None:
    statement = (
        select(Price).where(Price.product_id == product_id, Price.code == code).order_by(Price.version.desc()).limit(1)
    )
    return (await session.scalars(statement)).one_or_none()


async def products(
    session: AsyncSession,
    *,
    code: str | None,
    archived: bool | None,
    after: tuple[KeyPart, ...] | None,
    limit: int,
) -> Page[Product]:
    statement = select(Product)
    if code is not None:
        statement = statement.where(Product.code == code)
    if archived is not None:
        statement = statement.where(Product.archived_at.is_not(None) if archived else Product.archived_at.is_(None))
    return await page(session, statement, PRODUCTS, after=after, limit=limit)


async def prices(
    session: AsyncSession,
    *,
    product_id: str | None,
    code: str | None,
    archived: bool | None,
    after: tuple[KeyPart, ...] | None,
    limit: int,
) -> Page[Price]:
    statement = select(Price)
    if product_id is not None:
        statement = statement.where(Price.product_id == product_id)
    if code is not None:
        statement = statement.where(Price.code == code)
    if archived is not None:
        statement = statement.where(Price.archived_at.is_not(None) if archived else Price.archived_at.is_(None))
    return await page(session, statement, PRICES, after=after, limit=limit)


async def policies(session: AsyncSession, *, after: tuple[KeyPart, ...] | None, limit: int) -> Page[DunningPolicy]:
    return await page(session, select(DunningPolicy), POLICIES, after=after, limit=limit)


async def policy_named(session: AsyncSession, name: str) -> DunningPolicy | None:
    statement = select(DunningPolicy).where(func.lower(DunningPolicy.name) == name.lower())
    return (await session.scalars(statement)).one_or_none()


async def dunning_terms(session: AsyncSession, customer_id: str, product_id: str) -> DunningTerms:
    """The policy in force: the customer's, else the product's, else the default one, else ours."""
    wanted = select(Customer.dunning_policy_id).where(Customer.id == customer_id).scalar_subquery()
    sold = select(Product.dunning_policy_id).where(Product.id == product_id).scalar_subquery()
    statement = (
        select(DunningPolicy)
        .where((DunningPolicy.id == wanted) | (DunningPolicy.id == sold) | DunningPolicy.is_default)
        .order_by((DunningPolicy.id == wanted).desc().nulls_last(), (DunningPolicy.id == sold).desc().nulls_last())
        .limit(1)
    )
    row = (await session.scalars(statement)).one_or_none()
    if row is None:
        return DEFAULT_DUNNING
    retries = tuple(
        Retry(each["after_days"], each["hour"], RetryMessage(each.get("message", RetryMessage.REMINDER)))
        for each in row.retries
    )
    return DunningTerms(row.id, row.name, retries, row.grace_days, EndAction(row.end_action))
