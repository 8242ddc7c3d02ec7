"""What people and programs may ask of a subscription, when, and what it changes.

`handle` refuses with `Refused` (a stable code, and what is allowed now) or returns the new state. It only changes
state; the loop acts on it. A command seen before changes nothing and is a success.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from domain.calendar import days_later, whole_second
from domain.changes import change_date, change_terms, set_customer
from domain.collection import end, is_outcome_open, next_attempt
from domain.errors import Broken, InvalidInput, Refused
from domain.invoicing import credit_unused, grant, open_invoice
from domain.lifecycle import pause_now, resume_now
from domain.messages import (
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
    Restart,
    RestartTrial,
    Resume,
    SetCustomer,
    SetNotice,
    Skip,
    StopTrial,
    UndoCancel,
    When,
)
from domain.plan import begin_cycles, due_at, follow
from domain.price_commands import take_price_command
from domain.state import (
    RECENT_COMMANDS_MAX,
    Access,
    Cancelling,
    Hold,
    InvoiceReason,
    Line,
    LineKind,
    Pausing,
    Phase,
    State,
    Status,
)
from domain.terms import TRIAL_DAYS_MAX

SKIP_CYCLES_MAX = 120
NOTICE_DAYS_MAX = 60
CREDIT_MINOR_MAX = 10**12
CHARGE_MINOR_MAX = 10**12
HOLD_TIME_MAX = timedelta(days=366)

_RUNNING = frozenset({Status.ACTIVE, Status.OVERDUE})
_ALIVE = frozenset({Status.SCHEDULED, Status.TRIALING, Status.ACTIVE, Status.OVERDUE, Status.PAUSED})

# The statuses in which each command makes sense at all; finer conditions follow in its handler.
ALLOWED_IN: dict[str, frozenset[Status]] = {
    "skip": _RUNNING | {Status.PAUSED},
    "extend_trial": frozenset({Status.TRIALING}),
    "restart_trial": frozenset({Status.TRIALING, Status.ACTIVE}),
    "end_trial": frozenset({Status.TRIALING}),
    "stop_trial": frozenset({Status.TRIALING}),
    "change_terms": frozenset({Status.SCHEDULED, Status.TRIALING, Status.ACTIVE, Status.OVERDUE}),
    "change_date": frozenset({Status.ACTIVE}),
    "force_bill": _RUNNING | {Status.PAUSED},
    "charge_now": frozenset({Status.TRIALING, Status.ACTIVE, Status.PAUSED}),
    "pause": frozenset({Status.ACTIVE}),
    "resume": _RUNNING | {Status.TRIALING, Status.PAUSED},
    "cancel": _ALIVE,
    "undo_cancel": _ALIVE,
    "restart": frozenset({Status.CANCELED}),
    "grant_credit": _ALIVE,
    "place_hold": _ALIVE,
    "release_hold": _ALIVE,
    "collect_now": _ALIVE,
    "bill_due": _ALIVE,
    "set_notice": _ALIVE | {Status.CANCELED},
    "add_discount": _ALIVE,
    "remove_discount": _ALIVE,
    "set_tax": _ALIVE | {Status.CANCELED},
    "set_customer": _ALIVE | {Status.CANCELED},
}


def allowed(state: State, now: datetime) -> tuple[str, ...]:
    """The kinds of command that would be accepted now, in a stable order."""
    return tuple(kind for kind in ALLOWED_IN if _refusal(state, kind, now) is None)


def handle(state: State, envelope: Envelope, now: datetime) -> State:
    """The state after a command. Raises `Refused` (wrong moment) or `InvalidInput` (wrong value)."""
    if envelope.id in state.recent_commands:
        return state
    refusal = _refusal(state, envelope.command.kind, now)
    if refusal is not None:
        code, message = refusal
        raise Refused(code, message, allowed=allowed(state, now))
    if envelope.expected_cycle is not None and envelope.expected_cycle != state.cycle:
        raise Refused(
            "cycle_passed",
            f"the command was meant for cycle {envelope.expected_cycle}; the next cycle is {state.cycle} by now",
            allowed=allowed(state, now),
        )
    try:
        state = _take(state, envelope, now)
    except Refused as refused:
        raise Refused(refused.code, refused.message, allowed=allowed(state, now)) from None
    recent = (*state.recent_commands, envelope.id)[-RECENT_COMMANDS_MAX:]
    return replace(follow(state, now), recent_commands=recent)


def _refusal(  # noqa: C901, PLR0911, PLR0912 - the table of rules
    state: State, kind: str, now: datetime
) -> tuple[str, str] | None:
    """Why a command of this kind cannot be taken now: a stable code and a sentence; None if it can."""
    status = state.status
    if status not in ALLOWED_IN[kind]:
        return f"not_while_{status.value}", f"{_words(kind)} is not possible while the subscription is {status.value}"
    collecting = state.collecting
    match kind:
        case "change_date" if state.period is None:
            return "no_period", "the first period has not begun"
        case "change_date" | "pause" | "restart_trial" | "charge_now" if collecting is not None:
            return "payment_open", f"{_words(kind)} has to wait: an invoice is still being collected"
        case "restart_trial" if status is Status.ACTIVE and state.terms.trial_days == 0:
            return "no_trial", "this price has no trial to begin again"
        case "force_bill" if is_outcome_open(collecting):
            return "outcome_open", "the gateway has not said what became of the last charge; it is being asked"
        case "force_bill" if collecting is None and status is not Status.ACTIVE:
            return "nothing_to_bill", "there is no open invoice, and a paused subscription bills nothing"
        case "force_bill" if collecting is None and state.cancel is not None:
            return "cancel_planned", "the subscription ends before its next cycle; take the cancellation back first"
        case "force_bill" if collecting is None and state.pause is not None:
            return "pause_planned", "the subscription pauses before its next cycle; take the pause back first"
        case "force_bill" if collecting is None and state.skip_cycles:
            return "skip_planned", "the next cycle is to be skipped; take the skip back first"
        case "force_bill" if collecting is None and state.period is not None and state.period.start > now:
            begins = state.period.start.isoformat()
            return "billed_ahead", f"the cycle that begins {begins} was billed already; force bills one ahead at most"
        case "force_bill" | "charge_now" if state.hold is not None:
            return "on_hold", "the subscription is on hold; release the hold first"
        case "collect_now" if collecting is None:
            return "nothing_to_collect", "no invoice of this subscription is open"
        case "collect_now" if is_outcome_open(collecting):
            return "outcome_open", "the gateway has not said what became of the last charge; it is being asked"
        case "pause" if state.pause is not None:
            return "pause_planned", "a pause is planned already; resume takes it back"
        case "resume" if status is not Status.PAUSED and state.pause is None:
            return "not_paused", "the subscription is neither paused nor about to be"
        case "resume" if collecting is not None and status is Status.PAUSED:
            return "payment_open", "an invoice is still open: it has to be paid before the subscription goes on"
        case "undo_cancel" if state.cancel is None:
            return "not_canceling", "no cancellation is planned"
        case "remove_discount" if not state.discounts:
            return "no_such_discount", "the subscription has no discount"
        case "place_hold" if state.hold is not None:
            return "on_hold", "the subscription is on hold already"
        case "release_hold" if state.hold is None:
            return "not_on_hold", "the subscription is not on hold"
        case _:
            return None


def _take(state: State, envelope: Envelope, now: datetime) -> State:  # noqa: C901, PLR0911, PLR0912 - one case each
    command: Command = envelope.command
    by = _By(envelope.actor, envelope.reason)
    match command:
        case Skip():
            return _skip(state, command, by, now)
        case ExtendTrial():
            _check("days", command.days, 1, TRIAL_DAYS_MAX)
            return _extend_trial(state, command, by, now)
        case RestartTrial():
            return _restart_trial(state, command, by, now)
        case EndTrial():
            state = by.note(state, now, "trial_ended_early")
            return begin_cycles(replace(state, trial_end=now), now)
        case StopTrial():
            return _end_now(state, _By(by.actor, by.reason or "trial stopped"), now, credit=False)
        case ChangeTerms():
            return change_terms(state, command, by.actor, by.reason, now)
        case ChangeDate():
            return change_date(state, command, by.actor, by.reason, now)
        case ForceBill():
            return _force_bill(state, by, now)
        case ChargeNow():
            return _charge_now(state, command, by, now)
        case Pause():
            return _pause(state, command, by, now)
        case Resume():
            return _resume(state, by, now)
        case Cancel():
            return _cancel(state, command, by, now)
        case UndoCancel():
            return replace(by.note(state, now, "cancel_undone"), cancel=None)
        case Restart():
            return _restart(state, by, now)
        case GrantCredit():
            return _grant_credit(state, command, by, now)
        case PlaceHold():
            return _place_hold(state, command, by, now)
        case ReleaseHold():
            return replace(by.note(state, now, "hold_released"), hold=None)
        case CollectNow():
            return _collect_now(state, command.method_id, command.trigger, by, now)
        case BillDue():
            return _bill_due(state, command, now)
        case SetNotice():
            _check("days", command.days, 0, NOTICE_DAYS_MAX)
            return replace(by.note(state, now, "notice_set", days=command.days), notice_days=command.days)
        case SetCustomer():
            return set_customer(state, command, by.actor, by.reason, now)
        case _:
            return take_price_command(state, command, by.actor, by.reason, now)


@dataclass(frozen=True, slots=True)
class _By:
    """Who asked, and why: goes into every line of the timeline that a command writes."""

    actor: str
    reason: str

    def note(self, state: State, now: datetime, kind: str, **data: str | int | bool | None) -> State:
        return state.note(now, kind, actor=self.actor, reason=self.reason, also=dict(data))


def _skip(state: State, command: Skip, by: _By, now: datetime) -> State:
    _check("cycles", command.cycles, 0, SKIP_CYCLES_MAX)
    if command.cycles == 0:
        return replace(by.note(state, now, "skip_undone", cycles=state.skip_cycles), skip_cycles=0)
    cycles = state.skip_cycles + command.cycles
    _check("cycles", cycles, 0, SKIP_CYCLES_MAX)
    state = by.note(state, now, "skip_planned", cycles=command.cycles, first=state.cycle + state.skip_cycles)
    return replace(state, skip_cycles=cycles)


def _trial_until(state: State, until: datetime, by: _By, now: datetime) -> State:
    state = by.note(state, now, "trial_moved", until=until.isoformat())
    return begin_cycles(replace(state, trial_end=until, status=Status.TRIALING), until)


def _extend_trial(state: State, command: ExtendTrial, by: _By, now: datetime) -> State:
    _check("days", command.days, 1, TRIAL_DAYS_MAX)
    until = days_later(state.trial_end or now, command.days, state.zone)
    if until > now + timedelta(days=TRIAL_DAYS_MAX):
        raise InvalidInput("days", f"the trial would then end more than {TRIAL_DAYS_MAX} days from now")
    return _trial_until(state, until, by, now)


def _restart_trial(state: State, command: RestartTrial, by: _By, now: datetime) -> State:
    days = command.days if command.days is not None else state.terms.trial_days
    _check("days", days, 1, TRIAL_DAYS_MAX)
    state = replace(state, access=Access.ACTIVE)
    return _trial_until(state, days_later(now, days, state.zone), by, now)


def _force_bill(state: State, by: _By, now: datetime) -> State:
    if state.collecting is not None:
        return _collect_now(state, None, "force_bill", by, now)
    return replace(by.note(state, now, "force_asked", cycle=state.cycle), force=True)


def _charge_now(state: State, command: ChargeNow, by: _By, now: datetime) -> State:
    _check("amount", command.amount, 1, CHARGE_MINOR_MAX)
    if command.currency != state.currency:
        raise InvalidInput("currency", f"the subscription is billed in {state.currency}", code="currency_mismatch")
    state = by.note(
        state, now, "charge_asked", amount=command.amount, currency=state.currency, description=command.description
    )
    line = Line(LineKind.ONE_OFF, command.description, 1, command.amount, tax_category=state.terms.tax_category)
    state = open_invoice(
        replace(state, changes=state.changes + 1),
        now,
        InvoiceReason.ONE_OFF,
        (line,),
        cycle=state.cycle,
        trigger="charge_now",
        pays_for_period=0,
        span=None,
        sequence=state.changes + 1,
        use_credit=False,
    )
    return replace(state, collecting=state.collecting and replace(state.collecting, use_method=command.method_id))


def _pause(state: State, command: Pause, by: _By, now: datetime) -> State:
    resume_at = command.resume_at and whole_second(command.resume_at)
    if resume_at is not None and resume_at <= now:
        raise InvalidInput("resume_at", "must be in the future")
    due = due_at(state)
    if command.when is When.NOW or due is None or due <= now:
        state = by.note(state, now, "pause_asked", when="now")
        state = credit_unused(state, now, actor=by.actor, reason=by.reason)
        return pause_now(replace(state, pause=Pausing(now, resume_at)), now)
    if resume_at is not None and resume_at <= due:
        raise InvalidInput("resume_at", f"must be after the pause begins, {due.isoformat()}")
    state = by.note(state, now, "pause_asked", when="period_end", begins_at=due.isoformat())
    return replace(state, pause=Pausing(due, resume_at))


def _resume(state: State, by: _By, now: datetime) -> State:
    if state.status is not Status.PAUSED:
        return replace(by.note(state, now, "pause_undone"), pause=None)
    return resume_now(state, now, actor=by.actor, reason=by.reason)


def _cancel(state: State, command: Cancel, by: _By, now: datetime) -> State:
    due = due_at(state)
    later = command.when is When.PERIOD_END and due is not None and due > now and state.status is not Status.PAUSED
    if later and due is not None:
        state = by.note(state, now, "cancel_planned", ends_at=due.isoformat())
        return replace(state, cancel=Cancelling(due, by.reason, by.actor))
    return _end_now(state, by, now, credit=command.refund is RefundChoice.CREDIT)


def _end_now(state: State, by: _By, now: datetime, *, credit: bool) -> State:
    if is_outcome_open(state.collecting):
        # The gateway may hold money for it: the end waits for the answer, and comes at once after it.
        state = by.note(state, now, "cancel_planned", ends_at=now.isoformat())
        return replace(state, cancel=Cancelling(now, by.reason, by.actor, credit))
    if credit:
        state = credit_unused(state, now, actor=by.actor, reason=by.reason)
    return end(state, now, actor=by.actor, reason=by.reason)


def _restart(state: State, by: _By, now: datetime) -> State:
    state = by.note(state, now, "restarted")
    state = replace(
        state,
        status=Status.ACTIVE,
        access=Access.NONE,
        ended_at=None,
        trial_end=None,
        period=None,
        part_of=None,
        paid_for_period=0,
        period_price=None,
        running=None,
    )
    return begin_cycles(state, now)


def _grant_credit(state: State, command: GrantCredit, by: _By, now: datetime) -> State:
    _check("amount", command.amount, 1, CREDIT_MINOR_MAX)
    if command.currency != state.currency:
        raise InvalidInput("currency", f"the subscription is billed in {state.currency}", code="currency_mismatch")
    _check("amount", state.credit + command.amount, 1, CREDIT_MINOR_MAX)
    return grant(
        state,
        now,
        command.amount,
        source=command.source,
        actor=by.actor,
        reason=by.reason,
        transfer_id=command.transfer_id,
    )


def _place_hold(state: State, command: PlaceHold, by: _By, now: datetime) -> State:
    expires_at = whole_second(command.expires_at)
    if not now < expires_at <= now + HOLD_TIME_MAX:
        raise InvalidInput("expires_at", f"must be in the future, at most {HOLD_TIME_MAX.days} days from now")
    if not by.reason:
        raise InvalidInput("reason", "a hold needs a reason")
    state = by.note(state, now, "hold_placed", owner=command.owner, expires_at=expires_at.isoformat())
    return replace(state, hold=Hold(command.owner, by.reason, expires_at))


def _collect_now(state: State, method_id: str | None, trigger: str, by: _By, now: datetime) -> State:
    collecting = state.collecting
    if collecting is None:
        raise Broken("there is no invoice to collect")
    if method_id is not None and method_id in collecting.refused:
        raise Refused("method_refused", "this method was declined for good; the invoice needs another one")
    state = by.note(state, now, "collection_asked", invoice_id=collecting.invoice_id, trigger=trigger)
    if collecting.phase is Phase.PARKED and method_id is not None:
        collecting = next_attempt(collecting)  # another method, another key; the parked attempt took nothing
    # A charge not yet sent stays the same attempt; after a decline the number has moved on already.
    by_hand = collecting.phase in {Phase.DUNNING, Phase.EXHAUSTED} or collecting.manual
    collecting = replace(
        collecting,
        phase=Phase.CHARGE,
        manual=by_hand,
        use_method=method_id,
        trigger=trigger,
        tried=(),
    )
    return replace(state, collecting=collecting)


def _bill_due(state: State, command: BillDue, now: datetime) -> State:
    due = due_at(state)
    if due is None or due > now:
        return state
    return replace(state, triggered_at=now, triggered_by=command.run_id)


def _check(field: str, value: int, least: int, most: int) -> None:
    if not least <= value <= most:
        raise InvalidInput(field, f"must be {least} to {most}")


def _words(kind: str) -> str:
    return kind.replace("_", " ")
