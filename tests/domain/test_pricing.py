"""Lines, discounts, tax and rounding add up, in every currency; the order of discounts is the stated one."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.discounts import WHOLE, Discount, DiscountSource, in_force, in_order, part_of, used
from domain.errors import InvalidInput
from domain.pricing import Priced, price
from domain.state import Line, LineKind
from domain.tax import NO_TAX, TaxRate, TaxStatus, TaxTerms, Treatment, Untaxed, treatment

DAY = date(2026, 3, 1)
AT = datetime(2026, 3, 1, 12, tzinfo=UTC)


def coupon(name: str, *, rate: int = 0, amount: int = 0, age: int = 0, own: bool = False) -> Discount:
    source = DiscountSource.CUSTOMER if own else DiscountSource.COUPON
    return Discount(name, name, source, AT - timedelta(days=age), rate=rate, amount=amount)


def line(amount: int, quantity: int = 1, *, kind: LineKind = LineKind.CYCLE, category: str = "standard") -> Line:
    return Line(kind, "Box", quantity, amount, tax_category=category)


def vat(
    rate: int, *, inclusive: bool = False, place: str = "DE", category: str = "standard", since: str = "2020-01-01",
    until: str | None = None,
) -> TaxRate:  # fmt: skip
    return TaxRate(
        f"{place}-{category}-{since}", place, category, rate, inclusive, date.fromisoformat(since),
        date.fromisoformat(until) if until else None,
    )  # fmt: skip


def germany(*rates: TaxRate, status: TaxStatus = TaxStatus.TAXABLE, place: str = "DE") -> TaxTerms:
    return TaxTerms(status, place, rates)


def told(priced: Priced) -> tuple[int, int, int, int, int]:
    return priced.subtotal, priced.discount, priced.net, priced.tax, priced.total


# --- the stated order of discounts ------------------------------------------------------------------------------------


def test_percents_go_first_then_amounts_the_customers_own_before_coupons_the_oldest_first() -> None:
    given_in = [
        coupon("amount of a coupon", amount=500, age=9),
        coupon("young coupon", rate=10_000, age=1),
        coupon("the customer's amount", amount=100, own=True),
        coupon("old coupon", rate=20_000, age=5),
        coupon("the customer's percent", rate=50_000, own=True),
    ]
    assert [discount.name for discount in in_order(given_in)] == [
        "the customer's percent", "old coupon", "young coupon", "the customer's amount", "amount of a coupon",
    ]  # fmt: skip
    # 100.00 → 50.00 → 40.00 → 36.00 → 35.00 → 30.00
    priced = price([line(10_000)], given_in, NO_TAX, DAY, "EUR")
    assert [share.amount for share in priced.lines[0].discounts] == [5000, 1000, 400, 100, 500]
    assert told(priced) == (10_000, 7000, 3000, 0, 3000)


def test_an_amount_is_spread_over_the_lines_by_largest_remainder_and_never_goes_below_zero() -> None:
    lines = [line(1000), line(1000, kind=LineKind.SETUP_FEE), line(1000, kind=LineKind.PRORATION_CHARGE)]
    spread = price(lines, [coupon("ten", amount=1000)], NO_TAX, DAY, "EUR")
    assert [each.discount for each in spread.lines] == [334, 333, 333]
    assert told(price(lines, [coupon("more than all", amount=9999)], NO_TAX, DAY, "EUR")) == (3000, 3000, 0, 0, 0)


def test_credits_and_charges_by_hand_are_not_discounted() -> None:
    lines = [line(1000), line(-400, kind=LineKind.PRORATION_CREDIT), line(300, kind=LineKind.ONE_OFF)]
    priced = price(lines, [coupon("half", rate=50_000)], NO_TAX, DAY, "EUR")
    assert [each.discount for each in priced.lines] == [500, 0, 0]


def test_a_discount_ends_at_its_instant_and_holds_for_its_products_only() -> None:
    until = replace(coupon("until noon", rate=1000), until=AT)
    only = replace(coupon("only boxes", rate=1000), products=("prod_box",))
    seconds = timedelta(seconds=1)
    assert in_force([until, only], AT - seconds, "prod_box") == (only, until)
    assert in_force([until, only], AT, "prod_box") == (only,)
    assert in_force([until, only], AT, "prod_other") == ()


def test_billed_cycles_use_up_what_is_counted_in_cycles() -> None:
    three, ever = replace(coupon("three", rate=1000), cycles_left=3), coupon("ever", rate=1000)
    left = used((three, ever), (three, ever))
    assert [discount.cycles_left for discount in left] == [2, None]
    assert used((three, ever), ()) == (three, ever)
    assert used((replace(three, cycles_left=1), ever), (three,)) == (ever,)


def test_a_part_of_a_period_has_its_part_of_an_amount() -> None:
    assert part_of(coupon("half", rate=50_000), 1, 3, "EUR") == coupon("half", rate=50_000)
    third = part_of(coupon("ten", amount=1000), 1, 3, "EUR")
    assert third is not None
    assert third.amount == 333
    assert part_of(coupon("cent", amount=1), 1, 3, "EUR") is None


@pytest.mark.parametrize(
    ("wrong", "field"),
    [
        ({"rate": 0, "amount": 0}, "amount"),
        ({"rate": 10, "amount": 10}, "amount"),
        ({"rate": WHOLE + 1}, "percent"),
        ({"amount": -1}, "amount"),
        ({"rate": 1000, "cycles_left": 0}, "cycles"),
        ({"rate": 1000, "name": ""}, "name"),
    ],
)
def test_a_discount_that_makes_no_sense_is_refused(wrong: dict[str, int], field: str) -> None:
    values = {"id": "d", "name": "d", "source": DiscountSource.COUPON, "given_at": AT}
    with pytest.raises(InvalidInput) as refused:
        Discount(**(values | wrong))  # pyright: ignore[reportArgumentType]
    assert refused.value.field == field


# --- tax --------------------------------------------------------------------------------------------------------------


def test_tax_on_top_is_on_the_discounted_line_rounded_half_up() -> None:
    priced = price([line(1005, 3)], [coupon("tenth", rate=10_000)], germany(vat(19_000)), DAY, "EUR")
    # 30.15 less 3.02 is 27.13, of which 19 % are 5.1547
    assert told(priced) == (3015, 302, 2713, 515, 3228)
    assert [(total.treatment.rate, total.net, total.tax) for total in priced.rates] == [(19_000, 2713, 515)]


def test_tax_that_a_price_contains_is_taken_out_of_it_and_the_price_stays() -> None:
    priced = price([line(1190)], [], germany(vat(19_000, inclusive=True)), DAY, "EUR")
    assert told(priced) == (1190, 0, 1000, 190, 1190)
    less = price([line(1190)], [coupon("half", rate=50_000)], germany(vat(19_000, inclusive=True)), DAY, "EUR")
    assert told(less) == (1190, 595, 500, 95, 595)


def test_tax_is_rounded_for_each_line_by_itself() -> None:
    priced = price([line(103), line(103), line(103)], [], germany(vat(19_000)), DAY, "EUR")
    assert [each.tax for each in priced.lines] == [20, 20, 20]  # 19.57 each; 58.71 on the sum


def test_the_day_of_the_invoice_chooses_the_rate() -> None:
    terms = germany(
        vat(19_000, since="2007-01-01", until="2020-07-01"),
        vat(16_000, since="2020-07-01", until="2021-01-01"),
        vat(19_000, since="2021-01-01"),
    )
    days = ["2020-06-30", "2020-07-01", "2020-12-31", "2021-01-01", "2006-12-31"]
    taxes = [price([line(10_000)], [], terms, date.fromisoformat(day), "EUR").tax for day in days]
    assert taxes == [1900, 1600, 1600, 1900, 0]


def test_a_region_goes_before_its_country_and_a_category_before_the_standard_rate() -> None:
    rates = (
        vat(1000, place="US"), vat(2000, place="US", category="books"), vat(8875, place="US-NY"),
        vat(4000, place="US-NY", category="food"),
    )  # fmt: skip
    found = {
        (place, category): price([line(100_000, category=category)], [], germany(*rates, place=place), DAY, "USD").tax
        for place in ("US-NY", "US-TX")
        for category in ("standard", "books", "food")
    }
    assert found == {
        ("US-NY", "standard"): 8875, ("US-NY", "books"): 8875, ("US-NY", "food"): 4000,
        ("US-TX", "standard"): 1000, ("US-TX", "books"): 2000, ("US-TX", "food"): 1000,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("status", "reason"),
    [(TaxStatus.EXEMPT, Untaxed.EXEMPT), (TaxStatus.REVERSE_CHARGE, Untaxed.REVERSE_CHARGE)],
)
@pytest.mark.parametrize("inclusive", [False, True])
def test_who_owes_no_tax_pays_the_price_and_the_line_says_why(
    status: TaxStatus, reason: Untaxed, inclusive: bool
) -> None:
    priced = price([line(1190)], [], germany(vat(19_000, inclusive=inclusive), status=status), DAY, "EUR")
    assert told(priced) == (1190, 0, 1190, 0, 1190)
    assert [each.treatment and each.treatment.reason for each in priced.lines] == [reason]


def test_without_a_place_nothing_is_said_of_tax_and_without_a_rate_that_is_said() -> None:
    assert price([line(100)], [], NO_TAX, DAY, "EUR").lines[0].treatment is None
    nowhere = price([line(100)], [], germany(place="FR"), DAY, "EUR").lines[0].treatment
    assert nowhere == Treatment("FR", "standard", 0, reason=Untaxed.NO_RATE)
    assert treatment(germany(vat(0)), "standard", DAY) == Treatment("DE", "standard", 0)


def test_a_credit_keeps_the_rate_at_which_it_was_charged() -> None:
    before = Treatment("DE", "standard", 19_000)
    credit = replace(line(-500, kind=LineKind.PRORATION_CREDIT), treatment=before)
    untaxed = line(-500, kind=LineKind.PRORATION_CREDIT)
    priced = price([credit, untaxed, line(1000)], [], germany(vat(16_000)), DAY, "EUR")
    assert [each.tax for each in priced.lines] == [-95, 0, 160]
    assert [(total.treatment.rate, total.net, total.tax) for total in priced.rates] == [
        (19_000, -500, -95), (16_000, 1000, 160),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("rate", "until", "field"), [(WHOLE + 1, None, "percent"), (-1, None, "percent"), (1, "2020-01-01", "valid_until")]
)
def test_a_rate_that_makes_no_sense_is_refused(rate: int, until: str | None, field: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        vat(rate, until=until)
    assert refused.value.field == field


# --- whatever comes together, it adds up ------------------------------------------------------------------------------

CURRENCIES = st.sampled_from(["JPY", "EUR", "USD", "BHD", "CLF"])
CHARGES = st.builds(
    line,
    st.integers(0, 10**7),
    st.integers(1, 40),
    kind=st.sampled_from([kind for kind in LineKind if kind is not LineKind.PRORATION_CREDIT]),
    category=st.sampled_from(["standard", "books"]),
)
TREATMENTS = st.one_of(
    st.none(), st.builds(Treatment, st.just("DE"), st.just("standard"), st.integers(0, WHOLE), st.booleans())
)


def _credit(amount: int, how: Treatment | None) -> Line:
    return replace(line(-amount, kind=LineKind.PRORATION_CREDIT), treatment=how)


CREDITS = st.builds(_credit, st.integers(1, 10**6), TREATMENTS)
DISCOUNTS = st.lists(
    st.one_of(
        st.builds(coupon, st.uuids().map(str), rate=st.integers(1, WHOLE), age=st.integers(0, 9), own=st.booleans()),
        st.builds(coupon, st.uuids().map(str), amount=st.integers(1, 10**7), age=st.integers(0, 9), own=st.booleans()),
    ),
    max_size=5,
)


def _terms(rate: int, books: int, inclusive: bool, status: TaxStatus, place: str) -> TaxTerms:
    rates = vat(rate, inclusive=inclusive), vat(books, category="books", inclusive=not inclusive)
    return germany(*rates, status=status, place=place)


TERMS = st.builds(
    _terms,
    st.integers(0, WHOLE),
    st.integers(0, WHOLE),
    st.booleans(),
    st.sampled_from(TaxStatus),
    st.sampled_from(["", "DE", "DE-BY", "FR"]),
)


@given(st.lists(st.one_of(CHARGES, CREDITS), max_size=8), DISCOUNTS, TERMS, CURRENCIES)
def test_lines_discounts_tax_and_rounding_add_up(
    lines: list[Line], discounts: list[Discount], terms: TaxTerms, currency: str
) -> None:
    priced = price(lines, discounts, terms, DAY, currency)
    assert priced.net + priced.tax == priced.total == sum(each.gross for each in priced.lines)
    on_top = sum(each.tax for each in priced.lines if not each.contains_tax)
    assert priced.subtotal - priced.discount + on_top == priced.total
    assert priced.subtotal == sum(each.amount for each in lines)
    untaxed = sum(each.net for each in priced.lines if each.treatment is None)
    assert sum(total.net for total in priced.rates) + untaxed == priced.net
    assert sum(total.tax for total in priced.rates) == priced.tax
    taken = dict.fromkeys((discount.id for discount in discounts), 0)
    for before, after in zip(lines, priced.lines, strict=True):
        assert (before.quantity, before.unit_amount) == (after.quantity, after.unit_amount)
        assert 0 <= after.discount <= max(before.amount, 0)
        if after.contains_tax:
            assert after.gross == after.discounted  # the price stays
        assert abs(after.tax) <= abs(after.discounted)
        for share in after.discounts:
            taken[share.discount_id] += share.amount
    for discount in discounts:
        assert not discount.amount or taken[discount.id] <= discount.amount


@given(st.lists(CHARGES, min_size=1, max_size=8), st.integers(1, 10**7), CURRENCIES)
def test_an_amount_off_is_taken_in_full_as_long_as_there_is_something_to_take(
    lines: list[Line], amount: int, currency: str
) -> None:
    priced = price(lines, [coupon("off", amount=amount)], NO_TAX, DAY, currency)
    there = sum(each.amount for each in lines if each.kind is not LineKind.ONE_OFF)
    assert priced.discount == min(amount, there)


@given(CHARGES, TERMS, CURRENCIES)
def test_giving_a_charge_back_gives_its_tax_back(charge: Line, terms: TaxTerms, currency: str) -> None:
    charged = price([charge], [], terms, DAY, currency).lines[0]
    credit = Line(LineKind.PRORATION_CREDIT, "back", 1, -charged.discounted, treatment=charged.treatment)
    assert price([credit], [], NO_TAX, DAY, currency).total == -charged.gross
