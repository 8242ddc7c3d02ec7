"""A run over a gateway's reports, page by page: where it begins, how far it is, what it counted, and its end."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from domain.errors import NotFound
from domain.ids import derive
from domain.reconciliation import IN_FLIGHT_MAX

PAGE_MAX: Final = 500


@dataclass(frozen=True, slots=True)
class GatewayRun:
    """A run under way at one gateway. `phase` and `cursor` say where it goes on; the window is that of reconciliation.

    `in_flight_s`: an outcome that has been open for less is left to a later run.
    """

    run_id: str
    gateway: str
    phase: str
    cursor: str | None = None
    since: datetime | None = None
    until: datetime | None = None
    in_flight_s: int = int(IN_FLIGHT_MAX.total_seconds())

    @property
    def in_flight(self) -> timedelta:
        return timedelta(seconds=self.in_flight_s)

    @property
    def place(self) -> str:
        return f"{self.phase} {self.cursor or ''}"


@dataclass(frozen=True, slots=True)
class GatewayRunRequest:
    """A run to be made. `run_id` is its identity; without one (a Schedule) it is the workflow's.

    `gateway`: one, or with an empty name each that is served. `from_start`: read all reports again. `runs`: what is
    still to be done of a request that was begun.
    """

    run_id: str = ""
    gateway: str = ""
    source: str = "api"
    since: datetime | None = None
    until: datetime | None = None
    in_flight_s: int = int(IN_FLIGHT_MAX.total_seconds())
    from_start: bool = False
    runs: tuple[GatewayRun, ...] = ()


@dataclass(frozen=True, slots=True)
class OpenRequest:
    """Begin the runs of a request."""

    request: GatewayRunRequest
    now: datetime


@dataclass(frozen=True, slots=True)
class StepRequest:
    """Go on with a run by one page."""

    run: GatewayRun
    now: datetime


@dataclass(frozen=True, slots=True)
class Counts:
    """What one step adds to a run: what was seen, and what changed here because of it."""

    seen: int = 0
    changed: int = 0


def at_each_gateway(request: GatewayRunRequest, served: Iterable[str]) -> list[tuple[str, str]]:
    """(run id, gateway): one run for each gateway asked for. Raises `NotFound` for one that is not served."""
    if not request.gateway:
        return [(derive("run", request.run_id, name), name) for name in sorted(served)]
    if request.gateway not in served:
        raise NotFound(f"there is no gateway {request.gateway}")
    return [(request.run_id, request.gateway)]


async def begin(connection: AsyncConnection, run: GatewayRun, kind: str, source: str, now: datetime) -> GatewayRun:
    """Write the row of a run, once (the API may have written it before). Returns the run as it was first begun."""
    parameters = {
        "id": run.run_id,
        "kind": kind,
        "gateway": run.gateway,
        "source": source,
        "since": run.since,
        "until": run.until,
        "cursor": run.cursor,
        "place": run.place,
        "at": now,
    }
    await connection.execute(_BEGIN, parameters)
    row = (await connection.execute(_BEGUN, {"id": run.run_id})).one()
    return replace(run, cursor=row.cursor, since=row.since, until=row.until)


async def advance(
    connection: AsyncConnection, run: GatewayRun, after: GatewayRun, counts: Counts, *, cursor: str | None = None
) -> None:
    """Move a run to its next place with what it counted on the way; a step made twice counts once."""
    await connection.execute(
        _ADVANCE,
        {
            "id": run.run_id,
            "place": run.place,
            "next": after.place,
            "seen": counts.seen,
            "changed": counts.changed,
            "cursor": cursor,
        },
    )


async def end(connection: AsyncConnection, run: GatewayRun, counts: Counts, now: datetime) -> None:
    """The last step of a run. It keeps how many differences stand open at its gateway then."""
    await advance(connection, run, GatewayRun(run.run_id, run.gateway, "done"), counts)
    await connection.execute(_END, {"id": run.run_id, "at": now})


_BEGIN = text(
    """
INSERT INTO settlement_runs (id, kind, gateway, source, status, since, until, cursor, place, started_at)
VALUES (:id, :kind, :gateway, :source, 'running', :since, :until, :cursor, :place, :at)
ON CONFLICT (id) DO UPDATE SET since = excluded.since, until = excluded.until, cursor = excluded.cursor,
    place = excluded.place
WHERE settlement_runs.place = ''
"""
)
_BEGUN = text("SELECT since, until, cursor FROM settlement_runs WHERE id = :id")
_ADVANCE = text(
    """
UPDATE settlement_runs SET place = :next, seen = seen + :seen, changed = changed + :changed,
    cursor = coalesce(:cursor, cursor)
WHERE id = :id AND place = :place
"""
)
_END = text(
    """
UPDATE settlement_runs SET status = 'done', ended_at = :at, differences = (
    SELECT count(*) FROM differences WHERE differences.gateway = settlement_runs.gateway AND status = 'open'
)
WHERE id = :id AND status = 'running'
"""
)
