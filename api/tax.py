"""Rates of tax with the days they are valid on, and the runs that bring changed ones to running subscriptions."""

from __future__ import annotations

import re
from datetime import date, timedelta
from typing import Annotated, Final

from fastapi import Path, Query
from pydantic import AfterValidator, BeforeValidator, ConfigDict, Field, StringConstraints
from sqlalchemy.ext.asyncio import AsyncSession

from api.context import CallerDep, OnceDep, Services, ServicesDep
from api.fields import Body, Code, Country, Identifier, Instant, Reason, View, country_code
from api.idempotency import Once
from api.keys import Caller
from api.paging import Listed, PageQuery, listed
from api.percents import Percent, percent_of, rate_of
from api.routing import noun
from api.rows import add_once, found
from domain.errors import InvalidInput, Refused
from domain.price_moves import PER_MINUTE_DEFAULT, PER_MINUTE_MAX, Pace
from domain.tax import STANDARD, country_of
from models import TaxRateRow, TaxRun
from models.queries_tax import (
    TAX_RATES,
    TAX_RUNS,
    one_at_a_time,
    overlapping,
    tax_rate,
    tax_rates,
    tax_run,
    tax_runs,
)
from models.session import database_now
from workflows.commands import TaxRunRequest

_DAY: Final = re.compile(r"\d{4}-\d{2}-\d{2}", re.ASCII)

router = noun("tax")
RateId = Annotated[Identifier, Path(description="Id of the rate")]
RunId = Annotated[Identifier, Path(description="Id of the run")]


def _day(value: object) -> date:
    if isinstance(value, date):
        return value
    if not isinstance(value, str) or not _DAY.fullmatch(value):
        raise ValueError("must be a day such as 2026-07-01")
    try:
        return date.fromisoformat(value)
    except ValueError:
        raise ValueError("there is no such day") from None


def _place(value: str) -> str:
    country_code(country_of(value))
    return value


Day = Annotated[date, BeforeValidator(_day), Field(json_schema_extra={"format": "date", "examples": ["2026-07-01"]})]
Place = Annotated[
    str,
    StringConstraints(pattern=r"^[A-Z]{2}(-[A-Z0-9]{1,3})?$"),
    AfterValidator(_place),
    Field(description="A country, `DE`, or a region of one as in ISO 3166-2, `US-NY`"),
]
PerMinute = Annotated[int, Field(ge=1, le=PER_MINUTE_MAX, description="How many subscriptions are told in a minute")]


class TaxRateNew(Body):
    """A rate to be. It is never edited: it is ended, and another one follows."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"place": "DE", "percent": "19", "valid_from": "2021-01-01"}]}
    )

    place: Place
    category: Code = Field(default=STANDARD, description="That of prices it is for")
    percent: Percent
    inclusive: bool = Field(default=False, description="Prices there contain it; else it comes on top")
    valid_from: Day = Field(description="The first day it is valid on, by the customer's calendar")
    valid_until: Day | None = Field(default=None, description="The first day it is valid on no more")


class EndBody(Body):
    """From which day on a rate is valid no more."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"valid_until": "2027-01-01"}]})

    valid_until: Day


class TaxRateView(View):
    """A rate of tax."""

    id: str
    place: str
    category: str
    percent: str
    inclusive: bool
    valid_from: date
    valid_until: date | None
    actor: str
    created_at: Instant


class TaxRateQuery(PageQuery):
    """Which rates: of a place (with its regions), valid on a day."""

    place: Place | None = None
    on: Day | None = None


class TaxRunNew(Body):
    """Tell all running subscriptions of customers in a country how they are taxed by now."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"country": "DE", "reason": "first rates"}]})

    country: Country
    per_minute: PerMinute = PER_MINUTE_DEFAULT
    reason: Reason = ""


class TaxRunView(View):
    """How far a run has come. `failed` could not be told; `detail` says why for one of them; start another run."""

    id: str
    country: str
    per_minute: int
    actor: str
    reason: str
    status: str
    seen: int
    failed: int
    detail: str
    started_at: Instant
    ended_at: Instant | None


@router.post("/tax-rates", status_code=201)
async def create_tax_rate(body: TaxRateNew, services: ServicesDep, once: OnceDep, caller: CallerDep) -> TaxRateView:
    """Create a rate, and tell the subscriptions there: before it is valid, so that forecasts know of it."""
    row_id = once.id("tax")
    if body.valid_until is not None and body.valid_until <= body.valid_from:
        raise InvalidInput("valid_until", "must be after valid_from")
    rate = rate_of(body.percent)
    async with services.database.session() as session:
        await one_at_a_time(session)
        other = await overlapping(session, body.place, body.category, body.valid_from, body.valid_until)
        if other is not None and other.id != row_id:
            raise Refused("rate_overlaps", f"A rate of {percent_of(other.rate)} percent is {_validity(other)}: end it.")
        row = TaxRateRow(
            id=row_id,
            place=body.place,
            category=body.category,
            rate=rate,
            inclusive=body.inclusive,
            valid_from=body.valid_from,
            valid_until=body.valid_until,
            actor=caller.name,
        )
        view = _view(await add_once(session, row))
    await _tell(services, once, country_of(body.place), PER_MINUTE_DEFAULT, caller, f"rate {row_id}")
    return view


@router.get("/tax-rates")
async def list_tax_rates(services: ServicesDep, query: Annotated[TaxRateQuery, Query()]) -> Listed[TaxRateView]:
    """List rates, the newest first."""
    async with services.database.session() as session:
        rows = await tax_rates(session, place=query.place, on=query.on, after=query.after(TAX_RATES), limit=query.limit)
        return listed(rows, TAX_RATES, _view)


@router.get("/tax-rates/{rate_id}")
async def get_tax_rate(rate_id: RateId, services: ServicesDep) -> TaxRateView:
    """Read one rate."""
    async with services.database.session() as session:
        return _view(found(await tax_rate(session, rate_id), "tax rate"))


@router.post("/tax-rates/{rate_id}/end")
async def end_tax_rate(
    rate_id: RateId, body: EndBody, services: ServicesDep, once: OnceDep, caller: CallerDep
) -> TaxRateView:
    """Say from which day on it is valid no more. Days that have passed stay as they were billed."""
    async with services.database.session() as session:
        await one_at_a_time(session)
        row = found(await tax_rate(session, rate_id, lock=True), "tax rate")
        if row.valid_until != body.valid_until:
            await _check_end(session, row, body.valid_until)
            row.valid_until = body.valid_until
            await session.flush()
        view, country = _view(row), country_of(row.place)
    await _tell(services, once, country, PER_MINUTE_DEFAULT, caller, f"end of rate {rate_id}")
    return view


@router.post("/tax-runs", status_code=202)
async def create_tax_run(body: TaxRunNew, services: ServicesDep, once: OnceDep, caller: CallerDep) -> TaxRunView:
    """Start a run by hand; one starts by itself with each new or ended rate."""
    return await _tell(services, once, body.country, body.per_minute, caller, body.reason)


@router.get("/tax-runs")
async def list_tax_runs(services: ServicesDep, query: Annotated[PageQuery, Query()]) -> Listed[TaxRunView]:
    """List runs, newest first."""
    async with services.database.session() as session:
        rows = await tax_runs(session, after=query.after(TAX_RUNS), limit=query.limit)
        return listed(rows, TAX_RUNS, TaxRunView.model_validate)


@router.get("/tax-runs/{run_id}")
async def get_tax_run(run_id: RunId, services: ServicesDep) -> TaxRunView:
    """Read one run with its progress."""
    async with services.database.session() as session:
        return TaxRunView.model_validate(found(await tax_run(session, run_id), "tax run"))


async def _check_end(session: AsyncSession, row: TaxRateRow, until: date) -> None:
    today = (await database_now(session)).date()
    if until <= row.valid_from:
        raise InvalidInput("valid_until", "must be after valid_from; a rate is valid for at least a day")
    # Somewhere it is tomorrow already; nobody is billed for a day that has not begun anywhere.
    if until <= today + timedelta(days=1) and row.valid_from <= today:
        raise InvalidInput("valid_until", "must be a day that has begun nowhere yet: invoices of today have this rate")
    if row.valid_until is not None and until > row.valid_until:
        other = await overlapping(session, row.place, row.category, row.valid_until, until)
        if other is not None:
            raise Refused("rate_overlaps", f"A rate of {percent_of(other.rate)} percent is {_validity(other)}.")


async def _tell(
    services: Services, once: Once, country: str, per_minute: int, caller: Caller, reason: str
) -> TaxRunView:
    async with services.database.session() as session:
        started = await database_now(session)
        row = TaxRun(
            id=once.id("taxrun"),
            country=country,
            per_minute=per_minute,
            actor=caller.name,
            reason=reason,
            status="running",
            started_at=started,
        )
        view = TaxRunView.model_validate(await add_once(session, row))
    # No share of failures stops it: each subscription is right or is not, and another run tells those that are left.
    request = TaxRunRequest(view.id, country, Pace(per_minute, 100), view.actor, reason)
    await services.commands.tax_runs.start(request)
    return view


def _validity(row: TaxRateRow) -> str:
    end = f" until {row.valid_until}" if row.valid_until else ""
    return f"valid there from {row.valid_from}{end} already"


def _view(row: TaxRateRow) -> TaxRateView:
    shown = {name: getattr(row, name) for name in TaxRateView.model_fields if name != "percent"}
    return TaxRateView(**shown, percent=percent_of(row.rate))
