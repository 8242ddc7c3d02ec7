"""What an invoice says: its lines, what credit covers, what is left to collect."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

from domain.calendar import Period
from domain.errors import Broken
from domain.money import Money
from domain.plan import next_period
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
    State,
    invoice_id,
)
from domain.terms import Terms


def cycle_line(state: State) -> Line:
    """The line of the cycle now due: a whole period, or the part before an aligned anchor."""
    terms = state.terms
    span, whole = next_period(state)
    if whole is None:
        return Line(LineKind.CYCLE, terms.product_name, terms.quantity, terms.unit_amount, span)
    part = prorate_stub(price=terms.price, stub=span, full=whole, zone=state.zone, basis=terms.basis)
    return Line(LineKind.STUB, f"{terms.product_name} (part of a period)", 1, part.minor, span)


def price_of(terms: Terms, period: Period, part_of: Period | None, zone: str) -> Money:
    """What a period costs by `terms`: the price, or the part of it that a part of a period is worth."""
    if part_of is None:
        return terms.price
    return prorate_stub(price=terms.price, stub=period, full=part_of, zone=zone, basis=terms.basis)


def last_billed(state: State) -> Billed | None:
    """The period that was billed last, by the terms in force; it may begin later."""
    if state.period is None:
        return None
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
    credit = sum(_unused(state, billed, now) for billed in (running, last) if billed is not None)
    state = replace(state, paid_for_period=0, running=None)
    return grant(state, now, credit, source="unused", actor=actor, reason=reason)


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


def _unused(state: State, billed: Billed, now: datetime) -> int:
    credit = prorate_cancel(
        price=Money(billed.price, state.currency),
        paid=Money(billed.paid, state.currency),
        period=billed.period,
        at=now,
        zone=state.zone,
        basis=state.terms.basis,
    )
    return -credit.minor


def grant(
    state: State,
    now: datetime,
    amount: int,
    *,
    source: str,
    actor: str,
    reason: str,
    transfer_id: str | None = None,
) -> State:
    """Put an amount (minor units) on account.

    `source`: `unused` time that was paid for, an `agent`'s gift, or a `voucher` or `credit_note` by a transfer.
    """
    if amount == 0:
        return state
    balance = state.credit + amount
    data: EntryData = {"amount": amount, "currency": state.currency, "source": source, "balance": balance}
    if transfer_id is not None:
        data["transfer_id"] = transfer_id
    state = state.note(now, "credit_granted", actor=actor, reason=reason, **data)
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
    """Issue an invoice and begin to collect it. Credit on account is used before any card.

    A negative total becomes credit; nothing is then due. There is one open invoice at a time. `run_id` is the
    billing run that caused it.
    """
    if state.collecting is not None:
        raise Broken(f"an invoice of subscription {state.id} is still being collected")
    total = sum(line.amount for line in lines)
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
        "total": total,
        "credit_applied": credit_applied,
        "amount_due": amount_due,
        "period_start": span.start.isoformat() if span else None,
        "period_end": span.end.isoformat() if span else None,
    }
    state = state.enter(Entry(state.seq + 1, now, "invoice_issued", SYSTEM, "", data, lines))
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
        ),
    )
