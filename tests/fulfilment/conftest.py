"""A stack of its own, whose parcels go to a warehouse in another process."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

import settings
from api.keys import create_key
from local.ports import HeldPort
from local.stack import Stack
from local.supervisor import Spec, Supervisor
from tests.api.conftest import Caller
from tests.servers import ROOT
from tests.stack_fixtures import NUMBERS, Shop
from tests.stack_fixtures import shop as shop  # noqa: PLC0414 - a fixture is found where it is re-exported

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"


class Depot:
    """The warehouse's control, and its process."""

    def __init__(self, processes: Supervisor, http: httpx.AsyncClient) -> None:
        self.processes = processes
        self.http = http

    async def state(self) -> dict[str, Any]:
        return (await self.http.get("/control/state")).raise_for_status().json()

    async def calls(self, fulfilment: str) -> list[str]:
        """What it was asked about a parcel, in order."""
        return [call["type"] for call in (await self.state())["calls"] if call["id"] == fulfilment]

    async def becomes(self, mode: str) -> None:
        (await self.http.put(f"/control/mode/{mode}")).raise_for_status()

    async def says(self, kind: str, fulfilment: str, **more: Any) -> dict[str, Any]:
        data = {"fulfilment_id": fulfilment} | more.pop("data", {})
        body = {"type": kind, "data": data} | more
        return (await self.http.post("/control/say", json=body)).raise_for_status().json()


@pytest.fixture(scope="session")
def depot_port() -> Iterator[int]:
    with HeldPort() as port:
        yield port.number


@pytest.fixture(scope="session")
async def stack(depot_port: int) -> AsyncIterator[Stack]:
    """Everything, with a provider that takes parcels of test-mode subscriptions, for it ships nothing."""
    wanted = settings.Settings(
        gateway_timeout_s=2,
        fulfilment_url=f"http://127.0.0.1:{depot_port}/parcels",
        fulfilment_secret=SECRET,
        fulfilment_timeout_s=2,
        fulfilment_takes_test_mode=True,
    )
    async with Stack(wanted, ephemeral=True) as running:
        await running.migrate()
        await running.start_worker()
        await running.start_api()
        yield running


@pytest.fixture(scope="session")
async def depot(stack: Stack, depot_port: int, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Depot]:
    folder: Path = tmp_path_factory.mktemp("warehouse")
    processes = Supervisor(folder, print)
    tell = f"{stack.api_url}/v1/fulfilment-events"
    run = ["tests.warehouse", "--port", str(depot_port), "--secret", SECRET, "--tell", tell]
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{depot_port}", timeout=60, trust_env=False) as http:

        async def ready() -> bool:
            try:
                return (await http.get("/control/state")).is_success
            except httpx.TransportError:
                return False

        environment = settings.Settings().environment()
        await processes.start(Spec("warehouse", [sys.executable, "-m", *run], ready, environment, ROOT))
        try:
            yield Depot(processes, http)
        finally:
            await processes.stop_all()


@pytest.fixture
async def agent(shop: Shop) -> AsyncIterator[Caller]:
    key = await create_key(shop.database, f"ann-{next(NUMBERS)}")
    async with httpx.AsyncClient(base_url=shop.stack.api_url, timeout=60, trust_env=False) as client:
        yield Caller(client, key)
