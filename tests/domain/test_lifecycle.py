"""A subscription's life from start to end, told by day. Dates are by the customer's clock."""

from datetime import timedelta
from typing import Literal

import pytest

from domain.calendar import Alignment, Interval, Unit
from domain.facts import Charged, Recorded, TimePassed
from domain.lifecycle import CANCELED_KEPT, apply, next_step
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
    Restart,
    Resume,
    SetNotice,
    Skip,
    UndoCancel,
    When,
)
from domain.state import Access, Status
from domain.steps import End, Wait
from domain.terms import CatchUp, Trigger
from tests.domain.stories import MONEY, YEAR, Bank, Story, at, price

FIRST = Alignment(day_of_month=1)


def billed(story: Story) -> list[str]:
    """Date and amount of each cycle's invoice."""
    return [
        f"{story.clock(entry.at)[:10]} {entry.data['total']}"
        for entry in story.entries("invoice_issued")
        if entry.data["reason"] == "cycle"
    ]


# --- start


def test_without_a_trial_the_first_period_is_paid_at_once() -> None:
    story = Story(now="2026-01-15 10:00")
    assert story.told() == [
        "2026-01-15 10:00 created",
        "2026-01-15 10:00 started",
        "2026-01-15 10:00 invoice_issued cycle 1: 1000, due 1000",
        "2026-01-15 10:00 payment_succeeded 1000 from visa",
        "2026-01-15 10:00 access_started",
    ]
    assert (story.state.status, story.state.access, story.due) == (Status.ACTIVE, Access.ACTIVE, "2026-02-15 10:00")
    assert story.entries("created")[0].actor == "agent"
    assert story.last("created") == {"starts_at": at("2026-01-15 10:00").isoformat()}


def test_a_start_in_the_future_waits() -> None:
    story = Story(now="2026-01-15 10:00", start_at=at("2026-02-01 08:00"))
    assert (story.state.status, story.state.access, story.due) == (Status.SCHEDULED, Access.NONE, "2026-02-01 08:00")
    assert next_step(story.state, story.now) == Wait(at("2026-02-01 08:00"), "the subscription starts")
    assert billed(story.until("2026-02-02 00:00")) == ["2026-02-01 1000"]


def test_a_start_that_is_cancelled_never_bills() -> None:
    story = Story(now="2026-01-15 10:00", start_at=at("2026-02-01 08:00")).does(Cancel()).until("2026-03-01 00:00")
    assert story.told("canceled") == ["2026-02-01 08:00 canceled"]
    assert not story.invoices


def test_fractions_of_a_second_do_not_count() -> None:
    start = at("2026-02-01 08:00") + timedelta(microseconds=900_000)
    assert Story(now="2026-01-15 10:00", start_at=start).state.started_at == at("2026-02-01 08:00")


def test_the_set_up_fee_is_billed_once() -> None:
    story = Story(price(setup_fee=250), now="2026-01-15 10:00").until("2026-03-01 00:00")
    assert [[line.amount for line in entry.lines] for entry in story.entries("invoice_issued")] == [[1000, 250], [1000]]
    assert story.entries("invoice_issued")[0].lines[1].description == "Set-up fee"


# --- trial


def test_a_free_trial_gives_access_and_moves_the_anchor() -> None:
    story = Story(price(trial_days=14), now="2026-01-15 10:00")
    assert (story.state.status, story.state.access, story.due) == (Status.TRIALING, Access.ACTIVE, "2026-01-29 10:00")
    story.until("2026-03-30 00:00")
    assert billed(story) == ["2026-01-29 1000", "2026-02-28 1000", "2026-03-29 1000"]
    assert story.told("trial_ended") == ["2026-01-29 10:00 trial_ended"]
    assert story.state.trial_end is None


def test_a_paid_trial_is_an_invoice_of_its_own() -> None:
    story = Story(price(trial_days=14, trial_amount=100, setup_fee=50), now="2026-01-15 10:00")
    assert (story.state.status, story.state.access) == (Status.TRIALING, Access.ACTIVE)
    story.until("2026-01-30 00:00")
    assert story.told("invoice_issued") == [
        "2026-01-15 10:00 invoice_issued trial 0: 100, due 100",
        "2026-01-29 10:00 invoice_issued cycle 1: 1050, due 1050",
    ]
    assert story.entries("invoice_issued")[0].lines[0].description == "Tea (trial)"


def test_a_paid_trial_that_is_not_paid_gives_no_access_until_it_is() -> None:
    story = Story(price(trial_days=14, trial_amount=100), now="2026-01-15 10:00", bank=Bank(["soft", "paid"]))
    assert (story.state.status, story.state.access) == (Status.OVERDUE, Access.NONE)
    story.until("2026-01-16 10:00")
    assert (story.state.status, story.state.access) == (Status.TRIALING, Access.ACTIVE)


def test_a_trial_paid_after_it_was_over_goes_straight_on() -> None:
    bank = Bank(["soft", "soft", "paid"])
    story = Story(price(trial_days=2, trial_amount=100), now="2026-01-15 10:00", bank=bank).until("2026-01-20 00:00")
    assert story.told("payment_succeeded", "trial_ended", "invoice_issued")[1:] == [
        "2026-01-19 09:00 payment_succeeded 100 from visa",
        "2026-01-19 09:00 trial_ended",
        "2026-01-19 09:00 invoice_issued cycle 1: 1000, due 1000",
        "2026-01-19 09:00 payment_succeeded 1000 from visa",
    ]
    assert story.state.trial_end is None


def test_with_calendar_billing_the_trial_keeps_the_calendar() -> None:
    story = Story(price(3000, trial_days=14, alignment=FIRST), now="2026-04-06 10:00").until("2026-06-02 00:00")
    assert billed(story) == ["2026-04-20 1100", "2026-05-01 3000", "2026-06-01 3000"]


# --- rebill and calendar


def test_day_31_is_clamped_and_restored() -> None:
    story = Story(now="2026-01-31 10:00").until("2026-06-01 00:00")
    assert [line[:10] for line in billed(story)] == [
        "2026-01-31", "2026-02-28", "2026-03-31", "2026-04-30", "2026-05-31",
    ]  # fmt: skip


def test_a_leap_day_comes_back() -> None:
    story = Story(price(interval=YEAR), now="2024-02-29 10:00").until("2028-03-01 00:00")
    assert [line[:10] for line in billed(story)] == [
        "2024-02-29", "2025-02-28", "2026-02-28", "2027-02-28", "2028-02-29",
    ]  # fmt: skip


def test_the_wall_time_is_kept_through_clock_changes() -> None:
    story = Story(price(interval=Interval(1, Unit.WEEK)), now="2026-03-20 10:00").until("2026-04-04 00:00")
    assert [story.clock(entry.at) for entry in story.entries("invoice_issued")] == [
        "2026-03-20 10:00", "2026-03-27 10:00", "2026-04-03 10:00",
    ]  # fmt: skip


def test_a_price_of_nothing_is_settled_without_a_card() -> None:
    story = Story(price(0), now="2026-01-15 10:00").until("2026-02-16 00:00")
    assert not story.bank.keys
    assert story.told("invoice_settled") == ["2026-01-15 10:00 invoice_settled", "2026-02-15 10:00 invoice_settled"]
    assert story.state.access is Access.ACTIVE


def test_credit_is_used_up_over_several_cycles() -> None:
    story = Story(now="2026-01-15 10:00").does(GrantCredit(2300, "EUR")).until("2026-05-01 00:00")
    assert story.told(*MONEY)[2:] == [
        "2026-02-15 10:00 invoice_issued cycle 2: 1000, due 0",
        "2026-03-15 10:00 invoice_issued cycle 3: 1000, due 0",
        "2026-04-15 10:00 invoice_issued cycle 4: 1000, due 700",
        "2026-04-15 10:00 payment_succeeded 700 from visa",
    ]
    assert story.balances["credit_given"] == 2300


# --- skip


def test_skipped_cycles_are_told_and_the_anchor_is_kept() -> None:
    story = Story(now="2026-01-15 10:00").does(Skip(2)).until("2026-04-16 00:00")
    assert billed(story) == ["2026-01-15 1000", "2026-04-15 1000"]
    assert story.told("cycle_skipped") == ["2026-02-15 10:00 cycle_skipped 2", "2026-03-15 10:00 cycle_skipped 3"]
    assert story.last("skip_planned") == {"cycles": 2, "first": 2}


def test_skips_add_up_and_are_taken_back() -> None:
    story = Story(now="2026-01-15 10:00").does(Skip(1)).does(Skip(1))
    assert (story.state.skip_cycles, story.last("skip_planned")["first"]) == (2, 3)
    assert billed(story.does(Skip(0)).until("2026-02-16 00:00"))[-1] == "2026-02-15 1000"
    assert story.last("skip_undone") == {"cycles": 2}


def test_a_skip_in_dunning_is_for_the_cycle_after_the_open_one() -> None:
    story = Story(now="2026-01-15 10:00").until("2026-02-14 00:00")
    story.bank.says("soft", "paid")
    story.until("2026-02-15 12:00").does(Skip(1)).until("2026-04-16 00:00")
    assert billed(story)[1:] == ["2026-02-15 1000", "2026-04-15 1000"]


def test_a_skip_while_paused_is_for_the_first_cycle_after_it() -> None:
    story = Story(now="2026-01-15 10:00").does(Pause(When.NOW)).does(Skip(1)).until("2026-02-20 10:00").does(Resume())
    assert billed(story.until("2026-03-21 00:00"))[1:] == ["2026-03-20 1000"]


# --- pause and resume


def test_a_pause_begins_with_the_period_s_end_and_a_new_period_with_resuming() -> None:
    story = Story(now="2026-01-15 10:00").does(Pause()).until("2026-02-14 00:00")
    assert (story.state.status, story.due) == (Status.ACTIVE, "2026-02-15 10:00")
    story.until("2026-03-20 09:00")
    assert (story.state.status, story.state.access, story.due) == (Status.PAUSED, Access.STOPPED, "never")
    story.does(Resume())
    assert billed(story) == ["2026-01-15 1000", "2026-03-20 1000"]
    assert (story.state.access, story.due) == (Access.ACTIVE, "2026-04-20 09:00")


def test_a_pause_with_an_end_resumes_by_itself() -> None:
    story = Story(now="2026-01-15 10:00").does(Pause(resume_at=at("2026-05-01 00:00"))).until("2026-05-02 00:00")
    assert story.told("paused", "resumed") == ["2026-02-15 10:00 paused", "2026-05-01 00:00 resumed"]
    assert billed(story)[-1] == "2026-05-01 1000"
    assert [entry.reason for entry in story.entries("resumed")] == ["the pause ended"]
    assert story.last("pause_asked") == {"when": "period_end", "begins_at": at("2026-02-15 10:00").isoformat()}
    assert story.last("paused") == {"until": at("2026-05-01 00:00").isoformat()}


def test_an_immediate_pause_gives_the_unused_days_back_once() -> None:
    story = Story(now="2026-04-01 10:00").until("2026-04-10 12:00").does(Pause(When.NOW))
    assert story.told("credit_granted") == ["2026-04-10 12:00 credit_granted 667"]  # 11 to 30 April
    story.does(Cancel(When.NOW))
    assert story.state.credit == 667


def test_a_pause_and_then_a_cancellation_with_credit_do_not_pay_twice() -> None:
    story = Story(now="2026-04-01 10:00").until("2026-04-10 12:00").does(Pause(When.NOW))
    assert story.last("pause_asked") == {"when": "now"}
    assert story.last("paused") == {"until": None}
    assert story.does(Cancel(When.NOW, RefundChoice.CREDIT)).state.credit == 667


def test_a_pause_that_has_not_begun_is_taken_back() -> None:
    story = Story(now="2026-01-15 10:00").does(Pause()).does(Resume()).until("2026-02-16 00:00")
    assert story.told("pause_undone", "paused") == ["2026-01-15 10:00 pause_undone"]
    assert billed(story)[-1] == "2026-02-15 1000"


def test_resuming_with_calendar_billing_begins_with_a_part() -> None:
    story = Story(price(3000, alignment=FIRST), now="2026-04-01 10:00").does(Pause()).until("2026-05-22 12:00")
    story.does(Resume()).until("2026-06-02 00:00")
    assert billed(story)[1:] == ["2026-05-22 968", "2026-06-01 3000"]  # 10 of 31 days


# --- cancel and restart


def test_cancelled_at_the_period_s_end_nothing_more_is_billed() -> None:
    story = Story(now="2026-01-15 10:00").does(Cancel(), reason="too dear").until("2026-03-01 00:00")
    assert story.told("canceled") == ["2026-02-15 10:00 canceled"]
    assert (story.entries("canceled")[0].actor, story.entries("canceled")[0].reason) == ("agent", "too dear")
    assert billed(story) == ["2026-01-15 1000"]
    assert (story.state.status, story.state.access) == (Status.CANCELED, Access.STOPPED)


def test_a_cancellation_is_taken_back_before_it_takes_effect() -> None:
    story = Story(now="2026-01-15 10:00").does(Cancel()).does(UndoCancel()).until("2026-03-01 00:00")
    assert billed(story) == ["2026-01-15 1000", "2026-02-15 1000"]


def test_a_cancellation_outlives_a_pause() -> None:
    story = Story(now="2026-01-15 10:00").does(Cancel()).does(Pause(When.NOW)).until("2026-03-01 00:00")
    assert story.told("paused", "canceled") == ["2026-01-15 10:00 paused", "2026-02-15 10:00 canceled"]


def test_resumed_before_its_cancellation_it_ends_with_the_new_period() -> None:
    story = Story(now="2026-01-15 10:00").does(Cancel()).does(Pause(When.NOW)).until("2026-01-20 10:00").does(Resume())
    assert story.until("2026-04-01 00:00").told("canceled") == ["2026-02-20 10:00 canceled"]


def test_the_same_subscription_begins_again() -> None:
    story = Story(now="2026-01-15 10:00").does(Skip(1)).does(ChangeTerms(price(400))).does(Cancel(When.NOW))
    story.until("2026-05-20 08:00").does(Restart()).until("2026-06-21 00:00")
    assert billed(story) == ["2026-01-15 1000", "2026-05-20 1000", "2026-06-20 1000"]
    assert [entry.data["cycle"] for entry in story.entries("invoice_issued")] == [1, 2, 3]
    assert story.told("restarted", "access_started")[1:] == [
        "2026-05-20 08:00 restarted",
        "2026-05-20 08:00 access_started",
    ]


def test_long_after_its_end_it_is_closed() -> None:
    story = Story(now="2026-01-15 10:00").does(Cancel(When.NOW))
    step = next_step(story.state, story.now)
    assert step == Wait(story.now + CANCELED_KEPT, "cancelled; may be restarted until then")
    assert next_step(story.state, story.now + CANCELED_KEPT - timedelta(seconds=1)) == step
    assert next_step(story.state, story.now + CANCELED_KEPT) == End()


# --- force


def test_a_forced_cycle_is_not_billed_again_when_it_falls_due() -> None:
    story = Story(now="2026-01-15 10:00").until("2026-02-01 12:00").does(ForceBill()).until("2026-03-16 00:00")
    assert billed(story) == ["2026-01-15 1000", "2026-02-01 1000", "2026-03-15 1000"]
    assert [entry.data["trigger"] for entry in story.entries("invoice_issued")] == ["due", "force_bill", "due"]


def test_forced_and_cancelled_in_one_moment_it_ends_with_what_was_billed() -> None:
    story = Story(now="2026-01-15 10:00").until("2026-02-01 12:00")
    story.order(ForceBill())
    story.does(Cancel()).until("2026-05-01 00:00")
    assert billed(story) == ["2026-01-15 1000", "2026-02-01 1000"]
    assert story.told("canceled") == ["2026-03-15 10:00 canceled"]


def test_forced_and_paused_in_one_moment_it_pauses_after_what_was_billed() -> None:
    story = Story(now="2026-01-15 10:00").until("2026-02-01 12:00")
    story.order(ForceBill())
    story.does(Pause()).until("2026-05-01 00:00")
    assert story.told("paused") == ["2026-03-15 10:00 paused"]


def test_forced_on_a_hold_placed_in_the_same_moment_it_waits_for_the_release() -> None:
    story = Story(now="2026-01-15 10:00").until("2026-02-01 12:00")
    story.order(ForceBill())
    story.does(PlaceHold("ops", at("2026-03-01 00:00"))).until("2026-02-10 12:00")
    assert billed(story) == ["2026-01-15 1000"]
    assert billed(story.does(ReleaseHold()))[-1] == "2026-02-10 1000"


# --- hold, outage, catch-up


@pytest.mark.parametrize(
    ("policy", "dates", "left_out"),
    [
        (CatchUp.BILL_EACH, ["2026-02-15", "2026-03-15", "2026-04-15"], []),
        (CatchUp.BILL_ONCE, ["2026-04-15"], ["2 from 2"]),
        (CatchUp.SKIP, [], ["3 from 2"]),
    ],
)
@pytest.mark.parametrize("cause", ["hold", "outage"])
def test_what_came_due_meanwhile_is_caught_up_by_the_policy(
    policy: CatchUp, dates: list[str], left_out: list[str], cause: str
) -> None:
    story = Story(price(catch_up=policy), now="2026-01-15 10:00")
    if cause == "hold":
        story.does(PlaceHold("ops", at("2026-12-01 00:00"))).until("2026-05-01 12:00").does(ReleaseHold())
    else:
        story.sleep_until("2026-05-01 12:00")
    starts = [str(entry.data["period_start"])[:10] for entry in story.entries("invoice_issued")][1:]
    assert starts == dates
    told = story.told("cycles_not_billed")
    assert told == [f"2026-05-01 12:00 cycles_not_billed {one}" for one in left_out]
    assert story.due == "2026-05-15 10:00"


@pytest.mark.parametrize("policy", list(CatchUp))
def test_a_day_late_is_not_late(policy: CatchUp) -> None:
    story = Story(price(catch_up=policy), now="2026-01-15 10:00").sleep_until("2026-02-16 10:00")
    assert billed(story)[1:] == ["2026-02-16 1000"]


@pytest.mark.parametrize(("policy", "invoices"), [(CatchUp.BILL_EACH, 2), (CatchUp.BILL_ONCE, 2), (CatchUp.SKIP, 1)])
def test_a_second_more_than_a_day_is_late(policy: CatchUp, invoices: int) -> None:
    story = Story(price(catch_up=policy), now="2026-01-15 10:00")
    story.now = at("2026-02-16 10:00") + timedelta(seconds=1)
    assert len(billed(story.settle())) == invoices
    assert len(story.told("cycles_not_billed")) == (2 - invoices)


def test_a_missed_part_of_a_period_counts_as_a_cycle() -> None:
    story = Story(
        price(3000, alignment=FIRST, catch_up=CatchUp.BILL_ONCE), now="2026-04-01 10:00",
        start_at=at("2026-04-20 10:00"),
    ).sleep_until("2026-06-10 12:00")  # fmt: skip
    assert billed(story) == ["2026-06-10 3000"]
    assert story.told("cycles_not_billed") == ["2026-06-10 12:00 cycles_not_billed 2 from 1"]
    assert story.last("invoice_issued")["cycle"] == 3


def test_a_part_of_a_period_that_still_runs_is_not_missed() -> None:
    story = Story(
        price(3000, alignment=FIRST, catch_up=CatchUp.BILL_ONCE), now="2026-04-01 10:00",
        start_at=at("2026-04-20 10:00"),
    ).sleep_until("2026-04-25 12:00")  # fmt: skip
    assert billed(story) == ["2026-04-25 1100"]


def test_a_hold_expires_by_itself_and_nothing_is_lost() -> None:
    story = Story(now="2026-01-15 10:00").does(PlaceHold("ops", at("2026-02-20 00:00")), reason="fraud check")
    assert next_step(story.state, story.now) == Wait(at("2026-02-20 00:00"), "the hold expires")
    story.until("2026-02-21 00:00")
    assert story.told("hold_expired") == ["2026-02-20 00:00 hold_expired"]
    assert billed(story)[-1] == "2026-02-20 1000"


def test_a_cancellation_that_fell_into_a_hold_takes_effect_at_its_end_and_bills_nothing() -> None:
    story = Story(now="2026-01-15 10:00").does(Cancel()).does(PlaceHold("ops", at("2026-05-01 00:00")))
    story.until("2026-05-02 00:00")
    assert story.told("canceled") == ["2026-05-01 00:00 canceled"]
    assert len(story.invoices) == 1


# --- billing runs


def test_an_external_trigger_bills_never_early_and_each_cycle_once() -> None:
    story = Story(now="2026-01-15 10:00", trigger=Trigger.EXTERNAL)
    assert (billed(story), story.due) == ([], "never")
    story.does(BillDue("a")).does(BillDue("b")).until("2026-02-15 09:59").does(BillDue("c"))
    assert billed(story) == ["2026-01-15 1000"]
    story.until("2026-02-15 10:00")
    assert billed(story) == ["2026-01-15 1000"]
    story.order(BillDue("d"))
    story.order(BillDue("e"))
    assert billed(story.settle()) == ["2026-01-15 1000", "2026-02-15 1000"]
    assert story.last("invoice_issued")["trigger"] == "billing_run"


def test_a_run_that_comes_late_bills_each_missed_cycle_in_order() -> None:
    story = Story(now="2026-01-15 10:00", trigger=Trigger.EXTERNAL).until("2026-04-01 00:00").does(BillDue("a"))
    assert [entry.data["cycle"] for entry in story.entries("invoice_issued")] == [1, 2, 3]
    assert next_step(story.state, story.now) == Wait(None, "cycle 4 waits for a billing run")


def test_what_a_run_asks_for_is_not_left_out_by_a_policy_for_outages() -> None:
    terms = price(catch_up=CatchUp.SKIP)
    story = Story(terms, now="2026-01-15 10:00", trigger=Trigger.EXTERNAL).until("2026-03-20 00:00").does(BillDue("a"))
    assert billed(story) == ["2026-03-20 1000"]
    assert story.told("cycles_not_billed") == ["2026-03-20 00:00 cycles_not_billed 2 from 1"]


def test_a_forced_cycle_is_not_left_out_either() -> None:
    terms = price(catch_up=CatchUp.SKIP)
    story = Story(terms, now="2026-01-15 10:00", trigger=Trigger.EXTERNAL).until("2026-01-20 00:00").does(ForceBill())
    assert billed(story) == ["2026-01-20 1000"]


def test_a_run_before_anything_is_due_leaves_no_mark() -> None:
    story = Story(now="2026-01-15 10:00", trigger=Trigger.EXTERNAL).does(BillDue("a")).does(BillDue("b"))
    assert story.state.triggered_at == at("2026-01-15 10:00")
    story.until("2026-01-20 00:00").does(BillDue("c"))
    assert story.state.triggered_at == at("2026-01-15 10:00")


def test_skips_and_notices_need_no_run() -> None:
    story = Story(now="2026-01-15 10:00", trigger=Trigger.EXTERNAL, notice_days=3).does(BillDue("a")).does(Skip(1))
    story.until("2026-03-13 00:00")
    assert story.told("cycle_skipped", "renewal_notice") == [
        "2026-02-15 10:00 cycle_skipped 2",
        "2026-03-12 10:00 renewal_notice 3: 1000",
    ]


# --- import


@pytest.mark.parametrize(
    ("cut_over", "first", "cycle"),
    [
        ("2026-03-15 10:00", "2026-03-15", 27),  # on a boundary: it is ours
        ("2026-03-15 09:59", "2026-03-15", 27),
        ("2026-03-15 10:01", "2026-04-15", 28),  # begun before: the old system billed it
        ("2026-03-01 00:00", "2026-03-15", 27),
    ],
)
def test_an_imported_subscription_never_bills_what_began_before_the_cut_over(
    cut_over: str, first: str, cycle: int
) -> None:
    terms = price(trial_days=14, setup_fee=500)
    story = Story(terms, now="2026-02-20 00:00", start_at=at("2024-01-15 10:00"), bill_from=at(cut_over))
    assert (story.state.status, story.state.access, story.state.paid_for_period) == (Status.ACTIVE, Access.ACTIVE, 1000)
    assert story.last("taken_over") == {"first_cycle": cycle}
    story.until("2026-04-16 00:00")
    assert billed(story)[0] == f"{first} 1000"
    assert story.entries("invoice_issued")[0].data["cycle"] == cycle


def test_an_imported_period_counts_as_paid() -> None:
    story = Story(now="2026-04-02 00:00", start_at=at("2024-04-01 10:00"), bill_from=at("2026-04-02 00:00"))
    story.until("2026-04-16 12:00").does(ChangeTerms(price(3000)))
    assert story.told(*MONEY) == [
        "2026-04-16 12:00 invoice_issued change 25: 1000, due 1000",
        "2026-04-16 12:00 payment_succeeded 1000 from visa",
    ]


def test_an_import_that_starts_after_the_cut_over_is_new() -> None:
    story = Story(price(trial_days=7), now="2026-04-02 00:00", bill_from=at("2026-04-01 00:00"))
    assert story.state.status is Status.TRIALING


def test_an_import_with_calendar_billing_never_bills_a_part() -> None:
    story = Story(
        price(3000, alignment=FIRST), now="2026-04-10 00:00", start_at=at("2026-01-20 10:00"),
        bill_from=at("2026-04-10 00:00"),
    ).until("2026-05-02 00:00")  # fmt: skip
    assert billed(story) == ["2026-05-01 3000"]


def test_a_cut_over_before_the_first_calendar_day_waits_for_it() -> None:
    story = Story(
        price(3000, alignment=FIRST), now="2026-01-22 00:00", start_at=at("2026-01-20 10:00"),
        bill_from=at("2026-01-21 00:00"),
    ).until("2026-02-02 00:00")  # fmt: skip
    assert billed(story) == ["2026-02-01 3000"]


# --- notices


def test_a_notice_names_date_and_amount() -> None:
    story = Story(price(setup_fee=100), now="2026-01-15 10:00", notice_days=5).until("2026-02-11 00:00")
    assert story.last("renewal_notice") == {
        "cycle": 2, "due_at": at("2026-02-15 10:00").isoformat(), "amount": 1000, "currency": "EUR",
    }  # fmt: skip
    assert story.told("renewal_notice") == ["2026-02-10 10:00 renewal_notice 2: 1000"]


def test_a_notice_tells_the_price_and_credit_of_that_day() -> None:
    story = Story(now="2026-01-15 10:00", notice_days=5).does(GrantCredit(150, "EUR"))
    story.does(ChangeTerms(price(400), When.PERIOD_END)).until("2026-02-15 11:00")
    assert story.last("renewal_notice")["amount"] == 250
    assert story.last("invoice_issued")["amount_due"] == 250


def test_a_notice_of_a_planned_interval_is_right_after_many_cycles() -> None:
    """A daily plan in its fourth year: the yearly price is not looked up a thousand years ahead."""
    daily = price(100, interval=Interval(1, Unit.DAY))
    story = Story(daily, now="2026-01-01 10:00", start_at=at("2022-01-01 10:00"), bill_from=at("2026-01-01 10:00"))
    story.does(ChangeTerms(price(9600, interval=YEAR), When.PERIOD_END)).does(SetNotice(1)).until("2026-01-02 11:00")
    assert story.told("renewal_notice", "invoice_issued")[-2:] == [
        "2026-01-01 10:00 renewal_notice 1463: 9600",
        "2026-01-02 10:00 invoice_issued cycle 1463: 9600, due 9600",
    ]


@pytest.mark.parametrize("command", [Cancel(), Pause(), Skip(1)])
def test_no_notice_of_a_renewal_that_will_not_come(command: Cancel | Pause | Skip) -> None:
    story = Story(now="2026-01-15 10:00", notice_days=5).does(command).until("2026-02-20 00:00")
    assert story.told("renewal_notice") == []


def test_a_notice_asked_for_late_is_sent_at_once_and_only_once() -> None:
    story = Story(now="2026-01-15 10:00").until("2026-02-13 12:00").does(SetNotice(5))
    assert story.told("renewal_notice") == ["2026-02-13 12:00 renewal_notice 2: 1000"]
    story.does(SetNotice(3)).until("2026-02-16 00:00")
    assert len(story.told("renewal_notice")) == 1
    story.does(SetNotice(0)).until("2026-04-01 00:00")
    assert len(story.told("renewal_notice")) == 1


def test_no_notice_when_it_would_come_with_the_charge() -> None:
    story = Story(now="2026-01-15 10:00", notice_days=5).sleep_until("2026-02-15 10:00")
    assert story.told("renewal_notice") == []


def test_a_notice_counts_the_lines_that_wait_and_never_goes_below_nothing() -> None:
    story = Story(now="2026-04-01 10:00", notice_days=1).does(ChangeDate(at("2026-05-10 10:00"), prorate=True))
    assert story.until("2026-05-10 11:00").last("renewal_notice")["amount"] == 1300
    assert story.does(GrantCredit(5000, "EUR")).until("2026-06-10 11:00").last("renewal_notice")["amount"] == 0


def test_terms_that_waited_change_once() -> None:
    story = Story(now="2026-04-01 10:00").does(ChangeTerms(price(400))).until("2026-07-02 00:00")
    assert story.told("terms_changed") == ["2026-05-01 10:00 terms_changed"]
    assert story.last("terms_changed") == {"price_id": "price_400", "amount": 400}
    assert story.state.change is None


def test_a_resumed_subscription_has_access_before_a_run_bills_it() -> None:
    story = Story(now="2026-01-15 10:00", trigger=Trigger.EXTERNAL).does(BillDue("a")).until("2026-01-20 10:00")
    story.does(Pause(When.NOW)).until("2026-01-25 10:00").does(Resume())
    assert (story.state.access, story.state.status, story.state.pause) == (Access.ACTIVE, Status.ACTIVE, None)


def test_a_trial_s_end_is_announced() -> None:
    story = Story(price(trial_days=14, setup_fee=50), now="2026-01-15 10:00", notice_days=2).until("2026-01-28 00:00")
    assert story.told("renewal_notice") == ["2026-01-27 10:00 renewal_notice 1: 1050"]


# --- facts that no longer fit


@pytest.mark.parametrize("what", ["retry", "cancel"])
def test_a_moment_that_no_longer_fits_changes_nothing(what: Literal["retry", "cancel"]) -> None:
    story = Story(now="2026-01-15 10:00")
    assert apply(story.state, TimePassed(what), story.now) == story.state


def test_a_cycle_is_not_opened_beside_an_open_invoice() -> None:
    story = Story(now="2026-01-15 10:00", bank=Bank(["soft"]))
    assert apply(story.state, TimePassed("open_cycle"), story.now) == story.state
    assert apply(story.state, TimePassed("retry"), story.now).collecting != story.state.collecting


def test_an_outcome_of_another_attempt_changes_nothing() -> None:
    story = Story(now="2026-01-15 10:00", bank=Bank(["soft"]))
    assert apply(story.state, Charged(1, 1000), story.now) == story.state
    settled = Story(now="2026-01-15 10:00")
    assert apply(settled.state, Charged(1, 1000), settled.now) == settled.state


def test_only_what_is_in_the_books_leaves_the_journal() -> None:
    story = Story(now="2026-01-15 10:00")
    story.order(Skip(1))
    story.order(Skip(1))
    first, second = story.state.journal
    assert apply(story.state, Recorded(first.seq), story.now).journal == (second,)
    assert apply(story.state, Recorded(second.seq), story.now).journal == ()
