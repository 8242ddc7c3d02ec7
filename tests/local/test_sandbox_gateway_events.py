"""The sandbox gateway's signed events: sent until they are taken, and sent badly when a test asks for it."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from local.ports import HeldPort
from providers.gateways.base import BadSignature, GatewayNotice
from providers.gateways.signatures import read_signed
from tests.servers import Server, sandbox_gateway

pytestmark = pytest.mark.stack
SECRET = f"whsec_{base64.b64encode(b's' * 32).decode()}"


class Listener:
    """Our end of the webhook: answers with the statuses it was given, then with 204, and keeps what came."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.statuses: list[int] = []
        self.came: list[tuple[bytes, dict[str, str]]] = []
        self._news = asyncio.Event()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in head[1:] if line)}
        self.came.append((await reader.readexactly(int(headers["content-length"])), headers))
        status = self.statuses.pop(0) if self.statuses else 204
        writer.write(f"HTTP/1.1 {status} X\r\ncontent-length: 0\r\nconnection: close\r\n\r\n".encode())
        await writer.drain()
        writer.close()
        self._news.set()

    async def wait_for(self, number: int) -> None:
        async with asyncio.timeout(20):
            while len(self.came) < number:
                self._news.clear()
                await self._news.wait()

    def notices(self) -> list[GatewayNotice]:
        return [read_signed(SECRET, body, headers) for body, headers in self.came]

    def kinds(self) -> list[str]:
        return [notice.kind for notice in self.notices()]


@asynccontextmanager
async def listening() -> AsyncGenerator[Listener]:
    listener = Listener("")
    server = await asyncio.start_server(listener.serve, "127.0.0.1", 0)
    listener.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/events"
    yield listener
    server.close()
    await server.wait_closed()


@pytest.fixture(scope="module")
async def shared(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Server]:
    async with sandbox_gateway(tmp_path_factory.mktemp("gateway")) as server:
        yield server


@pytest.fixture
async def gateway(shared: Server) -> Server:
    (await shared.http.post("/control/reset")).raise_for_status()
    return shared


@pytest.fixture
async def listener(gateway: Server) -> AsyncIterator[Listener]:
    async with listening() as listener:
        await aim(gateway, listener)
        yield listener


async def aim(gateway: Server, listener: Listener, **how: Any) -> None:
    body = {"url": listener.url, "secret": SECRET} | how
    (await gateway.http.put("/control/webhooks", json=body)).raise_for_status()


async def dispute(gateway: Server, reference: str = "charge:1") -> dict[str, Any]:
    body = {"reference": reference, "token": "tok_ok_visa", "amount": 1000, "currency": "EUR"}
    await gateway.http.post("/v1/charges", json=body, headers={"Idempotency-Key": reference})
    asked = {"charge": reference, "reason": "product_not_received", "evidence_due_at": "2026-03-08T12:00:00Z"}
    response = await gateway.http.post("/control/disputes", json=asked)
    assert response.status_code == 201
    return response.json()


async def events(gateway: Server) -> list[dict[str, Any]]:
    return (await gateway.http.get("/control/events")).json()["events"]


async def test_a_disputes_events_arrive_signed_and_say_what_it_is_about(gateway: Server, listener: Listener) -> None:
    opened = await dispute(gateway)
    await gateway.http.post(f"/control/disputes/{opened['id']}/evidence_due")
    await gateway.http.post(f"/control/disputes/{opened['id']}/lost")
    await listener.wait_for(3)
    assert listener.kinds() == ["dispute.opened", "dispute.evidence_due", "dispute.lost"]
    assert listener.notices()[0].data == {
        "dispute_id": opened["id"],
        "reference": "charge:1",
        "amount": 1000,
        "fee": 1500,
        "currency": "EUR",
        "reason": "product_not_received",
        "evidence_due_at": "2026-03-08T12:00:00+00:00",
    }
    assert listener.notices()[0].event_id == opened["event"]
    body, headers = listener.came[0]
    with pytest.raises(BadSignature):
        read_signed(SECRET, body.replace(b"1000", b"1"), headers)


async def test_an_event_is_sent_again_until_it_is_taken(gateway: Server, listener: Listener) -> None:
    listener.statuses = [500]
    await dispute(gateway)
    await listener.wait_for(2)
    assert listener.notices()[0] == listener.notices()[1], "the same event with the same id"
    async with asyncio.timeout(10):
        while (await events(gateway))[0]["next_ms"] is not None:  # noqa: ASYNC110 - asks over HTTP, as a stranger has to
            await asyncio.sleep(0.02)
    assert [delivery["status"] for delivery in (await events(gateway))[0]["deliveries"]] == [500, 204]


async def test_an_event_waits_for_an_address_and_for_who_listens_there(gateway: Server) -> None:
    await gateway.http.put("/control/webhooks", json={"url": None, "secret": None})
    await dispute(gateway)
    assert (await events(gateway))[0]["deliveries"] == []
    with HeldPort() as nobody_listens:
        url = f"http://127.0.0.1:{nobody_listens.number}/"
        await gateway.http.put("/control/webhooks", json={"url": url, "secret": SECRET})
        async with asyncio.timeout(10):
            while not (await events(gateway))[0]["deliveries"]:  # noqa: ASYNC110 - as above
                await asyncio.sleep(0.02)
    [failed] = (await events(gateway))[0]["deliveries"]
    assert (failed["status"], "ConnectError" in failed["error"]) == (None, True)
    async with listening() as listener:
        await aim(gateway, listener)
        await listener.wait_for(1)
        assert listener.kinds() == ["dispute.opened"]


async def test_an_event_can_come_twice(gateway: Server, listener: Listener) -> None:
    await aim(gateway, listener, twice=True)
    await dispute(gateway)
    await listener.wait_for(2)
    assert listener.notices()[0] == listener.notices()[1]


async def test_held_events_are_let_go_in_any_order(gateway: Server, listener: Listener) -> None:
    await aim(gateway, listener, hold=True)
    opened = await dispute(gateway)
    won = (await gateway.http.post(f"/control/disputes/{opened['id']}/won")).json()
    await dispute(gateway, "charge:2")
    assert [event["held"] for event in await events(gateway)] == [True, True, True]
    assert listener.came == []
    order = {"events": [won["event"], opened["event"]]}
    deliveries = (await gateway.http.post("/control/webhooks/release", json=order)).json()["deliveries"]
    assert [delivery["status"] for delivery in deliveries] == [204, 204]
    assert listener.kinds() == ["dispute.won", "dispute.opened"]
    await gateway.http.post("/control/webhooks/release")
    assert listener.kinds() == ["dispute.won", "dispute.opened", "dispute.opened"]
    assert not any(event["held"] for event in await events(gateway))


async def test_an_event_can_be_sent_again_badly_signed_or_dated_back(gateway: Server, listener: Listener) -> None:
    event = (await dispute(gateway))["event"]
    await listener.wait_for(1)
    path = f"/control/events/{event}/deliver"
    assert (await gateway.http.post(path)).json()["status"] == 204
    await gateway.http.post(path, json={"bad_signature": True})
    await gateway.http.post(path, json={"age_seconds": 600})
    (first, again), (bad, old) = listener.came[:2], listener.came[2:]
    assert read_signed(SECRET, *first) == read_signed(SECRET, *again)
    with pytest.raises(BadSignature, match="No matching signature"):
        read_signed(SECRET, *bad)
    with pytest.raises(BadSignature, match="too old"):
        read_signed(SECRET, *old)
    assert len((await events(gateway))[0]["deliveries"]) == 4
    assert (await gateway.http.post("/control/events/evt_0/deliver")).status_code == 404


async def test_every_event_can_be_badly_signed(gateway: Server, listener: Listener) -> None:
    await aim(gateway, listener, bad_signature=True)
    listener.statuses = [401]
    await dispute(gateway)
    await listener.wait_for(1)
    with pytest.raises(BadSignature, match="No matching signature"):
        listener.notices()


async def test_any_event_can_be_made_up(gateway: Server, listener: Listener) -> None:
    made = {"type": "dispute.lost", "data": {"dispute_id": "dp_7", "amount": 5}}
    await gateway.http.post("/control/events", json=made)
    await listener.wait_for(1)
    [notice] = listener.notices()
    assert (notice.kind, notice.data) == ("dispute.lost", made["data"])
    assert (await gateway.http.get("/control/books")).json()["cash"] == {}


async def test_without_an_address_nothing_is_sent_on_demand(gateway: Server) -> None:
    await gateway.http.put("/control/webhooks", json={"url": None})
    made = (await gateway.http.post("/control/events", json={"type": "a.b", "data": {}})).json()["id"]
    refused = await gateway.http.post(f"/control/events/{made}/deliver")
    assert (refused.status_code, refused.json()["error"]["code"]) == (409, "no_target")
    shown = (await gateway.http.get("/control/webhooks")).json()
    assert (shown["url"], shown["signed"], SECRET in str(shown)) == (None, True, False)
