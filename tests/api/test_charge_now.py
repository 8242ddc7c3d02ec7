"""Charging by hand: confirmed first, and never left without a way on."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from api.keys import create_key
from local.stack import Stack
from models.session import Database
from tests.api.conftest import KEYS, Caller
from tests.api.test_subscriptions import BROKE, new_customer, new_price, started

pytestmark = [pytest.mark.stack, pytest.mark.timeout(120)]

EXPRESS = {"amount": 750, "currency": "EUR", "description": "Express delivery"}


@pytest.fixture(scope="module")
async def live(stack: Stack) -> AsyncIterator[Caller]:
    database = Database.connect(stack.database_url, application_name="tests", pool_max=1)
    key = await create_key(database, "desk")
    await database.close()
    async with httpx.AsyncClient(base_url=stack.api_url, timeout=60, trust_env=False) as client:
        yield Caller(client, key)


async def add(live: Caller, customer: str, token: str) -> str:
    return (await live.made(f"/v1/customers/{customer}/payment-methods", {"token": token}))["id"]


async def charged(live: Caller, subscription: dict[str, Any], *, key: str | None = None, **more: Any) -> dict[str, Any]:
    response = await live.post(f"/v1/subscriptions/{subscription['id']}/charge", EXPRESS | more, key=key)
    assert response.status_code == 200, response.text
    return response.json()["charge"]


async def test_a_decline_comes_with_its_reason_the_other_cards_and_a_link(live: Caller) -> None:
    customer = await new_customer(live)
    subscription = await started(live, customer, await new_price(live))
    broke, amex = await add(live, customer, f"{BROKE}_{next(KEYS)}"), await add(live, customer, "tok_ok_amex")
    (visa, *_) = (await live.get(f"/v1/customers/{customer}/payment-methods")).json()["items"]
    key = f"charge-{next(KEYS)}"
    declined = await charged(live, subscription, key=key, payment_method_id=broke)
    assert (declined["outcome"], declined["code"]) == ("declined", "insufficient_funds")
    assert declined["reason"] == "There is not enough money on the account."
    assert declined["method"]["id"] == broke
    assert [(each["id"], each["position"]) for each in declined["other_methods"]] == [(visa["id"], 0), (amex, 2)]
    assert {each["last4"] for each in declined["other_methods"]} == {"4242", "0005"}
    page = await live.http.get(declined["card_update_link"])
    assert (page.status_code, "Enter the new card" in page.text) == (200, True)
    assert await charged(live, subscription, key=key, payment_method_id=broke) == declined, "repeated, it is the same"
    invoices = (await live.get("/v1/invoices", subscription_id=subscription["id"])).json()["items"]
    assert [each["status"] for each in invoices if each["reason"] == "one_off"] == ["void"]
    paid = await charged(live, subscription, payment_method_id=amex)
    assert (paid["outcome"], paid["reason"], paid["card_update_link"]) == ("paid", None, None)
    assert paid["invoice_id"] != declined["invoice_id"]


async def test_what_is_confirmed_first_is_what_is_charged(live: Caller) -> None:
    customer = await new_customer(live)
    subscription = await started(live, customer, await new_price(live))
    amex = await add(live, customer, "tok_ok_amex")
    path = f"/v1/subscriptions/{subscription['id']}/charge/preview"
    first = (await live.post(path, EXPRESS)).json()
    named = (await live.post(path, EXPRESS | {"payment_method_id": amex})).json()
    assert (first["method"]["brand"], named["method"]["id"]) == ("visa", amex)
    assert [each["id"] for each in first["other_methods"]] == [amex]
    assert (await charged(live, subscription))["method"]["id"] == first["method"]["id"]
    for wrong, field in (({"currency": "USD"}, "currency"), ({"payment_method_id": "pm_x"}, "payment_method_id")):
        foreseen = await live.post(path, EXPRESS | wrong)
        refused = await live.post(path.removesuffix("/preview"), EXPRESS | wrong)
        assert (foreseen.status_code, foreseen.json()["errors"][0]["field"]) == (422, field)
        assert refused.json() == foreseen.json()
    invoices = (await live.get("/v1/invoices", subscription_id=subscription["id"])).json()["items"]
    assert len([each for each in invoices if each["reason"] == "one_off"]) == 1


async def test_without_any_card_the_link_is_the_way_on(live: Caller) -> None:
    customer = await new_customer(live, token=None)
    subscription = await started(live, customer, await new_price(live), trial_days=14)
    charge = await charged(live, subscription)
    assert (charge["outcome"], charge["other_methods"], charge["charge_id"]) == ("no_method", [], None)
    assert charge["card_update_link"] is not None


async def test_a_bank_that_asks_first_says_where(live: Caller) -> None:
    customer = await new_customer(live, token=f"tok_action_{next(KEYS)}")
    subscription = await started(live, customer, await new_price(live), trial_days=14)
    charge = await charged(live, subscription)
    assert charge["outcome"] == "confirm"
    assert charge["action_url"].startswith("http")
