"""Other terms and other dates in the middle of a life: who pays what, and when the next cycle falls due."""

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

import pytest

from domain.calendar import Alignment, Interval, MonthEnd, Period, Unit
from domain.changes import DATE_MOVE_MAX
from domain.errors import InvalidInput, Refused
from domain.messages import (
    BillDue,
    Cancel,
    ChangeDate,
    ChangeTerms,
    ForceBill,
    GrantCredit,
    Pause,
    PlaceHold,
    RefundChoice,
    ReleaseHold,
    Skip,
    When,
)
from domain.preview import preview_change
from domain.proration import Basis
from domain.state import LineKind, Status
from domain.terms import Trigger
from tests.domain.stories import BERLIN, MONEY, MONTH, YEAR, Bank, Story, at, price

FIRST = Alignment(day_of_month=1)


def lines(story: Story) -> list[tuple[str, int]]:
    """Of the invoice issued last."""
    return [(line.kind.value, line.amount) for line in story.entries("invoice_issued")[-1].lines]


def april() -> Story:
    """A month of 30 days, 10.00 EUR, paid on 1 April at ten."""
    return Story(now="2026-04-01 10:00")


# --- terms


def test_a_dearer_price_is_paid_at_once_for_the_rest_of_the_period() -> None:
    story = april().until("2026-04-16 18:00").does(ChangeTerms(price(3000)))
    assert lines(story) == [("proration_credit", -500), ("proration_charge", 1500)]
    assert story.told(*MONEY)[-2:] == [
        "2026-04-16 18:00 invoice_issued change 1: 1000, due 1000",
        "2026-04-16 18:00 payment_succeeded 1000 from visa",
    ]
    assert story.due == "2026-05-01 10:00"
    assert story.state.paid_for_period == 2000  # 500 for the days used, 1500 for those to come


def test_a_smaller_price_waits_for_the_renewal() -> None:
    story = april().until("2026-04-16 18:00").does(ChangeTerms(price(400)))
    assert story.told(*MONEY)[2:] == []
    assert story.last("change_planned") == {"price_id": "price_400", "amount": 400, "cycle": 2}
    story.until("2026-05-02 00:00")
    assert story.told("terms_changed", "invoice_issued")[-2:] == [
        "2026-05-01 10:00 terms_changed",
        "2026-05-01 10:00 invoice_issued cycle 2: 400, due 400",
    ]


def test_a_smaller_price_now_becomes_credit_that_the_next_renewal_uses() -> None:
    story = april().until("2026-04-16 18:00").does(ChangeTerms(price(400), When.NOW))
    assert lines(story) == [("proration_credit", -500), ("proration_charge", 200)]
    assert story.state.credit == 300
    story.until("2026-05-02 00:00")
    assert story.told("invoice_issued")[-1] == "2026-05-01 10:00 invoice_issued cycle 2: 400, due 100"


def test_without_proration_nothing_is_billed_before_the_renewal() -> None:
    story = april().until("2026-04-16 18:00").does(ChangeTerms(price(3000), prorate=False))
    assert len(story.invoices) == 1
    assert story.until("2026-05-02 00:00").last("invoice_issued")["total"] == 3000


def test_the_same_price_again_costs_nothing() -> None:
    story = april().until("2026-04-16 18:00").does(ChangeTerms(price(1000), When.NOW))
    assert lines(story) == [("proration_credit", -500), ("proration_charge", 500)]
    assert story.state.credit == 0
    assert not story.bank.keys[1:]


def test_a_year_instead_of_a_month_begins_today_with_credit_for_the_rest() -> None:
    story = april().until("2026-04-16 18:00").does(ChangeTerms(price(9600, interval=YEAR)))
    assert lines(story) == [("proration_credit", -500), ("cycle", 9600)]
    assert story.due == "2027-04-16 18:00"
    assert story.state.paid_for_period == 9600


def test_the_invoice_of_a_switch_is_for_the_period_it_opens() -> None:
    data = april().until("2026-04-16 18:00").does(ChangeTerms(price(9600, interval=YEAR))).last("invoice_issued")
    assert (data["period_start"], data["period_end"]) == (
        at("2026-04-16 18:00").isoformat(), at("2027-04-16 18:00").isoformat(),
    )  # fmt: skip


def test_a_year_with_the_old_anchor_ends_on_the_old_day() -> None:
    story = april().until("2026-04-16 18:00")
    story.does(ChangeTerms(price(9600, interval=YEAR), keep_anchor=True))
    assert story.due == "2027-04-01 10:00"
    assert lines(story) == [("proration_credit", -500), ("stub", 9205)]  # 350 of 365 days
    story.until("2027-04-02 00:00")
    assert story.told("invoice_issued")[-1] == "2027-04-01 10:00 invoice_issued cycle 3: 9600, due 9600"


def test_an_interval_switch_without_proration_gives_no_credit_but_bills_the_new_period() -> None:
    story = april().until("2026-04-16 18:00").does(ChangeTerms(price(9600, interval=YEAR), prorate=False))
    assert lines(story) == [("cycle", 9600)]


def test_a_calendar_price_begins_with_the_part_until_its_first_day() -> None:
    story = april().until("2026-04-16 18:00").does(ChangeTerms(price(3000, alignment=FIRST)))
    # 15 of 30 days: credit for the old month's rest, and the part of the new one until 1 May.
    assert lines(story) == [("proration_credit", -500), ("stub", 1500)]
    assert story.due == "2026-05-01 18:00"
    assert story.state.part_of is not None


def test_a_calendar_price_on_its_own_day_begins_with_a_whole_period() -> None:
    aligned = price(3000, alignment=Alignment(day_of_month=31))
    story = Story(now="2026-03-01 10:00").until("2026-04-30 10:00").does(ChangeTerms(aligned))
    assert lines(story)[-1] == ("cycle", 3000)
    assert story.due == "2026-05-31 10:00"


def test_a_calendar_price_without_proration_still_gives_no_credit() -> None:
    aligned = ChangeTerms(price(3000, alignment=FIRST), prorate=False)
    assert lines(april().until("2026-04-16 18:00").does(aligned)) == [("stub", 1500)]


def test_an_upgrade_within_a_part_of_a_period_is_measured_by_the_whole_one() -> None:
    """From 20 April the part until 1 May costs 11/30; on the 25th an upgrade costs 6/30 of the difference."""
    story = Story(price(3000, alignment=FIRST), now="2026-04-20 09:00")
    assert story.last("invoice_issued")["total"] == 1100
    story.until("2026-04-25 12:00").does(ChangeTerms(price(9000, alignment=FIRST)))
    assert lines(story) == [("proration_credit", -600), ("proration_charge", 1800)]


def test_cancelling_within_a_part_of_a_period_gives_back_its_unused_days_only() -> None:
    story = Story(price(3000, alignment=FIRST), now="2026-04-20 09:00").until("2026-04-25 12:00")
    story.does(Cancel(When.NOW, RefundChoice.CREDIT))
    assert story.told("credit_granted") == ["2026-04-25 12:00 credit_granted 500"]  # 26 to 30 April


def test_several_changes_in_one_period_are_several_invoices() -> None:
    story = april()
    for day, amount in (("05", 2000), ("10", 3000), ("20", 4000)):
        story.until(f"2026-04-{day} 12:00").does(ChangeTerms(price(amount)))
    assert [invoice.identity for invoice in story.invoices.values()] == [
        (1, "cycle", 0), (1, "change", 1), (1, "change", 2), (1, "change", 3),
    ]  # fmt: skip
    assert sum(amount for account, amount in story.balances.items() if account.startswith("cash")) == (
        1000 + (-867 + 1733) + (-1400 + 2100) + (-1100 + 1467)
    )


def test_the_interval_changes_at_the_renewal_without_moving_it() -> None:
    yearly = ChangeTerms(price(9600, interval=YEAR), When.PERIOD_END)
    story = april().until("2026-04-16 18:00").does(yearly).until("2026-05-02 00:00")
    assert story.told("invoice_issued")[-1] == "2026-05-01 10:00 invoice_issued cycle 2: 9600, due 9600"
    assert story.due == "2027-05-01 10:00"


def test_at_the_renewal_a_kept_anchor_may_leave_a_part_of_a_period() -> None:
    quarter = price(2700, interval=Interval(3, Unit.MONTH))
    story = april().until("2026-04-16 18:00").does(ChangeTerms(quarter, When.PERIOD_END, keep_anchor=True))
    story.until("2026-05-01 11:00")
    assert lines(story) == [("stub", 1810)]  # 1 May to 1 July of April to July: 61 of 91 days
    assert story.due == "2026-07-01 10:00"


def test_at_the_renewal_a_kept_anchor_that_fits_leaves_nothing() -> None:
    bimonthly = price(1800, interval=Interval(2, Unit.MONTH))
    story = april().until("2026-05-16 18:00").does(ChangeTerms(bimonthly, When.PERIOD_END, keep_anchor=True))
    story.until("2026-06-01 11:00")
    assert lines(story) == [("cycle", 1800)]
    assert story.due == "2026-08-01 10:00"


def test_a_new_plan_replaces_the_one_that_waited() -> None:
    story = april().does(ChangeTerms(price(400))).does(ChangeTerms(price(500)))
    assert story.until("2026-05-01 11:00").last("invoice_issued")["total"] == 500
    story.does(ChangeTerms(price(100))).does(ChangeTerms(price(900), When.NOW)).until("2026-06-01 11:00")
    assert story.last("invoice_issued")["total"] == 900


def test_terms_change_without_proration_where_nothing_paid_is_running() -> None:
    """May is skipped; in it a yearly price is asked for: it begins with June, not in fourteen years."""
    story = april().does(Skip(1)).until("2026-05-10 12:00").does(ChangeTerms(price(9600, interval=YEAR)))
    assert len(story.invoices) == 1
    story.until("2026-06-01 11:00")
    assert story.told("invoice_issued")[-1] == "2026-06-01 10:00 invoice_issued cycle 3: 9600, due 9600"
    assert story.due == "2027-06-01 10:00"


def test_the_anchor_is_kept_also_where_nothing_paid_is_running() -> None:
    story = april().does(Skip(1)).until("2026-05-10 12:00")
    story.does(ChangeTerms(price(2700, interval=Interval(3, Unit.MONTH)), keep_anchor=True)).until("2026-06-01 11:00")
    assert lines(story) == [("stub", 890)]  # 1 June to 1 July, 30 of the 91 days from 1 April
    assert story.due == "2026-07-01 10:00"


def test_at_the_very_end_of_a_period_nothing_paid_is_running() -> None:
    story = Story(now="2026-04-01 10:00", trigger=Trigger.EXTERNAL).does(BillDue("run")).until("2026-05-01 10:00")
    story.does(ChangeTerms(price(9600, interval=YEAR)))
    assert (len(story.invoices), story.state.stub) == (1, None)
    assert story.does(BillDue("run 2")).last("invoice_issued")["total"] == 9600


def test_terms_before_the_start_are_simply_others() -> None:
    story = Story(now="2026-03-20 10:00", start_at=at("2026-04-01 10:00")).does(ChangeTerms(price(400)))
    assert story.state.status is Status.SCHEDULED
    assert story.until("2026-04-01 11:00").last("invoice_issued")["total"] == 400


def test_terms_in_the_trial_are_billed_at_its_end() -> None:
    story = Story(price(trial_days=14), now="2026-04-01 10:00").until("2026-04-05 10:00")
    story.does(ChangeTerms(price(3000, alignment=FIRST))).until("2026-04-15 11:00")
    assert lines(story) == [("stub", 1600)]  # 15 April to 1 May
    assert story.due == "2026-05-01 10:00"


def test_a_change_now_waits_for_an_open_invoice_and_one_at_the_renewal_does_not() -> None:
    story = Story(now="2026-04-01 10:00", bank=Bank(["soft"]))
    with pytest.raises(Refused, match=r"^a change now has to wait: an invoice is still being collected$") as refusal:
        story.does(ChangeTerms(price(3000)))
    assert refusal.value.code == "payment_open"
    assert "change_terms" in refusal.value.allowed
    story.does(ChangeTerms(price(3000), When.PERIOD_END))
    assert story.state.change is not None


def test_another_currency_is_another_subscription() -> None:
    with pytest.raises(InvalidInput, match="billed in EUR") as refusal:
        april().does(ChangeTerms(replace(price(1000), currency="USD")))
    assert (refusal.value.code, refusal.value.field) == ("currency_mismatch", "price_id")


def test_a_change_by_seconds() -> None:
    story = Story(price(3000, basis=Basis.SECOND), now="2026-04-01 10:00").until("2026-04-16 10:00")
    story.does(ChangeTerms(price(6000, basis=Basis.SECOND)))
    assert lines(story) == [("proration_credit", -1500), ("proration_charge", 3000)]


def test_a_credit_is_never_above_what_was_paid() -> None:
    """An upgrade whose price was never paid for gives nothing back."""
    story = april().until("2026-04-02 12:00").does(ChangeTerms(price(9000), prorate=False))
    story.until("2026-04-03 12:00").does(Cancel(When.NOW, RefundChoice.CREDIT))
    assert story.last("credit_granted")["amount"] == 1000


def test_a_cancelled_yearly_switch_that_was_never_paid_gives_nothing_back() -> None:
    story = april().until("2026-04-16 18:00")
    story.bank.says("soft")
    story.does(ChangeTerms(price(9600, interval=YEAR))).until("2026-04-16 19:00")
    story.does(Cancel(When.NOW, RefundChoice.CREDIT))
    assert story.state.credit == 0
    assert story.told("invoice_written_off") == ["2026-04-16 19:00 invoice_written_off 9100"]


def test_the_preview_is_what_then_happens() -> None:
    story = april().until("2026-04-16 18:00")
    command = ChangeTerms(price(9600, interval=YEAR))
    seen = preview_change(story.state, command, story.now)
    assert len(story.invoices) == 1
    story.does(command)
    assert (seen.when, seen.net) == (When.NOW, story.last("invoice_issued")["total"])
    assert seen.lines == story.entries("invoice_issued")[-1].lines
    assert seen.next_due is not None
    assert story.clock(seen.next_due) == story.due


def test_the_preview_of_a_later_change_says_so_also_the_second_time() -> None:
    story, command = april(), ChangeTerms(price(400))
    for _ in range(2):
        seen = preview_change(story.state, command, story.now)
        assert (seen.when, seen.lines, seen.net, seen.next_due) == (When.PERIOD_END, (), 0, at("2026-05-01 10:00"))
        story.does(command)


def _canceled() -> Story:
    return april().does(Cancel(When.NOW))


def _paused() -> Story:
    return april().does(Pause(When.NOW))


def _unpaid() -> Story:
    return Story(now="2026-04-01 10:00", bank=Bank(["soft"]))


@pytest.mark.parametrize(
    ("given", "code"), [(_canceled, "not_while_canceled"), (_paused, "not_while_paused"), (_unpaid, "payment_open")]
)
def test_what_would_be_refused_has_no_preview(given: Callable[[], Story], code: str) -> None:
    story, command = given(), ChangeTerms(price(3000))
    with pytest.raises(Refused) as foreseen:
        preview_change(story.state, command, story.now)
    with pytest.raises(Refused) as refused:
        story.does(command)
    assert foreseen.value.code == refused.value.code == code
    assert (foreseen.value.message, foreseen.value.allowed) == (refused.value.message, refused.value.allowed)


def test_a_preview_meant_for_a_cycle_that_has_passed_is_refused() -> None:
    story = april().until("2026-05-02 10:00")
    with pytest.raises(Refused, match="meant for cycle 2") as refusal:
        preview_change(story.state, ChangeTerms(price(3000)), story.now, expected_cycle=2)
    assert refusal.value.code == "cycle_passed"
    assert preview_change(story.state, ChangeTerms(price(3000)), story.now, expected_cycle=3).net > 0


def test_an_external_trigger_bills_the_cycle_that_waited_by_the_new_terms() -> None:
    story = Story(now="2026-04-01 10:00", trigger=Trigger.EXTERNAL).does(BillDue("run"))
    story.until("2026-05-03 10:00").does(ChangeTerms(price(9600, interval=YEAR))).does(BillDue("run 2"))
    assert story.told("invoice_issued")[-1] == "2026-05-03 10:00 invoice_issued cycle 2: 9600, due 9600"
    assert story.state.period is not None
    assert story.clock(story.state.period.start) == "2026-05-01 10:00"


def test_a_planned_cancellation_follows_the_period_that_was_paid() -> None:
    story = april().does(Cancel()).does(ChangeTerms(price(9600, interval=YEAR)))
    assert story.state.cancel is not None
    assert story.clock(story.state.cancel.at) == "2027-04-01 10:00"


# --- dates


def test_a_later_date_is_free_without_proration() -> None:
    story = april().does(ChangeDate(at("2026-05-10 10:00"))).until("2026-06-11 00:00")
    assert story.told("invoice_issued")[1:] == [
        "2026-05-10 10:00 invoice_issued cycle 2: 1000, due 1000",
        "2026-06-10 10:00 invoice_issued cycle 3: 1000, due 1000",
    ]


def test_with_proration_the_added_days_are_on_the_next_invoice() -> None:
    story = april().does(ChangeDate(at("2026-05-10 10:00"), prorate=True)).until("2026-05-10 11:00")
    assert lines(story) == [("cycle", 1000), ("proration_charge", 300)]  # 9 of 30 days before 10 May


def test_with_proration_the_days_taken_away_are_a_credit_on_the_next_invoice() -> None:
    story = april().until("2026-04-03 12:00").does(ChangeDate(at("2026-04-21 10:00"), prorate=True))
    story.until("2026-04-21 11:00")
    assert lines(story) == [("cycle", 1000), ("proration_credit", -333)]  # 21 to 30 April
    assert story.told("invoice_issued")[-1] == "2026-04-21 10:00 invoice_issued cycle 2: 667, due 667"
    assert story.due == "2026-05-21 10:00"


def test_a_date_moved_twice_charges_the_days_that_were_added_in_the_end() -> None:
    story = april().does(ChangeDate(at("2026-05-21 10:00"), prorate=True))
    story.does(ChangeDate(at("2026-05-11 10:00"), prorate=True)).until("2026-05-11 11:00")
    assert lines(story) == [("cycle", 1000), ("proration_charge", 334)]  # half of the 667 for 20 days


def test_a_date_moved_out_and_back_charges_nothing() -> None:
    story = april().does(ChangeDate(at("2026-05-21 10:00"), prorate=True)).does(ChangeDate(at("2026-05-01 10:00")))
    assert lines(story.until("2026-05-01 11:00")) == [("cycle", 1000)]


def test_a_date_moved_before_and_out_again_keeps_both_lines() -> None:
    story = april().does(ChangeDate(at("2026-04-21 10:00"), prorate=True))
    story.does(ChangeDate(at("2026-05-11 10:00"), prorate=True)).until("2026-05-11 11:00")
    assert lines(story) == [("cycle", 1000), ("proration_credit", -333), ("proration_charge", 667)]


def test_a_date_moved_earlier_twice_gives_back_both_parts() -> None:
    story = april().does(ChangeDate(at("2026-04-21 10:00"), prorate=True))
    story.does(ChangeDate(at("2026-04-11 10:00"), prorate=True)).until("2026-04-11 11:00")
    assert lines(story) == [("cycle", 1000), ("proration_credit", -333), ("proration_credit", -334)]
    spans = [line.period for line in story.entries("invoice_issued")[-1].lines[1:]]
    assert spans == [
        Period(at("2026-04-21 10:00"), at("2026-05-01 10:00")),
        Period(at("2026-04-11 10:00"), at("2026-04-21 10:00")),
    ]


def test_what_is_given_back_no_longer_counts_as_paid() -> None:
    story = april().does(ChangeDate(at("2026-04-21 10:00"), prorate=True))
    assert (story.state.paid_for_period, story.state.part_of) == (
        667,
        Period(at("2026-04-01 10:00"), at("2026-05-01 10:00")),
    )
    assert story.state.period == Period(at("2026-04-01 10:00"), at("2026-04-21 10:00"))


def test_a_period_that_ends_earlier_without_proration_is_worth_its_price() -> None:
    story = april().does(ChangeDate(at("2026-04-11 10:00")))
    assert story.state.period == Period(at("2026-04-01 10:00"), at("2026-04-11 10:00"))
    assert (story.state.paid_for_period, story.state.pending_lines) == (1000, ())
    story.until("2026-04-06 12:00").does(Cancel(When.NOW, RefundChoice.CREDIT))
    assert story.last("credit_granted")["amount"] == 400  # 7 to 10 April, of ten days


def test_dates_are_counted_by_the_basis_too() -> None:
    by_seconds = Story(price(3000, basis=Basis.SECOND), now="2026-04-01 10:00")
    by_seconds.does(ChangeDate(at("2026-05-01 22:00"), prorate=True))
    by_seconds.does(ChangeDate(at("2026-05-01 16:00"), prorate=True))
    assert [line.amount for line in by_seconds.state.pending_lines] == [25]  # half of twelve hours of 30 days
    earlier = Story(price(3000, basis=Basis.SECOND), now="2026-04-01 10:00")
    earlier.does(ChangeDate(at("2026-04-30 22:00"), prorate=True))
    assert [line.amount for line in earlier.state.pending_lines] == [-50]
    by_days = Story(price(3000), now="2026-04-01 10:00").does(ChangeDate(at("2026-05-01 22:00"), prorate=True))
    assert [line.amount for line in by_days.state.pending_lines] == [0]


def test_a_charge_that_waits_tells_the_days_it_is_for() -> None:
    story = april().does(ChangeDate(at("2026-05-21 10:00"), prorate=True))
    assert [line.period for line in story.state.pending_lines] == [
        Period(at("2026-05-01 10:00"), at("2026-05-21 10:00"))
    ]
    story.does(ChangeDate(at("2026-05-11 10:00")))
    (line,) = story.state.pending_lines
    assert (line.period, line.description) == (Period(at("2026-05-01 10:00"), at("2026-05-11 10:00")), "Added: Tea")
    assert story.last("date_changed") == {
        "old_due": at("2026-05-21 10:00").isoformat(), "new_due": at("2026-05-11 10:00").isoformat(), "prorate": False,
    }  # fmt: skip


def test_a_last_day_of_the_month_stays_one_by_a_date_where_the_price_says_so() -> None:
    sticky = price(1000, month_end=MonthEnd.STICKY_LAST)
    story = Story(sticky, now="2026-04-01 10:00").does(ChangeDate(at("2026-04-30 10:00"), prorate=True))
    assert story.until("2026-04-30 11:00").due == "2026-05-31 10:00"
    later = Story(sticky, now="2026-03-31 10:00").does(ChangeDate(at("2026-06-30 10:00"), prorate=True))
    # 61 days, measured by the 30 from 31 May to 30 June.
    assert [line.amount for line in later.state.pending_lines] == [2033]


def test_the_furthest_date_and_the_first() -> None:
    now = at("2026-04-01 10:00")
    assert april().does(ChangeDate(now + DATE_MOVE_MAX)).due == "2028-04-02 10:00"
    assert april().does(ChangeDate(now + timedelta(seconds=1))).told("date_changed")


def test_the_lines_of_a_change_say_what_they_are_for() -> None:
    green = replace(price(3000), product_name="Green tea")
    story = april().until("2026-04-16 18:00").does(ChangeTerms(green))
    rest = Period(at("2026-04-16 18:00"), at("2026-05-01 10:00"))
    assert [(line.description, line.quantity, line.period) for line in story.entries("invoice_issued")[-1].lines] == [
        ("Unused: Tea", 1, rest),
        ("Remaining: Green tea", 1, rest),
    ]
    data = story.last("invoice_issued")
    assert (data["trigger"], data["period_start"], data["period_end"]) == (
        "change", rest.start.isoformat(), rest.end.isoformat(),
    )  # fmt: skip
    assert story.last("terms_changed") == {"price_id": "price_3000", "amount": 3000}


def test_the_same_price_by_default_changes_now() -> None:
    green = replace(price(1000), product_name="Green tea")
    assert april().until("2026-04-16 18:00").does(ChangeTerms(green)).state.terms.product_name == "Green tea"


def test_cancelling_after_the_period_was_shortened_gives_back_the_rest_of_it_only() -> None:
    story = april().does(ChangeDate(at("2026-04-16 10:00"), prorate=True)).until("2026-04-10 12:00")
    story.does(Cancel(When.NOW, RefundChoice.CREDIT))
    # 11 to 15 April at a thirtieth each; and the 15 days taken away before, which had no next invoice to be on.
    assert story.told("credit_granted") == [
        "2026-04-10 12:00 credit_granted 167",
        "2026-04-10 12:00 credit_granted 500",
    ]


def test_a_prolonged_period_is_not_paid_longer() -> None:
    story = april().does(ChangeDate(at("2026-05-31 10:00"))).until("2026-04-16 12:00")
    story.does(Cancel(When.NOW, RefundChoice.CREDIT))
    assert story.last("credit_granted")["amount"] == 467  # 14 of 30 days


@pytest.mark.parametrize("wanted", ["2026-04-16 12:00", "2026-04-15 12:00", "2028-04-18 00:00"])
def test_a_date_that_cannot_be(wanted: str) -> None:
    story = april().until("2026-04-16 12:00")
    with pytest.raises(InvalidInput, match="at most 732 days from now") as refusal:
        story.does(ChangeDate(at(wanted)))
    assert refusal.value.field == "next_due_at"


def test_a_date_before_what_is_paid_already() -> None:
    story = april().until("2026-04-16 12:00").does(ForceBill())
    for wanted in ("2026-04-20 12:00", "2026-05-01 10:00"):
        with pytest.raises(InvalidInput, match="after 2026-05-01") as refusal:
            story.does(ChangeDate(at(wanted)))
        assert refusal.value.field == "next_due_at"
    story.does(ChangeDate(at("2026-05-20 12:00")))
    assert story.due == "2026-05-20 12:00"


def test_a_planned_pause_and_cancellation_move_with_the_date() -> None:
    story = april().does(Pause()).does(ChangeDate(at("2026-05-10 10:00")))
    assert story.until("2026-05-11 00:00").told("paused") == ["2026-05-10 10:00 paused"]
    story = april().does(Cancel()).does(ChangeDate(at("2026-04-20 10:00")))
    assert story.until("2026-05-11 00:00").told("canceled") == ["2026-04-20 10:00 canceled"]
    assert len(story.invoices) == 1


def test_the_day_31_is_kept_by_a_date_too() -> None:
    story = april().does(ChangeDate(at("2026-05-31 10:00"))).until("2026-07-31 11:00")
    assert [line[:10] for line in story.told("invoice_issued")] == [
        "2026-04-01", "2026-05-31", "2026-06-30", "2026-07-31",
    ]  # fmt: skip


def test_credit_and_lines_that_wait_meet_in_one_invoice() -> None:
    story = april().does(ChangeDate(at("2026-05-10 10:00"), prorate=True)).does(GrantCredit(200, "EUR"))
    assert story.until("2026-05-10 11:00").told("invoice_issued")[-1].endswith("cycle 2: 1300, due 1100")


def test_the_calendar_is_measured_by_the_zone() -> None:
    story = Story(now="2026-04-01 10:00", zone="Pacific/Auckland")
    story.does(ChangeDate(at("2026-04-21 10:00", "Pacific/Auckland"), prorate=True)).until("2026-04-21 11:00")
    assert lines(story)[-1] == (LineKind.PRORATION_CREDIT, -333)
    assert story.zone != BERLIN
    assert story.state.terms.interval == MONTH


def test_a_hold_does_not_stop_a_date_from_moving() -> None:
    story = april().does(PlaceHold("ops", at("2026-06-01 00:00"))).does(ChangeDate(at("2026-05-10 10:00")))
    story.until("2026-05-20 00:00").does(ReleaseHold())
    assert story.told("invoice_issued")[-1] == "2026-05-20 00:00 invoice_issued cycle 2: 1000, due 1000"
    assert story.due == "2026-06-10 10:00"


# --- added days that no invoice will charge


@pytest.mark.parametrize(
    ("end", "on"),
    [
        (Cancel(), "2026-05-10 10:00"),
        (Cancel(When.NOW), "2026-04-20 12:00"),
        (Cancel(When.NOW), "2026-05-05 12:00"),
    ],
)
def test_a_charge_for_added_days_that_waits_is_waived_aloud_at_the_end(end: Cancel, on: str) -> None:
    story = april().does(ChangeDate(at("2026-05-10 10:00"), prorate=True)).until("2026-04-20 12:00")
    if end.when is When.NOW:
        story.until(on)
    story.does(end, reason="moved").until("2026-06-01 00:00")
    assert story.told("added_time_waived", "canceled") == [f"{on} added_time_waived", f"{on} canceled"]
    assert story.last("added_time_waived") == {"amount": 300, "currency": "EUR"}
    assert story.entries("added_time_waived")[0].reason == "moved"
    assert (len(story.invoices), story.state.credit) == (1, 0)


def test_added_days_that_passed_are_set_off_against_what_waits_to_be_given_back() -> None:
    """The 21st gives 3.33 back; the 11th of May charges 6.67 for twenty days, of which four have passed on the 25th."""
    story = april().does(ChangeDate(at("2026-04-21 10:00"), prorate=True))
    story.does(ChangeDate(at("2026-05-11 10:00"), prorate=True)).until("2026-04-25 12:00").does(Cancel(When.NOW))
    assert (story.last("credit_granted")["amount"], story.last("added_time_waived")["amount"]) == (200, 534)


def test_added_days_still_to_come_take_nothing_from_what_waits_to_be_given_back() -> None:
    story = april().does(ChangeDate(at("2026-04-21 10:00"), prorate=True))
    story.does(ChangeDate(at("2026-05-11 10:00"), prorate=True)).until("2026-04-20 12:00").does(Cancel(When.NOW))
    assert (story.last("credit_granted")["amount"], story.last("added_time_waived")["amount"]) == (333, 667)


def test_nothing_is_waived_where_nothing_waits() -> None:
    story = april().does(ChangeDate(at("2026-04-21 10:00"), prorate=True)).does(Cancel(When.NOW))
    assert (story.last("credit_granted")["amount"], story.told("added_time_waived")) == (333, [])


def test_a_change_for_one_price_leaves_another_alone() -> None:
    story = Story(now="2026-04-01 10:00").until("2026-04-16 12:00")
    bought = story.state.terms.price_id
    dearer = replace(price(3000), price_id="price_new")
    story.does(ChangeTerms(dearer, When.NOW, only_from=bought))
    with pytest.raises(Refused) as refused:
        story.does(ChangeTerms(dearer, When.NOW, only_from=bought))
    assert refused.value.code == "other_price"
    assert len(story.told("terms_changed")) == 1
