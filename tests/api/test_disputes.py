"""Disputes over the API: the list, one with all that was heard of it, and nothing else may be asked."""

from __future__ import annotations

from typing import Any

import pytest

from models.session import Database
from tests.api.conftest import Caller
from tests.dispute_desk import Desk

PATH = "/v1/disputes"


@pytest.fixture
async def desk(database: Database) -> Desk:
    return Desk(database)


async def ids(api: Caller, **query: Any) -> list[str]:
    return [each["gateway_id"] for each in (await api.get(PATH, limit=100, **query)).json()["items"]]


async def test_one_dispute_with_what_was_heard_of_it(api: Caller, desk: Desk) -> None:
    sale = await desk.sale()
    for word in ("won", "opened"):
        await desk.hear(sale, word, f"evt_{sale}_{word}")
    identity = (await desk.dispute(sale))["id"]
    shown = (await api.get(f"{PATH}/{identity}")).json()
    events = shown.pop("events")
    assert shown == {
        "id": identity,
        "gateway": "sandbox",
        "gateway_id": f"dp_{sale}",
        "charge_id": f"att_{sale}",
        "invoice_id": f"in_{sale}",
        "subscription_id": f"sub_{sale}",
        "order_id": None,
        "customer_id": f"cus_{sale}",
        "amount": 1200,
        "fee": 0,
        "currency": "EUR",
        "status": "won",
        "reason": "fraudulent",
        "evidence_due_at": "2027-03-12T09:00:00Z",
        "opened_at": "2027-03-03T09:00:00Z",
        "closed_at": "2027-03-21T09:00:00Z",
        "consequence": {},
        "test_mode": False,
    }
    assert [(each["event_id"], each["kind"], each["outcome"]) for each in events] == [
        (f"evt_{sale}_won", "dispute.won", "won"),
        (f"evt_{sale}_opened", "dispute.opened", "won"),
    ]
    assert events[0]["body"]["data"]["reference"] == f"charge:{sale}"


async def test_disputes_are_found_by_status_customer_and_charge(api: Caller, desk: Desk) -> None:
    won, lost, tested = await desk.sale(), await desk.sale(), await desk.sale(test_mode=True)
    await desk.hear(won, "won")
    await desk.hear(lost, "lost")
    await desk.hear(tested, "opened")
    assert set(await ids(api)) >= {f"dp_{won}", f"dp_{lost}", f"dp_{tested}"}
    assert f"dp_{won}" in await ids(api, status="won")
    assert f"dp_{lost}" not in await ids(api, status="won")
    assert await ids(api, customer_id=f"cus_{lost}") == [f"dp_{lost}"]
    assert await ids(api, customer_id=f"cus_{lost}", status="won") == []
    assert await ids(api, charge_id=f"att_{tested}", test_mode=True) == [f"dp_{tested}"]
    assert await ids(api, charge_id=f"att_{tested}", test_mode=False) == []


async def test_the_list_goes_on_page_by_page(api: Caller, desk: Desk) -> None:
    for _ in range(2):
        await desk.hear(await desk.sale(), "opened")
    first = (await api.get(PATH, limit=1)).json()
    second = (await api.get(PATH, limit=1, cursor=first["next_cursor"])).json()
    assert first["items"][0]["id"] != second["items"][0]["id"]


async def test_no_such_dispute(api: Caller) -> None:
    assert (await api.get(f"{PATH}/dis_nobody")).status_code == 404


@pytest.mark.parametrize("query", [{"status": "over"}, {"customer_id": "a b"}, {"test_mode": "maybe"}, {"limit": "0"}])
async def test_a_bad_filter_is_refused(api: Caller, query: dict[str, str]) -> None:
    response = await api.get(PATH, **query)
    assert (response.status_code, response.json()["errors"][0]["field"]) == (422, next(iter(query)))
