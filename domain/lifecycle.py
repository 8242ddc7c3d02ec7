"""What a subscription does next, and what it becomes: the one decision that bills, forecasts and explains.

`next_step(state, now)` says what to do; `apply(state, fact, now)` says what the state is afterwards. Both are
pure: the workflow interprets the steps in real time, the forecast in imagined time.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from typing import assert_never

from domain.calendar import days_later, whole_second
from domain.collection import end, is_outcome_open, settle, when_to_act
from domain.discounts import in_force
from domain.dunning import grace_ended
from domain.facts import Fact, Recorded, TimePassed
from domain.invoicing import credit_unused, cycle_charges, last_billed, open_invoice, price_of_period, priced
from domain.messages import Prepaid, Start
from domain.money import Money
from domain.plan import (
    CATCH_UP_AFTER,
    at_renewal,
    begin_after_cut_over,
    begin_cycles,
    due_at,
    enter_period,
    follow,
    missed_before,
    notice_at,
    pass_over,
)
from domain.price_commands import use_discounts, with_discount
from domain.pricing import discount_lines
from domain.state import (
    SYSTEM,
    Access,
    Entry,
    EntryData,
    InvoiceReason,
    Line,
    LineKind,
    PeriodPrice,
    Phase,
    State,
    Status,
)
from domain.steps import AskGateway, Charge, End, Record, Step, Tick, Wait
from domain.terms import CatchUp, Trigger

CANCELED_KEPT = timedelta(days=400)

Moment = tuple[datetime, Tick | Charge | AskGateway, str]


def begin(start: Start, now: datetime) -> State:
    """A new subscription, scheduled for its start."""
    started_at = whole_second(start.start_at or now)
    state = State(
        id=start.id,
        external_id=start.external_id,
        customer_id=start.customer_id,
        zone=start.zone,
        test_mode=start.test_mode,
        trigger=start.trigger,
        terms=start.terms,
        started_at=started_at,
        bill_from=start.bill_from and whole_second(start.bill_from),
        status=Status.SCHEDULED,
        access=Access.NONE,
        notice_days=start.notice_days,
        recent_commands=(start.request_id,) if start.request_id else (),
        tax=start.tax,
        order_id=start.order_id,
        prepaid=start.prepaid,
    )
    sold: EntryData = {} if start.order_id is None else {"order_id": start.order_id}
    state = state.note(now, "created", actor=start.actor, also=sold, starts_at=started_at.isoformat())
    for discount in start.discounts:
        state = with_discount(state, discount, now, actor=start.actor, reason="")
    return state


def next_step(state: State, now: datetime) -> Step:
    """The one next thing to do at `now`. The journal is written to the books before any wait."""
    step = _step(state, now)
    return Record() if state.journal and isinstance(step, Wait | End) else step


def _step(state: State, now: datetime) -> Step:
    if is_outcome_open(state.collecting):
        moments = list(_collection(state))
        why_not = "the gateway has not said what became of the last charge"
    elif state.hold is not None:
        moments = [(state.hold.expires_at, Tick(TimePassed("hold_expired")), "the hold expires")]
        why_not = f"on hold by {state.hold.owner}: {state.hold.reason}"
    elif state.status is Status.CANCELED:
        until = (state.ended_at or now) + CANCELED_KEPT
        return End() if now >= until else Wait(until, "cancelled; may be restarted until then")
    else:
        moments = list(_moments(state, now))
        why_not = _why_idle(state)
    if not moments:
        return Wait(None, why_not)
    at, step, why = min(moments, key=lambda moment: moment[0])  # the first listed wins a tie
    return step if at <= now else Wait(at, why)


def _moments(state: State, now: datetime) -> Iterator[Moment]:
    """All that time will bring, in the order that decides when two fall together."""
    if state.cancel is not None:
        yield state.cancel.at, Tick(TimePassed("cancel")), "the cancellation takes effect"
        if state.cancel.at <= now:
            return  # nothing is charged any more, also where a charge was due before it
    if state.status is Status.SCHEDULED:
        yield state.started_at, Tick(TimePassed("start")), "the subscription starts"
        return
    if state.pause is not None and state.status is Status.PAUSED and state.pause.resumes_at is not None:
        yield state.pause.resumes_at, Tick(TimePassed("resume")), "the pause ends"
    if state.grace_until is not None:
        yield state.grace_until, Tick(TimePassed("grace_ended")), "the days of grace end"
    if state.collecting is not None:
        yield from _collection(state)
        return
    if state.pause is not None and state.status is not Status.PAUSED:
        yield state.pause.begins_at, Tick(TimePassed("pause")), "the pause begins"
    if state.status in {Status.TRIALING, Status.ACTIVE}:
        yield from _renewal(state, now)


def _collection(state: State) -> Iterator[Moment]:
    collecting = state.collecting
    if collecting is None:
        return
    act = when_to_act(collecting)
    if act is not None:
        at, step = act
        asks = isinstance(step, AskGateway)
        yield at, step, "the gateway is asked about the last charge" if asks else "the charge is tried"
    dunning = collecting.dunning
    if collecting.phase is Phase.DUNNING and dunning is not None and dunning.retry_at is not None:
        count = f"{dunning.used + 1} of {len(dunning.policy.retries)}"
        yield dunning.retry_at, Tick(TimePassed("retry")), f"dunning retry {count}"


def _renewal(state: State, now: datetime) -> Iterator[Moment]:
    due = due_at(state)
    if due is None:
        return
    if state.force:
        yield min(due, now), Tick(TimePassed("open_cycle")), "the cycle is billed by force"
        return
    if state.skip_cycles:
        yield due, Tick(TimePassed("skip_cycle")), f"cycle {state.cycle} is skipped"
        return
    notice = notice_at(state)
    if notice is not None and now < due:
        yield notice, Tick(TimePassed("notice")), "the customer is told of the next renewal"
    if state.trigger is Trigger.TIMER or (state.triggered_at is not None and due <= state.triggered_at):
        yield due, Tick(TimePassed("open_cycle")), f"cycle {state.cycle} is due"


def _why_idle(state: State) -> str:
    if state.status is Status.PAUSED:
        return "paused until resumed"
    if state.collecting is not None:
        return "overdue: no retry is left; a new card or a person goes on"
    return f"cycle {state.cycle} waits for a billing run"


def apply(state: State, fact: Fact, now: datetime) -> State:
    """The state after a fact. Facts never fail: what no longer fits changes nothing."""
    match fact:
        case Recorded():
            return replace(state, journal=tuple(entry for entry in state.journal if entry.seq > fact.seq))
        case TimePassed():
            return _time_passed(state, fact, now)
        case _:
            return settle(state, fact, now)


def _time_passed(state: State, fact: TimePassed, now: datetime) -> State:  # noqa: C901, PLR0911 - one case per moment
    match fact.what:
        case "start":
            return _start(state, now)
        case "open_cycle":
            return open_cycle(state, now)
        case "skip_cycle":
            return _skip_cycle(state, now)
        case "notice":
            return _notice(state, now)
        case "pause":
            return pause_now(state, now)
        case "resume":
            return resume_now(state, now, actor="system", reason="the pause ended")
        case "cancel":
            return _cancel(state, now)
        case "hold_expired":
            return replace(state.note(now, "hold_expired"), hold=None)
        case "grace_ended":
            return grace_ended(state, now)
        case "retry":
            return _retry(state)
        case _:
            assert_never(fact.what)


def _cancel(state: State, now: datetime) -> State:
    asked = state.cancel
    if asked is None:
        return state
    if asked.credit_unused:
        state = credit_unused(state, now, actor=asked.actor, reason=asked.reason)
    return end(state, now, actor=asked.actor, reason=asked.reason)


def _start(state: State, now: datetime) -> State:
    if state.bill_from is not None and state.started_at < state.bill_from:
        state = begin_after_cut_over(state, state.bill_from)
        state = replace(state, status=Status.ACTIVE, access=Access.ACTIVE)
        return state.note(now, "taken_over", first_cycle=state.cycle)
    trial_days = state.terms.trial_days
    if trial_days == 0:
        state = replace(begin_cycles(state, state.started_at).note(now, "started"), status=Status.ACTIVE)
        return state if state.prepaid is None else _enter_prepaid(state, state.prepaid, now)
    trial_end = days_later(state.started_at, trial_days, state.zone)
    state = begin_cycles(replace(state, trial_end=trial_end), trial_end)
    state = replace(state, status=Status.TRIALING)
    state = state.note(now, "trial_started", until=trial_end.isoformat())
    if state.prepaid is not None:
        state = _prepaid(state, state.prepaid, 0, now)
        return replace(state, access=Access.ACTIVE, prepaid=None)
    if state.terms.trial_amount == 0:
        return replace(state, access=Access.ACTIVE)
    return open_invoice(
        state, now, InvoiceReason.TRIAL, trial_lines(state, now), cycle=0, trigger="due", pays_for_period=0, span=None
    )


def trial_lines(state: State, now: datetime) -> tuple[Line, ...]:
    """A trial's price, less the discounts that do not count cycles: a trial is no cycle and uses none up."""
    terms = state.terms
    name = f"{terms.product_name} (trial)"
    line = Line(LineKind.TRIAL, name, 1, terms.trial_amount, tax_category=terms.tax_category)
    lasting = [one for one in in_force(state.discounts, now, terms.product_id) if not one.is_counted]
    return discount_lines((line,), lasting, state.currency)


def _enter_prepaid(state: State, prepaid: Prepaid, now: datetime) -> State:
    """The first period begins without an invoice of its own: the order's has paid for it and for the set-up fee."""
    cycle, due = state.cycle, state.started_at
    how = prepaid.treatment
    applied = in_force(state.discounts, due, state.terms.product_id)
    state = replace(
        enter_period(state),
        paid_for_period=prepaid.amount,
        period_price=PeriodPrice(prepaid.amount, applied, how) if applied or how is not None else None,
        setup_fee_billed=True,
        access=Access.ACTIVE,
        prepaid=None,
    )
    return use_discounts(_prepaid(state, prepaid, cycle, now), applied, due, now)


def _prepaid(state: State, prepaid: Prepaid, cycle: int, now: datetime) -> State:
    """What was paid with the order; a paid trial is cycle 0. What is physical ships, as with a cycle of its own."""
    data: EntryData = {
        "cycle": cycle,
        "amount": prepaid.amount,
        "currency": state.currency,
        "invoice_id": prepaid.invoice_id,
        "order_id": state.order_id,
    }
    if state.terms.physical and prepaid.invoice_id is not None:
        data["ships"] = True
    return state.enter(Entry(state.seq + 1, now, "cycle_prepaid", SYSTEM, "", data))


def open_cycle(state: State, now: datetime) -> State:
    """Issue the invoice of the cycle now due (or forced) and move the plan to the next one."""
    trigger = _cause(state)
    state = replace(state, force=False)
    due = due_at(state)
    if due is None or state.collecting is not None:
        return state
    if now - due > CATCH_UP_AFTER:
        state = _catch_up(state, now, asked=trigger != "due")
        due = due_at(state)
        if due is None or due > now:
            return state
    before = last_billed(state)
    state = _take_change(state, due, now)
    state = _end_trial(state, now)
    lines, discounts = cycle_charges(state, min(due, now))
    line, cycle = lines[0], state.cycle
    state = replace(enter_period(state), setup_fee_billed=True, pending_lines=())
    state = replace(state, period_price=price_of_period(state, line, discounts, now))
    if due > now and before is not None and now < before.period.end:
        state = replace(state, running=before)  # billed ahead: what was paid before still runs
    state = open_invoice(
        follow(state, now),
        now,
        InvoiceReason.CYCLE,
        lines,
        cycle=cycle,
        trigger=trigger,
        pays_for_period=line.discounted,
        span=line.period,
        run_id=state.triggered_by if trigger == "billing_run" else None,
    )
    return use_discounts(state, discounts, min(due, now), now)


def _cause(state: State) -> str:
    if state.force:
        return "force_bill"
    return "billing_run" if state.trigger is Trigger.EXTERNAL else "due"


def _end_trial(state: State, now: datetime) -> State:
    if state.trial_end is None:
        return state
    return replace(state.note(now, "trial_ended"), status=Status.ACTIVE, trial_end=None)


def _catch_up(state: State, now: datetime, *, asked: bool) -> State:
    """Cycles missed while nothing could run: by policy each is billed, or only the latest, or none.

    `asked`: a person or a billing run wants what is due now, so the latest is not left out.
    """
    policy = state.terms.catch_up
    if policy is CatchUp.BILL_EACH:
        return state
    missed = missed_before(state, now) + (1 if policy is CatchUp.SKIP and not asked else 0)
    if missed <= 0:
        return state
    first = state.cycle
    return pass_over(state, missed).note(now, "cycles_not_billed", first=first, cycles=missed, why="catch-up policy")


def _take_change(state: State, due: datetime, now: datetime) -> State:
    """Terms that were to change at renewal change now, before the cycle is billed."""
    change = state.change
    if change is None:
        return state
    state = state.note(now, "terms_changed", price_id=change.terms.price_id, amount=change.terms.price.minor)
    return at_renewal(state, due)


def _skip_cycle(state: State, now: datetime) -> State:
    state = _end_trial(state.note(now, "cycle_skipped", cycle=state.cycle), now)
    return pass_over(replace(state, skip_cycles=state.skip_cycles - 1), 1)


def _notice(state: State, now: datetime) -> State:
    due = due_at(state)
    if due is None:
        return state
    amount = renewal_amount(state, due)
    state = state.note(
        now,
        "renewal_notice",
        cycle=state.cycle,
        due_at=due.isoformat(),
        amount=amount.minor,
        currency=amount.currency,
    )
    return replace(state, noticed_cycle=state.cycle)


def renewal_amount(state: State, due: datetime) -> Money:
    """What the cycle due then will ask of a card: its invoice by what is pinned now, less credit."""
    state = at_renewal(state, due)
    lines, _ = cycle_charges(state, due)
    return Money(max(priced(state, lines, due).total - state.credit, 0), state.currency)


def pause_now(state: State, now: datetime) -> State:
    """Access and billing stop."""
    until = state.pause.resumes_at if state.pause else None
    state = state.note(now, "paused", until=until.isoformat() if until else None)
    return replace(state, status=Status.PAUSED, access=Access.STOPPED)


def resume_now(state: State, now: datetime, *, actor: str, reason: str) -> State:
    """A new period starts now, on this day from now on; it is billed at once."""
    state = state.note(now, "resumed", actor=actor, reason=reason)
    state = replace(state, status=Status.ACTIVE, pause=None, access=Access.ACTIVE)
    return begin_cycles(state, now)


def _retry(state: State) -> State:
    collecting = state.collecting
    if collecting is None or collecting.phase is not Phase.DUNNING:
        return state
    return replace(state, collecting=replace(collecting, phase=Phase.CHARGE, trigger="dunning"))
