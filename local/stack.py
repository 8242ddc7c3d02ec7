"""The whole of Dunlin on one machine: servers that are not set elsewhere, embedded, and our own two processes.

    async with Stack(settings, ephemeral=True) as stack:
        await stack.migrate()
        await stack.start_worker()
        await stack.start_api()

An ephemeral stack lives in a temporary folder on free ports and leaves nothing: any number run side by side. A
lasting one lives in `settings.data_dir`, where one stack at a time goes on with what is there.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import shutil
import sys
import tempfile
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Final, Self

import httpx
from alembic import command

from local import postgres, temporal
from local.ports import LOOPBACK, HeldPort, PortTaken
from local.secret import secret_key, webhook_secret
from local.supervisor import Probe, Spec, StartFailed, Supervisor, Tell
from models.session import NO_DATABASE, alembic_config, answers

if TYPE_CHECKING:
    from io import TextIOWrapper

    from settings import Settings

ROOT: Final = Path(__file__).resolve().parents[1]
GATEWAY_EVENTS_PATH: Final = "/v1/gateway-events/sandbox"
WORKER_READY_LINE: Final = "worker ready"
# A stack that was just killed may need this long to let go of its ports.
_PORT_WAIT_S_MAX: Final = 5.0
_PROBE_S_MAX: Final = 2.0


class FolderInUse(Exception):
    """Another stack runs on this data folder, or nothing can."""


class Stack:
    """Started servers with their addresses. `settings` are the given ones with every address filled in."""

    def __init__(self, settings: Settings, *, ephemeral: bool, tell: Tell = lambda _: None) -> None:
        self._given: Final = settings
        self._ephemeral: Final = ephemeral
        self._ports: Final[list[HeldPort]] = []
        self._lock: TextIOWrapper | None = None
        folder = Path(tempfile.mkdtemp(prefix="dunlin-")) if ephemeral else settings.data_dir
        self.folder: Final = folder.resolve()
        self.settings: Settings = settings.model_copy(update={"data_dir": self.folder})
        self.processes: Final = Supervisor(self.folder / "logs", tell)
        self.temporal_ui_url: str | None = None
        self.mailsink_url: str | None = None

    # Addresses; each is there once the stack is entered.

    @property
    def database_url(self) -> str:
        return _there(self.settings.database_url)

    @property
    def temporal_address(self) -> str:
        return _there(self.settings.temporal_address)

    @property
    def gateway_url(self) -> str:
        return _there(self.settings.gateway_url)

    @property
    def embeds_gateway(self) -> bool:
        return self._given.gateway_url is None

    @property
    def api_url(self) -> str:
        return f"http://{self.settings.api_host}:{self.settings.api_port}"

    async def __aenter__(self) -> Self:
        self._take_folder()
        try:
            # Before the gateway, which is told where its events go.
            api_port = await self._hold(self._given.api_port, "DUNLIN_API_PORT")
            public_url = self._given.public_url or f"http://{self._given.api_host}:{api_port}"
            self._know(api_port=api_port, public_url=public_url)
            self._know(secret_key=secret_key(self.folder / "secret-key", self._given.secret_key))
            # At once: they know nothing of each other, and PostgreSQL's first start takes a second.
            async with asyncio.TaskGroup() as starting:
                for start in (self._start_postgres, self._start_temporal, self._start_gateway, self._start_mailsink):
                    starting.create_task(start())
        except BaseExceptionGroup as group:
            await self._close()
            raise group.exceptions[0] from group
        except BaseException:
            await self._close()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._close()

    # Our own processes

    async def migrate(self) -> None:
        """Bring the database's tables to what the code expects."""
        # In a thread: a migration runs an event loop of its own.
        await asyncio.to_thread(command.upgrade, alembic_config(self.database_url), "head")

    async def start_worker(self, name: str = "worker") -> None:
        """A worker process; further ones need a name of their own."""
        await self.processes.start(self._own(name, [sys.executable, "worker.py"], WORKER_READY_LINE))

    async def start_api(self) -> None:
        async def ready() -> bool:
            return await _responds(f"{self.api_url}/v1/health")

        await self.processes.start(self._own("api", [sys.executable, "server.py"], ready))

    # Any process by name: postgres, temporal, gateway, mailsink, worker, api

    async def stop(self, name: str) -> None:
        await self.processes.stop(name)

    async def kill(self, name: str) -> None:
        """SIGKILL; the process stays down until `restart`."""
        await self.processes.kill(name)

    async def restart(self, name: str) -> None:
        await self.processes.restart(name)

    def _own(self, name: str, run: list[str], ready: Probe | str) -> Spec:
        return Spec(name, run, ready, self.settings.environment(), ROOT, kept_alive=not self._ephemeral)

    async def _start_postgres(self) -> None:
        if self._given.database_url is not None:
            if not await answers(self._given.database_url):
                raise StartFailed(NO_DATABASE)
            return
        port = await self._hold(self._given.postgres_port, "DUNLIN_POSTGRES_PORT")
        data, environment = self.folder / "postgres", self._given.environment()
        binaries = await asyncio.to_thread(postgres.find_binaries)
        password = await asyncio.to_thread(postgres.prepare, data, binaries, environment)
        await self.processes.start(postgres.spec(data, port, password, binaries, environment))
        await postgres.create_database(port, password, postgres.DATABASE)
        url = postgres.server_url(port, password, postgres.DATABASE)
        self._know(database_url=url.replace("postgresql://", "postgresql+asyncpg://"), postgres_port=port)

    async def _start_temporal(self) -> None:
        if self._given.temporal_address is not None:
            return
        port = await self._hold(self._given.temporal_port, "DUNLIN_TEMPORAL_PORT")
        ui_port = await self._hold(self._given.temporal_ui_port, "DUNLIN_TEMPORAL_UI_PORT")
        namespace = self._given.temporal_namespace
        database = self.folder / "temporal.db"
        spec = temporal.spec(database, port, ui_port, self._given.environment(), namespace=namespace)
        await self.processes.start(spec)
        self.temporal_ui_url = f"http://{LOOPBACK}:{ui_port}"
        shown = self._given.temporal_ui_url or self.temporal_ui_url
        self._know(
            temporal_address=f"{LOOPBACK}:{port}", temporal_port=port, temporal_ui_port=ui_port, temporal_ui_url=shown
        )

    async def _start_gateway(self) -> None:
        if self._given.gateway_url is not None:
            return
        port = await self._hold(self._given.gateway_port, "DUNLIN_GATEWAY_PORT")
        url = f"http://{LOOPBACK}:{port}"
        secret_file = self.folder / "gateway-webhook-secret"
        secret = webhook_secret(secret_file, self._given.gateway_webhook_secret)
        run = ["-m", "local.gateway", "--port", str(port), "--db", str(self.folder / "gateway.db")]
        run += ["--webhook-url", f"{self.api_url}{GATEWAY_EVENTS_PATH}", "--webhook-secret-file", str(secret_file)]
        await self._start_server("gateway", run, f"{url}/control/health")
        self._know(gateway_url=url, gateway_port=port, gateway_webhook_secret=secret)

    async def _start_mailsink(self) -> None:
        if self._given.smtp_host is not None:
            return
        http_port = await self._hold(self._given.mailsink_http_port, "DUNLIN_MAILSINK_HTTP_PORT")
        smtp_port = await self._hold(self._given.mailsink_smtp_port, "DUNLIN_MAILSINK_SMTP_PORT")
        url = f"http://{LOOPBACK}:{http_port}"
        run = ["-m", "local.mailsink", "--http-port", str(http_port), "--smtp-port", str(smtp_port)]
        await self._start_server("mailsink", [*run, "--db", str(self.folder / "mail.db")], f"{url}/messages?limit=1")
        self.mailsink_url = url
        self._know(smtp_host=LOOPBACK, smtp_port=smtp_port, mailsink_http_port=http_port, mailsink_smtp_port=smtp_port)

    async def _start_server(self, name: str, run: list[str], probe_url: str) -> None:
        async def ready() -> bool:
            return await _responds(probe_url)

        await self.processes.start(Spec(name, [sys.executable, *run], ready, self._given.environment(), ROOT))

    def _know(self, **found: object) -> None:
        self.settings = self.settings.model_copy(update=found)

    async def _hold(self, wanted: int, setting: str) -> int:
        wanted = 0 if self._ephemeral else wanted
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_PORT_WAIT_S_MAX):
                while True:
                    try:
                        held = HeldPort(wanted, setting=setting)
                    except PortTaken:
                        await asyncio.sleep(0.2)
                    else:
                        self._ports.append(held)
                        return held.number
        held = HeldPort(wanted, setting=setting)  # the last try tells why not
        self._ports.append(held)
        return held.number

    def _take_folder(self) -> None:
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            lock = (self.folder / "lock").open("a+")
        except OSError as error:
            raise FolderInUse(f"DUNLIN_DATA_DIR: {self.folder} cannot be used: {error.strerror}") from error
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            lock.seek(0)
            holder = lock.read().strip() or "unknown"
            lock.close()
            raise FolderInUse(
                f"another Dunlin (process {holder}) runs on {self.folder}; stop it, or set DUNLIN_DATA_DIR"
            ) from error
        lock.truncate(0)
        lock.write(f"{os.getpid()}\n")
        lock.flush()
        self._lock = lock

    async def _close(self) -> None:
        await self.processes.stop_all()
        for port in self._ports:
            port.release()
        self._ports.clear()
        if self._lock is not None:
            self._lock.close()
            self._lock = None
        if self._ephemeral:
            await asyncio.to_thread(shutil.rmtree, self.folder, ignore_errors=True)


async def _responds(url: str) -> bool:
    try:
        async with httpx.AsyncClient(timeout=_PROBE_S_MAX, trust_env=False) as client:
            return (await client.get(url)).is_success
    except httpx.TransportError:
        return False


def _there(value: str | None) -> str:
    if value is None:
        raise RuntimeError("the stack is not entered")
    return value
