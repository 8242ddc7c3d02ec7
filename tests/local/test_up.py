"""`up` as a person at a terminal meets it: addresses, Ctrl-C, a second start that goes on."""

from __future__ import annotations

import asyncio
import re
import signal
import sys
from pathlib import Path

import httpx
import pytest

import settings
from tests.servers import ROOT

FREE = ("API", "TEMPORAL", "TEMPORAL_UI", "GATEWAY", "MAILSINK_HTTP", "MAILSINK_SMTP")


class Up:
    """A running `python cli.py up`."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process
        self.text = ""

    @classmethod
    async def start(cls, folder: Path) -> Up:
        free = {f"DUNLIN_{name}_PORT": "0" for name in FREE} | {"DUNLIN_DATA_DIR": str(folder)}
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "cli.py", "up"),
            cwd=ROOT,
            env=settings.Settings().environment() | free,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        return cls(process)

    async def until(self, words: str) -> None:
        assert self.process.stdout is not None
        while words not in self.text:
            line = await self.process.stdout.readline()
            assert line, f"ended before {words!r}:\n{self.text}"
            self.text += line.decode()

    def shown(self, name: str) -> str:
        found = re.search(rf"^  {name} +(\S+)$", self.text, re.MULTILINE)
        assert found, self.text
        return found[1]

    async def stop(self) -> int:
        self.process.send_signal(signal.SIGINT)
        await self.process.communicate()
        assert self.process.returncode is not None
        return self.process.returncode


@pytest.mark.stack
async def test_up_shows_working_addresses_and_goes_on_with_its_folder(tmp_path: Path) -> None:
    first = await Up.start(tmp_path)
    await first.until("Ctrl-C")
    key = first.shown("API key")
    assert ":***@" in first.shown("Database")
    async with httpx.AsyncClient() as http:
        for name in ("API documentation", "Temporal UI", "Test cards", "Mail sink"):
            assert (await http.get(first.shown(name))).status_code == 200, name
        unknown = await http.get(f"{first.shown('API')}/customers", headers={"Authorization": "Bearer dk_wrong"})
        known = await http.get(f"{first.shown('API')}/customers", headers={"Authorization": f"Bearer {key}"})
        assert (unknown.status_code, known.status_code) == (401, 200)
    beside = await Up.start(tmp_path)
    await beside.until(f"another Dunlin (process {first.process.pid}) runs on")
    assert await beside.process.wait() == 1
    assert await first.stop() == 0
    second = await Up.start(tmp_path)
    await second.until("Ctrl-C")
    assert second.shown("API key") == key
    assert await second.stop() == 0
