"""Every operation of the API's own description, asked of the real application with one of everything in its books."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from itertools import count
from typing import Any, Final

import httpx
import pytest
from argon2 import PasswordHasher
from schemathesis.openapi import from_dict
from schemathesis.schemas import APIOperation
from temporalio.client import Client

from api.app import create_app
from api.context import Services
from api.keys import create_key
from api.passwords import Passwords
from api.vault import KEY_BYTES, Vault
from domain.links import LinkMaker
from models import SubscriptionEvent
from models.session import Database
from providers.gateways.registry import open_gateway
from tests.api.conftest import Caller
from tests.api.whole_customer import START, add, whole_customer
from tests.conftest import Server
from workflows.commands import Commands
from workflows.converter import data_converter

NAME: Final = "whole"
NOBODY: Final = "127.0.0.1:9"
KEYS = count(1)
# By the name of the path's parameter; what was made by `whole_customer`.
PREFIXES: Final = {
    "product_id": "prod",
    "price_id": "price",
    "address_id": "adr",
    "method_id": "pm",
    "subscription_id": "sub",
    "invoice_id": "in",
    "charge_id": "ch",
    "transaction_id": "ch",
    "refund_id": "re",
    "dispute_id": "dis",
    "fulfilment_id": "ful",
    "batch_id": "fulb",
    "voucher_id": "vch",
    "task_id": "task",
    "message_id": "msg",
    "note_id": "note",
    "review_id": "rev",
    "difference_id": "diff",
    "link_id": "lnk",
}
IDS: Final = {name: f"{prefix}_{NAME}_0" for name, prefix in PREFIXES.items()} | {"customer_id": f"cus_{NAME}"}
# Why there is a charge is read from the line of the timeline that tells of its invoice.
ISSUED: Final = {
    "subscription_id": IDS["subscription_id"],
    "seq": 1,
    "at": START,
    "kind": "invoice_issued",
    "actor": "system",
    "reason": "",
    "data": {name: IDS[name] for name in ("invoice_id", "price_id")}
    | {"quantity": 1, "reason": "cycle", "cycle": 1, "total": 1000, "amount_due": 1000, "currency": "EUR"},
}
SPEC: Final[dict[str, Any]] = create_app(None).openapi()  # pyright: ignore[reportArgumentType] - nothing is asked of it


def _operations() -> dict[str, APIOperation[Any, Any, Any, Any]]:
    # The library leaves types open, and says that some descriptions may not be readable: ours are.
    each: Any = from_dict(SPEC).get_all_operations()  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]
    operations: list[APIOperation[Any, Any, Any, Any]] = [found.ok() for found in each]
    return {operation.label: operation for operation in operations}


OPERATIONS: Final = _operations()


class Asked:
    """The application, asked by an admin. Where Temporal and the gateway should be nothing listens."""

    def __init__(self, http: httpx.AsyncClient, key: str) -> None:
        self.caller = Caller(http, key)
        self._http = http

    async def send(
        self, method: str, path: str, *, query: Any = None, body: Any = None, raw: bytes | None = None
    ) -> httpx.Response:
        """One request under a fresh idempotency key; `body` as JSON, whatever JSON cannot say included."""
        headers = {"Authorization": f"Bearer {self.caller.key}", "Content-Type": "application/json"}
        if method == "POST":
            headers["Idempotency-Key"] = f"whole-{next(KEYS)}"
        content = raw if raw is not None else None if body is None else json.dumps(body).encode()
        return await self._http.request(method, path, params=query or None, content=content, headers=headers)


@pytest.fixture(scope="module")
async def asked(postgres_server: Server) -> AsyncIterator[Asked]:
    """In a database of its own: rules are changed here, and people disabled."""
    database = Database.connect(await postgres_server.new_database(), application_name="tests", pool_max=5)
    gateway = open_gateway("sandbox", f"http://{NOBODY}", timeout_s=1, calls_per_second_max=1000)
    client = await Client.connect(NOBODY, data_converter=data_converter, lazy=True)
    services = Services(
        database,
        Commands(client, "nobody"),
        {gateway.name: gateway},
        vault=Vault(bytes(range(KEY_BYTES))),
        passwords=Passwords(PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)),
        links=LinkMaker(bytes(range(KEY_BYTES)), "https://pay.example.com"),
    )
    transport = httpx.ASGITransport(create_app(services), raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://api") as http:
        await whole_customer(database, NAME, 1)
        await add(database, SubscriptionEvent, ISSUED)
        yield Asked(http, await create_key(database, "whole"))
    await gateway.aclose()
    await database.close()
