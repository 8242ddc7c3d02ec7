"""What an invoice says: its lines with discounts and tax, what credit covers, what is left to collect."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

from domain.calendar import Period, local_day
from domain.discounts import Discount, in_force
from domain.errors import Broken
from domain.ledger import with_taxes
from domain.money import Money
from domain.plan import next_period
from domain.pricing import Priced, discount_lines, price
from domain.proration import length, prorate_cancel, prorate_stub
from domain.state import (
    SYSTEM,
    Billed,
    Collecting,
    Entry,
    EntryData,
    InvoiceReason,
    Line,
    LineKind,
    PeriodPrice,
    State,
    invoice_id,
)
from domain.tax import TaxShare, treatment
from domain.terms import Terms


def cycle_line(state: State) -> Line:
    """The line of the cycle now due: a whole period, or the part before an aligned anchor."""
    terms = state.terms
    span, whole = next_period(state)
    if whole is None:
        return Line(
            LineKind.CYCLE, terms.product_name, terms.quantity, terms.unit_amount, span, tax_category=terms.tax_category
        )
    part = prorate_stub(price=terms.price, stub=span, full=whole, zone=state.zone, basis=terms.basis)
    name = f"{terms.product_name} (part of a period)"
    return Line(LineKind.STUB, name, 1, part.minor, span, tax_category=terms.tax_category)


def cycle_charges(state: State, at: datetime) -> tuple[tuple[Line, ...], tuple[Discount, ...]]:
    """The lines of the next cycle's invoice, its own first, less the discounts in force at `at`; and these."""
    terms = state.terms
    lines = [cycle_line(state)]
    if terms.setup_fee and not state.setup_fee_billed:
        lines.append(Line(LineKind.SETUP_FEE, "Set-up fee", 1, terms.setup_fee, tax_category=terms.tax_category))
    discounts = in_force(state.discounts, at, terms.product_id)
    return discount_lines((*lines, *state.pending_lines), discounts, state.currency), discounts


def priced(state: State, lines: tuple[Line, ...], at: datetime) -> Priced:
    """These lines, discounted already, with the tax of the local day of `at`."""
    return price(lines, (), state.tax, local_day(at, state.zone), state.currency)


def price_of_period(state: State, line: Line, discounts: tuple[Discount, ...], at: datetime) -> PeriodPrice | None:
    """What is kept of how a period's line was priced; None where neither discount nor tax had a part in it."""
    how = treatment(state.tax, line.tax_category, local_day(at, state.zone))
    return PeriodPrice(line.discounted, discounts, how) if discounts or how is not None else None


def price_of(terms: Terms, period: Period, part_of: Period | None, zone: str) -> Money:
    """What a period costs by `terms`: the price, or the part of it that a part of a period is worth."""
    if part_of is None:
        return terms.price
    return prorate_stub(price=terms.price, stub=period, full=part_of, zone=zone, basis=terms.basis)


def last_billed(state: State) -> Billed | None:
    """The period that was billed last, by the terms in force; it may begin later."""
    if state.period is None:
        return None
    known = state.period_price
    if known is not None:
        return Billed(state.period, state.part_of, known.price, state.paid_for_period, known.discounts, known.treatment)
    price = price_of(state.terms, state.period, state.part_of, state.zone)
    return Billed(state.period, state.part_of, price.minor, state.paid_for_period)


def still_running(state: State, now: datetime) -> Billed | None:
    """The paid period that runs at `now` before the one that was billed ahead; None where nothing is ahead of it."""
    running = state.running
    return running if running is not None and now < running.period.end else None


def credit_unused(state: State, now: datetime, *, actor: str, reason: str) -> State:
    """Give the unused part of what was paid back as credit on account, once: nothing of it counts as paid then.

    Where a period was billed ahead, that is all of it and the rest of the one that runs.
    """
    last = last_billed(state)
    if last is None or last.period.end <= now:
        return state
    running = still_running(state, now)
    unused = priced(state, tuple(_unused(state, billed, now) for billed in (running, last) if billed is not None), now)
    state = replace(state, paid_for_period=0, running=None)
    taxes = tuple(replace(share, amount=-share.amount) for share in unused.taxes)
    return grant(state, now, -unused.total, source="unused", actor=actor, reason=reason, taxes=taxes)


def waiting_lines(state: State, until: datetime) -> tuple[Line, ...]:
    """The lines that wait for the next invoice, without charges for added time from `until` on."""
    kept: list[Line] = []
    for line in state.pending_lines:
        span = line.period
        if line.amount < 0 or span is None or span.end <= until:
            kept.append(line)
        elif span.start < until:
            rest = Period(span.start, until)
            basis = state.terms.basis
            days, whole = length(rest, state.zone, basis), length(span, state.zone, basis)
            part = Money(line.unit_amount, state.currency).fraction(days, max(whole, 1))
            kept.append(replace(line, unit_amount=part.minor, period=rest))
    return tuple(kept)


def _unused(state: State, billed: Billed, now: datetime) -> Line:
    credit = prorate_cancel(
        price=Money(billed.price, state.currency),
        paid=Money(billed.paid, state.currency),
        period=billed.period,
        at=now,
        zone=state.zone,
        basis=state.terms.basis,
    )
    rest = Period(min(now, billed.period.end), billed.period.end)
    return Line(LineKind.PRORATION_CREDIT, "Unused", 1, credit.minor, rest, treatment=billed.treatment)


def grant(
    state: State,
    now: datetime,
    amount: int,
    *,
    source: str,
    actor: str,
    reason: str,
    transfer_id: str | None = None,
    taxes: tuple[TaxShare, ...] = (),
) -> State:
    """Put an amount (minor units) on account; `taxes` is what of it was tax.

    `source`: `unused` time that was paid for, an `agent`'s gift, or a `voucher` or `credit_note` by a transfer.
    """
    if amount == 0:
        return state
    balance = state.credit + amount
    data: EntryData = {"amount": amount, "currency": state.currency, "source": source, "balance": balance}
    if transfer_id is not None:
        data["transfer_id"] = transfer_id
    if taxes:
        data |= with_taxes(taxes)
    state = state.note(now, "credit_granted", actor=actor, reason=reason, also=data)
    return replace(state, credit=balance)


def open_invoice(
    state: State,
    now: datetime,
    reason: InvoiceReason,
    lines: tuple[Line, ...],
    *,
    cycle: int,
    trigger: str,
    pays_for_period: int,
    span: Period | None,
    sequence: int = 0,
    use_credit: bool = True,
    run_id: str | None = None,
    pays_for_running: int = 0,
) -> State:
    """Issue an invoice over these lines, discounted already, and begin to collect it. Credit is used before any card.

    A negative total becomes credit; nothing is then due. There is one open invoice at a time. `run_id` is the
    billing run that caused it.
    """
    if state.collecting is not None:
        raise Broken(f"an invoice of subscription {state.id} is still being collected")
    bill = priced(state, lines, now)
    total = bill.total
    credit_applied = min(state.credit, max(total, 0)) if use_credit else 0
    amount_due = max(total, 0) - credit_applied
    identity = invoice_id(state.id, cycle, reason, sequence)
    data: EntryData = {
        "invoice_id": identity,
        "reason": reason.value,
        "cycle": cycle,
        "price_id": state.terms.price_id,
        "quantity": state.terms.quantity,
        "sequence": sequence,
        "trigger": trigger,
        "run_id": run_id,
        "currency": state.currency,
        "subtotal": bill.subtotal,
        "discount": bill.discount,
        **with_taxes(bill.taxes),
        "total": total,
        "credit_applied": credit_applied,
        "amount_due": amount_due,
        "period_start": span.start.isoformat() if span else None,
        "period_end": span.end.isoformat() if span else None,
    }
    state = state.enter(Entry(state.seq + 1, now, "invoice_issued", SYSTEM, "", data, bill.lines))
    return replace(
        state,
        credit=state.credit - credit_applied + max(-total, 0),
        collecting=Collecting(
            invoice_id=identity,
            cycle=cycle,
            reason=reason,
            sequence=sequence,
            pays_for_period=pays_for_period,
            pays_for_running=pays_for_running,
            amount_due=amount_due,
            issued_at=now,
            trigger=trigger,
            total=total,
            taxes=bill.taxes,
        ),
    )
