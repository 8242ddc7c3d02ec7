"""What an order does next, and what it becomes.

One charge takes all that is due; only when it is paid do the subscriptions begin, each once, under an id made from the
order. A decline leaves the order open: nobody is dunned for it. `next_step` and `apply` are pure, as for a
subscription.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from typing import assert_never

from domain.calendar import whole_second
from domain.collection import (
    LOOKUPS_BEFORE_ATTENTION,
    PARKED_BEFORE_ATTENTION,
    next_attempt,
    wait_for_answer,
    when_to_act,
)
from domain.declines import DeclineKind
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
    Recorded,
    Released,
    Unknown,
)
from domain.ledger import with_taxes
from domain.messages import Prepaid, Start
from domain.order_holds import (
    attention_to_hold,
    hold,
    is_on_hold,
    moved,
    next_of_hold,
    opened,
    released,
    run_out,
    runs_out,
)
from domain.order_lines import bill_of, check_lines, dues_of
from domain.order_messages import (
    HoldEnded,
    HoldEnding,
    Lapsed,
    OpenOrder,
    OrderFact,
    OrderStep,
    OrderTick,
    Started,
    StartLine,
    Undo,
    Undone,
)
from domain.order_state import (
    Ending,
    OrderLine,
    OrderLineKind,
    OrderState,
    OrderStatus,
    order_invoice_id,
    order_subscription_id,
)
from domain.state import Collecting, Entry, EntryData, InvoiceReason, Phase
from domain.steps import End, Record, Wait

OPEN_DAYS_MAX = 30
KEPT = timedelta(days=400)
CLOSED_KEPT = timedelta(days=30)


def begin_order(wanted: OpenOrder, now: datetime) -> OrderState:
    """A new order, a draft. Raises `InvalidInput` for lines that break a rule."""
    check_lines(wanted.lines, wanted.currency)
    now = whole_second(now)
    dues = (
        wanted.dues if wanted.dues is not None else dues_of(wanted.lines, wanted.currency, wanted.zone, wanted.tax, now)
    )
    state = OrderState(
        id=wanted.id,
        customer_id=wanted.customer_id,
        zone=wanted.zone,
        currency=wanted.currency,
        channel=wanted.channel,
        agent=wanted.agent,
        created_at=now,
        status=OrderStatus.DRAFT,
        lines=wanted.lines,
        dues=dues,
        test_mode=wanted.test_mode,
        external_id=wanted.external_id,
        basket_id=wanted.basket_id,
        funnel=wanted.funnel,
        page=wanted.page,
        notice_days=wanted.notice_days,
        tax=wanted.tax,
        recent_commands=(wanted.request_id,) if wanted.request_id else (),
    )
    return state.note(
        now,
        "order_created",
        actor=wanted.agent,
        channel=wanted.channel.value,
        lines=len(wanted.lines),
        total=state.total,
        currency=state.currency,
    )


def next_step(state: OrderState, now: datetime) -> OrderStep:
    """The one next thing to do at `now`. The journal is written to the books before any wait."""
    step = _step(state, now)
    return Record() if state.journal and isinstance(step, Wait | End) else step


def _step(state: OrderState, now: datetime) -> OrderStep:  # noqa: PLR0911 - one for each case
    match state.status:
        case OrderStatus.DRAFT | OrderStatus.OPEN:
            until = _last_touched(state) + timedelta(days=OPEN_DAYS_MAX)
            return OrderTick(Lapsed()) if until <= now else Wait(until, "not paid yet; it lapses then")
        case OrderStatus.PAYING | OrderStatus.RELEASING:
            return _collect(state, now)
        case OrderStatus.AUTHORISED:
            return next_of_hold(collecting_of(state), now)
        case OrderStatus.PAID:
            waiting = next(iter(unstarted(state)), None)
            if waiting is not None:
                return StartLine(waiting.position)
            return _until((state.paid_at or now) + KEPT, now, "paid; it may be cancelled until then")
        case OrderStatus.CANCELING:
            return Undo()
        case OrderStatus.CANCELED | OrderStatus.LAPSED:
            return _until((state.ended_at or now) + CLOSED_KEPT, now, f"{state.status.value}; it is closed then")
        case _:
            assert_never(state.status)


def _last_touched(state: OrderState) -> datetime:
    """An edit begins the time anew: nobody works on an order that lapses under their hands."""
    return state.placed_at or state.edited_at or state.created_at


def _until(until: datetime, now: datetime, why: str) -> Wait | End:
    return End() if until <= now else Wait(until, why)


def _collect(state: OrderState, now: datetime) -> OrderStep:
    act = when_to_act(collecting_of(state))
    if act is None:
        raise Broken(f"order {state.id} is paying and nothing is to be done")
    at, step = act
    return step if at <= now else Wait(at, "the gateway is asked, or the charge is tried again")


def collecting_of(state: OrderState) -> Collecting:
    """The open invoice. Raises `Broken` where there is none."""
    if state.collecting is None:
        raise Broken(f"order {state.id} has no open invoice")
    return state.collecting


def unstarted(state: OrderState) -> tuple[OrderLine, ...]:
    """The subscription lines that have not begun."""
    return tuple(
        line for line in state.lines if line.kind is OrderLineKind.SUBSCRIPTION and line.position not in state.started
    )


def start_of(state: OrderState, position: int) -> Start:
    """How the subscription of this line begins, the order being paid: when it was paid, or at a later wish."""
    line = next(line for line in state.lines if line.position == position)
    paid_at = state.paid_at
    if line.terms is None or paid_at is None:
        raise Broken(f"line {position} of order {state.id} starts no subscription now")
    paid = next((due.line for due in state.dues if due.position == position and due.prepays), None)
    prepaid = None
    if paid is not None:  # without an invoice where everything cost nothing
        prepaid = Prepaid(state.invoice_id, 0 if line.terms.trial_days else paid.discounted, paid.treatment)
    return Start(
        id=order_subscription_id(state.id, position),
        customer_id=state.customer_id,
        zone=state.zone,
        terms=line.terms,
        actor=state.agent,
        start_at=max(line.start_at or paid_at, paid_at),
        test_mode=state.test_mode,
        notice_days=state.notice_days,
        discounts=line.discounts,
        order_id=state.id,
        prepaid=prepaid,
        tax=state.tax,
    )


def issue(state: OrderState, now: datetime, *, trigger: str, phase: Phase) -> OrderState:
    """Place the order: its invoice is issued, and where it asks for no money the order is confirmed."""
    state = replace(state, placed_at=state.placed_at or now)
    if not state.dues:
        return _confirmed(state, now)
    sequence = state.invoices + 1
    identity = order_invoice_id(state.id, sequence)
    bill = bill_of(state.dues, state.currency)
    data: EntryData = {
        "invoice_id": identity,
        "reason": InvoiceReason.ORDER.value,
        "cycle": 0,
        "sequence": sequence,
        "trigger": trigger,
        "currency": state.currency,
        "subtotal": bill.subtotal,
        "discount": bill.discount,
        **with_taxes(bill.taxes),
        "total": bill.total,
        "credit_applied": 0,
        "amount_due": bill.total,
        "period_start": None,
        "period_end": None,
    }
    state = state.enter(Entry(state.seq + 1, now, "invoice_issued", "system", "", data, bill.lines))
    if not bill.total:  # what is sold for nothing has an invoice, by which it is sent
        state = replace(state, invoices=sequence, invoice_id=identity)
        state = state.note(now, "invoice_settled", invoice_id=identity, cycle=0, amount=0, currency=state.currency)
        return _confirmed(state, now)
    return replace(
        state,
        status=OrderStatus.OPEN if phase is Phase.EXHAUSTED else OrderStatus.PAYING,
        invoices=sequence,
        invoice_id=identity,
        collecting=Collecting(
            invoice_id=identity,
            cycle=0,
            reason=InvoiceReason.ORDER,
            sequence=sequence,
            pays_for_period=0,
            amount_due=bill.total,
            issued_at=now,
            phase=phase,
            trigger=trigger,
            total=bill.total,
            taxes=bill.taxes,
        ),
    )


def void_invoice(state: OrderState, now: datetime) -> OrderState:
    """The open invoice is for nothing any more."""
    collecting = state.collecting
    if collecting is None:
        return state
    state = state.note(
        now,
        "invoice_voided",
        also=with_taxes(collecting.taxes) if collecting.taxes else None,
        invoice_id=collecting.invoice_id,
        cycle=0,
        amount=collecting.amount_due,
        currency=state.currency,
    )
    return replace(state, collecting=None)


def _confirmed(state: OrderState, now: datetime, amount: int = 0) -> OrderState:
    """From here on the subscriptions begin, and what is physical is sent."""
    state = state.note(now, "order_paid", amount=amount, currency=state.currency, invoice_id=state.invoice_id)
    return replace(state, status=OrderStatus.PAID, paid_at=now, collecting=None)


def apply(state: OrderState, fact: OrderFact, now: datetime) -> OrderState:  # noqa: PLR0911 - one for each case
    """The order after a fact. Facts never fail: what no longer fits changes nothing."""
    match fact:
        case Recorded():
            return replace(state, journal=tuple(entry for entry in state.journal if entry.seq > fact.seq))
        case Started():
            state = state.note(
                now, "subscription_started", position=fact.position, subscription_id=fact.subscription_id
            )
            return replace(state, started=(*state.started, fact.position))
        case Lapsed():
            state = void_invoice(state, now).note(now, "order_lapsed")
            return replace(state, status=OrderStatus.LAPSED, ended_at=now)
        case HoldEnding():
            return runs_out(state, collecting_of(state), now)
        case HoldEnded():
            return run_out(state, collecting_of(state), now)
        case Undone():
            return _undone(state, fact, now)
        case _:
            return settle(state, fact, now)


def settle(state: OrderState, outcome: Outcome, now: datetime) -> OrderState:  # noqa: PLR0911 - one for each case
    """The order after this outcome of the running attempt. An outcome of another attempt changes nothing."""
    collecting = state.collecting
    if collecting is None or outcome.attempt != collecting.attempt:
        return state
    match outcome:
        case Charged():
            said = moved(state, collecting, outcome) | {"recovered": False}
            state = state.note(now, "payment_succeeded", also=said)
            state = _confirmed(state, now, outcome.amount)
            # A cancellation that was to give it back found it taken: now it goes back as what was paid does.
            return state if state.ending is None else replace(state, status=OrderStatus.CANCELING)
        case Authorised():
            return hold(state, collecting, outcome, now)
        case Released():
            return _released(state, collecting, outcome, now)
        case Declined():
            return _declined(state, collecting, outcome, now)
        case NoMethod():
            state = state.note(now, "no_payment_method", invoice_id=collecting.invoice_id, attempt=outcome.attempt)
            return opened(state, collecting)
        case Parked() | NeverArrived() | Unknown() | ActionRequired():
            return wait_for_answer(state, collecting, outcome, now)
        case _:
            assert_never(outcome)


def _declined(state: OrderState, collecting: Collecting, declined: Declined, now: datetime) -> OrderState:
    hard = declined.decline is DeclineKind.HARD
    state = state.note(
        now,
        "payment_declined",
        invoice_id=collecting.invoice_id,
        cycle=0,
        attempt=declined.attempt,
        amount=collecting.amount_due,
        currency=state.currency,
        method_id=declined.method_id,
        gateway=declined.gateway,
        code=declined.code,
        decline=declined.decline.value,
        another=declined.another,
    )
    collecting = replace(
        collecting,
        tried=(*collecting.tried, declined.method_id),
        refused=(*collecting.refused, declined.method_id) if hard else collecting.refused,
    )
    if is_on_hold(collecting):  # what was set aside is gone: nobody has asked for another card
        return opened(state, replace(collecting, held_until=None))
    if declined.another and collecting.use_method is None:
        return replace(state, collecting=replace(next_attempt(collecting), trigger="backup_method"))
    return opened(state, collecting)


def _released(state: OrderState, collecting: Collecting, outcome: Released, now: datetime) -> OrderState:
    state = released(state, collecting, outcome, now)
    return state if state.ending is None else ended_unpaid(replace(state, ending=None), state.ending, now)


def ended_unpaid(state: OrderState, ending: Ending, now: datetime) -> OrderState:
    """Cancelled before anything was taken: what it asked for is owed no more."""
    state = void_invoice(state, now).note(now, "order_canceled", actor=ending.actor, reason=ending.reason)
    return replace(state, status=OrderStatus.CANCELED, ended_at=now)


def _undone(state: OrderState, fact: Undone, now: datetime) -> OrderState:
    for parcel in fact.parcels:
        told: EntryData = {
            "fulfilment_id": parcel.fulfilment_id,
            "status": parcel.status,
            "withdrawal": parcel.withdrawal,
        }
        if parcel.stopped:
            state = state.note(now, "parcel_stopped", also=told)
        else:
            state = state.note(now, "parcel_stays", also=told)
    for each in fact.subscriptions:
        if each.refusal is None:
            state = state.note(now, "subscription_ended", subscription_id=each.subscription_id)
        else:
            state = state.note(now, "subscription_kept", subscription_id=each.subscription_id, code=each.refusal)
    if fact.refund_id is not None:
        state = state.note(now, "money_back", refund_id=fact.refund_id, status=fact.refund_status)
    elif fact.refusal is not None:
        state = state.note(now, "money_kept", code=fact.refusal)
    ending = state.ending
    actor, reason = (ending.actor, ending.reason) if ending is not None else ("system", "")
    state = state.note(now, "order_canceled", actor=actor, reason=reason)
    return replace(state, status=OrderStatus.CANCELED, ended_at=now, ending=None)


def attention(state: OrderState) -> str | None:
    """Why a person should look at this order; None if all goes its way."""
    collecting = state.collecting
    if collecting is None:
        return None
    if collecting.phase is Phase.UNKNOWN and collecting.lookups >= LOOKUPS_BEFORE_ATTENTION:
        return "the outcome of the charge is still unknown"
    if collecting.phase is Phase.PARKED and collecting.parked >= PARKED_BEFORE_ATTENTION:
        return "the gateway has been down for long"
    return attention_to_hold(collecting)
