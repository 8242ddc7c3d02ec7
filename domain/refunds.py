"""What becomes of a refund: whether it may be opened, when the gateway is called, what each answer leads to.

One call; if it fails, `REFUND_RETRIES_MAX` retries, one each local day at the wall time of the first failure; then the
refund leaves the queue. An outage is not a try, and a lost answer is asked for before anything else.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Final, assert_never

from domain.calendar import at_local, local_day, zone_of
from domain.collection import LOOKUP_BACKOFF, LOOKUPS_BEFORE_ATTENTION, PARKED_BACKOFF, PARKED_BEFORE_ATTENTION
from domain.errors import Broken
from domain.facts import Recorded
from domain.refund_messages import (
    AskReturn,
    GiveBack,
    RefundFact,
    RefundStep,
    RefundTick,
    RefundTimePassed,
    Returned,
    ReturnFailed,
    ReturnNeverArrived,
    ReturnOutcome,
    ReturnParked,
    ReturnTaken,
    ReturnUnknown,
)
from domain.refund_state import FINAL, RefundKind, RefundPhase, RefundState
from domain.steps import End, Record, Wait

REFUND_RETRIES_MAX: Final = 3
# The gateway has the order and answers later: ask after so long; the last one is repeated.
TAKEN_BACKOFF: Final = (
    timedelta(minutes=1),
    timedelta(minutes=10),
    timedelta(hours=1),
    timedelta(hours=6),
    timedelta(hours=24),
)
TAKEN_BEFORE_ATTENTION: Final = 8

# Failures that no retry can mend: a void after settlement, and a refund of what was voided.
ALREADY_SETTLED: Final = "already_settled"
ALREADY_VOIDED: Final = "already_voided"
METHOD_NOT_ALLOWED: Final = "method_not_allowed"
_PERMANENT: Final = {RefundKind.VOID: frozenset({ALREADY_SETTLED}), RefundKind.REFUND: frozenset({ALREADY_VOIDED})}


def is_over(state: RefundState) -> bool:
    return state.phase in FINAL


def next_step(state: RefundState, now: datetime) -> RefundStep:
    """What to do at this time. What was noted goes to the books before anything is waited for."""
    due = _due(state)
    if due is None:
        return Record() if state.journal else End()
    at, step, why = due
    if at <= now:
        return step
    return Record() if state.journal else Wait(at, why)


def _due(state: RefundState) -> tuple[datetime, RefundStep, str] | None:  # noqa: PLR0911 - one return per phase
    """The next thing to do, when, and why; None once it is over."""
    match state.phase:
        case RefundPhase.TRY:
            return state.requested_at, GiveBack(), "the gateway is called"
        case RefundPhase.PARKED:
            return _set(state.not_before), GiveBack(), "the gateway is down"
        case RefundPhase.UNKNOWN:
            return _set(state.not_before), AskReturn(), "ask the gateway what became of it"
        case RefundPhase.TAKEN:
            return _set(state.not_before), AskReturn(), "ask the gateway for its answer"
        case RefundPhase.QUEUED:
            why = f"daily retry {state.retries + 1} of {REFUND_RETRIES_MAX}"
            return _set(state.retry_at), RefundTick(RefundTimePassed("retry")), why
        case RefundPhase.APPROVAL:
            why = "a lead must approve, or it lapses"
            return _set(state.approval_deadline), RefundTick(RefundTimePassed("lapse")), why
        case _:
            return None


def apply(state: RefundState, fact: RefundFact, now: datetime) -> RefundState:
    """The refund after this fact. An outcome of another try than the running one changes nothing."""
    match fact:
        case Recorded():
            return replace(state, journal=tuple(entry for entry in state.journal if entry.seq > fact.seq))
        case RefundTimePassed():
            return _time_passed(state, fact, now)
        case _:
            return state if fact.number != state.number or is_over(state) else _answered(state, fact, now)


def attention(state: RefundState) -> str | None:
    """Why a person should look, in a sentence; None while all goes its way."""
    match state.phase:
        case RefundPhase.UNKNOWN if state.lookups >= LOOKUPS_BEFORE_ATTENTION:
            return f"The answer to try {state.number} is lost and {state.gateway} does not say what became of it."
        case RefundPhase.TAKEN if state.lookups >= TAKEN_BEFORE_ATTENTION:
            return f"{state.gateway} took try {state.number} and still has no answer."
        case RefundPhase.PARKED if state.parked >= PARKED_BEFORE_ATTENTION:
            return f"{state.gateway} has been down for a while; the money has not gone back."
        case RefundPhase.FAILED:
            return f"It left the queue without success ({state.last_code}); the money has not gone back."
        case _:
            return None


def _time_passed(state: RefundState, fact: RefundTimePassed, now: datetime) -> RefundState:
    match fact.what:
        case "retry":
            if state.phase is not RefundPhase.QUEUED:
                return state
            return replace(state, phase=RefundPhase.TRY, trigger="retry", retries=state.retries + 1, retry_at=None)
        case "lapse":
            if state.phase is not RefundPhase.APPROVAL:
                return state
            return over(state.note(now, "approval_lapsed"), RefundPhase.LAPSED, now)
        case _:
            assert_never(fact.what)


def _answered(state: RefundState, outcome: ReturnOutcome, now: datetime) -> RefundState:
    match outcome:
        case Returned():
            state = state.note(
                now,
                "given_back",
                number=outcome.number,
                what=state.kind.value,
                amount=state.amount,
                currency=state.currency,
                gateway=state.gateway,
                gateway_id=outcome.gateway_id,
                method_id=state.payment_method_id,
            )
            return over(replace(state, last_code=None), RefundPhase.SUCCEEDED, now)
        case ReturnFailed():
            return _failed(state, outcome, now)
        case ReturnTaken():
            return _taken(state, outcome, now)
        case ReturnUnknown():
            return _unknown(state, now)
        case ReturnParked():
            return _parked(state, now)
        case ReturnNeverArrived():
            state = state.note(now, "never_arrived", number=outcome.number)
            # It may be sent again under the same key, but not in a tight circle.
            until = now + _backoff(PARKED_BACKOFF, state.parked)
            return replace(state, phase=RefundPhase.PARKED, parked=state.parked + 1, lookups=0, not_before=until)
        case _:
            assert_never(outcome)


def _failed(state: RefundState, failed: ReturnFailed, now: datetime) -> RefundState:
    state = state.note(
        now, "try_failed", number=failed.number, what=state.kind.value, code=failed.code, message=failed.message
    )
    if failed.code in _PERMANENT[state.kind] and not _follows(state):
        return over(_gave_up(state, now, "failed", failed.code), RefundPhase.FAILED, now)
    state = _next_try(replace(state, last_code=failed.code))
    if _follows(state):
        state = state.note(now, "refund_follows", code=failed.code)
        return replace(state, kind=RefundKind.REFUND, phase=RefundPhase.TRY, trigger="request")
    if failed.code == METHOD_NOT_ALLOWED and state.payment_method_id is not None:
        # No retry can make the gateway allow it: what is tried from now on is the method that paid.
        state = replace(state.note(now, "method_taken_back", method_id=state.payment_method_id), payment_method_id=None)
    return _queued(state, now)


def _follows(state: RefundState) -> bool:
    """A void that was only the first choice: a refund follows where it fails."""
    return state.void_first and state.kind is RefundKind.VOID


def _queued(state: RefundState, now: datetime) -> RefundState:
    """Into the queue, or out of it after the last daily retry. A try by hand leaves the next day as it was."""
    if state.retries >= REFUND_RETRIES_MAX:
        return over(_gave_up(state, now, "exhausted", state.last_code), RefundPhase.FAILED, now)
    state = replace(state, first_failed_at=state.first_failed_at or now)
    kept = state.retry_at if state.trigger == "manual" else None
    at = kept if kept is not None and kept > now else _a_day_later(state, now)
    state = state.note(
        now,
        "queued",
        retry=state.retries + 1,
        retries=REFUND_RETRIES_MAX,
        retry_at=at.isoformat(),
        code=state.last_code,
    )
    return replace(state, phase=RefundPhase.QUEUED, retry_at=at)


def _a_day_later(state: RefundState, now: datetime) -> datetime:
    """The next local day at the wall time of the first failure; a late retry does not bring the next one nearer."""
    first = state.first_failed_at or now
    wall = first.astimezone(zone_of(state.zone)).time()
    return max(at_local(local_day(now, state.zone) + timedelta(days=1), wall, state.zone), now)


def _gave_up(state: RefundState, now: datetime, kind: str, code: str | None) -> RefundState:
    state = replace(state, last_code=code)
    return state.note(now, kind, code=code, retries=state.retries, amount=state.amount, currency=state.currency)


def over(state: RefundState, phase: RefundPhase, now: datetime) -> RefundState:
    """The refund has ended; nothing is due any more."""
    return replace(state, phase=phase, ended_at=now, retry_at=None, not_before=None)


def _next_try(state: RefundState) -> RefundState:
    """A new number, and so a new key."""
    return replace(state, number=state.number + 1, parked=0, lookups=0, not_before=None)


def _taken(state: RefundState, taken: ReturnTaken, now: datetime) -> RefundState:
    if state.phase is not RefundPhase.TAKEN:
        state = state.note(now, "accepted", number=taken.number, gateway_id=taken.gateway_id)
        state = replace(state, lookups=0)
    return _asked_again(state, now)


def _asked_again(state: RefundState, now: datetime) -> RefundState:
    lookups = state.lookups + 1
    if lookups == TAKEN_BEFORE_ATTENTION:
        state = state.note(now, "answer_overdue", number=state.number)
    until = now + _backoff(TAKEN_BACKOFF, state.lookups)
    return replace(state, phase=RefundPhase.TAKEN, lookups=lookups, not_before=until)


def _unknown(state: RefundState, now: datetime) -> RefundState:
    if state.phase is RefundPhase.TAKEN:
        return _asked_again(state, now)  # that it has the order is known; only this question went unanswered
    if state.phase is not RefundPhase.UNKNOWN:
        state = state.note(now, "outcome_unknown", number=state.number, gateway=state.gateway)
        state = replace(state, lookups=0)
    lookups = state.lookups + 1
    if lookups == LOOKUPS_BEFORE_ATTENTION:
        state = state.note(now, "outcome_overdue", number=state.number, gateway=state.gateway)
    until = now + _backoff(LOOKUP_BACKOFF, state.lookups)
    return replace(state, phase=RefundPhase.UNKNOWN, lookups=lookups, not_before=until)


def _parked(state: RefundState, now: datetime) -> RefundState:
    parked = state.parked + 1
    if state.parked == 0:
        state = state.note(now, "gateway_down", number=state.number, gateway=state.gateway)
    elif parked == PARKED_BEFORE_ATTENTION:
        state = state.note(now, "gateway_still_down", number=state.number, gateway=state.gateway)
    until = now + _backoff(PARKED_BACKOFF, state.parked)
    return replace(state, phase=RefundPhase.PARKED, parked=parked, not_before=until)


def _backoff(steps: Sequence[timedelta], used: int) -> timedelta:
    return steps[min(used, len(steps) - 1)]


def _set(moment: datetime | None) -> datetime:
    if moment is None:
        raise Broken("a refund waits without a time")
    return moment
