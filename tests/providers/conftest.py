"""The real sandbox gateway and the real mail sink, each in its own process, for the whole session."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from providers.gateways.sandbox import SandboxGateway
from tests.servers import Server, mail_sink, sandbox_gateway


@pytest.fixture(scope="session")
async def sandbox(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Server]:
    async with sandbox_gateway(tmp_path_factory.mktemp("gateway")) as server:
        yield server


@pytest.fixture(scope="session")
async def sink(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Server]:
    async with mail_sink(tmp_path_factory.mktemp("mail")) as server:
        yield server


@pytest.fixture
async def gateway(sandbox: Server) -> AsyncIterator[SandboxGateway]:
    gateway = SandboxGateway(sandbox.url, timeout_s=2, calls_per_second_max=1000)
    yield gateway
    await gateway.aclose()
