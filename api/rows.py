"""How a row of reference data is written so that a repetition of its request changes nothing."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

from sqlalchemy.ext.asyncio import AsyncSession

from domain.errors import InvalidInput, NotFound
from models import Base

Row = TypeVar("Row", bound=Base)
Found = TypeVar("Found")


def found(row: Found | None, what: str) -> Found:
    """The row (or what was made of several), or `NotFound` for something named in the path."""
    if row is None:
        raise NotFound(f"There is no such {what}.")
    return row


def known(row: Row | None, field: str, what: str) -> Row:
    """The row, or `InvalidInput` for something named in the body."""
    if row is None:
        raise InvalidInput(field, f"there is no such {what}", code="unknown_reference")
    return row


async def add_once(session: AsyncSession, row: Row) -> Row:
    """The row, written; or the one that an interrupted try of the same request wrote under the same id."""
    before = await session.get(type(row), getattr(row, "id"))  # noqa: B009 - every table of reference data has one
    if before is not None:
        return before
    session.add(row)
    await session.flush()
    return row


def replace_fields(row: Base, fields: Mapping[str, Any]) -> dict[str, tuple[Any, Any]]:
    """Set what differs; field → (old, new) of what did."""
    changed = {name: (getattr(row, name), value) for name, value in fields.items() if getattr(row, name) != value}
    for name, (_, new) in changed.items():
        setattr(row, name, new)
    return changed
