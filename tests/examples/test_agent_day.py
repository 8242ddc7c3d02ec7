"""The agent's day as it is printed in `examples/`: every answer as expected, and an end at the first that is not."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest

from local.keys import api_key
from tests.servers import ROOT
from tests.stack_fixtures import Shop
from tests.stack_fixtures import shop as shop  # noqa: PLC0414 - a fixture is found where it is re-exported

SCRIPT = ROOT / "examples" / "agent_day.sh"


async def played(url: str, key_file: Path) -> tuple[int | None, str]:
    """The script's status and all that it said."""
    process = await asyncio.create_subprocess_exec(
        str(SCRIPT),
        cwd=ROOT,
        env={"PATH": os.environ["PATH"], "DUNLIN_URL": url, "DUNLIN_KEY_FILE": str(key_file)},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    said = (await process.communicate())[0].decode()
    return process.returncode, said


@pytest.mark.stack
async def test_the_day_goes_as_it_says_and_no_key_is_told(shop: Shop) -> None:
    key = await api_key(shop.stack)
    status, said = await played(shop.stack.api_url, shop.stack.folder / "api-key")
    assert status == 0, said
    assert "each answered as expected" in said
    assert "a void of 19.00 EUR, succeeded" in said
    assert key not in said
    rows = await shop.rows("SELECT name, revoked_at FROM api_keys WHERE name ~ '^(agent|lead)-[0-9]+-[0-9]+$'")
    assert len(rows) == 2
    assert all(row["revoked_at"] for row in rows)


@pytest.mark.stack
async def test_it_ends_at_the_first_answer_that_is_not_expected(shop: Shop, tmp_path: Path) -> None:
    (tmp_path / "api-key").write_text("dk_nobody\n")
    status, said = await played(shop.stack.api_url, tmp_path / "api-key")
    assert status == 1
    assert "POST /api-keys: expected 201, got 401" in said
    assert "POST   /products" not in said


async def test_without_a_key_or_an_api_it_says_so(tmp_path: Path) -> None:
    assert await played("http://127.0.0.1:1", tmp_path / "none") == (
        1,
        f"There is no key in {tmp_path / 'none'}: is 'make up' running? DUNLIN_KEY_FILE says another place.\n",
    )
    (tmp_path / "api-key").write_text("dk_nobody\n")
    status, said = await played("http://127.0.0.1:1", tmp_path / "api-key")
    assert status == 1
    assert "no answer from http://127.0.0.1:1" in said
