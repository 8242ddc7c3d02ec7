"""One round after the other: ours and the floor by turns, cold, warm, young and old, so that noise hits all alike."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Final

from bench.fleets import FLOOR_NAME, WORKER_NAME, Ages, Fleet, Late, Yard, counted_to, workflow_ids
from bench.meters import SERVERS, cpu_s, events_since, gateway_calls, mark, statements
from local.supervisor import Tell
from workflows.policies import STEPS_PER_RUN_MAX

# All is quiet for so long before a fleet falls due and after its last receipt.
QUIET: Final = timedelta(seconds=0.5)
# What starting both workers anew takes, with room to spare.
RESTART: Final = timedelta(seconds=8)
APART: Final = timedelta(seconds=1)
WAVE_S_MAX: Final = 120
# What a fleet's measuring needs beside its renewals: reading the meters before and after.
SETTLING_S: Final = 4
# A machine that is too busy gets more time, so often.
TRIES_MAX: Final = 4
# First guesses; both are measured from then on.
START_S_GUESS: Final = 0.1
CYCLE_S_GUESS: Final = 0.05
MARGIN: Final = 1.5

OURS: Final = "ours"
FLOOR: Final = "floor"
FLOOR_LOCAL: Final = "floor_local"

Samples = dict[str, list[float]]


@dataclass(frozen=True, slots=True)
class Plan:
    """How much is measured."""

    rounds: int = 5
    fleet: int = 48
    warm_up: int = 16
    old_fleet: int = 6
    old_rounds: int = 5
    old_cycles: int = 300


QUICK: Final = Plan(rounds=1, fleet=12, warm_up=6, old_fleet=3, old_rounds=1, old_cycles=12)
# One subscription for each place in a run: their mean is that of a life.
ALONE: Final = STEPS_PER_RUN_MAX


@dataclass(slots=True)
class Measured:
    """All single results, by section and name, in the order of the rounds."""

    sections: dict[str, Samples] = field(default_factory=lambda: defaultdict(lambda: defaultdict(list)))

    def note(self, section: str, **values: float) -> None:
        for name, value in values.items():
            self.sections[section][name].append(value)

    def last(self, section: str, name: str) -> float:
        return self.sections[section][name][-1]

    def add(self, other: Measured) -> None:
        for section, samples in other.sections.items():
            for name, values in samples.items():
                self.sections[section][name].extend(values)


@dataclass(slots=True)
class Rounds:
    """Runs the plan in a yard; `measured` fills up."""

    yard: Yard
    plan: Plan
    tell: Tell
    measured: Measured = field(default_factory=Measured)
    _section: Measured = field(default_factory=Measured)
    _start_s: float = START_S_GUESS
    _cycle_s: float = CYCLE_S_GUESS
    _patience: float = 1.0
    _last_due: datetime = field(default_factory=lambda: datetime.now(UTC))
    _fleets: int = 0

    async def run(self) -> Measured:
        """Everything. Raises `Late` on a machine that is far too busy."""
        old = await self._grown_old()
        for number in range(1, self.plan.rounds + 1):
            self.tell(f"Round {number} of {self.plan.rounds}: cold, then warm")
            turns = (OURS, FLOOR, FLOOR_LOCAL) if number % 2 else (FLOOR_LOCAL, FLOOR, OURS)
            await self._patiently(lambda turns=turns: self._cold(turns))
            await self._patiently(lambda turns=turns: self._warm(turns))
        for number in range(self.plan.old_rounds + 1):
            self.tell(f"Young and old, cold: {number} of {self.plan.old_rounds}" if number else "Young and old: counts")
            await self._patiently(lambda number=number: self._ages(old, number))
        return self.measured

    # ------------------------------------------------------------------ what is compared

    async def _cold(self, turns: tuple[str, ...]) -> None:
        """Nothing is in the cache, as when a month has passed. The counting warms the processes up."""
        plan, yard = self.plan, self.yard
        at = self._ready(len(turns) * (plan.fleet + plan.warm_up) + ALONE)
        alone_at = at + len(turns) * self._slot(plan.warm_up)
        full_at = alone_at + ALONE * APART + timedelta(seconds=3)
        begun = datetime.now(UTC)
        warm_ups = [await self._make(kind, plan.warm_up, at) for kind in turns]
        alone = await yard.subscriptions(self._name("alone"), ALONE, alone_at, apart=APART)
        slot = self._slot(plan.fleet)
        fleets = [await self._make(kind, plan.fleet, full_at + slot * place) for place, kind in enumerate(turns)]
        self._start_s = (datetime.now(UTC) - begun).total_seconds() / (len(turns) * (plan.fleet + plan.warm_up))
        await yard.forget()
        await self._pass(warm_ups)
        await self._count("alone", alone, last=alone_at + (ALONE - 1) * APART)
        for kind, fleet in zip(turns, fleets, strict=True):
            await self._wave(fleet, kind, "cold", f"{kind}_")
        self._ratio("cold")

    async def _warm(self, turns: tuple[str, ...]) -> None:
        """The workers that started them still have them all in their caches."""
        at = self._ready(len(turns) * self.plan.fleet) - RESTART / 2
        slot = self._slot(self.plan.fleet)
        fleets = [await self._make(kind, self.plan.fleet, at + slot * place) for place, kind in enumerate(turns)]
        for kind, fleet in zip(turns, fleets, strict=True):
            await self._wave(fleet, kind, "warm", f"{kind}_")
        self._ratio("warm")

    async def _grown_old(self) -> Ages:
        """Subscriptions that really live so many cycles: their clock is moved, their charges and receipts are made."""
        size, cycles = self.plan.old_fleet, self.plan.old_cycles
        self.tell(f"{size} subscriptions live {cycles} cycles …")
        old = await self.yard.newborn(self._name("old"), size)
        begun = datetime.now(UTC)
        await self.yard.live(old, cycles - 2)
        self.measured.note("age", cycles_lived_per_s=size * cycles / (datetime.now(UTC) - begun).total_seconds())
        return old

    async def _ages(self, old: Ages, number: int) -> None:
        """The next renewal of the old and of the young, both with two steps behind them in their run.

        Before each pair the old live on until a run has ended, and two cycles of the next; the young have been
        recorded and billed once. So both have as much to replay. Pair 0 is for the counts.
        """
        plan, yard = self.plan, self.yard
        if old.steps:
            await yard.live(old, STEPS_PER_RUN_MAX - old.steps)
        await yard.live(old, 2)
        young = await yard.newborn(self._name("young"), plan.old_fleet)
        await yard.live(young, 1)
        at = self._ready(2 * plan.old_fleet + plan.warm_up)
        first = at + self._slot(plan.warm_up)
        second = first + self._slot(plan.old_fleet)
        warm_up = await self._make(OURS, plan.warm_up, at)
        aged = await yard.align(old, first if number % 2 else second)
        fresh = await yard.align(young, second if number % 2 else first)
        old.lived(1)
        self._last_due = second
        await yard.forget()
        await self._pass([warm_up])
        for name, fleet in sorted({"old": aged, "young": fresh}.items(), key=lambda pair: pair[1].due):
            if number:
                await self._wave(fleet, OURS, name, "")
            else:
                await self._count(name, fleet, last=fleet.due)
        if number:
            self._section.note(
                "age",
                growth_with_age=self._section.last("old", "cpu_s_per_1000_all")
                / self._section.last("young", "cpu_s_per_1000_all"),
            )

    # ------------------------------------------------------------------ how

    async def _patiently(self, section: Callable[[], Awaitable[None]]) -> None:
        """Again with more time, where this machine was too busy for its fleets to be ready when they fell due."""
        for left in reversed(range(TRIES_MAX)):
            self._section = Measured()
            try:
                await section()
            except Late as late:
                if not left:
                    raise
                self.tell(f"{late}; once more, with more time")
                self._patience *= MARGIN
                await self._pass_by()
            else:
                self.measured.add(self._section)
                return

    async def _pass_by(self) -> None:
        """Let what was made for a section that is given up fall due, so that it disturbs nothing."""
        left = self._last_due + self._slot(self.plan.fleet) - datetime.now(UTC)
        await asyncio.sleep(max(left.total_seconds(), 0))

    def _ready(self, starts: int) -> datetime:
        """The whole second by which so many are started, and the workers started anew."""
        needed = timedelta(seconds=starts * self._start_s * MARGIN) + RESTART
        return (datetime.now(UTC) + needed * self._patience).replace(microsecond=0)

    def _slot(self, size: int) -> timedelta:
        """How long a fleet is given to itself."""
        return timedelta(seconds=int((size * self._cycle_s * MARGIN + SETTLING_S) * self._patience))

    async def _make(self, kind: str, size: int, due: datetime) -> Fleet:
        self._last_due = max(self._last_due, due)
        if kind == OURS:
            return await self.yard.subscriptions(self._name(OURS), size, due)
        return await self.yard.bare(self._name("bare"), size, due, local=kind == FLOOR_LOCAL)

    def _name(self, kind: str) -> str:
        self._fleets += 1
        return f"{kind}{self._fleets}"

    async def _pass(self, fleets: list[Fleet]) -> None:
        """Fleets that only warm the processes up: connections, statements, first imports."""
        await _until(fleets[0].due - QUIET)
        await asyncio.sleep(self._slot(self.plan.warm_up).total_seconds() - SETTLING_S / 2)

    async def _wave(self, fleet: Fleet, kind: str, section: str, prefix: str) -> None:
        """Let a fleet fall due; from then until the last receipt is sent, or the last bare workflow waits again."""
        yard, ours = self.yard, kind == OURS
        processes = (*SERVERS, WORKER_NAME if ours else FLOOR_NAME)
        await _until(fleet.due - QUIET)
        before, cycles_before = cpu_s(yard.stack, processes), yard.floor_cycles()

        async def done() -> int:
            return (await yard.receipts(fleet))[0] if ours else yard.floor_cycles() - cycles_before

        await _reached(done, fleet)
        await asyncio.sleep(QUIET.total_seconds())
        after = cpu_s(yard.stack, processes)
        ended = (await yard.receipts(fleet))[1] if ours else await yard.last_event(fleet)
        seconds = ((ended or datetime.now(UTC)) - fleet.due).total_seconds()
        if ours:
            self._cycle_s = seconds / fleet.size
        used = {process: (after[process] - before[process]) * 1000 / fleet.size for process in processes}
        figures = {"per_s": fleet.size / seconds, "cpu_s_per_1000_all": sum(used.values())}
        figures |= {f"cpu_s_per_1000_{_role(process)}": value for process, value in used.items()}
        self._section.note(section, **{f"{prefix}{name}": value for name, value in figures.items()})

    async def _count(self, section: str, fleet: Fleet, *, last: datetime) -> None:
        """What a fleet's renewals do: events, statements, gateway calls. Never timed, for the log costs time."""
        yard = self.yard
        marks = {identity: await mark(yard.client, identity) for identity in workflow_ids(fleet)}
        _, call = await gateway_calls(yard.stack)
        await _until(fleet.due - QUIET)
        async with statements(yard.stack) as counted:
            await _reached(lambda: _sent(yard, fleet), fleet)
            await asyncio.sleep(max((last - datetime.now(UTC)).total_seconds(), 0) + 2 * QUIET.total_seconds())
        calls, _ = await gateway_calls(yard.stack, call)
        for identity, since in marks.items():
            self._section.note(section, events_per_renewal=await events_since(yard.client, identity, since))
        self._section.note(
            section,
            sql_per_renewal=counted.proper / fleet.size,
            sql_begin_commit_per_renewal=counted.frame / fleet.size,
            gateway_calls_per_renewal=calls / fleet.size,
        )

    def _ratio(self, section: str) -> None:
        for name, floor in (("ratio", FLOOR), ("ratio_local", FLOOR_LOCAL)):
            ours, bare = self._section.last(section, "ours_per_s"), self._section.last(section, f"{floor}_per_s")
            self._section.note(section, **{name: ours / bare})
        ours, bare = (self._section.last(section, f"{kind}_cpu_s_per_1000_all") for kind in (OURS, FLOOR))
        self._section.note(section, ratio_by_cpu=bare / ours)


def _role(process: str) -> str:
    return WORKER_NAME if process == FLOOR_NAME else process


async def _sent(yard: Yard, fleet: Fleet) -> int:
    return (await yard.receipts(fleet))[0]


async def _until(instant: datetime) -> None:
    left = (instant - datetime.now(UTC)).total_seconds()
    if left < 0:
        raise Late(f"a fleet was not ready when it fell due, {-left:.1f} s ago")
    await asyncio.sleep(left)


async def _reached(done: Callable[[], Awaitable[int]], fleet: Fleet) -> None:
    await asyncio.sleep(max((fleet.due - datetime.now(UTC)).total_seconds(), 0))
    await counted_to(fleet.size, done, WAVE_S_MAX)
