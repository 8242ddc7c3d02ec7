"""What may be ordered at which price, and what of it is due now."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta

import pytest

from domain.business import DiscountRules
from domain.calendar import Alignment
from domain.discounts import Discount, DiscountSource
from domain.errors import InvalidInput, Refused
from domain.order_lines import (
    LINES_MAX,
    bill_of,
    check_lines,
    due_by_line,
    dues_of,
    is_special,
    keep_coupons,
    refuse_beyond,
)
from domain.order_state import OrderLine
from domain.pricing import RateTotal
from domain.state import Line, LineKind
from domain.tax import NO_TAX, TaxRate, TaxStatus, TaxTerms, Treatment
from domain.terms import AMOUNT_MINOR_MAX, QUANTITY_MAX
from tests.domain.order_stories import item, lines, plan
from tests.domain.stories import at, can_be_read, price

NOW = at("2026-03-02 10:00")
RATES = (
    TaxRate("old", "DE", "standard", 19_000, False, date(2020, 1, 1), date(2026, 3, 2)),
    TaxRate("new", "DE", "standard", 16_000, False, date(2026, 3, 2)),
    TaxRate("books", "DE", "books", 7_000, False, date(2020, 1, 1)),
)
GERMANY = TaxTerms(TaxStatus.TAXABLE, "DE", RATES)
SPECIAL = item(1000, list_amount=1250, reason="regular")


def dues(*wanted: OrderLine, zone: str = "Europe/Berlin", tax: TaxTerms = NO_TAX, now: datetime = NOW) -> list[Line]:
    return [due.line for due in dues_of(lines(*wanted), "EUR", zone, tax, now)]


# ---------------------------------------------------------------- what may be ordered


@pytest.mark.parametrize(
    ("line", "field", "code"),
    [
        (item(quantity=0), "quantity", "invalid_input"),
        (item(0, QUANTITY_MAX + 1), "quantity", "invalid_input"),
        (item(-1), "unit_amount", "invalid_input"),
        (item(AMOUNT_MINOR_MAX + 1), "unit_amount", "invalid_input"),
        (item(AMOUNT_MINOR_MAX // 2 + 1, 2), "unit_amount", "invalid_input"),
        (item(terms=price()), "kind", "invalid_input"),
        (replace(plan(), terms=None), "kind", "invalid_input"),
        (plan(price(currency="USD")), "price_id", "currency_mismatch"),
        (replace(SPECIAL, reason=""), "reason", "invalid_input"),
        (item(1000, list_amount=900), "reason", "invalid_input"),
    ],
)
def test_a_line_that_breaks_a_rule_is_named(line: OrderLine, field: str, code: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        check_lines(lines(item(), line), "EUR")
    assert (refused.value.field, refused.value.code) == (f"lines.1.{field}", code)
    assert can_be_read(refused.value)


@pytest.mark.parametrize(
    "line",
    [
        item(0, 1),
        item(1, QUANTITY_MAX),
        item(AMOUNT_MINOR_MAX),
        item(AMOUNT_MINOR_MAX // 2, 2),
        SPECIAL,
        item(1000, list_amount=1000),
        item(0, list_amount=0),
        plan(),
    ],
)
def test_the_edges_are_taken(line: OrderLine) -> None:
    check_lines(lines(line), "EUR")


def test_how_many_lines_an_order_has() -> None:
    check_lines(lines(*[item()] * LINES_MAX), "EUR")
    for wanted in ([], [item()] * (LINES_MAX + 1)):
        with pytest.raises(InvalidInput) as refused:
            check_lines(lines(*wanted), "EUR")
        assert refused.value.field == "lines"
    assert LINES_MAX == 100


def test_a_price_is_special_only_against_a_catalogue() -> None:
    assert [is_special(line) for line in (item(), item(1, list_amount=1), SPECIAL, item(0, list_amount=5))] == [
        False, False, True, True,
    ]  # fmt: skip


def test_an_agent_goes_so_far_below_the_catalogue_and_a_lead_further() -> None:
    rules = DiscountRules(agent_rate=20_000)
    refuse_beyond(lines(SPECIAL, item(1), item(2000, list_amount=1000), plan()), rules)  # 20 % exactly
    with pytest.raises(Refused) as refused:
        refuse_beyond(lines(item(), replace(SPECIAL, unit_amount=999)), rules)
    assert refused.value.code == "special_price_beyond_limit"
    assert "line 2" in refused.value.message
    refuse_beyond(lines(item(0, list_amount=1000)), DiscountRules(agent_rate=100_000))
    with pytest.raises(Refused):
        refuse_beyond(lines(SPECIAL, item(999, list_amount=1000)), DiscountRules(agent_rate=0))
    with pytest.raises(Refused):
        refuse_beyond(lines(item(), item(1000, list_amount=1000), item(1, list_amount=1000)), rules)


# ---------------------------------------------------------------- what is due now


def test_one_time_lines_are_due() -> None:
    found = dues_of(lines(item(700, 3, tax_category="books"), item(1)), "EUR", "UTC", NO_TAX, NOW)
    assert [(due.position, due.prepays) for due in found] == [(1, False), (2, False)]
    assert found[0].line == Line(LineKind.ITEM, "Engraving", 3, 700, tax_category="books")
    assert due_by_line(found) == {1: 2100, 2: 1}


def test_a_subscription_is_due_with_its_first_cycle_and_its_fee() -> None:
    found = dues_of(lines(item(5), plan(price(1900, quantity=2, setup_fee=500))), "EUR", "UTC", NO_TAX, NOW)
    assert [(due.position, due.prepays, due.line.kind, due.line.amount) for due in found] == [
        (1, False, LineKind.ITEM, 5),
        (2, True, LineKind.CYCLE, 3800),
        (2, False, LineKind.SETUP_FEE, 500),
    ]
    assert {due.line.period for due in found} == {None}, "it begins when it is paid, which may be later"
    assert due_by_line(found) == {1: 5, 2: 4300}
    assert due_by_line(()) == {}


def test_a_calendar_subscription_pays_for_the_days_until_its_date() -> None:
    """2 to 31 March are 30 of 31 days of 31.00: 30.00."""
    (line,) = dues(plan(price(3100, alignment=Alignment(day_of_month=1))))
    assert (line.kind, line.amount) == (LineKind.STUB, 3000)
    (line,) = dues(
        plan(price(3100, alignment=Alignment(day_of_month=1))), zone="UTC", now=datetime(2026, 3, 31, 12, tzinfo=UTC)
    )
    assert line.amount == 100


def test_a_start_that_lies_ahead_is_not_due_and_one_that_is_now_is() -> None:
    assert dues(plan(start_at=NOW + timedelta(seconds=1))) == []
    assert [line.amount for line in dues(plan(start_at=NOW))] == [1000]
    assert [line.amount for line in dues(plan(start_at=NOW - timedelta(days=3)))] == [1000]


def test_a_trial_is_due_only_where_it_costs_something() -> None:
    assert dues(plan(price(1900, trial_days=14, setup_fee=500))) == []
    terms = price(1900, quantity=3, trial_days=14, trial_amount=100, setup_fee=500, tax_category="books")
    found = dues_of(lines(plan(terms)), "EUR", "UTC", NO_TAX, NOW)
    assert [(due.position, due.prepays) for due in found] == [(1, True)]
    assert found[0].line == Line(LineKind.TRIAL, "Tea (trial)", 1, 100, tax_category="books")


def test_discounts_reduce_a_cycle_and_of_a_trial_only_those_that_are_not_counted() -> None:
    lasting = Discount("dis_1", "Regular", DiscountSource.CUSTOMER, NOW, rate=10_000)
    counted = Discount("red_1", "Three months", DiscountSource.COUPON, NOW, rate=50_000, cycles_left=3)
    other = Discount("dis_2", "Coffee", DiscountSource.CUSTOMER, NOW, rate=50_000, products=("coffee",))
    late = Discount("dis_3", "Over", DiscountSource.CUSTOMER, NOW, rate=50_000, until=NOW)
    fits = Discount("dis_4", "Tea", DiscountSource.CUSTOMER, NOW, amount=10, products=("prod",))
    given = (lasting, counted, other, late, fits)
    (cycle,) = dues(plan(price(1000), discounts=given))
    assert [(share.discount_id, share.amount) for share in cycle.discounts] == [
        ("dis_1", 100), ("red_1", 450), ("dis_4", 10),
    ]  # fmt: skip

    (trial,) = dues(plan(price(1000, trial_days=7, trial_amount=200), discounts=given))
    assert [(share.discount_id, share.amount) for share in trial.discounts] == [("dis_1", 20), ("dis_4", 10)]


def test_tax_is_that_of_the_local_day() -> None:
    """On 1 March 23:30 in Berlin the old rate holds, an hour later the new one; in New York that is the day before."""
    night = datetime(2026, 3, 1, 22, 30, tzinfo=UTC)
    assert [line.tax for line in dues(item(1000), tax=GERMANY, now=night)] == [190]
    assert [line.tax for line in dues(item(1000), tax=GERMANY, now=night + timedelta(hours=1))] == [160]
    assert [
        line.tax for line in dues(item(1000), zone="America/New_York", tax=GERMANY, now=night + timedelta(hours=1))
    ] == [190]


def test_a_bill_is_what_its_lines_add_up_to() -> None:
    half = Discount("dis_1", "Half", DiscountSource.CUSTOMER, NOW, rate=50_000)
    wanted = lines(plan(price(1000), discounts=(half,)), item(700, 2, tax_category="books"), item(100))
    found = dues_of(wanted, "EUR", "Europe/Berlin", GERMANY, NOW)
    bill = bill_of(found, "EUR")
    assert bill.currency == "EUR"
    assert bill.lines == tuple(due.line for due in found)
    assert (bill.subtotal, bill.discount, bill.net) == (2500, 500, 2000)
    assert (bill.tax, bill.total) == (80 + 98 + 16, 2194)
    assert bill.rates == (
        RateTotal(Treatment("DE", "", 16_000), 600, 96),
        RateTotal(Treatment("DE", "", 7_000), 1400, 98),
    )
    assert due_by_line(found) == {1: 580, 2: 1498, 3: 116}


# ---------------------------------------------------------------- coupons


def test_a_coupon_stays_with_its_subscription_in_its_place() -> None:
    code = Discount("red_1", "Spring", DiscountSource.COUPON, NOW, rate=50_000, coupon_id="cpn")
    own = Discount("dis_1", "Regular", DiscountSource.CUSTOMER, NOW, amount=100)
    fresh = Discount("dis_2", "New", DiscountSource.CUSTOMER, NOW, amount=50)
    before = lines(plan(discounts=(own, code)), item(product_id="prod"))

    def kept(*after: OrderLine) -> list[list[str]]:
        return [[one.id for one in line.discounts] for line in keep_coupons(before, lines(*after))]

    assert kept(plan()) == [["red_1"]]
    assert kept(plan(discounts=(fresh,))) == [["dis_2", "red_1"]], "behind what is given today"
    assert kept(plan(discounts=(code,))) == [["red_1"]], "once"
    assert kept(plan(product_id="other")) == [[]]
    assert kept(item(product_id="prod")) == [[]], "one-time lines have none"
    assert kept(item(), plan()) == [[], []], "another place is another line"
    assert keep_coupons((), lines(plan(discounts=(code,))))[0].discounts == (code,)
