"""A merchant's morning, through HTTP: what was settled is read, the books are compared, what differs is put right."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest

from api.keys import create_key
from tests.api.conftest import Caller
from tests.stack_fixtures import NUMBERS, Shop

pytestmark = [pytest.mark.stack, pytest.mark.timeout(240)]


@pytest.fixture
async def api(shop: Shop) -> AsyncIterator[Caller]:
    key = await create_key(shop.database, f"bookkeeper-{next(NUMBERS)}")
    async with httpx.AsyncClient(base_url=shop.stack.api_url, timeout=60, trust_env=False) as client:
        yield Caller(client, key)


async def done(shop: Shop, api: Caller, path: str, body: dict[str, Any]) -> dict[str, Any]:
    """A run, started by a request that is sent twice, when it has ended."""
    key = f"run-{next(NUMBERS)}"
    begun = await api.post(path, body, key=key)
    assert begun.status_code == 202, begun.text
    assert (await api.post(path, body, key=key)).json()["id"] == begun.json()["id"]
    where = f"{path}/{begun.json()['id']}"

    async def ended() -> bool:
        return (await api.get(where)).json()["status"] == "done"

    await shop.eventually(ended, "the run ends", within_s=60)
    return (await api.get(where)).json()


async def test_a_morning_at_the_desk(shop: Shop, api: Caller) -> None:
    begun = datetime.now(UTC) - timedelta(minutes=1)
    sub = (await shop.start(await shop.customer("tok_ok_visa"), await shop.terms(), test_mode=False)).id
    reference = (await shop.attempts(sub))[0]["reference"]
    foreign = f"order-{next(NUMBERS)}"
    for path, body in (
        ("transactions", {"reference": foreign, "amount": 700, "currency": "USD", "token": "tok_ok_visa"}),
        ("settle", {"references": [reference]}),
    ):
        (await shop.http.post(f"{shop.stack.gateway_url}/control/{path}", json=body)).raise_for_status()

    run = await done(shop, api, "/v1/settlement-runs", {})
    assert run["changed"] >= 1
    charge = (await shop.attempts(sub))[0]
    assert charge["settlement"] == "settled"
    assert charge["batch_id"] is not None

    # The wall clock's window: a life in virtual time is compared by when its rows were written.
    window = {"since": begun.replace(microsecond=0).isoformat(), "in_flight_s": 0}
    await done(shop, api, "/v1/reconciliation-runs", window)
    assert (await api.get("/v1/differences", reference=reference)).json()["items"] == []
    (found,) = (await api.get("/v1/differences", reference=foreign)).json()["items"]
    assert (found["kind"], found["ours"], found["theirs"]["amount"], found["owed"]) == ("missing_here", None, 700, 700)

    resolve = f"/v1/differences/{found['id']}/resolve"
    looked = await api.post(resolve, {"action": "recheck"})
    assert (looked.status_code, looked.json()["status"]) == (200, "open"), looked.text
    adopted = await api.post(resolve, {"action": "adopt", "reason": "paid by hand at the gateway"}, key="adopt-once")
    assert (adopted.json()["status"], adopted.json()["adopted"]) == ("fixed", 700)
    again = await api.post(resolve, {"action": "adopt", "reason": "paid by hand at the gateway"}, key="adopt-once")
    assert again.json() == adopted.json()
    refused = await api.post(resolve, {"action": "recheck"})
    assert (refused.status_code, refused.json()["code"], refused.json()["allowed"]) == (409, "difference_closed", [])
    assert (await api.post("/v1/differences/dif_nobody/resolve", {"action": "recheck"})).status_code == 404

    entries = await shop.rows(
        "SELECT account, amount FROM ledger_postings JOIN ledger_entries AS e ON e.id = entry_id"
        " WHERE e.subject_id = :id ORDER BY account",
        id=found["id"],
    )
    assert [(each["account"], each["amount"]) for each in entries] == [("cash:sandbox", 700), ("reconciliation", -700)]
    assert (await api.get("/v1/ledger/trial-balance")).json()["balanced"]
    assert (await api.get("/v1/ledger/entries", limit=5)).status_code == 200
    await done(shop, api, "/v1/reconciliation-runs", window)
    assert [each["id"] for each in (await api.get("/v1/differences", reference=foreign)).json()["items"]] == [
        found["id"]
    ]
    await shop.audit(sub)


async def test_the_schedules_settle_and_compare(shop: Shop, api: Caller) -> None:
    for schedule, path in (("settlement", "/v1/settlement-runs"), ("reconciliation", "/v1/reconciliation-runs")):
        listed = {each["id"]: each for each in (await api.get("/v1/schedules")).json()["items"]}
        assert (listed[schedule]["paused"], listed[schedule]["every_s"]) == (False, 86_400)
        response = await api.post(f"/v1/schedules/{schedule}/trigger")
        assert response.status_code == 202

        async def ran(path: str = path) -> bool:
            items = (await api.get(path, limit=100)).json()["items"]
            return any(each["source"] == "scheduled" and each["status"] == "done" for each in items)

        await shop.eventually(ran, f"{schedule} ran", within_s=60)
