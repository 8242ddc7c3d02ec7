"""Settlement and reconciliation runs: have a gateway's reports read, or our books compared with its own, now."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Annotated, Any, Final

from fastapi import Path, Query
from pydantic import ConfigDict, Field
from sqlalchemy.dialects.postgresql import insert

from api.context import CallerDep, OnceDep, Services, ServicesDep
from api.fields import Body, Identifier, Instant, View
from api.paging import Listed, PageQuery, listed
from api.routing import noun
from api.rows import found
from domain.errors import InvalidInput
from domain.reconciliation import IN_FLIGHT_MAX
from models import SettlementRun
from models.queries_settlement import GATEWAY_RUNS, RECONCILIATION, SETTLEMENT, gateway_run, gateway_runs
from models.session import database_now

WINDOW_MAX: Final = timedelta(days=92)
IN_FLIGHT_S_MAX: Final = 86_400

router = noun("settlement")
RunId = Annotated[str, Path(pattern=r"^[A-Za-z0-9_:.-]{1,64}$", description="Id of the run")]


class SettlementNew(Body):
    """Which gateway's reports to read."""

    model_config = ConfigDict(json_schema_extra={"examples": [{}, {"gateway": "sandbox", "from_start": True}]})

    gateway: Identifier | None = Field(default=None, description="null is the default one")
    from_start: bool = Field(default=False, description="Read all reports again, not just what is new")


class ReconciliationNew(Body):
    """Which transactions to compare: those made in [since, until), by the wall clock."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"since": "2026-01-30T00:00:00Z", "until": "2026-01-31T00:00:00Z"}]}
    )

    gateway: Identifier | None = Field(default=None, description="null is the default one")
    since: Instant
    until: Instant | None = Field(default=None, description="null is now; at most 92 days after `since`")
    in_flight_s: Annotated[int, Field(ge=0, le=IN_FLIGHT_S_MAX)] = Field(
        default=int(IN_FLIGHT_MAX.total_seconds()),
        description="An outcome that has been open for less is left to a later run",
    )


class SettlementRunView(View):
    """A reading of reports: `seen` lines, `changed` charges and refunds marked settled.

    `differences`: how many stood open at this gateway when it ended.
    """

    id: str
    gateway: str
    source: str
    status: str
    seen: int
    changed: int
    differences: int
    started_at: Instant
    ended_at: Instant | None


class ReconciliationRunView(SettlementRunView):
    """A comparison: `seen` references compared, `changed` differences found gone; the rest as for a reading."""

    since: Instant | None
    until: Instant | None


@router.post("/settlement-runs", status_code=202)
async def create_settlement_run(
    body: SettlementNew, services: ServicesDep, once: OnceDep, caller: CallerDep
) -> SettlementRunView:
    """Read what a gateway settled since the last run. A report read twice, late or in pieces changes nothing twice."""
    run_id, gateway = once.id("stl"), services.gateway(body.gateway).name
    await _begin(services, run_id, SETTLEMENT, gateway, caller.name)
    await services.commands.settlement.settle(run_id, gateway, caller.name, from_start=body.from_start)
    return await get_settlement_run(run_id, services)


@router.get("/settlement-runs")
async def list_settlement_runs(
    services: ServicesDep, query: Annotated[PageQuery, Query()]
) -> Listed[SettlementRunView]:
    """List settlement runs, newest first, those of the schedule included."""
    keyset = GATEWAY_RUNS[SETTLEMENT]
    async with services.database.session() as session:
        rows = await gateway_runs(session, SETTLEMENT, after=query.after(keyset), limit=query.limit)
        return listed(rows, keyset, SettlementRunView.model_validate)


@router.get("/settlement-runs/{run_id}")
async def get_settlement_run(run_id: RunId, services: ServicesDep) -> SettlementRunView:
    """Read one settlement run with its counts."""
    async with services.database.session() as session:
        row = found(await gateway_run(session, SETTLEMENT, run_id), "settlement run")
        return SettlementRunView.model_validate(row)


@router.post("/reconciliation-runs", status_code=202)
async def create_reconciliation_run(
    body: ReconciliationNew, services: ServicesDep, once: OnceDep, caller: CallerDep
) -> ReconciliationRunView:
    """Compare every transaction of a window with the gateway's own books, both ways. Each difference gets a task."""
    run_id, gateway = once.id("rec"), services.gateway(body.gateway).name
    async with services.database.session() as session:
        until = body.until or await database_now(session)
    if not body.since < until:
        raise InvalidInput("since", "must be before until" if body.until else "must not be in the future")
    if until - body.since > WINDOW_MAX:
        raise InvalidInput("since", f"must be at most {WINDOW_MAX.days} days before until")
    window = {"since": body.since, "until": until}
    await _begin(services, run_id, RECONCILIATION, gateway, caller.name, **window)
    await services.commands.settlement.reconcile(run_id, gateway, caller.name, in_flight_s=body.in_flight_s, **window)
    return await get_reconciliation_run(run_id, services)


@router.get("/reconciliation-runs")
async def list_reconciliation_runs(
    services: ServicesDep, query: Annotated[PageQuery, Query()]
) -> Listed[ReconciliationRunView]:
    """List reconciliation runs, newest first, those of the schedule included."""
    keyset = GATEWAY_RUNS[RECONCILIATION]
    async with services.database.session() as session:
        rows = await gateway_runs(session, RECONCILIATION, after=query.after(keyset), limit=query.limit)
        return listed(rows, keyset, ReconciliationRunView.model_validate)


@router.get("/reconciliation-runs/{run_id}")
async def get_reconciliation_run(run_id: RunId, services: ServicesDep) -> ReconciliationRunView:
    """Read one reconciliation run with its counts."""
    async with services.database.session() as session:
        row = found(await gateway_run(session, RECONCILIATION, run_id), "reconciliation run")
        return ReconciliationRunView.model_validate(row)


async def _begin(services: Services, run_id: str, kind: str, gateway: str, source: str, **window: datetime) -> None:
    """Write the run's row, so that it can be read at once; its first step fills in where it begins."""
    async with services.database.session() as session:
        values: dict[str, Any] = {"id": run_id, "kind": kind, "gateway": gateway, "source": source, **window}
        values |= {"status": "running", "started_at": await database_now(session)}
        await session.execute(insert(SettlementRun).values(values).on_conflict_do_nothing())
