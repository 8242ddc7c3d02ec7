"""An order of physical things on the real stack: what its payment sends, and what a cancellation stops or asks back."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from domain.fulfilment import cycle_fulfilment_id, order_fulfilment_id
from domain.roles import Role
from local.stack import Stack
from tests.api.conftest import KEYS, Caller
from tests.api.test_orders import CARD, ENGRAVING, caller_of, done
from tests.fulfilment.conftest import Depot
from tests.fulfilment.test_parcels import becomes, kinds, open_tasks
from tests.stack_fixtures import Shop

pytestmark = [pytest.mark.stack, pytest.mark.timeout(180)]


@pytest.fixture
async def lead(stack: Stack) -> AsyncIterator[Caller]:
    async for caller in caller_of(stack, Role.ADMIN):
        yield caller


@pytest.fixture(autouse=True)
async def willing(depot: Depot) -> None:
    """The warehouse takes what comes, before each test."""
    await depot.becomes("take")


async def boxes(lead: Caller, *, address: bool, **pay: str) -> dict[str, Any]:
    """A paid order: a grinder, a box each month, both physical, and an engraving, which is not."""
    prices: list[str] = []
    for more in ({"one_time": True}, {"interval": {"count": 1, "unit": "month"}}):
        body = {"code": f"thing-{next(KEYS)}", "name": "Thing", "physical": True}
        product = await lead.made("/v1/products", body)
        made = {"product_id": product["id"], "code": "p", "currency": "EUR", "unit_amount": 1900}
        prices.append((await lead.made("/v1/prices", made | more))["id"])
    who = {"email": f"parcel-{next(KEYS)}@example.com", "currency": "EUR", "time_zone": "Europe/Berlin"}
    customer = (await lead.made("/v1/customers", who))["id"]
    if address:
        where = {"kind": "shipping", "is_default": True, "line1": "1 Mill Lane", "city": "Ulm", "country": "DE"}
        await lead.made(f"/v1/customers/{customer}/addresses", where | {"postal_code": "89073"})
    lines = [*({"price_id": each} for each in prices), ENGRAVING]
    order = await lead.made(
        "/v1/orders", {"customer_id": customer, "lines": lines, "pay": {"token": CARD} | pay, "test_mode": True}
    )
    assert order["status"] == ("authorised" if pay else "paid")
    return order


async def effects(lead: Caller, order: dict[str, Any], body: dict[str, bool]) -> dict[str, str]:
    told = await done(lead, order, "cancel/preview", body)
    return {each["id"]: each["effect"] for each in told["effects"] if each["on"] == "fulfilment"}


async def test_nothing_is_sent_before_the_capture(lead: Caller) -> None:
    order = await boxes(lead, address=False, capture="later")
    assert (order["fulfilments"], order["subscriptions"]) == ([], [])
    captured = await done(lead, order, "capture")
    parcels = {cycle_fulfilment_id(captured["subscriptions"][0]["id"], 1), order_fulfilment_id(order["id"], 1)}
    assert {each["id"] for each in captured["fulfilments"]} == parcels


async def test_what_waits_is_stopped_whatever_becomes_of_the_money(depot: Depot, lead: Caller) -> None:
    order = await boxes(lead, address=False)
    own, first = order_fulfilment_id(order["id"], 1), cycle_fulfilment_id(order["subscriptions"][0]["id"], 1)
    shown = {each["id"]: each for each in order["fulfilments"]}
    assert set(shown) == {own, first}, "one for each physical line, and once"
    assert {each["status"] for each in shown.values()} == {"pending"}
    assert {(each["carrier"], each["tracking"]) for each in shown.values()} == {("", "")}
    kept = {"give_back": False, "end_subscriptions": False}
    assert await effects(lead, order, kept) == {own: "stop", first: "stays"}
    assert await effects(lead, order, {"give_back": False}) == {own: "stop", first: "stop"}
    canceled = await done(lead, order, "cancel", kept)
    assert {each["id"]: each["status"] for each in canceled["fulfilments"]} == {own: "stopped", first: "pending"}
    assert canceled["refunds"] == []
    assert [event["data"]["fulfilment_id"] for event in canceled["events"] if event["kind"] == "parcel_stopped"] == [
        own
    ]
    assert await depot.calls(own) == []


async def test_what_was_handed_off_is_asked_back_and_what_is_out_stays(shop: Shop, depot: Depot, lead: Caller) -> None:
    order = await boxes(lead, address=True)
    own, first = order_fulfilment_id(order["id"], 1), cycle_fulfilment_id(order["subscriptions"][0]["id"], 1)
    for each in (own, first):
        await becomes(shop, each, "handed_off")
        assert await depot.calls(each) == ["fulfilment.requested"], "it goes out once"
    await depot.says("shipment.shipped", first, data={"carrier": "DHL", "tracking": "0034"})
    await becomes(shop, first, "shipped")
    assert await effects(lead, order, {}) == {own: "ask_back", first: "stays"}
    canceled = await done(lead, order, "cancel", {"reason": "ordered twice"})
    assert canceled["charges"][0]["settlement"] == "voided"
    await becomes(shop, own, "stopped", withdrawal="done")
    assert await kinds(shop, own) == ["created", "handed_off", "stopped", "withdrawal_done"]
    after = (await lead.get(f"/v1/orders/{order['id']}")).json()
    shown = {each["id"]: (each["status"], each["carrier"], each["tracking"]) for each in after["fulfilments"]}
    assert shown == {own: ("stopped", "", ""), first: ("shipped", "DHL", "0034")}
    assert [event["text"] for event in after["events"] if event["kind"] == "parcel_stays"] == [
        f"Parcel {first} stays as it is: shipped."
    ]
    assert await open_tasks(shop, first) == ["fulfilment_withdrawal"], "a person sees to what is out"
