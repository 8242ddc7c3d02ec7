"""What follows a failed payment, told by day; the worked example of docs/dunning.md is recomputed here."""

from dataclasses import replace

import pytest

from domain.calendar import Interval, Unit
from domain.dunning import retry_at, round_failed
from domain.errors import Broken, InvalidInput, Refused
from domain.messages import Cancel, ChangeTerms, CollectNow, ForceBill, Pause, PlaceHold, ReleaseHold, When
from domain.state import Access, Phase, Status
from domain.terms import (
    DEFAULT_DUNNING,
    GRACE_DAYS_MAX,
    RETRIES_MAX,
    RETRY_GAP_DAYS_MAX,
    DunningTerms,
    EndAction,
    Retry,
    RetryMessage,
)
from tests.domain.doc_tables import rows
from tests.domain.stories import BERLIN, Bank, Story, at, price

SHORT = DunningTerms("short", "short", (Retry(1, 9), Retry(3, 18, RetryMessage.FINAL_NOTICE)), 2, EndAction.CANCEL)
DUNNING = (
    "payment_declined",
    "dunning_started",
    "dunning_exhausted",
    "grace_started",
    "access_stopped",
    "canceled",
    "invoice_written_off",
)


def failing(*answers: str, policy: DunningTerms = SHORT, methods: tuple[str, ...] = ("visa",)) -> Story:
    """January is paid; February (due on the 15th at ten) meets these answers."""
    story = Story(now="2026-01-15 10:00", bank=Bank(["paid"], methods, policy))
    story.bank.says(*answers)
    return story.until("2026-02-15 10:00")


def paid_again(story: Story) -> list[str]:
    return [line[:16] for line in story.told("payment_succeeded")]


# --- dates of retries


@pytest.mark.parametrize(
    ("after_days", "hour", "last", "due"),
    [
        (1, 9, "2026-02-15 10:00", "2026-02-16 09:00"),
        (3, 18, "2026-02-16 09:00", "2026-02-19 18:00"),
        (0, 18, "2026-02-15 10:00", "2026-02-15 18:00"),
        (0, 9, "2026-02-15 10:00", "2026-02-16 09:00"),  # the hour has passed: tomorrow
        (0, 10, "2026-02-15 10:00", "2026-02-16 10:00"),  # this very hour has come: tomorrow
        (1, 2, "2026-03-28 10:00", "2026-03-29 03:00"),  # a wall time that the night leaves out
        (1, 0, "2026-02-28 23:59", "2026-03-01 00:00"),
    ],
)
def test_a_retry_is_so_many_local_days_after_the_last_attempt(after_days: int, hour: int, last: str, due: str) -> None:
    policy = replace(SHORT, retries=(Retry(after_days, hour),))
    assert retry_at(policy, 0, at(last), BERLIN) == at(due)
    assert retry_at(policy, 1, at(last), BERLIN) is None


def test_days_count_from_the_attempt_before_and_not_from_the_first() -> None:
    """Retry 1 on the 16th; the gateway is down until the 17th, so retry 2 counts from there."""
    story = failing("soft", *["down"] * 26, "soft", "soft").until("2026-02-25 00:00")
    declined = [line[:16] for line in story.told("payment_declined")]
    assert declined[0] == "2026-02-15 10:00"
    assert declined[1].startswith("2026-02-17 ")
    assert declined[2] == "2026-02-20 18:00"


# --- the way down


def test_every_retry_fails_and_the_subscription_ends() -> None:
    story = failing("soft").until("2026-03-20 00:00")
    assert story.told(*DUNNING) == [
        "2026-02-15 10:00 payment_declined 1000 from visa: insufficient_funds",
        "2026-02-15 10:00 dunning_started",
        "2026-02-15 10:00 grace_started",
        "2026-02-16 09:00 payment_declined 1000 from visa: insufficient_funds",
        "2026-02-17 10:00 access_stopped",
        "2026-02-19 18:00 payment_declined 1000 from visa: insufficient_funds",
        "2026-02-19 18:00 dunning_exhausted cancel",
        "2026-02-19 18:00 invoice_written_off 1000",
        "2026-02-19 18:00 canceled",
    ]
    assert story.balances["bad_debt"] == 1000
    assert story.last("canceled") == {}
    assert story.entries("canceled")[0].reason == "dunning ended without payment"
    assert [entry.actor for entry in story.entries("canceled")] == ["system"]


def test_the_exhausted_policy_may_pause_and_a_new_card_goes_on_at_the_anchor() -> None:
    story = failing("soft", policy=replace(SHORT, end_action=EndAction.PAUSE)).until("2026-04-20 12:00")
    assert (story.state.status, story.state.access) == (Status.PAUSED, Access.STOPPED)
    assert story.due == "never"
    story.bank.says("paid")
    story.does(CollectNow("master", "card_update"))
    # March was never delivered; the cycle of 15 April is.
    assert story.told("cycles_not_billed", "invoice_issued")[-2:] == [
        "2026-04-20 12:00 cycles_not_billed 1 from 3",
        "2026-04-20 12:00 invoice_issued cycle 4: 1000, due 1000",
    ]
    assert (story.state.status, story.state.access, story.due) == (Status.ACTIVE, Access.ACTIVE, "2026-05-15 10:00")


def test_the_exhausted_policy_may_leave_it_overdue() -> None:
    story = failing("soft", policy=replace(SHORT, end_action=EndAction.STAY_OVERDUE)).until("2026-06-20 12:00")
    assert (story.state.status, story.state.access, story.due) == (Status.OVERDUE, Access.STOPPED, "never")
    assert len(story.invoices) == 2
    story.bank.says("paid")
    story.does(CollectNow())
    assert story.told("cycles_not_billed", "dunning_ended")[-2:] == [
        "2026-06-20 12:00 dunning_ended",
        "2026-06-20 12:00 cycles_not_billed 3 from 3",
    ]
    assert story.due == "2026-07-15 10:00"


def test_paid_before_the_next_cycle_nothing_was_missed() -> None:
    story = failing("soft", policy=replace(SHORT, end_action=EndAction.STAY_OVERDUE)).until("2026-03-01 12:00")
    story.bank.says("paid")
    assert story.does(CollectNow()).told("cycles_not_billed") == []
    assert story.due == "2026-03-15 10:00"


def test_a_pause_that_ends_dunning_ends_grace_too() -> None:
    patient = replace(SHORT, grace_days=90, end_action=EndAction.PAUSE)
    story = Story(now="2026-01-15 10:00", bank=Bank(["paid"], policy=patient))
    story.bank.says("soft")
    story.until("2026-02-19 18:00")
    assert (story.state.access, story.state.grace_until, story.state.pause) == (Access.STOPPED, None, None)
    assert story.last("paused") == {"why": "dunning ended without payment"}
    invoice = story.last("invoice_issued")["invoice_id"]
    assert story.last("dunning_exhausted") == {"invoice_id": invoice, "end_action": "pause"}
    assert story.until("2026-06-01 00:00").told("access_stopped") == []


def test_a_pause_by_dunning_does_not_end_with_one_that_was_planned_before() -> None:
    """A pause until May is planned; an upgrade before it is never paid: dunning pauses, and May changes nothing."""
    story = Story(now="2026-01-15 10:00", bank=Bank(["paid"], policy=replace(SHORT, end_action=EndAction.PAUSE)))
    story.does(Pause(resume_at=at("2026-05-01 00:00")))
    story.bank.says("soft")
    story.does(ChangeTerms(price(3000))).until("2026-06-01 00:00")
    assert (story.state.status, story.state.pause, story.due) == (Status.PAUSED, None, "never")
    assert story.told("resumed") == []


def test_cycles_of_a_grace_that_lasts_longer_than_dunning_are_billed() -> None:
    patient = replace(SHORT, grace_days=90, end_action=EndAction.STAY_OVERDUE)
    story = failing("soft", policy=patient).until("2026-04-20 12:00")
    assert story.state.access is Access.GRACE
    story.bank.says("paid")
    story.does(CollectNow())
    assert story.told("cycles_not_billed") == []
    assert len(story.told("invoice_issued")) == 4


def test_a_try_by_hand_after_the_end_changes_nothing_but_the_attempt() -> None:
    story = failing("soft", policy=replace(SHORT, end_action=EndAction.PAUSE)).until("2026-03-01 12:00")
    attempts = len(story.bank.keys)
    story.does(CollectNow())
    assert len(story.bank.keys) == attempts + 1
    assert len(story.told("dunning_exhausted")) == 1
    assert (story.state.status, story.due) == (Status.PAUSED, "never")
    with pytest.raises(InvalidInput):
        Retry(-1, 9)


def test_a_policy_without_retries_ends_at_the_first_decline() -> None:
    story = failing("soft", policy=replace(SHORT, retries=()))
    assert story.told("dunning_exhausted", "canceled") == [
        "2026-02-15 10:00 dunning_exhausted cancel",
        "2026-02-15 10:00 canceled",
    ]


# --- rescue


@pytest.mark.parametrize(
    "moment", ["2026-02-15 10:00", "2026-02-15 23:00", "2026-02-16 08:59", "2026-02-16 09:00", "2026-02-18 10:00"]
)
def test_a_new_card_ends_dunning_at_any_point_and_keeps_the_anchor(moment: str) -> None:
    story = failing("soft").until(moment)
    story.bank.says("paid")
    story.does(CollectNow("master", "card_update")).until("2026-03-15 11:00")
    assert paid_again(story) == ["2026-01-15 10:00", moment, "2026-03-15 10:00"]
    assert story.told("dunning_ended") == [f"{moment} dunning_ended"]
    assert (story.state.status, story.state.access, story.state.grace_until) == (Status.ACTIVE, Access.ACTIVE, None)


def test_a_retry_that_works_ends_dunning() -> None:
    story = failing("soft", "paid").until("2026-02-16 10:00")
    assert story.last("payment_succeeded")["recovered"] is True
    assert story.due == "2026-03-15 10:00"


def test_access_comes_back_with_the_payment_only_where_it_had_stopped() -> None:
    in_grace = failing("soft", "paid").until("2026-02-17 00:00")
    assert in_grace.told("access_started") == ["2026-01-15 10:00 access_started"]
    stopped = failing("soft", "soft", "paid").until("2026-02-20 00:00")
    assert stopped.told("access_started")[1:] == ["2026-02-19 18:00 access_started"]


def test_tries_by_hand_use_up_no_retry_and_leave_the_next_date() -> None:
    story = failing("soft").until("2026-02-15 12:00").does(CollectNow()).does(ForceBill()).does(CollectNow())
    assert len(story.bank.keys) == 5
    assert story.due == "2026-02-16 09:00"
    assert story.last("retry_planned")["retry"] == 1
    story.until("2026-02-20 00:00")
    assert len(story.bank.keys) == 7
    assert story.state.status is Status.CANCELED


def test_every_attempt_has_a_number_of_its_own() -> None:
    story = (
        failing("soft", methods=("visa", "master"))
        .until("2026-02-15 12:00")
        .does(CollectNow())
        .until("2026-03-01 00:00")
    )
    keys = [(invoice, attempt) for invoice, attempt, _ in story.bank.keys]
    assert len(set(keys)) == len(keys)


# --- declines


def test_a_hard_decline_asks_the_backup_at_once_and_never_that_card_again() -> None:
    story = failing("hard", "soft", methods=("visa", "master")).until("2026-02-20 00:00")
    used = [method for _, _, method in story.bank.keys[1:]]
    assert used == ["visa", "master", "master", "master"]
    assert [line[:16] for line in story.told("payment_declined")][:2] == ["2026-02-15 10:00"] * 2


def test_a_hard_decline_without_backup_waits_for_a_card_and_the_policy_runs_on() -> None:
    story = failing("hard").until("2026-02-20 00:00")
    assert len(story.bank.keys) == 2
    assert story.told("no_payment_method") == [
        "2026-02-16 09:00 no_payment_method",
        "2026-02-19 18:00 no_payment_method",
    ]
    assert story.state.status is Status.CANCELED


def test_a_card_refused_for_good_is_refused_by_hand_too_and_another_is_not() -> None:
    story = failing("hard").until("2026-02-15 12:00")
    with pytest.raises(Refused) as refusal:
        story.does(CollectNow("visa"))
    assert refusal.value.code == "method_refused"
    story.bank.says("paid")
    story.does(CollectNow("master"))
    assert paid_again(story)[-1] == "2026-02-15 12:00"


def test_a_soft_decline_tries_each_method_in_a_round_and_all_again_in_the_next() -> None:
    story = failing("soft", methods=("visa", "master")).until("2026-02-16 10:00")
    assert [method for _, _, method in story.bank.keys[1:]] == ["visa", "master"] * 2
    assert story.last("retry_planned")["retry"] == 2


def test_the_chosen_method_is_the_only_one_that_is_tried() -> None:
    story = failing("soft", methods=("visa", "master")).until("2026-02-15 12:00").does(CollectNow("master"))
    assert [method for _, _, method in story.bank.keys[3:]] == ["master"]


def test_nothing_to_charge_counts_as_a_failed_attempt() -> None:
    story = failing("paid", methods=())
    story.until("2026-02-20 00:00")
    assert not story.bank.keys
    invoice = story.last("invoice_issued")["invoice_id"]
    assert story.entries("no_payment_method")[1].data == {"invoice_id": invoice, "attempt": 2}
    assert story.told("no_payment_method", "canceled") == [
        "2026-01-15 10:00 no_payment_method",
        "2026-01-16 09:00 no_payment_method",
        "2026-01-19 18:00 no_payment_method",
        "2026-01-19 18:00 canceled",
    ]


def test_an_outage_uses_up_nothing() -> None:
    story = failing("soft", *["down"] * 8, "paid").until("2026-02-17 00:00")
    assert story.told("gateway_down") == ["2026-02-16 09:00 gateway_down"]
    assert story.last("payment_succeeded")["attempt"] == 2
    assert len(story.told("retry_planned")) == 1


# --- access


def test_grace_lasts_local_days_and_both_ends_are_told() -> None:
    story = failing("soft", "soft", "paid")
    assert story.state.access is Access.GRACE
    assert story.last("grace_started") == {"until": at("2026-02-17 10:00").isoformat()}
    story.until("2026-02-17 09:59")
    assert story.state.access is Access.GRACE
    story.until("2026-02-17 10:00")
    assert story.state.access is Access.STOPPED


def test_without_grace_access_stops_with_the_decline() -> None:
    story = failing("soft", policy=replace(SHORT, grace_days=0))
    assert story.told("grace_started") == []
    assert story.told("access_stopped") == ["2026-02-15 10:00 access_stopped"]
    assert story.last("retry_planned")["grace_until"] is None


def test_who_never_paid_has_no_access_to_lose() -> None:
    story = Story(now="2026-01-15 10:00", bank=Bank(["soft"], policy=SHORT)).until("2026-01-18 00:00")
    assert story.told("grace_started", "access_stopped", "access_started") == []
    assert story.state.access is Access.NONE


# --- commands in between


def test_dunning_stands_still_on_hold() -> None:
    story = failing("soft").until("2026-02-15 12:00").does(PlaceHold("ops", at("2026-03-10 00:00")))
    story.until("2026-03-01 12:00")
    assert len(story.bank.keys) == 2
    assert story.state.access is Access.GRACE
    story.does(ReleaseHold())
    assert (len(story.bank.keys), story.state.access) == (3, Access.STOPPED)


def test_cancelling_in_dunning_writes_the_invoice_off() -> None:
    story = failing("soft").until("2026-02-16 12:00").does(Cancel(When.NOW))
    assert story.told("invoice_written_off", "canceled") == [
        "2026-02-16 12:00 invoice_written_off 1000",
        "2026-02-16 12:00 canceled",
    ]


def test_the_policy_is_pinned_when_dunning_starts() -> None:
    story = failing("soft")
    story.bank.policy = replace(SHORT, retries=(), end_action=EndAction.PAUSE)
    story.until("2026-02-20 00:00")
    assert story.state.status is Status.CANCELED


def test_the_last_retry_announces_itself() -> None:
    story = failing("soft").until("2026-02-20 00:00")
    assert [entry.data["message"] for entry in story.entries("retry_planned")] == ["reminder", "final_notice"]
    assert story.entries("retry_planned")[0].data == {
        "invoice_id": story.last("dunning_started")["invoice_id"], "retry": 1, "retries": 2, "message": "reminder",
        "retry_at": at("2026-02-16 09:00").isoformat(), "amount": 1000, "currency": "EUR",
        "grace_until": at("2026-02-17 10:00").isoformat(),
    }  # fmt: skip


def test_weeks_that_came_due_in_dunning_are_billed_when_it_ends_well() -> None:
    """Overdue from the 8th; the retry of the 17th works: the week of the 15th is billed then, at its own anchor."""
    weekly = price(interval=Interval(1, Unit.WEEK))
    story = Story(weekly, now="2026-01-01 10:00").until("2026-01-07 00:00")
    story.bank.says("soft", "soft", "soft", "paid")
    story.until("2026-01-20 00:00")
    assert story.told("payment_succeeded", "invoice_issued")[2:] == [
        "2026-01-08 10:00 invoice_issued cycle 2: 1000, due 1000",
        "2026-01-17 09:00 payment_succeeded 1000 from visa",
        "2026-01-17 09:00 invoice_issued cycle 3: 1000, due 1000",
        "2026-01-17 09:00 payment_succeeded 1000 from visa",
    ]
    assert story.due == "2026-01-22 10:00"


def test_dunning_without_an_invoice_is_a_bug() -> None:
    with pytest.raises(Broken, match="no open invoice"):
        round_failed(Story(now="2026-01-15 10:00").state, at("2026-01-15 10:00"), SHORT)


# --- the policy itself


@pytest.mark.parametrize(("days", "hour"), [(-1, 9), (RETRY_GAP_DAYS_MAX + 1, 9), (1, -1), (1, 24)])
def test_a_retry_that_cannot_be(days: int, hour: int) -> None:
    with pytest.raises(InvalidInput) as refusal:
        Retry(days, hour)
    assert refusal.value.field == ("after_days" if hour == 9 else "hour")


def test_the_limits_of_a_policy() -> None:
    most = tuple(Retry(0, 0) for _ in range(RETRIES_MAX))
    assert DunningTerms(
        "p", "p", (*most[:-2], Retry(RETRY_GAP_DAYS_MAX, 23), Retry(0, 0)), GRACE_DAYS_MAX, EndAction.CANCEL
    )
    with pytest.raises(InvalidInput) as refusal:
        replace(SHORT, retries=(*most, Retry(1, 9)))
    assert refusal.value.field == "retries"
    for days in (-1, GRACE_DAYS_MAX + 1):
        with pytest.raises(InvalidInput) as refusal:
            replace(SHORT, grace_days=days)
        assert refusal.value.field == "grace_days"
    assert replace(SHORT, grace_days=0).grace_days == 0


# --- docs/dunning.md


def test_the_worked_example_of_the_page() -> None:
    story = Story(now="2026-01-15 10:00", bank=Bank(["paid"], policy=DEFAULT_DUNNING))
    story.bank.says("soft")
    story.until("2026-04-01 00:00")
    for row in rows("dunning.md", "A worked example"):
        happened = {entry.kind for entry in story.timeline if story.clock(entry.at) == row["when"]}
        assert row["on the timeline"] in happened, row
    assert len(story.told("payment_declined")) == sum(
        row["on the timeline"] == "payment_declined" for row in rows("dunning.md", "A worked example")
    )


def test_the_default_policy_of_the_page() -> None:
    page = [
        (int(row["after days"]), int(row["hour"]), row["message"]) for row in rows("dunning.md", "The default policy")
    ]
    assert page == [(retry.after_days, retry.hour, retry.message.value) for retry in DEFAULT_DUNNING.retries]


def test_the_phases_of_the_page() -> None:
    assert {row["phase"] for row in rows("dunning.md", "Where an open invoice stands")} == {
        phase.value for phase in Phase
    }
