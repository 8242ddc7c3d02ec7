"""What a merchant's file becomes: each row a subscriber to be, or a refusal that names field and rule.

A file that cannot be read as a whole is refused before anything is done with it; a bad row never harms its
neighbours. Rows are numbered as a spreadsheet numbers them: the header is row 1.
"""

from __future__ import annotations

import csv
import re
import unicodedata
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time
from itertools import islice
from typing import Final, TypeVar

from domain.calendar import Interval, Unit, anchor_on, at_local, boundary, local_day, utc, zone_of
from domain.errors import Broken, InvalidInput
from domain.ids import derive
from domain.mapping import Day, Plan, hint, shown
from domain.money import Money, is_currency, parse_major
from domain.places import COUNTRIES

T = TypeVar("T")

FILE_BYTES_MAX: Final = 32 * 1024 * 1024
ROWS_MAX: Final = 200_000
COLUMNS_MAX: Final = 500
HEADER_BYTES_MAX: Final = 64 * 1024
HEADER_ROW: Final = 1
FIRST_ROW: Final = 2

IDENTITY_LENGTH_MAX: Final = 128
EMAIL_LENGTH_MAX: Final = 254
TOKEN_LENGTH_MAX: Final = 255
LINE_LENGTH_MAX: Final = 200
MONTHS_MAX: Final = 1_200
TIMES_MAX: Final = 1_000
NOTICE_DAYS_MAX: Final = 60
START_YEAR_MIN: Final = 1970
START_DAYS_AHEAD_MAX: Final = 366
SOURCE_CELL_LENGTH_MAX: Final = 2_000

_IDENTITY: Final = re.compile(rf"[!-~]{{1,{IDENTITY_LENGTH_MAX}}}")
_TOKEN: Final = re.compile(rf"([!-~]{{1,{TOKEN_LENGTH_MAX}}})?")
_CODE: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_DOMAIN_LABEL: Final = r"[^\W_](?:[\w-]{0,61}[^\W_])?"
_EMAIL: Final = re.compile(
    rf"(?=.{{1,{EMAIL_LENGTH_MAX}}}\Z)[\w!#$%&'*+/=?^`{{|}}~-]+(?:\.[\w!#$%&'*+/=?^`{{|}}~-]+)*"
    rf"@(?:{_DOMAIN_LABEL}\.)+{_DOMAIN_LABEL}"
)
_PHONE: Final = re.compile(r"(\+?[0-9][0-9 ().\-/]{0,30})?")
_LANGUAGE: Final = re.compile(r"[a-z]{2,3}(-[A-Za-z0-9]{2,8}){0,3}", re.ASCII)
_POSTAL_CODE: Final = re.compile(r"[A-Za-z0-9 -]{0,16}")
_INTERVAL: Final = re.compile(r"([1-9]\d{0,3}) (day|week|month|year)s?", re.ASCII)
_WHOLE: Final = re.compile(r"\d{1,6}", re.ASCII)
_DATE: Final = re.compile(r"\d{4}-\d{2}-\d{2}", re.ASCII)
_CONTROL: Final = frozenset({"Cc", "Cs", "Zl", "Zp"})


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
class Subscriber:
    """A row that can be applied. `amount` is for one `interval`; `token` is empty where nothing is kept."""

    row: int
    source: tuple[str, ...]
    external_id: str
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


@dataclass(frozen=True, slots=True)
class Refusal:
    """A row that is not applied: the field, the rule it breaks, and the row as it was (long cells cut)."""

    row: int
    field: str
    reason: str
    source: tuple[str, ...]


def header(text: str, delimiter: str) -> list[str]:
    """The names of the columns. Raises `InvalidInput` for an empty or unreadable file."""
    for _, cells in _records(text, delimiter):
        return [cell.strip() for cell in cells]
    raise InvalidInput("content", "the file is empty")


def check_file(text: str, plan: Plan) -> int:
    """How many rows the file has. Raises `InvalidInput` (field `content` or in `mapping`) if it cannot be read."""
    columns = header(text, plan.delimiter)
    _check_header(columns, plan)
    rows = sum(1 for _ in _records(text, plan.delimiter)) - 1
    if not 1 <= rows <= ROWS_MAX:
        raise InvalidInput("content", f"has 1 to {ROWS_MAX} rows under its header; this one has {rows}")
    return rows


def page(text: str, plan: Plan, first: int, rows_max: int) -> list[Subscriber | Refusal]:
    """What the rows from number `first` on become, at most `rows_max` of them."""
    return list(islice(_verdicts(text, plan, first), rows_max))


def refuse(subscriber: Subscriber, field: str, reason: str) -> Refusal:
    """A refusal for what only the database or the gateway can know."""
    return Refusal(subscriber.row, field, reason, subscriber.source)


def _verdicts(text: str, plan: Plan, first: int) -> Iterator[Subscriber | Refusal]:
    columns = header(text, plan.delimiter)
    seen: dict[str, int] = {}
    for number, record in islice(_records(text, plan.delimiter), 1, None):
        known = _identified(plan, columns, record)
        before = seen.setdefault(known, number) if known else number
        if number < first:
            continue
        try:
            _check_row(columns, record, known, number, before)
            yield _subscriber(plan, number, record, dict(zip(columns, record, strict=True)))
        except InvalidInput as error:
            yield Refusal(number, error.field, error.message, _source(record))


def _identified(plan: Plan, columns: Sequence[str], record: Sequence[str]) -> str:
    """The row's external id as far as it has one; a repetition is refused even if the first row is."""
    if len(columns) != len(record):
        return ""
    try:
        return plan.fields["external_id"].text(dict(zip(columns, record, strict=True)))
    except InvalidInput:
        return ""


def _records(text: str, delimiter: str) -> Iterator[tuple[int, list[str]]]:
    """Each record that is not blank, with its number."""
    # Not splitlines: it also ends lines at characters that may stand in a name.
    reader = csv.reader((f"{line}\n" for line in text.split("\n")), delimiter=delimiter, strict=True)
    number = 0
    try:
        for number, record in enumerate(reader, start=HEADER_ROW):
            if any(cell.strip() for cell in record):
                yield number, record
    except csv.Error as error:
        rule = f"row {number + 1} (line {reader.line_num}) is no CSV: {error}"
        raise InvalidInput("content", f"{rule}; is a quote not closed?") from None


def _check_header(columns: Sequence[str], plan: Plan) -> None:
    if len(columns) > COLUMNS_MAX or sum(len(column.encode()) + 3 for column in columns) > HEADER_BYTES_MAX:
        raise InvalidInput("content", f"the header has at most {COLUMNS_MAX} columns and {HEADER_BYTES_MAX} bytes")
    for path, value in plan.fields.items():
        for column in sorted(value.columns):
            if column not in columns:
                raise InvalidInput(f"mapping.{path}", f"the file has no column {column!r}{hint(column, columns)}")
            if columns.count(column) > 1:
                raise InvalidInput("content", f"the column {column!r} is there {columns.count(column)} times")


def _check_row(columns: Sequence[str], record: Sequence[str], known: str, number: int, before: int) -> None:
    """Raises `InvalidInput` for a row that does not fit the header, or whose id an earlier row has."""
    if len(record) != len(columns):
        raise InvalidInput("row", f"has {len(record)} cells, the header has {len(columns)}")
    if before != number:
        raise InvalidInput("external_id", f"{shown(known)} is in row {before} already")


def _source(record: Sequence[str]) -> tuple[str, ...]:
    """The row as it can be kept: PostgreSQL takes no NUL."""
    return tuple(cell[:SOURCE_CELL_LENGTH_MAX].replace("\0", "\N{REPLACEMENT CHARACTER}") for cell in record)


@dataclass(frozen=True, slots=True)
class _Row:
    """The cells of one row, read by the plan."""

    plan: Plan
    cells: dict[str, str]

    def get(self, path: str, rule: Callable[[str], T]) -> T:
        """The field, checked. Raises `InvalidInput` naming it; one that is not mapped is an empty text."""
        value = self.plan.fields.get(path)
        try:
            return rule(value.text(self.cells) if value is not None else "")
        except InvalidInput as error:
            raise InvalidInput(path, error.message) from None

    def line(self, path: str) -> str:
        return self.get(path, _line)


def _subscriber(plan: Plan, number: int, record: Sequence[str], cells: dict[str, str]) -> Subscriber:
    row = _Row(plan, cells)
    currency = row.get("currency", _currency)
    zone = row.get("zone", _zone)
    cut_over = _cut_over(plan, zone)
    amount = row.get("amount.value", lambda text: _amount(text, currency))
    times = row.get("amount.times", lambda text: _whole(text or "1", 1, TIMES_MAX))
    return Subscriber(
        row=number,
        source=_source(record),
        external_id=row.get("external_id", _identity),
        customer=_customer(row, currency, zone),
        address=_address(row) if "billing_address.country" in plan.fields else None,
        gateway=row.get(
            "payment_method.gateway", lambda text: _matching(text, _CODE, "a gateway's name") if text else ""
        ),
        token=row.get("payment_method.token", lambda text: _matching(text, _TOKEN, "a token without spaces")),
        product_code=row.get("product.code", lambda text: _matching(text, _CODE, "a code such as box-12")),
        product_name=row.get("product.name", lambda text: _required(_line(text))),
        amount=row.get("amount.times", lambda _: amount * times),
        interval=row.get("interval", _interval),
        start_at=_start(row, cut_over, zone),
        cut_over=cut_over,
    )


def _customer(row: _Row, currency: str, zone: str) -> NewCustomer:
    return NewCustomer(
        external_id=row.get("customer.external_id", _identity),
        email=row.get("customer.email", lambda text: _matching(text, _EMAIL, "an email address")),
        currency=currency,
        zone=zone,
        title=row.line("customer.title"),
        first_name=row.line("customer.first_name"),
        last_name=row.line("customer.last_name"),
        company=row.line("customer.company"),
        phone=row.get("customer.phone", lambda text: _matching(text, _PHONE, "a telephone number")),
        gender=row.line("customer.gender"),
        language=row.get("customer.language", lambda text: _matching(text or "en", _LANGUAGE, "a language such as en")),
        notice_days=row.get("customer.notice_days", lambda text: _whole(text or "0", 0, NOTICE_DAYS_MAX)),
    )


def _address(row: _Row) -> NewAddress:
    return NewAddress(
        line1=row.line("billing_address.line1"),
        line2=row.line("billing_address.line2"),
        city=row.get("billing_address.city", lambda text: _required(_line(text))),
        region=row.line("billing_address.region"),
        postal_code=row.get("billing_address.postal_code", lambda text: _matching(text, _POSTAL_CODE, "a post code")),
        country=row.get("billing_address.country", _country),
    )


def _cut_over(plan: Plan, zone: str) -> datetime:
    """The instant from which on this row is billed here."""
    cut_over = plan.cut_over
    if isinstance(cut_over, datetime):
        return utc(cut_over)
    if isinstance(cut_over, Day):
        raise Broken(f"the cut-over {cut_over} was never settled")
    return at_local(cut_over, time(), zone)


def _start(row: _Row, cut_over: datetime, zone: str) -> datetime:
    """When the subscription began elsewhere, at the wall time of the cut-over: it says on which days it renews."""
    at = cut_over.astimezone(zone_of(zone)).time()
    today = local_day(cut_over, zone)
    if "start.date" in row.plan.fields:
        return at_local(row.get("start.date", lambda text: _start_date(text, today)), at, zone)
    months = row.get("start.months_before_cut_over", lambda text: _whole(text, 0, MONTHS_MAX))
    return boundary(anchor_on(today, at.replace(fold=0), zone), Interval(1, Unit.MONTH), -months)


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


def _amount(text: str, currency: str) -> Money:
    amount = parse_major(text, currency)
    if amount.minor < 0:
        raise InvalidInput("amount", f"a price is not negative; {shown(text)} is")
    return amount


def _interval(text: str) -> Interval:
    found = _INTERVAL.fullmatch(text)
    if found is None:
        raise InvalidInput("interval", f"{shown(text)} is not an interval such as 1 month or 2 years")
    return Interval(int(found[1]), Unit(found[2]))


def _whole(text: str, least: int, most: int) -> int:
    if not _WHOLE.fullmatch(text) or not least <= int(text) <= most:
        raise InvalidInput("number", f"{shown(text)} is not a whole number from {least} to {most}")
    return int(text)


def _identity(text: str) -> str:
    return _matching(text, _IDENTITY, f"an id of 1 to {IDENTITY_LENGTH_MAX} visible ASCII characters")


def _currency(text: str) -> str:
    if not is_currency(text):
        raise InvalidInput("currency", f"{shown(text)} is not an active ISO 4217 code such as EUR")
    return text


def _zone(text: str) -> str:
    if not text:
        raise InvalidInput("zone", "must not be empty")
    zone_of(text)
    return text


def _country(text: str) -> str:
    if text not in COUNTRIES:
        raise InvalidInput("country", f"{shown(text)} is not an ISO 3166-1 code of two letters such as DE")
    return text


def _line(text: str) -> str:
    if len(text) > LINE_LENGTH_MAX:
        raise InvalidInput("line", f"has at most {LINE_LENGTH_MAX} characters; this one has {len(text)}")
    if any(unicodedata.category(character) in _CONTROL for character in text):
        raise InvalidInput("line", f"{shown(text)} is not one line without control characters")
    return text


def _required(text: str) -> str:
    if not text:
        raise InvalidInput("text", "must not be empty")
    return text


def _matching(text: str, pattern: re.Pattern[str], rule: str) -> str:
    if not pattern.fullmatch(text):
        raise InvalidInput("text", f"{shown(text)} is not {rule}")
    return text
