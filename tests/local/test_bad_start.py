"""What cannot start says why in one line: no traceback, whoever reads it first is new here."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import pytest

import settings
from tests.servers import ROOT

# Nobody listens on port 1.
NOBODY = "127.0.0.1:1"
AWAY = f"postgresql://dunlin:secret@{NOBODY}/dunlin"
ELSEWHERE = {
    "DUNLIN_TEMPORAL_ADDRESS": NOBODY,
    "DUNLIN_GATEWAY_URL": f"http://{NOBODY}",
    "DUNLIN_SECRET_KEY": "A" * 43 + "=",
}
NO_ANSWER = "the database does not answer: check DATABASE_URL"


async def started(*command: str, **environment: str) -> tuple[int | None, str]:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *command,
        cwd=ROOT,
        env=settings.Settings().environment() | {"DUNLIN_API_PORT": "0"} | environment,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    told, _ = await process.communicate()
    return process.returncode, told.decode()


@pytest.mark.parametrize(
    ("command", "status"),
    [
        (("cli.py", "up"), 1),
        (("cli.py", "migrate"), 1),
        (("cli.py", "api-key", "list"), 1),
        (("worker.py",), 4),
        (("server.py",), 4),
    ],
)
async def test_a_database_that_does_not_answer(tmp_path: Path, command: tuple[str, ...], status: int) -> None:
    folder = {"DUNLIN_DATA_DIR": str(tmp_path / "data")}
    ended, told = await started(*command, **ELSEWHERE, **folder, DUNLIN_DATABASE_URL=AWAY)
    assert (ended, told.splitlines()[-1]) == (status, NO_ANSWER), told
    assert "secret" not in told


@pytest.mark.parametrize("place", ["file", "file/below"])
async def test_a_data_folder_that_cannot_be(tmp_path: Path, place: str) -> None:
    (tmp_path / "file").write_text("not a folder")
    ended, told = await started("cli.py", "up", DUNLIN_DATA_DIR=str(tmp_path / place))
    assert ended == 1
    assert "Traceback" not in told
    assert told.splitlines()[-1].startswith(f"DUNLIN_DATA_DIR: {tmp_path / place} cannot be used: ")
