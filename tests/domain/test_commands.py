"""What may be asked when: every command in every status, and what a refusal says."""

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

import pytest

from domain.calendar import Alignment
from domain.commands import (
    ALLOWED_IN,
    CHARGE_MINOR_MAX,
    CREDIT_MINOR_MAX,
    HOLD_TIME_MAX,
    NOTICE_DAYS_MAX,
    SKIP_CYCLES_MAX,
    allowed,
    handle,
)
from domain.discounts import Discount, DiscountSource
from domain.errors import InvalidInput, Refused
from domain.messages import (
    AddDiscount,
    BillDue,
    Cancel,
    ChangeDate,
    ChangeTerms,
    ChargeNow,
    CollectNow,
    Command,
    EndTrial,
    Envelope,
    ExtendTrial,
    ForceBill,
    GrantCredit,
    Pause,
    PlaceHold,
    RefundChoice,
    ReleaseHold,
    RemoveDiscount,
    Restart,
    RestartTrial,
    Resume,
    SetCustomer,
    SetNotice,
    SetTax,
    Skip,
    StopTrial,
    UndoCancel,
    When,
)
from domain.state import RECENT_COMMANDS_MAX, Access, Status
from domain.tax import TaxTerms
from domain.terms import AMOUNT_MINOR_MAX, QUANTITY_MAX, TRIAL_DAYS_MAX, EndAction, Trigger
from tests.domain.stories import Bank, Story, at, price

NOW = at("2026-01-20 10:00")

TENTH = Discount("tenth", "A tenth", DiscountSource.CUSTOMER, NOW, rate=10_000)

# A right command of each kind, for a subscription that began on 15 January 2026.
RIGHT: dict[str, Command] = {
    command.kind: command
    for command in (
        Skip(1), ExtendTrial(3), RestartTrial(5), EndTrial(), StopTrial(), ChangeTerms(price(2000), When.PERIOD_END),
        ChangeDate(at("2026-02-20 10:00")), ForceBill(), ChargeNow(100, "EUR", "Cup"), Pause(), Resume(), Cancel(),
        UndoCancel(), Restart(), GrantCredit(100, "EUR"), PlaceHold("ops", at("2026-03-01 10:00")), ReleaseHold(),
        CollectNow(), BillDue("run"), SetNotice(3), AddDiscount(TENTH), RemoveDiscount("tenth"),
        SetTax(TaxTerms(place="DE")), SetCustomer("cus_other", 0),
    )
}  # fmt: skip

ALWAYS = {"cancel", "grant_credit", "place_hold", "bill_due", "set_notice", "add_discount", "set_tax"} | {
    "set_customer"
}
RUNNING = ALWAYS | {"skip", "change_terms"}


def active() -> Story:
    return Story(now="2026-01-15 10:00").until("2026-01-20 10:00")


def failing(*answers: str, **policy: object) -> Story:
    bank = Bank(["paid"])
    bank.policy = replace(bank.policy, **policy)  # pyright: ignore[reportArgumentType] - fields by name
    story = Story(now="2025-12-20 10:00", bank=bank)
    bank.says(*answers)
    return story.until("2026-01-20 10:00")


def trialing(alignment: Alignment | None = None) -> Story:
    return Story(price(trial_days=30, alignment=alignment), now="2026-01-15 10:00").until("2026-01-20 10:00")


SITUATIONS: dict[str, tuple[Callable[[], Story], set[str]]] = {
    "scheduled": (
        lambda: Story(now="2026-01-15 10:00", start_at=at("2026-02-01 10:00")).until("2026-01-20 10:00"),
        ALWAYS | {"change_terms"},
    ),
    "in trial": (
        trialing,
        ALWAYS | {"change_terms", "extend_trial", "restart_trial", "end_trial", "stop_trial", "charge_now"},
    ),
    "active": (active, RUNNING | {"change_date", "force_bill", "charge_now", "pause"}),
    "active, with a trial in its price": (
        lambda: Story(price(trial_days=2), now="2026-01-15 10:00").until("2026-01-20 10:00"),
        RUNNING | {"change_date", "force_bill", "charge_now", "pause", "restart_trial"},
    ),
    "active, to be paused": (
        lambda: active().does(Pause()),
        RUNNING | {"change_date", "charge_now", "resume"},
    ),
    "active, to be cancelled": (
        lambda: active().does(Cancel()),
        RUNNING | {"change_date", "charge_now", "pause", "undo_cancel"},
    ),
    "active, to be skipped": (
        lambda: active().does(Skip(1)),
        RUNNING | {"change_date", "charge_now", "pause"},
    ),
    "active, on hold": (
        lambda: active().does(PlaceHold("ops", at("2026-03-01 10:00"))),
        (RUNNING | {"change_date", "pause", "release_hold"}) - {"place_hold"},
    ),
    "active, waiting for its first run": (
        lambda: Story(now="2026-01-15 10:00", trigger=Trigger.EXTERNAL).until("2026-01-20 10:00"),
        RUNNING | {"force_bill", "charge_now", "pause"},
    ),
    "parked": (lambda: failing("down"), RUNNING | {"force_bill", "collect_now"}),
    "unknown": (lambda: failing("lost"), RUNNING),
    "to be confirmed": (lambda: failing("action"), RUNNING),
    "overdue": (lambda: failing("soft"), RUNNING | {"force_bill", "collect_now"}),
    "overdue, on hold": (
        lambda: failing("soft").does(PlaceHold("ops", at("2026-03-01 10:00"))),
        (RUNNING | {"collect_now", "release_hold"}) - {"place_hold"},
    ),
    "paused": (
        lambda: active().does(Pause(When.NOW)),
        ALWAYS | {"skip", "resume", "charge_now"},
    ),
    "paused by dunning": (
        lambda: failing("soft", retries=(), end_action=EndAction.PAUSE),
        ALWAYS | {"skip", "force_bill", "collect_now"},
    ),
    "cancelled": (lambda: active().does(Cancel(When.NOW)), {"restart", "set_notice", "set_tax", "set_customer"}),
}


@pytest.mark.parametrize("situation", SITUATIONS)
def test_what_is_allowed_is_taken_and_all_else_is_refused(situation: str) -> None:
    begin, expected = SITUATIONS[situation]
    story = begin()
    assert set(allowed(story.state, story.now)) == expected
    for kind, command in RIGHT.items():
        envelope = Envelope(f"try {kind}", command, "agent", "asked")
        if kind in expected:
            assert handle(story.state, envelope, story.now).recent_commands[-1] == f"try {kind}"
        else:
            with pytest.raises(Refused) as refusal:
                handle(story.state, envelope, story.now)
            assert refusal.value.allowed == allowed(story.state, story.now)
            assert refusal.value.code
            assert len(refusal.value.message) > 20


def test_every_command_has_its_row() -> None:
    assert list(RIGHT) == list(ALLOWED_IN)
    story = active()
    kinds = allowed(story.state, story.now)
    assert kinds == tuple(kind for kind in ALLOWED_IN if kind in kinds)


@pytest.mark.parametrize(
    ("situation", "command", "code"),
    [
        ("cancelled", Skip(1), "not_while_canceled"),
        ("in trial", ForceBill(), "not_while_trialing"),
        ("active", RestartTrial(), "no_trial"),
        ("active", CollectNow(), "nothing_to_collect"),
        ("active", Resume(), "not_paused"),
        ("active", UndoCancel(), "not_canceling"),
        ("active", ReleaseHold(), "not_on_hold"),
        ("active, on hold", PlaceHold("ops", at("2026-03-01 10:00")), "on_hold"),
        ("active, on hold", ForceBill(), "on_hold"),
        ("active, on hold", ChargeNow(1, "EUR", "Cup"), "on_hold"),
        ("overdue, on hold", ForceBill(), "on_hold"),
        ("active, to be paused", Pause(), "pause_planned"),
        ("active, to be paused", ForceBill(), "pause_planned"),
        ("active, to be cancelled", ForceBill(), "cancel_planned"),
        ("active, to be skipped", ForceBill(), "skip_planned"),
        ("active, waiting for its first run", ChangeDate(at("2026-02-20 10:00")), "no_period"),
        ("paused", ForceBill(), "nothing_to_bill"),
        ("paused by dunning", Resume(), "payment_open"),
        ("parked", ChangeDate(at("2026-02-20 10:00")), "payment_open"),
        ("overdue", Pause(), "payment_open"),
        ("parked", ChargeNow(1, "EUR", "Cup"), "payment_open"),
        ("unknown", ForceBill(), "outcome_open"),
        ("to be confirmed", CollectNow("visa"), "outcome_open"),
    ],
)
def test_a_refusal_has_a_stable_code(situation: str, command: Command, code: str) -> None:
    story = SITUATIONS[situation][0]()
    if code == "payment_open" and isinstance(command, Pause):
        story.state = replace(story.state, status=Status.ACTIVE)  # overdue has a code of its own
    with pytest.raises(Refused) as refusal:
        story.does(command)
    assert refusal.value.code == code


def test_a_refusal_names_command_and_status() -> None:
    with pytest.raises(Refused, match=r"^end trial is not possible while the subscription is active$"):
        active().does(EndTrial())


# --- values


@pytest.mark.parametrize(
    ("situation", "command", "field"),
    [
        ("active", Skip(-1), "cycles"),
        ("active", Skip(SKIP_CYCLES_MAX + 1), "cycles"),
        ("active, to be skipped", Skip(SKIP_CYCLES_MAX), "cycles"),
        ("in trial", ExtendTrial(0), "days"),
        ("in trial", ExtendTrial(TRIAL_DAYS_MAX + 1), "days"),
        ("in trial", ExtendTrial(TRIAL_DAYS_MAX), "days"),  # it would end later than that from now
        ("in trial", RestartTrial(0), "days"),
        ("in trial", RestartTrial(TRIAL_DAYS_MAX + 1), "days"),
        ("active", SetNotice(-1), "days"),
        ("active", SetNotice(NOTICE_DAYS_MAX + 1), "days"),
        ("active", GrantCredit(0, "EUR"), "amount"),
        ("active", GrantCredit(CREDIT_MINOR_MAX + 1, "EUR"), "amount"),
        ("active", GrantCredit(1, "USD"), "currency"),
        ("active", ChargeNow(0, "EUR", "Cup"), "amount"),
        ("active", ChargeNow(CHARGE_MINOR_MAX + 1, "EUR", "Cup"), "amount"),
        ("active", ChargeNow(1, "USD", "Cup"), "currency"),
        ("active", Pause(When.NOW, NOW), "resume_at"),
        ("active", Pause(When.PERIOD_END, at("2026-02-15 10:00")), "resume_at"),
        ("active", PlaceHold("ops", NOW), "expires_at"),
        ("active", PlaceHold("ops", NOW + HOLD_TIME_MAX + timedelta(seconds=1)), "expires_at"),
        ("active", ChangeTerms(price(1, currency="USD")), "price_id"),
    ],
)
def test_a_wrong_value_is_named_and_changes_nothing(situation: str, command: Command, field: str) -> None:
    story = SITUATIONS[situation][0]()
    before = story.state
    with pytest.raises(InvalidInput) as refusal:
        story.does(command)
    assert refusal.value.field == field
    assert story.state is before


@pytest.mark.parametrize(
    "command", [GrantCredit(1, "USD"), ChargeNow(1, "USD", "Cup"), ChangeTerms(price(1, currency="USD"))]
)
def test_another_currency_has_a_code_of_its_own(command: Command) -> None:
    with pytest.raises(InvalidInput, match=r"^the subscription is billed in EUR$") as refusal:
        active().does(command)
    assert refusal.value.code == "currency_mismatch"


@pytest.mark.parametrize(
    ("situation", "command", "words"),
    [
        ("active", Skip(-1), "must be 0 to 120"),
        ("active", Pause(When.NOW, NOW), "must be in the future"),
        ("active", Pause(When.PERIOD_END, at("2026-02-15 10:00")), "must be after the pause begins, 2026-02-15T09"),
        ("active", PlaceHold("ops", NOW), "must be in the future, at most 366 days from now"),
        ("in trial", ExtendTrial(TRIAL_DAYS_MAX), "the trial would then end more than 730 days from now"),
    ],
)
def test_a_wrong_value_is_told_by_its_rule(situation: str, command: Command, words: str) -> None:
    with pytest.raises(InvalidInput, match=f"^{words}"):
        SITUATIONS[situation][0]().does(command)


@pytest.mark.parametrize(
    ("situation", "command"),
    [
        ("active", Skip(SKIP_CYCLES_MAX)),
        ("active", Skip(1)),
        ("in trial", ExtendTrial(1)),
        ("in trial", RestartTrial(1)),
        ("active", GrantCredit(1, "EUR")),
        ("active", ChargeNow(1, "EUR", "Cup")),
        ("active", SetNotice(0)),
        ("in trial", RestartTrial(TRIAL_DAYS_MAX)),
        ("in trial", ExtendTrial(TRIAL_DAYS_MAX - 25)),
        ("active", SetNotice(NOTICE_DAYS_MAX)),
        ("active", GrantCredit(CREDIT_MINOR_MAX, "EUR")),
        ("active", ChargeNow(CHARGE_MINOR_MAX, "EUR", "Cup")),
        ("active", PlaceHold("ops", NOW + HOLD_TIME_MAX)),
        ("active", PlaceHold("ops", NOW + timedelta(seconds=1))),
        ("active", Pause(When.NOW, NOW + timedelta(seconds=1))),
        ("active", Pause(When.PERIOD_END, at("2026-02-15 10:00") + timedelta(seconds=1))),
    ],
)
def test_the_last_value_that_is_right(situation: str, command: Command) -> None:
    story = SITUATIONS[situation][0]()
    story.order(command)
    assert story.state.recent_commands


def test_credit_is_limited_as_a_whole() -> None:
    story = active().does(GrantCredit(1, "EUR"))
    with pytest.raises(InvalidInput, match=f"1 to {CREDIT_MINOR_MAX}"):
        story.does(GrantCredit(CREDIT_MINOR_MAX, "EUR"))


def test_a_hold_needs_a_reason() -> None:
    with pytest.raises(InvalidInput) as refusal:
        active().does(PlaceHold("ops", at("2026-03-01 10:00")), reason="")
    assert refusal.value.field == "reason"


@pytest.mark.parametrize(
    "terms",
    [
        {"quantity": 0}, {"quantity": QUANTITY_MAX + 1}, {"trial_days": -1}, {"trial_days": TRIAL_DAYS_MAX + 1},
        {"setup_fee": -1}, {"trial_amount": -1}, {"unit_amount": -1}, {"setup_fee": AMOUNT_MINOR_MAX + 1},
        {"trial_amount": AMOUNT_MINOR_MAX + 1}, {"unit_amount": AMOUNT_MINOR_MAX // 2 + 1, "quantity": 2},
        {"currency": "XXY"},
    ],
)  # fmt: skip
def test_terms_that_cannot_be(terms: dict[str, object]) -> None:
    with pytest.raises(InvalidInput) as refusal:
        price(**terms)  # pyright: ignore[reportArgumentType] - fields by name
    assert refusal.value.field in {*terms, "unit_amount"}


def test_the_largest_terms() -> None:
    most = price(AMOUNT_MINOR_MAX // QUANTITY_MAX, quantity=QUANTITY_MAX, setup_fee=AMOUNT_MINOR_MAX, trial_days=730)
    assert most.price.minor == AMOUNT_MINOR_MAX


# --- identity


def test_a_command_seen_before_changes_nothing_also_where_it_would_be_refused() -> None:
    story = active().does(GrantCredit(100, "EUR"), key="a").does(GrantCredit(100, "EUR"), key="a")
    assert story.state.credit == 100
    story.does(Cancel(When.NOW), key="b").does(Cancel(When.NOW), key="b")
    assert len(story.told("canceled")) == 1


def test_the_last_commands_are_remembered_and_no_more() -> None:
    story = active()
    for n in range(RECENT_COMMANDS_MAX + 1):
        story.does(SetNotice(n), key=f"k{n}")
    assert story.state.recent_commands == tuple(f"k{n}" for n in range(1, RECENT_COMMANDS_MAX + 1))


def test_a_command_for_a_cycle_that_has_passed_is_refused() -> None:
    story = active()
    handle(story.state, Envelope("a", ForceBill(), "agent", expected_cycle=2), story.now)
    with pytest.raises(Refused, match="meant for cycle 1; the next cycle is 2") as refusal:
        handle(story.state, Envelope("b", ForceBill(), "agent", expected_cycle=1), story.now)
    assert (refusal.value.code, refusal.value.allowed) == ("cycle_passed", allowed(story.state, story.now))


def test_who_and_why_are_on_the_timeline() -> None:
    commands = (
        Skip(1), Skip(0), ChangeTerms(price(2000), When.PERIOD_END), ChangeTerms(price(500), When.NOW), Pause(),
        Resume(), Cancel(), UndoCancel(), GrantCredit(100, "EUR"), SetNotice(2), ChargeNow(100, "EUR", "Cup"),
        ChangeDate(at("2026-03-10 10:00")), PlaceHold("ops", at("2026-03-01 10:00")), ReleaseHold(), ForceBill(),
        Pause(When.NOW), Resume(), Cancel(When.NOW, RefundChoice.CREDIT), Restart(), StopTrial(),
    )  # fmt: skip
    story = active()
    known = len(story.timeline)
    for command in commands[:-1]:
        story.does(command, reason="because")
    asked = [entry for entry in story.timeline[known:] if entry.actor != "system"]
    assert {entry.actor for entry in asked} == {"agent"}
    assert {entry.reason for entry in asked} == {"because"}
    assert {entry.kind for entry in asked} == {
        "skip_planned",
        "skip_undone",
        "change_planned",
        "terms_changed",
        "pause_asked",
        "pause_undone",
        "cancel_planned",
        "cancel_undone",
        "credit_granted",
        "notice_set",
        "charge_asked",
        "date_changed",
        "hold_placed",
        "hold_released",
        "force_asked",
        "resumed",
        "canceled",
        "restarted",
    }


# --- trials


def test_a_trial_is_extended_and_the_anchor_moves() -> None:
    story = trialing().does(ExtendTrial(3))
    assert story.due == "2026-02-17 10:00"
    assert story.told("trial_moved") == ["2026-01-20 10:00 trial_moved"]
    assert story.last("trial_moved") == {"until": at("2026-02-17 10:00").isoformat()}


def test_a_cancellation_planned_for_the_trial_s_end_moves_with_it() -> None:
    story = trialing().does(Cancel()).does(ExtendTrial(3)).until("2026-03-01 00:00")
    assert story.told("canceled") == ["2026-02-17 10:00 canceled"]
    assert not story.invoices


def test_a_trial_begins_again() -> None:
    assert trialing().does(RestartTrial()).due == "2026-02-19 10:00"
    assert trialing().does(RestartTrial(5)).due == "2026-01-25 10:00"


def test_a_trial_begins_again_in_mid_life_and_the_anchor_moves() -> None:
    story = SITUATIONS["active, with a trial in its price"][0]()
    story.does(RestartTrial())
    assert (story.state.status, story.state.access, story.due) == (Status.TRIALING, Access.ACTIVE, "2026-01-22 10:00")
    story.until("2026-02-23 00:00")
    assert [line[:10] for line in story.told("invoice_issued")] == ["2026-01-17", "2026-01-22", "2026-02-22"]


def test_a_pause_planned_before_a_new_trial_can_be_taken_back() -> None:
    story = SITUATIONS["active, with a trial in its price"][0]()
    story.does(Pause()).does(RestartTrial())
    assert "resume" in allowed(story.state, story.now)
    assert story.until("2026-01-23 00:00").told("paused") == ["2026-01-22 10:00 paused"]


def restarted() -> Story:
    """Cancelled on 22 January with a paid period, begun again the day after; no run has billed it yet."""
    story = Story(price(trial_days=7), now="2026-01-15 10:00", trigger=Trigger.EXTERNAL).until("2026-01-22 10:00")
    story.does(BillDue("r")).does(Cancel(When.NOW)).until("2026-01-23 10:00")
    return story.does(Restart())


def test_who_begins_again_has_nothing_of_the_old_period() -> None:
    state = restarted().state
    assert (state.status, state.access, state.ended_at, state.trial_end) == (Status.ACTIVE, Access.NONE, None, None)
    assert (state.period, state.part_of, state.paid_for_period, state.cycle) == (None, None, 0, 2)
    in_trial = trialing().does(Cancel(When.NOW)).does(Restart()).state
    assert (in_trial.trial_end, in_trial.status) == (None, Status.ACTIVE)


def test_a_trial_for_who_had_no_access_yet_gives_it() -> None:
    story = restarted().does(RestartTrial())
    assert (story.state.access, story.state.status) == (Access.ACTIVE, Status.TRIALING)


def test_a_skip_planned_before_a_new_trial_ends_it_unbilled() -> None:
    story = SITUATIONS["active, with a trial in its price"][0]()
    story.does(Skip(1)).does(RestartTrial()).until("2026-01-23 00:00")
    assert (story.state.status, story.state.trial_end, story.due) == (Status.ACTIVE, None, "2026-02-22 10:00")


def test_a_trial_ends_now_and_bills() -> None:
    story = trialing().does(EndTrial())
    assert story.told("trial_ended_early", "trial_ended", "invoice_issued") == [
        "2026-01-20 10:00 trial_ended_early",
        "2026-01-20 10:00 trial_ended",
        "2026-01-20 10:00 invoice_issued cycle 1: 1000, due 1000",
    ]
    assert story.due == "2026-02-20 10:00"


def test_a_trial_that_ends_now_takes_a_planned_cancellation_to_the_end_of_what_it_bills() -> None:
    story = trialing().does(Cancel()).does(EndTrial()).until("2026-04-01 00:00")
    assert len(story.invoices) == 1
    assert story.told("canceled") == ["2026-02-20 10:00 canceled"]


def test_a_trial_is_stopped_without_billing() -> None:
    story = trialing().does(StopTrial(), reason="not for me")
    assert (story.state.status, story.state.access, story.invoices) == (Status.CANCELED, Access.STOPPED, {})
    assert story.entries("canceled")[0].reason == "not for me"


def test_a_trial_given_in_mid_life_is_stopped_without_giving_anything_back() -> None:
    story = SITUATIONS["active, with a trial in its price"][0]().does(RestartTrial()).does(StopTrial())
    assert (story.state.status, story.state.credit) == (Status.CANCELED, 0)


def test_a_paid_trial_ends_now_while_its_invoice_is_open() -> None:
    bank = Bank(["lost", "paid"])
    story = Story(price(trial_days=14, trial_amount=100), now="2026-01-15 10:00", bank=bank).does(EndTrial())
    story.until("2026-01-15 10:01")
    assert story.told("invoice_issued", "trial_ended") == [
        "2026-01-15 10:00 invoice_issued trial 0: 100, due 100",
        "2026-01-15 10:00 trial_ended",
        "2026-01-15 10:00 invoice_issued cycle 1: 1000, due 1000",
    ]


def test_with_calendar_billing_an_ended_trial_bills_the_part() -> None:
    story = trialing(Alignment(day_of_month=1)).does(EndTrial())
    assert story.last("invoice_issued")["total"] == 387  # 12 of 31 days
    assert story.due == "2026-02-01 10:00"


# --- force, cancel, pending lines


def test_one_cycle_ahead_is_the_most() -> None:
    story = active().does(ForceBill())
    with pytest.raises(Refused, match="2026-02-15T09:00:00") as refusal:
        story.does(ForceBill())
    assert refusal.value.code == "billed_ahead"
    assert "force_bill" not in refusal.value.allowed
    story.until("2026-02-15 10:00").does(ForceBill())
    assert [entry.data["cycle"] for entry in story.entries("invoice_issued")] == [1, 2, 3]


def test_a_forced_invoice_that_is_overdue_is_tried_by_hand() -> None:
    story = failing("soft", "paid").does(ForceBill())
    assert story.last("collection_asked")["trigger"] == "force_bill"
    assert story.state.status is Status.ACTIVE


def test_cancelling_with_credit_gives_back_what_is_unused() -> None:
    story = Story(now="2026-04-01 10:00").until("2026-04-16 18:00").does(Cancel(When.NOW, RefundChoice.CREDIT))
    assert story.told("credit_granted") == ["2026-04-16 18:00 credit_granted 467"]
    assert story.last("credit_granted") == {"amount": 467, "currency": "EUR", "source": "unused", "balance": 467}
    assert story.balances["revenue"] == -533


def test_cancelling_on_the_last_day_gives_nothing_back() -> None:
    story = Story(now="2026-04-01 10:00").until("2026-04-30 12:00").does(Cancel(When.NOW, RefundChoice.CREDIT))
    assert story.told("credit_granted") == []


def test_credit_outlives_a_cancellation_and_is_used_after_a_restart() -> None:
    story = active().does(GrantCredit(300, "EUR")).does(Cancel(When.NOW)).does(Restart())
    assert story.last("invoice_issued")["amount_due"] == 700


def test_a_charge_that_still_waited_for_an_invoice_is_not_made_after_the_end() -> None:
    story = active().does(ChangeDate(at("2026-03-01 10:00"), prorate=True)).does(Cancel(When.NOW)).does(Restart())
    assert story.last("invoice_issued")["total"] == 1000


def test_a_paused_subscription_is_cancelled_at_once() -> None:
    story = active().does(Pause(When.NOW)).does(Cancel())
    assert story.state.status is Status.CANCELED


def test_cancelled_at_the_period_s_end_where_the_period_is_over_it_ends_at_once() -> None:
    story = Story(now="2026-01-15 10:00", trigger=Trigger.EXTERNAL).does(BillDue("r")).until("2026-02-20 00:00")
    assert story.does(Cancel()).state.status is Status.CANCELED
    story = Story(now="2026-01-15 10:00", trigger=Trigger.EXTERNAL).does(BillDue("r")).until("2026-02-20 00:00")
    assert story.does(Pause()).state.status is Status.PAUSED


def test_two_commands_in_one_moment_are_both_done() -> None:
    story = active()
    story.order(GrantCredit(300, "EUR"))
    story.order(ForceBill())
    story.settle()
    assert story.last("invoice_issued")["amount_due"] == 700


def test_instants_are_whole_seconds_whatever_is_asked() -> None:
    odd = at("2026-03-01 10:00") + timedelta(microseconds=999_999)
    story = active().does(PlaceHold("ops", odd)).does(Pause(resume_at=odd)).does(ChangeDate(odd))
    assert story.state.hold is not None
    assert story.state.pause is not None
    assert story.state.hold.expires_at == story.state.pause.resumes_at == story.state.pause.begins_at
    assert story.state.pause.begins_at == at("2026-03-01 10:00")


def test_an_instant_without_a_zone_is_refused() -> None:
    naive = at("2026-03-01 10:00").replace(tzinfo=None)
    for command in (PlaceHold("ops", naive), Pause(resume_at=naive), ChangeDate(naive)):
        with pytest.raises(InvalidInput):
            active().does(command)


def test_notices_set_are_told() -> None:
    story = active().does(SetNotice(3))
    assert (story.state.notice_days, story.last("notice_set")) == (3, {"days": 3})
