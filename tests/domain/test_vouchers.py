"""Vouchers: never below zero, never after their end, never another's; and the books of every movement."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.credits import Receiver
from domain.errors import Broken, InvalidInput, Refused
from domain.ledger import voucher
from domain.vouchers import (
    VOUCHER_MINOR_MAX,
    Move,
    Voucher,
    check_adjust,
    check_issue,
    code_from,
    code_of,
    is_expired,
    redeemable,
    sides,
)

NOW = datetime(2026, 3, 1, 9, tzinfo=UTC)
END = NOW + timedelta(days=30)
GIFT = Voucher("vch", "EUR", None, END, test_mode=False, balance=5000)
ANN = Receiver("sub", "cus_ann", "EUR", test_mode=False)


def code_of_refusal(of: Voucher, receiver: Receiver, amount: int | None, at: datetime = NOW) -> str:
    with pytest.raises(Refused) as refused:
        redeemable(of, receiver, amount, at)
    return refused.value.code


def test_in_part_or_in_whole() -> None:
    assert redeemable(GIFT, ANN, 1200, NOW) == 1200
    assert redeemable(GIFT, ANN, None, NOW) == 5000
    assert redeemable(GIFT, ANN, 5000, NOW) == 5000


def test_who_may_not_redeem_is_told_why() -> None:
    assert code_of_refusal(GIFT, ANN, 5001) == "exceeds_balance"
    assert code_of_refusal(replace(GIFT, balance=0), ANN, None) == "voucher_used_up"
    assert code_of_refusal(GIFT, replace(ANN, currency="USD"), 1) == "currency_mismatch"
    assert code_of_refusal(GIFT, replace(ANN, test_mode=True), 1) == "other_mode"
    assert code_of_refusal(replace(GIFT, customer_id="cus_bob"), ANN, 1) == "other_customer"
    assert redeemable(replace(GIFT, customer_id="cus_ann"), ANN, 1, NOW) == 1


def test_the_refusal_says_how_much_is_left() -> None:
    with pytest.raises(Refused, match="5000 EUR"):
        redeemable(GIFT, ANN, 5001, NOW)
    with pytest.raises(Refused, match="5000 EUR"):
        check_adjust(GIFT, -5001, NOW)


def test_the_instant_of_its_end_is_not_part_of_its_life() -> None:
    last = END - timedelta(seconds=1)
    assert redeemable(GIFT, ANN, 1, last) == 1
    assert not is_expired(GIFT, last)
    assert is_expired(GIFT, END)
    assert code_of_refusal(GIFT, ANN, 1, END) == "voucher_expired"
    with pytest.raises(Refused, match="ended at 2026-03-31"):
        check_adjust(GIFT, 1, END)
    assert not is_expired(replace(GIFT, expires_at=None), END + timedelta(days=9999))


def test_adjusted_to_nothing_and_no_further() -> None:
    check_adjust(GIFT, -5000, NOW)
    check_adjust(GIFT, VOUCHER_MINOR_MAX - 5000, NOW)
    for amount, code in ((-5001, "exceeds_balance"), (VOUCHER_MINOR_MAX - 4999, "balance_too_large")):
        with pytest.raises(Refused) as refused:
            check_adjust(GIFT, amount, NOW)
        assert refused.value.code == code


@pytest.mark.parametrize(
    ("amount", "expires_at", "field"),
    [(0, None, "amount"), (VOUCHER_MINOR_MAX + 1, None, "amount"), (1, NOW, "expires_at")],
)
def test_what_cannot_be_issued(amount: int, expires_at: datetime | None, field: str) -> None:
    with pytest.raises(InvalidInput) as wrong:
        check_issue(amount, expires_at, NOW)
    assert wrong.value.field == field


def test_what_can_be_issued() -> None:
    check_issue(1, None, NOW)
    check_issue(VOUCHER_MINOR_MAX, NOW + timedelta(seconds=1), NOW)


@pytest.mark.parametrize(
    ("move", "amount", "expected"),
    [
        (Move.ISSUED, 5000, {"credit_given": 5000, "voucher:v": -5000}),
        (Move.ADJUSTED, -700, {"credit_given": -700, "voucher:v": 700}),
        (Move.REDEEMED, -1200, {"credit_in_transit": -1200, "voucher:v": 1200}),
        (Move.GIVEN_BACK, 1200, {"credit_in_transit": 1200, "voucher:v": -1200}),
        (Move.EXPIRED, -300, {"voucher_breakage": -300, "voucher:v": 300}),
    ],
)
def test_what_a_movement_moves(move: Move, amount: int, expected: dict[str, int]) -> None:
    assert {side.account: side.amount for side in sides(move, "v", amount, "EUR")} == expected


def test_codes() -> None:
    assert code_from(bytes(10)) == "AAAA-AAAA-AAAA-AAAA"
    assert len({code_from(bytes([i] * 10)) for i in range(256)}) == 256
    assert code_of("summer-26") == "SUMMER-26"
    with pytest.raises(Broken):
        code_from(b"short")


STEPS = st.lists(
    st.tuples(
        st.sampled_from(["adjust", "redeem", "redeem_all", "give_back", "expire", "wait"]), st.integers(-3000, 3000)
    ),
    max_size=30,
)


@given(st.integers(1, 5000), STEPS)
def test_in_any_order_the_account_is_the_balance_and_never_below_zero(
    issued: int, steps: list[tuple[str, int]]
) -> None:
    """A voucher as a plain number beside the same voucher as its ledger account."""
    books: Counter[str] = Counter()
    left, at, transit = issued, NOW, [0]

    def post(move: Move, amount: int) -> None:
        for side in sides(move, "v", amount, "EUR"):
            books[side.account] += side.amount

    post(Move.ISSUED, issued)
    for step, amount in steps:
        of = replace(GIFT, balance=-books[voucher("v")])
        dead = at >= END
        match step:
            case "adjust" if amount:
                if left + amount >= 0 and not dead:
                    check_adjust(of, amount, at)
                    left += amount
                    post(Move.ADJUSTED, amount)
                else:
                    with pytest.raises(Refused):
                        check_adjust(of, amount, at)
            case "redeem" | "redeem_all":
                asked = None if step == "redeem_all" else abs(amount) + 1
                wanted = left if asked is None else asked
                if 0 < wanted <= left and not dead:
                    assert redeemable(of, ANN, asked, at) == wanted
                    left -= wanted
                    transit.append(wanted)
                    post(Move.REDEEMED, -wanted)
                else:
                    assert code_of_refusal(of, ANN, asked, at)
            case "give_back" if transit[-1]:
                back = transit.pop()
                left += back
                post(Move.GIVEN_BACK, back)
            case "expire" if dead and left:
                post(Move.EXPIRED, -left)
                left = 0
            case _:
                at += timedelta(days=3)
        assert -books[voucher("v")] == left >= 0
        assert sum(books.values()) == 0
        assert books["credit_in_transit"] == -sum(transit)
