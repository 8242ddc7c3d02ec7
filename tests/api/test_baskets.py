"""Baskets through HTTP alone: offered within the rules, listed, edited, withdrawn; bad input changes nothing."""

from __future__ import annotations

from typing import Any

import pytest

from api.keys import create_key
from domain.roles import Role
from models.session import Database
from tests.api.conftest import KEYS, Caller

ENGRAVING: dict[str, Any] = {"description": "Engraving", "unit_amount": 1500}


@pytest.fixture
async def agent(api: Caller, database: Database) -> Caller:
    return Caller(api.http, await create_key(database, "agent of baskets", Role.AGENT))


async def customer(api: Caller) -> str:
    body = {"email": f"basket-{next(KEYS)}@example.com", "currency": "EUR", "time_zone": "Europe/Berlin"}
    return (await api.made("/v1/customers", body))["id"]


async def price(api: Caller, amount: int = 2000, **more: Any) -> str:
    product = await api.made("/v1/products", {"code": f"offer-{next(KEYS)}", "name": "Box"})
    body = {"product_id": product["id"], "code": "m", "currency": "EUR", "unit_amount": amount}
    return (await api.made("/v1/prices", body | {"interval": {"count": 1, "unit": "month"}} | more))["id"]


async def test_an_offer_is_pinned_linked_and_found(api: Caller, agent: Caller) -> None:
    buyer, monthly = await customer(api), await price(api)
    line = {"price_id": monthly, "unit_amount": 1700, "reason": "loyal"}
    body = {"customer_id": buyer, "lines": [line, ENGRAVING], "note": "Hello", "funnel": "list", "actor": "Anna"}
    made = await agent.made("/v1/baskets", body)
    assert (made["status"], made["total"], made["revision"], made["agent"]) == ("open", 3200, 1, "Anna")
    assert made["url"].startswith("https://pay.example.com/link/")
    assert [(each["unit_amount"], each["list_amount"], each["due_now"]) for each in made["lines"]] == [
        (1700, 2000, 1700),
        (1500, None, 1500),
    ]
    fresh = await agent.made(f"/v1/baskets/{made['id']}/link", {})
    assert (fresh["url"] != made["url"], fresh["expires_at"]) == (True, made["expires_at"])
    found = (await agent.get("/v1/baskets", customer_id=buyer, agent="Anna")).json()["items"]
    assert [each["id"] for each in found] == [made["id"]]
    links = (await agent.get(f"/v1/customers/{buyer}/links")).json()["items"]
    assert {(each["kind"], each["subject_id"]) for each in links} == {("basket", made["id"])}
    whole = (await agent.get(f"/v1/baskets/{made['id']}")).json()
    assert (whole["order"], whole["lines"]) == (None, made["lines"])
    assert "url" not in whole, "the address is only in the answer that made it"


async def test_the_same_request_again_is_the_same_basket(api: Caller) -> None:
    body = {"customer_id": await customer(api), "lines": [ENGRAVING]}
    first, second = [await api.post("/v1/baskets", body, key=f"basket-{body['customer_id']}") for _ in range(2)]
    assert first.json() == second.json()


async def test_special_prices_are_within_the_rules_of_orders(api: Caller, agent: Caller) -> None:
    buyer, monthly = await customer(api), await price(api)
    silent = await agent.post(
        "/v1/baskets", {"customer_id": buyer, "lines": [{"price_id": monthly, "unit_amount": 1900}]}
    )
    assert (silent.status_code, silent.json()["errors"][0]["field"]) == (422, "lines.0.reason")
    low = {"price_id": monthly, "unit_amount": 1599, "reason": "loyal"}
    beyond = await agent.post("/v1/baskets", {"customer_id": buyer, "lines": [low]})
    assert (beyond.status_code, beyond.json()["code"]) == (409, "special_price_beyond_limit")
    made = await agent.made("/v1/baskets", {"customer_id": buyer, "lines": [ENGRAVING]})
    edited = await agent.post(f"/v1/baskets/{made['id']}/lines", {"lines": [low]})
    assert (edited.status_code, edited.json()["code"]) == (409, "special_price_beyond_limit")
    assert (await api.made("/v1/baskets", {"customer_id": buyer, "lines": [low]}))["total"] == 1599


async def test_it_is_edited_and_withdrawn_until_it_ends(api: Caller) -> None:
    made = await api.made("/v1/baskets", {"customer_id": await customer(api), "lines": [ENGRAVING]})
    path = f"/v1/baskets/{made['id']}"
    edited = await api.post(f"{path}/lines", {"lines": [ENGRAVING | {"quantity": 2}], "revision": 1})
    assert (edited.json()["total"], edited.json()["revision"]) == (3000, 2)
    late = await api.post(f"{path}/lines", {"lines": [ENGRAVING], "revision": 1})
    assert (late.status_code, late.json()["code"]) == (409, "changed_meanwhile")
    first, again = [(await api.post(f"{path}/cancel")).json() for _ in range(2)]
    assert (first["status"], first["withdrawn_at"]) == ("withdrawn", again["withdrawn_at"])
    for command, body in (("lines", {"lines": [ENGRAVING]}), ("link", None)):
        closed = await api.post(f"{path}/{command}", body)
        assert (closed.status_code, closed.json()["code"]) == (409, "basket_withdrawn")


async def test_bad_input_names_the_field_and_offers_nothing(api: Caller) -> None:
    buyer = await customer(api)
    dollars = await price(api, currency="USD")
    wrong: list[tuple[dict[str, Any], str]] = [
        ({"customer_id": "cus_nobody"}, "customer_id"),
        ({"expires_at": "2020-01-01T00:00:00Z"}, "expires_at"),
        ({"expires_at": "2090-01-01T00:00:00Z"}, "expires_at"),
        ({"lines": []}, "lines"),
        ({"lines": [{"price_id": dollars}]}, "lines.0.price_id"),
    ]
    for change, field in wrong:
        answer = await api.post("/v1/baskets", {"customer_id": buyer, "lines": [ENGRAVING]} | change)
        assert (answer.status_code, answer.json()["errors"][0]["field"]) == (422, field), answer.text
    assert (await api.get("/v1/baskets", customer_id=buyer)).json()["items"] == []
    assert (await api.get("/v1/baskets/bsk_nowhere")).status_code == 404


async def test_who_is_on_the_blacklist_is_offered_nothing(api: Caller) -> None:
    email = f"blocked-{next(KEYS)}@example.com"
    buyer = (await api.made("/v1/customers", {"email": email, "currency": "EUR", "time_zone": "UTC"}))["id"]
    await api.made("/v1/blacklist", {"kind": "email", "value": email, "reason": "lost disputes"})
    refused = await api.post("/v1/baskets", {"customer_id": buyer, "lines": [ENGRAVING]})
    assert (refused.status_code, refused.json()["code"]) == (403, "blacklisted")
