"""Two sides of one transaction: what agrees, what differs, and that nothing is left out."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.reconciliation import (
    IN_FLIGHT_MAX,
    SETTLEMENT_LAG_MAX,
    Finding,
    Mismatch,
    Transaction,
    advice,
    compare,
)
from tests.domain.stories import at

NOW = at("2027-03-05 12:00")
LONG_AGO = NOW - timedelta(days=10)
SALE = Transaction("sale", "charge:sub_1:1:1", 1000, "EUR", "captured", "ch_1", NOW - timedelta(days=1))
REFUND = replace(SALE, kind="refund", reference="refund:ref_1:1", amount=400, state="succeeded", gateway_id="re_1")


def found(ours: Transaction | None, theirs: Transaction | None) -> list[str]:
    sides = [[side] if side else [] for side in (ours, theirs)]
    return [each.mismatch.value for each in compare(*sides, now=NOW)]


@pytest.mark.parametrize("side", [SALE, REFUND, replace(SALE, state="declined"), replace(SALE, state="voided")])
def test_two_equal_sides_agree_and_a_side_alone_does_not(side: Transaction) -> None:
    assert found(side, side) == []
    assert found(side, None) == ["missing_there"]
    assert found(None, side) == ["missing_here"]


@pytest.mark.parametrize(
    ("ours", "theirs", "expected"),
    [
        (SALE, replace(SALE, amount=900), "amount"),
        (SALE, replace(SALE, currency="USD"), "amount"),
        (REFUND, replace(REFUND, amount=401), "amount"),
        (SALE, replace(SALE, state="voided"), "state"),
        (SALE, replace(SALE, state="declined"), "state"),
        (SALE, replace(SALE, state="authorised"), "state"),
        (replace(SALE, state="declined"), SALE, "state"),
        (replace(SALE, state="voided"), replace(SALE, state="settled"), "state"),
        (REFUND, replace(REFUND, state="failed"), "state"),
        (replace(REFUND, state="failed"), REFUND, "state"),
    ],
)
def test_each_kind_of_difference_shows_both_sides(ours: Transaction, theirs: Transaction, expected: str) -> None:
    (finding,) = compare([ours], [theirs], now=NOW)
    assert finding == Finding(Mismatch(expected), ours, theirs)
    assert finding.owed == theirs.moved - ours.moved
    assert "smiss it" in advice(finding)


@pytest.mark.parametrize("state", ["declined", "voided", "action_required"])
def test_what_moved_no_money_on_either_side_agrees(state: str) -> None:
    assert found(replace(SALE, state="declined"), replace(SALE, state=state)) == []


@pytest.mark.parametrize("state", ["authorised", "released", "capturing", "releasing"])
def test_what_is_only_authorised_moved_no_money(state: str) -> None:
    ours = replace(SALE, state=state)
    assert ours.moved == 0
    for theirs in ("authorised", "voided"):
        assert found(ours, replace(SALE, state=theirs)) == []
    assert found(ours, SALE) == ["state"]
    assert found(replace(ours, open_since=NOW - timedelta(minutes=1)), SALE) == [], "its capture is under way"


def test_a_capture_has_its_own_time_to_be_settled() -> None:
    """It was authorised long ago: what counts is when it was taken."""
    captured, settled = replace(SALE, at=LONG_AGO), replace(SALE, at=LONG_AGO, state="settled")
    assert found(captured, settled) == ["state"]
    assert found(replace(captured, taken_at=NOW - timedelta(hours=1)), settled) == []
    assert found(replace(captured, taken_at=LONG_AGO), settled) == ["state"]


def test_a_refund_that_was_refused_need_not_be_in_the_books_there() -> None:
    refused = replace(REFUND, state="failed")
    assert found(refused, None) == found(None, refused) == []


def test_the_money_our_books_lack() -> None:
    (foreign,) = compare([], [SALE], now=NOW)
    assert (foreign.owed, foreign.transaction) == (1000, SALE)
    (dropped,) = compare([SALE], [], now=NOW)
    assert (dropped.owed, dropped.transaction) == (-1000, SALE)
    (unbooked,) = compare([], [REFUND], now=NOW)
    assert unbooked.owed == -400


def test_one_side_may_learn_of_the_settlement_later_but_not_much_later() -> None:
    settled = replace(SALE, state="settled")
    assert found(SALE, settled) == found(settled, SALE) == []
    old = replace(SALE, at=NOW - SETTLEMENT_LAG_MAX - timedelta(seconds=1))
    assert found(old, replace(old, state="settled")) == ["state"]
    assert found(replace(old, state="settled"), old) == ["state"]
    assert found(old, replace(settled, at=NOW)) == []


def test_what_is_on_its_way_is_left_alone_until_it_is_old() -> None:
    pending = replace(SALE, state="pending", gateway_id=None, open_since=NOW - IN_FLIGHT_MAX + timedelta(seconds=1))
    assert found(pending, SALE) == found(pending, None) == found(pending, replace(SALE, amount=1)) == []
    old = replace(pending, open_since=NOW - IN_FLIGHT_MAX)
    assert found(old, SALE) == ["state"]
    assert found(old, None) == [], "what never arrived there is nobody's money"
    assert found(old, replace(SALE, state="declined")) == []
    (finding,) = compare([pending], [SALE], now=NOW, in_flight=timedelta(0))
    assert finding.owed == 1000


def test_a_charge_that_is_being_voided_is_left_alone_until_that_is_old() -> None:
    voiding = replace(SALE, open_since=NOW - timedelta(minutes=1))
    voided = replace(SALE, state="voided")
    assert found(voiding, voided) == found(voiding, None) == []
    old = replace(voiding, open_since=LONG_AGO)
    assert found(old, voided) == ["state"]
    assert found(old, None) == ["missing_there"]


def test_what_was_adopted_counts_and_from_then_on_only_the_money() -> None:
    adopted = replace(SALE, state="declined", adopted=1000)
    assert found(adopted, SALE) == found(adopted, replace(SALE, state="settled")) == []
    assert found(replace(SALE, amount=900, adopted=100), SALE) == []
    assert found(replace(SALE, adopted=-1000), None) == []
    (finding,) = compare([adopted], [replace(SALE, state="voided")], now=NOW)
    assert (finding.mismatch, finding.owed) == (Mismatch.STATE, -1000)


def test_a_second_charge_under_one_reference_is_a_difference() -> None:
    again = replace(SALE, gateway_id="ch_2")
    (finding,) = compare([SALE], [again, SALE], now=NOW)
    assert finding == Finding(Mismatch.MISSING_HERE, None, again)
    assert found(SALE, again) == ["missing_there", "missing_here"], "two ids are two transactions"
    nameless = replace(SALE, gateway_id=None)
    (finding,) = compare([nameless], [replace(again, state="declined"), SALE, again], now=NOW)
    assert finding == Finding(Mismatch.MISSING_HERE, None, again)


def test_a_decline_and_its_successful_repetition_are_one_story() -> None:
    declined = replace(SALE, state="declined", gateway_id="ch_0")
    assert compare([SALE], [declined, SALE], now=NOW) == ()


def test_a_sale_and_a_refund_under_one_reference_are_two() -> None:
    other = replace(REFUND, reference=SALE.reference)
    assert [each.theirs for each in compare([SALE], [SALE, other], now=NOW)] == [other]
    nameless = replace(SALE, gateway_id=None)
    assert found(nameless, other) == ["missing_here", "missing_there"]


def test_partners_are_those_with_the_same_id_before_those_without() -> None:
    nameless = replace(SALE, gateway_id=None, amount=900)
    (finding,) = compare([SALE], [nameless, SALE], now=NOW)
    assert finding == Finding(Mismatch.MISSING_HERE, None, nameless)


STATES = st.sampled_from(["captured", "settled", "succeeded", "voided", "declined", "failed", "action_required"])


@st.composite
def transactions(draw: st.DrawFn) -> list[Transaction]:
    """One side of the books: each reference once, each with its id."""
    numbers = draw(st.sets(st.integers(1, 6)))
    return [
        Transaction(
            draw(st.sampled_from(["sale", "refund"])) if number == 6 else "sale",
            f"charge:{number}",
            draw(st.integers(1, 3)),
            draw(st.sampled_from(["EUR", "USD"])),
            draw(STATES),
            draw(st.sampled_from([f"ch_{number}", None])),
            draw(st.sampled_from([NOW, LONG_AGO])),
            draw(st.sampled_from([None, None, NOW, LONG_AGO])),
            draw(st.sampled_from([None, None, 1, -2])),
        )
        for number in sorted(numbers)
    ]


MIRRORED = {
    Mismatch.MISSING_HERE: Mismatch.MISSING_THERE,
    Mismatch.MISSING_THERE: Mismatch.MISSING_HERE,
    Mismatch.AMOUNT: Mismatch.AMOUNT,
    Mismatch.STATE: Mismatch.STATE,
}


@given(transactions())
def test_equal_books_have_no_difference(side: list[Transaction]) -> None:
    assert compare(side, side, now=NOW) == ()
    assert compare(side, side[::-1], now=NOW) == ()


@given(transactions(), transactions())
def test_the_view_from_the_other_side_is_the_same(ours: list[Transaction], theirs: list[Transaction]) -> None:
    mirrored = {(MIRRORED[each.mismatch], each.theirs, each.ours) for each in compare(theirs, ours, now=NOW)}
    assert {(each.mismatch, each.ours, each.theirs) for each in compare(ours, theirs, now=NOW)} == mirrored


@given(transactions(), transactions())
def test_the_differences_explain_all_the_money(ours: list[Transaction], theirs: list[Transaction]) -> None:
    """Where nothing is on its way, our books and what the differences owe make theirs."""
    ours, theirs = ([replace(each, open_since=None) for each in side] for side in (ours, theirs))
    findings = compare(ours, theirs, now=NOW)
    assert money(ours) + sum(each.owed for each in findings) == money(theirs)


@given(transactions(), transactions(), st.integers(1, 7))
def test_parts_compared_by_reference_make_the_whole(
    ours: list[Transaction], theirs: list[Transaction], cut: int
) -> None:
    """A run compares page by page; where a page ends does not matter."""

    def part(side: list[Transaction], low: bool) -> list[Transaction]:
        return [each for each in side if (each.reference < f"charge:{cut}") == low]

    parts = [compare(part(ours, low), part(theirs, low), now=NOW) for low in (True, False)]
    assert compare(ours, theirs, now=NOW) == parts[0] + parts[1]


def money(side: list[Transaction]) -> int:
    return sum(each.moved for each in side)
