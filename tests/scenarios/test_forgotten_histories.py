"""What Temporal keeps of a life: no name, no address, no number in any event of any workflow."""

from __future__ import annotations

import json
import re
from base64 import b64decode
from datetime import timedelta

import httpx
import pytest

from api.keys import create_key
from domain.messages import ForceBill
from tests.api.conftest import KEYS, Caller
from tests.stack_fixtures import Shop, at

pytestmark = [pytest.mark.stack, pytest.mark.timeout(300)]

VISA = "tok_ok_visa"


def payloads(history: str) -> str:
    """All payloads of a history as text; they stand in it as base64."""
    return "".join(b64decode(data).decode(errors="replace") for data in re.findall(r'"data": "([^"]*)"', history))


async def holds(shop: Shop, since: str, known: str, *words: str) -> tuple[set[str], dict[str, set[str]]]:
    """Types of all workflows of this while, and which of them hold one of these words, in any of their runs.

    `known` is what they must hold, or nothing was read.
    """
    seen = 0
    types: set[str] = set()
    found: dict[str, set[str]] = {}
    async for run in shop.client.list_workflows(f"StartTime >= '{since}'"):
        types.add(run.workflow_type)
        handle = shop.client.get_workflow_handle(run.id, run_id=run.run_id)
        history = json.dumps((await handle.fetch_history()).to_json_dict(), ensure_ascii=False)
        text = (history + payloads(history)).lower()
        seen += payloads(history).count(known)
        held = {word for word in words if word.lower() in text}
        if held:
            found.setdefault(run.workflow_type, set()).update(held)
    assert seen > 0
    return types, found


async def test_no_history_of_a_whole_life_names_the_person(shop: Shop) -> None:
    (clock,) = await shop.rows("SELECT now() AS at")
    since = (clock["at"] - timedelta(seconds=2)).isoformat()
    number = next(KEYS)
    name, mail, phone = f"Quastenflosser{number}", f"quasten{number}@life.example", f"+4930555{number:06}"
    async with httpx.AsyncClient(base_url=shop.stack.api_url, timeout=60, trust_env=False) as http:
        api = Caller(http, await create_key(shop.database, f"life-{number}"))
        person = {"first_name": "Latimeria", "last_name": name, "email": mail, "phone": phone, "currency": "USD"}
        owner = (await api.made("/v1/customers", person))["id"]
        place = {"kind": "shipping", "line1": f"1 {name} Road", "city": "Ulm", "country": "DE", "postal_code": "89073"}
        await api.made(f"/v1/customers/{owner}/addresses", place)
        token = f"{VISA}_life_{number}"
        await api.made(f"/v1/customers/{owner}/payment-methods", {"token": token})

        state = await shop.start(owner, await shop.terms(), start_at=at("2027-10-04", 14))
        await shop.until(state.id, at("2027-10-04", 15))
        await shop.script(token, "soft:insufficient_funds", then="approve")
        await shop.send(state.id, ForceBill())
        await shop.until(state.id, at("2027-11-20", 15))

        letter = {"template": "staff_thanks", "values": {"topic": f"the call, {name}"}}
        written = await api.made(f"/v1/customers/{owner}/messages", letter)
        await shop.eventually(lambda: sent(api, written["id"]), "the letter is sent")
        await api.made(f"/v1/messages/{written['id']}/resend", None)

        box = await api.made("/v1/products", {"code": f"life-{number}", "name": "Box", "physical": True})
        price = await api.made(
            "/v1/prices",
            {"product_id": box["id"], "code": "m", "currency": "USD", "unit_amount": 1900,
             "interval": {"count": 1, "unit": "month"}},
        )  # fmt: skip
        lines = [{"price_id": price["id"]}]
        order = await api.made("/v1/orders", {"customer_id": owner, "lines": lines, "pay": {}, "test_mode": True})
        assert order["status"] == "paid", order

        twin = await api.made("/v1/customers", person | {"email": f"x{mail}", "phone": ""})
        merge = {"master_id": owner, "loser_id": twin["id"], "reason": "one person"}
        asked = await api.post("/v1/merges", merge)
        assert asked.status_code == 202, asked.text
        await shop.commands.merges.moved(asked.json()["id"])
        await shop.eventually(lambda: packed(shop, owner), "the parcel is there")

    types, found = await holds(shop, since, owner, name, mail, phone)
    assert {"Subscription", "Order", "Merge", "Fulfilment"} <= types
    assert found == {}


async def sent(api: Caller, message: str) -> bool:
    return (await api.get(f"/v1/messages/{message}")).json()["status"] == "sent"


async def packed(shop: Shop, owner: str) -> bool:
    return bool(await shop.rows("SELECT id FROM fulfilments WHERE customer_id = :id", id=owner))
