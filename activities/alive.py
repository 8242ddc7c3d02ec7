"""Signs of life of a step that takes long: a killed worker is missed in seconds, not after the step's time limit."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from functools import wraps
from typing import Concatenate, Final, ParamSpec, TypeVar

from temporalio import activity

BEAT_EVERY_S: Final = 3.0

S = TypeVar("S")
P = ParamSpec("P")
T = TypeVar("T")


def alive(
    step: Callable[Concatenate[S, P], Awaitable[T]],
) -> Callable[Concatenate[S, P], Awaitable[T]]:
    """An activity method that heartbeats while it runs. A renewal is over long before the first beat."""

    @wraps(step)
    async def beating(self: S, *args: P.args, **kwargs: P.kwargs) -> T:
        heart = asyncio.create_task(_beat())
        try:
            return await step(self, *args, **kwargs)
        finally:
            heart.cancel()

    return beating


async def _beat() -> None:
    while True:
        await asyncio.sleep(BEAT_EVERY_S)
        activity.heartbeat()
