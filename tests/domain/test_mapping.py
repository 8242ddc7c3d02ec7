"""The mapping language: what a value becomes, and how a wrong mapping is told with its place."""

from __future__ import annotations

from copy import deepcopy
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.errors import InvalidInput
from domain.import_fields import FIELDS as ALL_FIELDS
from domain.import_fields import Kind
from domain.mapping import (
    CHOICES_MAX,
    TEXT_LENGTH_MAX,
    Choice,
    Day,
    Template,
    read_mapping,
    settled_cut_over,
    shown,
)
from domain.terms import Trigger

FIELDS = ALL_FIELDS[Kind.SUBSCRIBERS].of
NOW = datetime(2026, 3, 1, 4, tzinfo=UTC)  # still the last of February in Los Angeles

SMALLEST: dict[str, Any] = {
    "cut_over": "2026-03-01",
    "external_id": "{id}",
    "currency": "EUR",
    "zone": "Europe/Berlin",
    "interval": "1 month",
    "customer": {"email": "{id}@example.com"},
    "product": {"code": "box", "name": "Box"},
    "amount": {"value": "{price}"},
    "start": {"months_before_cut_over": "{age}"},
}


def changed(path: str, value: Any) -> dict[str, Any]:
    """The smallest mapping with one place changed; `None` takes it out."""
    data = deepcopy(SMALLEST)
    *sections, last = path.split(".")
    place = data
    for section in sections:
        place = place.setdefault(section, {})
    if value is None:
        place.pop(last, None)
    else:
        place[last] = value
    return data


def refused(data: dict[str, Any]) -> tuple[str, str]:
    with pytest.raises(InvalidInput) as error:
        read_mapping(data)
    return error.value.field, error.value.message


def text(value: Any, **cells: str) -> str:
    return read_mapping(changed("customer.company", value)).fields["customer.company"].text(cells)


def test_the_smallest_mapping_takes_the_defaults() -> None:
    plan = read_mapping(SMALLEST)
    assert plan.cut_over == date(2026, 3, 1)
    assert (plan.delimiter, plan.test_mode, plan.trigger) == (",", False, Trigger.TIMER)
    assert plan.fields["customer.external_id"] == plan.fields["external_id"]
    assert plan.columns == {"id", "price", "age"}
    assert "billing_address.city" not in plan.fields


def test_settings_are_taken() -> None:
    plan = read_mapping(SMALLEST | {"delimiter": ";", "test_mode": True, "trigger": "external"})
    assert (plan.delimiter, plan.test_mode, plan.trigger) == (";", True, Trigger.EXTERNAL)
    parent = read_mapping(changed("customer.external_id", "{parent}"))
    assert parent.fields["customer.external_id"].text({"parent": "p1"}) == "p1"


@pytest.mark.parametrize(
    ("template", "filled"),
    [
        ("Ada", "Ada"),
        ("{first} {last}", "Ada Byron"),
        ("{first}{missing name}", "Ada"),
        (" {first} ", "Ada"),
        ("{{{first}}}", "{Ada}"),
        ("{{first}}", "{first}"),
        ("", ""),
        (12, "12"),
    ],
)
def test_a_template_is_filled(template: Any, filled: str) -> None:
    assert text(template, first=" Ada ", last="Byron", **{"missing name": " "}) == filled


def test_a_choice_is_made_by_the_cell() -> None:
    choice = {"column": "plan", "values": {" small ": "{id}-s", "large": "L"}}
    assert text(choice, plan=" small", id="7") == "7-s"
    assert text(choice, plan="large ", id="7") == "L"
    value = read_mapping(changed("customer.company", choice)).fields["customer.company"]
    assert isinstance(value, Choice)
    assert value.columns == {"plan", "id"}
    with pytest.raises(InvalidInput, match=r"'Large' stands in plan; the mapping knows small, large$"):
        value.text({"plan": "Large", "id": "7"})


@given(st.text(max_size=TEXT_LENGTH_MAX // 2))
def test_any_text_can_be_written_as_a_constant(wanted: str) -> None:
    escaped = wanted.replace("{", "{{").replace("}", "}}")
    assert text(escaped) == wanted.strip()


@pytest.mark.parametrize(
    ("path", "value", "field", "rule"),
    [
        (
            "costumer",
            "x",
            "mapping.costumer",
            "there is no such key (did you mean customer?); the mapping knows amount",
        ),
        ("customer.Emial", "x", "mapping.customer.Emial", "(did you mean email?)"),
        ("customer.zzz", "x", "mapping.customer.zzz", "no such key; the mapping knows company, email"),
        ("external_id", None, "mapping.external_id", "is missing"),
        ("customer", None, "mapping.customer", "is missing"),
        ("customer", "x", "mapping.customer", "is a list of names"),
        ("customer", {1: "x"}, "mapping.customer", "each name is a text"),
        ("customer.email", None, "mapping.customer.email", "is missing"),
        ("billing_address.city", "x", "mapping.billing_address.country", "is missing"),
        ("payment_method.token", "x", "mapping.payment_method.gateway", "is missing"),
        ("start", {}, "mapping.start", "has either"),
        ("start.date", "{d}", "mapping.start", "has either"),
        ("currency", True, "mapping.currency", "is a text; put it in quotes"),
        ("currency", 1.5, "mapping.currency", "is a text"),
        ("currency", [["x"]], "mapping.currency.0", "is a text"),
        ("currency", [], "mapping.currency", "has 1 to 10 values"),
        ("currency", "x" * (TEXT_LENGTH_MAX + 1), "mapping.currency", f"has 0 to {TEXT_LENGTH_MAX} characters"),
        ("currency", "{a", "mapping.currency", "a brace without its partner"),
        ("currency", "a}", "mapping.currency", "a brace without its partner"),
        ("currency", "{}", "mapping.currency", "a brace without its partner"),
        ("interval", {"column": "a"}, "mapping.interval.values", "is missing"),
        ("interval", {"values": {"a": "b"}}, "mapping.interval.column", "is missing"),
        ("interval", {"column": "", "values": {"a": "b"}}, "mapping.interval.column", "has 1 to"),
        ("interval", {"column": "a", "values": {}}, "mapping.interval.values", f"has 1 to {CHOICES_MAX} entries"),
        ("interval", {"column": "a", "values": {"b": True}}, "mapping.interval.values.b", "is a text"),
        ("interval", {"column": "a", "values": {"b": "{"}}, "mapping.interval.values.b", "brace"),
        ("interval", {"column": "a", "values": {"b": "c"}, "else": "d"}, "mapping.interval.else", "no such key"),
        ("test_mode", "true", "mapping.test_mode", "is true or false"),
        ("trigger", "clock", "mapping.trigger", "is one of timer, external"),
        ("delimiter", "x", "mapping.delimiter", "is a comma"),
        ("delimiter", ["x"], "mapping.delimiter", "is a comma"),
        ("cut_over", None, "mapping.cut_over", "is missing"),
        ("cut_over", 20260301, "mapping.cut_over", "is a text"),
        ("cut_over", "yesterday", "mapping.cut_over", "'yesterday' is none"),
        ("cut_over", "2026-02-30", "mapping.cut_over", "'2026-02-30' is none"),
        ("cut_over", "20260301", "mapping.cut_over", "is none"),
        ("cut_over", "2026-03-01T09:00:00", "mapping.cut_over", "an instant with offset"),
    ],
)
def test_a_wrong_mapping_is_told_with_its_place(path: str, value: Any, field: str, rule: str) -> None:
    told, message = refused(changed(path, value))
    assert told == field
    assert rule in message


def test_too_many_choices_are_refused() -> None:
    values = {str(number): "x" for number in range(CHOICES_MAX + 1)}
    assert refused(changed("interval", {"column": "a", "values": values}))[0] == "mapping.interval.values"
    values.popitem()
    assert read_mapping(changed("interval", {"column": "a", "values": values}))


def test_every_field_can_be_mapped() -> None:
    data: dict[str, Any] = {"cut_over": "today"}
    for path in FIELDS:
        section, _, key = path.rpartition(".")
        if path == "start.date":
            continue
        (data.setdefault(section, {}) if section else data)[key] = f"{{{path}}}"
    plan = read_mapping(data)
    assert set(plan.fields) == set(FIELDS) - {"start.date"}
    assert all(
        value == Template(value.parts) and value.columns == {path}
        for path, value in plan.fields.items()
        if isinstance(value, Template)
    )


@pytest.mark.parametrize(
    ("cut_over", "zone", "settled"),
    [
        ("today", "America/Los_Angeles", "2026-02-28"),
        ("tomorrow", "America/Los_Angeles", "2026-03-01"),
        ("today", "Europe/Berlin", "2026-03-01"),
        ("tomorrow", "{zone}", "2026-03-02"),
        ("2026-02-01", "UTC", "2026-02-01"),
        ("2027-03-02", "UTC", "2027-03-02"),
        ("2026-03-01T09:00:00.5+01:00", "UTC", "2026-03-01T09:00:00+01:00"),
        ("2026-01-29", "UTC", None),
        ("2026-01-28", "UTC", "refused"),
        ("2027-03-03", "UTC", "refused"),
        ("2020-03-01T09:00:00Z", "UTC", "refused"),
    ],
)
def test_the_cut_over_is_settled_once_and_near(cut_over: str, zone: str, settled: str | None) -> None:
    plan = read_mapping(SMALLEST | {"cut_over": cut_over, "zone": zone})
    if settled == "refused":
        with pytest.raises(InvalidInput, match="is at most 31 days ago and at most 366 days ahead") as error:
            settled_cut_over(plan, NOW)
        assert error.value.field == "mapping.cut_over"
        return
    again = settled_cut_over(plan, NOW)
    assert again == (settled or cut_over)
    fixed = read_mapping(SMALLEST | {"cut_over": again}).cut_over
    assert not isinstance(fixed, Day)


def test_every_key_is_documented() -> None:
    told = (Path(__file__).resolve().parents[2] / "docs" / "imports.md").read_text()
    for path in FIELDS:
        section, _, key = path.rpartition(".")
        assert f"`{section}" in told, path
        assert f"`{path}`" in told or f"`.{key}`" in told, path


def test_what_is_shown_of_a_value_is_short() -> None:
    assert shown("a'b") == '"a\'b"'
    assert shown("x" * 40) == repr("x" * 40)
    assert shown("x" * 41) == repr("x" * 40 + "…")
