"""Reads of segments and of the customers in them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from sqlalchemy import func, literal, select
from sqlalchemy.ext.asyncio import AsyncSession

from domain.segments import Filter, parse
from models.customers import Customer
from models.limits import within
from models.paging import KeyPart, Keyset, Page, page
from models.queries_custom import definition_of, fields_of
from models.queries_customers import CUSTOMERS
from models.search import Segment
from models.segments import condition

SEGMENTS: Final = Keyset("segments", (Segment.created_at, Segment.id))
TIMEOUT_MS: Final = 20_000
COUNT_MAX: Final = 1_000_000


async def segment(session: AsyncSession, segment_id: str, *, lock: bool = False) -> Segment | None:
    return await session.get(Segment, segment_id, with_for_update=lock or None)


async def filter_from(session: AsyncSession, tree: Mapping[str, Any]) -> Filter:
    """A filter as the custom fields are now; those that were archived may be asked for: their values are still there.

    Raises `InvalidInput` where it does not fit.
    """
    return parse(tree, {row.key: definition_of(row) for row in await fields_of(session, "customer")})


async def segments(session: AsyncSession, *, after: tuple[KeyPart, ...] | None, limit: int) -> Page[Segment]:
    return await page(session, select(Segment), SEGMENTS, after=after, limit=limit)


async def members(
    session: AsyncSession, wanted: Filter, *, after: tuple[KeyPart, ...] | None, limit: int
) -> Page[Customer]:
    """Newest first. Raises `Unavailable` where it takes too long."""
    async with within(session, TIMEOUT_MS):
        return await page(session, select(Customer).where(condition(wanted)), CUSTOMERS, after=after, limit=limit)


async def count_members(session: AsyncSession, wanted: Filter) -> int:
    """How many, counted up to one above `COUNT_MAX`. Raises `Unavailable` where it takes too long."""
    some = select(literal(1)).select_from(Customer).where(condition(wanted)).limit(COUNT_MAX + 1).subquery()
    async with within(session, TIMEOUT_MS):
        return (await session.execute(select(func.count()).select_from(some))).scalar_one()
