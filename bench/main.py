"""`make bench`: one stack, one run, a table and a file."""

from __future__ import annotations

import logging
import time
from pathlib import Path
from typing import Final

from rich.console import Console

from bench.fleets import Yard
from bench.report import compose, machine, show, write
from bench.rounds import QUICK, Plan, Rounds
from local.stack import Stack
from local.supervisor import Tell
from settings import Settings

LATEST: Final = Path(__file__).with_name("latest.json")


async def measure(*, quick: bool, output: Path, console: Console, tell: Tell) -> None:
    """Measure on a stack of its own, with the settings of this code and nothing of the environment's."""
    logging.getLogger("httpx").setLevel(logging.WARNING)
    begun, plan = time.monotonic(), QUICK if quick else Plan()
    async with Stack(Settings.model_construct(), ephemeral=True, tell=tell) as stack:
        await stack.migrate()
        yard = await Yard.open(stack)
        try:
            measured = await Rounds(yard, plan, tell).run()
            result = compose(measured, plan, await machine(yard), time.monotonic() - begun)
        finally:
            await yard.close()
    show(result, console)
    write(result, output)
    tell(f"Written to {output}.")
