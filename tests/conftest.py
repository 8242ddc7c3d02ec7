"""What tests share: one PostgreSQL for a test process, databases made from a migrated template, the API on top."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from collections.abc import AsyncIterator
from itertools import count
from pathlib import Path

import asyncpg
import pytest
from alembic import command

import settings
from local import postgres
from local.ports import HeldPort
from local.stack import Stack
from local.supervisor import Supervisor
from models.session import Database, alembic_config

TEMPLATE = "template_dunlin"
DATABASES = count(1)


class Server:
    """A PostgreSQL with a migrated template. Each database made from it is as good as new."""

    def __init__(self, port: int, password: str) -> None:
        self.port = port
        self.password = password

    def url(self, database: str) -> str:
        url = postgres.server_url(self.port, self.password, database)
        return url.replace("postgresql://", "postgresql+asyncpg://")

    async def execute(self, statement: str) -> None:
        connection = await asyncpg.connect(postgres.server_url(self.port, self.password))
        try:
            await connection.execute(statement)
        finally:
            await connection.close()

    async def new_database(self, template: str | None = TEMPLATE) -> str:
        name = f"test_{next(DATABASES)}"
        await self.execute(f'CREATE DATABASE "{name}"' + (f' TEMPLATE "{template}"' if template else ""))
        return self.url(name)


@pytest.fixture(scope="session")
async def postgres_server() -> AsyncIterator[Server]:
    """Each xdist worker has its own: it is up in a second and nothing is shared."""
    folder = Path(tempfile.mkdtemp(prefix="dunlin-test-"))
    processes = Supervisor(folder / "logs", lambda _: None)
    environment = settings.Settings().environment()
    with HeldPort() as port:
        try:
            binaries = postgres.find_binaries()
            password = postgres.prepare(folder / "postgres", binaries, environment)
            with (folder / "postgres" / "postgresql.conf").open("a") as file:
                file.write("fsync = off\nsynchronous_commit = off\nfull_page_writes = off\n")
            await processes.start(postgres.spec(folder / "postgres", port.number, password, binaries, environment))
            server = Server(port.number, password)
            await server.execute(f'CREATE DATABASE "{TEMPLATE}"')
            await asyncio.to_thread(command.upgrade, alembic_config(server.url(TEMPLATE)), "head")
            yield server
        finally:
            await processes.stop_all()
            shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
async def database(postgres_server: Server) -> AsyncIterator[Database]:
    """One database for a whole test process: tests that use it make names of their own."""
    opened = Database.connect(await postgres_server.new_database(), application_name="tests", pool_max=10)
    yield opened
    await opened.close()


@pytest.fixture
async def fresh_database(postgres_server: Server) -> AsyncIterator[Database]:
    """For tests that count what is there."""
    opened = Database.connect(await postgres_server.new_database(), application_name="tests", pool_max=5)
    yield opened
    await opened.close()


@pytest.fixture(scope="session")
async def stack() -> AsyncIterator[Stack]:
    """Everything, in processes of its own: PostgreSQL, Temporal, gateway, mail sink, worker and API."""
    async with Stack(settings.Settings(gateway_timeout_s=2), ephemeral=True) as running:  # a hang need not take 8 s
        await running.migrate()
        await running.start_worker()
        await running.start_api()
        yield running
