"""Orders through HTTP alone, on the whole stack: taken on the telephone, edited, declined, paid, cancelled."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from api.keys import create_key
from domain.roles import Role
from local.stack import Stack
from models.session import Database
from tests.api.conftest import KEYS, Caller
from tests.stack_fixtures import Shop

pytestmark = [pytest.mark.stack, pytest.mark.timeout(120)]

CARD = "tok_ok_visa"
BROKE = "tok_soft_insufficient_funds"
ENGRAVING = {"description": "Engraving", "unit_amount": 1500}


@pytest.fixture(scope="module")
async def live(stack: Stack) -> AsyncIterator[Caller]:
    async for caller in caller_of(stack, Role.ADMIN):
        yield caller


@pytest.fixture(scope="module")
async def agent(stack: Stack) -> AsyncIterator[Caller]:
    async for caller in caller_of(stack, Role.AGENT):
        yield caller


async def caller_of(stack: Stack, role: Role) -> AsyncIterator[Caller]:
    database = Database.connect(stack.database_url, application_name="tests", pool_max=1)
    key = await create_key(database, f"{role} of orders", role)
    await database.close()
    async with httpx.AsyncClient(base_url=stack.api_url, timeout=60, trust_env=False) as client:
        yield Caller(client, key)


async def price(live: Caller, amount: int = 1900, **more: Any) -> str:
    product = await live.made("/v1/products", {"code": f"order-box-{next(KEYS)}", "name": "Box"})
    interval = {} if more.get("one_time") else {"interval": {"count": 1, "unit": "month"}}
    body = {"product_id": product["id"], "code": "m", "currency": "EUR", "unit_amount": amount}
    return (await live.made("/v1/prices", body | interval | more))["id"]


async def customer(live: Caller, *tokens: str) -> str:
    body = {"email": f"order-{next(KEYS)}@example.com", "currency": "EUR", "time_zone": "Europe/Berlin"}
    made = await live.made("/v1/customers", body)
    for token in tokens:
        await live.made(f"/v1/customers/{made['id']}/payment-methods", {"token": token})
    return made["id"]


async def ordered(live: Caller, **body: Any) -> dict[str, Any]:
    return await live.made("/v1/orders", {"test_mode": True} | body)


async def done(live: Caller, order: dict[str, Any], command: str, body: Any = None) -> dict[str, Any]:
    response = await live.post(f"/v1/orders/{order['id']}/{command}", body)
    assert response.status_code in {200, 201}, response.text
    return response.json()


async def test_a_new_customer_orders_by_telephone_in_one_request(live: Caller, agent: Caller, shop: Shop) -> None:
    monthly, once = await price(live, 1900, setup_fee=500), await price(live, 4000, one_time=True)
    email = f"ada-{next(KEYS)}@example.com"
    order = await agent.made(
        "/v1/orders",
        {
            "customer": {"email": email, "first_name": "Ada", "currency": "EUR", "time_zone": "Europe/Berlin"},
            "channel": "phone",
            "funnel": "autumn list",
            "page": "script 7",
            "actor": "Anna",
            "lines": [{"price_id": monthly, "quantity": 2}, {"price_id": once}, ENGRAVING],
            "pay": {"token": CARD, "total": 9800},
            "test_mode": True,
        },
    )
    assert (order["status"], order["total"], order["payment"]["state"]) == ("paid", 3800 + 500 + 4000 + 1500, "paid")
    assert (order["funnel"], order["page"], order["agent"]) == ("autumn list", "script 7", "Anna")
    assert order["customer"]["email"] == email
    assert order["number"].startswith("O-")
    lines = [(line["quantity"] * line["unit_amount"], line["amount"]) for line in order["invoice"]["lines"]]
    assert [amount for amount, _ in lines] == [amount for _, amount in lines] == [3800, 500, 4000, 1500]
    assert [charge["amount"] for charge in order["charges"]] == [9800]
    (subscription,) = order["subscriptions"]
    assert (subscription["status"], subscription["access"], subscription["cycle"]) == ("active", "active", 2)
    assert order["lines"][0]["subscription_id"] == subscription["id"]
    assert await shop.invoices(subscription["id"]) == [], "its first cycle was paid with the order"
    assert "O-" in order["messages"][0]["subject"]
    found = (await agent.get("/v1/search", q=order["number"])).json()["items"]
    assert [(hit["customer_id"], hit["by"]) for hit in found] == [(order["customer"]["id"], "order_number")]
    overview = (await agent.get(f"/v1/customers/{order['customer']['id']}/overview")).json()
    assert [each["id"] for each in overview["orders"]["items"]] == [order["id"]]


async def test_the_prepaid_cycle_is_billed_no_second_time_and_the_next_one_is(live: Caller, shop: Shop) -> None:
    order = await ordered(live, customer_id=await customer(live, CARD), lines=[{"price_id": await price(live)}], pay={})
    subscription = order["subscriptions"][0]["id"]
    moved = await live.post(f"/v1/subscriptions/{subscription}/advance", {"months": 2})
    assert moved.status_code == 200, moved.text
    assert (await shop.kinds(subscription))[:3] == ["created", "started", "cycle_prepaid"]
    assert [row["cycle"] for row in await shop.invoices(subscription)] == [2, 3]
    why = (await live.get(f"/v1/charges/{order['charges'][0]['id']}/why")).json()["because"]
    assert order["number"] in why[1]["text"]


async def test_a_declined_order_stays_open_and_is_paid_with_another_card(live: Caller) -> None:
    order = await ordered(
        live, customer_id=await customer(live, BROKE), lines=[ENGRAVING, {"price_id": await price(live)}], pay={}
    )
    assert (order["status"], order["payment"]["state"]) == ("open", "declined")
    assert order["payment"]["code"] == "insufficient_funds"
    assert [method["last4"] for method in order["payment"]["methods"]]
    assert order["payment"]["link"] == f"/v1/invoices/{order['invoice']['id']}/payment-link"
    assert order["subscriptions"] == []
    assert order["allowed"] == ["lines", "pay", "cancel"]
    paid = await done(live, order, "pay", {"token": CARD})
    assert paid["status"] == "paid"
    assert [charge["status"] for charge in paid["charges"]] == ["approved", "declined"]
    assert len(paid["subscriptions"]) == 1
    again = await live.post(f"/v1/orders/{order['id']}/pay")
    assert (again.status_code, again.json()["code"]) == (409, "already_paid")


async def test_an_invoice_of_an_order_is_paid_like_any_other(live: Caller) -> None:
    order = await ordered(live, customer_id=await customer(live, CARD), lines=[ENGRAVING], place=True)
    assert (order["status"], order["invoice"]["status"]) == ("open", "open")
    paid = await live.post(f"/v1/invoices/{order['invoice']['id']}/pay")
    assert paid.json()["status"] == "paid", paid.text
    assert (await live.get(f"/v1/orders/{order['id']}")).json()["status"] == "paid"


async def test_it_is_edited_before_it_is_paid_and_not_after(live: Caller) -> None:
    order = await ordered(live, customer_id=await customer(live, BROKE), lines=[ENGRAVING], pay={})
    edited = await done(live, order, "lines", {"lines": [ENGRAVING | {"unit_amount": 900}], "revision": 1})
    assert (edited["status"], edited["total"], edited["revision"]) == ("draft", 900, 2)
    assert [invoice["status"] for invoice in edited["voided_invoices"]] == ["void"]
    late = await live.post(f"/v1/orders/{order['id']}/lines", {"lines": [ENGRAVING], "revision": 1})
    assert (late.status_code, late.json()["code"]) == (409, "changed_meanwhile")
    other = await live.post(f"/v1/orders/{order['id']}/pay", {"token": CARD, "total": 1500})
    assert (other.status_code, other.json()["code"]) == (409, "price_changed")
    paid = await done(live, order, "pay", {"token": CARD, "total": 900})
    assert [charge["amount"] for charge in paid["charges"] if charge["status"] == "approved"] == [900]
    closed = await live.post(f"/v1/orders/{order['id']}/lines", {"lines": [ENGRAVING]})
    assert (closed.status_code, closed.json()["code"]) == (409, "already_paid")


async def test_nothing_due_is_confirmed_without_a_charge(live: Caller) -> None:
    trial = await price(live, trial_days=14)
    later = {"price_id": await price(live), "start_at": "2040-01-01T00:00:00Z"}
    order = await ordered(live, customer_id=await customer(live), lines=[{"price_id": trial}, later], pay={})
    assert (order["status"], order["total"], order["invoice"], order["charges"]) == ("paid", 0, None, [])
    assert [each["status"] for each in order["subscriptions"]] == ["trialing", "scheduled"]


async def test_a_cancellation_says_what_it_will_do_and_does_it(live: Caller) -> None:
    order = await ordered(
        live, customer_id=await customer(live, CARD), lines=[ENGRAVING, {"price_id": await price(live)}], pay={}
    )
    told = await done(live, order, "cancel/preview")
    assert [(each["on"], each["effect"], each["amount"]) for each in told["effects"]] == [
        ("subscription", "end", None),
        ("payment", "void", 3400),
    ]
    canceled = await done(live, order, "cancel", {"reason": "ordered twice"})
    assert canceled["status"] == "canceled"
    assert [each["status"] for each in canceled["subscriptions"]] == ["canceled"]
    assert [(each["kind"], each["status"], each["amount"]) for each in canceled["refunds"]] == [
        ("void", "succeeded", 3400)
    ]
    assert canceled["charges"][0]["settlement"] == "voided"
    again = await live.post(f"/v1/orders/{order['id']}/cancel")
    assert (again.status_code, again.json()["code"]) == (409, "order_canceled")


async def test_an_unpaid_order_is_cancelled_with_its_invoice(live: Caller) -> None:
    order = await ordered(live, customer_id=await customer(live, BROKE), lines=[ENGRAVING], pay={})
    told = await done(live, order, "cancel/preview")
    assert [(each["on"], each["effect"]) for each in told["effects"]] == [("invoice", "void")]
    canceled = await done(live, order, "cancel")
    assert (canceled["status"], canceled["invoice"]["status"]) == ("canceled", "void")


async def test_money_of_an_order_is_given_back_in_full(live: Caller) -> None:
    order = await ordered(live, customer_id=await customer(live, CARD), lines=[ENGRAVING], pay={})
    refund = await done(live, order, "give-back", {"reason": "late"})
    assert (refund["kind"], refund["status"], refund["order_id"]) == ("void", "succeeded", order["id"])
    assert refund["subscription_id"] is None


async def test_special_prices_need_a_reason_and_beyond_the_limit_a_lead(live: Caller, agent: Caller) -> None:
    monthly, buyer = await price(live, 2000), await customer(live, CARD)

    async def tried(amount: int, reason: str, who: Caller) -> httpx.Response:
        line = {"price_id": monthly, "unit_amount": amount, "reason": reason}
        return await who.post("/v1/orders", {"customer_id": buyer, "lines": [line], "test_mode": True})

    silent = await tried(1900, "", agent)
    assert (silent.status_code, silent.json()["errors"][0]["field"]) == (422, "lines.0.reason")
    assert (await tried(1600, "loyal", agent)).status_code == 201
    beyond = await tried(1599, "loyal", agent)
    assert (beyond.status_code, beyond.json()["code"]) == (409, "special_price_beyond_limit")
    sold = await tried(1000, "loyal", live)
    assert sold.json()["lines"][0]["list_amount"] == 2000
    paid = await done(live, sold.json(), "pay")
    assert paid["subscriptions"][0]["amount"] == 1000, "it holds for all its cycles"


async def test_two_who_pay_at_once_pay_once(live: Caller) -> None:
    order = await ordered(live, customer_id=await customer(live, CARD), lines=[ENGRAVING], place=True)
    answers = await asyncio.gather(*(live.post(f"/v1/orders/{order['id']}/pay") for _ in range(4)))
    assert sorted(answer.status_code for answer in answers) == [200, 409, 409, 409]
    after = (await live.get(f"/v1/orders/{order['id']}")).json()
    assert [charge["status"] for charge in after["charges"]] == ["approved"]


async def test_the_same_request_again_is_the_same_order(live: Caller) -> None:
    body: dict[str, Any] = {"customer_id": await customer(live, CARD), "lines": [ENGRAVING], "pay": {}}
    first, second = [await live.post("/v1/orders", body, key="order-4711-once") for _ in range(2)]
    assert first.json()["id"] == second.json()["id"]
    assert second.headers["Idempotent-Replayed"] == "true"


async def test_bad_lines_name_the_field_and_change_nothing(live: Caller) -> None:
    buyer = await customer(live, CARD)
    usd = await price(live, currency="USD")
    for line, field in (
        ({"price_id": "price_nowhere"}, "lines.0.price_id"),
        ({"price_id": usd}, "lines.0.price_id"),
        ({"description": "Gift"}, "lines.0.price_id"),
        (ENGRAVING | {"start_at": "2040-01-01T00:00:00Z"}, "lines.0.start_at"),
    ):
        answer = await live.post("/v1/orders", {"customer_id": buyer, "lines": [line]})
        assert (answer.status_code, answer.json()["errors"][0]["field"]) == (422, field), answer.text
    assert (await live.get("/v1/orders", customer_id=buyer)).json()["items"] == []


async def test_custom_fields_of_orders(live: Caller) -> None:
    key = f"gift_card_{next(KEYS)}"
    await live.made("/v1/custom-fields", {"subject": "order", "key": key, "label": "Gift card text", "type": "text"})
    order = await ordered(
        live, customer_id=await customer(live), lines=[ENGRAVING], custom_fields={key: "Happy birthday"}
    )
    assert {own["key"]: own["value"] for own in order["custom_fields"]}[key] == "Happy birthday"
    path = f"/v1/orders/{order['id']}/custom-fields"
    changed = await live.patch(path, {"values": {key: "Cheers"}})
    assert {own["key"]: own["value"] for own in changed.json()["items"]}[key] == "Cheers"
    wrong = await live.patch(path, {"values": {key: 5}})
    assert (wrong.status_code, wrong.json()["errors"][0]["field"]) == (422, f"values.{key}")
    log = (await live.get(f"/v1/customers/{order['customer']['id']}/changes")).json()["items"]
    assert [(line["field"], line["old"], line["new"]) for line in log] == [
        (f"{order['number']}.{key}", "Happy birthday", "Cheers")
    ]


async def test_orders_are_found_by_where_they_were_sold(live: Caller) -> None:
    funnel = f"spring {next(KEYS)}"
    buyer = await customer(live)
    first = await ordered(live, customer_id=buyer, lines=[ENGRAVING], funnel=funnel, channel="phone")
    await ordered(live, customer_id=buyer, lines=[ENGRAVING])
    found = (await live.get("/v1/orders", funnel=funnel, channel="phone", status="draft")).json()["items"]
    assert [each["id"] for each in found] == [first["id"]]


async def test_the_customers_discount_reduces_what_is_due_and_goes_on(live: Caller, shop: Shop) -> None:
    buyer = await customer(live, CARD)
    body = {"name": "Sorry", "percent": "10", "cycles": 2, "reason": "late"}
    discount = await live.made(f"/v1/customers/{buyer}/discounts", body)
    monthly = await price(live, 2000, setup_fee=500)
    order = await ordered(
        live, customer_id=buyer, lines=[{"price_id": monthly}, ENGRAVING], pay={"total": 1800 + 450 + 1500}
    )
    assert order["status"] == "paid"
    assert [line["discount"] for line in order["invoice"]["lines"]] == [200, 50, 0], "not off what is paid once"
    assert order["lines"][0]["due_now"] == 2250
    subscription = order["subscriptions"][0]["id"]
    moved = await live.post(f"/v1/subscriptions/{subscription}/advance", {"months": 2})
    assert moved.status_code == 200, moved.text
    assert [row["total"] for row in await shop.invoices(subscription)] == [1800, 2000], "the order was the first of two"
    assert "discount_ended" in await shop.kinds(subscription)
    assert discount["id"]


async def test_a_discount_given_or_ended_before_it_is_paid_counts_for_later_cycles(live: Caller, shop: Shop) -> None:
    buyer, monthly = await customer(live, CARD), await price(live, 2000)
    path = f"/v1/customers/{buyer}/discounts"
    gone = await live.made(path, {"name": "Old", "percent": "10"})
    order = await ordered(live, customer_id=buyer, lines=[{"price_id": monthly}], place=True)
    assert (await live.delete(f"{path}/{gone['id']}")).status_code == 204
    await live.made(path, {"name": "New", "percent": "50"})
    paid = await done(live, order, "pay", {"total": 1800})
    subscription = paid["subscriptions"][0]["id"]
    assert (await live.post(f"/v1/subscriptions/{subscription}/advance", {"months": 1})).status_code == 200
    assert [row["total"] for row in await shop.invoices(subscription)] == [1000]


async def code_of(live: Caller, **more: Any) -> tuple[str, str]:
    """A coupon of 50 % once that one may redeem, and its word."""
    coupon = await live.made("/v1/coupons", {"name": "Half", "percent": "50", "cycles": 1, "limit_total": 1} | more)
    word = f"HALF{next(KEYS)}"
    await live.made(f"/v1/coupons/{coupon['id']}/promotion-codes", {"code": word})
    return coupon["id"], word


async def redeemed(live: Caller, coupon: str) -> int:
    return (await live.get(f"/v1/coupons/{coupon}")).json()["redeemed"]


async def test_a_promotion_code_is_redeemed_once_and_free_again_where_nothing_is_bought(
    live: Caller, shop: Shop
) -> None:
    (coupon, word), monthly = await code_of(live), await price(live, 2000)
    buyer = await customer(live, CARD)
    lines = [ENGRAVING, {"price_id": monthly}]
    order = await ordered(live, customer_id=buyer, lines=lines, promotion_code=word)
    assert (order["total"], await redeemed(live, coupon)) == (2500, 1)
    late = await live.post("/v1/orders", {"customer_id": buyer, "lines": lines, "promotion_code": word})
    assert (late.status_code, late.json()["code"]) == (409, "coupon_used_up")
    more = await done(live, order, "lines", {"lines": [ENGRAVING, {"price_id": monthly, "quantity": 2}]})
    assert (more["total"], await redeemed(live, coupon)) == (3500, 1), "it stays with the subscription in its place"
    less = await done(live, order, "lines", {"lines": [ENGRAVING]})
    assert (less["total"], await redeemed(live, coupon)) == (1500, 0)
    second = await ordered(live, customer_id=buyer, lines=lines, promotion_code=word)
    assert await redeemed(live, coupon) == 1
    await done(live, second, "cancel")
    assert await redeemed(live, coupon) == 0
    third = await ordered(live, customer_id=buyer, lines=lines, promotion_code=word, pay={"total": 2500})
    await done(live, third, "cancel", {"give_back": False, "end_subscriptions": False})
    assert await redeemed(live, coupon) == 1, "it was bought with"
    subscription = third["subscriptions"][0]["id"]
    assert (await live.post(f"/v1/subscriptions/{subscription}/advance", {"months": 1})).status_code == 200
    assert [row["total"] for row in await shop.invoices(subscription)] == [2000]


async def test_a_code_that_fits_nothing_takes_no_order(live: Caller) -> None:
    buyer, (_, word) = await customer(live, CARD), await code_of(live)
    for code, lines, status, said in (
        ("NOSUCHCODE", [{"price_id": await price(live)}], 422, "promotion_code"),
        (word, [ENGRAVING], 409, "wrong_product"),
    ):
        answer = await live.post("/v1/orders", {"customer_id": buyer, "lines": lines, "promotion_code": code})
        assert answer.status_code == status, answer.text
        found = answer.json()
        assert said in {found["code"], *(each["field"] for each in found.get("errors", []))}
    assert (await live.get("/v1/orders", customer_id=buyer)).json()["items"] == []


async def test_what_a_discount_makes_free_has_an_invoice_and_no_charge(live: Caller) -> None:
    (_, word), monthly = await code_of(live, percent="100"), await price(live, 2000)
    order = await ordered(
        live, customer_id=await customer(live), lines=[{"price_id": monthly}], promotion_code=word, pay={}
    )
    assert (order["status"], order["total"], order["charges"]) == ("paid", 0, [])
    assert (order["invoice"]["status"], order["invoice"]["total"]) == ("paid", 0)
    assert [each["status"] for each in order["subscriptions"]] == ["active"]
