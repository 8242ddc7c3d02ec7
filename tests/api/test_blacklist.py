"""The blacklist over the API: who may write it, what it holds, and what it refuses."""

from __future__ import annotations

from typing import Any

import httpx
import pytest
from sqlalchemy import text

from api.keys import create_key
from domain.roles import Role
from models.session import Database
from tests.api.conftest import KEYS, Caller

PATH = "/v1/blacklist"


@pytest.fixture
async def lead(http: httpx.AsyncClient, database: Database) -> Caller:
    return Caller(http, await create_key(database, "lea", Role.LEAD))


@pytest.fixture
async def agent(http: httpx.AsyncClient, database: Database) -> Caller:
    return Caller(http, await create_key(database, "ann", Role.AGENT))


def entry(kind: str, value: str | None = None, **more: Any) -> dict[str, Any]:
    return {"kind": kind, "value": value, "reason": "three lost disputes"} | more


def address(**other: str) -> dict[str, str]:
    return {"line1": f"{next(KEYS)} High Street", "postal_code": "E1 6AN", "city": "London", "country": "GB"} | other


async def new_price(api: Caller) -> str:
    product = await api.made("/v1/products", {"code": f"box-{next(KEYS)}", "name": "Box"})
    body = {"product_id": product["id"], "code": "m", "currency": "EUR", "unit_amount": 1900}
    return (await api.made("/v1/prices", body | {"interval": {"count": 1, "unit": "month"}}))["id"]


async def order(api: Caller, customer: str) -> httpx.Response:
    return await api.post("/v1/subscriptions", {"customer_id": customer, "price_id": await new_price(api)})


async def test_a_lead_puts_on_and_takes_off(lead: Caller, api: Caller) -> None:
    name = f"jo{next(KEYS)}"
    listed = await lead.made(PATH, entry("email", f"{name[0].upper()}.{name[1:]}+1@GMail.com"))
    assert (listed["value"], listed["actor"], listed["removed_at"]) == (f"{name}@gmail.com", "lea", None)
    again = await lead.post(PATH, entry("email", f"{name}@googlemail.com"))
    assert (again.status_code, again.json()["code"]) == (409, "already_exists")
    assert listed in (await api.get(PATH, kind="email", limit=100)).json()["items"]
    for _ in range(2):
        assert (await lead.delete(f"{PATH}/{listed['id']}")).status_code == 204
    assert listed["id"] not in {each["id"] for each in (await api.get(PATH, limit=100)).json()["items"]}
    removed = (await api.get(PATH, removed=True, limit=100)).json()["items"]
    assert [each["removed_by"] for each in removed if each["id"] == listed["id"]] == ["lea"]
    assert (await lead.post(PATH, entry("email", f"{name}@gmail.com"))).status_code == 201


async def test_the_same_request_again_is_one_entry(lead: Caller) -> None:
    body = entry("fingerprint", f"fp_{next(KEYS)}")
    first, second = [await lead.post(PATH, body, key=f"once-{body['value']}") for _ in range(2)]
    assert (first.status_code, second.status_code) == (201, 201)
    assert first.json() == second.json()


async def test_an_agent_may_look_and_not_touch(agent: Caller, lead: Caller) -> None:
    refused = await agent.post(PATH, entry("email", "jo@example.com"))
    assert (refused.status_code, refused.json()["code"]) == (403, "forbidden_role")
    assert refused.json()["roles"] == ["lead", "admin"]
    listed = await lead.made(PATH, entry("fingerprint", f"fp_{next(KEYS)}"))
    assert (await agent.delete(f"{PATH}/{listed['id']}")).status_code == 403
    assert (await agent.get(PATH)).status_code == 200
    assert listed in (await agent.get(PATH, limit=100)).json()["items"]


@pytest.mark.parametrize(
    ("wrong", "field"),
    [
        (entry("email", "nobody"), "value"),
        (entry("email"), "value"),
        (entry("email", "jo@example.com", address=address()), "value"),
        (entry("phone", "030 901820"), "value"),
        (entry("fingerprint", " "), "value"),
        (entry("address"), "address"),
        (entry("address", "5 High Street"), "address"),
        (entry("address", "5", address=address()), "address"),
        (entry("address", address=address(line1="...")), "address"),
        (entry("address", address=address(postal_code="", city="")), "address"),
        (entry("address", address=address(country="Britain")), "address.country"),
        (entry("name", "Jo"), "kind"),
        (entry("email", "jo@example.com", reason=""), "reason"),
        (entry("email", "jo@example.com", reason=" "), "reason"),
        (entry("email", "jo@example.com", surprise=1), "surprise"),
        (entry("fingerprint", "x" * 501), "value"),
    ],
    ids=str,
)
async def test_a_bad_entry_is_refused(lead: Caller, wrong: dict[str, Any], field: str) -> None:
    response = await lead.post(PATH, wrong)
    assert (response.status_code, response.json()["errors"][0]["field"]) == (422, field)


async def test_there_is_no_such_thing(lead: Caller) -> None:
    assert (await lead.delete(f"{PATH}/blk_nobody")).status_code == 404
    response = await lead.get(PATH, customer_id="cus_nobody")
    assert (response.status_code, response.json()["errors"][0]["field"]) == (422, "customer_id")


async def test_by_email_phone_and_address_no_order_is_taken(lead: Caller, api: Caller) -> None:
    number, place = f"{next(KEYS):07}", address(line2="Flat 2")
    customer = await api.made(
        "/v1/customers", {"email": f"Jo{number}@example.com", "currency": "EUR", "phone": f"+49 (0)30 {number}"}
    )
    await api.made(f"/v1/customers/{customer['id']}/addresses", {"kind": "shipping", **place})
    marks = {
        "email address": entry("email", f"JO{number}@EXAMPLE.com"),
        "phone number": entry("phone", f"004930{number}"),
        "address": entry("address", address=place | {"line1": f"{place['line1']},", "city": "Tower Hamlets"}),
    }
    for word, body in marks.items():
        listed = await lead.made(PATH, body)
        met = (await api.get(PATH, customer_id=customer["id"])).json()["items"]
        assert [each["id"] for each in met] == [listed["id"]]
        refused = await order(api, customer["id"])
        assert (refused.status_code, refused.json()["code"]) == (403, "blacklisted")
        assert word in refused.json()["detail"]
        await lead.delete(f"{PATH}/{listed['id']}")


async def test_a_customer_with_a_blacklisted_card_orders_nothing_until_it_is_gone(
    lead: Caller, api: Caller, database: Database
) -> None:
    customer = await api.made("/v1/customers", {"email": "mia@example.com", "currency": "EUR"})
    number = next(KEYS)
    async with database.begin() as connection:
        await connection.execute(
            text(
                "INSERT INTO payment_methods (id, customer_id, gateway, token, kind, fingerprint)"
                " VALUES (:id, :customer, 'sandbox', 'tok', 'card', :fingerprint)"
            ),
            {"id": f"pm_bl_{number}", "customer": customer["id"], "fingerprint": f"fp_{number}"},
        )
    await lead.made(PATH, entry("fingerprint", f"fp_{number}"))
    refused = await order(api, customer["id"])
    assert (refused.status_code, refused.json()["code"]) == (403, "blacklisted")
    await api.delete(f"/v1/customers/{customer['id']}/payment-methods/pm_bl_{number}")
    assert (await api.get(PATH, customer_id=customer["id"])).json()["items"] == []


async def test_who_is_not_on_it_is_met_by_nothing(api: Caller, customer: dict[str, Any]) -> None:
    assert (await api.get(PATH, customer_id=customer["id"])).json()["items"] == []
