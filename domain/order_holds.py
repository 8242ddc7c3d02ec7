"""An order's money that is set aside and not taken: held, captured, given back, or run out.

Nothing of the order has happened meanwhile: its invoice is open, no cash is booked, nothing begins and nothing is sent.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta

from domain.collection import next_attempt
from domain.errors import Broken, InvalidInput
from domain.facts import Authorised, Charged, Released
from domain.money import Money
from domain.order_messages import HoldEnded, HoldEnding, OrderTick
from domain.order_state import Ending, OrderState, OrderStatus
from domain.state import Act, Collecting, EntryData, Phase
from domain.steps import Wait

# Card schemes let an authorisation of a purchase stand for about a week. A capture after that may be declined or cost
# more, while the customer's bank may go on blocking the amount: so it is given back by us, and not left to chance.
HOLD_TIME = timedelta(days=7)
# So long before that a person is told: a sale that nobody captures is lost.
HOLD_WARNING = timedelta(days=1)
# A capture found nothing to take: the authorisation ran out at the gateway, or somebody ended it there.
HOLD_GONE = "authorisation_gone"
RUNS_OUT = "the authorisation runs out within a day: capture it, or release it"
RAN_OUT = "the authorisation ran out before it was captured; it is to be paid again"


def is_on_hold(collecting: Collecting) -> bool:
    """Whether what is asked of the gateway now is about money that is set aside already."""
    return collecting.act in {Act.CAPTURE, Act.RELEASE}


def moved(state: OrderState, collecting: Collecting, outcome: Charged | Authorised) -> EntryData:
    """What is told of money that was taken or set aside: for which invoice, by which attempt, with what, where."""
    return {
        "invoice_id": collecting.invoice_id,
        "cycle": 0,
        "attempt": outcome.attempt,
        "amount": outcome.amount,
        "currency": state.currency,
        "method_id": outcome.method_id,
        "gateway": outcome.gateway,
        "gateway_id": outcome.gateway_id,
    }


def hold(state: OrderState, collecting: Collecting, outcome: Authorised, now: datetime) -> OrderState:
    """It is set aside from now on, until the time that is pinned here."""
    until = now + HOLD_TIME
    said = moved(state, collecting, outcome) | {"until": until.isoformat()}
    state = state.note(now, "payment_authorised", also=said)
    held = replace(_rested(collecting), phase=Phase.HELD, held_until=until, not_before=until - HOLD_WARNING)
    return replace(state, status=OrderStatus.AUTHORISED, collecting=held)


def capture(state: OrderState, collecting: Collecting, amount: int | None) -> OrderState:
    """It is taken next. Raises `InvalidInput` for a part of it: the invoice is what is due."""
    if amount is not None and amount != collecting.amount_due:
        due = Money(collecting.amount_due, state.currency)
        raise InvalidInput(
            "amount",
            f"an order is captured in full, {due}; for another amount release it, change its lines and pay again",
            code="capture_in_full",
        )
    taken = replace(_rested(collecting), act=Act.CAPTURE, phase=Phase.CHARGE)
    return replace(state, status=OrderStatus.PAYING, collecting=taken)


def release(
    state: OrderState, collecting: Collecting, *, ending: Ending | None = None, ran_out: bool = False
) -> OrderState:
    """It is given back next; the order is cancelled after that where `ending` says so."""
    until = collecting.held_until if ran_out else None
    given = replace(_rested(collecting), act=Act.RELEASE, phase=Phase.CHARGE, held_until=until)
    return replace(state, status=OrderStatus.RELEASING, collecting=given, ending=ending)


def next_of_hold(collecting: Collecting, now: datetime) -> OrderTick | Wait:
    """What time alone does to it: a person is told, once, and a day later it is given back."""
    until, warning = collecting.held_until, collecting.not_before
    if until is None:
        raise Broken(f"the authorisation of invoice {collecting.invoice_id} has no end")
    if until <= now:
        return OrderTick(HoldEnded())
    if warning is None:
        return Wait(until, "authorised, not captured; it runs out then")
    return (
        OrderTick(HoldEnding()) if warning <= now else Wait(warning, "authorised, not captured; a person is told then")
    )


def runs_out(state: OrderState, collecting: Collecting, now: datetime) -> OrderState:
    """It is time that a person sees to it."""
    until = collecting.held_until
    state = state.note(
        now,
        "authorisation_ending",
        invoice_id=collecting.invoice_id,
        until=until.isoformat() if until is not None else None,
    )
    return replace(state, collecting=replace(collecting, not_before=None))


def attention_to_hold(collecting: Collecting) -> str | None:
    """Why a person should look at what is, or was, set aside."""
    if collecting.phase is Phase.HELD and collecting.not_before is None:
        return RUNS_OUT
    return RAN_OUT if collecting.phase is Phase.EXHAUSTED and collecting.held_until is not None else None


def run_out(state: OrderState, collecting: Collecting, now: datetime) -> OrderState:
    """Nobody captured it in time."""
    until = collecting.held_until
    state = state.note(
        now,
        "authorisation_expired",
        invoice_id=collecting.invoice_id,
        until=until.isoformat() if until is not None else None,
    )
    return release(state, collecting, ran_out=True)


def released(state: OrderState, collecting: Collecting, outcome: Released, now: datetime) -> OrderState:
    """It is given back, and the order is open for another payment."""
    state = state.note(
        now,
        "authorisation_released",
        invoice_id=collecting.invoice_id,
        attempt=outcome.attempt,
        amount=outcome.amount,
        currency=state.currency,
        gateway=outcome.gateway,
    )
    return opened(state, collecting)


def opened(state: OrderState, collecting: Collecting) -> OrderState:
    """It stays open, for another method or another day."""
    after = replace(next_attempt(collecting), phase=Phase.EXHAUSTED, act=Act.SALE)
    return replace(state, status=OrderStatus.OPEN, collecting=after)


def _rested(collecting: Collecting) -> Collecting:
    """What is asked next is asked for the first time: no outage and no look-up counts any more."""
    return replace(collecting, parked=0, lookups=0, not_before=None, action_deadline=None)
