"""Money back at the sandbox gateway: its books after voids, refunds, batches and disputes, and books made wrong."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from local.gateway.books import Books
from tests.servers import Server, sandbox_gateway

pytestmark = pytest.mark.stack
NUMBER = count(1)


@pytest.fixture(scope="module")
async def shared(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Server]:
    async with sandbox_gateway(tmp_path_factory.mktemp("gateway")) as server:
        yield server


@pytest.fixture
async def empty(shared: Server) -> Server:
    """The one gateway of this file, emptied."""
    (await shared.http.post("/control/reset")).raise_for_status()
    return shared


async def sale(gateway: Server, amount: int = 1000, *, settled: bool = False) -> str:
    name = f"charge:{next(NUMBER)}"
    body = {"reference": name, "token": "tok_ok_visa", "amount": amount, "currency": "EUR"}
    response = await gateway.http.post("/v1/charges", json=body, headers={"Idempotency-Key": name})
    assert response.status_code == 201
    if settled:
        await gateway.http.post("/control/settle", json={"references": [name]})
    return name


async def refund(gateway: Server, sold: str, amount: int = 1000, **change: Any) -> dict[str, Any]:
    name = f"refund:{next(NUMBER)}"
    body = {"reference": name, "charge": sold, "amount": amount, "currency": "EUR"} | change
    response = await gateway.http.post("/v1/refunds", json=body, headers={"Idempotency-Key": name})
    return response.json() | {"http": response.status_code}


async def books(gateway: Server) -> dict[str, Any]:
    return (await gateway.http.get("/control/books")).json()


async def report(gateway: Server) -> list[tuple[str, int, str]]:
    rows = (await gateway.http.get("/v1/report")).json()["transactions"]
    return [(row["reference"], row["amount"], row["state"]) for row in rows]


async def test_the_books_add_up_after_everything_that_can_happen(empty: Server) -> None:
    await sale(empty, 100)
    void, back, fought, gone = [await sale(empty, amount) for amount in (200, 400, 800, 1600)]
    await empty.http.post(f"/v1/charges/{void}/void")
    await empty.http.post("/control/settle")
    await refund(empty, back, 150)
    for name, end in ((fought, "won"), (gone, "lost")):
        opened = (await empty.http.post("/control/disputes", json={"charge": name, "fee": 15})).json()
        await empty.http.post(f"/control/disputes/{opened['id']}/{end}")
    found = await books(empty)
    assert found["cash"] == {
        "EUR": {
            "captured": 3100,
            "voided": 200,
            "refunded": 150,
            "disputed": 2400,
            "won_back": 800,
            "fees": 15,
            "net": 3100 - 200 - 150 - 2400 + 800 - 15,
        }
    }
    assert found["captured"] == {"EUR": 2900}


async def test_a_dispute_takes_money_at_once_and_never_twice_nor_more_than_is_there(empty: Server) -> None:
    sold = await sale(empty, settled=True)
    first = (await empty.http.post("/control/disputes", json={"charge": sold, "amount": 700})).json()
    assert (await books(empty))["cash"]["EUR"]["net"] == 300
    more = await empty.http.post("/control/disputes", json={"charge": sold, "amount": 301})
    assert (more.status_code, more.json()["error"]["code"]) == (409, "exceeds_captured")
    assert (await refund(empty, sold, 301))["code"] == "exceeds_captured"
    await empty.http.post(f"/control/disputes/{first['id']}/evidence_due")
    await empty.http.post(f"/control/disputes/{first['id']}/won")
    assert (await books(empty))["cash"]["EUR"]["net"] == 1000
    again = await empty.http.post(f"/control/disputes/{first['id']}/lost")
    assert again.json()["error"]["code"] == "wrong_state"
    assert (await refund(empty, sold, 1000))["status"] == "succeeded"
    assert (await empty.http.post("/control/disputes", json={"charge": "nobody"})).status_code == 404
    assert (await empty.http.post("/control/disputes/dp_0/won")).status_code == 404


async def test_a_batch_takes_what_it_is_told_once(empty: Server) -> None:
    one, two = await sale(empty), await sale(empty)
    named = (await empty.http.post("/control/settle", json={"references": [one]})).json()
    before = {"until": "2020-01-01T00:00:00Z"}
    nothing = (await empty.http.post("/control/settle", json=before)).json()
    rest = (await empty.http.post("/control/settle")).json()
    assert (named["lines"], nothing["lines"], nothing["batch"], rest["lines"]) == (1, 0, None, 1)
    assert (await empty.http.post("/control/settle")).json()["lines"] == 0
    lines = (await empty.http.get("/v1/settlements")).json()["lines"]
    assert [(line["reference"], line["batch"]) for line in lines] == [(one, named["batch"])]
    assert [row[2] for row in await report(empty)] == ["settled", "settled"]
    await refund(empty, two, 10)
    assert (await empty.http.post("/control/settle")).json()["lines"] == 1, "a refund is settled too"


async def test_batches_close_by_the_gateways_own_clock_when_told_to(empty: Server) -> None:
    await sale(empty)
    await empty.http.put("/control/settling", json={"every_seconds": 0.05})
    async with asyncio.timeout(10):
        while [row[2] for row in await report(empty)] != ["settled"]:  # noqa: ASYNC110 - asks over HTTP
            await asyncio.sleep(0.02)
    await empty.http.put("/control/settling", json={"every_seconds": None})


async def test_scripts_are_used_up_and_the_sales_own_comes_before_its_tokens(empty: Server) -> None:
    sold = await sale(empty, settled=True)
    await empty.http.put("/control/returns/tok_ok_visa/script", json={"refunds_then": "fail:token_says_no"})
    script = {"refunds": ["fail:sale_says_no", "error_before"], "refunds_then": None}
    await empty.http.put(f"/control/returns/{sold}/script", json=script)
    answers = [await refund(empty, sold, 10) for _ in range(3)]
    assert [answer.get("code") or answer["http"] for answer in answers] == ["sale_says_no", 500, "token_says_no"]
    await empty.http.delete("/control/returns/tok_ok_visa/script")
    assert (await refund(empty, sold, 10))["status"] == "succeeded"
    outcomes = [call["outcome"] for call in (await empty.http.get("/control/calls")).json()["calls"]]
    assert outcomes == ["approve", "fail:sale_says_no", "error_before", "fail:token_says_no", "succeed"]


async def test_a_pending_refund_is_finished_once(empty: Server) -> None:
    sold = await sale(empty, settled=True)
    await empty.http.put(f"/control/returns/{sold}/script", json={"refunds": ["pending"]})
    waiting = (await refund(empty, sold))["reference"]
    assert (await books(empty))["cash"]["EUR"]["refunded"] == 0
    assert (await empty.http.get("/v1/refunds", params={"reference": waiting})).json()["status"] == "pending"
    path = f"/control/refunds/{waiting}/finish"
    assert (await empty.http.post(path, json={"outcome": "succeed"})).json()["status"] == "succeeded"
    assert (await empty.http.post(path, json={"outcome": "fail:x"})).json()["error"]["code"] == "wrong_state"
    assert (await empty.http.post("/control/refunds/never/finish", json={"outcome": "succeed"})).status_code == 404
    assert (await books(empty))["cash"]["EUR"]["refunded"] == 1000


async def test_the_books_can_be_made_wrong_for_those_who_compare(empty: Server) -> None:
    dropped, changed, kept = [await sale(empty, settled=True) for _ in range(3)]
    back, gone = (await refund(empty, kept, 10))["reference"], (await refund(empty, kept, 20))["reference"]
    await empty.http.delete(f"/control/transactions/{dropped}")
    await empty.http.patch(f"/control/transactions/{changed}", json={"amount": 999, "state": "voided"})
    await empty.http.patch(f"/control/transactions/{back}", json={"amount": 11})
    await empty.http.delete(f"/control/transactions/{gone}")
    body = {"reference": "foreign:1", "token": "tok_ok_visa", "amount": 5, "currency": "EUR"}
    assert (await empty.http.post("/control/transactions", json=body)).status_code == 201
    assert sorted(await report(empty)) == sorted(
        [(changed, 999, "voided"), (kept, 1000, "settled"), (back, 11, "succeeded"), ("foreign:1", 5, "captured")]
    )
    assert (await empty.http.patch("/control/transactions/nobody", json={"amount": 1})).status_code == 404


@pytest.mark.parametrize(
    ("method", "path", "body", "field"),
    [
        ("POST", "/v1/refunds", {"amount": 0}, "amount"),
        ("POST", "/v1/refunds", {"colour": "red"}, "colour"),
        ("PUT", "/control/returns/x/script", {"refunds": ["maybe"]}, "refunds.0"),
        ("PUT", "/control/returns/x/script", {"voids": ["pending"]}, "voids.0"),
        ("POST", "/control/settle", {"pieces": 0}, "pieces"),
        ("POST", "/control/settle", {"until": "2026-01-01T00:00:00"}, "until"),
        ("PUT", "/control/settling", {"every_seconds": 0}, "every_seconds"),
        ("PUT", "/control/webhooks", {"secret": "whsec_c2hvcnQ="}, "secret"),
        ("PUT", "/control/webhooks", {"secret": "not base64"}, "secret"),
        ("PUT", "/control/webhooks", {"url": "ftp://x"}, "url"),
        ("POST", "/control/disputes", {"charge": "x", "fee": -1}, "fee"),
        ("POST", "/control/events", {"type": "Dispute", "data": {}}, "type"),
    ],
)
async def test_bad_input_is_refused_by_name(
    empty: Server, method: str, path: str, body: dict[str, Any], field: str
) -> None:
    whole = {"reference": "r", "charge": "c", "amount": 1, "currency": "EUR"} if path == "/v1/refunds" else {}
    response = await empty.http.request(method, path, json=whole | body, headers={"Idempotency-Key": "k"})
    assert response.status_code == 422
    assert response.json()["error"]["field"] == field


async def test_a_refund_needs_its_key_and_a_cursor_its_form(empty: Server) -> None:
    body = {"reference": "r", "charge": "c", "amount": 1, "currency": "EUR"}
    response = await empty.http.post("/v1/refunds", json=body)
    assert (response.status_code, "idempotency-key" in response.json()["error"]["field"].lower()) == (422, True)
    assert (await empty.http.get("/v1/report", params={"after": "7"})).json()["error"]["field"] == "after"


async def test_money_back_survives_a_kill(sandbox: Server) -> None:
    sold = await sale(sandbox, settled=True)
    await refund(sandbox, sold, 100)
    await sandbox.http.put(f"/control/returns/{sold}/script", json={"refunds": ["fail:refund_declined"]})
    before = await report(sandbox)
    await sandbox.processes.kill(sandbox.name)
    await sandbox.processes.restart(sandbox.name)
    assert await report(sandbox) == before
    assert len((await sandbox.http.get("/v1/settlements")).json()["lines"]) == 1
    assert (await refund(sandbox, sold, 100))["code"] == "refund_declined"


def test_books_that_were_begun_before_voids_were_counted_go_on(tmp_path: Path) -> None:
    path = tmp_path / "gateway.db"
    Books(path).close()
    old = sqlite3.connect(path)
    old.execute("ALTER TABLE transactions DROP COLUMN voided_amount")
    old.close()
    books = Books(path)
    assert books.find("nobody") is None
    books.close()
