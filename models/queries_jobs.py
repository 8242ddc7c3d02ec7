"""Reads of billing runs and imports."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import Final

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession

from domain.imports import HEADER_BYTES_MAX
from models.billing import BillingRun, BillingRunItem
from models.imports import Import, ImportRow
from models.paging import KeyPart, Keyset, Page, page

ROWS_AT_ONCE: Final = 500
RUNS: Final = Keyset("billing_runs", (BillingRun.started_at, BillingRun.id))
RUN_ITEMS: Final = Keyset("billing_run_items", (BillingRunItem.subscription_id,), newest_first=False)
FILTER: Final = "filter"  # in the segment of a run over a saved one: what was asked for then
IMPORTS: Final = Keyset("imports", (Import.created_at, Import.id))


async def billing_run(session: AsyncSession, run_id: str) -> BillingRun | None:
    return await session.get(BillingRun, run_id)


async def billing_runs(session: AsyncSession, *, after: tuple[KeyPart, ...] | None, limit: int) -> Page[BillingRun]:
    return await page(session, select(BillingRun), RUNS, after=after, limit=limit)


async def run_items(
    session: AsyncSession, run_id: str, *, verdict: str | None, after: tuple[KeyPart, ...] | None, limit: int
) -> Page[BillingRunItem]:
    statement = select(BillingRunItem).where(BillingRunItem.run_id == run_id)
    if verdict is not None:
        statement = statement.where(BillingRunItem.verdict == verdict)
    return await page(session, statement, RUN_ITEMS, after=after, limit=limit)


async def import_(session: AsyncSession, import_id: str) -> Import | None:
    """An import without its file."""
    return await session.get(Import, import_id)


async def first_line(session: AsyncSession, import_id: str) -> str:
    """The beginning of an import's file with its header; the file itself may be large and stays where it is."""
    start = select(func.substring(Import.content, 1, HEADER_BYTES_MAX)).where(Import.id == import_id)
    return bytes((await session.execute(start)).scalar_one()).decode(errors="ignore")


async def imports(session: AsyncSession, *, after: tuple[KeyPart, ...] | None, limit: int) -> Page[Import]:
    return await page(session, select(Import), IMPORTS, after=after, limit=limit)


async def refused_rows(session: AsyncSession, import_id: str) -> AsyncIterator[Sequence[ImportRow]]:
    """In the order of the file, some at a time."""
    statement = select(ImportRow).where(ImportRow.import_id == import_id).order_by(ImportRow.row)
    async for part in (await session.stream_scalars(statement)).partitions(ROWS_AT_ONCE):
        yield part
