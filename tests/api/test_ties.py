"""Parents and children over the API: two levels and no more, also when two requests race, and whose card is charged."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import httpx
import pytest
from sqlalchemy import text

from api.keys import create_key
from models.session import Database
from tests.api.conftest import KEYS, Caller
from tests.stack_fixtures import Shop, at


async def people(api: Caller, count: int) -> list[str]:
    made = [await api.made("/v1/customers", {"email": "kin@example.com", "currency": "EUR"}) for _ in range(count)]
    return [each["id"] for each in made]


async def tie(api: Caller, child: str, parent: str, pays: str = "self") -> httpx.Response:
    return await api.put(f"/v1/customers/{child}/parent", {"parent_id": parent, "pays": pays})


def refused(response: httpx.Response) -> tuple[int, str]:
    return response.status_code, response.json()["code"]


async def card(database: Database, customer: str) -> None:
    async with database.begin() as connection:
        await connection.execute(
            text(
                "INSERT INTO payment_methods (id, customer_id, gateway, token, kind)"
                " VALUES (:id, :customer, 'sandbox', 'tok', 'card')"
            ),
            {"id": f"pm_tie_{next(KEYS)}", "customer": customer},
        )


async def test_a_child_has_a_parent_and_the_parent_sees_it(api: Caller, database: Database) -> None:
    parent, child = await people(api, 2)
    await card(database, parent)
    response = await tie(api, child, parent, "parent")
    wanted = {
        "customer_id": child,
        "parent_id": parent,
        "pays": "parent",
        "charged_customer_id": parent,
        "methods": 1,
        "task_id": None,
    }
    assert (response.status_code, response.json()) == (200, wanted)
    assert (await tie(api, child, parent, "parent")).json() == wanted, "said twice is said once"
    shown = (await api.get(f"/v1/customers/{child}")).json()
    assert (shown["parent_id"], shown["pays"]) == (parent, "parent")
    (listed,) = (await api.get(f"/v1/customers/{parent}/children")).json()["items"]
    assert listed == shown | {"subscriptions": 0}
    log = (await api.get(f"/v1/customers/{child}/changes")).json()["items"]
    assert [(line["field"], line["old"], line["new"]) for line in log] == [
        ("pays", "self", "parent"),
        ("parent_id", None, parent),
    ]


async def test_there_are_two_levels_and_no_more(api: Caller) -> None:
    top, middle, low = await people(api, 3)
    assert (await tie(api, middle, top)).status_code == 200
    assert refused(await tie(api, low, middle)) == (409, "third_level")
    assert refused(await tie(api, top, low)) == (409, "third_level")
    assert refused(await tie(api, top, middle)) == (409, "third_level"), "that would be a circle"
    assert refused(await tie(api, low, low)) == (422, "own_parent")
    assert refused(await tie(api, low, "cus_nobody")) == (422, "unknown_reference")
    assert refused(await tie(api, "cus_nobody", top)) == (404, "not_found")
    assert refused(await api.delete("/v1/customers/cus_nobody/parent")) == (404, "not_found")
    assert (await tie(api, low, top)).status_code == 200
    page = await api.get(f"/v1/customers/{top}/children", limit=1)
    rest = await api.get(f"/v1/customers/{top}/children", limit=1, cursor=page.json()["next_cursor"])
    assert [page.json()["items"][0]["id"], rest.json()["items"][0]["id"]] == [low, middle]


@pytest.mark.parametrize("attempt", range(5))
async def test_two_at_once_make_neither_a_circle_nor_a_third_level(api: Caller, attempt: int) -> None:
    first, second, third = await people(api, 3)
    circle = await asyncio.gather(tie(api, first, second), tie(api, second, first))
    assert sorted(response.status_code for response in circle) == [200, 409], attempt
    parent, child = (second, first) if circle[0].status_code == 200 else (first, second)
    await api.delete(f"/v1/customers/{child}/parent")
    chain = await asyncio.gather(tie(api, child, parent), tie(api, parent, third))
    assert sorted(response.status_code for response in chain) == [200, 409]


async def test_a_tie_that_ends_leaves_the_child_its_own_method_or_asks_for_one(api: Caller, database: Database) -> None:
    parent, poor, rich = await people(api, 3)
    await card(database, rich)
    for child in (poor, rich):
        await tie(api, child, parent, "parent")
    left = (await api.delete(f"/v1/customers/{rich}/parent")).json()
    assert (left["parent_id"], left["pays"], left["methods"], left["task_id"]) == (None, "self", 1, None)
    for _ in range(2):  # made and ended again, it asks again
        left = (await api.delete(f"/v1/customers/{poor}/parent")).json()
        assert (left["charged_customer_id"], left["methods"]) == (poor, 0)
        task = (await api.get(f"/v1/tasks/{left['task_id']}")).json()
        assert (task["kind"], task["customer_id"], task["status"]) == ("method_missing", poor, "open")
        again = (await api.delete(f"/v1/customers/{poor}/parent")).json()
        assert again == left | {"task_id": None}
        await tie(api, poor, parent, "parent")
    paying = (await tie(api, poor, parent, "self")).json()
    assert (paying["parent_id"], paying["charged_customer_id"]) == (parent, poor)
    assert paying["task_id"] is not None, "a child that is to pay for itself needs a method as well"


async def test_a_blacklisted_parent_pays_for_nobody(api: Caller) -> None:
    parent, child, late = await people(api, 3)
    email = f"bad{next(KEYS)}@example.com"
    await tie(api, late, parent, "parent")
    await api.patch(f"/v1/customers/{parent}", {"email": email})
    await api.made("/v1/blacklist", {"kind": "email", "value": email, "reason": "disputes"})
    assert refused(await tie(api, child, parent, "parent")) == (403, "blacklisted")
    assert (await tie(api, child, parent, "self")).status_code == 200
    order = {"customer_id": late, "price_id": "price_nobody"}
    blocked = await api.post("/v1/subscriptions", order)
    assert blocked.status_code in {403, 422}
    product = await api.made("/v1/products", {"code": f"tie-{next(KEYS)}", "name": "Box"})
    price = await api.made(
        "/v1/prices",
        {
            "product_id": product["id"],
            "code": "m",
            "currency": "EUR",
            "unit_amount": 100,
            "interval": {"count": 1, "unit": "month"},
        },
    )
    blocked = await api.post("/v1/subscriptions", {"customer_id": late, "price_id": price["id"]})
    assert refused(blocked) == (403, "blacklisted")


@pytest.fixture
async def live(shop: Shop) -> AsyncIterator[Caller]:
    key = await create_key(shop.database, f"ties-{next(KEYS)}")
    async with httpx.AsyncClient(base_url=shop.stack.api_url, timeout=60, trust_env=False) as http:
        yield Caller(http, key)


@pytest.mark.stack
async def test_a_childs_rebill_is_on_the_parents_card_and_on_both_pages(shop: Shop, live: Caller) -> None:
    parent, child = await shop.customer("tok_ok_visa"), await shop.customer()
    assert (await tie(live, child, parent, "parent")).json()["methods"] == 1
    state = await shop.start(child, await shop.terms(), start_at=at("2027-01-31", 9))
    await shop.until(state.id, at("2027-02-28", 9) + timedelta(hours=1))

    async def charges(customer: str) -> list[dict[str, Any]]:
        return (await live.get("/v1/charges", customer_id=customer)).json()["items"]

    of_child = await charges(child)
    assert [each["status"] for each in of_child] == ["approved", "approved"]
    assert of_child == await charges(parent)
    methods = (await live.get(f"/v1/customers/{parent}/payment-methods")).json()["items"]
    for each in of_child:
        assert (each["customer_id"], each["payer_id"]) == (child, parent)
        assert each["payment_method_id"] == methods[0]["id"]
    told = (await live.get("/v1/messages", customer_id=child, template="receipt")).json()["items"]
    assert {each["recipient"] for each in told} == {f"{child}@example.com"}
    assert (await live.get("/v1/messages", customer_id=parent)).json()["items"] == []

    left = (await live.delete(f"/v1/customers/{child}/parent")).json()
    assert left["task_id"] is not None
    await shop.until(state.id, at("2027-03-31", 9) + timedelta(hours=1))
    assert await charges(parent) == await charges(child) == of_child, "what was paid stays on both pages"
    (unpaid,) = [each for each in await shop.invoices(state.id) if each["status"] == "open"]
    assert unpaid["cycle"] == 3, "the parent's card pays no more"

    assert (await tie(live, child, parent, "parent")).status_code == 200
    added = await live.post(f"/v1/customers/{parent}/payment-methods", {"token": "tok_ok_mastercard"})
    assert added.status_code == 201, added.text
    assert [each["payer_id"] for each in await charges(child)] == [parent] * 3, "a new card pays what the child owes"
