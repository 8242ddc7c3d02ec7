"""How the open invoice is collected: what each outcome of an attempt leads to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import TypeVar, assert_never

from domain.declines import DeclineKind
from domain.dunning import is_exhausted, round_failed
from domain.errors import Broken
from domain.facts import (
    ActionRequired,
    Authorised,
    Charged,
    Declined,
    NeverArrived,
    NoMethod,
    Outcome,
    Parked,
    Released,
    Unknown,
)
from domain.invoicing import grant, priced, waiting_lines
from domain.ledger import with_taxes
from domain.money import Money
from domain.order_state import OrderState
from domain.plan import missed_before, pass_over
from domain.state import SYSTEM, Access, Collecting, Entry, EntryData, InvoiceReason, Phase, State, Status
from domain.steps import AskGateway, Charge
from domain.tax import taxes_of_part
from domain.terms import DunningTerms, EndAction

# The gateway is down: the same attempt again after so long; the last one is repeated.
PARKED_BACKOFF = (timedelta(minutes=1), timedelta(minutes=5), timedelta(minutes=15), timedelta(hours=1))
# The answer is lost: ask after so long; the last one is repeated until a person settles it.
LOOKUP_BACKOFF = (
    timedelta(seconds=30),
    timedelta(minutes=2),
    timedelta(minutes=10),
    timedelta(hours=1),
    timedelta(hours=6),
    timedelta(hours=24),
)
LOOKUPS_BEFORE_ATTENTION = 4
PARKED_BEFORE_ATTENTION = 6
ACTION_TIME_MAX = timedelta(hours=24)
ACTION_EXPIRED = "authentication_expired"

# Whose invoice is being collected: a subscription's or an order's.
Debtor = TypeVar("Debtor", State, OrderState)


def when_to_act(collecting: Collecting) -> tuple[datetime, Charge | AskGateway] | None:
    """The next thing to do for the open invoice by itself, and when; None while dunning decides, or a person."""
    match collecting.phase:
        case Phase.CHARGE:
            return collecting.issued_at, Charge()
        case Phase.PARKED:
            return _not_before(collecting), Charge()
        case Phase.UNKNOWN:
            return _not_before(collecting), AskGateway()
        case Phase.ACTION:
            deadline = collecting.action_deadline or _not_before(collecting)
            if _not_before(collecting) < deadline:
                return _not_before(collecting), AskGateway()
            return deadline, AskGateway(give_up=True)
        case Phase.DUNNING | Phase.EXHAUSTED | Phase.HELD:
            return None
        case _:
            assert_never(collecting.phase)


def is_outcome_open(collecting: Collecting | None) -> bool:
    """The gateway may hold money we do not know of: nothing else may be tried or ended before it answers."""
    return collecting is not None and collecting.phase in {Phase.UNKNOWN, Phase.ACTION}


def settle(state: State, outcome: Outcome, now: datetime) -> State:
    """The state after this outcome of the running attempt. An outcome of another attempt changes nothing."""
    collecting = state.collecting
    if collecting is None or outcome.attempt != collecting.attempt:
        return state
    match outcome:
        case Charged():
            return _paid(state, collecting, outcome, now)
        case Declined():
            return _declined(state, collecting, outcome, now)
        case NoMethod():
            state = state.note(now, "no_payment_method", invoice_id=collecting.invoice_id, attempt=outcome.attempt)
            if collecting.reason is InvoiceReason.ONE_OFF:
                return _void(state, collecting, now)
            return _round_over(state, collecting, outcome.policy, now)
        case Parked() | NeverArrived() | Unknown() | ActionRequired():
            return wait_for_answer(state, collecting, outcome, now)
        case Authorised() | Released():
            raise Broken(f"subscription {state.id} is charged by sales alone")
        case _:
            assert_never(outcome)


def wait_for_answer(
    state: Debtor, collecting: Collecting, outcome: Parked | NeverArrived | Unknown | ActionRequired, now: datetime
) -> Debtor:
    """The attempt has no final outcome yet: when it is sent again or asked for."""
    match outcome:
        case Parked():
            return _parked(state, collecting, outcome.gateway, now)
        case NeverArrived():
            # It may be sent again under the same key, but not in a tight circle.
            until = now + _backoff(PARKED_BACKOFF, collecting.parked)
            again = replace(collecting, phase=Phase.PARKED, parked=collecting.parked + 1, lookups=0, not_before=until)
            return replace(state, collecting=again)
        case Unknown():
            return _unknown(state, collecting, outcome.gateway, now)
        case ActionRequired():
            return _action_required(state, collecting, outcome, now)
        case _:
            assert_never(outcome)


def write_off(state: State, now: datetime, reason: str) -> State:
    """Stop collecting: what is still owed becomes a loss, or nothing if the invoice was for nothing."""
    collecting = state.collecting
    if collecting is None:
        return state
    if collecting.reason is InvoiceReason.ONE_OFF:
        return _void(state, collecting, now)
    if collecting.amount_due:
        state = state.note(
            now,
            "invoice_written_off",
            reason=reason,
            also=_taxes(collecting, state.currency),
            invoice_id=collecting.invoice_id,
            cycle=collecting.cycle,
            amount=collecting.amount_due,
            currency=state.currency,
        )
    return replace(state, collecting=None, grace_until=None)


def _taxes(collecting: Collecting, currency: str) -> EntryData:
    """What of the amount still due is tax, and is owed no more: of a part, where credit has paid for the rest."""
    if not collecting.taxes:
        return {}
    total, due = Money(collecting.total, currency), Money(collecting.amount_due, currency)
    return with_taxes(taxes_of_part(collecting.taxes, total, Money.zero(currency), due, ()))


def _paid(state: State, collecting: Collecting, charged: Charged, now: datetime) -> State:
    recovered = collecting.dunning is not None
    stopped = state.access in {Access.NONE, Access.STOPPED}
    forgives = stopped and is_exhausted(collecting)
    data: EntryData = {
        "invoice_id": collecting.invoice_id,
        "cycle": collecting.cycle,
        "attempt": charged.attempt,
        "amount": charged.amount,
        "currency": state.currency,
        "method_id": charged.method_id,
        "gateway": charged.gateway,
        "gateway_id": charged.gateway_id,
        "recovered": recovered,
    }
    if state.terms.physical and collecting.reason is not InvoiceReason.ONE_OFF:
        data["ships"] = True  # see `domain.fulfilment.ships`
    kind = "payment_succeeded" if charged.amount else "invoice_settled"
    state = state.enter(Entry(state.seq + 1, now, kind, SYSTEM, "", data))
    if collecting.reason is InvoiceReason.ONE_OFF:
        return replace(state, collecting=None)
    trialing = state.trial_end is not None and now < state.trial_end
    running = state.running
    if stopped:
        state = state.note(now, "access_started")
    state = replace(
        state,
        status=Status.TRIALING if trialing else Status.ACTIVE,
        access=Access.ACTIVE,
        grace_until=None,
        paid_for_period=state.paid_for_period + collecting.pays_for_period,
        running=running and replace(running, paid=running.paid + collecting.pays_for_running),
        collecting=None,
    )
    if recovered:
        state = state.note(now, "dunning_ended", invoice_id=collecting.invoice_id)
    return _forgive_stopped_cycles(state, now) if forgives else state


def _forgive_stopped_cycles(state: State, now: datetime) -> State:
    """Dunning had run out and access had stopped: the cycles of that time were not delivered and are not billed."""
    missed = missed_before(state, now)
    if missed <= 0:
        return state
    first = state.cycle
    state = pass_over(state, missed)
    return state.note(now, "cycles_not_billed", first=first, cycles=missed, why="access was stopped")


def _declined(state: State, collecting: Collecting, declined: Declined, now: datetime) -> State:
    hard = declined.decline is DeclineKind.HARD
    state = state.note(
        now,
        "payment_declined",
        invoice_id=collecting.invoice_id,
        cycle=collecting.cycle,
        attempt=declined.attempt,
        amount=collecting.amount_due,
        currency=state.currency,
        method_id=declined.method_id,
        gateway=declined.gateway,
        code=declined.code,
        decline=declined.decline.value,
        another=declined.another,
    )
    if collecting.reason is InvoiceReason.ONE_OFF:
        return _void(state, collecting, now)
    collecting = replace(
        collecting,
        tried=(*collecting.tried, declined.method_id),
        refused=(*collecting.refused, declined.method_id) if hard else collecting.refused,
    )
    if declined.another and collecting.use_method is None:
        return replace(state, collecting=replace(next_attempt(collecting), trigger="backup_method"))
    return _round_over(state, collecting, declined.policy, now)


def _void(state: State, collecting: Collecting, now: datetime) -> State:
    """A charge by hand that failed is as if it had not been asked: its invoice is void, nobody is dunned for it."""
    state = state.note(
        now,
        "invoice_voided",
        also=_taxes(collecting, state.currency),
        invoice_id=collecting.invoice_id,
        cycle=collecting.cycle,
        amount=collecting.amount_due,
        currency=state.currency,
    )
    return replace(state, collecting=None)


def _round_over(state: State, collecting: Collecting, policy: DunningTerms, now: datetime) -> State:
    state = round_failed(replace(state, collecting=next_attempt(collecting)), now, policy)
    after = state.collecting
    if after is None or after.dunning is None or not is_exhausted(after):
        return state
    if collecting.dunning is not None and is_exhausted(collecting):
        return state  # a try by hand after the end: the end action was taken already
    action = after.dunning.policy.end_action
    state = state.note(now, "dunning_exhausted", invoice_id=after.invoice_id, end_action=action.value)
    match action:
        case EndAction.CANCEL:
            return end(state, now, actor="system", reason="dunning ended without payment")
        case EndAction.PAUSE:
            state = state.note(now, "paused", why="dunning ended without payment")
            return replace(state, status=Status.PAUSED, access=Access.STOPPED, grace_until=None, pause=None)
        case EndAction.STAY_OVERDUE:
            return state
        case _:
            assert_never(action)


def end(state: State, now: datetime, *, actor: str, reason: str) -> State:
    """The subscription is over: access stops, what is open is written off, nothing will be billed.

    There is no next invoice: what it would have given back goes on account, less what it would have charged for
    added time that has passed. What it would have charged beyond that is waived, and said so.
    """
    state = write_off(state, now, reason)
    charges = tuple(line for line in state.pending_lines if line.amount > 0)
    given = tuple(line for line in state.pending_lines if line.amount < 0)
    passed = tuple(line for line in waiting_lines(state, now) if line.amount > 0)
    waiting, owed = priced(state, charges, now).total, -priced(state, given, now).total
    balance = priced(state, (*given, *passed), now)
    back = max(-balance.total, 0)
    taxes = tuple(replace(share, amount=-share.amount) for share in balance.taxes) if back else ()
    state = grant(state, now, back, source="unused", actor=actor, reason=reason, taxes=taxes)
    set_off = owed - back
    if waiting > set_off:
        state = state.note(
            now, "added_time_waived", actor=actor, reason=reason, amount=waiting - set_off, currency=state.currency
        )
    state = state.note(now, "canceled", actor=actor, reason=reason)
    return replace(
        state,
        status=Status.CANCELED,
        access=Access.STOPPED,
        ended_at=now,
        cancel=None,
        pause=None,
        change=None,
        stub=None,
        skip_cycles=0,
        force=False,
        pending_lines=(),
        grace_until=None,
    )


def _parked(state: Debtor, collecting: Collecting, gateway: str, now: datetime) -> Debtor:
    if collecting.parked == 0:
        state = state.note(now, "gateway_down", gateway=gateway, invoice_id=collecting.invoice_id)
    until = now + _backoff(PARKED_BACKOFF, collecting.parked)
    parked = replace(collecting, phase=Phase.PARKED, parked=collecting.parked + 1, not_before=until)
    return replace(state, collecting=parked)


def _unknown(state: Debtor, collecting: Collecting, gateway: str, now: datetime) -> Debtor:
    if collecting.phase is not Phase.UNKNOWN:
        state = state.note(
            now, "outcome_unknown", gateway=gateway, invoice_id=collecting.invoice_id, attempt=collecting.attempt
        )
        collecting = replace(collecting, lookups=0)
    until = now + _backoff(LOOKUP_BACKOFF, collecting.lookups)
    asked = replace(collecting, phase=Phase.UNKNOWN, lookups=collecting.lookups + 1, not_before=until)
    return replace(state, collecting=asked)


def _action_required(state: Debtor, collecting: Collecting, action: ActionRequired, now: datetime) -> Debtor:
    if collecting.phase is not Phase.ACTION:
        deadline = now + ACTION_TIME_MAX
        state = state.note(
            now,
            "action_required",
            invoice_id=collecting.invoice_id,
            attempt=action.attempt,
            method_id=action.method_id,
            url=action.url,
            deadline=deadline.isoformat(),
        )
        collecting = replace(collecting, lookups=0, action_deadline=deadline)
    until = now + _backoff(LOOKUP_BACKOFF, collecting.lookups)
    if collecting.action_deadline is not None and collecting.action_deadline <= now:
        # The gateway did not take the withdrawal: that is what is tried again, later.
        collecting = replace(collecting, action_deadline=until)
    waiting = replace(collecting, phase=Phase.ACTION, lookups=collecting.lookups + 1, not_before=until)
    return replace(state, collecting=waiting)


def next_attempt(collecting: Collecting) -> Collecting:
    """A new number, and so a new key: for another method, or for the same one at another time."""
    return replace(
        collecting,
        phase=Phase.CHARGE,
        attempt=collecting.attempt + 1,
        parked=0,
        lookups=0,
        not_before=None,
        action_deadline=None,
    )


def _backoff(steps: Sequence[timedelta], used: int) -> timedelta:
    return steps[min(used, len(steps) - 1)]


def _not_before(collecting: Collecting) -> datetime:
    if collecting.not_before is None:
        raise Broken(f"invoice {collecting.invoice_id} waits without a time")
    return collecting.not_before
