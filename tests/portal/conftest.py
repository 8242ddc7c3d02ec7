"""The shop on the whole stack, an agent at the API, and customers with browsers."""

from __future__ import annotations

from collections.abc import AsyncIterator

import httpx
import pytest

from api.keys import create_key
from local.stack import Stack
from models.session import Database
from tests.api.conftest import Caller
from tests.portal.browser import Browser
from tests.stack_fixtures import Shop
from tests.stack_fixtures import shop as shop  # noqa: PLC0414 - a fixture is found where it is re-exported


@pytest.fixture(scope="session")
async def agent(stack: Stack, shop: Shop) -> AsyncIterator[Caller]:
    """Somebody of the merchant at the API of the stack."""
    database: Database = shop.database
    async with httpx.AsyncClient(base_url=stack.api_url, timeout=60, trust_env=False) as http:
        yield Caller(http, await create_key(database, "portal tests"))


@pytest.fixture
async def browser() -> AsyncIterator[Browser]:
    async with Browser() as opened:
        yield opened


@pytest.fixture
async def other_browser() -> AsyncIterator[Browser]:
    async with Browser() as opened:
        yield opened
