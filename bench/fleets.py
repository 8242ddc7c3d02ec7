"""Fleets: subscriptions, or bare workflows, that all fall due at one instant."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Final, TypeVar

from sqlalchemy import text
from temporalio.api.enums.v1 import EventType
from temporalio.client import Client

from bench.floor import QUEUE, READY_LINE, FloorInput, FloorWorkflow
from domain.calendar import Interval, Unit
from domain.messages import Start
from domain.terms import Terms
from local.stack import ROOT, Stack
from local.supervisor import Spec
from models.session import Database
from workflows.commands import Commands, workflow_id
from workflows.converter import data_converter
from workflows.policies import STEPS_PER_RUN_MAX

WORKER_NAME: Final = "worker"
FLOOR_NAME: Final = "floor"
AT_ONCE_MAX: Final = 40
POLL_EVERY_S: Final = 0.15
READY_S_MAX: Final = 120
# More than any fleet is made ahead of its time.
SHORTLY: Final = timedelta(minutes=30)
MONTH: Final = Interval(30, Unit.DAY)
DAY: Final = Interval(1, Unit.DAY)
_ZONE: Final = "UTC"
_EVER: Final = datetime(2000, 1, 1, tzinfo=UTC)

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Fleet:
    """So many of a kind, due at `due` by the wall clock, at `virtual_due` by their own."""

    prefix: str
    size: int
    due: datetime
    virtual_due: datetime

    @property
    def ids(self) -> list[str]:
        return _ids(self.prefix, self.size)


@dataclass(slots=True)
class Ages:
    """A fleet whose clocks are its own and can be moved: when its first cycle falls due, how many it has lived.

    `steps`: how many of these lie in the run it is in, with the step that recorded its beginning.
    """

    prefix: str
    size: int
    first_due: datetime
    cycles: int = 0
    steps: int = 1

    def lived(self, cycles: int) -> None:
        """So many more; a run that has done its share ends, but never on a journey."""
        self.cycles += cycles
        self.steps += cycles
        if self.steps >= STEPS_PER_RUN_MAX:
            self.steps = 0

    def due(self, cycles: int) -> datetime:
        """When the cycle after so many falls due, by their own clock."""
        return self.first_due + timedelta(days=DAY.days * cycles)

    @property
    def ids(self) -> list[str]:
        return _ids(self.prefix, self.size)


class Late(Exception):
    """A fleet was not ready when it fell due: this machine is slower than expected."""


class Yard:
    """Where fleets are made: our subscriptions with customers and cards, and the bare workflows."""

    def __init__(self, stack: Stack, database: Database, client: Client) -> None:
        self.stack: Final = stack
        self.database: Final = database
        self.client: Final = client
        self._commands: Final = Commands(client, stack.settings.temporal_task_queue)

    @classmethod
    async def open(cls, stack: Stack) -> Yard:
        """On a stack that is migrated; starts the worker and the floor's."""
        database = Database.connect(stack.database_url, application_name="dunlin-bench", pool_max=5)
        client = await Client.connect(
            stack.temporal_address, namespace=stack.settings.temporal_namespace, data_converter=data_converter
        )
        async with database.begin() as connection:
            for statement in _CATALOGUE:
                await connection.execute(text(statement))
        await stack.start_worker(WORKER_NAME)
        command = [sys.executable, "-m", "bench.floor_worker"]
        await stack.processes.start(Spec(FLOOR_NAME, command, READY_LINE, stack.settings.environment(), ROOT))
        return cls(stack, database, client)

    async def close(self) -> None:
        await self.database.close()

    async def forget(self) -> None:
        """Both workers anew: nothing is in their caches."""
        async with asyncio.TaskGroup() as both:
            for name in (WORKER_NAME, FLOOR_NAME):
                both.create_task(self.stack.restart(name))

    async def subscriptions(self, prefix: str, size: int, due: datetime, *, apart: timedelta = timedelta(0)) -> Fleet:
        """Monthly subscriptions, renewed at `due`, or each so much later than the one before.

        They are taken over from elsewhere with 0 to 5 months to catch up on, in turn. So their runs are of all lengths
        that runs have, as they are on any day in a merchant's life.
        """
        fleet = Fleet(prefix, size, due, due)
        await self._customers(fleet.ids)
        month = timedelta(days=MONTH.days)
        missed = [number % STEPS_PER_RUN_MAX for number in range(size)]
        dues = [due + apart * number for number in range(size)]
        starts = [
            Start(
                identity,
                _customer(identity),
                _ZONE,
                _terms(MONTH),
                "bench",
                start_at=at - month * (months + 1),
                bill_from=at - month * months - timedelta(days=1),
            )
            for identity, at, months in zip(fleet.ids, dues, missed, strict=True)
        ]
        await _each(starts, self._commands.start)
        await counted_to(sum(missed), partial(self._receipts_of, prefix), READY_S_MAX)
        return fleet

    async def bare(self, prefix: str, size: int, due: datetime, *, local: bool) -> Fleet:
        """Bare workflows whose timer fires at `due`."""
        fleet = Fleet(prefix, size, due, due)

        async def start(identity: str) -> None:
            await self.client.start_workflow(
                FloorWorkflow.run, FloorInput(due, local=local), id=identity, task_queue=QUEUE
            )

        await _each(fleet.ids, start)
        for identity in fleet.ids:
            await counted_to(1, partial(self._waits, identity), READY_S_MAX)
        return fleet

    async def newborn(self, prefix: str, size: int) -> Ages:
        """Daily subscriptions in test mode, not yet begun."""
        ages = Ages(prefix, size, datetime.now(UTC).replace(microsecond=0) + timedelta(hours=1))
        await self._customers(ages.ids)
        starts = [
            Start(identity, _customer(identity), _ZONE, _terms(DAY), "bench", start_at=ages.first_due, test_mode=True)
            for identity in ages.ids
        ]
        await _each(starts, self._commands.start)
        return ages

    async def live(self, ages: Ages, cycles: int) -> None:
        """Let them live so many cycles more, to shortly before the next."""
        until = ages.due(ages.cycles + cycles) - SHORTLY
        await _each(ages.ids, lambda identity: self._move(identity, until), at_once_max=ages.size)
        ages.lived(cycles)

    async def align(self, ages: Ages, due: datetime) -> Fleet:
        """Set their clocks so that the next cycle falls due at `due` by the wall clock, for all at once."""
        virtual_due = ages.due(ages.cycles)
        await _each(ages.ids, lambda identity: self._move(identity, virtual_due - (due - datetime.now(UTC))))
        return Fleet(ages.prefix, ages.size, due, virtual_due)

    async def _move(self, identity: str, until: datetime) -> None:
        await self._commands.advance(identity, until - await self._commands.virtual_now(identity))

    async def receipts(self, fleet: Fleet) -> tuple[int, datetime | None]:
        """How many receipts of the cycle due have been taken by the mail server, and when the last one was."""
        async with self.database.begin() as connection:
            row = (await connection.execute(_RECEIPTS, {"prefix": fleet.prefix, "due": fleet.virtual_due})).one()
        return row.sent, row.last

    def floor_cycles(self) -> int:
        """How many cycles the floor's worker has done since it started."""
        lines = self.stack.processes.log(FLOOR_NAME).read_text().split()
        return next((int(line) for line in reversed(lines) if line.isdecimal()), 0)

    async def last_event(self, fleet: Fleet) -> datetime:
        """When the last of these workflows waited again."""
        last: list[datetime] = []

        async def look(identity: str) -> None:
            history = await self.client.get_workflow_handle(identity).fetch_history()
            last.append(history.events[-1].event_time.ToDatetime(UTC))

        await _each(fleet.ids, look)
        return max(last)

    async def _customers(self, subscriptions: Iterable[str]) -> None:
        async with self.database.begin() as connection:
            ids = [_customer(identity) for identity in subscriptions]
            for statement in _PEOPLE:
                await connection.execute(text(statement), {"ids": ids})

    async def _receipts_of(self, prefix: str) -> int:
        async with self.database.begin() as connection:
            return (await connection.execute(_RECEIPTS, {"prefix": prefix, "due": _EVER})).one().sent

    async def _waits(self, identity: str) -> bool:
        history = await self.client.get_workflow_handle(identity).fetch_history()
        return history.events[-1].event_type == EventType.EVENT_TYPE_TIMER_STARTED


async def counted_to(wanted: int, count: Callable[[], Awaitable[int]], within_s: float) -> None:
    """Wait until the count is reached. Raises `TimeoutError`."""
    async with asyncio.timeout(within_s):
        while True:
            if await count() >= wanted:
                return
            await asyncio.sleep(POLL_EVERY_S)


def _ids(prefix: str, size: int) -> list[str]:
    return [f"{prefix}-{number:04}" for number in range(size)]


async def _each(items: Iterable[T], do: Callable[[T], Awaitable[object]], at_once_max: int = AT_ONCE_MAX) -> None:
    gate = asyncio.Semaphore(at_once_max)

    async def one(item: T) -> None:
        async with gate:
            await do(item)

    async with asyncio.TaskGroup() as all_of_them:
        for item in items:
            all_of_them.create_task(one(item))


def workflow_ids(fleet: Fleet) -> list[str]:
    """The ids of the subscriptions' workflows in Temporal."""
    return [workflow_id(identity) for identity in fleet.ids]


def _customer(subscription: str) -> str:
    return f"cus-{subscription}"


def _terms(interval: Interval) -> Terms:
    return Terms("price_bench", "prod_bench", "Bench box", 1990, "EUR", 1, interval)


_CATALOGUE: Final = (
    "INSERT INTO products (id, code, name) VALUES ('prod_bench', 'bench', 'Bench box')",
    """
INSERT INTO prices (id, product_id, code, currency, unit_amount, interval_count, interval_unit)
VALUES ('price_bench', 'prod_bench', 'month', 'EUR', 1990, 30, 'day')
""",
)
_PEOPLE: Final = (
    """
INSERT INTO customers (id, email, currency, invoice_prefix, first_name, time_zone, language)
SELECT id, id || '@example.com', 'EUR', id, 'Ann', 'UTC', 'en' FROM unnest(CAST(:ids AS text[])) AS id
""",
    """
INSERT INTO payment_methods (id, customer_id, gateway, token, kind, brand, last4)
SELECT 'pm-' || id, id, 'sandbox', 'tok_ok_visa_' || id, 'card', 'visa', '4242'
FROM unnest(CAST(:ids AS text[])) AS id
""",
)
_RECEIPTS: Final = text(
    """
SELECT count(*) AS sent, max(sent_at) AS last FROM messages
WHERE template = 'receipt' AND status = 'sent' AND at >= :due AND starts_with(subscription_id, :prefix || '-')
"""
)
