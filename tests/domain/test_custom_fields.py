"""What a custom field takes, and what a change of its definition leaves standing."""

from __future__ import annotations

import pytest

from domain.custom_fields import Definition, FieldType, broken_rule, changed_values, check_definition
from domain.errors import InvalidInput

PLAN = Definition("plan", FieldType.CHOICE, ("small", "large"))
SIZE = Definition("size", FieldType.NUMBER)
BORN = Definition("born", FieldType.DATE, required=True)
OLD = Definition("old", FieldType.TEXT, archived=True)
ALL = {each.key: each for each in (PLAN, SIZE, BORN, OLD)}


TYPES: list[tuple[FieldType, list[object], list[object]]] = [
    (FieldType.TEXT, ["x", "José 🦆", "=1+1"], ["", "  ", 5, True, "a\nb", "a\x00", "\ud800", "x" * 501, None, []]),
    (FieldType.NUMBER, [0, -1, 2.5, 10**15], ["5", True, 10**15 + 1, float("nan"), float("inf"), None, [1]]),
    (
        FieldType.DATE,
        ["2024-02-29"],
        ["2027-02-29", "2027-2-1", "20270201", "2027-01-01T00:00", "202\u0667-01-01", 5],
    ),
    (FieldType.CHOICE, ["small"], ["Small", "", 1, None]),
    (FieldType.YES_NO, [True, False], ["yes", 1, 0, None]),
]


@pytest.mark.parametrize(("kind", "good", "bad"), TYPES)
def test_a_type_is_kept_to(kind: FieldType, good: list[object], bad: list[object]) -> None:
    field = Definition("f", kind, ("small", "large") if kind is FieldType.CHOICE else ())
    assert [broken_rule(field, value) for value in good] == [None] * len(good)
    assert all(broken_rule(field, value) for value in bad)


def test_only_what_changes_is_written() -> None:
    before = {"plan": "small", "size": 1, "born": "2000-01-01"}
    wanted = {"plan": "small", "size": 2, "born": "2000-01-01"}
    assert changed_values(ALL, before, wanted) == {"size": 2}
    assert changed_values(ALL, before, {"plan": None}) == {"plan": None}
    assert changed_values(ALL, {"born": "2000-01-01"}, {"plan": None}) == {}


def test_a_value_that_fits_no_more_stays_until_it_is_replaced() -> None:
    before = {"plan": "huge", "born": "2000-01-01"}
    assert changed_values(ALL, before, {"size": 3}) == {"size": 3}
    assert changed_values(ALL, before, {"plan": "large"}) == {"plan": "large"}


@pytest.mark.parametrize(
    ("wanted", "field", "code"),
    [
        ({"nothing": 1}, "values.nothing", "unknown_custom_field"),
        ({"old": "x"}, "values.old", "unknown_custom_field"),
        ({"plan": "huge"}, "values.plan", "does_not_fit"),
        ({"size": True}, "values.size", "does_not_fit"),
        ({"size": [1]}, "values.size", "does_not_fit"),
        ({"born": None}, "values.born", "required"),
    ],
)
def test_what_does_not_fit_is_refused_by_name(wanted: dict[str, object], field: str, code: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        changed_values(ALL, {"born": "2000-01-01"}, wanted)
    assert (refused.value.field, refused.value.code) == (field, code)


def test_a_required_field_is_asked_for_at_every_change() -> None:
    with pytest.raises(InvalidInput, match="is required"):
        changed_values(ALL, {}, {"size": 1})


@pytest.mark.parametrize(
    "definition",
    [
        Definition("f", FieldType.TEXT, ("a",)),
        Definition("f", FieldType.CHOICE),
        Definition("f", FieldType.CHOICE, ("a", "a")),
        Definition("f", FieldType.CHOICE, tuple(str(each) for each in range(101))),
    ],
)
def test_choices_belong_to_their_type(definition: Definition) -> None:
    with pytest.raises(InvalidInput) as refused:
        check_definition(definition)
    assert refused.value.field == "choices"
