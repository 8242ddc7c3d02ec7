"""Billing runs: have what is due billed, for a segment or for all; never early, each cycle once."""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal

from fastapi import Path, Query
from pydantic import ConfigDict, Field
from sqlalchemy.dialects.postgresql import insert

from api.context import CallerDep, OnceDep, ServicesDep
from api.fields import Body, Currency, Identifier, Instant, View
from api.paging import Listed, PageQuery, listed
from api.routing import noun
from api.rows import found, known
from api.segments import filter_of
from domain.errors import InvalidInput
from models import BillingRun
from models.queries_jobs import FILTER, RUN_ITEMS, RUNS, billing_run, billing_runs, run_items
from models.queries_segments import segment as saved_segment
from models.session import database_now
from workflows.commands import BillingSegment

CUSTOMERS_MAX: Final = 1000

router = noun("billing runs")
RunId = Annotated[str, Path(pattern=r"^[A-Za-z0-9_:.-]{1,64}$", description="Id of the billing run")]


class SegmentBody(Body):
    """Which subscriptions: `all`, or those that meet every condition sent."""

    all: Literal[True] | None = None
    product_id: Identifier | None = None
    customer_ids: Annotated[list[Identifier], Field(max_length=CUSTOMERS_MAX)] = Field(default_factory=list)
    currency: Currency | None = None
    tag: Annotated[str, Field(min_length=1, max_length=64, pattern=r"^[^\x00]+$")] | None = None
    segment_id: Identifier | None = Field(default=None, description="Of the customers in this saved segment")


class RunNew(Body):
    """A run over a segment."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"segment": {"all": True}}, {"segment": {"tag": "vip"}}]})

    segment: SegmentBody


class RunView(View):
    """A run with its counts by verdict: `billed`, `open`, `not_due`, `refused`, `failed`.

    Of a saved segment `segment` holds the filter as it was when the run was asked for.
    """

    id: str
    segment: dict[str, Any]
    source: str
    status: str
    seen: int
    verdicts: dict[str, int]
    started_at: Instant
    ended_at: Instant | None


class ItemView(View):
    """The verdict on one subscription."""

    subscription_id: str
    verdict: str
    detail: str


class ItemQuery(PageQuery):
    """Which verdicts."""

    verdict: Literal["billed", "open", "not_due", "refused", "failed"] | None = None


@router.post("/billing-runs", status_code=202)
async def create_billing_run(body: RunNew, services: ServicesDep, once: OnceDep, caller: CallerDep) -> RunView:
    """Start a run. However often and from wherever it is called, a cycle is billed once and never early."""
    segment, run_id = _segment(body.segment), once.id("run")
    async with services.database.session() as session:
        kept: dict[str, Any] = {}
        if body.segment.segment_id is not None:
            saved = known(await saved_segment(session, body.segment.segment_id), "segment.segment_id", "segment")
            await filter_of(session, saved.id)  # refused where it does not fit the custom fields any more
            kept = {FILTER: saved.filter}
        await session.execute(
            insert(BillingRun)
            .values(
                id=run_id,
                segment=body.segment.model_dump(exclude_defaults=True) | kept,
                source=caller.name,
                status="running",
                started_at=await database_now(session),
            )
            .on_conflict_do_nothing()
        )
    await services.commands.start_billing_run(run_id, segment, caller.name)
    return await get_billing_run(run_id, services)


@router.get("/billing-runs")
async def list_billing_runs(services: ServicesDep, query: Annotated[PageQuery, Query()]) -> Listed[RunView]:
    """List runs, newest first, those of the schedules included."""
    async with services.database.session() as session:
        rows = await billing_runs(session, after=query.after(RUNS), limit=query.limit)
        return listed(rows, RUNS, RunView.model_validate)


@router.get("/billing-runs/{run_id}")
async def get_billing_run(run_id: RunId, services: ServicesDep) -> RunView:
    """Read one run with its counts."""
    async with services.database.session() as session:
        return RunView.model_validate(found(await billing_run(session, run_id), "billing run"))


@router.get("/billing-runs/{run_id}/items")
async def list_run_items(
    run_id: RunId, services: ServicesDep, query: Annotated[ItemQuery, Query()]
) -> Listed[ItemView]:
    """The verdict on each subscription."""
    async with services.database.session() as session:
        found(await billing_run(session, run_id), "billing run")
        rows = await run_items(session, run_id, verdict=query.verdict, after=query.after(RUN_ITEMS), limit=query.limit)
        return listed(rows, RUN_ITEMS, ItemView.model_validate)


def _segment(body: SegmentBody) -> BillingSegment:
    conditions = body.model_dump(exclude_defaults=True, exclude={"all"})
    if bool(conditions) == bool(body.all):
        raise InvalidInput("segment", "send either all: true or at least one condition")
    return BillingSegment(
        body.product_id, tuple(body.customer_ids), body.currency, body.tag, segment_id=body.segment_id
    )
