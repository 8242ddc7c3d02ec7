"""Reads of settlement and reconciliation runs, and of differences."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from models.paging import KeyPart, Keyset, Page, page
from models.settlement import Difference, SettlementRun

SETTLEMENT: Final = "settlement"
RECONCILIATION: Final = "reconciliation"

GATEWAY_RUNS: Final = {
    kind: Keyset(f"{kind}_runs", (SettlementRun.started_at, SettlementRun.id)) for kind in (SETTLEMENT, RECONCILIATION)
}
DIFFERENCES: Final = Keyset("differences", (Difference.found_at, Difference.id))


@dataclass(frozen=True, slots=True)
class DifferenceFilter:
    """Every condition that is set must hold."""

    status: str | None = None
    kind: str | None = None
    gateway: str | None = None
    reference: str | None = None
    customer_id: str | None = None


async def gateway_run(session: AsyncSession, kind: str, run_id: str) -> SettlementRun | None:
    """A run of this kind."""
    statement = select(SettlementRun).where(SettlementRun.id == run_id, SettlementRun.kind == kind)
    return (await session.scalars(statement)).one_or_none()


async def gateway_runs(
    session: AsyncSession, kind: str, *, after: tuple[KeyPart, ...] | None, limit: int
) -> Page[SettlementRun]:
    statement = select(SettlementRun).where(SettlementRun.kind == kind)
    return await page(session, statement, GATEWAY_RUNS[kind], after=after, limit=limit)


async def difference(session: AsyncSession, difference_id: str) -> Difference | None:
    return await session.get(Difference, difference_id)


async def differences(
    session: AsyncSession, wanted: DifferenceFilter, *, after: tuple[KeyPart, ...] | None, limit: int
) -> Page[Difference]:
    statement = select(Difference)
    for column, value in (
        (Difference.status, wanted.status),
        (Difference.kind, wanted.kind),
        (Difference.gateway, wanted.gateway),
        (Difference.reference, wanted.reference),
        (Difference.customer_id, wanted.customer_id),
    ):
        if value is not None:
            statement = statement.where(column == value)
    return await page(session, statement, DIFFERENCES, after=after, limit=limit)
