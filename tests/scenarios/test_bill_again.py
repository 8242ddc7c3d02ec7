"""A past charge is billed again: as a charge by itself, on a chosen method, once for each key."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import httpx
import pytest

from api.keys import create_key
from domain.messages import ChargeNow
from tests.api.conftest import Caller
from tests.stack_fixtures import NUMBERS, Shop, at

pytestmark = [pytest.mark.stack, pytest.mark.timeout(120)]

VISA = "tok_ok_visa"


@pytest.fixture
async def agent(shop: Shop) -> AsyncIterator[Caller]:
    key = await create_key(shop.database, f"amy-{next(NUMBERS)}")
    async with httpx.AsyncClient(base_url=shop.stack.api_url, timeout=60, trust_env=False) as client:
        yield Caller(client, key)


async def test_a_declined_charge_by_hand_is_billed_again_on_another_card_once(shop: Shop, agent: Caller) -> None:
    customer = await shop.customer(VISA)
    subscription = (await shop.start(customer, await shop.terms(1000), start_at=at("2027-03-05", 9))).id
    await shop.until(subscription, at("2027-03-05", 10))
    await shop.script(await shop.token(customer), "soft:insufficient_funds", then="approve")
    await shop.send(subscription, ChargeNow(750, "USD", "Express delivery"))
    (declined,) = [row for row in await shop.attempts(subscription) if row["status"] == "declined"]
    other = await shop.card(customer, VISA)
    path, key = f"/v1/transactions/{declined['id']}/bill-again", f"again-{next(NUMBERS)}"
    body = {"payment_method_id": other, "reason": "she gave us her other card"}
    first = await agent.post(path, body, key=key)
    assert first.status_code == 201, first.text
    new = first.json()
    assert (new["kind"], new["status"], new["amount"], new["payment_method_id"]) == ("charge", "approved", 750, other)
    told = [event for event in await shop.events(subscription) if event["kind"] == "charge_asked"][-1]
    assert told["reason"] == f"{declined['id']} is billed again: she gave us her other card"
    assert any("charged now" in link["text"] for link in new["story"])
    repeated = await agent.post(path, body, key=key)
    assert repeated.json() == new
    both = await asyncio.gather(*(agent.post(path, body, key=key) for _ in range(3)))
    assert {answer.json().get("id", new["id"]) for answer in both} == {new["id"]}
    by_hand = {row["id"]: row["status"] for row in await shop.attempts(subscription) if row["trigger"] == "charge_now"}
    assert by_hand == {declined["id"]: "declined", new["id"]: "approved"}
    await shop.audit(subscription)


async def test_what_is_open_is_paid_and_what_went_back_is_not_billed(shop: Shop, agent: Caller) -> None:
    customer = await shop.customer(VISA)
    await shop.script(await shop.token(customer), "soft:insufficient_funds", then="approve")
    subscription = (await shop.start(customer, await shop.terms(1000), start_at=at("2027-03-05", 9))).id
    await shop.until(subscription, at("2027-03-05", 10))
    (declined,) = await shop.attempts(subscription)
    refused = await agent.post(f"/v1/transactions/{declined['id']}/bill-again", {})
    assert (refused.status_code, refused.json()["code"]) == (409, "invoice_open")
    await shop.until(subscription, at("2027-03-07", 10))
    paid = (await shop.attempts(subscription))[-1]
    void = (await agent.post(f"/v1/charges/{paid['id']}/void", {"reason": "by mistake"})).json()
    refused = await agent.post(f"/v1/transactions/{void['id']}/bill-again", {})
    assert (refused.status_code, refused.json()["code"]) == (409, "not_a_charge")
    again = (await agent.post(f"/v1/transactions/{paid['id']}/bill-again", {})).json()
    assert (again["status"], again["amount"]) == ("approved", 1000)
    assert (await agent.post("/v1/transactions/att_nothing/bill-again", {})).status_code == 404
