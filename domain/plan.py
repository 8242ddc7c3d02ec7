"""When a subscription's cycles fall due: the one place that turns anchor, interval and index into instants."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta

from domain.calendar import Period, aligned_anchor, anchor_from, boundary, days_before, index_at, period
from domain.errors import Broken
from domain.state import State, Status
from domain.terms import Terms

# A cycle less late than this is simply billed; one that is later is a matter of the catch-up policy.
CATCH_UP_AFTER = timedelta(hours=24)


def due_at(state: State) -> datetime | None:
    """When the next cycle falls due, by the plan alone (a pause or a hold may yet come between)."""
    if state.status is Status.SCHEDULED:
        return state.started_at
    if state.status is Status.CANCELED or state.anchor is None:
        return None
    if state.stub is not None:
        return state.stub.start
    return boundary(state.anchor, state.terms.interval, state.index)


def notice_at(state: State) -> datetime | None:
    """When the customer wants to hear of the next renewal: so many local days before it is due."""
    due = due_at(state)
    if due is None or state.notice_days == 0 or state.noticed_cycle >= state.cycle or state.skip_cycles:
        return None
    ends = [planned for planned in (state.cancel and state.cancel.at, state.pause and state.pause.begins_at) if planned]
    if any(end <= due for end in ends):
        return None  # that renewal will not come
    return days_before(due, state.notice_days, state.zone)


def begin_cycles(state: State, base: datetime) -> State:
    """Lay the cycles out anew from `base`: anniversary billing anchors there, calendar billing on its own date.

    With calendar billing the time from `base` to the first aligned date is a stub, billed in part.
    """
    terms = state.terms
    anchor = anchor_from(base, state.zone, terms.month_end)
    if terms.alignment is None:
        return replace(state, anchor=anchor, index=0, stub=None)
    aligned = aligned_anchor(base, state.zone, terms.alignment, terms.interval, anchor.at)
    first = boundary(aligned.anchor, terms.interval, aligned.first_index)
    stub = Period(base, first) if first > base else None
    return replace(state, anchor=aligned.anchor, index=aligned.first_index, stub=stub)


def change_calendar(state: State, terms: Terms, base: datetime, *, keep_anchor: bool) -> State:
    """These terms from `base` on, a boundary of the old ones or a day on which they are given up.

    The same calendar goes on as it is. Another one begins at `base`, or keeps the anchor; what lies between
    `base` and the next boundary is then a stub.
    """
    same = terms.same_calendar(state.terms)
    state = replace(state, terms=terms)
    if same:
        return state
    if not keep_anchor or state.anchor is None:
        return begin_cycles(state, base)
    index = index_at(state.anchor, terms.interval, base)
    if boundary(state.anchor, terms.interval, index) == base:
        return replace(state, index=index, stub=None)
    first = boundary(state.anchor, terms.interval, index + 1)
    return replace(state, index=index + 1, stub=Period(base, first))


def at_renewal(state: State, due: datetime) -> State:
    """The state with the terms that wait for the renewal at `due`."""
    change = state.change
    if change is None:
        return state
    return change_calendar(replace(state, change=None), change.terms, due, keep_anchor=change.keep_anchor)


def next_period(state: State) -> tuple[Period, Period | None]:
    """The period of the next cycle and, where that is a stub, the whole one it is a part of."""
    if state.anchor is None:
        raise Broken("a cycle needs an anchor")
    interval = state.terms.interval
    if state.stub is None:
        return period(state.anchor, interval, state.index), None
    return state.stub, period(state.anchor, interval, state.index - 1)


def enter_period(state: State) -> State:
    """The next cycle is opened: its period runs (or was billed ahead), and the plan moves to the one after."""
    span, whole = next_period(state)
    return replace(
        state,
        cycle=state.cycle + 1,
        index=state.index if state.stub is not None else state.index + 1,
        stub=None,
        period=span,
        part_of=whole,
        paid_for_period=0,
        period_price=None,
        running=None,
    )


def follow(state: State, now: datetime) -> State:
    """A cancellation or pause planned for the period's end moves with that end."""
    due = due_at(state)
    if due is None or due <= now:
        return state
    if state.cancel is not None and state.cancel.at > now:
        state = replace(state, cancel=replace(state.cancel, at=due))
    if state.pause is not None and state.pause.begins_at > now:
        state = replace(state, pause=replace(state.pause, begins_at=due))
    return state


def begin_after_cut_over(state: State, cut_over: datetime) -> State:
    """Lay out the cycles of a subscription that ran elsewhere: none that began before `cut_over` is ever ours.

    Its start is the day its billing counts from: a trial it once had is not given again.
    """
    state = begin_cycles(state, state.started_at)
    assert state.anchor is not None  # noqa: S101 - begin_cycles has just set it
    interval = state.terms.interval
    index = index_at(state.anchor, interval, cut_over)
    if boundary(state.anchor, interval, index) < cut_over:
        index += 1
    index = max(index, state.index)
    return replace(
        state,
        index=index,
        cycle=index + 1,
        stub=None,
        period=period(state.anchor, interval, index - 1),
        paid_for_period=state.terms.price.minor,
        setup_fee_billed=True,
    )


def missed_before(state: State, now: datetime) -> int:
    """How many due cycles have passed whose successor is due as well: those before the latest one due."""
    due = due_at(state)
    if state.anchor is None or due is None or due > now:
        return 0
    latest = index_at(state.anchor, state.terms.interval, now)
    behind = latest - state.index
    return behind + 1 if state.stub is not None else behind


def pass_over(state: State, cycles: int) -> State:
    """Move the plan forward by so many cycles without billing them."""
    if cycles and state.stub is not None:
        state = replace(state, stub=None, cycle=state.cycle + 1)
        cycles -= 1
    return replace(state, index=state.index + cycles, cycle=state.cycle + cycles)
