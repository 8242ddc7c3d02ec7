"""Which discounts and which tax a subscription carries: given, taken back, used up, set anew.

All are pinned in its state, so its next bills can be read before they come. They change what is billed from then on;
what is billed already stays.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime
from typing import assert_never

from domain.discounts import DISCOUNTS_MAX, Discount, used
from domain.errors import Refused
from domain.ids import derive
from domain.messages import AddDiscount, Envelope, RemoveDiscount, SetTax
from domain.state import State
from domain.tax import TaxTerms


def take_price_command(
    state: State, command: AddDiscount | RemoveDiscount | SetTax, actor: str, reason: str, now: datetime
) -> State:
    """The state after a command of this module. Raises `Refused`."""
    match command:
        case AddDiscount():
            return add_discount(state, command, actor, reason, now)
        case RemoveDiscount():
            return remove_discount(state, command, actor, reason, now)
        case SetTax():
            return set_tax(state, command, actor, reason, now)
        case _:
            assert_never(command)


def add_discount(state: State, command: AddDiscount, actor: str, reason: str, now: datetime) -> State:
    """One more discount, from the next invoice on. One that is there already stays as it is."""
    discount = command.discount
    if discount.amount and command.currency != state.currency:
        message = f"the discount is in {command.currency}, the subscription in {state.currency}"
        raise Refused("currency_mismatch", message)
    if discount.until is not None and discount.until <= now:
        raise Refused("discount_ended", "this discount has ended already")
    if discount.products and state.terms.product_id not in discount.products:
        raise Refused("wrong_product", "this discount is not for what the subscription sells")
    if any(one.id == discount.id for one in state.discounts):
        return state
    if discount.coupon_id is not None and any(one.coupon_id == discount.coupon_id for one in state.discounts):
        raise Refused("discount_running", "this coupon is in force on the subscription already")
    if len(state.discounts) >= DISCOUNTS_MAX:
        raise Refused("too_many_discounts", f"a subscription has at most {DISCOUNTS_MAX} discounts at a time")
    return with_discount(state, discount, now, actor=actor, reason=reason)


def with_discount(state: State, discount: Discount, now: datetime, *, actor: str, reason: str) -> State:
    """The state with this discount, and a line that says so."""
    state = state.note(
        now,
        "discount_added",
        actor=actor,
        reason=reason,
        discount_id=discount.id,
        name=discount.name,
        rate=discount.rate,
        amount=discount.amount,
        currency=state.currency,
        cycles=discount.cycles_left,
        until=discount.until.isoformat() if discount.until else None,
        coupon_id=discount.coupon_id,
    )
    return replace(state, discounts=(*state.discounts, discount))


def remove_discount(state: State, command: RemoveDiscount, actor: str, reason: str, now: datetime) -> State:
    """It reduces no later invoice. What was billed with it stays."""
    gone = [one for one in state.discounts if one.id == command.discount_id]
    if not gone:
        raise Refused("no_such_discount", "the subscription has no such discount, or no longer")
    return _without(state, gone, now, why="removed", actor=actor, reason=reason)


def use_discounts(state: State, applied: Iterable[Discount], at: datetime, now: datetime) -> State:
    """After a billed cycle, due at `at`: what counts cycles has one less, and what has come to its end is gone."""
    left = used(state.discounts, applied)
    kept = {one.id for one in left}
    spent = [one for one in state.discounts if one.id not in kept]
    late = [one for one in left if one.until is not None and one.until <= at]
    state = _without(state, spent, now, why="used_up")
    state = _without(state, late, now, why="ended")
    alive = {one.id for one in state.discounts}
    return replace(state, discounts=tuple(one for one in left if one.id in alive))


def set_tax(state: State, command: SetTax, actor: str, reason: str, now: datetime) -> State:
    """Other tax from the next invoice on; the same again changes nothing."""
    if command.tax == state.tax:
        return state
    tax = command.tax
    state = state.note(
        now, "tax_set", actor=actor, reason=reason, status=tax.status.value, place=tax.place, rates=len(tax.rates)
    )
    return replace(state, tax=tax)


def set_tax_envelope(state: State, terms: TaxTerms, actor: str, reason: str = "") -> Envelope:
    """The command that taxes this subscription so from now on, with an identity of its own for each change."""
    identity = derive("cmd", state.id, "tax", str(state.seq), repr(terms))
    return Envelope(identity, SetTax(terms), actor, reason)


def _without(
    state: State, gone: Iterable[Discount], now: datetime, *, why: str, actor: str = "system", reason: str = ""
) -> State:
    for one in gone:
        state = state.note(
            now, "discount_ended", actor=actor, reason=reason, discount_id=one.id, name=one.name, why=why
        )
        state = replace(state, discounts=tuple(other for other in state.discounts if other.id != one.id))
    return state
