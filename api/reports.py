"""Reports: numbers over all customers, as JSON or as a CSV file that streams."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from datetime import date
from functools import partial
from typing import Annotated, Any, Final, Generic, Literal, TypeVar

from fastapi import Query
from fastapi.responses import StreamingResponse
from pydantic import (
    AfterValidator,
    BaseModel,
    Field,
    StringConstraints,
    ValidationInfo,
    computed_field,
    field_validator,
)
from sqlalchemy import ColumnElement, RowMapping, and_
from sqlalchemy.ext.asyncio import AsyncSession

from api.context import Services, ServicesDep
from api.customers import Tag
from api.fields import INSTANT_YEAR_MAX, INSTANT_YEAR_MIN, Identifier, View, Zone
from api.fields import Query as QueryModel
from api.routing import noun
from api.segments import filter_of
from domain.csv_cells import csv_line
from models import queries_reports as numbers
from models.customers import Customer
from models.queries_reports import Asked, Counted, Per, Span, all_rows, first_rows
from models.segments import condition
from models.session import Database

ROWS_MAX: Final = 1_000  # of a report as JSON; a file has all of them
DAYS_MAX: Final = {"day": 366, "month": 3_660}
BASIS_POINTS: Final = 10_000

router = noun("reports")
Mode = Literal["live", "test"]
Shown = TypeVar("Shown", bound=BaseModel)
_Report = Callable[[Asked], Counted]


def _day(text: str) -> str:
    try:
        day = date.fromisoformat(text)
    except ValueError:
        raise ValueError("there is no such day") from None
    if not INSTANT_YEAR_MIN <= day.year < INSTANT_YEAR_MAX:
        raise ValueError(f"must lie in the years {INSTANT_YEAR_MIN} to {INSTANT_YEAR_MAX - 1}")
    return text


Day = Annotated[
    str,
    StringConstraints(pattern=r"^\d{4}-\d{2}-\d{2}$"),
    AfterValidator(_day),
    Field(json_schema_extra={"format": "date"}, examples=["2027-01-31"]),
]


class _ReportQuery(QueryModel):
    mode: Mode = Field(default="live", description="Test-mode money has books of its own")
    tag: Tag | None = Field(default=None, description="Only customers with this tag")
    segment: Identifier | None = Field(default=None, description="Only customers of this segment")
    format: Literal["json", "csv"] = "json"


class _SpanQuery(_ReportQuery):
    zone: Zone = Field(default="UTC", description="Where days and months begin")
    by: Literal["day", "month"] = "month"
    first_day: Day
    last_day: Annotated[Day, Field(description="Included")]

    @field_validator("last_day")
    @classmethod
    def _in_order(cls, last_day: str, info: ValidationInfo) -> str:
        if not {"first_day", "by"} <= info.data.keys():  # they are wrong themselves, which is said of them
            return last_day
        days = (date.fromisoformat(last_day) - date.fromisoformat(info.data["first_day"])).days + 1
        limit = DAYS_MAX[info.data["by"]]
        if not 1 <= days <= limit:
            raise ValueError(f"must not be before first_day, and a report by {info.data['by']} covers {limit} days")
        return last_day

    def span(self) -> Span:
        return Span(date.fromisoformat(self.first_day), date.fromisoformat(self.last_day), self.zone, self.by)


class CustomersQuery(_SpanQuery):
    """When customers came. The mode is that of the subscriptions their status is told from."""

    roll_up: bool = Field(default=False, description="Count a parent with its children as one")

    @property
    def per(self) -> Per | None:
        return "parent" if self.roll_up else None


class FactsQuery(_SpanQuery):
    """What happened when, in which books, of whom."""

    per: Per | None = Field(
        default=None, description="A line for each customer; by `parent`, children count as their parent"
    )


class ValueQuery(_ReportQuery):
    """Of whom, in which books."""

    per: Per | None = Field(
        default=None, description="A line for each customer; by `parent`, children count as their parent"
    )


class CustomersRow(View):
    """Customers that came in a period, by what they are now: the best of their subscriptions, or `none`."""

    period: str
    status: str
    customers: int


class _FactsRow(View):
    period: str
    customer: str | None = Field(description="Null where it was not asked `per` customer or parent")


class SalesRow(_FactsRow):
    """Invoices issued in a period."""

    reason: str
    status: str
    currency: str
    invoices: int
    total: int
    credited: int


class PaymentsRow(_FactsRow):
    """Tries to collect in a period."""

    gateway: str | None
    status: str
    currency: str
    payments: int
    amount: int


class RefundsRow(_FactsRow):
    """Refunds and voids asked for in a period."""

    kind: str
    status: str
    reason: str
    currency: str
    refunds: int
    amount: int


class DisputesRow(_FactsRow):
    """Disputes opened in a period."""

    gateway: str
    status: str
    reason: str
    currency: str
    disputes: int
    amount: int
    fees: int


class DunningRow(_FactsRow):
    """Dunning that began in a period, and how much of it ended with a payment. `reason`: why the last method failed."""

    policy: str
    reason: str
    currency: str
    first_failures: int
    recovered: int
    amount_failed: int
    amount_recovered: int

    @computed_field(description="Recovered of first failures, in basis points: 5000 is half")
    @property
    def recovery_bp(self) -> int:
        return self.recovered * BASIS_POINTS // self.first_failures


class ValueRow(View):
    """Paid, less refunded, less charged back, of so many customers who ever had a movement of money."""

    customer: str | None = Field(description="Null where it was not asked `per` customer or parent")
    currency: str
    customers: int
    paid: int
    refunded: int
    charged_back: int
    value: int


class Report(BaseModel, Generic[Shown]):
    """The lines of a report in the order of their columns."""

    items: list[Shown]
    complete: bool = Field(description="False: cut to 1,000 lines; ask for less, or for the file")


_FILE: Final[dict[int | str, dict[str, Any]]] = {200: {"content": {"text/csv": {"schema": {"type": "string"}}}}}


@router.get("/reports/customers", response_model=Report[CustomersRow], responses=_FILE)
async def report_customers(services: ServicesDep, query: Annotated[CustomersQuery, Query()]) -> Any:
    """New customers by period and status."""
    return await _report(services, query, partial(numbers.new_customers, query.span()), CustomersRow)


@router.get("/reports/sales", response_model=Report[SalesRow], responses=_FILE)
async def report_sales(services: ServicesDep, query: Annotated[FactsQuery, Query()]) -> Any:
    """Invoices by period, reason, status and currency."""
    return await _report(services, query, partial(numbers.sales, query.span()), SalesRow)


@router.get("/reports/payments", response_model=Report[PaymentsRow], responses=_FILE)
async def report_payments(services: ServicesDep, query: Annotated[FactsQuery, Query()]) -> Any:
    """Tries to collect by period, gateway, status and currency."""
    return await _report(services, query, partial(numbers.payments, query.span()), PaymentsRow)


@router.get("/reports/refunds", response_model=Report[RefundsRow], responses=_FILE)
async def report_refunds(services: ServicesDep, query: Annotated[FactsQuery, Query()]) -> Any:
    """Refunds and voids by period, kind, status, reason and currency."""
    return await _report(services, query, partial(numbers.refunds, query.span()), RefundsRow)


@router.get("/reports/disputes", response_model=Report[DisputesRow], responses=_FILE)
async def report_disputes(services: ServicesDep, query: Annotated[FactsQuery, Query()]) -> Any:
    """Disputes by period, gateway, status, reason and currency."""
    return await _report(services, query, partial(numbers.disputes, query.span()), DisputesRow)


@router.get("/reports/dunning", response_model=Report[DunningRow], responses=_FILE)
async def report_dunning(services: ServicesDep, query: Annotated[FactsQuery, Query()]) -> Any:
    """First failures and how many were recovered, by period, policy, reason and currency."""
    return await _report(services, query, partial(numbers.dunning, query.span()), DunningRow)


@router.get("/reports/lifetime-value", response_model=Report[ValueRow], responses=_FILE)
async def report_lifetime_value(services: ServicesDep, query: Annotated[ValueQuery, Query()]) -> Any:
    """Paid less refunded, by currency: of all, of those with a tag, of each customer or parent."""
    return await _report(services, query, numbers.lifetime_value, ValueRow)


async def _report(
    services: Services, query: CustomersQuery | FactsQuery | ValueQuery, report: _Report, row: type[Shown]
) -> Report[Shown] | StreamingResponse:
    async with services.database.session() as session:
        asked = Asked(query.mode == "test", await _chosen(session, query), query.per)
        if query.format == "json":
            return _cut(await first_rows(session, report(asked), ROWS_MAX + 1), row)
    lines = _lines(services.database, report(asked), row)
    head = await anext(lines)  # what PostgreSQL refuses is refused before the answer begins
    return StreamingResponse(_chained(head, lines), media_type="text/csv; charset=utf-8")


def _cut(found: Sequence[RowMapping], row: type[Shown]) -> Report[Shown]:
    return Report(items=[row.model_validate(dict(each)) for each in found[:ROWS_MAX]], complete=len(found) <= ROWS_MAX)


async def _chosen(session: AsyncSession, query: _ReportQuery) -> ColumnElement[bool] | None:
    """The condition on customers; None is all of them. Raises `NotFound` for an unknown segment."""
    conditions: list[ColumnElement[bool]] = []
    if query.tag is not None:
        conditions.append(Customer.tags.contains([query.tag]))
    if query.segment is not None:
        conditions.append(condition(await filter_of(session, query.segment)))
    return and_(*conditions) if conditions else None


async def _lines(database: Database, statement: Counted, row: type[Shown]) -> AsyncIterator[str]:
    """The header, then a part of the file at a time; all of it is one transaction, so it is of one moment."""
    async with database.session() as session:
        parts = all_rows(session, statement)
        columns = [*row.model_fields, *row.model_computed_fields]
        said = csv_line(columns)
        async for part in parts:
            yield said + "".join(csv_line(row.model_validate(dict(each)).model_dump().values()) for each in part)
            said = ""
        yield said


async def _chained(head: str, rest: AsyncIterator[str]) -> AsyncIterator[str]:
    yield head
    async for part in rest:
        yield part
