"""The demo as a newcomer meets it: the verdict, a kill in the middle, a second start, and what a failure looks like."""

from __future__ import annotations

import asyncio
import io
import re
import signal
import sys
from pathlib import Path

import psutil
import pytest
from rich.console import Console

import settings
from examples.demo.__main__ import EXIT_DIFFERS, verdict
from examples.demo.chapters import CHAPTERS
from examples.demo.scene import World
from examples.demo.selling import INVOICES
from examples.demo.servers import Api, Gateway, Mail
from tests.servers import ROOT

FREE = ("API", "TEMPORAL", "TEMPORAL_UI", "GATEWAY", "MAILSINK_HTTP", "MAILSINK_SMTP")
GONE_S_MAX = 20.0


async def start_demo(folder: Path, *, leave: bool) -> asyncio.subprocess.Process:
    free = {f"DUNLIN_{name}_PORT": "0" for name in FREE} | {"DUNLIN_DATA_DIR": str(folder)}
    return await asyncio.create_subprocess_exec(
        *(sys.executable, "cli.py", "demo"),
        cwd=ROOT,
        # An outside database must not be touched: were it used, there would be no start at all.
        env=settings.Settings().environment()
        | free
        | {"DEMO_EXIT": "1" if leave else "", "DATABASE_URL": "postgresql://nobody@127.0.0.1:1/none"},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )


async def read_until(process: asyncio.subprocess.Process, words: str) -> str:
    assert process.stdout is not None
    text = ""
    while words not in text:
        line = await process.stdout.readline()
        assert line, f"ended before {words!r}:\n{text}"
        text += line.decode()
    return text


async def nothing_left(children: list[psutil.Process]) -> list[psutil.Process]:
    """The children that still live when their time is over."""
    return (await asyncio.to_thread(psutil.wait_procs, children, timeout=GONE_S_MAX))[1]


@pytest.mark.stack
async def test_a_killed_demo_leaves_nothing_and_the_next_one_balances(tmp_path: Path) -> None:
    killed = await start_demo(tmp_path, leave=False)
    await read_until(killed, f" 1  {CHAPTERS[0].title}")
    children = psutil.Process(killed.pid).children(recursive=True)
    names = " ".join(" ".join(child.cmdline()) for child in children)
    assert all(part in names for part in ("postgres", "temporal", "local.gateway", "server.py", "examples.demo"))
    killed.send_signal(signal.SIGKILL)
    await killed.wait()
    assert await nothing_left(children) == []

    whole = await start_demo(tmp_path, leave=True)
    text = (await whole.communicate())[0].decode()
    assert whole.returncode == 0, text
    for chapter in CHAPTERS:
        assert chapter.title in text
    for currency in ("EUR", "GBP", "JPY", "USD"):
        assert re.search(rf"^{currency} .* equal$", text, re.MULTILINE), text
    assert "messages arrived at the mail sink, each once" in text
    held = re.search(r"^(\d+) of (\d+) expectations hold", text, re.MULTILINE)
    assert held is not None, text
    assert held[1] == held[2]
    assert int(held[1]) > 50
    assert "✗" not in text


@pytest.mark.stack
async def test_ctrl_c_in_the_story_stops_everything(tmp_path: Path) -> None:
    demo = await start_demo(tmp_path, leave=False)
    await read_until(demo, f" 1  {CHAPTERS[0].title}")
    children = psutil.Process(demo.pid).children(recursive=True)
    demo.send_signal(signal.SIGINT)
    text = (await demo.communicate())[0].decode()
    assert demo.returncode == 0, text
    assert "Traceback" not in text
    assert await nothing_left(children) == []


async def test_one_expectation_that_does_not_hold_is_listed_and_fails_the_demo() -> None:
    nowhere = "http://127.0.0.1:1"
    world = World(Api(nowhere, "none"), Gateway(nowhere), Mail(nowhere), 2027, INVOICES)
    shown = io.StringIO()
    assert world.expect("The books", "the trial balance in EUR", 0, 0)
    assert verdict(world, Console(file=shown), 1.0) == 0
    assert not world.expect("A skip", "paid, in EUR", ["24 Jan 24.00"], ["24 Jan 19.00"])
    assert verdict(world, Console(file=shown, soft_wrap=True), 1.0) == EXIT_DIFFERS
    assert "✗ A skip: paid, in EUR: expected ['24 Jan 24.00'], got ['24 Jan 19.00']" in shown.getvalue()
    for server in (world.api, world.gateway, world.mail):
        await server.aclose()
