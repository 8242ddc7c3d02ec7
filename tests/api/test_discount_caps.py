"""What an agent may give one customer, what takes a lead, and what a discount or a tax number may not be."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from api.keys import create_key
from domain.roles import Role
from models.session import Database
from tests.api.conftest import KEYS, Caller

pytestmark = [pytest.mark.stack, pytest.mark.timeout(120)]


@pytest.fixture
async def agent(http: httpx.AsyncClient, database: Database) -> Caller:
    return Caller(http, await create_key(database, f"agent {next(KEYS)}", Role.AGENT))


@pytest.fixture
async def lead(http: httpx.AsyncClient, database: Database) -> Caller:
    return Caller(http, await create_key(database, f"lead {next(KEYS)}", Role.LEAD))


@pytest.fixture
async def seller(api: Caller) -> AsyncIterator[None]:
    await api.put("/v1/rules/seller", {"name": "Boxes GmbH", "tax_id": "DE 136695976"})
    yield
    await api.put("/v1/rules/seller", {"name": "Boxes GmbH"})


async def test_an_agent_gives_up_to_the_cap_and_a_lead_more(
    api: Caller, agent: Caller, lead: Caller, customer: dict[str, Any]
) -> None:
    path = f"/v1/customers/{customer['id']}/discounts"
    assert (await agent.post(path, {"name": "Sorry", "percent": "20"})).status_code == 201
    for body in ({"name": "More", "percent": "20.001"}, {"name": "Five", "amount": 500, "currency": "EUR"}):
        refused = await agent.post(path, body)
        assert (refused.status_code, refused.json()["roles"]) == (403, ["lead", "admin"])
        assert (await lead.post(path, body)).status_code == 201
    rules = {"agent_percent": "12.5", "agent_amounts": {"EUR": 500}}
    assert (await agent.put("/v1/rules/discounts", rules)).status_code == 403
    assert (await lead.put("/v1/rules/discounts", rules)).json() == rules
    given = [
        (await agent.post(path, body)).status_code
        for body in (
            {"name": "a", "percent": "12.5"}, {"name": "b", "percent": "13"},
            {"name": "c", "amount": 500, "currency": "EUR"}, {"name": "d", "amount": 501, "currency": "EUR"},
            {"name": "e", "amount": 1, "currency": "USD"},
        )
    ]  # fmt: skip
    assert given == [201, 403, 201, 403, 403]
    await api.put("/v1/rules/discounts", {})
    shown = (await api.get(path)).json()["items"]
    assert sorted(each["name"] for each in shown) == ["Five", "More", "Sorry", "a", "c"]


@pytest.mark.parametrize(
    "body",
    [
        {"name": "x"},
        {"name": "x", "percent": "10", "amount": 5, "currency": "EUR"},
        {"name": "x", "percent": "0"},
        {"name": "x", "percent": "100.001"},
        {"name": "x", "percent": "10.0001"},
        {"name": "x", "percent": 10},
        {"name": "x", "percent": "10", "currency": "EUR"},
        {"name": "x", "amount": 5},
        {"name": "x", "amount": 0, "currency": "EUR"},
        {"name": "x", "amount": 5, "currency": "EUR", "cycles": 0},
        {"name": "", "percent": "10"},
        {"name": "x", "percent": "10", "products": ["prod_nowhere"]},
        {"name": "x", "percent": "10", "limit_total": 0},
        {"name": "x", "percent": "10", "valid_from": "2027-01-01T00:00:00Z", "valid_until": "2027-01-01T00:00:00Z"},
    ],
)
async def test_a_coupon_that_makes_no_sense_is_refused(api: Caller, body: dict[str, Any]) -> None:
    answer = await api.post("/v1/coupons", body)
    assert (answer.status_code, answer.json()["status"]) == (422, 422)


async def test_a_word_is_taken_once_in_any_case(api: Caller) -> None:
    coupon = await api.made("/v1/coupons", {"name": "x", "percent": "10"})
    path, word = f"/v1/coupons/{coupon['id']}/promotion-codes", f"word-{next(KEYS)}"
    made = await api.made(path, {"code": word})
    assert made["code"] == word.upper()
    again = await api.post(path, {"code": word.upper()})
    assert (again.status_code, again.json()["code"]) == (409, "already_exists")
    assert (await api.post(f"/v1/promotion-codes/{made['id']}/archive")).json()["archived_at"] is not None
    assert (await api.post(f"/v1/coupons/{coupon['id']}/archive")).json()["archived_at"] is not None


@pytest.mark.usefixtures("seller")
@pytest.mark.parametrize(
    ("tax_id", "code"),
    [
        ("DE136695976", "tax_id_of_own_country"),
        ("ATU13585628", "invalid_input"),
        ("", "tax_id_required"),
    ],
)
async def test_reverse_charge_takes_a_right_number_of_another_country(api: Caller, tax_id: str, code: str) -> None:
    body = {"email": "ada@example.com", "currency": "EUR", "tax_status": "reverse_charge"}
    answer = await api.post("/v1/customers", body | {"tax_id": tax_id})
    assert (answer.status_code, [each["code"] for each in answer.json()["errors"]]) == (422, [code])
    assert (await api.post("/v1/customers", body | {"tax_id": "ATU13585627"})).status_code == 201
