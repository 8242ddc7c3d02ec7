"""What is read from outside while renewals run: CPU of each process, statements, gateway calls, history events.

Nothing here is told by our own code: CPU comes from the kernel, statements from PostgreSQL's log, calls from the
gateway's, events from Temporal.
"""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator, Iterable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import asyncpg
import httpx
import psutil
from temporalio.client import Client

from local.stack import Stack

LOG_SETTINGS: Final = {"log_statement": "all", "log_line_prefix": "%a|", "log_parameter_max_length": "0"}
_STATEMENT: Final = re.compile(r"^dunlin-worker\|LOG:  (?:statement|execute [^:]*):\s*(\w+)", re.MULTILINE)
_FRAME: Final = frozenset({"BEGIN", "COMMIT", "ROLLBACK"})
CALLS_PAGE: Final = 1_000
SERVERS: Final = ("temporal", "postgres", "gateway", "mailsink")


def cpu_s(stack: Stack, names: Iterable[str]) -> dict[str, float]:
    """CPU seconds, user and system, that each process with all its descendants has used so far."""
    return {name: _used_s(psutil.Process(stack.processes.pid(name))) for name in names}


def _used_s(process: psutil.Process) -> float:
    own = process.cpu_times()
    total = own.user + own.system + own.children_user + own.children_system  # those of children that have ended
    for child in process.children():
        with suppress(psutil.NoSuchProcess):
            total += _used_s(child)
    return total


@dataclass(slots=True)
class Statements:
    """What the worker had PostgreSQL execute: statements proper, and the BEGIN and COMMIT around them."""

    proper: int = 0
    frame: int = 0


@asynccontextmanager
async def statements(stack: Stack) -> AsyncGenerator[Statements]:
    """Count every statement of the worker inside the block, from PostgreSQL's own log."""
    counted = Statements()
    log = stack.processes.log("postgres")
    await _log(stack, LOG_SETTINGS)
    start = log.stat().st_size
    try:
        yield counted
    finally:
        await _log(stack, dict.fromkeys(LOG_SETTINGS))
        for verb in _verbs(log, start):
            if verb in _FRAME:
                counted.frame += 1
            else:
                counted.proper += 1


def _verbs(log: Path, start: int) -> list[str]:
    with log.open("rb") as file:
        file.seek(start)
        return [verb.upper() for verb in _STATEMENT.findall(file.read().decode(errors="replace"))]


async def _log(stack: Stack, wanted: Mapping[str, str | None]) -> None:
    connection = await asyncpg.connect(stack.database_url.replace("+asyncpg", ""))
    try:
        for name, value in wanted.items():
            what = f"SET {name} = '{value}'" if value is not None else f"RESET {name}"
            await connection.execute(f"ALTER SYSTEM {what}")
        await connection.execute("SELECT pg_reload_conf()")
    finally:
        await connection.close()


async def gateway_calls(stack: Stack, after: int = 0) -> tuple[int, int]:
    """How many calls the gateway has logged after that one, and the id of the last."""
    count, last = 0, after
    async with httpx.AsyncClient(base_url=stack.gateway_url, trust_env=False) as http:
        while True:
            answer = await http.get("/control/calls", params={"after": last, "limit": CALLS_PAGE})
            page: list[dict[str, Any]] = answer.raise_for_status().json()["calls"]
            count += len(page)
            if not page:
                return count, last
            last = int(page[-1]["id"])


@dataclass(frozen=True, slots=True)
class Mark:
    """Where a workflow's history stood: its run and how many events that had."""

    run_id: str
    events: int


async def mark(client: Client, workflow_id: str) -> Mark:
    """Where the history stands now."""
    history = await client.get_workflow_handle(workflow_id).fetch_history()
    # The handle names no run: which one it was stands in the first event.
    started = history.events[0].workflow_execution_started_event_attributes
    return Mark(started.original_execution_run_id, len(history.events))


async def events_since(client: Client, workflow_id: str, since: Mark) -> int:
    """How many events the history has grown by, over all runs since."""
    run_id: str | None = None
    total = 0
    while True:
        history = await client.get_workflow_handle(workflow_id, run_id=run_id).fetch_history()
        started = history.events[0].workflow_execution_started_event_attributes
        total += len(history.events)
        if started.original_execution_run_id == since.run_id:
            return total - since.events
        run_id = started.continued_execution_run_id
