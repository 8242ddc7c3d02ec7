"""How a long list is read page by page: from the last row seen, never by counting rows, newest first by default."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Generic, TypeVar

from sqlalchemy import Select, literal, tuple_
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import InstrumentedAttribute

KeyPart = datetime | str | int
Row = TypeVar("Row")


@dataclass(frozen=True, slots=True)
class Keyset:
    """The order of one list: columns that together are unique and that an index has in this order."""

    name: str
    columns: tuple[InstrumentedAttribute[Any], ...]
    newest_first: bool = True

    @property
    def kinds(self) -> tuple[type[Any], ...]:
        return tuple(column.type.python_type for column in self.columns)


@dataclass(frozen=True, slots=True)
class Page(Generic[Row]):
    """Some rows, and the key of the last one where more follow."""

    rows: Sequence[Row]
    next: tuple[KeyPart, ...] | None


async def page(
    session: AsyncSession,
    statement: Select[Row],
    keyset: Keyset,
    *,
    after: tuple[KeyPart, ...] | None,
    limit: int,
) -> Page[Row]:
    """The `limit` rows after the key `after`, by one index range."""
    if after is not None:
        position = tuple_(*keyset.columns)
        seen = tuple_(*(literal(part, column.type) for column, part in zip(keyset.columns, after, strict=True)))
        statement = statement.where(position < seen if keyset.newest_first else position > seen)
    order = [column.desc() if keyset.newest_first else column.asc() for column in keyset.columns]
    rows = (await session.scalars(statement.order_by(*order).limit(limit + 1))).all()
    if len(rows) <= limit:
        return Page(rows, None)
    last = rows[limit - 1]
    return Page(rows[:limit], tuple(getattr(last, column.key) for column in keyset.columns))
