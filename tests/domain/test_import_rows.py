"""What a row of a merchant's file becomes, or why it is refused; and what makes a whole file unreadable."""

from __future__ import annotations

import csv
from contextlib import suppress
from copy import deepcopy
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.calendar import Interval, Unit
from domain.errors import Broken, InvalidInput
from domain.facts import TimePassed
from domain.import_cells import Taken
from domain.import_subscribers import Subscriber
from domain.imports import (
    COLUMNS_MAX,
    HEADER_BYTES_MAX,
    ROWS_MAX,
    SOURCE_CELL_LENGTH_MAX,
    Refusal,
    check_file,
    header,
    page,
    refuse,
)
from domain.lifecycle import apply, begin
from domain.mapping import Plan, read_mapping
from domain.messages import Start
from domain.money import Money
from domain.places import COUNTRIES
from domain.plan import due_at
from domain.state import Status
from domain.terms import Terms

COLUMNS = "id,name,email,price,plan,age,country,city,zone,token,note"
GOOD = {
    "id": "c-1", "name": "Zoë Ng", "email": "zoe@example.com", "price": "29.85", "plan": "monthly", "age": "3",
    "country": "US", "city": "Los Angeles", "zone": "America/Los_Angeles", "token": "tok_1", "note": "",
}  # fmt: skip
MAPPING: dict[str, Any] = {
    "cut_over": "2026-03-01",
    "external_id": "{id}",
    "currency": "USD",
    "zone": "{zone}",
    "interval": {
        "column": "plan",
        "values": {"monthly": "1 month", "yearly": "1 year", "other": "{note}", "ten": "10 years"},
    },
    "customer": {"email": "{email}", "last_name": "{name}"},
    "billing_address": {"city": "{city}", "country": "{country}"},
    "product": {"code": "box", "name": "Box"},
    "amount": {
        "value": "{price}",
        "times": {"column": "plan", "values": {"monthly": 1, "yearly": 12, "other": 1, "ten": "{note}"}},
    },
    "payment_method": {"gateway": "sandbox", "token": "{token}"},
    "start": {"months_before_cut_over": "{age}"},
}
LOS_ANGELES = ZoneInfo("America/Los_Angeles")
EXTRACT = Path(__file__).resolve().parents[2] / "examples" / "telco" / "subscribers.csv"


def plan_with(**changes: Any) -> Plan:
    """The mapping with some places changed; `customer__phone` is customer.phone."""
    data = deepcopy(MAPPING)
    for path, value in changes.items():
        *sections, last = path.split("__")
        place = data
        for section in sections:
            place = place[section]
        if value is None:
            del place[last]
        else:
            place[last] = value
    return read_mapping(data)


PLAN = plan_with()


def row(**cells: str) -> str:
    """One line of CSV, every cell in quotes."""
    return ",".join('"' + cell.replace('"', '""') + '"' for cell in (GOOD | cells).values())


def file(*rows: str, columns: str = COLUMNS) -> str:
    return "\r\n".join([columns, *rows, ""])


def verdicts(*rows: str, by: Plan = PLAN, first: int = 2) -> list[Taken | Refusal]:
    return page(file(*rows), by, first, 1_000)


def taken(by: Plan = PLAN, /, **cells: str) -> Subscriber:
    (verdict,) = verdicts(row(**cells), by=by)
    assert isinstance(verdict, Subscriber), verdict
    return verdict


def refused(by: Plan = PLAN, /, **cells: str) -> tuple[str, str]:
    (verdict,) = verdicts(row(**cells), by=by)
    assert isinstance(verdict, Refusal), verdict
    return verdict.field, verdict.reason


# ---------------------------------------------------------------- a good row


def test_a_row_becomes_a_subscriber() -> None:
    one = taken(plan_with(customer__phone="+1 (555) 010-99", customer__notice_days="3"))
    assert (one.row, one.external_id, one.product_code, one.product_name) == (2, "c-1", "box", "Box")
    assert (one.customer.external_id, one.customer.email, one.customer.last_name) == (
        "c-1",
        "zoe@example.com",
        "Zoë Ng",
    )
    assert (one.customer.currency, one.customer.zone, one.customer.language) == ("USD", "America/Los_Angeles", "en")
    assert (one.customer.phone, one.customer.notice_days, one.customer.first_name) == ("+1 (555) 010-99", 3, "")
    assert one.address is not None
    assert (one.address.city, one.address.country, one.address.line1) == ("Los Angeles", "US", "")
    assert (one.gateway, one.token) == ("sandbox", "tok_1")
    assert (one.amount, one.interval) == (Money(2985, "USD"), Interval(1, Unit.MONTH))
    assert one.cut_over == datetime(2026, 3, 1, 8, tzinfo=UTC), "midnight in Los Angeles"
    assert one.start_at == datetime(2025, 12, 1, 8, tzinfo=UTC)
    assert one.source == tuple(GOOD.values())


def test_a_yearly_price_is_twelve_times_the_monthly_charge() -> None:
    one = taken(plan="yearly")
    assert (one.amount, one.interval) == (Money(35820, "USD"), Interval(1, Unit.YEAR))
    assert one.price_code == "imported-usd-35820-1-year"


def test_what_is_not_mapped_is_left_out() -> None:
    one = taken(plan_with(billing_address=None, payment_method=None, amount__times=None))
    assert (one.address, one.gateway, one.token, one.amount.minor) == (None, "", "", 2985)


def test_ids_come_from_external_ids_alone() -> None:
    one, other = taken(), taken(price="1", name="Other")
    assert (one.id, one.customer.id) == (other.id, other.customer.id)
    assert one.id != taken(id="c-2").id
    shared = plan_with(customer__external_id="family")
    assert taken(shared).customer.id == taken(shared, id="c-2").customer.id


def test_a_start_may_be_a_date() -> None:
    plan = plan_with(start={"date": "{note}"}, cut_over="2026-03-01T17:30:00Z")
    one = taken(plan, note="2024-05-31")
    assert one.start_at == datetime(2024, 5, 31, 16, 30, tzinfo=UTC), "at the wall time of the cut-over, in summer"
    assert one.cut_over == datetime(2026, 3, 1, 17, 30, tzinfo=UTC)


def test_a_tenure_over_a_short_month_starts_on_its_last_day() -> None:
    one = taken(plan_with(cut_over="2026-03-31"), age="1")
    assert one.start_at.astimezone(LOS_ANGELES).date().isoformat() == "2026-02-28"


@given(
    months=st.integers(0, 120),
    kind=st.sampled_from([("monthly", 1), ("yearly", 12)]),
    day=st.dates(datetime(2026, 1, 1).date(), datetime(2028, 12, 31).date()),  # noqa: DTZ001 - a date, no instant
    zone=st.sampled_from(["America/Los_Angeles", "Europe/Berlin", "America/Santiago", "Pacific/Apia", "UTC"]),
)
def test_no_period_that_began_before_the_cut_over_is_billed(
    months: int, kind: tuple[str, int], day: Any, zone: str
) -> None:
    one = taken(plan_with(cut_over=day.isoformat()), age=str(months), zone=zone, plan=kind[0])
    terms = Terms("price", "prod", "Box", one.amount.minor, "USD", 1, one.interval)
    start = Start(one.id, "cus", zone, terms, "me", start_at=one.start_at, bill_from=one.cut_over)
    state = apply(begin(start, one.cut_over), TimePassed("start"), one.cut_over)
    due = due_at(state)
    assert state.status is Status.ACTIVE
    assert due is not None
    assert one.cut_over <= due < one.cut_over + timedelta(days=31 * kind[1] + 1), "the first one due, not a later one"


# ---------------------------------------------------------------- a bad row


@pytest.mark.parametrize(
    ("cells", "field", "rule"),
    [
        ({"id": ""}, "external_id", "'' is not an id of 1 to 128 visible ASCII characters"),
        ({"id": "a b"}, "external_id", "is not an id"),
        ({"id": "a\0b"}, "external_id", "is not an id"),
        ({"id": "é"}, "external_id", "is not an id"),
        ({"id": "x" * 129}, "external_id", "is not an id"),
        ({"email": ""}, "customer.email", "'' is not an email address"),
        ({"email": "ada"}, "customer.email", "is not an email address"),
        ({"email": "ada@example"}, "customer.email", "is not an email address"),
        ({"email": "ada@@example.com"}, "customer.email", "is not an email address"),
        ({"email": "a da@example.com"}, "customer.email", "is not an email address"),
        ({"email": ".ada@example.com"}, "customer.email", "is not an email address"),
        ({"email": "ada@-example.com"}, "customer.email", "is not an email address"),
        ({"email": "ada@example.com\nBcc: all@example.com"}, "customer.email", "is not an email address"),
        ({"email": f"{'a' * 250}@example.com"}, "customer.email", "is not an email address"),
        ({"name": "x" * 201}, "customer.last_name", "has at most 200 characters; this one has 201"),
        ({"name": "a\nb"}, "customer.last_name", "is not one line without control characters"),
        ({"name": "a\0b"}, "customer.last_name", "is not one line without control characters"),
        ({"name": "a\u2028b"}, "customer.last_name", "is not one line without control characters"),
        ({"price": ""}, "amount.value", "'' is not a decimal number"),
        ({"price": "-29.85"}, "amount.value", "a price is not negative; '-29.85' is"),
        ({"price": "29,85"}, "amount.value", "is not a decimal number"),
        ({"price": "$29.85"}, "amount.value", "is not a decimal number"),
        ({"price": "1e3"}, "amount.value", "is not a decimal number"),
        ({"price": "NaN"}, "amount.value", "is not a decimal number"),
        ({"price": "29.855"}, "amount.value", "USD has 2 digits after the point"),
        ({"price": "9" * 18}, "amount.value", "is beyond the largest amount"),
        ({"price": "9" * 13, "plan": "yearly"}, "amount.times", "an amount lies between"),
        ({"plan": "ten", "note": "0"}, "amount.times", "'0' is not a whole number from 1 to 1000"),
        ({"plan": "Weekly"}, "amount.times", "'Weekly' stands in plan; the mapping knows monthly, yearly"),
        ({"plan": "other", "note": "soon"}, "interval", "'soon' is not an interval such as 1 month"),
        ({"plan": "other", "note": "0 months"}, "interval", "is not an interval"),
        ({"plan": "other", "note": "121 months"}, "interval", "an interval is 1 to 120 months"),
        ({"age": "-1"}, "start.months_before_cut_over", "'-1' is not a whole number from 0 to 1200"),
        ({"age": "1201"}, "start.months_before_cut_over", "is not a whole number"),
        ({"age": "1.5"}, "start.months_before_cut_over", "is not a whole number"),
        ({"age": "٣"}, "start.months_before_cut_over", "is not a whole number"),
        ({"age": "9" * 5_000}, "start.months_before_cut_over", "is not a whole number"),
        ({"country": "United States"}, "billing_address.country", "is not an ISO 3166-1 code"),
        ({"country": "XX"}, "billing_address.country", "is not an ISO 3166-1 code"),
        ({"city": " "}, "billing_address.city", "must not be empty"),
        ({"zone": ""}, "zone", "must not be empty"),
        ({"zone": "California"}, "zone", "'California' is not an IANA time zone"),
        ({"token": "tok 1"}, "payment_method.token", "is not a token without spaces"),
        ({"token": "x" * 256}, "payment_method.token", "is not a token"),
    ],
)
def test_a_bad_row_names_field_and_rule(cells: dict[str, str], field: str, rule: str) -> None:
    told, reason = refused(**cells)
    assert told == field
    assert rule in reason
    assert len(reason) < 200, "a long cell is not repeated"


@pytest.mark.parametrize(
    ("place", "value", "field"),
    [
        ("currency", "XYZ", "currency"),
        ("currency", "", "currency"),
        ("product__code", "a b", "product.code"),
        ("product__name", " ", "product.name"),
        ("payment_method__gateway", "a b", "payment_method.gateway"),
        ("customer__phone", "call me", "customer.phone"),
        ("customer__language", "English", "customer.language"),
        ("customer__notice_days", "61", "customer.notice_days"),
        ("billing_address__postal_code", "#", "billing_address.postal_code"),
        ("start", {"date": "31.05.2024"}, "start.date"),
        ("start", {"date": "2024-02-30"}, "start.date"),
        ("start", {"date": "1969-12-31"}, "start.date"),
        ("start", {"date": "2027-03-03"}, "start.date"),
    ],
)
def test_every_field_has_its_rule(place: str, value: Any, field: str) -> None:
    assert refused(plan_with(**{place: value}))[0] == field


@pytest.mark.parametrize("day", ["1970-01-01", "2026-03-01", "2027-03-02"])
def test_starts_at_the_edges_are_taken(day: str) -> None:
    assert taken(plan_with(start={"date": day})).start_at.astimezone(LOS_ANGELES).date().isoformat() == day


@pytest.mark.parametrize(
    ("cells", "what"),
    [
        ({"id": "x" * 128}, "external_id"),
        ({"name": "x" * 200}, "name"),
        ({"age": "1200"}, "age"),
        ({"age": "0"}, "age"),
        ({"price": "0"}, "price"),
        ({"price": "0.00"}, "price"),
        ({"token": ""}, "token"),
        ({"token": "x" * 255}, "token"),
        ({"email": "o'hara+box@mail.example.co.uk"}, "email"),
        ({"email": "jörg@müller.example"}, "email"),
        ({"plan": "other", "note": "14 days"}, "interval"),
        ({"plan": "other", "note": "1 week"}, "interval"),
        ({"note": "a\nb\0" + "x" * 5_000}, "a column that is not mapped"),
    ],
)
def test_the_edges_are_taken(cells: dict[str, str], what: str) -> None:
    assert taken(**cells).row == 2, what


def test_an_id_that_an_earlier_row_has_is_refused_whatever_became_of_that_row() -> None:
    rows = [row(id="a"), row(id="b", price="-1"), row(id="a", price="5"), row(id="b"), row(id="c")]
    found = verdicts(*rows)
    assert [type(one).__name__ for one in found] == ["Subscriber", "Refusal", "Refusal", "Refusal", "Subscriber"]
    assert isinstance(found[2], Refusal)
    assert (found[2].field, found[2].reason) == ("external_id", "'a' is in row 2 already")
    assert isinstance(found[3], Refusal)
    assert found[3].reason == "'b' is in row 3 already"
    # Also where the first one was on an earlier page.
    assert verdicts(*rows, first=4) == found[2:]


def test_a_row_of_another_width_is_refused() -> None:
    short, long = verdicts("c-1,Ada", row(id="c-2") + ",more")
    assert isinstance(short, Refusal)
    assert (short.field, short.reason, short.source) == ("row", "has 2 cells, the header has 11", ("c-1", "Ada"))
    assert isinstance(long, Refusal)
    assert long.reason == "has 12 cells, the header has 11"


def test_a_refused_row_is_kept_as_it_was_but_for_what_cannot_be_kept() -> None:
    (one,) = verdicts(row(price="x", name="=1+1", note="a\0" + "y" * 3_000))
    assert isinstance(one, Refusal)
    assert one.source[1] == "=1+1"
    assert one.source[-1] == ("a\N{REPLACEMENT CHARACTER}" + "y" * 3_000)[:SOURCE_CELL_LENGTH_MAX]
    later = refuse(taken(), "payment_method.token", "is not known")
    assert (later.row, later.field, later.source) == (2, "payment_method.token", tuple(GOOD.values()))


# ---------------------------------------------------------------- files


def test_rows_are_numbered_as_a_spreadsheet_does_and_blank_ones_are_passed_over() -> None:
    text = file(row(id="a"), "", ",,,,,,,,,,", row(id="b", note="two\nlines"), row(id="c"))
    assert [(one.row, one.source[0]) for one in page(text, PLAN, 2, 10)] == [(2, "a"), (5, "b"), (6, "c")]
    assert check_file(text, PLAN) == 3


@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("last", ["", "\n", "\r\n", "\n\n"])
def test_any_line_end_will_do(end: str, last: str) -> None:
    text = end.join([COLUMNS, row(id="a"), row(id="b")]) + last
    assert [one.row for one in page(text, PLAN, 2, 10)] == [2, 3]


def test_cells_may_be_quoted_and_hold_anything() -> None:
    name = 'Ng, "Zoë"'
    assert taken(name=name).customer.last_name == name
    text = file(row(name="a;b")).replace(",", ";")
    assert header(text, ";") == COLUMNS.split(",")
    (one,) = page(text, plan_with(delimiter=";"), 2, 10)
    assert isinstance(one, Subscriber)
    assert one.customer.last_name == "a;b"


def test_pages_are_cut_anywhere() -> None:
    rows = [row(id=f"c-{number}") for number in range(7)]
    whole = verdicts(*rows)
    for size in (1, 2, 3, 7, 8):
        found: list[Taken | Refusal] = []
        while part := page(file(*rows), PLAN, found[-1].row + 1 if found else 2, size):
            assert len(part) <= size
            found += part
        assert found == whole


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("", "the file is empty"),
        ("\r\n \r\n", "the file is empty"),
        (file(), f"has 1 to {ROWS_MAX} rows under its header; this one has 0"),
        (file("", ",,"), "this one has 0"),
        (file(row(), '"never closed'), "row 3 (line 4) is no CSV: unexpected end of data"),
        (file('"a"b,c'), "row 2 (line 2) is no CSV"),
        (file(row(note="x" * 140_000)), "field larger than field limit"),
        (file(row(), columns=f"{COLUMNS},id"), "the column 'id' is there 2 times"),
        (file(row(), columns=COLUMNS + ",x" * COLUMNS_MAX), f"at most {COLUMNS_MAX} columns"),
        (file(row(), columns=COLUMNS + "," + "é" * (HEADER_BYTES_MAX // 2)), f"and {HEADER_BYTES_MAX} bytes"),
        ("id,name\rc-1,Ada\r", "row 1 (line 1) is no CSV"),
    ],
)
def test_a_file_that_cannot_be_read_is_refused_whole(text: str, rule: str) -> None:
    with pytest.raises(InvalidInput) as error:
        check_file(text, PLAN)
    assert error.value.field == "content"
    assert rule in error.value.message


def test_a_missing_column_is_told_with_its_place_in_the_mapping() -> None:
    with pytest.raises(InvalidInput, match=r"the file has no column 'price' \(did you mean Prize\?\)") as error:
        check_file(file(row(), columns=COLUMNS.replace("price", "Prize")), PLAN)
    assert error.value.field == "mapping.amount.value"


def test_names_of_columns_that_are_not_mapped_may_repeat() -> None:
    text = file(*[row() + ",1,2,3"], columns=f" {COLUMNS} ,,,x")
    assert check_file(text, PLAN) == 1
    assert isinstance(page(text, PLAN, 2, 1)[0], Subscriber)


def test_too_many_rows_are_refused() -> None:
    text = "id,name,email,price,plan,age,country,city,zone,token,note\n" + "x\n" * ROWS_MAX
    assert check_file(text, PLAN) == ROWS_MAX
    with pytest.raises(InvalidInput, match=f"this one has {ROWS_MAX + 1}"):
        check_file(text + "x\n", PLAN)


def test_a_cut_over_that_was_never_settled_is_a_bug() -> None:
    with pytest.raises(Broken):
        verdicts(row(), by=plan_with(cut_over="tomorrow"))


@given(st.lists(st.lists(st.text(max_size=5), max_size=13), max_size=6))
def test_no_file_does_worse_than_being_refused(records: list[list[str]]) -> None:
    text = file(*(",".join(record) for record in records))
    rows: int | None = None
    with suppress(InvalidInput):
        rows = check_file(text, PLAN)
    if rows is not None:
        found = page(text, PLAN, 2, 100)
        assert len(found) == rows
        assert all(before.row < after.row for before, after in pairwise(found))


# ---------------------------------------------------------------- the real thing


def test_each_row_of_the_example_can_be_applied() -> None:
    data: dict[str, Any] = MAPPING | {
        "external_id": "{customerID}",
        "zone": "America/Los_Angeles",
        "interval": {
            "column": "Contract",
            "values": {"Month-to-month": "1 month", "One year": "1 year", "Two year": "2 years"},
        },
        "customer": {"email": "{customerID}@example.com"},
        "billing_address": {"city": "{City}", "postal_code": "{ZipCode}", "country": "US"},
        "amount": {"value": "{MonthlyCharges}"},
        "payment_method": {"gateway": "sandbox", "token": "tok_ok_bank_{customerID}"},
        "start": {"months_before_cut_over": "{tenure}"},
    }
    text = EXTRACT.read_bytes().decode("utf-8-sig")
    found = page(text, read_mapping(data), 2, 1_000)
    assert len(found) == check_file(text, read_mapping(data)) == 122
    assert all(isinstance(one, Subscriber) for one in found)
    with EXTRACT.open(encoding="utf-8-sig", newline="") as lines:
        blank = [each["tenure"] for each in csv.DictReader(lines) if not each["TotalCharges"].strip()]
    assert blank == ["0"] * 11, "the blank totals are of those who have only just begun"


def test_countries_are_codes_of_two_letters() -> None:
    assert len(COUNTRIES) == 250
    assert {"US", "DE", "GB", "XK"} <= COUNTRIES
    assert not {"EU", "UK", "XX", "AN"} & COUNTRIES
