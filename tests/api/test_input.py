"""Bad input: 422, the field named, nothing changed."""

from __future__ import annotations

import base64
from typing import Any

import pytest
from sqlalchemy import func, select

from models import Customer, Price
from models.session import Database
from tests.api.conftest import Caller

CUSTOMER: dict[str, Any] = {"email": "grace@example.com", "currency": "EUR"}

BAD_CUSTOMERS: list[tuple[dict[str, Any], str]] = [
    ({"email": "no-at-sign"}, "email"),
    ({"email": "a@b"}, "email"),
    ({"email": 5}, "email"),
    ({"email": None}, "email"),
    ({"email": "x" * 250 + "@example.com"}, "email"),
    ({"currency": "EURO"}, "currency"),
    ({"currency": "eur"}, "currency"),
    ({"currency": "XAU"}, "currency"),
    ({"time_zone": "Mars/Olympus"}, "time_zone"),
    ({"time_zone": "../etc/passwd"}, "time_zone"),
    ({"time_zone": "Europe"}, "time_zone"),
    ({"language": "klingon"}, "language"),
    ({"first_name": "a\u0000b"}, "first_name"),
    ({"first_name": "a\nb"}, "first_name"),
    ({"first_name": "x" * 201}, "first_name"),
    ({"notice_days": "5"}, "notice_days"),
    ({"notice_days": 5.0}, "notice_days"),
    ({"notice_days": True}, "notice_days"),
    ({"notice_days": -1}, "notice_days"),
    ({"notice_days": 61}, "notice_days"),
    ({"notice_days": 10**30}, "notice_days"),
    ({"tax_status": "rich"}, "tax_status"),
    ({"external_id": ""}, "external_id"),
    ({"external_id": "a b"}, "external_id"),
    ({"dunning_policy_id": "dun_nobody"}, "dunning_policy_id"),
    ({"tags": ["ok", ""]}, "tags.1"),
    ({"tags": "vip"}, "tags"),
    ({"surprise": 1}, "surprise"),
]


@pytest.mark.parametrize(("wrong", "field"), BAD_CUSTOMERS, ids=str)
async def test_a_bad_customer_is_refused(api: Caller, database: Database, wrong: dict[str, Any], field: str) -> None:
    async with database.session() as session:
        before = await session.scalar(select(func.count()).select_from(Customer))
    response = await api.post("/v1/customers", CUSTOMER | wrong)
    assert response.status_code == 422
    problem = response.json()
    assert response.headers["Content-Type"] == "application/problem+json"
    assert problem["errors"][0]["field"] == field
    assert problem["status"] == 422
    async with database.session() as session:
        assert await session.scalar(select(func.count()).select_from(Customer)) == before


@pytest.mark.parametrize(("wrong", "field"), [case for case in BAD_CUSTOMERS if case[1] != "surprise"], ids=str)
async def test_a_bad_change_is_refused(
    api: Caller, customer: dict[str, Any], wrong: dict[str, Any], field: str
) -> None:
    path = f"/v1/customers/{customer['id']}"
    response = await api.patch(path, wrong)
    assert (response.status_code, response.json()["errors"][0]["field"]) == (422, field)
    assert (await api.get(path)).json() == customer


PRICE: dict[str, Any] = {
    "code": "monthly",
    "currency": "EUR",
    "unit_amount": 1900,
    "interval": {"count": 1, "unit": "month"},
}

BAD_PRICES: list[tuple[dict[str, Any], str]] = [
    ({"unit_amount": -1}, "unit_amount"),
    ({"unit_amount": 19.0}, "unit_amount"),
    ({"unit_amount": "1900"}, "unit_amount"),
    ({"unit_amount": True}, "unit_amount"),
    ({"unit_amount": 10**16}, "unit_amount"),
    ({"unit_amount": None}, "unit_amount"),
    ({"setup_fee": -1}, "setup_fee"),
    ({"interval": {"count": 0, "unit": "month"}}, "interval.count"),
    ({"interval": {"count": 121, "unit": "month"}}, "interval.count"),
    ({"interval": {"count": 1, "unit": "fortnight"}}, "interval.unit"),
    ({"interval": {"count": 1}}, "interval.unit"),
    ({"interval": "month"}, "interval"),
    ({"trial_days": 731}, "trial_days"),
    ({"option": "green"}, "option"),
    ({"product_id": "prod_nobody"}, "product_id"),
    ({"product_id": "a/../b"}, "product_id"),
    ({"policy": {"month_end": "whatever"}}, "policy.month_end"),
    ({"policy": {"pause": "immediate"}}, "policy.pause"),
    ({"policy": {"alignment": {}}}, "policy.alignment"),
    ({"policy": {"alignment": {"day_of_month": 1, "last_day": True}}}, "policy.alignment"),
    ({"policy": {"alignment": {"day_of_month": 32}}}, "policy.alignment.day_of_month"),
    ({"policy": {"alignment": {"weekday": 0}}}, "policy.alignment.weekday"),
    ({"code": "not a code"}, "code"),
]


@pytest.mark.parametrize(("wrong", "field"), BAD_PRICES, ids=str)
async def test_a_bad_price_is_refused(
    api: Caller, database: Database, product: dict[str, Any], wrong: dict[str, Any], field: str
) -> None:
    response = await api.post("/v1/prices", {**PRICE, "product_id": product["id"]} | wrong)
    assert (response.status_code, response.json()["errors"][0]["field"]) == (422, field)
    async with database.session() as session:
        assert await session.scalar(select(func.count()).where(Price.product_id == product["id"])) == 0


BODIES: list[tuple[bytes, str, str]] = [
    (b"", "application/json", "body"),
    (b"{", "application/json", "body"),
    (b"[]", "application/json", "body"),
    (b"null", "application/json", "body"),
    (b'"text"', "application/json", "body"),
    (b"\xff\xfe", "application/json", "body"),
    (b'{"email": "a@example.com", "currency": "EUR"}', "text/plain", "body"),
    (b'{"email": "\\ud800@example.com", "currency": "EUR"}', "application/json", "email"),
    (b'{"email": "a@example.com", "currency": "EUR", "notice_days": NaN}', "application/json", "notice_days"),
    (b"[" * 100_000, "application/json", "body"),
    (
        b'{"email": "a@example.com", "currency": "EUR", "title": "' + b"x" * 1_100_000 + b'"}',
        "application/json",
        "body",
    ),
    (b'{"notice_days": ' + b"9" * 10_000 + b"}", "application/json", "body"),
]


@pytest.mark.parametrize(("body", "content_type", "field"), BODIES, ids=lambda case: str(case)[:40])
async def test_a_body_that_is_none_is_refused(api: Caller, body: bytes, content_type: str, field: str) -> None:
    headers = {"Authorization": f"Bearer {api.key}", "Idempotency-Key": "body", "Content-Type": content_type}
    response = await api.http.post("/v1/customers", content=body, headers=headers)
    assert response.status_code == 422, response.text
    assert field in {error["field"] for error in response.json()["errors"]}


async def test_an_oversized_body_is_refused_before_it_is_read(api: Caller) -> None:
    sent = 0

    async def endless():  # noqa: ANN202
        nonlocal sent
        while True:
            sent += 65_536
            yield b" " * 65_536

    headers = {"Authorization": f"Bearer {api.key}", "Idempotency-Key": "endless", "Content-Type": "application/json"}
    response = await api.http.post("/v1/customers", content=endless(), headers=headers)
    assert (response.status_code, response.json()["code"]) == (422, "body_too_large")
    assert sent < 2 * 1024 * 1024


OTHER_LIST = base64.urlsafe_b64encode(b'["products","2026-01-01T00:00:00+00:00","prod_x"]').decode()


@pytest.mark.parametrize(
    ("path", "field"),
    [
        ("/v1/customers?limit=0", "limit"),
        ("/v1/customers?limit=101", "limit"),
        ("/v1/customers?limit=ten", "limit"),
        ("/v1/customers?surprise=1", "surprise"),
        ("/v1/customers?cursor=zzz", "cursor"),
        ("/v1/customers?cursor=WyJwcm9kdWN0cyIsMSwyXQ==", "cursor"),
        (f"/v1/customers?cursor={OTHER_LIST}", "cursor"),
        ("/v1/customers?email=%00", "email"),
        ("/v1/products?archived=perhaps", "archived"),
        ("/v1/customers/cus_x?verbose=1", "verbose"),
        ("/v1/customers/a%00b", "customer_id"),
    ],
)
async def test_a_bad_address_is_refused(api: Caller, path: str, field: str) -> None:
    response = await api.get(path)
    assert (response.status_code, response.json()["errors"][0]["field"]) == (422, field)


@pytest.mark.parametrize(
    "path", ["/v1/customers/cus_nobody", "/v1/products/x", "/v1/prices/x", "/v1/dunning-policies/x", "/v1/nothing"]
)
async def test_what_is_not_there_is_404(api: Caller, path: str) -> None:
    response = await api.get(path)
    assert (response.status_code, response.json()["code"]) == (404, "not_found")
    assert response.headers["Content-Type"] == "application/problem+json"


async def test_a_wrong_method_is_405(api: Caller) -> None:
    response = await api.delete("/v1/customers")
    assert (response.status_code, response.json()["code"]) == (405, "method_not_allowed")


async def test_a_taken_external_id_is_409_and_named(api: Caller) -> None:
    await api.made("/v1/customers", CUSTOMER | {"external_id": "crm-1"})
    response = await api.post("/v1/customers", CUSTOMER | {"external_id": "crm-1"})
    assert (response.status_code, response.json()["code"]) == (409, "already_exists")
    assert response.json()["errors"][0]["field"] == "external_id"
