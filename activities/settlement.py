"""What a gateway settled: its reports are read line by line, and each line marks the charge or refund it is about.

A line is kept once, whoever reads it how often. What it is about is marked when our books have it as done; until then
the line waits here, and each run looks at those that wait. Money is never booked from a line: the subscription's own
look-up does that. A line that fits nothing of ours is a difference, with a task.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any, Final

from sqlalchemy import Row, text
from sqlalchemy.ext.asyncio import AsyncConnection
from temporalio import activity

from activities.alive import alive
from activities.differences import Compared, keep, ours
from activities.gateway_runs import (
    PAGE_MAX,
    Counts,
    GatewayRun,
    OpenRequest,
    StepRequest,
    advance,
    at_each_gateway,
    begin,
    end,
)
from domain.errors import Broken
from domain.reconciliation import Mismatch, Transaction, compare
from models.session import Database
from providers.gateways.base import Gateway, SettledLine

KIND: Final = "settlement"
# A run begins where the run before the last one ended: what a gateway adds behind our back is read the day after.
OVERLAP_RUNS: Final = 1
# Lines that wait are looked at for so long; then their difference alone tells of them.
WAITING_MAX: Final = timedelta(days=30)

_LINES: Final = "lines"
_WAITING: Final = "waiting"
_JUDGED: Final = frozenset({Mismatch.MISSING_HERE, Mismatch.AMOUNT, Mismatch.STATE})


class Settlements:
    """Activities of settlement runs, over the gateways by name."""

    def __init__(self, database: Database, gateways: Mapping[str, Gateway]) -> None:
        self._database = database
        self._gateways = gateways

    @activity.defn(name="open_settlement")
    async def open_settlement(self, request: OpenRequest) -> tuple[GatewayRun, ...]:
        """Begin a run at each gateway asked for, some way before where the last one ended."""
        asked, runs = request.request, list[GatewayRun]()
        async with self._database.begin() as connection:
            for run_id, gateway in at_each_gateway(asked, self._gateways):
                where = {"gateway": gateway, "kind": KIND, "overlap": OVERLAP_RUNS}
                cursor = None if asked.from_start else await connection.scalar(_LAST_CURSOR, where)
                run = GatewayRun(run_id, gateway, _LINES, cursor, in_flight_s=asked.in_flight_s)
                runs.append(await begin(connection, run, KIND, asked.source, request.now))
        return tuple(runs)

    @activity.defn(name="settle_page")
    @alive
    async def settle_page(self, request: StepRequest) -> GatewayRun | None:
        """Read a page of lines, or look at a page of those that wait. Returns where to go on, None at the end."""
        match request.run.phase:
            case "lines":
                return await self._read(request.run, request.now)
            case "waiting":
                return await self._look_again(request.run, request.now)
            case phase:
                raise Broken(f"a settlement run has no phase {phase}")

    async def _read(self, run: GatewayRun, now: datetime) -> GatewayRun:
        page = await self._gateways[run.gateway].settlements(run.cursor)
        if page.more and page.cursor == run.cursor:
            raise Broken(f"{run.gateway} has more lines, but not behind {page.cursor}")
        after = replace(run, cursor=page.cursor) if page.more else replace(run, phase=_WAITING, cursor=None)
        async with self._database.begin() as connection:
            if page.lines:
                await connection.execute(_LINE, [_line(run.gateway, line) for line in page.lines])
            ids = [line.gateway_id for line in page.lines]
            rows = (await connection.execute(_KEPT, {"gateway": run.gateway, "ids": ids})).all()
            counts = await _mark(connection, run, rows, now)
            await advance(connection, run, after, replace(counts, seen=len(page.lines)), cursor=page.cursor)
        return after

    async def _look_again(self, run: GatewayRun, now: datetime) -> GatewayRun | None:
        async with self._database.begin() as connection:
            asked = {"gateway": run.gateway, "since": now - WAITING_MAX, "after": run.cursor or "", "limit": PAGE_MAX}
            rows = (await connection.execute(_UNMATCHED, asked)).all()
            counts = await _mark(connection, run, rows, now)
            if len(rows) < PAGE_MAX:
                await end(connection, run, counts, now)
                return None
            after = replace(run, cursor=rows[-1].gateway_id)
            await advance(connection, run, after, counts)
        return after


async def _mark(connection: AsyncConnection, run: GatewayRun, rows: Sequence[Row[Any]], now: datetime) -> Counts:
    """Mark what these lines are about, and keep what does not fit."""
    if not rows:
        return Counts()
    references = sorted({row.reference for row in rows})
    lines = {
        "gateway": run.gateway,
        "references": [row.reference for row in rows],
        "ids": [row.gateway_id for row in rows],
        "kinds": [row.kind for row in rows],
        "batches": [row.batch_id for row in rows],
        "ats": [row.settled_at for row in rows],
    }
    # In one order, so that two runs that meet wait for each other and never both.
    await connection.execute(_LOCK_ATTEMPTS, {"gateway": run.gateway, "references": references})
    marked = (await connection.execute(_MARK_ATTEMPTS, lines)).rowcount
    marked += (await connection.execute(_MARK_TRIES, lines)).rowcount
    here, there = await ours(connection, run.gateway, references), [_settled(row) for row in rows]
    compared = Compared(
        gateway=run.gateway,
        references=references,
        judged=_JUDGED,
        findings=[
            each
            for each in compare(here, there, now=now, in_flight=run.in_flight)
            if each.mismatch is not Mismatch.MISSING_THERE
        ],
        standing=compare(here, there, now=now, in_flight=timedelta(0)),
    )
    await keep(connection, compared, run.run_id, now)
    return Counts(changed=marked)


def _settled(row: Row[Any]) -> Transaction:
    return Transaction(row.kind, row.reference, row.amount, row.currency, "settled", row.gateway_id, row.settled_at)


def _line(gateway: str, line: SettledLine) -> dict[str, Any]:
    return {
        "gateway": gateway,
        "gateway_id": line.gateway_id,
        "batch": line.batch_id,
        "kind": line.kind,
        "reference": line.reference,
        "amount": line.amount.minor,
        "currency": line.amount.currency,
        "settled_at": line.settled_at,
    }


_LAST_CURSOR = text(
    """
SELECT cursor FROM settlement_runs
WHERE gateway = :gateway AND kind = :kind AND status = 'done' AND cursor IS NOT NULL
ORDER BY ended_at DESC, id LIMIT 1 OFFSET :overlap
"""
)
_LINE = text(
    """
INSERT INTO settlement_lines (gateway, gateway_id, batch_id, kind, reference, amount, currency, settled_at)
VALUES (:gateway, :gateway_id, :batch, :kind, :reference, :amount, :currency, :settled_at)
ON CONFLICT DO NOTHING
"""
)
_KEPT = text("SELECT * FROM settlement_lines WHERE gateway = :gateway AND gateway_id = ANY(:ids)")
_UNMATCHED = text(
    """
SELECT l.* FROM settlement_lines AS l
WHERE l.gateway = :gateway AND l.settled_at >= :since AND l.gateway_id > :after
    AND NOT EXISTS (
        SELECT 1 FROM attempts AS a WHERE a.reference = l.reference AND a.gateway = l.gateway
            AND l.kind = 'sale' AND a.settlement = 'settled' AND coalesce(a.gateway_id, l.gateway_id) = l.gateway_id
    )
    AND NOT EXISTS (
        SELECT 1 FROM refund_tries AS t WHERE t.reference = l.reference AND l.kind = 'refund'
            AND t.settlement = 'settled' AND coalesce(t.gateway_id, l.gateway_id) = l.gateway_id
    )
ORDER BY l.gateway_id LIMIT :limit
"""
)
_LOCK_ATTEMPTS = text(
    "SELECT id FROM attempts WHERE gateway = :gateway AND reference = ANY(:references) ORDER BY id FOR UPDATE"
)
_LINES_GIVEN = """
unnest(
    CAST(:references AS text[]), CAST(:ids AS text[]), CAST(:kinds AS text[]), CAST(:batches AS text[]),
    CAST(:ats AS timestamptz[])
) AS l(reference, gateway_id, kind, batch_id, settled_at)
"""
_MARK_ATTEMPTS = text(
    f"""
UPDATE attempts SET settlement = 'settled', settled_at = l.settled_at, batch_id = l.batch_id
FROM {_LINES_GIVEN}
WHERE attempts.reference = l.reference AND attempts.gateway = :gateway AND l.kind = 'sale'
    AND attempts.status = 'approved' AND attempts.settlement = 'pending'
    AND coalesce(attempts.gateway_id, l.gateway_id) = l.gateway_id
"""  # noqa: S608 - own constants
)
_MARK_TRIES = text(
    f"""
UPDATE refund_tries SET settlement = 'settled', settled_at = l.settled_at, batch_id = l.batch_id
FROM refunds, {_LINES_GIVEN}
WHERE refund_tries.reference = l.reference AND refunds.id = refund_tries.refund_id AND refunds.gateway = :gateway
    AND l.kind = 'refund' AND refund_tries.kind = 'refund' AND refund_tries.status = 'succeeded'
    AND refund_tries.settlement IS DISTINCT FROM 'settled'
    AND coalesce(refund_tries.gateway_id, l.gateway_id) = l.gateway_id
"""  # noqa: S608 - own constants
)
