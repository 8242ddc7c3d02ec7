"""Other terms or another date in the middle of a life: what is credited, what is charged, what moves."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from domain.calendar import Period, anchor_from, boundary, local_day, whole_second
from domain.discounts import in_force, parts_of
from domain.errors import Broken, InvalidInput, Refused
from domain.invoicing import (
    cycle_line,
    last_billed,
    open_invoice,
    price_of,
    price_of_period,
    still_running,
    waiting_lines,
)
from domain.messages import ChangeDate, ChangeTerms, SetCustomer, When
from domain.money import Money
from domain.plan import change_calendar, due_at, enter_period
from domain.price_commands import use_discounts
from domain.pricing import discount_lines
from domain.proration import prorate_change, prorate_stub, unused_fraction
from domain.state import Billed, Change, InvoiceReason, Line, LineKind, PeriodPrice, State, Status
from domain.tax import treatment
from domain.terms import Terms

DATE_MOVE_MAX = timedelta(days=732)
OTHER_PRICE = "other_price"


def change_terms(state: State, command: ChangeTerms, actor: str, reason: str, now: datetime) -> State:
    """Pin other terms: at renewal, or now with credit for the unused part and charge for the rest."""
    if command.terms.currency != state.currency:
        raise InvalidInput("price_id", f"the subscription is billed in {state.currency}", code="currency_mismatch")
    if command.only_from is not None and command.only_from != state.terms.price_id:
        raise Refused(OTHER_PRICE, f"the subscription has price {state.terms.price_id} by now")
    when = command.when or _when(state, command.terms)
    if when is When.PERIOD_END and state.status not in {Status.SCHEDULED, Status.TRIALING}:
        state = state.note(
            now, "change_planned", actor=actor, reason=reason, price_id=command.terms.price_id,
            amount=command.terms.price.minor, cycle=state.cycle,
        )  # fmt: skip
        return replace(state, change=Change(command.terms, command.keep_anchor))
    if state.collecting is not None:
        raise Refused("payment_open", "a change now has to wait: an invoice is still being collected")
    before = state
    state = state.note(
        now, "terms_changed", actor=actor, reason=reason, price_id=command.terms.price_id,
        amount=command.terms.price.minor,
    )  # fmt: skip
    state = replace(state, change=None)
    base = due_at(state)
    if state.status is Status.SCHEDULED or base is None:
        return replace(state, terms=command.terms)
    if state.status is Status.TRIALING or before.period is None or before.period.end <= now:
        # Nothing paid is running: the new terms begin with the next cycle.
        return change_calendar(state, command.terms, base, keep_anchor=command.keep_anchor)
    return _in_mid_period(state, command, now)


def _when(state: State, terms: Terms) -> When:
    """A smaller price for the same interval waits for the period's end (policy `downgrade`)."""
    smaller = terms.price < state.terms.price
    return When.PERIOD_END if smaller and terms.interval == state.terms.interval else When.NOW


def _in_mid_period(state: State, command: ChangeTerms, now: datetime) -> State:
    """Move plan and period to the new terms, and issue the invoice of the difference.

    Where a period was billed ahead, the rest of the one that runs changes with it.
    """
    new, last, running = command.terms, last_billed(state), still_running(state, now)
    if last is None:
        raise Broken("terms change in mid-period where no period has begun")
    at = now if running is not None else max(now, last.period.start)
    parts = [_exchange(state, command, billed, now) for billed in (running, last) if billed is not None]
    changed = change_calendar(state, new, at, keep_anchor=command.keep_anchor)
    if new.same_calendar(state.terms):
        kept = parts[-1].billed
        changed = replace(
            changed,
            paid_for_period=kept.paid,
            period_price=_known(kept),
            running=running and parts[0].billed,
        )
        charges = tuple(part.remaining for part in parts)
        span = Period(at, last.period.end)
        return _bill_change(changed, parts, charges, span, state.cycle - 1, now)
    # A period of other length begins: a cycle like any other, so it has the discounts in force and uses them up.
    discounts = in_force(changed.discounts, at, new.product_id)
    (first,) = discount_lines((cycle_line(changed),), discounts, state.currency)
    changed = enter_period(changed)
    changed = replace(changed, period_price=price_of_period(changed, first, discounts, now))
    changed = _bill_change(changed, parts, (first,), changed.period, state.cycle, now)
    return use_discounts(changed, discounts, at, now)


@dataclass(frozen=True, slots=True)
class _Exchange:
    """One billed period under other terms: what is given back, what is charged, and the period after it."""

    unused: Line
    remaining: Line
    billed: Billed


def _known(billed: Billed) -> PeriodPrice | None:
    """What is kept of the price of a period where discounts or tax have a part in it."""
    plain = not billed.discounts and billed.treatment is None
    return None if plain else PeriodPrice(billed.price, billed.discounts, billed.treatment)


def _exchange(state: State, command: ChangeTerms, billed: Billed, now: datetime) -> _Exchange:
    """The period keeps the discounts it was billed with. What is given back was taxed as it was charged; the rest is
    taxed as of today.
    """
    old, new = state.terms, command.terms
    at = max(now, billed.period.start)
    price = price_of(new, billed.period, billed.part_of, state.zone)
    proration = prorate_change(
        old=Money(billed.price, old.currency),
        new=price,
        paid=Money(billed.paid, old.currency),
        period=billed.period,
        at=at,
        zone=state.zone,
        basis=new.basis,
    )
    rest = Period(at, billed.period.end)
    credit, charge = (proration.credit.minor, proration.charge.minor) if command.prorate else (0, 0)
    discounts = tuple(one for one in billed.discounts if not one.products or new.product_id in one.products)
    fraction = unused_fraction(billed.period, at, state.zone, new.basis, day_is_consumed=False)
    full = Line(
        LineKind.PRORATION_CHARGE, f"Remaining: {new.product_name}", 1, price.minor, rest, tax_category=new.tax_category
    )
    (remaining,) = discount_lines(
        (replace(full, unit_amount=charge),), parts_of(discounts, *fraction, state.currency), state.currency
    )
    (full,) = discount_lines((full,), discounts, state.currency)
    unused = Line(
        LineKind.PRORATION_CREDIT,
        f"Unused: {old.product_name}",
        1,
        credit,
        rest,
        tax_category=old.tax_category,
        treatment=billed.treatment,
    )
    taxed = treatment(state.tax, new.tax_category, local_day(now, state.zone)) if charge else billed.treatment
    return _Exchange(
        unused,
        remaining,
        replace(billed, price=full.discounted, paid=billed.paid + credit, discounts=discounts, treatment=taxed),
    )


def _bill_change(
    state: State,
    parts: Sequence[_Exchange],
    charges: tuple[Line, ...],
    span: Period | None,
    cycle: int,
    now: datetime,
) -> State:
    """One invoice, credits then charges; a line of nothing is left out, an invoice without lines is none."""
    worth_telling = tuple(line for line in (*(part.unused for part in parts), *charges) if line.amount)
    if not worth_telling:
        return state
    state = replace(state, changes=state.changes + 1)
    return open_invoice(
        state, now, InvoiceReason.CHANGE, worth_telling, cycle=cycle, trigger="change",
        pays_for_period=charges[-1].discounted, pays_for_running=sum(line.discounted for line in charges[:-1]),
        span=span, sequence=state.changes,
    )  # fmt: skip


def change_date(state: State, command: ChangeDate, actor: str, reason: str, now: datetime) -> State:
    """The next cycle falls due at another time, on whose local day all later ones fall due too.

    With proration the time won or lost is a line of the next invoice: a charge for days added, a credit for
    paid days taken away. A charge that still waits is cut where its days are taken away again.
    """
    new_due = whole_second(command.next_due)
    if not now < new_due <= now + DATE_MOVE_MAX:
        raise InvalidInput("next_due_at", f"must be in the future, at most {DATE_MOVE_MAX.days} days from now")
    old_due, current = due_at(state), state.period
    if old_due is None or current is None:
        raise Broken("a date is changed where no period has begun")
    if current.start >= new_due:
        raise InvalidInput("next_due_at", f"must be after {current.start.isoformat()}, up to when is billed already")
    state = state.note(
        now, "date_changed", actor=actor, reason=reason, old_due=old_due.isoformat(), new_due=new_due.isoformat(),
        prorate=command.prorate,
    )  # fmt: skip
    state = replace(state, pending_lines=waiting_lines(state, new_due))
    if command.prorate and new_due > old_due:
        added = _added(state, Period(old_due, new_due))
        state = replace(state, pending_lines=(*state.pending_lines, added))
    if new_due < current.end:
        state = _shorten(state, current, new_due, prorate=command.prorate)
    anchor = anchor_from(new_due, state.zone, state.terms.month_end)
    return replace(state, anchor=anchor, index=0, stub=None)


def _added(state: State, added: Period) -> Line:
    """The charge for time before the next cycle, as a part of the period that would end there."""
    terms = state.terms
    anchor = anchor_from(added.end, state.zone, terms.month_end)
    full = Period(boundary(anchor, terms.interval, -1), added.end)
    charge = prorate_stub(price=terms.price, stub=added, full=full, zone=state.zone, basis=terms.basis)
    return Line(
        LineKind.PRORATION_CHARGE,
        f"Added: {terms.product_name}",
        1,
        charge.minor,
        added,
        tax_category=terms.tax_category,
    )


def _shorten(state: State, current: Period, new_due: datetime, *, prorate: bool) -> State:
    """End the running period earlier; with proration its last days become a credit on the next invoice."""
    shorter = Period(current.start, new_due)
    if not prorate:
        return replace(state, period=shorter)
    terms = state.terms
    billed = last_billed(state)
    if billed is None:
        raise Broken("a period is shortened where none was billed")
    price = Money(billed.price, state.currency)
    credit = prorate_change(
        old=price,
        new=Money.zero(state.currency),
        paid=Money(state.paid_for_period, state.currency),
        period=current,
        at=new_due,
        zone=state.zone,
        basis=terms.basis,
    ).credit.minor
    taken = Line(
        LineKind.PRORATION_CREDIT,
        f"Taken away: {terms.product_name}",
        1,
        credit,
        Period(new_due, current.end),
        tax_category=terms.tax_category,
        treatment=billed.treatment,
    )
    kept = prorate_stub(price=price, stub=shorter, full=current, zone=state.zone, basis=terms.basis)
    return replace(
        state,
        period=shorter,
        part_of=state.part_of or current,
        paid_for_period=state.paid_for_period + credit,
        period_price=state.period_price and replace(state.period_price, price=kept.minor),
        pending_lines=(*state.pending_lines, taken) if credit else state.pending_lines,
    )


def set_customer(state: State, command: SetCustomer, actor: str, reason: str, now: datetime) -> State:
    """The subscription goes on under another customer: what is charged and written from now on is theirs."""
    if command.customer_id == state.customer_id:
        return state
    before = state.customer_id
    state = state.note(now, "customer_set", actor=actor, reason=reason, before=before, after=command.customer_id)
    return replace(state, customer_id=command.customer_id, notice_days=command.notice_days)
