"""Reads of customers and what belongs to them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from sqlalchemy import CompoundSelect, String, func, literal, select, type_coerce
from sqlalchemy.ext.asyncio import AsyncSession

from domain.errors import Merged
from models.customers import Address, Customer, CustomerChange, PaymentMethod
from models.paging import KeyPart, Keyset, Page, page

CUSTOMERS: Final = Keyset("customers", (Customer.created_at, Customer.id))
CHANGES: Final = Keyset("changes", (CustomerChange.id,))


async def customer(session: AsyncSession, customer_id: str, *, lock: bool = False) -> Customer | None:
    """Raises `Merged` for one that went into another."""
    row = await any_customer(session, customer_id, lock=lock)
    if row is not None and row.merged_into is not None:
        raise Merged(row.id, row.merged_into)
    return row


async def any_customer(session: AsyncSession, customer_id: str, *, lock: bool = False) -> Customer | None:
    """A customer, merged or not."""
    return await session.get(Customer, customer_id, with_for_update=lock or None)


def whole(customer_id: str) -> CompoundSelect[str]:
    """The ids of a customer and of those merged into it: whose entries of the books and the logs are theirs.

    The customer itself need not be there: logs outlive it.
    """
    merged = select(type_coerce(Customer.id, String)).where(Customer.merged_into == customer_id)
    return select(literal(customer_id, String)).union_all(merged)


async def customers(
    session: AsyncSession,
    *,
    email: str | None,
    external_id: str | None,
    tag: str | None,
    after: tuple[KeyPart, ...] | None,
    limit: int,
) -> Page[Customer]:
    statement = select(Customer).where(Customer.merged_into.is_(None))
    if email is not None:
        statement = statement.where(func.lower(Customer.email) == email.lower())
    if external_id is not None:
        statement = statement.where(Customer.external_id == external_id)
    if tag is not None:
        statement = statement.where(Customer.tags.contains([tag]))
    return await page(session, statement, CUSTOMERS, after=after, limit=limit)


async def changes(
    session: AsyncSession, customer_id: str, *, after: tuple[KeyPart, ...] | None, limit: int
) -> Page[CustomerChange]:
    statement = select(CustomerChange).where(CustomerChange.customer_id.in_(whole(customer_id)))
    return await page(session, statement, CHANGES, after=after, limit=limit)


async def addresses(session: AsyncSession, customer_id: str) -> Sequence[Address]:
    statement = select(Address).where(Address.customer_id == customer_id).order_by(Address.created_at, Address.id)
    return (await session.scalars(statement)).all()


async def address(session: AsyncSession, customer_id: str, address_id: str) -> Address | None:
    statement = select(Address).where(Address.id == address_id, Address.customer_id == customer_id)
    return (await session.scalars(statement)).one_or_none()


async def methods(session: AsyncSession, customer_id: str) -> Sequence[PaymentMethod]:
    """The working methods in their order of use; the first is the default."""
    statement = (
        select(PaymentMethod)
        .where(PaymentMethod.customer_id == customer_id, PaymentMethod.removed_at.is_(None))
        .order_by(PaymentMethod.position, PaymentMethod.created_at, PaymentMethod.id)
    )
    return (await session.scalars(statement)).all()


async def last_change(session: AsyncSession, customer_id: str, field: str) -> int | None:
    """The id of the newest logged change of that field."""
    statement = select(func.max(CustomerChange.id)).where(
        CustomerChange.customer_id == customer_id, CustomerChange.field == field
    )
    return await session.scalar(statement)


async def method(session: AsyncSession, customer_id: str, method_id: str) -> PaymentMethod | None:
    """A working method of that customer."""
    statement = select(PaymentMethod).where(
        PaymentMethod.id == method_id, PaymentMethod.customer_id == customer_id, PaymentMethod.removed_at.is_(None)
    )
    return (await session.scalars(statement)).one_or_none()


async def any_method(session: AsyncSession, method_id: str) -> PaymentMethod | None:
    """A method, removed or not."""
    return await session.get(PaymentMethod, method_id)
