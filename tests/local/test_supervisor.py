"""Children start, come back, and never outlive their parent."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import psutil
import pytest

from local.ports import HeldPort, PortTaken
from local.supervisor import Spec, StartFailed, Supervisor

ROOT = Path(__file__).resolve().parents[2]
SERVES = "print('ready', flush=True); import time; time.sleep(600)"


class Told(list[str]):
    """What the supervisor tells, and a way to wait for a word of it."""

    def __init__(self) -> None:
        super().__init__()
        self._more = asyncio.Event()

    def __call__(self, text: str) -> None:
        self.append(text)
        self._more.set()

    async def until(self, word: str) -> None:
        while not any(word in text for text in self):
            self._more.clear()
            await self._more.wait()


@pytest.fixture
def told() -> Told:
    return Told()


@pytest.fixture
async def processes(tmp_path: Path, told: Told) -> AsyncIterator[Supervisor]:
    processes = Supervisor(tmp_path, told)
    yield processes
    await processes.stop_all()


def child(code: str, name: str = "child", *, kept_alive: bool = False) -> Spec:
    return Spec(name, [sys.executable, "-c", code], "ready", dict(os.environ), ROOT, kept_alive=kept_alive)


async def test_a_child_that_ends_at_once_is_told_with_its_last_words(processes: Supervisor) -> None:
    with pytest.raises(StartFailed, match=r"(?s)status 3 .*disk full"):
        await processes.start(child("print('disk full'); raise SystemExit(3)"))
    assert not processes.running("child")


async def test_a_crash_is_told_and_followed_by_a_restart(processes: Supervisor, told: Told) -> None:
    await processes.start(child(SERVES, kept_alive=True))
    first = processes.pid("child")
    os.kill(first, signal.SIGKILL)
    await told.until("runs again")
    assert told[0].startswith("child ended with status -9")
    assert processes.running("child")
    assert processes.pid("child") != first


async def test_a_child_that_was_killed_on_purpose_stays_down_until_it_is_restarted(
    processes: Supervisor, told: Told
) -> None:
    await processes.start(child(SERVES, kept_alive=True))
    await processes.kill("child")
    assert not processes.running("child")
    assert told == []
    await processes.restart("child")
    assert processes.running("child")


async def test_children_stop_in_the_reverse_of_their_order(processes: Supervisor, tmp_path: Path) -> None:
    order = tmp_path / "order"
    code = f"""
import signal, sys
def stop(*_):
    open({str(order)!r}, "a").write(NAME + " ")
    sys.exit()
signal.signal(signal.SIGTERM, stop)
print("ready", flush=True)
while True: signal.pause()
"""
    for name in ("database", "worker", "api"):
        await processes.start(child(f"NAME = {name!r}{code}", name))
    await processes.restart("worker")
    order.write_text("")
    await processes.stop_all()
    assert order.read_text().split() == ["worker", "api", "database"]


def test_a_killed_parent_takes_its_children_along(tmp_path: Path) -> None:
    code = f"""
import asyncio, os, sys
from pathlib import Path
from local.supervisor import Spec, Supervisor
async def main():
    processes = Supervisor(Path({str(tmp_path)!r}), print)
    await processes.start(Spec("child", [sys.executable, "-c", {SERVES!r}], "ready", dict(os.environ), Path(".")))
    print(processes.pid("child"), flush=True)
    os.kill(os.getpid(), 9)
asyncio.run(main())
"""
    command = [sys.executable, "-c", code]
    ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)  # noqa: S603 - own code
    assert ran.returncode == -signal.SIGKILL
    with contextlib.suppress(psutil.NoSuchProcess):
        psutil.Process(int(ran.stdout)).wait(timeout=10)


def test_a_held_port_is_nobody_elses_but_our_childs() -> None:
    with HeldPort() as port, socket.socket() as stranger, socket.socket() as ours:
        with pytest.raises(OSError, match="in use"):
            stranger.bind(("127.0.0.1", port.number))
        ours.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        ours.bind(("127.0.0.1", port.number))
        ours.listen()
        with pytest.raises(PortTaken, match="set DUNLIN_API_PORT to another"):
            HeldPort(port.number, setting="DUNLIN_API_PORT")
