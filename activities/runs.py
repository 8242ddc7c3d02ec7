"""Billing runs: find what is due, ask each subscription to bill it, keep the verdicts.

A run decides nothing: each subscription bills what is due by its own clock, never early, each cycle once.
"""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final, Protocol

from sqlalchemy import text
from temporalio import activity

from domain.errors import DunlinError, Refused
from domain.ids import derive
from domain.messages import BillDue, Envelope
from domain.state import State
from models.session import Database

PAGE_MAX: Final = 200
AT_ONCE_MAX: Final = 20
CUSTOMERS_MAX: Final = 1000


@dataclass(frozen=True, slots=True)
class BillingSegment:
    """Which subscriptions: all, or those that meet every condition that is set.

    `overdue_by_s`: only what has been due for so many seconds (the catch-up schedule); `trigger`: only those
    with that trigger.
    """

    product_id: str | None = None
    customer_ids: tuple[str, ...] = ()
    currency: str | None = None
    tag: str | None = None
    trigger: str | None = None
    overdue_by_s: int = 0


@dataclass(frozen=True, slots=True)
class RunRequest:
    """A run to be made. `run_id` is its identity: the same id is the same run."""

    run_id: str
    segment: BillingSegment = field(default_factory=BillingSegment)
    source: str = "api"
    cursor: str = ""


@dataclass(frozen=True, slots=True)
class PageRequest:
    """The next page of a run: subscriptions after `cursor`."""

    run: RunRequest
    cursor: str
    now: datetime


@dataclass(frozen=True, slots=True)
class PageResult:
    """Where to go on (None: the end) and how many were asked."""

    cursor: str | None
    asked: int


class Door(Protocol):
    """How a subscription is asked (`workflows.commands` is the real one)."""

    async def send(self, subscription_id: str, envelope: Envelope) -> State: ...


class Runs:
    """Activities of billing runs."""

    def __init__(self, database: Database, door: Door) -> None:
        self._database = database
        self._door = door

    @activity.defn(name="bill_page")
    async def bill_page(self, request: PageRequest) -> PageResult:
        """Ask the next page of due subscriptions to bill, and write down each verdict. Safe to repeat."""
        run = request.run
        async with self._database.begin() as connection:
            await connection.execute(_BEGIN, _begin(run, request.now))
            due = (await connection.execute(_DUE, _conditions(run, request.cursor, request.now))).all()
            # Written before anybody is asked: what a page that died has billed is not due any more, yet gets a verdict.
            asked = {"run": run.run_id, "ids": [row.id for row in due], "cycles": [row.cycle for row in due]}
            await connection.execute(_ASK, asked)
            rows = (await connection.execute(_ASKED, {"run": run.run_id, "cursor": request.cursor})).all()
        gate = asyncio.Semaphore(AT_ONCE_MAX)

        async def ask(subscription: str, cycle: int) -> tuple[str, str, str]:
            async with gate:
                verdict, detail = await self._ask(run.run_id, subscription, cycle)
                activity.heartbeat()
                return subscription, verdict, detail

        items = await asyncio.gather(*(ask(row.id, row.cycle) for row in rows))
        async with self._database.begin() as connection:
            passed = [subscription for subscription, verdict, _ in items if verdict == "billed"]
            ours = set((await connection.execute(_BILLED_BY, {"run": run.run_id, "ids": passed})).scalars())
            for subscription, verdict, detail in items:
                if verdict == "billed" and subscription not in ours:
                    # Another run, a person or its own clock was first: that cycle is theirs.
                    verdict, detail = "not_due", f"{detail}, before this run asked"  # noqa: PLW2901 - what is written
                await connection.execute(
                    _ITEM, {"run": run.run_id, "subscription": subscription, "verdict": verdict, "detail": detail}
                )
        return PageResult(due[-1].id if len(due) == PAGE_MAX else None, len(rows))

    @activity.defn(name="end_run")
    async def end_run(self, request: PageRequest) -> dict[str, int]:
        """Count the verdicts and close the run."""
        run_id = request.run.run_id
        async with self._database.begin() as connection:
            rows = (await connection.execute(_COUNT, {"run": run_id})).all()
            verdicts = Counter({row.verdict: row.items for row in rows})
            await connection.execute(
                _END, {"run": run_id, "seen": verdicts.total(), "verdicts": json.dumps(verdicts), "at": request.now}
            )
        return dict(verdicts)

    async def _ask(self, run_id: str, subscription: str, cycle: int) -> tuple[str, str]:
        envelope = Envelope(derive("cmd", run_id, subscription), BillDue(run_id), f"billing run {run_id}")
        try:
            state = await self._door.send(subscription, envelope)
        except Refused as refused:
            return "refused", refused.code
        except DunlinError as error:
            return "failed", error.message
        return _verdict(state, cycle)


def _verdict(state: State, cycle: int) -> tuple[str, str]:
    """What became of the cycle that the run found due. `billed`: by this run or another, as `_BILLED_BY` will say."""
    if state.collecting is not None:
        return "open", f"invoice {state.collecting.invoice_id}: {state.collecting.phase.value}"
    if state.cycle > cycle:
        return "billed", f"up to cycle {state.cycle - 1}"
    return "not_due", "held" if state.hold is not None else ""


def _conditions(run: RunRequest, cursor: str, now: datetime) -> dict[str, Any]:
    segment = run.segment
    return {
        "cursor": cursor,
        "due": now - timedelta(seconds=segment.overdue_by_s),
        "product": segment.product_id,
        "customers": list(segment.customer_ids) or None,
        "currency": segment.currency,
        "tag": segment.tag,
        "trigger": segment.trigger,
        "limit": PAGE_MAX,
    }


def _begin(run: RunRequest, now: datetime) -> dict[str, Any]:
    segment = run.segment
    shown = {
        name: value
        for name in ("product_id", "customer_ids", "currency", "tag", "trigger", "overdue_by_s")
        if (value := getattr(segment, name))
    }
    return {"run": run.run_id, "segment": json.dumps(shown), "source": run.source, "at": now}


_BEGIN = text(
    """
INSERT INTO billing_runs (id, segment, source, status, started_at)
VALUES (:run, CAST(:segment AS jsonb), :source, 'running', :at) ON CONFLICT (id) DO NOTHING
"""
)

# A test subscription's clock may be ahead of the wall: it is asked, and answers by its own clock.
_DUE = text(
    """
SELECT s.id, s.cycle FROM subscriptions AS s JOIN customers AS c ON c.id = s.customer_id
WHERE s.id > :cursor AND s.status <> 'canceled'
    AND (s.next_due_at <= :due OR (s.test_mode AND s.trigger = 'external'))
    AND (CAST(:product AS text) IS NULL OR s.product_id = :product)
    AND (CAST(:customers AS text[]) IS NULL OR s.customer_id = ANY(:customers))
    AND (CAST(:currency AS text) IS NULL OR s.currency = :currency)
    AND (CAST(:tag AS text) IS NULL OR c.tags ? CAST(:tag AS text))
    AND (CAST(:trigger AS text) IS NULL OR s.trigger = :trigger)
ORDER BY s.id LIMIT :limit
"""
)

_ASK = text(
    """
INSERT INTO billing_run_items (run_id, subscription_id, verdict, detail)
SELECT :run, id, 'asked', cycle::text FROM unnest(CAST(:ids AS text[]), CAST(:cycles AS int[])) AS due(id, cycle)
ON CONFLICT DO NOTHING
"""
)

_ASKED = text(
    """
SELECT subscription_id AS id, detail::int AS cycle FROM billing_run_items
WHERE run_id = :run AND subscription_id > :cursor AND verdict = 'asked' ORDER BY subscription_id
"""
)

# The invoices are in the books before a command is answered.
_BILLED_BY = text(
    """
SELECT DISTINCT subscription_id FROM subscription_events
WHERE subscription_id = ANY(CAST(:ids AS text[])) AND kind = 'invoice_issued' AND data ->> 'run_id' = :run
"""
)

_ITEM = text(
    """
UPDATE billing_run_items SET verdict = :verdict, detail = :detail
WHERE run_id = :run AND subscription_id = :subscription AND verdict = 'asked'
"""
)

_COUNT = text("SELECT verdict, count(*) AS items FROM billing_run_items WHERE run_id = :run GROUP BY verdict")

_END = text(
    """
UPDATE billing_runs SET status = 'done', seen = :seen, verdicts = CAST(:verdicts AS jsonb), ended_at = :at
WHERE id = :run
"""
)
