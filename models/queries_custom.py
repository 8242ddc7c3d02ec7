"""Reads of custom fields and their values."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from sqlalchemy import and_, func, or_, select
from sqlalchemy.ext.asyncio import AsyncSession

from domain.custom_fields import Definition, FieldType
from models.paging import KeyPart, Keyset, Page, page
from models.search import CustomField, CustomValue

FIELDS: Final = Keyset("custom_fields", (CustomField.created_at, CustomField.id), newest_first=False)


def definition_of(row: CustomField) -> Definition:
    return Definition(row.key, FieldType(row.type), tuple(row.choices), row.required, row.archived_at is not None)


async def field(session: AsyncSession, field_id: str, *, lock: bool = False) -> CustomField | None:
    return await session.get(CustomField, field_id, with_for_update=lock or None)


async def fields(
    session: AsyncSession, *, subject: str | None, archived: bool, after: tuple[KeyPart, ...] | None, limit: int
) -> Page[CustomField]:
    statement = select(CustomField).where(CustomField.archived_at.is_not(None) == archived)
    if subject is not None:
        statement = statement.where(CustomField.subject == subject)
    return await page(session, statement, FIELDS, after=after, limit=limit)


async def count_fields(session: AsyncSession, subject: str) -> int:
    statement = select(func.count()).select_from(CustomField).where(CustomField.subject == subject)
    return (await session.execute(statement)).scalar_one()


async def fields_of(session: AsyncSession, subject: str) -> Sequence[CustomField]:
    """All fields of a subject, archived ones too: their number is limited."""
    statement = (
        select(CustomField).where(CustomField.subject == subject).order_by(CustomField.created_at, CustomField.id)
    )
    return (await session.scalars(statement)).all()


async def values_of(session: AsyncSession, customer_id: str) -> Sequence[tuple[CustomField, CustomValue | None]]:
    """Every field of customers with this one's value; of archived fields only those with a value."""
    own = and_(CustomValue.field_id == CustomField.id, CustomValue.customer_id == customer_id)
    statement = (
        select(CustomField, CustomValue)
        .outerjoin(CustomValue, own)
        .where(
            CustomField.subject == "customer",
            or_(CustomField.archived_at.is_(None), CustomValue.customer_id.is_not(None)),
        )
        .order_by(CustomField.created_at, CustomField.id)
    )
    return [(row[0], row[1]) for row in await session.execute(statement)]
