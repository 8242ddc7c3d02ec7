"""Merges through HTTP alone: the pointer, what shows the whole, guests, and walks over every route of a customer."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from api.app import ROUTERS
from api.keys import create_key
from api.routing import Route
from local.stack import Stack
from models.session import Database
from tests.api.conftest import KEYS, Caller

pytestmark = [pytest.mark.stack, pytest.mark.timeout(180)]

CARD = "tok_ok_visa"
ROUTES = [route for router in ROUTERS for route in router.routes if isinstance(route, Route)]


@pytest.fixture(scope="module")
async def live(stack: Stack) -> AsyncIterator[Caller]:
    database = Database.connect(stack.database_url, application_name="tests", pool_max=1)
    key = await create_key(database, "merger")
    await database.close()
    async with httpx.AsyncClient(base_url=stack.api_url, timeout=60, trust_env=False) as client:
        yield Caller(client, key)


async def person(live: Caller, **more: Any) -> dict[str, Any]:
    number = next(KEYS)
    body = {"email": f"m{number}@merge.example", "currency": "EUR", "last_name": f"Quillmerge{number}"}
    return await live.made("/v1/customers", body | more)


async def merged(live: Caller, master: str, loser: str) -> dict[str, Any]:
    asked = await live.post("/v1/merges", {"master_id": master, "loser_id": loser, "reason": "one person"})
    assert asked.status_code == 202, asked.text
    while (now := (await live.get(f"/v1/merges/{asked.json()['id']}")).json())["status"] == "running":
        pass
    return now


def said(response: httpx.Response) -> tuple[int, str]:
    return response.status_code, response.json()["code"]


async def bought(live: Caller, customer: str) -> dict[str, Any]:
    await live.made(f"/v1/customers/{customer}/payment-methods", {"token": CARD})
    product = await live.made("/v1/products", {"code": f"box-{next(KEYS)}", "name": "Box"})
    price = await live.made(
        "/v1/prices",
        {"product_id": product["id"], "code": "m", "currency": "EUR", "unit_amount": 1900,
         "interval": {"count": 1, "unit": "month"}},
    )  # fmt: skip
    body = {"customer_id": customer, "price_id": price["id"]}
    return await live.made("/v1/subscriptions", body)


async def test_the_master_shows_the_whole_and_the_loser_only_points(live: Caller) -> None:
    master, loser = await person(live), await person(live)
    await bought(live, master["id"])
    subscription = await bought(live, loser["id"])
    await live.made(f"/v1/customers/{loser['id']}/notes", {"text": "likes blue"})
    pair = {"master_id": master["id"], "loser_id": loser["id"]}
    preview = (await live.post("/v1/merges/preview", pair)).json()
    assert preview["refused"] is None
    assert {name: preview["moves"][name] for name in ("subscriptions", "invoices", "payment_methods", "notes")} == {
        "subscriptions": 1, "invoices": 1, "payment_methods": 1, "notes": 1,
    }  # fmt: skip
    assert preview["warnings"] == ["other_card_first", "other_name"]
    worth = [
        (await live.get(f"/v1/customers/{each['id']}/lifetime-value")).json()["own"][0]["value"]
        for each in (master, loser)
    ]
    done = await merged(live, master["id"], loser["id"])
    assert (done["status"], done["actor"], done["reason"]) == ("done", "merger", "one person")
    rows = (await live.get(f"/v1/merges/{done['id']}/moves", limit=100)).json()["items"]
    assert sum(done["moved"].values()) == len(rows)
    page = (await live.get(f"/v1/customers/{master['id']}/overview")).json()
    assert len(page["subscriptions"]["items"]) == 2
    assert len(page["payment_methods"]["items"]) == 1, "both had the same card: it is one"
    assert [note["text"] for note in page["notes"]["items"]] == ["likes blue"]
    assert page["lifetime_value"]["own"][0]["value"] == sum(worth) == 3800
    entries = (await live.get("/v1/ledger/entries", customer_id=master["id"], limit=100)).json()["items"]
    assert {entry["subscription_id"] for entry in entries} >= {subscription["id"]}
    for query in (loser["id"], loser["email"], loser["last_name"], subscription["id"]):
        hits = (await live.get("/v1/search", q=query)).json()["items"]
        assert [hit["customer_id"] for hit in hits] == [master["id"]], query
    listed = (await live.get("/v1/customers", email=loser["email"])).json()["items"]
    assert listed == [], "the loser is in no list"
    gone = await live.get(f"/v1/customers/{loser['id']}")
    assert (*said(gone), gone.json()["merged_into"]) == (410, "merged", master["id"])
    assert said(await live.post("/v1/merges", pair)) == (410, "merged")
    assert said(await live.delete(f"/v1/customers/{master['id']}")) == (409, "billed")
    undone = await live.post(f"/v1/merges/{done['id']}/undo", {"reason": "two people"})
    assert (undone.status_code, undone.json()["status"]) == (200, "undone")
    assert (await live.get(f"/v1/customers/{loser['id']}")).status_code == 200
    hits = (await live.get("/v1/search", q=loser["last_name"])).json()["items"]
    assert [hit["customer_id"] for hit in hits] == [loser["id"]]
    assert said(await live.post(f"/v1/merges/{done['id']}/undo", {"reason": "again"})) == (409, "undo_over")


async def test_every_route_of_a_customer_points_to_the_master(live: Caller) -> None:
    """Reading or writing: nothing is done for a customer who is another one by now."""
    master, loser = await person(live), await person(live)
    address = await live.made(
        f"/v1/customers/{loser['id']}/addresses", {"kind": "billing", "line1": "1 Road", "city": "Ulm", "country": "DE"}
    )
    await merged(live, master["id"], loser["id"])
    described = (await live.get("/v1/openapi.json")).json()
    asked = 0
    for route in ROUTES:
        if "{customer_id}" not in route.path:
            continue
        path = route.path.replace("{customer_id}", loser["id"]).replace("{address_id}", address["id"])
        path = re.sub(r"\{\w+\}", "x_1", path)
        for method in sorted(route.methods or ()):
            body = example_of(described, method, route.path)
            if path.endswith("/payment-methods"):
                body = body and {"token": CARD}  # the gateway is asked first whether it knows the token
            headers = {"Authorization": f"Bearer {live.key}"}
            headers |= {"Idempotency-Key": f"walk-{next(KEYS)}"} if method == "POST" else {}
            response = await live.http.request(method, f"/v1{path}", json=body, headers=headers)
            assert response.status_code == 410, (method, route.path, response.text)
            assert response.json()["merged_into"] == master["id"]
            asked += 1
    assert asked > 40
    for path in ("/v1/subscriptions", "/v1/invoices", "/v1/charges", "/v1/tasks", "/v1/logs/activity"):
        assert said(await live.get(path, customer_id=loser["id"])) == (410, "merged"), path


def example_of(described: dict[str, Any], method: str, path: str) -> Any:
    """The example of its body in the API's own description, or None."""
    body = described["paths"][f"/v1{path}"][method.lower()].get("requestBody")
    if body is None:
        return None
    schema = body["content"]["application/json"]["schema"]
    names = [each["$ref"] for each in (schema, *schema.get("anyOf", ())) if "$ref" in each]
    return described["components"]["schemas"][names[0].rpartition("/")[2]]["examples"][0]


async def test_a_guest_goes_in_by_a_verified_address_and_by_nothing_else(live: Caller) -> None:
    number = next(KEYS)
    address, name = f"guest.{number}@gmail.com", {"first_name": "Gus", "last_name": f"Samename{number}"}
    master = await person(live, email=address, **name)
    # The same name and the same address, typed only: two customers.
    typed = await person(live, email=address, guest=True, **name)
    assert typed["merged_into"] is None
    proved = await person(live, email=address, guest=True, email_verified=True, **name)
    assert proved["merged_into"] is None, "the customer's own address is not verified yet"
    wrong = await live.put(f"/v1/customers/{master['id']}/verified-email", {"email": "other@example.com"})
    assert said(wrong) == (422, "email_changed")
    verified = await live.put(f"/v1/customers/{master['id']}/verified-email", {"email": address})
    assert verified.status_code == 200, verified.text
    assert verified.json()["verified_at"] is not None
    pointer = await live.get(f"/v1/customers/{proved['id']}")
    assert (*said(pointer), pointer.json()["merged_into"]) == (410, "merged", master["id"])
    assert (await live.get(f"/v1/customers/{typed['id']}")).status_code == 200, "what was only typed proves nothing"
    # From now on at once, also where the address is written differently.
    again = await person(live, email=f"Guest{number}+shop@googlemail.com", guest=True, email_verified=True)
    assert again["merged_into"] == master["id"]
    (merge,) = (await live.get("/v1/merges", customer=again["id"])).json()["items"]
    assert (merge["source"], merge["actor"]) == ("guest", "system")
    # An account is no guest, and a changed address is not verified.
    account = await person(live, email=address, email_verified=True)
    assert account["merged_into"] is None
    changed = await live.patch(f"/v1/customers/{account['id']}", {"email": f"new{number}@gmail.com"})
    assert changed.json()["verified_at"] is None


async def test_a_guest_who_may_not_be_merged_is_a_task(live: Caller) -> None:
    address = f"sam{next(KEYS)}@merge.example"
    master = await person(live, email=address, email_verified=True)
    parent = await person(live)
    guest = await person(live, email=address, guest=True)
    tie = await live.put(f"/v1/customers/{guest['id']}/parent", {"parent_id": parent["id"], "pays": "parent"})
    assert tie.status_code == 200
    verified = await live.put(f"/v1/customers/{guest['id']}/verified-email", {"email": address})
    assert verified.json()["merged_into"] is None
    (task,) = (await live.get("/v1/tasks", customer_id=master["id"])).json()["items"]
    assert (task["kind"], task["subject_id"]) == ("guest_not_merged", guest["id"])


async def test_who_is_blacklisted_stays_so(live: Caller) -> None:
    master, loser = await person(live), await person(live)
    entry = {"kind": "email", "value": loser["email"], "reason": "fraud"}
    await live.made("/v1/blacklist", entry)
    pair = {"master_id": master["id"], "loser_id": loser["id"]}
    preview = (await live.post("/v1/merges/preview", pair)).json()
    assert (preview["refused"], preview["warnings"][0]) == (None, "blacklisted")
    await merged(live, master["id"], loser["id"])
    response = await live.post(f"/v1/customers/{master['id']}/payment-methods", {"token": CARD})
    assert response.json()["code"] == "blacklisted"
