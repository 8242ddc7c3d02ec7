"""Servers of the embedded stack, one by one, for tests that need no more."""

from __future__ import annotations

import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx

import settings
from local.ports import HeldPort
from local.supervisor import Spec, Supervisor

ROOT = Path(__file__).resolve().parents[1]


class Server:
    """A process with an HTTP API, and a client for it."""

    def __init__(self, processes: Supervisor, name: str, http: httpx.AsyncClient, smtp_port: int = 0) -> None:
        self.processes = processes
        self.name = name
        self.http = http
        self.url = str(http.base_url)
        self.smtp_port = smtp_port


@asynccontextmanager
async def sandbox_gateway(folder: Path) -> AsyncGenerator[Server]:
    with HeldPort() as port:
        run = ["local.gateway", "--port", str(port.number), "--db", str(folder / "gateway.db")]
        async with _served(folder, "gateway", run, port.number, "/control/health") as server:
            yield server


@asynccontextmanager
async def mail_sink(folder: Path) -> AsyncGenerator[Server]:
    with HeldPort() as http_port, HeldPort() as smtp_port:
        ports = ["--http-port", str(http_port.number), "--smtp-port", str(smtp_port.number)]
        run = ["local.mailsink", *ports, "--db", str(folder / "mail.db")]
        async with _served(folder, "mailsink", run, http_port.number, "/messages") as server:
            server.smtp_port = smtp_port.number
            yield server


@asynccontextmanager
async def _served(folder: Path, name: str, run: list[str], port: int, probe: str) -> AsyncGenerator[Server]:
    processes = Supervisor(folder, print)
    environment = settings.Settings().environment()
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=30, trust_env=False) as http:

        async def ready() -> bool:
            try:
                return (await http.get(probe)).is_success
            except httpx.TransportError:
                return False

        await processes.start(Spec(name, [sys.executable, "-m", *run], ready, environment, ROOT))
        try:
            yield Server(processes, name, http)
        finally:
            await processes.stop_all()
