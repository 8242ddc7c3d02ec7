"""The language of filters: what it takes, and how it says what is wrong, and where."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.custom_fields import Definition, FieldType
from domain.errors import InvalidInput
from domain.segments import DEPTH_MAX, RULES_MAX, Every, HasSubscription, Kind, Not, Op, Rule, Some, parse

CUSTOM = {"size": Definition("size", FieldType.NUMBER), "plan": Definition("plan", FieldType.CHOICE, ("a",))}


def rule(field: object, op: object, value: object) -> dict[str, object]:
    return {"field": field, "op": op, "value": value}


def test_a_tree_is_read() -> None:
    tree = {
        "all": [
            rule("tags", "has", "vip"),
            {"any": [rule("custom.size", "ge", 2.5), rule("custom.plan", "in", ["a", "gone"])]},
            {"not": rule("created_at", "lt", "2027-01-01T01:00:00+01:00")},
            {"subscription": rule("status", "eq", "active")},
        ]
    }
    assert parse(tree, CUSTOM) == Every(
        (
            Rule("tags", Kind.SET, Op.HAS, "vip"),
            Some(
                (
                    Rule("custom.size", Kind.NUMBER, Op.GE, 2.5),
                    Rule("custom.plan", Kind.TEXT, Op.IN, ("a", "gone")),
                )
            ),
            Not(Rule("created_at", Kind.INSTANT, Op.LT, datetime(2027, 1, 1, tzinfo=UTC))),
            HasSubscription(Rule("status", Kind.TEXT, Op.EQ, "active")),
        )
    )


def nested(depth: int) -> dict[str, Any]:
    return rule("id", "eq", "x") if depth == 1 else {"not": nested(depth - 1)}


BAD: list[tuple[object, str]] = [
    ([], "filter"),
    (None, "filter"),
    ({}, "filter"),
    ({"all": [], "any": []}, "filter"),
    ({"field": "id", "op": "eq"}, "filter"),
    (rule("id", "eq", "x") | {"surprise": 1}, "filter"),
    ({"all": {}}, "filter.all"),
    ({"all": [rule("id", "eq", "x"), 5]}, "filter.all.1"),
    ({"not": {"any": [rule("nothing", "eq", "x")]}}, "filter.not.any.0.field"),
    (rule(5, "eq", "x"), "filter.field"),
    (rule("custom.gone", "eq", "x"), "filter.field"),
    (rule("status", "eq", "active"), "filter.field"),
    (rule("id", "lt", "x"), "filter.op"),
    (rule("id", [], "x"), "filter.op"),
    (rule("tags", "eq", "x"), "filter.op"),
    (rule("custom.size", "contains", "x"), "filter.op"),
    (rule("id", "eq", 5), "filter.value"),
    (rule("id", "eq", ""), "filter.value"),
    (rule("id", "eq", "x" * 201), "filter.value"),
    (rule("id", "eq", "a\x00b"), "filter.value"),
    (rule("id", "eq", "\ud800"), "filter.value"),
    (rule("id", "in", "x"), "filter.value"),
    (rule("id", "in", []), "filter.value"),
    (rule("id", "in", ["x", 5]), "filter.value.1"),
    (rule("id", "in", ["x"] * 101), "filter.value"),
    (rule("id", "is_set", 1), "filter.value"),
    (rule("notice_days", "eq", True), "filter.value"),
    (rule("notice_days", "eq", "5"), "filter.value"),
    (rule("notice_days", "eq", float("nan")), "filter.value"),
    (rule("notice_days", "eq", 10**30), "filter.value"),
    (rule("created_at", "lt", "2027-01-01"), "filter.value"),
    (rule("created_at", "lt", "2027-02-30T00:00:00Z"), "filter.value"),
    (rule("created_at", "lt", "0001-01-01T00:00:00+14:00"), "filter.value"),
    ({"subscription": {"subscription": rule("status", "eq", "x")}}, "filter.subscription.subscription"),
    ({"subscription": rule("tags", "has", "x")}, "filter.subscription.field"),
    (nested(DEPTH_MAX + 1), "filter" + ".not" * DEPTH_MAX),
    ({"all": [rule("id", "eq", "x")] * (RULES_MAX + 1)}, "filter.all"),
    ({"any": [{"all": [rule("id", "eq", "x")] * 60}] * 2}, "filter.any.1.all.40"),
]


@pytest.mark.parametrize(("tree", "path"), BAD, ids=[f"{path}-{number}" for number, (_, path) in enumerate(BAD)])
def test_what_is_wrong_is_named_with_its_path(tree: object, path: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        parse(tree, CUSTOM)
    assert refused.value.field == path


def test_the_deepest_tree_and_the_longest_list_are_taken() -> None:
    parse(nested(DEPTH_MAX), CUSTOM)
    parse({"all": [rule("id", "eq", "x")] * RULES_MAX}, CUSTOM)


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=5)
    | st.sampled_from(["id", "eq", "tags"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["all", "any", "not", "subscription", "x"]), inner, max_size=2)
        | st.fixed_dictionaries({"field": inner, "op": inner, "value": inner})
    ),
    max_leaves=12,
)


@given(JSON)
def test_any_json_is_a_filter_or_refused_by_name(tree: object) -> None:
    try:
        parse(tree, CUSTOM)
    except InvalidInput as refused:
        path = refused.field
    else:
        path = "filter"
    assert path.partition(".")[0] == "filter"
