"""The future of a subscription, read before it happens by the code that will make it happen."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import assert_never

from domain.declines import DeclineKind
from domain.errors import Broken
from domain.facts import Charged, Declined, Outcome, Recorded
from domain.lifecycle import apply, next_step
from domain.state import Collecting, EntryData, State
from domain.steps import AskGateway, Charge, End, Record, Tick, Wait
from domain.terms import DunningTerms, Trigger

FORECAST_CYCLES_MAX = 120
STEPS_PER_CYCLE_MAX = 200
FORECAST_TIME_MAX = timedelta(days=36_525)  # a century: well within the calendar's years

ASSUMED_METHOD = "assumed"
ASSUMED_GATEWAY = "the gateway"
ASSUMED_CODE = "assumed_decline"


class Assume(StrEnum):
    """What the forecast takes for granted of the card."""

    CARD_WORKS = "card_works"
    CARD_FAILS = "card_fails"


@dataclass(frozen=True, slots=True)
class Foreseen:
    """One line of the timeline to come: the same kinds and data as the real one."""

    at: datetime
    kind: str
    data: EntryData


def forecast(state: State, now: datetime, *, cycles: int, assume: Assume, policy: DunningTerms) -> tuple[Foreseen, ...]:
    """What will happen from `now` until so many cycles were opened or passed, nothing follows, or it ends.

    A subscription that waits for billing runs is foreseen as if one came whenever a cycle is due.
    """
    if not 1 <= cycles <= FORECAST_CYCLES_MAX:
        raise Broken(f"a forecast is for 1 to {FORECAST_CYCLES_MAX} cycles")
    state = replace(state, trigger=Trigger.TIMER, journal=())
    last_cycle, horizon = state.cycle + cycles, now + FORECAST_TIME_MAX
    seen: list[Foreseen] = []
    for _ in range(cycles * STEPS_PER_CYCLE_MAX):
        step = next_step(state, now)
        match step:
            case End():
                break
            case Wait(until=until):
                enough = state.cycle >= last_cycle and state.collecting is None
                if enough or until is None or until > horizon:
                    break
                now = until
            case Record():
                seen.extend(Foreseen(entry.at, entry.kind, entry.data) for entry in state.journal)
                state = apply(state, Recorded(state.seq), now)
            case Tick():
                state = apply(state, step.fact, now)
            case Charge() | AskGateway():
                state = apply(state, _assumed(state.collecting, assume, policy), now)
            case _:
                assert_never(step)
    return tuple(seen)


def _assumed(collecting: Collecting | None, assume: Assume, policy: DunningTerms) -> Outcome:
    if collecting is None:
        raise Broken("there is nothing to charge")
    if assume is Assume.CARD_WORKS or collecting.amount_due == 0:
        return Charged(collecting.attempt, collecting.amount_due, ASSUMED_METHOD, ASSUMED_GATEWAY)
    return Declined(
        attempt=collecting.attempt,
        method_id=ASSUMED_METHOD,
        code=ASSUMED_CODE,
        decline=DeclineKind.SOFT,
        another=False,
        policy=policy,
    )
