"""The HTTP side of Dunlin: builds what the routes need, serves until told to stop.

Run as `python server.py`; `/v1/health` answers when it serves.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
import sys
import time
import zoneinfo
from collections.abc import Generator
from contextlib import AsyncExitStack
from typing import Final
from urllib.parse import quote

import structlog
import uvicorn
import uvloop
from fastapi import FastAPI
from temporalio.client import Client

from api.app import create_app
from api.context import Services
from api.vault import Vault
from domain.links import PATH, LinkMaker
from models.session import NO_DATABASE, Database, revision_of, revision_of_code
from portal.app import create_portal
from portal.context import Portal
from providers.fulfilment.registry import open_provider
from providers.gateways.registry import open_gateway
from providers.phones.http import HookSwitch
from settings import EXIT_BAD_SETTINGS, SECRET_KEY_RULE, Settings, load
from workflows.commands import Commands
from workflows.converter import data_converter

GRACEFUL_STOP_S: Final = 10
KEEP_ALIVE_S: Final = 30
EXIT_NOT_MIGRATED: Final = 3
EXIT_NO_DATABASE: Final = 4


class _Server(uvicorn.Server):
    """Uvicorn, but what ends the process is decided here: it would raise the signal again and skip our closing."""

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None]:
        yield


async def run(settings: Settings) -> int:
    """Serve until SIGINT or SIGTERM; requests under way are finished first.

    Temporal may be down at the start: it is connected to when first needed, and until then commands get 503.
    """
    if settings.database_url is None or settings.temporal_address is None or settings.gateway_url is None:
        sys.stderr.write("server.py needs DATABASE_URL, DUNLIN_TEMPORAL_ADDRESS and DUNLIN_GATEWAY_URL\n")
        return EXIT_BAD_SETTINGS
    if settings.secret_key is None:
        sys.stderr.write(f"server.py needs DUNLIN_SECRET_KEY, which {SECRET_KEY_RULE}\n")
        return EXIT_BAD_SETTINGS
    async with AsyncExitStack() as stack:
        database = Database.connect(
            settings.database_url, application_name="dunlin-api", pool_max=settings.db_pool_max, check_connections=True
        )
        stack.push_async_callback(database.close)
        if not await database.is_reachable():
            sys.stderr.write(f"{NO_DATABASE}\n")
            return EXIT_NO_DATABASE
        if await revision_of(database) != revision_of_code():
            sys.stderr.write("the database is not migrated to this version: run `python cli.py migrate`\n")
            return EXIT_NOT_MIGRATED
        gateway = open_gateway(
            settings.gateway,
            settings.gateway_url,
            timeout_s=settings.gateway_timeout_s,
            calls_per_second_max=settings.gateway_calls_per_second_max,
            webhook_secret=settings.gateway_webhook_secret,
        )
        stack.push_async_callback(gateway.aclose)
        client = await Client.connect(
            settings.temporal_address,
            namespace=settings.temporal_namespace,
            data_converter=data_converter,
            lazy=True,
        )
        commands = Commands(client, settings.temporal_task_queue)
        vault = Vault.from_setting(settings.secret_key)
        phone = None
        if settings.phone_hook_url is not None:
            phone = HookSwitch(settings.phone_hook_url, timeout_s=settings.phone_timeout_s)
            stack.push_async_callback(phone.aclose)
        address = settings.public_url or f"http://{settings.api_host}:{settings.api_port}"
        links = LinkMaker.from_setting(settings.secret_key, address)
        shipper = open_provider(
            settings.fulfilment_url, settings.fulfilment_secret, timeout_s=settings.fulfilment_timeout_s
        )
        stack.push_async_callback(shipper.aclose)
        services = Services(
            database,
            commands,
            {gateway.name: gateway},
            vault=vault,
            phone=phone,
            links=links,
            shipper=shipper,
            workflow_pages=_workflow_pages(settings),
        )
        portal = Portal(database, commands, services.gateways, links, time.monotonic)
        app = create_app(services)
        app.mount(PATH, create_portal(portal))
        await _serve(settings, app)
    return 0


def _workflow_pages(settings: Settings) -> str | None:
    if settings.temporal_ui_url is None:
        return None
    return f"{settings.temporal_ui_url.rstrip('/')}/namespaces/{quote(settings.temporal_namespace)}/workflows"


async def _serve(settings: Settings, app: FastAPI) -> None:
    server = _Server(
        uvicorn.Config(
            app,
            host=settings.api_host,
            port=settings.api_port,
            log_config=None,
            access_log=False,
            server_header=False,
            lifespan="off",
            timeout_keep_alive=KEEP_ALIVE_S,
            timeout_graceful_shutdown=GRACEFUL_STOP_S,
        )
    )
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, server.handle_exit, number, None)
    await server.serve()


def configure_logs(level: str) -> None:
    """Lines with time and level. A traceback shows code, never the values in it: those hold keys, tokens and names."""
    logging.basicConfig(level=level.upper(), format="%(asctime)s %(levelname)s %(name)s %(message)s")
    logging.getLogger("httpx").setLevel(logging.WARNING)  # its lines hold tokens of payment methods
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.dev.ConsoleRenderer(colors=False, exception_formatter=structlog.dev.plain_traceback),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[level.upper()]),
    )


def main() -> int:
    settings = load()
    zoneinfo.reset_tzpath(to=())  # time zones come from the pinned tzdata, the same on every machine
    configure_logs(settings.log_level)
    return uvloop.run(run(settings))


if __name__ == "__main__":
    sys.exit(main())
