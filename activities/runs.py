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

from sqlalchemy import ColumnElement, Select, and_, or_, select, text
from sqlalchemy.ext.asyncio import AsyncSession
from temporalio import activity

from domain.errors import DunlinError, Refused
from domain.ids import derive
from domain.messages import BillDue, Envelope
from domain.state import State
from models.billing import BillingRun, Subscription
from models.customers import Customer
from models.queries_jobs import FILTER
from models.queries_segments import filter_from
from models.segments import condition
from models.session import Database

PAGE_MAX: Final = 200
AT_ONCE_MAX: Final = 20
CUSTOMERS_MAX: Final = 1000


@dataclass(frozen=True, slots=True)
class BillingSegment:
    """Which subscriptions: all, or those that meet every condition that is set.

    `segment_id`: the subscriptions of the customers whom its filter means now, as it was when the run was asked for;
    it stands in the run's row, since it may name people. `overdue_by_s`: only what has been due for so many seconds
    (the catch-up schedule); `trigger`: only those with that trigger.
    """

    product_id: str | None = None
    customer_ids: tuple[str, ...] = ()
    currency: str | None = None
    tag: str | None = None
    trigger: str | None = None
    overdue_by_s: int = 0
    segment_id: str | None = None


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
        async with self._database.session() as session:
            await session.execute(_BEGIN, _begin(run, request.now))
            wanted = _due(run.segment, request.cursor, request.now)
            if run.segment.segment_id is not None:
                wanted = wanted.where(await _members(session, run.run_id))
            due = (await session.execute(wanted)).all()
            # Written before anybody is asked: what a page that died has billed is not due any more, yet gets a verdict.
            asked = {"run": run.run_id, "ids": [row.id for row in due], "cycles": [row.cycle for row in due]}
            await session.execute(_ASK, asked)
            rows = (await session.execute(_ASKED, {"run": run.run_id, "cursor": request.cursor})).all()
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


def _due(segment: BillingSegment, cursor: str, now: datetime) -> Select[str, int]:
    """A page of what is due. A test subscription's clock may be ahead of the wall: it is asked, and answers by it."""
    by_its_own_clock = and_(Subscription.test_mode, Subscription.trigger == "external")
    conditions = [
        Subscription.id > cursor,
        Subscription.status != "canceled",
        or_(Subscription.next_due_at <= now - timedelta(seconds=segment.overdue_by_s), by_its_own_clock),
    ]
    if segment.product_id is not None:
        conditions.append(Subscription.product_id == segment.product_id)
    if segment.customer_ids:
        conditions.append(Subscription.customer_id.in_(segment.customer_ids))
    if segment.currency is not None:
        conditions.append(Subscription.currency == segment.currency)
    if segment.tag is not None:
        conditions.append(Customer.tags.has_key(segment.tag))
    if segment.trigger is not None:
        conditions.append(Subscription.trigger == segment.trigger)
    return (
        select(Subscription.id, Subscription.cycle)
        .join(Customer, Customer.id == Subscription.customer_id)
        .where(*conditions)
        .order_by(Subscription.id)
        .limit(PAGE_MAX)
    )


async def _members(session: AsyncSession, run_id: str) -> ColumnElement[bool]:
    kept = await session.scalar(select(BillingRun.segment).where(BillingRun.id == run_id))
    return condition(await filter_from(session, (kept or {})[FILTER]))


def _begin(run: RunRequest, now: datetime) -> dict[str, Any]:
    segment = run.segment
    shown = {
        name: value
        for name in ("product_id", "customer_ids", "currency", "tag", "trigger", "overdue_by_s", "segment_id")
        if (value := getattr(segment, name))
    }
    return {"run": run.run_id, "segment": json.dumps(shown), "source": run.source, "at": now}


_BEGIN = text(
    """
INSERT INTO billing_runs (id, segment, source, status, started_at)
VALUES (:run, CAST(:segment AS jsonb), :source, 'running', :at) ON CONFLICT (id) DO NOTHING
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
