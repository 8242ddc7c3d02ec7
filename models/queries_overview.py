"""Reads of the customer's page that no list of its own has: each one statement, each cut to a number of rows."""

from __future__ import annotations

from typing import Any, Final

from sqlalchemy import Select, select
from sqlalchemy.ext.asyncio import AsyncSession

from models.customers import Address, Customer, PaymentMethod
from models.paging import Keyset, Page, page
from models.relations import Note, PointMovement, Review

ADDRESSES: Final = Keyset("addresses", (Address.created_at, Address.id), newest_first=False)
METHODS: Final = Keyset(
    "methods", (PaymentMethod.position, PaymentMethod.created_at, PaymentMethod.id), newest_first=False
)
CHILDREN: Final = Keyset("children", (Customer.created_at, Customer.id))
NOTES: Final = Keyset("notes", (Note.created_at, Note.id))
REVIEWS: Final = Keyset("reviews", (Review.created_at, Review.id))


async def _first(session: AsyncSession, statement: Select[Any], keyset: Keyset, limit: int) -> Page[Any]:
    return await page(session, statement, keyset, after=None, limit=limit)


async def addresses(session: AsyncSession, customer_id: str, limit: int) -> Page[Address]:
    return await _first(session, select(Address).where(Address.customer_id == customer_id), ADDRESSES, limit)


async def methods(session: AsyncSession, customer_id: str, limit: int) -> Page[PaymentMethod]:
    statement = select(PaymentMethod).where(
        PaymentMethod.customer_id == customer_id, PaymentMethod.removed_at.is_(None)
    )
    return await _first(session, statement, METHODS, limit)


async def children(session: AsyncSession, customer_id: str, limit: int) -> Page[Customer]:
    return await _first(session, select(Customer).where(Customer.parent_id == customer_id), CHILDREN, limit)


async def notes(session: AsyncSession, customer_id: str, limit: int) -> Page[Note]:
    """As they stand; removed ones are not shown."""
    statement = select(Note).where(Note.customer_id == customer_id, Note.removed_at.is_(None))
    return await _first(session, statement, NOTES, limit)


async def reviews(session: AsyncSession, customer_id: str, limit: int) -> Page[Review]:
    return await _first(session, select(Review).where(Review.customer_id == customer_id), REVIEWS, limit)


async def points(session: AsyncSession, customer_id: str) -> int:
    """The balance of loyalty points."""
    statement = (
        select(PointMovement.balance)
        .where(PointMovement.customer_id == customer_id)
        .order_by(PointMovement.seq.desc())
        .limit(1)
    )
    return (await session.scalar(statement)) or 0
