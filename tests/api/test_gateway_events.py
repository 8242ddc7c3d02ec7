"""Events at the door: only what the gateway signed just now comes in, and it is answered once it is safe."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any, cast

import httpx
import pytest
from standardwebhooks import Webhook

from api.app import create_app
from api.context import Services
from api.gateway_events import EVENT_BYTES_MAX
from domain.errors import Unavailable
from models.session import Database
from providers.gateways.registry import open_gateway
from workflows.commands import Commands, GatewayEventRequest

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
OTHER_SECRET = "whsec_" + "A" * 32
PATH = "/v1/gateway-events/sandbox"
DATA: dict[str, Any] = {"dispute_id": "dp_1", "reference": "charge:1", "amount": 1200, "currency": "EUR"}


class Door:
    """Where events go; away when told so."""

    def __init__(self) -> None:
        self.taken: list[GatewayEventRequest] = []
        self.away = False

    async def take_gateway_event(self, event: GatewayEventRequest) -> None:
        if self.away:
            raise Unavailable("Temporal does not answer")
        self.taken.append(event)


class Sender:
    """The gateway's side of a webhook."""

    def __init__(self, http: httpx.AsyncClient, door: Door) -> None:
        self.http = http
        self.door = door

    async def send(
        self,
        body: Any = None,
        *,
        path: str = PATH,
        secret: str = SECRET,
        event_id: str = "evt_1",
        age: timedelta = timedelta(0),
        **changed: Any,
    ) -> httpx.Response:
        """Sign and send; `changed` replaces parts of the request after it was signed."""
        event = {"type": "dispute.opened", "timestamp": "2027-03-03T09:00:00+00:00", "data": DATA}
        raw = body if isinstance(body, bytes) else json.dumps(event if body is None else body).encode()
        signed_at = datetime.now(UTC) - age
        headers = {
            "webhook-id": event_id,
            "webhook-timestamp": str(int(signed_at.timestamp())),
            "webhook-signature": Webhook(secret).sign(event_id, signed_at, raw.decode()),
        }
        return await self.http.post(
            path, content=changed.get("content", raw), headers=headers | changed.get("headers", {})
        )


@pytest.fixture
async def sender(database: Database) -> AsyncIterator[Sender]:
    gateway = open_gateway("sandbox", "http://127.0.0.1:9", timeout_s=1, calls_per_second_max=10, webhook_secret=SECRET)
    door = Door()
    services = Services(database, cast("Commands", door), {gateway.name: gateway})
    transport = httpx.ASGITransport(create_app(services), raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://api") as http:
        yield Sender(http, door)
    await gateway.aclose()


def code(response: httpx.Response) -> tuple[int, str]:
    assert response.headers["Content-Type"] == "application/problem+json"
    return response.status_code, response.json()["code"]


async def test_a_signed_event_is_taken_without_any_key(sender: Sender) -> None:
    answer = await sender.send()
    assert (answer.status_code, answer.json()) == (202, {"event_id": "evt_1"})
    (taken,) = sender.door.taken
    at = datetime(2027, 3, 3, 9, tzinfo=UTC)
    assert taken == GatewayEventRequest("sandbox", "evt_1", "dispute.opened", at, DATA)


async def test_the_same_event_again_is_taken_again(sender: Sender) -> None:
    """Whether it is new is decided where it is kept."""
    assert [(await sender.send()).status_code for _ in range(2)] == [202, 202]
    first, second = sender.door.taken
    assert first == second


@pytest.mark.parametrize(
    "forged",
    [
        {"secret": OTHER_SECRET},
        {"age": timedelta(minutes=10)},
        {"age": timedelta(minutes=-10)},
        {"content": b'{"type": "dispute.won", "timestamp": "2027-03-03T09:00:00+00:00", "data": {}}'},
        {"headers": {"webhook-id": "evt_2"}},
        {"headers": {"webhook-signature": ""}},
        {"headers": {"webhook-timestamp": "now"}},
        {"body": b"not json"},
        {"body": b"[]"},
        {"body": {"type": "dispute.won"}},
    ],
    ids=str,
)
async def test_what_the_gateway_did_not_sign_just_now_is_not_kept(sender: Sender, forged: dict[str, Any]) -> None:
    assert code(await sender.send(**forged)) == (401, "bad_signature")
    assert sender.door.taken == []


async def test_no_headers_at_all(sender: Sender) -> None:
    assert code(await sender.http.post(PATH, json={})) == (401, "bad_signature")


@pytest.mark.parametrize(
    ("event", "field"),
    [
        ({"timestamp": "2027-03-03T09:00:00"}, "timestamp"),
        ({"type": ""}, "type"),
        ({"type": "x" * 201}, "type"),
        ({"type": "a b"}, "type"),
        ({"data": {"note": "nul \0 here"}}, "data"),
        ({"data": {"amount": float("inf")}}, "data"),
        ({"data": {"note": "\ud800"}}, "data"),
    ],
    ids=str,
)
async def test_a_signed_event_that_cannot_be_kept_is_refused(sender: Sender, event: dict[str, Any], field: str) -> None:
    whole = {"type": "dispute.opened", "timestamp": "2027-03-03T09:00:00+00:00", "data": DATA} | event
    answer = await sender.send(whole)
    assert code(answer) == (422, "invalid_input")
    assert answer.json()["errors"][0]["field"] == field
    assert sender.door.taken == []


async def test_too_large(sender: Sender) -> None:
    answer = await sender.send({"data": "x" * EVENT_BYTES_MAX})
    assert code(answer) == (422, "body_too_large")


async def test_a_gateway_that_is_not_here(sender: Sender) -> None:
    assert code(await sender.send(path="/v1/gateway-events/nobody")) == (404, "not_found")
    assert code(await sender.send(path=f"{PATH}?surprise=1"))[0] == 422


async def test_what_is_not_safe_yet_is_to_be_sent_again(sender: Sender) -> None:
    sender.door.away = True
    answer = await sender.send()
    assert code(answer) == (503, "unavailable")
    assert answer.headers["Retry-After"]
