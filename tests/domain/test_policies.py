"""docs/policies.md is true: keys, settings, tests and declines are those of the code."""

import ast
import re
from dataclasses import fields
from pathlib import Path

import pytest

from domain.business import DiscountRules
from domain.calendar import MonthEnd
from domain.declines import DECLINES, DeclineKind, decline_kind
from domain.messages import Cancel, ChangeDate, ChangeTerms, Pause, Start
from domain.proration import Basis
from domain.state import State
from domain.terms import CatchUp, DunningTerms, EndAction, Terms, Trigger
from tests.domain.doc_tables import rows

ROOT = Path(__file__).parents[2]
TABLE = rows("policies.md", "The table")
KEYS = {
    *["unsettled_refund", "partial_unsettled", "queue_count", "queue_reserve", "refund_invoice"],
    *[
        "billing_time",
        "month_end",
        "feb29",
        "trial",
        "switch_interval",
        "downgrade",
        "denominator",
        "basis",
        "change_day",
        "cancel_day",
    ],
    *[
        "rounding",
        "credit_capped_at_paid",
        "pause",
        "retry_gap",
        "retry_count",
        "hard_decline",
        "decline_map",
        "card_update",
    ],
    *["exhaustion", "unknown_outcome", "no_method", "minor_units", "catch_up", "grace", "notice", "trigger"],
    *["credit_use", "voucher_end"],
    *["tax_rounding", "tax_day", "tax_of_credit", "tax_inclusive", "tax_of_bad_debt"],
    *["discount_order", "discount_cycles", "discount_until", "discount_change", "discount_cap"],
    "dst, tz",
}
HOLDERS = {
    "P": {field.name for field in fields(Terms)},
    "D": {field.name for field in fields(DunningTerms)},
    "C": {field.name for one in (ChangeTerms, ChangeDate, Pause, Cancel, Start) for field in fields(one)},
    "M": {field.name for field in fields(State)},
    "R": {field.name for field in fields(DiscountRules)},
}


def row(key: str) -> dict[str, str]:
    (found,) = [one for one in TABLE if one["key"] == key]
    return found


def test_every_question_is_answered() -> None:
    assert {one["key"] for one in TABLE} == KEYS
    assert len(TABLE) == len(KEYS)


@pytest.mark.parametrize("key", sorted(KEYS))
def test_a_policy_points_at_a_real_setting_and_a_real_test(key: str) -> None:
    found = row(key)
    if found["set"] != "fixed":
        holder, _, names = found["set"].partition(" ")
        for name in re.findall(r"\w+", names):
            assert name in HOLDERS[holder], f"{key}: there is no setting {name}"
    path, _, test = found["shown by"].partition("::")
    tree = ast.parse((ROOT / path).read_text("utf-8"))
    names = {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}
    assert test in names, f"{key}: {path} has no test {test}"


@pytest.mark.parametrize(
    ("key", "values"),
    [
        ("month_end", [one.value for one in MonthEnd]),
        ("basis", [one.value for one in Basis]),
        ("catch_up", [one.value for one in CatchUp]),
        ("exhaustion", [one.value for one in EndAction]),
        ("trigger", [one.value for one in Trigger]),
    ],
)
def test_the_values_are_those_of_the_code_and_the_first_is_the_default(key: str, values: list[str]) -> None:
    assert row(key)["values"] == ", ".join([f"**{values[0]}**", *values[1:]])


def test_the_table_of_declines() -> None:
    table = {(one["gateway"], one["code"]): one["kind"] for one in rows("policies.md", "Declines")}
    assert table == {(gateway, code): kind.value for gateway, codes in DECLINES.items() for code, kind in codes.items()}
    for (gateway, code), kind in table.items():
        assert decline_kind(gateway, code) == kind


def test_an_unknown_code_is_soft() -> None:
    assert decline_kind("sandbox", "never_heard_of") is DeclineKind.SOFT
    assert decline_kind("elsewhere", "stolen_card") is DeclineKind.SOFT
