import operator
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from domain.errors import CurrencyMismatch, InvalidInput
from domain.money import (
    CURRENCIES,
    MAJOR_TEXT_LENGTH_MAX,
    MINOR_MAX,
    PARTS_MAX,
    Money,
    is_currency,
    minor_digits,
    parse_major,
    total,
)

SAFE = 10**9
minors = st.integers(-SAFE, SAFE)
weights = st.lists(st.integers(0, 10_000), min_size=1, max_size=20).filter(any)


def eur(minor: int) -> Money:
    return Money(minor, "EUR")


# --- currencies


@pytest.mark.parametrize(
    ("currency", "digits"),
    [
        *[("EUR", 2), ("USD", 2), ("MGA", 2), ("MRU", 2), ("HUF", 2), ("XCG", 2), ("SLE", 2), ("ZWG", 2)],
        *[("JPY", 0), ("ISK", 0), ("UGX", 0), ("KRW", 0), ("CLP", 0), ("XOF", 0), ("VND", 0)],
        *[("BHD", 3), ("KWD", 3), ("TND", 3), ("IQD", 3), ("CLF", 4), ("UYW", 4)],
    ],
)
def test_minor_digits_follow_iso_4217(currency: str, digits: int) -> None:
    assert minor_digits(currency) == digits
    assert is_currency(currency)


def test_every_code_is_three_capitals_and_stands_once() -> None:
    assert len(CURRENCIES) == 165
    assert all(len(code) == 3 and code.isalpha() and code.isupper() for code in CURRENCIES)


@pytest.mark.parametrize("code", ["eur", "EURO", "", "XAU", "XXX", "BGN", "ANG", "HRK", "ZWL"])
def test_a_code_that_is_withdrawn_or_no_money_is_no_currency(code: str) -> None:
    assert not is_currency(code)
    with pytest.raises(InvalidInput) as refusal:
        Money.zero(code)
    assert refusal.value.field == "currency"
    assert refusal.value.message == f"{code!r} is not an active ISO 4217 currency code"
    with pytest.raises(InvalidInput):
        parse_major("1", code)
    with pytest.raises(InvalidInput):
        total([], code)


# --- what an amount is


@pytest.mark.parametrize("minor", [True, 1.0, "1", None])
def test_an_amount_is_a_whole_number_and_true_is_none(minor: Any) -> None:
    with pytest.raises(InvalidInput) as refusal:
        eur(minor)
    assert refusal.value.field == "minor"
    assert refusal.value.message == "an amount is a whole number of minor units"


@pytest.mark.parametrize("minor", [MINOR_MAX + 1, -MINOR_MAX - 1])
def test_an_amount_has_a_limit(minor: int) -> None:
    with pytest.raises(InvalidInput) as refusal:
        eur(minor)
    assert refusal.value.field == "minor"
    assert refusal.value.message == f"an amount lies between -{MINOR_MAX} and {MINOR_MAX} minor units"
    eur(MINOR_MAX)
    eur(-MINOR_MAX)


def test_sums_differences_and_multiples() -> None:
    assert eur(1000) + eur(234) == eur(1234)
    assert eur(1000) - eur(1234) == eur(-234)
    assert -eur(5) == eur(-5)
    assert eur(250) * 3 == eur(750)
    assert Money.zero("JPY") == Money(0, "JPY")
    assert total([eur(1), eur(2), eur(-7)], "EUR") == eur(-4)
    assert total([], "JPY") == Money(0, "JPY")


@pytest.mark.parametrize("quantity", [1.5, True, "2"])
def test_money_is_multiplied_by_whole_numbers_only(quantity: Any) -> None:
    with pytest.raises(InvalidInput) as refusal:
        _ = eur(100) * quantity
    assert refusal.value.field == "quantity"
    assert refusal.value.message == "money is multiplied by whole numbers only; for a part use `fraction`"


def test_amounts_of_one_currency_are_ordered() -> None:
    assert eur(1) < eur(2) <= eur(2)
    assert eur(2) > eur(1) >= eur(1)
    assert not eur(2) < eur(2)
    assert not eur(2) > eur(2)
    assert not eur(3) <= eur(2)
    assert not eur(1) >= eur(2)
    assert min(eur(3), eur(-1), eur(2)) == eur(-1)


@pytest.mark.parametrize("combine", [operator.add, operator.sub, operator.lt, operator.le, operator.gt, operator.ge])
def test_two_currencies_never_meet(combine: Callable[[Money, Money], object]) -> None:
    with pytest.raises(CurrencyMismatch) as refusal:
        combine(eur(1), Money(1, "USD"))
    assert refusal.value.field == "currency"
    assert refusal.value.message == "USD met where EUR was needed"
    assert eur(1) != Money(1, "USD")


def test_a_sum_refuses_an_amount_of_another_currency() -> None:
    with pytest.raises(CurrencyMismatch):
        total([eur(1)], "USD")


# --- parting


@pytest.mark.parametrize(
    ("amount", "by", "parts"),
    [
        (100, [1, 1, 1], [34, 33, 33]),
        (-100, [1, 1, 1], [-34, -33, -33]),
        (5, [1, 1, 1], [2, 2, 1]),
        (100, [3, 1, 0], [75, 25, 0]),
        (10, [1, 2, 3, 4], [1, 2, 3, 4]),
        (101, [50, 30, 20], [51, 30, 20]),  # remainders .5, .3, .2: the largest is made whole
        (1, [1, 5, 4], [0, 1, 0]),
        (4, [5, 3, 2], [2, 1, 1]),  # 2.0, 1.2, 0.8: the largest remainder is the smallest part's
        (0, [7, 1], [0, 0]),
        (7, [9], [7]),
    ],
)
def test_the_largest_remainder_gets_the_odd_cent(amount: int, by: list[int], parts: list[int]) -> None:
    assert eur(amount).allocate(by) == tuple(eur(part) for part in parts)


def test_split_gives_the_odd_cents_to_the_first() -> None:
    assert eur(1000).split(3) == (eur(334), eur(333), eur(333))
    assert eur(-2).split(3) == (eur(-1), eur(-1), eur(0))
    assert eur(7).split(1) == (eur(7),)


@pytest.mark.parametrize(
    ("by", "rule"),
    [
        ([], f"an amount is parted among 1 to {PARTS_MAX} weights"),
        ([1] * (PARTS_MAX + 1), f"an amount is parted among 1 to {PARTS_MAX} weights"),
        ([0, 0], "weights are not negative, and one of them is above zero"),
        ([2, -1], "weights are not negative, and one of them is above zero"),
    ],
)
def test_weights_that_part_nothing_are_refused(by: list[int], rule: str) -> None:
    with pytest.raises(InvalidInput) as refusal:
        eur(100).allocate(by)
    assert (refusal.value.field, refusal.value.message) == ("weights", rule)


@pytest.mark.parametrize("parts", [0, -1, PARTS_MAX + 1])
def test_a_split_has_at_least_one_part_and_a_limit(parts: int) -> None:
    with pytest.raises(InvalidInput) as refusal:
        eur(100).split(parts)
    assert refusal.value.field == "parts"
    assert refusal.value.message == f"an amount is split into 1 to {PARTS_MAX} parts"


def test_as_many_parts_as_the_limit_allows() -> None:
    assert len(eur(3).split(PARTS_MAX)) == PARTS_MAX


@given(minors, weights)
def test_parts_always_add_up_to_the_whole(minor: int, by: list[int]) -> None:
    whole = eur(minor)
    parts = whole.allocate(by)
    assert total(parts, "EUR") == whole
    for part, weight in zip(parts, by, strict=True):  # and none is a whole cent away from its exact share
        assert abs(part.minor * sum(by) - minor * weight) < sum(by)
    assert whole.allocate(by) == tuple(-part for part in (-whole).allocate(by))


@given(minors, st.integers(1, 200))
def test_equal_parts_differ_by_one_minor_unit_at_most(minor: int, parts: int) -> None:
    shares = [share.minor for share in eur(minor).split(parts)]
    assert sum(shares) == minor
    assert max(shares) - min(shares) <= 1


@pytest.mark.parametrize(
    ("amount", "numerator", "denominator", "part"),
    [
        (1, 1, 2, 1),
        (-1, 1, 2, -1),
        (1, -1, 2, -1),
        (5, 1, 2, 3),
        (10, 1, 3, 3),
        (20, 1, 3, 7),
        (3, 1, 7, 0),
        (-1, 1, 3, 0),
        (1000, 15, 29, 517),
        (3000, 15, 29, 1552),
        (1000, 31, 28, 1107),
        (1000, 0, 30, 0),
        (1000, 30, 30, 1000),
    ],
)
def test_a_fraction_is_rounded_once_and_a_tie_goes_away_from_zero(
    amount: int, numerator: int, denominator: int, part: int
) -> None:
    assert eur(amount).fraction(numerator, denominator) == eur(part)


@pytest.mark.parametrize("denominator", [0, -1])
def test_a_fraction_of_nothing_is_refused(denominator: int) -> None:
    with pytest.raises(InvalidInput) as refusal:
        eur(1).fraction(1, denominator)
    assert refusal.value.field == "denominator"
    assert refusal.value.message == "the denominator of a fraction is at least 1"


@given(minors, st.integers(0, 10**7), st.integers(1, 10**7))
def test_a_fraction_and_the_rest_differ_from_the_whole_by_one_at_most(minor: int, a: int, b: int) -> None:
    assume(a <= b)
    whole = eur(minor)
    difference = (whole.fraction(a, b) + whole.fraction(b - a, b) - whole).minor
    assert -1 <= difference <= 1
    assert whole.fraction(a, b) == -((-whole).fraction(a, b))
    assert 2 * abs(whole.fraction(a, b).minor * b - minor * a) <= b  # the nearest minor unit there is


# --- text


@pytest.mark.parametrize(
    ("text", "currency", "minor", "shown"),
    [
        ("12.34", "EUR", 1234, "12.34 EUR"),
        ("12.3", "EUR", 1230, "12.30 EUR"),
        ("12", "EUR", 1200, "12.00 EUR"),
        ("-0.05", "EUR", -5, "-0.05 EUR"),
        ("0", "EUR", 0, "0.00 EUR"),
        ("007", "EUR", 700, "7.00 EUR"),
        ("500", "JPY", 500, "500 JPY"),
        ("-7", "JPY", -7, "-7 JPY"),
        ("0", "JPY", 0, "0 JPY"),
        ("1.234", "KWD", 1234, "1.234 KWD"),
        ("0.0001", "CLF", 1, "0.0001 CLF"),
        ("10000000000000.00", "EUR", MINOR_MAX, "10000000000000.00 EUR"),
        ("-10000000000000.00", "EUR", -MINOR_MAX, "-10000000000000.00 EUR"),
        ("0" * 21 + ".01", "EUR", 1, "0.01 EUR"),
    ],
)
def test_decimal_text_is_read_and_shown(text: str, currency: str, minor: int, shown: str) -> None:
    amount = parse_major(text, currency)
    assert amount == Money(minor, currency)
    assert str(amount) == shown


@pytest.mark.parametrize(
    "text",
    ["", "-", ".", "1.", ".5", "+1", "--1", "1-", " 1", "1 ", "1,50", "1.2.3", "1e3", "NaN", "٣", "²", "1_0", "0x1"],
)
def test_text_that_is_no_plain_decimal_is_refused(text: str) -> None:
    with pytest.raises(InvalidInput) as refusal:
        parse_major(text, "EUR", field="price")
    assert refusal.value.field == "price"
    assert refusal.value.message == f"{text!r} is not a decimal number such as 12 or -12.50"


@pytest.mark.parametrize(
    ("text", "currency", "rule"),
    [
        ("12.345", "EUR", "EUR has 2 digits after the point, '12.345' has more"),
        ("12.000", "EUR", "EUR has 2 digits after the point, '12.000' has more"),
        ("1.0", "JPY", "JPY has 0 digits after the point, '1.0' has more"),
        (
            "10000000000000.01",
            "EUR",
            "'10000000000000.01' is beyond the largest amount, 10000000000000.00 EUR",
        ),
        ("9" * 25, "EUR", f"{'9' * MAJOR_TEXT_LENGTH_MAX!r} is not a decimal number such as 12 or -12.50"),
    ],
)
def test_an_amount_the_currency_or_the_house_cannot_hold_is_refused(text: str, currency: str, rule: str) -> None:
    with pytest.raises(InvalidInput) as refusal:
        parse_major(text, currency)
    assert (refusal.value.field, refusal.value.message) == ("amount", rule)


@given(st.integers(-MINOR_MAX, MINOR_MAX), st.sampled_from(sorted(CURRENCIES)))
def test_what_is_shown_reads_back(minor: int, currency: str) -> None:
    amount = Money(minor, currency)
    shown, code = str(amount).split(" ")
    assert parse_major(shown, code) == amount
