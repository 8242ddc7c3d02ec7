"""The rules of single cells: what is taken, what is refused, and that a refusal shows the value."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime

import pytest

from domain.calendar import Interval, Unit
from domain.errors import InvalidInput
from domain.import_cells import (
    CODE,
    EMAIL,
    IDENTITY_LENGTH_MAX,
    LANGUAGE,
    LINE_LENGTH_MAX,
    PHONE,
    POSTAL_CODE,
    TOKEN,
    Row,
    country,
    currency,
    flag,
    identity,
    instant,
    interval,
    line,
    matching,
    one_of,
    price,
    required,
    whole,
    zone,
)
from domain.mapping import Column, Plan, Template
from domain.money import Money


def refused(rule: Callable[[str], object], text: str) -> InvalidInput:
    with pytest.raises(InvalidInput) as refusal:
        rule(text)
    return refusal.value


def test_a_row_reads_a_field_by_its_plan_and_names_it_in_a_refusal() -> None:
    plan = Plan({"amount.times": Template((Column("n"), "0")), "name": Template((Column("who"),))})
    row = Row(plan, 4, ("1", "Zoë"), {"n": "1", "who": "  Zoë "})
    assert row.get("amount.times", int) == 10
    assert row.line("name") == "Zoë"
    assert row.get("nowhere", repr) == "''", "what is not mapped is empty"
    with pytest.raises(InvalidInput) as refusal:
        row.get("amount.times", lambda text: whole(text, 1, 9))
    assert (refusal.value.field, refusal.value.message) == (
        "amount.times",
        "'10' is not a whole number from 1 to 9",
    )


def test_prices_are_amounts_that_are_not_negative() -> None:
    assert price("0", "EUR") == Money(0, "EUR")
    assert price("12.50", "EUR") == Money(1250, "EUR")
    negative = refused(lambda text: price(text, "EUR"), "-0.01")
    assert (negative.field, "'-0.01'" in negative.message) == ("amount", True)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("1 month", Interval(1, Unit.MONTH)),
        ("2 years", Interval(2, Unit.YEAR)),
        ("30 day", Interval(30, Unit.DAY)),
        ("52 weeks", Interval(52, Unit.WEEK)),
    ],
)
def test_intervals(text: str, found: Interval) -> None:
    assert interval(text) == found


def test_what_is_no_interval() -> None:
    for text in ("", "month", "0 months", "01 month", "1  month", "1 fortnight", "1 month ", "10000 days"):
        refusal = refused(interval, text)
        assert (refusal.field, repr(text) in refusal.message) == ("interval", True)


def test_whole_numbers_within_their_bounds() -> None:
    assert [whole(text, 2, 5) for text in ("2", "5", "003")] == [2, 5, 3]
    for text in ("1", "6", "", "2.0", "+3", " 3", "٣", "0000003"):
        refusal = refused(lambda given: whole(given, 2, 5), text)
        assert (refusal.field, "from 2 to 5" in refusal.message) == ("number", True)


def test_flags() -> None:
    assert [flag(text) for text in ("true", "false", "")] == [True, False, False]
    refusal = refused(flag, "yes")
    assert (refusal.field, "true, false" in refusal.message) == ("choice", True)


def test_instants_have_an_offset_and_a_year_that_can_be() -> None:
    assert instant("") is None
    assert instant("2026-03-01T09:00:00Z") == datetime(2026, 3, 1, 9, tzinfo=UTC)
    found = instant("2026-03-01T09:00:00+05:30")
    assert found == datetime(2026, 3, 1, 3, 30, tzinfo=UTC)
    assert found is not None
    assert found.tzinfo is UTC
    assert instant("1970-01-01T00:00:00Z") is not None
    assert instant("2199-12-31T23:59:59Z") is not None
    for text in ("2026-03-01T09:00:00", "2026-03-01", "now", "2026-13-01T00:00:00Z", "9999-12-31T23:59:59-12:00"):
        refusal = refused(instant, text)
        assert (refusal.field, repr(text) in refusal.message) == ("instant", True)
    for text in ("1969-12-31T23:59:59Z", "2200-01-01T00:00:00Z", "2199-12-31T23:59:59-01:00"):
        refusal = refused(instant, text)
        assert (refusal.field, "1970 to 2199" in refusal.message) == ("instant", True)


def test_identities_are_visible_ascii() -> None:
    for text in ("x", "x" * IDENTITY_LENGTH_MAX, "!~", "a/b:c"):
        assert identity(text) == text
    for text in ("", "x" * (IDENTITY_LENGTH_MAX + 1), "a b", "ü", "a\n"):
        assert refused(identity, text).field == "text"


def test_currencies_zones_and_countries() -> None:
    assert (currency("EUR"), zone("Europe/Berlin"), country("DE")) == ("EUR", "Europe/Berlin", "DE")
    assert [refused(currency, text).field for text in ("", "eur", "XXX")] == ["currency"] * 3
    assert refused(zone, "").field == "zone"
    assert refused(zone, "").message == "must not be empty"
    assert isinstance(refused(zone, "Mars/Olympus"), InvalidInput)
    assert [refused(country, text).field for text in ("", "de", "XX")] == ["country"] * 3
    assert "'XX'" in refused(country, "XX").message


def test_a_line_is_one_line() -> None:
    for text in ("", "x" * LINE_LENGTH_MAX, "Zoë \u200d 🎁"):
        assert line(text) == text
    assert line("x" * 300, 300) == "x" * 300
    long = refused(line, "x" * (LINE_LENGTH_MAX + 1))
    assert (long.field, "at most 200" in long.message, "201" in long.message) == ("line", True, True)
    for text in ("a\nb", "a\tb", "a\0b", "a\u2028b", "a\u2029b", "a\x85b", "\ud800"):
        refusal = refused(line, text)
        assert (refusal.field, "without control characters" in refusal.message) == ("line", True)


def test_choices_and_what_must_be_there() -> None:
    assert one_of("b", ("a", "b")) == "b"
    refusal = refused(lambda text: one_of(text, ("a", "b")), "c")
    assert (refusal.field, refusal.message) == ("choice", "'c' is not one of a, b")
    assert required(" ") == " "
    empty = refused(required, "")
    assert (empty.field, empty.message) == ("text", "must not be empty")


def test_a_pattern_is_for_the_whole_text() -> None:
    assert matching("box-12", CODE, "a code") == "box-12"
    refusal = refused(lambda text: matching(text, CODE, "a code"), "box 12")
    assert (refusal.field, refusal.message) == ("text", "'box 12' is not a code")


@pytest.mark.parametrize(
    ("pattern", "good", "bad"),
    [
        (TOKEN, ["", "tok_1", "x" * 255], ["x" * 256, "a b"]),
        (CODE, ["a", "A.b_c-9", "x" * 64], ["", "-a", "x" * 65, "ü"]),
        (
            EMAIL,
            ["a@b.de", "a.b+c@sub.example.com", "zoë@exämple.de"],
            ["a@b", "@b.de", "a..b@c.de", "a@-b.de", "a@b_.de"],
        ),
        (PHONE, ["", "0", "+49 (30) 12-3.4/5"], ["+", " 1", "1" * 33, "tel"]),
        (LANGUAGE, ["en", "deu", "de-AT", "zh-Hant-TW"], ["", "e", "engl", "DE", "de_AT"]),
        (POSTAL_CODE, ["", "SW1A 1AA", "1" * 16], ["1" * 17, "1_2"]),
    ],
    ids=["token", "code", "email", "phone", "language", "postal_code"],
)
def test_patterns(pattern: re.Pattern[str], good: list[str], bad: list[str]) -> None:
    def fits(text: str) -> bool:
        try:
            matching(text, pattern, "it")
        except InvalidInput:
            return False
        return True

    assert [text for text in good if not fits(text)] == []
    assert [text for text in bad if fits(text)] == []
