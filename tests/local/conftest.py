"""The sandbox gateway in its own process, fresh for each test that asks."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.servers import Server, sandbox_gateway


@pytest.fixture
async def sandbox(tmp_path: Path) -> AsyncIterator[Server]:
    async with sandbox_gateway(tmp_path) as server:
        yield server
