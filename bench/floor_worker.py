"""The floor's worker process: as `worker.py`, with the bare workflow in place of ours.

Run as `python -m bench.floor_worker`; prints `floor ready` when it polls, and after that how many cycles it has done.
"""

from __future__ import annotations

import asyncio
import logging
import signal
import sys
from typing import Final

import uvloop
from temporalio.client import Client
from temporalio.worker import Worker

from bench.floor import QUEUE, READY_LINE, Empty, FloorWorkflow
from settings import Settings, load
from worker import RUNNER, settle_in, tuning
from workflows.converter import data_converter

TELL_EVERY_S: Final = 0.1


async def run(settings: Settings) -> int:
    """Work until SIGINT or SIGTERM."""
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    client = await Client.connect(
        settings.temporal_address or "", namespace=settings.temporal_namespace, data_converter=data_converter
    )
    empty = Empty()
    worker = Worker(
        client,
        task_queue=QUEUE,
        workflows=[FloorWorkflow],
        activities=[empty.nothing],
        workflow_runner=RUNNER,
        **tuning(settings),
    )
    async with worker:
        settle_in()
        sys.stdout.write(f"{READY_LINE}\n")
        told = -1
        while not stop.is_set():
            if told != empty.done:
                told = empty.done
                sys.stdout.write(f"{told}\n")
                sys.stdout.flush()
            await asyncio.sleep(TELL_EVERY_S)
    return 0


def main() -> int:
    settings = load()
    logging.basicConfig(level=settings.log_level.upper(), format="%(asctime)s %(levelname)s %(name)s %(message)s")
    return uvloop.run(run(settings))


if __name__ == "__main__":
    sys.exit(main())
