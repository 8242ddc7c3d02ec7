"""Charging safely: what each answer of the gateway leads to, and when it is asked again."""

from datetime import timedelta

import pytest

from domain.collection import (
    ACTION_TIME_MAX,
    LOOKUP_BACKOFF,
    LOOKUPS_BEFORE_ATTENTION,
    PARKED_BACKOFF,
    PARKED_BEFORE_ATTENTION,
    when_to_act,
    write_off,
)
from domain.errors import Broken, Refused
from domain.explain import attention
from domain.facts import TimePassed
from domain.lifecycle import apply, next_step
from domain.messages import (
    Cancel,
    ChangeDate,
    ChangeTerms,
    ChargeNow,
    CollectNow,
    ForceBill,
    GrantCredit,
    Pause,
    PlaceHold,
    RefundChoice,
    Skip,
    StopTrial,
    UndoCancel,
    When,
)
from domain.state import Access, Collecting, InvoiceReason, Phase, Status
from domain.steps import AskGateway, Charge, Wait
from tests.domain.stories import MONEY, Bank, Story, at, price


def due(*answers: str, methods: tuple[str, ...] = ("visa",)) -> Story:
    """January is paid; what the gateway says on 15 February at ten."""
    story = Story(now="2026-01-15 10:00", bank=Bank(["paid"], methods))
    story.bank.says(*answers)
    return story.until("2026-02-15 10:00")


def waits(story: Story, times: int) -> list[timedelta]:
    """The gaps between the next steps."""
    gaps: list[timedelta] = []
    for _ in range(times):
        step = next_step(story.state, story.now)
        assert isinstance(step, Wait)
        assert step.until is not None
        gaps.append(step.until - story.now)
        story.until_instant(step.until)
    return gaps


def phase(story: Story) -> Phase:
    assert story.state.collecting is not None
    return story.state.collecting.phase


# --- the gateway is down


def test_a_parked_charge_is_the_same_attempt_again_and_again() -> None:
    story = due("down")
    assert waits(story, 6) == [*PARKED_BACKOFF, PARKED_BACKOFF[-1], PARKED_BACKOFF[-1]]
    assert {key[1] for key in story.bank.keys[1:]} == {1}
    assert story.told("gateway_down") == ["2026-02-15 10:00 gateway_down"]
    assert (story.state.status, story.state.access) == (Status.ACTIVE, Access.ACTIVE)


def test_a_long_outage_is_shown() -> None:
    story = due("down")
    waits(story, PARKED_BEFORE_ATTENTION - 2)
    assert attention(story.state) is None
    waits(story, 1)
    assert attention(story.state) == "the gateway has been down for long"


def test_the_next_cycle_waits_for_the_parked_one() -> None:
    story = due(*["down"] * 700, "paid").until("2026-03-20 00:00")
    assert [str(entry.data["period_start"])[:10] for entry in story.entries("invoice_issued")[1:]] == [
        "2026-02-15", "2026-03-15",
    ]  # fmt: skip
    assert story.clock(story.entries("invoice_issued")[-1].at) > "2026-03-16"


def test_another_method_for_a_parked_charge_is_another_attempt() -> None:
    story = due("down", "paid", methods=("visa", "master")).does(CollectNow("master", "card_update"))
    assert [key[1:] for key in story.bank.keys[1:]] == [(1, "visa"), (2, "master")]
    assert story.last("payment_succeeded")["method_id"] == "master"


def test_the_same_method_for_a_parked_charge_is_the_same_attempt() -> None:
    story = due("down", "paid").does(CollectNow())
    assert [key[1:] for key in story.bank.keys[1:]] == [(1, "visa"), (1, "visa")]


def test_a_parked_try_by_hand_stays_by_hand() -> None:
    story = due("soft", "down", "soft").until("2026-02-15 12:00").does(CollectNow()).until("2026-02-15 12:01")
    assert story.last("retry_planned")["retry"] == 1
    assert story.due == "2026-02-16 09:00"


def test_a_parked_retry_that_is_hurried_stays_a_retry() -> None:
    story = due("soft", "down", "soft").until("2026-02-16 09:00").does(CollectNow())
    assert story.last("retry_planned")["retry"] == 2


# --- the answer is lost


def test_the_gateway_is_asked_before_anything_else() -> None:
    story = due("lost", "lost", "paid")
    assert next_step(story.state, story.now) == Wait(
        story.now + LOOKUP_BACKOFF[0], "the gateway is asked about the last charge"
    )
    story.until("2026-02-15 10:05")
    assert len(story.bank.keys) == 2  # sent once each month
    assert story.told(*MONEY)[-1] == "2026-02-15 10:02 payment_succeeded 1000 from visa"
    assert len(story.told("outcome_unknown")) == 1


def test_it_is_asked_less_and_less_often_and_never_given_up() -> None:
    story = due("lost")
    assert waits(story, 8) == [*LOOKUP_BACKOFF, LOOKUP_BACKOFF[-1], LOOKUP_BACKOFF[-1]]
    assert phase(story) is Phase.UNKNOWN


def test_a_charge_that_stays_unknown_is_shown() -> None:
    story = due("lost")
    waits(story, LOOKUPS_BEFORE_ATTENTION - 2)
    assert attention(story.state) is None
    waits(story, 1)
    assert attention(story.state) == "the outcome of a charge is still unknown"


def test_what_never_arrived_is_sent_again_under_the_same_key_but_not_at_once() -> None:
    story = due("lost", "never", "never", "paid")
    assert waits(story, 3) == [LOOKUP_BACKOFF[0], PARKED_BACKOFF[0], PARKED_BACKOFF[1]]
    assert {key[1] for key in story.bank.keys[1:]} == {1}
    assert story.state.collecting is None


def test_a_charge_lost_again_after_it_never_arrived_is_asked_for_soon() -> None:
    story = due("lost", "lost", "never", "lost", "paid")
    assert waits(story, 4) == [LOOKUP_BACKOFF[0], LOOKUP_BACKOFF[1], PARKED_BACKOFF[0], LOOKUP_BACKOFF[0]]
    assert len(story.told("outcome_unknown")) == 2


def test_an_unknown_decline_is_a_decline() -> None:
    story = due("lost", "soft").until("2026-02-15 10:01")
    assert (phase(story), story.state.status) == (Phase.DUNNING, Status.OVERDUE)


def test_a_hold_does_not_stop_the_question() -> None:
    story = due("lost", "paid").does(PlaceHold("ops", at("2026-06-01 00:00")))
    assert story.until("2026-02-15 10:01").state.collecting is None


@pytest.mark.parametrize("answer", ["lost", "action"])
@pytest.mark.parametrize("command", [ForceBill(), CollectNow(), CollectNow("master")])
def test_nothing_else_is_tried_while_the_outcome_is_open(answer: str, command: ForceBill | CollectNow) -> None:
    with pytest.raises(Refused) as refusal:
        due(answer).does(command)
    assert refusal.value.code == "outcome_open"
    assert command.kind not in refusal.value.allowed


# --- the customer must confirm


def test_the_customer_has_a_day_to_confirm() -> None:
    story = due(*["action"] * 50)
    gaps = waits(story, 6)
    assert gaps[:5] == list(LOOKUP_BACKOFF[:5])
    assert sum(gaps, timedelta()) == ACTION_TIME_MAX
    assert story.last("payment_declined")["code"] == "authentication_expired"
    assert phase(story) is Phase.DUNNING
    assert len(story.told("action_required")) == 1
    assert story.last("action_required")["deadline"] == (at("2026-02-15 10:00") + ACTION_TIME_MAX).isoformat()


def test_a_confirmed_payment_goes_on() -> None:
    story = due("action", "action", "paid").until("2026-02-15 11:00")
    assert story.told("payment_succeeded")[-1] == "2026-02-15 10:02 payment_succeeded 1000 from visa"


def test_an_unconfirmed_payment_asks_the_backup() -> None:
    story = due(*["action"] * 7, "paid", methods=("visa", "master"))
    story.until("2026-02-16 11:00")
    assert story.last("payment_succeeded")["method_id"] == "master"


def test_a_withdrawal_that_the_gateway_does_not_take_is_tried_again_later() -> None:
    """The gateway is down when the customer's time is over: no end of steps at once, and no early surrender."""

    bank = Bank(["action"], withdraws=False)
    story = Story(now="2026-02-15 10:00", bank=bank).until("2026-02-16 10:00")
    assert phase(story) is Phase.ACTION
    again = story.now + LOOKUP_BACKOFF[-1]
    assert next_step(story.state, story.now) == Wait(again, "the gateway is asked about the last charge")
    assert next_step(story.state, again) == AskGateway(give_up=True)


# --- cancelled while the outcome is open


@pytest.mark.parametrize("answer", ["lost", "action"])
def test_a_cancellation_waits_for_the_answer(answer: str) -> None:
    story = due(answer, "paid").does(Cancel(When.NOW), reason="moved")
    assert story.state.status is Status.ACTIVE
    story.until("2026-02-15 10:01")
    assert story.told("payment_succeeded", "canceled")[1:] == [
        "2026-02-15 10:00 payment_succeeded 1000 from visa",
        "2026-02-15 10:00 canceled",
    ]
    assert (story.entries("canceled")[0].actor, story.entries("canceled")[0].reason) == ("agent", "moved")


def test_the_credit_it_was_asked_with_is_given_when_it_takes_effect() -> None:
    story = due("lost", "paid").does(Cancel(When.NOW, RefundChoice.CREDIT)).until("2026-02-15 10:01")
    assert story.told("credit_granted") == ["2026-02-15 10:00 credit_granted 964"]  # 27 of 28 days


def test_after_it_no_other_card_is_charged() -> None:
    story = due("lost", "soft", "paid", methods=("visa", "master")).does(Cancel(When.NOW)).until("2026-02-15 10:01")
    assert len(story.bank.keys) == 2
    assert story.told("invoice_written_off", "canceled") == [
        "2026-02-15 10:00 invoice_written_off 1000",
        "2026-02-15 10:00 canceled",
    ]


def test_it_may_be_asked_for_twice_and_taken_back() -> None:
    story = due("lost", "paid").does(Cancel()).does(Cancel(When.NOW)).does(Cancel(When.NOW)).does(UndoCancel())
    assert story.until("2026-02-20 00:00").state.status is Status.ACTIVE


def test_stopping_a_paid_trial_waits_for_the_answer_too() -> None:
    bank = Bank(["lost", "paid"])
    story = Story(price(trial_days=14, trial_amount=100), now="2026-01-15 10:00", bank=bank).does(
        StopTrial(), reason=""
    )
    assert story.state.collecting is not None
    story.until("2026-01-15 10:01")
    assert story.told("payment_succeeded", "canceled") == [
        "2026-01-15 10:00 payment_succeeded 100 from visa",
        "2026-01-15 10:00 canceled",
    ]
    assert story.entries("canceled")[0].reason == "trial stopped"


# --- a charge by hand


def test_a_charge_by_hand_is_paid_beside_the_plan() -> None:
    story = Story(now="2026-01-15 10:00").does(ChargeNow(500, "EUR", "Extra tea"))
    assert story.told(*MONEY)[2:] == [
        "2026-01-15 10:00 invoice_issued one_off 2: 500, due 500",
        "2026-01-15 10:00 payment_succeeded 500 from visa",
    ]
    assert (story.due, story.state.paid_for_period) == ("2026-02-15 10:00", 1000)


@pytest.mark.parametrize("answer", ["soft", "hard"])
def test_a_charge_by_hand_that_is_declined_is_void_and_nobody_is_dunned(answer: str) -> None:
    story = Story(now="2026-01-15 10:00", bank=Bank(["paid", answer], ("visa", "master")))
    story.does(ChargeNow(500, "EUR", "Extra tea"))
    assert story.told("invoice_voided", "dunning_started") == ["2026-01-15 10:00 invoice_voided"]
    assert (story.state.status, story.balances["revenue"]) == (Status.ACTIVE, -1000)


def test_a_charge_by_hand_without_a_card_is_void() -> None:
    story = Story(now="2026-01-15 10:00")
    story.bank.methods = ()
    assert story.does(ChargeNow(500, "EUR", "Extra tea")).told("invoice_voided") == ["2026-01-15 10:00 invoice_voided"]


def test_a_charge_by_hand_uses_the_method_it_names_and_no_credit() -> None:
    story = Story(now="2026-01-15 10:00", bank=Bank(["paid"], ("visa", "master")))
    story.does(ChargeNow(500, "EUR", "Extra tea", "master")).does(ChargeNow(500, "EUR", "Extra tea", "master"))
    assert [key[2] for key in story.bank.keys] == ["visa", "master", "master"]
    assert len({key[0] for key in story.bank.keys}) == 3


def test_a_parked_charge_by_hand_is_void_when_the_subscription_ends() -> None:
    story = Story(now="2026-01-15 10:00", bank=Bank(["paid", "down"])).does(ChargeNow(500, "EUR", "Extra tea"))
    story.does(Cancel(When.NOW))
    assert story.told("invoice_voided", "invoice_written_off") == ["2026-01-15 10:00 invoice_voided"]


def test_a_charge_by_hand_in_a_pause_leaves_it_paused() -> None:
    story = Story(now="2026-01-15 10:00").does(Pause(When.NOW)).does(ChargeNow(500, "EUR", "Extra tea"))
    assert (story.state.status, story.state.access) == (Status.PAUSED, Access.STOPPED)


# --- pieces


def test_writing_off_nothing_is_nothing() -> None:
    story = Story(now="2026-01-15 10:00")
    assert write_off(story.state, story.now, "") == story.state


def test_an_invoice_over_nothing_is_no_loss() -> None:
    story = Story(price(0), now="2026-01-15 10:00", start_at=at("2026-02-01 10:00"))
    from domain.steps import Tick  # noqa: PLC0415

    assert Tick(TimePassed("start"))
    started = apply(story.state, TimePassed("start"), at("2026-02-01 10:00"))
    opened = apply(started, TimePassed("open_cycle"), at("2026-02-01 10:00"))
    assert write_off(opened, at("2026-02-01 10:00"), "gone").journal == opened.journal


def test_a_wait_without_a_time_is_a_bug() -> None:
    collecting = Collecting("inv", 1, InvoiceReason.CYCLE, 0, 0, 100, at("2026-01-15 10:00"), phase=Phase.PARKED)
    with pytest.raises(Broken, match="inv waits without a time"):
        when_to_act(collecting)


def test_a_new_invoice_is_charged_at_once() -> None:
    collecting = Collecting("inv", 1, InvoiceReason.CYCLE, 0, 0, 100, at("2026-01-15 10:00"))
    assert when_to_act(collecting) == (at("2026-01-15 10:00"), Charge())


def test_every_charge_knows_why_it_was_made() -> None:
    story = due("soft", methods=("visa", "master")).until("2026-02-16 10:00").does(CollectNow(None, "agent"))
    assert story.bank.triggers == [
        "due", "due", "backup_method", "dunning", "backup_method", "agent", "backup_method",
    ]  # fmt: skip
    story.bank.says("paid")
    story.does(ForceBill()).until("2026-03-01 10:00").does(ForceBill()).does(ChargeNow(70, "EUR", "Cup"))
    assert story.bank.triggers[7:] == ["force_bill", "force_bill", "charge_now"]


def test_what_is_written_of_each_answer() -> None:
    story = due("down", "lost", "action", "soft", "hard", methods=("visa", "master")).until("2026-02-15 10:03")
    invoice = story.last("invoice_issued")["invoice_id"]
    assert story.last("gateway_down") == {"gateway": "sandbox", "invoice_id": invoice}
    assert story.last("outcome_unknown") == {"gateway": "sandbox", "invoice_id": invoice, "attempt": 1}
    assert story.last("action_required") == {
        "invoice_id": invoice, "attempt": 1, "method_id": "visa", "url": "https://bank.example/confirm",
        "deadline": at("2026-02-16 10:01").replace(second=30).isoformat(),
    }  # fmt: skip
    first, second = (entry.data for entry in story.entries("payment_declined"))
    assert first == {
        "invoice_id": invoice, "cycle": 2, "attempt": 1, "amount": 1000, "currency": "EUR", "method_id": "visa",
        "gateway": "sandbox", "code": "insufficient_funds", "decline": "soft", "another": True,
    }  # fmt: skip
    assert (second["another"], second["decline"], second["attempt"]) == (False, "hard", 2)
    story.bank.says("paid")
    story.does(CollectNow())
    assert story.last("payment_succeeded") == {
        "invoice_id": invoice, "cycle": 2, "attempt": 3, "amount": 1000, "currency": "EUR", "method_id": "visa",
        "gateway": "sandbox", "gateway_id": "gw_1", "recovered": True,
    }  # fmt: skip
    assert story.last("dunning_ended") == {"invoice_id": invoice}


def test_what_is_written_of_an_end() -> None:
    story = due("soft").does(Cancel(When.NOW), reason="moved")
    invoice = story.last("invoice_issued")["invoice_id"]
    assert story.last("invoice_written_off") == {
        "invoice_id": invoice, "cycle": 2, "amount": 1000, "currency": "EUR",
    }  # fmt: skip
    assert story.entries("invoice_written_off")[0].reason == "moved"
    by_hand = Story(now="2026-01-15 10:00", bank=Bank(["paid", "soft"])).does(ChargeNow(70, "EUR", "Cup"))
    assert by_hand.last("invoice_voided") == {
        "invoice_id": by_hand.last("invoice_issued")["invoice_id"], "cycle": 2, "amount": 70, "currency": "EUR",
    }  # fmt: skip


def test_nothing_planned_outlives_the_end() -> None:
    story = Story(now="2026-01-15 10:00", notice_days=1).does(Skip(2)).does(ChangeTerms(price(400), When.PERIOD_END))
    story.does(Pause()).does(ChangeDate(at("2026-03-20 10:00"), prorate=True)).does(Cancel())
    story.order(Cancel(When.NOW))
    state = story.settle().state
    planned = (state.cancel, state.pause, state.change, state.stub, state.grace_until, state.collecting)
    assert planned == (None,) * 6
    assert (state.skip_cycles, state.force, state.pending_lines, state.ended_at) == (0, False, (), story.now)
    in_grace = due("soft").does(Cancel(When.NOW)).state
    assert (in_grace.grace_until, in_grace.access) == (None, Access.STOPPED)
    forced = Story(now="2026-01-15 10:00")
    forced.order(ForceBill())
    forced.does(Cancel(When.NOW))
    assert not forced.state.force


def test_a_confirmation_asked_for_after_a_lost_answer_is_looked_up_soon() -> None:
    story = due("lost", "lost", "action", "action", "paid")
    assert waits(story, 4) == [LOOKUP_BACKOFF[0], LOOKUP_BACKOFF[1], LOOKUP_BACKOFF[0], LOOKUP_BACKOFF[1]]


def test_a_charge_by_hand_leaves_credit_for_the_rebills() -> None:
    story = Story(now="2026-01-15 10:00").does(GrantCredit(300, "EUR")).does(ChargeNow(500, "EUR", "Extra tea"))
    assert (story.state.credit, story.last("invoice_issued")["amount_due"]) == (300, 500)
    assert story.last("charge_asked") == {"amount": 500, "currency": "EUR", "description": "Extra tea"}
    assert story.last("credit_granted") == {"amount": 300, "currency": "EUR", "source": "agent", "balance": 300}
    again = story.does(ChargeNow(500, "EUR", "Extra tea"))
    assert [one.identity for one in again.invoices.values()] == [(1, "cycle", 0), (2, "one_off", 1), (2, "one_off", 2)]
    assert again.state.paid_for_period == 1000
