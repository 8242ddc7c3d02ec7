"""Our books against a gateway's: every transaction of a window, both ways, page by page.

First the gateway's report is read whole (`report`). Then each reported reference is compared with ours, whenever ours
was made (`theirs`), and each of ours of the window that was not reported is asked for by its reference (`ours`): so no
edge of the window, and no clock, makes a difference. Last, differences that were open before are looked at again
(`open`). What is reported is kept only while the run lasts.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any, Final

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection
from temporalio import activity

from activities.alive import alive
from activities.differences import OURS, Compared, keep, ours, transaction_of, with_adopted
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
from activities.recheck import NEAR_OURS, NEAR_THEIRS, in_report, is_there, recheck, theirs_now
from domain.errors import Broken
from domain.reconciliation import Finding, Mismatch, Transaction, compare
from models.session import Database
from providers.gateways.base import Gateway, TheirTransaction

KIND: Final = "reconciliation"
# A window begins before the last one ended: a second look at its end costs little.
OVERLAP: Final = timedelta(hours=6)
FIRST_WINDOW: Final = timedelta(days=7)
RECHECKS_PER_PAGE_MAX: Final = 50

_NOTHING: Final = timedelta(0)
_EVERY: Final = frozenset(Mismatch)
_MISSING_THERE: Final = frozenset({Mismatch.MISSING_THERE})


class Reconciliations:
    """Activities of reconciliation runs, over the gateways by name."""

    def __init__(self, database: Database, gateways: Mapping[str, Gateway]) -> None:
        self._database = database
        self._gateways = gateways

    @activity.defn(name="open_reconciliation")
    async def open_reconciliation(self, request: OpenRequest) -> tuple[GatewayRun, ...]:
        """Begin a run at each gateway asked for: the window asked for, or all since the last one until now."""
        asked, runs = request.request, list[GatewayRun]()
        async with self._database.begin() as connection:
            for run_id, gateway in at_each_gateway(asked, self._gateways):
                last: datetime | None = await connection.scalar(_LAST_UNTIL, {"gateway": gateway, "kind": KIND})
                since = asked.since or (last - OVERLAP if last else request.now - FIRST_WINDOW)
                until = min(asked.until or request.now, request.now)
                if asked.since is None:
                    since = await _reached_back(connection, gateway, since)
                run = GatewayRun(
                    run_id, gateway, "report", since=since, until=max(until, since), in_flight_s=asked.in_flight_s
                )
                runs.append(await begin(connection, run, KIND, asked.source, request.now))
        return tuple(runs)

    @activity.defn(name="reconcile_page")
    @alive
    async def reconcile_page(self, request: StepRequest) -> GatewayRun | None:
        """Go on with a run by one page of its phase. Returns where to go on, None at the end. Safe to repeat."""
        run, now = request.run, request.now
        match run.phase:
            case "report":
                return await self._read(run)
            case "theirs":
                return await self._compare_theirs(run, now)
            case "ours":
                return await self._compare_ours(run, now)
            case "open":
                return await self._recheck_open(run, now)
            case phase:
                raise Broken(f"a reconciliation run has no phase {phase}")

    async def _read(self, run: GatewayRun) -> GatewayRun:
        since, until = _window(run)
        page = await self._gateways[run.gateway].transactions(since, until, run.cursor)
        if page.cursor is not None and page.cursor == run.cursor:
            raise Broken(f"{run.gateway} has more transactions, but not behind {page.cursor}")
        after = replace(run, cursor=page.cursor) if page.cursor is not None else replace(run, phase="theirs", cursor="")
        async with self._database.begin() as connection:
            if page.rows:
                await connection.execute(_REPORTED, [_reported(run.run_id, row) for row in page.rows])
            await advance(connection, run, after, Counts())
        return after

    async def _compare_theirs(self, run: GatewayRun, now: datetime) -> GatewayRun:
        """Each reported reference with ours, whenever ours was made."""
        asked = {"run": run.run_id, "after": run.cursor or "", "limit": PAGE_MAX}
        async with self._database.begin() as connection:
            references = list((await connection.scalars(_REFERENCES, asked)).all())
            rows = await connection.execute(_STAGED, {"run": run.run_id, "references": references})
            theirs = [
                Transaction(
                    row.kind,
                    row.reference,
                    row.amount,
                    row.currency,
                    row.state,
                    row.gateway_id,
                    row.at,
                    row.at if row.state == "pending" else None,
                )
                for row in rows
            ]
            here = await ours(connection, run.gateway, references)
        more = len(references) == PAGE_MAX
        after = replace(run, cursor=references[-1]) if more else replace(run, phase="ours", cursor=None)
        return await self._keep(run, after, here, theirs, references, _EVERY, now)

    async def _compare_ours(self, run: GatewayRun, now: datetime) -> GatewayRun:
        """Each of ours of the window that was not reported, asked for by its reference."""
        since, until = _window(run)
        at, _, reference = (run.cursor or "").partition(" ")
        asked = {
            "gateway": run.gateway,
            "run": run.run_id,
            "since": since,
            "until": until,
            "after_at": datetime.fromisoformat(at) if at else since,
            "after": reference,
            "limit": PAGE_MAX,
        }
        async with self._database.begin() as connection:
            rows = (await connection.execute(_UNREPORTED, asked)).all()
            references = [row.reference for row in rows]
            known = {row.reference for row in rows}
            found = await with_adopted(connection, run.gateway, references, [transaction_of(row) for row in rows])
            here = [each for each in found if each.reference in known]
        if len(rows) == PAGE_MAX:
            after = replace(run, cursor=f"{rows[-1].at.isoformat()} {rows[-1].reference}")
        else:
            after = replace(run, phase="open", cursor="")
        return await self._keep(run, after, here, [], references, _MISSING_THERE, now)

    async def _recheck_open(self, run: GatewayRun, now: datetime) -> GatewayRun | None:
        """Differences that earlier runs left open: what the gateway says of each now."""
        asked = {"gateway": run.gateway, "run": run.run_id, "after": run.cursor or "", "limit": RECHECKS_PER_PAGE_MAX}
        async with self._database.begin() as connection:
            rows = (await connection.execute(_OPEN, asked)).all()
        closed = 0
        for row in rows:
            async with self._database.begin() as connection:
                here = await ours(connection, run.gateway, [row.reference])
            theirs = await theirs_now(self._gateways[run.gateway], row, here)
            async with self._database.begin() as connection:
                closed += await recheck(connection, row, theirs, run.run_id, now) is None
        counts = Counts(changed=closed)
        async with self._database.begin() as connection:
            if len(rows) == RECHECKS_PER_PAGE_MAX:
                after = replace(run, cursor=rows[-1].id)
                await advance(connection, run, after, counts)
                return after
            await connection.execute(_FORGET, {"run": run.run_id})
            await end(connection, run, counts, now)
        return None

    async def _keep(
        self,
        run: GatewayRun,
        after: GatewayRun,
        here: Sequence[Transaction],
        theirs: Sequence[Transaction],
        references: Sequence[str],
        judged: frozenset[Mismatch],
        now: datetime,
    ) -> GatewayRun:
        """Compare a page, write down what stands, and go on."""
        standing = await self._confirmed(run.gateway, compare(here, theirs, now=now, in_flight=_NOTHING), now)
        findings = [each for each in standing if each in _again(each, now, run.in_flight)]
        async with self._database.begin() as connection:
            compared = Compared(run.gateway, references, judged, findings, standing)
            gone = await keep(connection, compared, run.run_id, now)
            await advance(connection, run, after, Counts(len(references), gone))
        return after

    async def _confirmed(self, gateway: str, standing: Sequence[Finding], now: datetime) -> list[Finding]:
        """Those that still stand when both sides are asked again: the report may be older than what we did since.

        What the gateway has under its reference, but outside the window, is not missing: another run compares it.
        """
        asked, confirmed = self._gateways[gateway], list[Finding]()
        for each in standing:
            if each.mismatch is Mismatch.MISSING_THERE:
                confirmed += [] if await is_there(asked, each.transaction) else [each]
            elif each.theirs is None or each.mismatch is Mismatch.MISSING_HERE:
                confirmed.append(each)
            else:
                theirs = await in_report(asked, each.theirs.reference, each.theirs.at, NEAR_THEIRS)
                async with self._database.begin() as connection:
                    here = await ours(connection, gateway, [each.theirs.reference])
                confirmed += [
                    again
                    for again in compare(here, theirs, now=now, in_flight=_NOTHING)
                    if again.theirs is not None and again.theirs.gateway_id == each.theirs.gateway_id
                ]
        return confirmed


async def _reached_back(connection: AsyncConnection, gateway: str, since: datetime) -> datetime:
    """The begin of a window that also has what was authorised before it and captured or released since then.

    A gateway reports it by when it was authorised.
    """
    first: datetime | None = await connection.scalar(_ASKED_SINCE, {"gateway": gateway, "since": since})
    return since if first is None else min(since, first - NEAR_OURS)


def _again(finding: Finding, now: datetime, in_flight: timedelta) -> tuple[Finding, ...]:
    """The same two sides, with what is on its way excused."""
    here, there = ([side] if side is not None else [] for side in (finding.ours, finding.theirs))
    return compare(here, there, now=now, in_flight=in_flight)


def _window(run: GatewayRun) -> tuple[datetime, datetime]:
    if run.since is None or run.until is None:
        raise Broken(f"reconciliation run {run.run_id} has no window")
    return run.since, run.until


def _reported(run_id: str, row: TheirTransaction) -> dict[str, Any]:
    return {
        "run": run_id,
        "gateway_id": row.gateway_id,
        "kind": row.kind,
        "reference": row.reference,
        "amount": row.amount.minor,
        "currency": row.amount.currency,
        "state": row.state,
        "at": row.at,
    }


_LAST_UNTIL = text(
    "SELECT max(until) FROM settlement_runs WHERE gateway = :gateway AND kind = :kind AND status = 'done'"
)
_ASKED_SINCE = text("SELECT min(recorded_at) FROM attempts WHERE gateway = :gateway AND asked_at >= :since")
_REPORTED = text(
    """
INSERT INTO reported_transactions (run_id, gateway_id, kind, reference, amount, currency, state, at)
VALUES (:run, :gateway_id, :kind, :reference, :amount, :currency, :state, :at) ON CONFLICT DO NOTHING
"""
)
_REFERENCES = text(
    """
SELECT DISTINCT reference FROM reported_transactions
WHERE run_id = :run AND reference > :after ORDER BY reference LIMIT :limit
"""
)
_STAGED = text("SELECT * FROM reported_transactions WHERE run_id = :run AND reference = ANY(:references)")
_UNREPORTED = text(
    f"""{OURS}
WHERE gateway = :gateway AND at >= :since AND at < :until AND (at, reference) > (:after_at, :after)
    AND NOT EXISTS (SELECT 1 FROM reported_transactions AS t WHERE t.run_id = :run AND t.reference = ours.reference)
ORDER BY at, reference LIMIT :limit
"""  # noqa: S608 - own constants
)
_OPEN = text(
    """
SELECT * FROM differences
WHERE gateway = :gateway AND status = 'open' AND run_id <> :run AND id > :after ORDER BY id LIMIT :limit
"""
)
_FORGET = text("DELETE FROM reported_transactions WHERE run_id = :run")
