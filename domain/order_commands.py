"""What people and programs may ask of an order, when, and what it changes.

`handle` refuses with `Refused` (a stable code, and what is allowed now) or returns the new state. It only changes
state; the loop acts on it. A command seen before changes nothing and is a success.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from typing import assert_never

from domain.collection import is_outcome_open
from domain.errors import Refused
from domain.order_holds import capture, is_on_hold, release
from domain.order_lines import check_lines, dues_of, keep_coupons
from domain.order_messages import (
    CancelOrder,
    CaptureOrder,
    OrderEnvelope,
    Pay,
    Place,
    ReleaseOrder,
    SetBuyer,
    SetLines,
)
from domain.order_state import Ending, OrderState, OrderStatus
from domain.orders import collecting_of, ended_unpaid, issue, void_invoice
from domain.state import RECENT_COMMANDS_MAX, Act, Phase

ATTEMPTS_MAX = 25

_UNPAID = frozenset({OrderStatus.DRAFT, OrderStatus.OPEN})
ALLOWED_IN: dict[str, frozenset[OrderStatus]] = {
    "set_lines": _UNPAID,
    "place": frozenset({OrderStatus.DRAFT}),
    "pay": _UNPAID,
    "capture_order": frozenset({OrderStatus.AUTHORISED}),
    "release_order": frozenset({OrderStatus.AUTHORISED}),
    "cancel_order": _UNPAID | {OrderStatus.PAYING, OrderStatus.AUTHORISED, OrderStatus.PAID},
}
_OF_A_HOLD = frozenset({"capture_order", "release_order"})
_CODES = {
    OrderStatus.PAID: ("already_paid", "this order is paid"),
    OrderStatus.PAYING: ("payment_under_way", "a charge of this order is under way; its outcome comes first"),
    OrderStatus.AUTHORISED: (
        "payment_authorised",
        "the money of this order is authorised: capture it, or release it first",
    ),
    OrderStatus.RELEASING: (
        "release_under_way",
        "what was authorised for this order is being given back; the outcome of that comes first",
    ),
    OrderStatus.CANCELING: ("order_canceled", "this order is being cancelled"),
    OrderStatus.CANCELED: ("order_canceled", "this order is cancelled"),
    OrderStatus.LAPSED: ("order_lapsed", "this order was not paid in time; make a new one"),
    OrderStatus.OPEN: ("already_placed", "this order is placed already"),
    OrderStatus.DRAFT: ("not_placed", "this order is not placed yet"),
}


def allowed(state: OrderState) -> tuple[str, ...]:
    """The kinds of command that would be accepted now, in a stable order."""
    return tuple(kind for kind in ALLOWED_IN if _refusal(state, kind) is None)


def _refusal(state: OrderState, kind: str) -> tuple[str, str] | None:
    if kind in _OF_A_HOLD and state.status in _UNPAID:
        return "not_authorised", "nothing is authorised for this order"
    if state.status not in ALLOWED_IN[kind]:
        return _CODES[state.status]
    match kind:
        case "cancel_order" if is_outcome_open(state.collecting):
            return "outcome_open", "the gateway has not said what became of the charge; it is being asked"
        case "pay" if state.collecting is not None and state.collecting.attempt > ATTEMPTS_MAX:
            return "too_many_tries", f"this order was tried {ATTEMPTS_MAX} times; make a new one"
        case _:
            return None


def handle(state: OrderState, envelope: OrderEnvelope, now: datetime) -> OrderState:
    """The order after a command. Raises `Refused` (wrong moment) or `InvalidInput` (wrong value)."""
    if envelope.id in state.recent_commands:
        return state
    # Whose it is may change at any time: a charge that waits for its gateway is tried with the cards of its customer.
    refusal = None if isinstance(envelope.command, SetBuyer) else _refusal(state, envelope.command.kind)
    if refusal is not None:
        raise Refused(*refusal, allowed=allowed(state))
    state = _take(state, envelope, now)
    return replace(state, recent_commands=(*state.recent_commands, envelope.id)[-RECENT_COMMANDS_MAX:])


def _take(state: OrderState, envelope: OrderEnvelope, now: datetime) -> OrderState:  # noqa: PLR0911 - one for each case
    command, actor, reason = envelope.command, envelope.actor, envelope.reason
    match command:
        case SetLines():
            return _set_lines(state, command, actor, reason, now)
        case Place():
            state = state.note(now, "order_placed", actor=actor, reason=reason)
            return issue(state, now, trigger="order", phase=Phase.EXHAUSTED)
        case Pay():
            return _pay(state, command, actor, reason, now)
        case CaptureOrder():
            state = state.note(now, "capture_asked", actor=actor, reason=reason)
            return capture(state, collecting_of(state), command.amount)
        case ReleaseOrder():
            state = state.note(now, "release_asked", actor=actor, reason=reason)
            return release(state, collecting_of(state))
        case CancelOrder():
            return _cancel(state, command, actor, reason, now)
        case SetBuyer():
            return _set_buyer(state, command, actor, reason, now)
        case _:
            assert_never(command)


def _set_lines(state: OrderState, command: SetLines, actor: str, reason: str, now: datetime) -> OrderState:
    if command.revision is not None and command.revision != state.revision:
        raise Refused(
            "changed_meanwhile",
            f"the order was changed meanwhile: it is at revision {state.revision}, not {command.revision}",
            allowed=allowed(state),
        )
    check_lines(command.lines, state.currency)
    lines = keep_coupons(state.lines, command.lines)
    state = void_invoice(state, now)
    state = replace(
        state,
        lines=lines,
        dues=dues_of(lines, state.currency, state.zone, state.tax, now),
        revision=state.revision + 1,
        edited_at=now,
        status=OrderStatus.DRAFT,
        invoice_id=None,
        placed_at=None,
    )
    return state.note(
        now,
        "lines_changed",
        actor=actor,
        reason=reason,
        lines=len(lines),
        total=state.total,
        currency=state.currency,
        revision=state.revision,
    )


def _pay(state: OrderState, command: Pay, actor: str, reason: str, now: datetime) -> OrderState:
    if command.total is not None and command.total != state.total:
        raise Refused("price_changed", "the order was changed: look at its total again", allowed=allowed(state))
    collecting = state.collecting
    if collecting is not None and command.method_id is not None and command.method_id in collecting.refused:
        raise Refused(
            "method_refused",
            "this method was declined for good; the order needs another one",
            allowed=allowed(state),
        )
    act = Act.AUTHORISE if command.hold else Act.SALE
    state = state.note(now, "payment_asked", actor=actor, reason=reason, method_id=command.method_id)
    if collecting is None:
        state = issue(state, now, trigger=command.trigger, phase=Phase.CHARGE)
        if state.collecting is None:
            return state  # nothing was due
        return replace(state, collecting=replace(collecting_of(state), use_method=command.method_id, act=act))
    again = replace(
        collecting,
        phase=Phase.CHARGE,
        manual=True,
        use_method=command.method_id,
        trigger=command.trigger,
        tried=(),
        act=act,
        held_until=None,
    )
    return replace(state, status=OrderStatus.PAYING, collecting=again)


def _set_buyer(state: OrderState, command: SetBuyer, actor: str, reason: str, now: datetime) -> OrderState:
    """Told twice is told once. What is due stays as it was promised."""
    if command.customer_id == state.customer_id:
        return state
    before = state.customer_id
    state = state.note(now, "customer_set", actor=actor, reason=reason, before=before, after=command.customer_id)
    return replace(state, customer_id=command.customer_id, notice_days=command.notice_days, tax=command.tax)


def _cancel(state: OrderState, command: CancelOrder, actor: str, reason: str, now: datetime) -> OrderState:
    ending = Ending(actor, reason, command.give_back, command.end_subscriptions)
    if state.status is OrderStatus.PAID:
        state = state.note(now, "cancel_asked", actor=actor, reason=reason, give_back=command.give_back)
        return replace(state, status=OrderStatus.CANCELING, ending=ending)
    collecting = state.collecting
    if collecting is not None and (state.status is OrderStatus.AUTHORISED or is_on_hold(collecting)):
        state = state.note(now, "cancel_asked", actor=actor, reason=reason, give_back=True)
        # Nothing was taken. Where it was after all, without our knowledge, all of it goes back.
        return release(state, collecting, ending=replace(ending, give_back=True, end_subscriptions=True))
    return ended_unpaid(state, ending, now)
