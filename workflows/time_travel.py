"""Moving a test-mode subscription's own clock. The only module that knows the server's (experimental) time skipping.

A subscription started through `client` may be moved forward later; its clock runs like the wall clock until then.

A workflow must not continue as new while its clock is moved: the server (1.32) then counts the time skipped so far
twice. So a journey is made in legs, each of which the workflow stays within one run for.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from temporalio.client import Client, WorkflowHandle
from temporalio.service import RPCError, RPCStatusCode
from temporalio.testing import TimeSkipper, TimeSkippingConfig

from domain.calendar import Interval
from domain.errors import Refused, Unavailable

# One leg has about so many cycles; even if each ends in dunning, its run stays below `TRAVEL_EVENTS_MAX`.
CYCLES_PER_LEG = 50
LEG_MIN = timedelta(days=31)
# The most timers a single move may fire; the server's own limit is set to the same figure.
SKIPS_MAX = 100_000


class TimeTravel:
    """Starts workflows whose clock can be moved, and moves it."""

    def __init__(self, client: Client) -> None:
        self._skipper = TimeSkipper(client, config=TimeSkippingConfig(enabled=False, max_session_skip_count=SKIPS_MAX))

    @property
    def client(self) -> Client:
        """Workflows started by this client have a clock of their own."""
        return self._skipper.client

    async def advance(self, handle: WorkflowHandle[Any, Any], by: timedelta) -> None:
        """Move the clock and return when it has arrived; what falls due on the way happens on the way.

        Raises `Refused` when another move took over or the server cannot skip time.
        """
        try:
            await self._skipper.fast_forward(handle, by)
        except RuntimeError as error:
            raise Refused("advance_overtaken", "another advance of this subscription took over") from error
        except RPCError as error:
            if error.status in {RPCStatusCode.UNIMPLEMENTED, RPCStatusCode.INVALID_ARGUMENT}:
                raise Refused("no_time_travel", "this Temporal server does not offer time skipping") from error
            raise Unavailable(f"Temporal does not answer: {error.message}") from error

    @staticmethod
    def leg(interval: Interval) -> timedelta:
        """How far a subscription with this interval may be moved at once."""
        days = interval.days or interval.months * 28
        return max(timedelta(days=days * CYCLES_PER_LEG), LEG_MIN)

    async def now(self, handle: WorkflowHandle[Any, Any]) -> datetime:
        """The workflow's own time."""
        return await self._skipper.get_current_time(handle)
