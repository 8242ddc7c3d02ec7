"""Whether money of a charge may be given back, and what people may ask of a refund that is under way.

Both refuse with `Refused`: a stable code, the rule in words, and what is allowed instead.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final, assert_never

from domain.business import RefundRules
from domain.errors import InvalidInput, Refused
from domain.money import Money
from domain.refund_messages import (
    Approve,
    Decline,
    OpenRefund,
    RefundEnvelope,
    RefundMode,
    TakeOut,
    TryNow,
    UseMethod,
)
from domain.refund_state import RefundKind, RefundPhase, RefundState
from domain.refunds import is_over, over
from domain.state import RECENT_COMMANDS_MAX

# The commands that make sense in each phase; none where the gateway may hold an answer that we do not know.
ALLOWED_IN: Final[dict[RefundPhase, tuple[str, ...]]] = {
    RefundPhase.APPROVAL: ("approve", "decline", "take_out"),
    RefundPhase.PARKED: ("try_now", "take_out"),
    RefundPhase.QUEUED: ("try_now", "use_method", "take_out"),
}


@dataclass(frozen=True, slots=True)
class Returnable:
    """A charge as far as it decides what may be given back; amounts in minor units, read under its lock.

    `settlement`: pending, settled or voided. `returned`: given back or held for that. `invoice_left`: what credit
    notes have not corrected of its invoice. `disputed`: the status of a dispute that forbids it. `method_fits`: the
    wanted method is the customer's, in use, and at the same gateway.
    """

    attempt_id: str
    invoice_id: str
    subscription_id: str | None
    customer_id: str
    zone: str
    gateway: str
    sale: str
    status: str
    settlement: str | None
    amount: int
    currency: str
    returned: int
    invoice_left: int
    disputed: str | None
    method_fits: bool
    test_mode: bool
    order_id: str | None = None

    @property
    def left(self) -> int:
        """What may still be given back."""
        return max(min(self.amount - self.returned, self.invoice_left), 0)


def begin(wanted: OpenRefund, charge: Returnable, rules: RefundRules, now: datetime, ahead_s: int = 0) -> RefundState:
    """The refund as it begins. Raises `Refused` where a rule forbids it, `InvalidInput` for an amount below one."""
    kind, amount = decide(wanted, charge)
    limit = rules.approval_limits.get(charge.currency)
    deadline = now + timedelta(hours=rules.approval_hours) if limit is not None and amount > limit else None
    state = opened(wanted, charge, kind, amount, deadline, now, ahead_s)
    state = state.note(
        now,
        "requested",
        actor=wanted.actor,
        reason=wanted.reason,
        mode=wanted.mode.value,
        what=kind.value,
        amount=amount,
        currency=charge.currency,
        method_id=wanted.payment_method_id,
    )
    if deadline is not None:
        state = state.note(now, "approval_asked", deadline=deadline.isoformat(), limit=limit, currency=charge.currency)
    return state


def opened(
    wanted: OpenRefund,
    charge: Returnable,
    kind: RefundKind,
    amount: int,
    deadline: datetime | None,
    now: datetime,
    ahead_s: int,
) -> RefundState:
    """The refund of these terms before anything was told of it."""
    return RefundState(
        id=wanted.id,
        attempt_id=charge.attempt_id,
        invoice_id=charge.invoice_id,
        subscription_id=charge.subscription_id,
        order_id=charge.order_id,
        customer_id=charge.customer_id,
        zone=charge.zone,
        gateway=charge.gateway,
        sale=charge.sale,
        amount=amount,
        currency=charge.currency,
        kind=kind,
        void_first=wanted.mode is RefundMode.VOID_FIRST,
        reason=wanted.reason,
        actor=wanted.actor,
        requested_at=now,
        phase=RefundPhase.APPROVAL if deadline is not None else RefundPhase.TRY,
        test_mode=charge.test_mode,
        ahead_s=ahead_s,
        payment_method_id=wanted.payment_method_id,
        approval_deadline=deadline,
    )


def decide(wanted: OpenRefund, charge: Returnable) -> tuple[RefundKind, int]:
    """Void or refund, and how much. Raises as `begin`."""
    if wanted.amount is not None and wanted.amount < 1:
        raise InvalidInput("amount", "must be at least 1, in the smallest unit of the charge's currency")
    _refuse_early(charge)
    kind = _kind(wanted.mode, charge)
    amount = charge.left if wanted.amount is None else wanted.amount
    if kind is RefundKind.VOID:
        amount = charge.amount if wanted.amount is None else wanted.amount
        if amount < charge.amount:
            raise _only_in_full(wanted.mode, charge, amount)
    if amount > charge.left or amount == 0:
        left = Money(charge.left, charge.currency)
        raise Refused(
            "exceeds_refundable",
            f"only {left} of this charge can still be given back: never more than was captured, less what was given"
            " back, is held for other refunds, or was credited on account",
            allowed=("refund",) if charge.left and kind is RefundKind.REFUND else (),
        )
    if wanted.payment_method_id is not None and (kind is RefundKind.VOID or not charge.method_fits):
        raise Refused(
            "method_not_allowed",
            "a void has no method to choose: it undoes the charge itself"
            if kind is RefundKind.VOID
            else "the money can only go to a method in use of the same customer at the same gateway; choose another,"
            " or none for the method that paid",
        )
    return kind, amount


def _refuse_early(charge: Returnable) -> None:
    if charge.status == "authorised":
        raise Refused("not_captured", "this charge is only authorised: release its order, nothing was captured yet")
    if charge.status != "approved":
        raise Refused("not_captured", f"nothing was captured by this charge (it is {charge.status}): nothing to return")
    if charge.settlement == "voided":
        raise Refused("already_voided", "this charge was voided: all of its money went back")
    if charge.disputed is not None:
        raise Refused(
            "disputed",
            f"the customer's bank disputes this charge (dispute {charge.disputed}): a refund could pay the customer"
            " twice; wait for the dispute's end, or concede it at the gateway",
        )


def _kind(mode: RefundMode, charge: Returnable) -> RefundKind:
    settled = charge.settlement == "settled"
    match mode:
        case RefundMode.VOID:
            if settled:
                raise Refused(
                    "already_settled",
                    "a charge can be voided only before it is settled; refund it instead",
                    allowed=("refund", "void_first"),
                )
            return RefundKind.VOID
        case RefundMode.REFUND:
            if not settled:
                raise Refused(
                    "not_settled",
                    "a charge can be refunded only after the gateway has settled it; void it in full instead, or give"
                    " it back from the order, which does the one that fits",
                    allowed=("void", "void_first"),
                )
            return RefundKind.REFUND
        case RefundMode.VOID_FIRST:
            return RefundKind.REFUND if settled else RefundKind.VOID
        case _:
            assert_never(mode)


def _only_in_full(mode: RefundMode, charge: Returnable, amount: int) -> Refused:
    part = Money(amount, charge.currency)
    if mode is RefundMode.VOID_FIRST:
        return Refused(
            "partial_unsettled",
            f"this charge is not settled yet and can be given back only in full; refund {part} by itself once it is"
            " settled",
            allowed=("void", "void_first"),
        )
    return Refused(
        "void_in_full_only",
        f"a void undoes the whole charge of {Money(charge.amount, charge.currency)}; leave the amount out, or refund"
        f" {part} once it is settled",
        allowed=("void", "void_first"),
    )


# ---------------------------------------------------------------- while it is under way


def allowed(state: RefundState) -> tuple[str, ...]:
    """The kinds of command that would be accepted now, in a stable order."""
    kinds = ALLOWED_IN.get(state.phase, ())
    return tuple(kind for kind in kinds if kind != "use_method" or state.kind is RefundKind.REFUND)


def handle(state: RefundState, envelope: RefundEnvelope, now: datetime) -> RefundState:
    """The refund after a command; one seen before changes nothing. Raises `Refused`; it only changes state."""
    if envelope.id in state.recent_commands:
        return state
    command = envelope.command
    if command.kind not in allowed(state):
        code, message = _refusal(state, command.kind)
        raise Refused(code, message, allowed=allowed(state))
    actor, reason = envelope.actor, envelope.reason
    match command:
        case Approve():
            if actor == state.actor:
                raise Refused(
                    "own_request",
                    "who asked for a refund cannot approve it; another lead must",
                    allowed=allowed(state),
                )
            state = state.note(now, "approved", actor=actor, reason=reason)
            state = replace(state, phase=RefundPhase.TRY, approved_by=actor)
        case Decline():
            state = over(state.note(now, "approval_declined", actor=actor, reason=reason), RefundPhase.CANCELED, now)
        case TryNow():
            state = _by_hand(state.note(now, "try_asked", actor=actor, reason=reason))
        case UseMethod():
            state = state.note(now, "method_changed", actor=actor, reason=reason, method_id=command.payment_method_id)
            state = _by_hand(replace(state, payment_method_id=command.payment_method_id))
        case TakeOut():
            state = over(state.note(now, "taken_out", actor=actor, reason=reason), RefundPhase.CANCELED, now)
        case _:
            assert_never(command)
    return replace(state, recent_commands=(*state.recent_commands, envelope.id)[-RECENT_COMMANDS_MAX:])


def _by_hand(state: RefundState) -> RefundState:
    """Try at once. What is parked is the same try as before; what is queued is a new one, beside the daily ones."""
    if state.phase is RefundPhase.PARKED:
        return replace(state, phase=RefundPhase.TRY)
    return replace(state, phase=RefundPhase.TRY, trigger="manual")


def _refusal(state: RefundState, kind: str) -> tuple[str, str]:
    if is_over(state):
        return "refund_ended", f"this refund is over ({state.status}); open a new one if money is to go back"
    if state.phase in {RefundPhase.TRY, RefundPhase.UNKNOWN, RefundPhase.TAKEN}:
        return "outcome_open", "the gateway may be giving the money back right now; wait for its answer"
    if state.phase is RefundPhase.APPROVAL:
        return "awaiting_approval", f"this refund waits for a lead until {state.approval_deadline}"
    if kind == "use_method":
        return "method_not_changeable", "another method can be chosen for a queued refund only; a void has none"
    return "not_awaiting_approval", "this refund does not wait for a lead"
