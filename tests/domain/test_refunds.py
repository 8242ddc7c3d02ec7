"""What becomes of a refund, told by date: who may open one, the queue of three days, answers lost, late and none."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from domain.business import RefundRules
from domain.errors import Broken, InvalidInput, Refused
from domain.facts import Recorded
from domain.refund_commands import Returnable, allowed, begin, handle
from domain.refund_messages import (
    Approve,
    AskReturn,
    Decline,
    GiveBack,
    OpenRefund,
    RefundCommand,
    RefundEnvelope,
    RefundFact,
    RefundMode,
    RefundTick,
    RefundTimePassed,
    Returned,
    ReturnFailed,
    ReturnNeverArrived,
    ReturnParked,
    ReturnTaken,
    ReturnUnknown,
    TakeOut,
    TryNow,
    UseMethod,
)
from domain.refund_state import RefundPhase, RefundState
from domain.refunds import TAKEN_BEFORE_ATTENTION, apply, attention, next_step
from domain.steps import End, Record, Wait

NOW = datetime(2027, 3, 26, 14, 30, tzinfo=UTC)
BERLIN = "Europe/Berlin"
NO_RULES = RefundRules()
BUSY = "busy"

CHARGE = Returnable(
    attempt_id="att_1",
    invoice_id="inv_1",
    subscription_id="sub_1",
    customer_id="cus_1",
    zone=BERLIN,
    gateway="sandbox",
    sale="charge:sub_1:1:1",
    status="approved",
    settlement="settled",
    amount=1000,
    currency="EUR",
    returned=0,
    invoice_left=1000,
    disputed=None,
    method_fits=True,
    test_mode=False,
)


def wish(mode: RefundMode = RefundMode.REFUND, amount: int | None = None, method: str | None = None) -> OpenRefund:
    return OpenRefund("ref_1", "att_1", mode, "sorry", "anna", amount, method)


def start(mode: RefundMode = RefundMode.REFUND, rules: RefundRules = NO_RULES, **charge: Any) -> RefundState:
    return begin(wish(mode), replace(CHARGE, **charge), rules, NOW)


def failed(state: RefundState, now: datetime, code: str = BUSY) -> RefundState:
    return apply(state, ReturnFailed(state.number, code, "not now"), now)


def send(state: RefundState, command: RefundCommand, now: datetime = NOW, *, actor: str = "lena") -> RefundState:
    return handle(state, RefundEnvelope(f"k{state.seq}", command, actor, "because"), now)


def told(state: RefundState) -> list[str]:
    return [entry.kind for entry in state.journal]


def due(state: RefundState) -> datetime:
    """When it is tried again by itself."""
    assert state.retry_at is not None
    return state.retry_at


def local(moment: datetime) -> str:
    from domain.calendar import zone_of  # noqa: PLC0415 - beside its one use

    return f"{moment.astimezone(zone_of(BERLIN)):%d %b %H:%M}"


# ---------------------------------------------------------------- opening

REFUSALS: list[tuple[OpenRefund, dict[str, Any], str, tuple[str, ...]]] = [
    (wish(), {"status": "declined", "settlement": None}, "not_captured", ()),
    (wish(), {"settlement": "voided"}, "already_voided", ()),
    (wish(), {"disputed": "opened"}, "disputed", ()),
    (wish(), {"settlement": "pending"}, "not_settled", ("void", "void_first")),
    (wish(RefundMode.VOID), {}, "already_settled", ("refund", "void_first")),
    (wish(RefundMode.VOID, 999), {"settlement": "pending"}, "void_in_full_only", ("void", "void_first")),
    (wish(RefundMode.VOID_FIRST, 999), {"settlement": "pending"}, "partial_unsettled", ("void", "void_first")),
    (wish(RefundMode.VOID), {"settlement": "pending", "returned": 1}, "exceeds_refundable", ()),
    (wish(RefundMode.VOID), {"settlement": "pending", "invoice_left": 999}, "exceeds_refundable", ()),
    (wish(RefundMode.VOID, 1001), {"settlement": "pending"}, "exceeds_refundable", ()),
    (wish(amount=1001), {}, "exceeds_refundable", ("refund",)),
    (wish(amount=701), {"returned": 300}, "exceeds_refundable", ("refund",)),
    (wish(amount=701), {"invoice_left": 700}, "exceeds_refundable", ("refund",)),
    (wish(), {"returned": 1000}, "exceeds_refundable", ()),
    (wish(method="pm_9"), {"method_fits": False}, "method_not_allowed", ()),
    (wish(RefundMode.VOID, method="pm_9"), {"settlement": "pending"}, "method_not_allowed", ()),
]


@pytest.mark.parametrize(("wanted", "charge", "code", "instead"), REFUSALS)
def test_what_may_not_be_given_back_is_refused_with_its_rule(
    wanted: OpenRefund, charge: dict[str, Any], code: str, instead: tuple[str, ...]
) -> None:
    with pytest.raises(Refused) as refusal:
        begin(wanted, replace(CHARGE, **charge), NO_RULES, NOW)
    assert (refusal.value.code, refusal.value.allowed) == (code, instead)


def test_a_refusal_says_how_much_is_left_and_how_to_go_on() -> None:
    with pytest.raises(Refused, match=r"only 6\.99 EUR .* can still be given back"):
        begin(wish(amount=700), replace(CHARGE, returned=301, invoice_left=900), NO_RULES, NOW)
    with pytest.raises(Refused, match=r"refund 4\.00 EUR by itself once it is settled"):
        begin(wish(RefundMode.VOID_FIRST, 400), replace(CHARGE, settlement="pending"), NO_RULES, NOW)


@pytest.mark.parametrize("amount", [0, -1])
def test_an_amount_is_at_least_one(amount: int) -> None:
    with pytest.raises(InvalidInput) as refusal:
        begin(wish(amount=amount), CHARGE, NO_RULES, NOW)
    assert refusal.value.field == "amount"


def test_all_that_is_left_is_the_least_of_charge_and_invoice() -> None:
    assert begin(wish(), replace(CHARGE, returned=200), NO_RULES, NOW).amount == 800
    assert begin(wish(), replace(CHARGE, returned=200, invoice_left=500), NO_RULES, NOW).amount == 500
    assert begin(wish(amount=1), CHARGE, NO_RULES, NOW).amount == 1


def test_from_the_order_it_is_a_void_before_settlement_and_a_refund_after() -> None:
    assert start(RefundMode.VOID_FIRST, settlement="pending").kind == "void"
    after = start(RefundMode.VOID_FIRST)
    assert (after.kind, after.void_first) == ("refund", True)
    assert begin(wish(RefundMode.VOID_FIRST, 1), CHARGE, NO_RULES, NOW).amount == 1


def test_what_was_asked_is_the_first_line() -> None:
    state = start()
    entry = state.journal[0]
    assert (entry.seq, entry.kind, entry.actor, entry.reason, entry.at) == (1, "requested", "anna", "sorry", NOW)
    assert entry.data["amount"] == 1000
    assert isinstance(next_step(state, NOW), GiveBack)
    assert isinstance(next_step(replace(state, journal=()), NOW), GiveBack)


# ---------------------------------------------------------------- approval

LIMIT = RefundRules(approval_limits={"EUR": 999, "USD": 1}, approval_hours=24)


def test_above_the_limit_of_its_currency_a_lead_must_agree() -> None:
    assert start(rules=RefundRules(approval_limits={"EUR": 1000})).phase is RefundPhase.TRY
    assert start(rules=RefundRules(approval_limits={"USD": 1})).phase is RefundPhase.TRY
    state = start(rules=LIMIT)
    assert (state.status, state.approval_deadline) == ("awaiting_approval", NOW + timedelta(hours=24))
    assert told(state) == ["requested", "approval_asked"]
    assert isinstance(next_step(state, NOW), Record)
    state = apply(state, Recorded(state.seq), NOW)
    assert next_step(state, NOW) == Wait(NOW + timedelta(hours=24), "a lead must approve, or it lapses")
    assert allowed(state) == ("approve", "decline", "take_out")


def test_who_asked_cannot_approve_and_another_can() -> None:
    state = start(rules=LIMIT)
    with pytest.raises(Refused) as refusal:
        send(state, Approve(), actor="anna")
    assert refusal.value.code == "own_request"
    state = send(state, Approve(), NOW + timedelta(hours=1))
    assert (state.approved_by, state.phase) == ("lena", RefundPhase.TRY)


@pytest.mark.parametrize("command", [Decline(), TakeOut()])
def test_a_refund_nobody_wants_is_over(command: RefundCommand) -> None:
    state = send(start(rules=LIMIT), command)
    assert (state.status, state.ended_at) == ("canceled", NOW)
    assert isinstance(next_step(state, NOW), Record)
    assert isinstance(next_step(apply(state, Recorded(state.seq), NOW), NOW), End)


def test_it_lapses_at_its_deadline_and_not_before() -> None:
    state = apply(start(rules=LIMIT), Recorded(2), NOW)
    late = NOW + timedelta(hours=24)
    assert isinstance(next_step(state, late - timedelta(seconds=1)), Wait)
    step = next_step(state, late)
    assert step == RefundTick(RefundTimePassed("lapse"))
    assert apply(state, RefundTimePassed("lapse"), late).status == "lapsed"
    approved = send(state, Approve())
    assert apply(approved, RefundTimePassed("lapse"), late) == approved


# ---------------------------------------------------------------- the queue


def test_one_call_and_three_retries_each_a_day_later_at_the_same_wall_time() -> None:
    """Clocks in Berlin go forward on 28 March 2027: the wall time stays, the instant moves by an hour."""
    state, days = start(), list[str]()
    now = NOW
    state = failed(state, now)
    while state.phase is RefundPhase.QUEUED:
        days.append(local(due(state)))
        assert isinstance(next_step(apply(state, Recorded(state.seq), now), due(state) - timedelta(seconds=1)), Wait)
        now = due(state)
        assert next_step(state, now) == RefundTick(RefundTimePassed("retry"))
        state = apply(state, RefundTimePassed("retry"), now)
        assert state.trigger == "retry"
        state = failed(state, now)
    assert days == ["27 Mar 15:30", "28 Mar 15:30", "29 Mar 15:30"]
    assert (state.status, state.retries, state.ended_at, state.last_code) == ("failed", 3, now, BUSY)
    assert told(state)[-1] == "exhausted"
    assert told(state).count("try_failed") == 4
    assert attention(state) is not None


def test_a_retry_may_succeed() -> None:
    state = failed(start(), NOW)
    now = due(state)
    state = apply(apply(state, RefundTimePassed("retry"), now), Returned(2, "re_1"), now)
    assert (state.status, state.ended_at, attention(state)) == ("succeeded", now, None)
    assert state.journal[-1].data["gateway_id"] == "re_1"


def test_a_retry_that_took_days_to_fail_is_followed_a_day_later_not_at_once() -> None:
    state = apply(failed(start(), NOW), RefundTimePassed("retry"), NOW + timedelta(days=1))
    state = apply(state, ReturnUnknown(2), NOW + timedelta(days=1))
    state = failed(state, NOW + timedelta(days=4, hours=2))
    assert local(due(state)) == "31 Mar 15:30"


def test_a_try_by_hand_is_none_of_the_three_and_leaves_their_day() -> None:
    state = failed(start(), NOW)
    tomorrow = due(state)
    for _ in range(5):
        state = send(state, TryNow(), NOW + timedelta(hours=1))
        assert (state.phase, state.trigger) == (RefundPhase.TRY, "manual")
        state = failed(state, NOW + timedelta(hours=1))
    assert (state.retries, due(state)) == (0, tomorrow)
    morning = failed(send(state, TryNow(), tomorrow - timedelta(hours=6)), tomorrow - timedelta(hours=6))
    assert due(morning) == tomorrow, "also on that very day"
    state = send(state, TryNow(), tomorrow - timedelta(seconds=1))
    state = failed(state, tomorrow + timedelta(minutes=5))
    assert local(due(state)) == "28 Mar 15:30", "a try by hand that ended late pushes the next day"


def test_another_method_is_tried_at_once_and_given_up_where_the_gateway_forbids_it() -> None:
    state = send(failed(start(), NOW), UseMethod("pm_2"))
    assert (state.phase, state.payment_method_id, state.number, state.trigger) == (RefundPhase.TRY, "pm_2", 2, "manual")
    kept = failed(state, NOW)
    assert kept.payment_method_id == "pm_2"
    back = failed(state, NOW, "method_not_allowed")
    assert (back.payment_method_id, back.phase) == (None, RefundPhase.QUEUED)
    assert "method_taken_back" in told(back)


def test_what_is_taken_out_is_over() -> None:
    state = send(failed(start(), NOW), TakeOut())
    assert (state.status, state.retry_at) == ("canceled", None)
    assert told(state)[-1] == "taken_out"


# ---------------------------------------------------------------- voids


def test_a_void_that_is_overtaken_by_settlement_is_followed_by_a_refund() -> None:
    state = start(RefundMode.VOID_FIRST, settlement="pending")
    state = failed(state, NOW, "already_settled")
    assert (state.kind, state.phase, state.number, state.retries) == ("refund", RefundPhase.TRY, 2, 0)
    state = failed(state, NOW)
    assert state.phase is RefundPhase.QUEUED


def test_a_plain_void_that_came_too_late_has_failed_for_good() -> None:
    state = failed(start(RefundMode.VOID, settlement="pending"), NOW, "already_settled")
    assert (state.status, told(state)[-1]) == ("failed", "failed")
    other = failed(start(RefundMode.VOID, settlement="pending"), NOW)
    assert other.phase is RefundPhase.QUEUED
    assert allowed(other) == ("try_now", "take_out"), "a void has no method to choose"


def test_a_refund_of_what_was_voided_elsewhere_has_failed_for_good() -> None:
    assert failed(start(), NOW, "already_voided").status == "failed"
    assert failed(start(), NOW, "already_settled").status == "queued"


# ---------------------------------------------------------------- no answer


def test_a_lost_answer_is_asked_for_with_patience_and_then_with_attention() -> None:
    state, now, waits = apply(start(), ReturnUnknown(1), NOW), NOW, list[timedelta]()
    for _ in range(7):
        at = state.not_before or now
        waits.append(at - now)
        assert state.status == "unknown"
        assert allowed(state) == ()
        now = at
        assert isinstance(next_step(state, now), AskReturn)
        state = apply(state, ReturnUnknown(1), now)
    assert waits == [timedelta(seconds=s) for s in (30, 120, 600, 3600, 21600, 86400, 86400)]
    assert told(state).count("outcome_unknown") == 1
    assert told(state).count("outcome_overdue") == 1
    assert attention(state) is not None
    assert (state.retries, state.number) == (0, 1)
    assert apply(state, Returned(1), now).status == "succeeded"
    never = apply(state, ReturnNeverArrived(1), now)
    assert (never.phase, never.number, never.status) == (RefundPhase.PARKED, 1, "pending")
    assert isinstance(next_step(never, never.not_before or now), GiveBack)


def test_an_outage_is_not_a_try() -> None:
    state, now = start(), NOW
    for _ in range(8):
        state = apply(state, ReturnParked(1), now)
        now = state.not_before or now
        assert isinstance(next_step(state, now), GiveBack)
    assert (state.retries, state.number, state.status) == (0, 1, "pending")
    assert (told(state).count("gateway_down"), told(state).count("gateway_still_down")) == (1, 1)
    assert attention(state) is not None
    assert allowed(state) == ("try_now", "take_out")
    again = send(state, TryNow(), now)
    assert (again.phase, again.number, again.trigger) == (RefundPhase.TRY, 1, "request"), "the same try, not another"


def test_a_gateway_that_answers_later_is_asked_until_it_does() -> None:
    state, now = apply(start(), ReturnTaken(1, "re_1"), NOW), NOW
    for answer in [ReturnTaken(1), ReturnUnknown(1)] * 5:
        assert (state.phase, state.status, allowed(state)) == (RefundPhase.TAKEN, "pending", ())
        now = state.not_before or now
        assert isinstance(next_step(state, now), AskReturn)
        state = apply(state, answer, now)
    assert state.lookups > TAKEN_BEFORE_ATTENTION
    assert attention(state) is not None
    assert told(state).count("accepted") == 1
    assert told(state).count("answer_overdue") == 1
    assert "outcome_unknown" not in told(state), "that the gateway has it is known"
    assert failed(state, now).phase is RefundPhase.QUEUED


# ---------------------------------------------------------------- what changes nothing


def test_an_outcome_of_another_try_or_after_the_end_changes_nothing() -> None:
    state = failed(start(), NOW)
    for fact in (Returned(1), ReturnFailed(1, BUSY), ReturnUnknown(3)):
        assert apply(state, fact, NOW) == state
    over = send(state, TakeOut())
    assert apply(over, Returned(over.number), NOW) == over
    assert apply(over, RefundTimePassed("retry"), NOW) == over


def test_a_command_seen_before_changes_nothing_also_after_the_end() -> None:
    state = failed(start(), NOW)
    envelope = RefundEnvelope("k", TakeOut(), "lena")
    over = handle(state, envelope, NOW)
    assert handle(over, envelope, NOW) == over
    with pytest.raises(Refused) as refusal:
        handle(over, RefundEnvelope("k2", TakeOut(), "lena"), NOW)
    assert (refusal.value.code, refusal.value.allowed) == ("refund_ended", ())


WRONG_MOMENTS: list[tuple[RefundFact, RefundCommand, str]] = [
    (ReturnUnknown(1), TakeOut(), "outcome_open"),
    (ReturnTaken(1), TryNow(), "outcome_open"),
    (ReturnParked(1), UseMethod("pm_2"), "method_not_changeable"),
    (ReturnFailed(1, BUSY), Approve(), "not_awaiting_approval"),
    (Returned(1), TakeOut(), "refund_ended"),
]


@pytest.mark.parametrize(("fact", "command", "code"), WRONG_MOMENTS)
def test_a_command_at_the_wrong_moment_is_told_what_is_allowed(
    fact: RefundFact, command: RefundCommand, code: str
) -> None:
    state = apply(start(), fact, NOW)
    with pytest.raises(Refused) as refusal:
        send(state, command)
    assert (refusal.value.code, refusal.value.allowed) == (code, allowed(state))


def test_nothing_is_tried_while_a_lead_is_asked() -> None:
    with pytest.raises(Refused) as refusal:
        send(start(rules=LIMIT), TryNow())
    assert refusal.value.code == "awaiting_approval"


def test_a_refund_that_waits_without_a_time_is_a_bug() -> None:
    with pytest.raises(Broken):
        next_step(replace(start(), phase=RefundPhase.QUEUED), NOW)
