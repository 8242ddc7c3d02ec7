"""The API in this process on a real database, and a caller with a key."""

from __future__ import annotations

from collections.abc import AsyncIterator
from itertools import count
from typing import Any

import httpx
import pytest
from argon2 import PasswordHasher

from api.app import create_app
from api.context import Services
from api.keys import create_key
from api.passwords import Passwords
from api.vault import KEY_BYTES, Vault
from domain.links import LinkMaker
from models.session import Database
from providers.gateways.registry import open_gateway
from tests.stack_fixtures import shop as shop  # noqa: PLC0414 - a fixture is found where it is re-exported

KEYS = count(1)


class Caller:
    """A program with an API key. Each POST gets a fresh idempotency key unless one is given."""

    def __init__(self, http: httpx.AsyncClient, key: str) -> None:
        self.http = http
        self.key = key

    async def get(self, path: str, **query: Any) -> httpx.Response:
        return await self.http.get(path, params=query or None, headers=self._headers())

    async def post(self, path: str, body: Any = None, *, key: str | None = None) -> httpx.Response:
        headers = self._headers() | {"Idempotency-Key": key or f"test-{next(KEYS)}"}
        return await self.http.post(path, json=body, headers=headers)

    async def put(self, path: str, body: Any) -> httpx.Response:
        return await self.http.put(path, json=body, headers=self._headers())

    async def patch(self, path: str, body: Any) -> httpx.Response:
        return await self.http.patch(path, json=body, headers=self._headers())

    async def delete(self, path: str) -> httpx.Response:
        return await self.http.delete(path, headers=self._headers())

    async def made(self, path: str, body: Any) -> dict[str, Any]:
        response = await self.post(path, body)
        assert response.status_code == 201, response.text
        return response.json()

    def _headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.key}"}


@pytest.fixture(scope="session")
async def services(database: Database) -> AsyncIterator[Services]:
    """Reference data needs no Temporal, and nothing listens where the gateway should be."""
    gateway = open_gateway("sandbox", "http://127.0.0.1:9", timeout_s=1, calls_per_second_max=10)
    vault = Vault(bytes(range(KEY_BYTES)))
    links = LinkMaker(bytes(range(KEY_BYTES)), "https://pay.example.com")
    passwords = Passwords(PasswordHasher(time_cost=1, memory_cost=8, parallelism=1))  # as cheap as they can be
    yield Services(database, None, {gateway.name: gateway}, vault=vault, passwords=passwords, links=links)  # pyright: ignore[reportArgumentType] - never asked here
    await gateway.aclose()


@pytest.fixture(scope="session")
async def http(services: Services) -> AsyncIterator[httpx.AsyncClient]:
    transport = httpx.ASGITransport(create_app(services), raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://api") as client:
        yield client


@pytest.fixture(scope="session")
async def api(http: httpx.AsyncClient, database: Database) -> Caller:
    return Caller(http, await create_key(database, "tests"))


@pytest.fixture
async def customer(api: Caller) -> dict[str, Any]:
    return await api.made("/v1/customers", {"email": "ada@example.com", "currency": "EUR"})


@pytest.fixture
async def product(api: Caller) -> dict[str, Any]:
    return await api.made("/v1/products", {"code": f"box-{next(KEYS)}", "name": "Box", "options": ["red", "blue"]})
