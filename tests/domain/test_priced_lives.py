"""Lives with discounts and tax: what each invoice says, what is given back, what the books hold, told with dates."""

from __future__ import annotations

from dataclasses import replace
from datetime import date

import pytest

from domain.discounts import DISCOUNTS_MAX, Discount, DiscountSource
from domain.errors import Refused
from domain.explain import sentence
from domain.forecast import Assume, forecast
from domain.ledger import REVENUE
from domain.messages import (
    AddDiscount,
    Cancel,
    ChangeDate,
    ChangeTerms,
    ChargeNow,
    EndTrial,
    GrantCredit,
    Pause,
    RefundChoice,
    RemoveDiscount,
    SetTax,
    Skip,
    When,
)
from domain.preview import preview_change
from domain.state import Entry
from domain.tax import TaxRate, TaxStatus, TaxTerms, Untaxed
from domain.terms import DEFAULT_DUNNING
from tests.domain.stories import YEAR, Bank, Story, at, price

HALF = Discount("half", "Half off", DiscountSource.COUPON, at("2026-01-01 00:00"), rate=50_000)
FIVE = Discount("five", "5 off", DiscountSource.COUPON, at("2026-01-01 00:00"), amount=500)


def germany(status: TaxStatus = TaxStatus.TAXABLE, *, inclusive: bool = False) -> TaxTerms:
    """19 %, 16 % in the second half of 2026, and 19 % again."""
    rates = (
        TaxRate("a", "DE", "standard", 19_000, inclusive, date(2007, 1, 1), date(2026, 7, 1)),
        TaxRate("b", "DE", "standard", 16_000, inclusive, date(2026, 7, 1), date(2027, 1, 1)),
        TaxRate("c", "DE", "standard", 19_000, inclusive, date(2027, 1, 1)),
    )
    return TaxTerms(status, "DE", rates)


def invoices(story: Story) -> list[Entry]:
    return story.entries("invoice_issued")


def sums(story: Story) -> list[tuple[object, ...]]:
    """Day, discount, tax and total of each invoice."""
    return [
        (story.clock(one.at)[:10], one.data["discount"], one.data["tax"], one.data["total"]) for one in invoices(story)
    ]


def lines(story: Story) -> list[tuple[str, int, int, int, int]]:
    """The last invoice: kind, amount, discount, rate and tax of each line."""
    return [
        (line.kind.value, line.amount, line.discount, line.treatment.rate if line.treatment else -1, line.tax)
        for line in invoices(story)[-1].lines
    ]


# --- discounts --------------------------------------------------------------------------------------------------------


def test_a_coupon_for_three_cycles_passes_over_the_trial_and_a_skip() -> None:
    story = Story(price(1000, trial_days=14, trial_amount=100), now="2026-01-01 10:00")
    story.does(AddDiscount(replace(HALF, cycles_left=3)))
    story.until("2026-01-20 10:00").does(Skip(1)).until("2026-06-01 00:00")
    assert sums(story) == [
        ("2026-01-01", 0, 0, 100),  # the trial is no cycle
        ("2026-01-15", 500, 0, 500),
        ("2026-03-15", 500, 0, 500),  # February was skipped
        ("2026-04-15", 500, 0, 500),
        ("2026-05-15", 0, 0, 1000),
    ]
    assert story.told("discount_ended") == ["2026-04-15 10:00 discount_ended"]
    assert (
        sentence("discount_ended", story.last("discount_ended")) == "Discount Half off ended: its cycles are used up."
    )


def test_a_discount_without_a_count_reduces_a_paid_trial_too() -> None:
    story = Story(price(1000, trial_days=14, trial_amount=100), now="2026-01-01 10:00", start_at=at("2026-01-02 10:00"))
    story.does(AddDiscount(HALF)).until("2026-01-20 10:00")
    assert sums(story) == [("2026-01-02", 50, 0, 50), ("2026-01-16", 500, 0, 500)]


def test_an_amount_off_covers_the_set_up_fee_and_is_lost_above_the_invoice() -> None:
    story = Story(price(1000, setup_fee=500), now="2026-01-01 10:00", start_at=at("2026-01-02 10:00"))
    story.does(AddDiscount(replace(FIVE, amount=600, cycles_left=1), "EUR")).until("2026-01-03 10:00")
    assert lines(story) == [("cycle", 1000, 400, -1, 0), ("setup_fee", 500, 200, -1, 0)]
    story.does(AddDiscount(replace(FIVE, amount=2000), "EUR")).until("2026-02-03 10:00")
    assert sums(story)[-1] == ("2026-02-02", 1000, 0, 0)
    assert story.told("invoice_settled")


def test_a_discount_ends_by_what_was_due_not_by_when_it_was_billed() -> None:
    story = Story(price(1000), now="2026-01-31 10:00")
    story.does(AddDiscount(replace(HALF, until=at("2026-02-28 12:00"))))
    story.until("2026-02-01 00:00").sleep_until("2026-02-28 22:00")  # down for twelve hours
    assert sums(story)[-1] == ("2026-02-28", 500, 0, 500)
    story.until("2026-04-01 00:00")
    assert sums(story)[-1] == ("2026-03-31", 0, 0, 1000)
    assert sentence("discount_ended", story.last("discount_ended")) == "Discount Half off ended: its time is over."


def test_a_discount_taken_back_reduces_nothing_more() -> None:
    story = Story(price(1000), now="2026-01-31 10:00")
    story.does(AddDiscount(HALF)).until("2026-03-01 00:00").does(RemoveDiscount("half")).until("2026-04-01 00:00")
    assert sums(story) == [("2026-01-31", 0, 0, 1000), ("2026-02-28", 500, 0, 500), ("2026-03-31", 0, 0, 1000)]
    with pytest.raises(Refused, match="no discount"):
        story.does(RemoveDiscount("half"))


@pytest.mark.parametrize(
    ("command", "code"),
    [
        (AddDiscount(FIVE, "USD"), "currency_mismatch"),
        (AddDiscount(replace(HALF, until=at("2026-01-31 10:00"))), "discount_ended"),
        (AddDiscount(replace(HALF, products=("prod_other",))), "wrong_product"),
        (AddDiscount(replace(HALF, id="again", coupon_id="c")), "discount_running"),
    ],
)
def test_a_discount_that_does_not_fit_is_refused(command: AddDiscount, code: str) -> None:
    story = Story(price(1000), now="2026-01-31 10:00").does(AddDiscount(replace(HALF, coupon_id="c")))
    with pytest.raises(Refused) as refused:
        story.does(command)
    assert refused.value.code == code
    before = story.state
    story.does(AddDiscount(replace(HALF, coupon_id="c")))  # the same one again
    assert story.state.discounts == before.discounts


def test_a_subscription_has_so_many_discounts_at_most() -> None:
    story = Story(price(1000), now="2026-01-31 10:00")
    for number in range(DISCOUNTS_MAX):
        story.does(AddDiscount(replace(HALF, id=f"d{number}")))
    with pytest.raises(Refused) as refused:
        story.does(AddDiscount(HALF))
    assert refused.value.code == "too_many_discounts"


def test_a_change_in_mid_period_gives_back_what_was_paid_and_keeps_the_periods_discounts() -> None:
    story = Story(price(3000), now="2026-04-01 00:00", start_at=at("2026-04-01 10:00"))
    story.does(AddDiscount(replace(HALF, cycles_left=1))).until("2026-04-16 09:00")
    story.does(ChangeTerms(price(6000)))
    # 15 of 30 days: half of the 15.00 that were paid; half of 60.00 at half the price
    assert lines(story) == [("proration_credit", -750, 0, -1, 0), ("proration_charge", 3000, 1500, -1, 0)]
    story.does(ChangeTerms(price(3000), When.NOW))
    assert lines(story) == [("proration_credit", -1500, 0, -1, 0), ("proration_charge", 1500, 750, -1, 0)]
    story.until("2026-05-02 00:00")
    assert sums(story)[-1] == ("2026-05-01", 0, 0, 3000)  # it was good for one cycle, and that was April


def test_an_amount_off_counts_for_a_part_of_a_period_in_proportion() -> None:
    story = Story(price(3000), now="2026-04-01 00:00", start_at=at("2026-04-01 10:00"))
    story.does(AddDiscount(replace(FIVE, amount=1000), "EUR")).until("2026-04-16 09:00")
    story.does(ChangeTerms(price(6000)))
    assert lines(story) == [("proration_credit", -1000, 0, -1, 0), ("proration_charge", 3000, 500, -1, 0)]


def test_another_interval_begins_a_cycle_that_uses_a_discount_up() -> None:
    story = Story(price(1000), now="2026-04-01 00:00", start_at=at("2026-04-01 10:00"))
    story.does(AddDiscount(replace(HALF, cycles_left=2))).until("2026-04-16 09:00")
    story.does(ChangeTerms(price(12_000, interval=YEAR)))
    assert lines(story) == [("proration_credit", -250, 0, -1, 0), ("cycle", 12_000, 6000, -1, 0)]
    assert story.state.discounts == ()


def test_paid_days_taken_away_are_worth_what_was_paid_for_them() -> None:
    story = Story(price(3000), now="2026-04-01 00:00", start_at=at("2026-04-01 10:00"))
    story.does(AddDiscount(HALF)).until("2026-04-10 09:00")
    story.does(ChangeDate(at("2026-04-16 10:00"), prorate=True)).until("2026-04-17 00:00")
    assert lines(story) == [("cycle", 3000, 1500, -1, 0), ("proration_credit", -750, 0, -1, 0)]
    story.does(ChangeDate(at("2026-05-01 10:00"), prorate=True)).until("2026-05-02 00:00")


# --- tax --------------------------------------------------------------------------------------------------------------


def test_vat_19_16_19_with_an_upgrade_in_the_period_that_began_before() -> None:
    story = Story(price(10_000), now="2026-06-16 00:00", start_at=at("2026-06-16 10:00"))
    story.does(SetTax(germany())).until("2026-07-01 09:00")
    assert sums(story) == [("2026-06-16", 0, 1900, 11_900)]
    story.does(ChangeTerms(price(20_000)))
    # 15 of 30 days. What is given back was taxed with 19 %; the rest of the period is taxed with 16 %.
    assert lines(story) == [("proration_credit", -5000, 0, 19_000, -950), ("proration_charge", 10_000, 0, 16_000, 1600)]
    assert sums(story)[-1] == ("2026-07-01", 0, 650, 5650)
    story.does(ChangeTerms(price(10_000), When.NOW))
    assert lines(story)[0] == ("proration_credit", -10_000, 0, 16_000, -1600)
    story.until("2027-02-01 00:00")
    assert [(day, tax) for day, _, tax, _ in sums(story)[-3:]] == [
        ("2026-11-16", 1600), ("2026-12-16", 1600), ("2027-01-16", 1900),
    ]  # fmt: skip
    assert story.balances["tax:DE"] == -sum(int(str(tax)) for _, _, tax, _ in sums(story))


def test_a_price_that_contains_tax_stays_as_it_is() -> None:
    story = Story(price(1190), now="2026-06-01 00:00", start_at=at("2026-06-16 10:00"))
    story.does(SetTax(germany(inclusive=True))).does(AddDiscount(HALF)).until("2026-08-01 00:00")
    assert sums(story) == [("2026-06-16", 595, 95, 595), ("2026-07-16", 595, 82, 595)]
    assert (story.balances[REVENUE], story.balances["tax:DE"]) == (-1013, -177)


@pytest.mark.parametrize("status", [TaxStatus.EXEMPT, TaxStatus.REVERSE_CHARGE])
def test_no_tax_with_the_reason_on_the_line(status: TaxStatus) -> None:
    story = Story(price(1000), now="2026-06-01 00:00", start_at=at("2026-06-16 10:00"))
    story.does(SetTax(germany(status))).until("2026-06-17 00:00")
    (line,) = invoices(story)[-1].lines
    assert line.treatment is not None
    assert (line.tax, line.treatment.reason) == (0, Untaxed(status.value))


def test_the_same_tax_again_says_nothing() -> None:
    story = Story(price(1000), now="2026-06-01 00:00").does(SetTax(germany()))
    told = len(story.timeline)
    story.does(SetTax(germany()))
    assert len(story.timeline) == told
    assert sentence("tax_set", story.last("tax_set")) == "Taxed from now on: taxable in DE."


def test_what_nobody_pays_is_owed_to_no_authority() -> None:
    story = Story(price(1000), now="2026-05-31 00:00", start_at=at("2026-06-01 10:00"), bank=Bank(["hard"]))
    story.does(SetTax(germany())).does(GrantCredit(190, "EUR")).until("2026-07-30 00:00")
    assert story.last("invoice_written_off")["amount"] == 1000
    # Credit has paid 1.90 of 11.90: of that 0.30 is tax, and stays owed.
    assert (story.balances["tax:DE"], story.balances["bad_debt"], story.balances[REVENUE]) == (-30, 840, -1000)


def test_a_charge_by_hand_bears_tax_and_no_discount_and_is_void_with_it() -> None:
    story = Story(price(1000), now="2026-06-01 00:00", start_at=at("2026-06-01 10:00"))
    story.does(SetTax(germany())).does(AddDiscount(HALF)).until("2026-06-02 00:00")
    story.bank.says("soft")
    books = dict(story.balances)
    story.does(ChargeNow(1000, "EUR", "Cup"))
    assert lines(story) == [("one_off", 1000, 0, 19_000, 190)]
    assert story.last("invoice_voided")["amount"] == 1190
    assert {name: amount for name, amount in story.balances.items() if amount} == {
        name: amount for name, amount in books.items() if amount
    }


@pytest.mark.parametrize("inclusive", [False, True])
def test_credit_for_unused_time_gives_its_tax_back(inclusive: bool) -> None:
    paid = 3000 if inclusive else 3570
    story = Story(price(3000), now="2026-04-01 00:00", start_at=at("2026-04-01 10:00"))
    story.does(SetTax(germany(inclusive=inclusive))).until("2026-04-15 09:00")
    assert story.balances["cash:sandbox"] == paid
    story.does(SetTax(germany(TaxStatus.EXEMPT)))  # what was charged with tax is given back with it
    story.does(Cancel(When.NOW, RefundChoice.CREDIT))
    assert story.state.credit == -(-paid // 2)
    assert story.balances["tax:DE"] == -(479 - 239 if inclusive else 285)


def test_a_pause_at_once_gives_tax_back_as_well() -> None:
    story = Story(price(3000), now="2026-04-01 00:00", start_at=at("2026-04-01 10:00"))
    story.does(SetTax(germany())).until("2026-04-15 09:00").does(Pause(When.NOW))
    assert (story.state.credit, story.balances["tax:DE"]) == (1785, -285)


def test_time_taken_away_and_then_the_end_becomes_credit_with_tax() -> None:
    story = Story(price(3000), now="2026-04-01 00:00", start_at=at("2026-04-01 10:00"))
    story.does(SetTax(germany())).until("2026-04-10 09:00")
    story.does(ChangeDate(at("2026-04-16 10:00"), prorate=True)).does(Cancel(When.NOW))
    assert (story.state.credit, story.balances["tax:DE"]) == (1785, -285)


# --- what is foreseen is what comes -----------------------------------------------------------------------------------


def test_forecast_notice_and_preview_say_what_is_then_charged() -> None:
    story = Story(price(10_000), now="2026-05-31 00:00", start_at=at("2026-06-01 10:00"), notice_days=3)
    story.does(SetTax(germany())).does(AddDiscount(replace(HALF, cycles_left=2))).until("2026-06-02 00:00")
    seen = forecast(story.state, story.now, cycles=3, assume=Assume.CARD_WORKS, policy=DEFAULT_DUNNING)
    foreseen = [
        (one.data["discount"], one.data["tax"], one.data["total"]) for one in seen if one.kind == "invoice_issued"
    ]
    change = ChangeTerms(price(20_000))
    preview = preview_change(story.state, change, story.now)
    tried = Story(price(10_000), now="2026-05-31 00:00", start_at=at("2026-06-01 10:00"))
    tried.does(SetTax(germany())).does(AddDiscount(replace(HALF, cycles_left=2))).until("2026-06-02 00:00")
    tried.does(change)
    assert preview.net == tried.last("invoice_issued")["total"]
    assert preview.lines == invoices(tried)[-1].lines
    story.until("2026-09-02 00:00")
    assert foreseen == [(discount, tax, total) for _, discount, tax, total in sums(story)[1:]]
    assert foreseen == [(5000, 800, 5800), (0, 1600, 11_600), (0, 1600, 11_600)]
    told = [entry.data["amount"] for entry in story.entries("renewal_notice")]
    assert told[-3:] == [5800, 11_600, 11_600]


def test_an_invoice_tells_of_its_discounts_and_tax() -> None:
    story = Story(price(10_000, trial_days=5), now="2026-06-01 10:00").does(SetTax(germany())).does(AddDiscount(HALF))
    story.does(EndTrial())
    assert sentence("invoice_issued", story.last("invoice_issued")) == (
        "Invoice of 59.50 EUR issued for cycle 1, with 50.00 EUR of discounts and 9.50 EUR of tax; 59.50 EUR due."
    )
