"""A row of a file of subscribers: somebody whose subscription ran elsewhere and is billed here from the cut-over on."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import date, datetime, time
from typing import Final

from domain.calendar import Interval, Unit, anchor_on, at_local, boundary, local_day, utc, zone_of
from domain.errors import Broken, InvalidInput
from domain.ids import derive
from domain.import_cells import (
    CODE,
    EMAIL,
    LANGUAGE,
    MONTHS_MAX,
    NOTICE_DAYS_MAX,
    PHONE,
    POSTAL_CODE,
    TIMES_MAX,
    TOKEN,
    Row,
    Taken,
    country,
    currency,
    identity,
    interval,
    line,
    matching,
    price,
    required,
    whole,
    zone,
)
from domain.mapping import Day, Plan, shown
from domain.money import Money

START_YEAR_MIN: Final = 1970
START_DAYS_AHEAD_MAX: Final = 366
_DATE: Final = re.compile(r"\d{4}-\d{2}-\d{2}", re.ASCII)


@dataclass(frozen=True, slots=True)
class NewCustomer:
    """A customer as the row tells of it."""

    external_id: str
    email: str
    currency: str
    zone: str
    title: str
    first_name: str
    last_name: str
    company: str
    phone: str
    gender: str
    language: str
    notice_days: int

    @property
    def id(self) -> str:
        return derive("cus", "external", self.external_id)


@dataclass(frozen=True, slots=True)
class NewAddress:
    """Where bills go."""

    line1: str
    line2: str
    city: str
    region: str
    postal_code: str
    country: str


@dataclass(frozen=True, slots=True)
class Subscriber(Taken):
    """A row that can be applied. `amount` is for one `interval`; `token` is empty where nothing is kept."""

    customer: NewCustomer
    address: NewAddress | None
    gateway: str
    token: str
    product_code: str
    product_name: str
    amount: Money
    interval: Interval
    start_at: datetime
    cut_over: datetime

    @property
    def id(self) -> str:
        """The subscription's id: the same from whatever file, however often."""
        return derive("sub", "external", self.external_id)

    @property
    def price_code(self) -> str:
        """Names the price point within its product."""
        every = f"{self.interval.count}-{self.interval.unit}"
        return f"imported-{self.amount.currency.lower()}-{self.amount.minor}-{every}"


def subscriber(row: Row) -> Subscriber:
    of, local = row.get("currency", currency), row.get("zone", zone)
    cut_over = _cut_over(row.plan, local)
    amount = row.get("amount.value", lambda text: price(text, of))
    times = row.get("amount.times", lambda text: whole(text or "1", 1, TIMES_MAX))
    return Subscriber(
        row=row.number,
        source=row.source,
        external_id=row.get("external_id", identity),
        customer=_customer(row, of, local),
        address=_address(row) if "billing_address.country" in row.plan.fields else None,
        gateway=row.get(
            "payment_method.gateway", lambda text: matching(text, CODE, "a gateway's name") if text else ""
        ),
        token=row.get("payment_method.token", lambda text: matching(text, TOKEN, "a token without spaces")),
        product_code=row.get("product.code", lambda text: matching(text, CODE, "a code such as box-12")),
        product_name=row.get("product.name", lambda text: required(line(text))),
        amount=row.get("amount.times", lambda _: amount * times),
        interval=row.get("interval", interval),
        start_at=_start(row, cut_over, local),
        cut_over=cut_over,
    )


def _customer(row: Row, of: str, local: str) -> NewCustomer:
    return NewCustomer(
        external_id=row.get("customer.external_id", identity),
        email=row.get("customer.email", lambda text: matching(text, EMAIL, "an email address")),
        currency=of,
        zone=local,
        title=row.line("customer.title"),
        first_name=row.line("customer.first_name"),
        last_name=row.line("customer.last_name"),
        company=row.line("customer.company"),
        phone=row.get("customer.phone", lambda text: matching(text, PHONE, "a telephone number")),
        gender=row.line("customer.gender"),
        language=row.get("customer.language", lambda text: matching(text or "en", LANGUAGE, "a language such as en")),
        notice_days=row.get("customer.notice_days", lambda text: whole(text or "0", 0, NOTICE_DAYS_MAX)),
    )


def _address(row: Row) -> NewAddress:
    return NewAddress(
        line1=row.line("billing_address.line1"),
        line2=row.line("billing_address.line2"),
        city=row.get("billing_address.city", lambda text: required(line(text))),
        region=row.line("billing_address.region"),
        postal_code=row.get("billing_address.postal_code", lambda text: matching(text, POSTAL_CODE, "a post code")),
        country=row.get("billing_address.country", country),
    )


def _cut_over(plan: Plan, local: str) -> datetime:
    """The instant from which on this row is billed here."""
    cut_over = plan.cut_over
    if isinstance(cut_over, datetime):
        return utc(cut_over)
    if cut_over is None or isinstance(cut_over, Day):
        raise Broken(f"the cut-over {cut_over} was never settled")
    return at_local(cut_over, time(), local)


def _start(row: Row, cut_over: datetime, local: str) -> datetime:
    """When the subscription began elsewhere, at the wall time of the cut-over: it says on which days it renews."""
    at = cut_over.astimezone(zone_of(local)).time()
    today = local_day(cut_over, local)
    if "start.date" in row.plan.fields:
        return at_local(row.get("start.date", lambda text: _start_date(text, today)), at, local)
    months = row.get("start.months_before_cut_over", lambda text: whole(text, 0, MONTHS_MAX))
    return boundary(anchor_on(today, at.replace(fold=0), local), Interval(1, Unit.MONTH), -months)


def _start_date(text: str, cut_over: date) -> date:
    try:
        day = date.fromisoformat(text) if _DATE.fullmatch(text) else None
    except ValueError:
        day = None
    if day is None:
        raise InvalidInput("date", f"{shown(text)} is not a date such as 2026-03-01")
    if day.year < START_YEAR_MIN or (day - cut_over).days > START_DAYS_AHEAD_MAX:
        rule = f"from {START_YEAR_MIN} on, and at most {START_DAYS_AHEAD_MAX} days after the cut-over"
        raise InvalidInput("date", f"a start lies {rule}; {day} does not")
    return day
