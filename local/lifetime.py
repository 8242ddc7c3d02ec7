"""How a command that serves until told ends: Ctrl-C and SIGTERM cancel it, and what it opened is closed in order."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Coroutine
from typing import Any, Final

EXIT_OK: Final = 0
_STOPS: Final = (signal.SIGINT, signal.SIGTERM)


def run(main: Coroutine[Any, Any, int]) -> int:
    """Run to the end, or until stopped, which is a good end too; gives the exit status.

    A second signal cuts the closing short; the kernel then ends the children.
    """
    return asyncio.run(_until_stopped(main))


async def _until_stopped(main: Coroutine[Any, Any, int]) -> int:
    loop = asyncio.get_running_loop()
    task = loop.create_task(main)
    stopped = False

    def stop() -> None:
        nonlocal stopped
        stopped = True
        task.cancel()

    for signum in _STOPS:
        loop.add_signal_handler(signum, stop)
    try:
        return await task
    except asyncio.CancelledError:
        if not stopped:
            raise
        return EXIT_OK
    finally:
        for signum in _STOPS:
            loop.remove_signal_handler(signum)
