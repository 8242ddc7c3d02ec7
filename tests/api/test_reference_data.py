"""Customers, addresses, catalogue and policies: what is written is what is read, and every list has an end."""

from __future__ import annotations

from typing import Any

from api.keys import create_key, list_keys, revoke_key
from api.paging import LIMIT_MAX
from models.session import Database
from tests.api.conftest import KEYS, Caller


async def test_a_customer_is_changed_field_by_field_and_each_change_is_kept(
    api: Caller, customer: dict[str, Any]
) -> None:
    path = f"/v1/customers/{customer['id']}"
    changed = await api.patch(path, {"phone": "+49 30 1234567", "tags": ["vip"], "first_name": ""})
    assert changed.status_code == 200
    assert changed.json() == customer | {
        "phone": "+49301234567",
        "tel": "tel:+49301234567",
        "tags": ["vip"],
        "updated_at": changed.json()["updated_at"],
    }
    assert changed.json()["updated_at"] > customer["updated_at"]
    log = (await api.get(f"{path}/changes")).json()["items"]
    assert {(each["field"], each["old"], each["new"], each["actor"]) for each in log} == {
        ("phone", "", "+49301234567", "tests"),
        ("tags", "", "vip", "tests"),
    }


async def test_a_patch_that_changes_nothing_leaves_no_trace(api: Caller, customer: dict[str, Any]) -> None:
    path = f"/v1/customers/{customer['id']}"
    same = await api.patch(path, {"email": customer["email"], "language": "en"})
    assert same.json() == customer
    assert (await api.get(f"{path}/changes")).json()["items"] == []


async def test_customers_are_found_by_email_external_id_and_tag(api: Caller) -> None:
    made = await api.made(
        "/v1/customers", {"email": "Find.Me@example.com", "currency": "EUR", "external_id": "find-1", "tags": ["found"]}
    )
    for query in ({"email": "find.me@EXAMPLE.com"}, {"external_id": "find-1"}, {"tag": "found"}):
        assert [each["id"] for each in (await api.get("/v1/customers", **query)).json()["items"]] == [made["id"]]


async def test_a_list_is_walked_page_by_page_without_gap_or_repetition(api: Caller) -> None:
    tag = f"walk-{next(KEYS)}"
    made = [
        (await api.made("/v1/customers", {"email": "w@example.com", "currency": "EUR", "tags": [tag]}))["id"]
        for _ in range(7)
    ]
    seen: list[str] = []
    cursor: dict[str, str] = {}
    while True:
        page = (await api.get("/v1/customers", tag=tag, limit=3, **cursor)).json()
        seen += [each["id"] for each in page["items"]]
        if page["next_cursor"] is None:
            break
        cursor = {"cursor": page["next_cursor"]}
    assert seen == made[::-1]
    assert LIMIT_MAX == 100


async def test_one_address_of_each_kind_is_the_default(api: Caller, customer: dict[str, Any]) -> None:
    path = f"/v1/customers/{customer['id']}/addresses"
    place = {"line1": "1 Road", "city": "Ulm", "country": "DE"}
    first = await api.made(path, place | {"kind": "billing"})
    second = await api.made(path, place | {"kind": "billing"})
    other = await api.made(path, place | {"kind": "shipping"})
    assert (first["is_default"], second["is_default"], other["is_default"]) == (True, False, True)
    await api.post(f"{path}/{second['id']}/make-default")
    shown = {each["id"]: each["is_default"] for each in (await api.get(path)).json()["items"]}
    assert shown == {first["id"]: False, second["id"]: True, other["id"]: True}
    assert (await api.delete(f"{path}/{first['id']}")).status_code == 204
    assert (await api.delete(f"{path}/{first['id']}")).status_code == 404


async def test_a_new_amount_is_a_new_version_and_the_old_one_sells_no_more(
    api: Caller, product: dict[str, Any]
) -> None:
    body = {
        "product_id": product["id"],
        "code": "monthly",
        "currency": "EUR",
        "unit_amount": 1900,
        "interval": {"count": 1, "unit": "month"},
        "option": "red",
        "policy": {"alignment": {"day_of_month": 31}},
    }
    first = await api.made("/v1/prices", body)
    second = await api.made("/v1/prices", body | {"unit_amount": 2100})
    assert (first["version"], second["version"]) == (1, 2)
    assert (await api.get(f"/v1/prices/{first['id']}")).json()["archived_at"] is not None
    sold = (await api.get("/v1/prices", product_id=product["id"], archived=False)).json()["items"]
    assert [each["id"] for each in sold] == [second["id"]]
    await api.post(f"/v1/products/{product['id']}/archive")
    refused = await api.post("/v1/prices", body)
    assert (refused.status_code, refused.json()["code"]) == (409, "archived")


async def test_one_dunning_policy_is_the_default(api: Caller) -> None:
    body = {"retries": [{"after_days": 2, "hour": 9}], "is_default": True}
    first = await api.made("/v1/dunning-policies", body | {"name": f"first-{next(KEYS)}"})
    second = await api.made("/v1/dunning-policies", body | {"name": f"second-{next(KEYS)}"})
    assert (await api.get(f"/v1/dunning-policies/{first['id']}")).json()["is_default"] is False
    back = await api.patch(f"/v1/dunning-policies/{first['id']}", {"is_default": True, "grace_days": 3})
    assert (back.json()["is_default"], back.json()["grace_days"]) == (True, 3)
    assert (await api.get(f"/v1/dunning-policies/{second['id']}")).json()["is_default"] is False
    taken = await api.post("/v1/dunning-policies", body | {"name": first["name"]})
    assert (taken.status_code, taken.json()["errors"][0]["field"]) == (409, "name")


async def test_a_key_works_until_revoked(api: Caller, database: Database) -> None:
    key = await create_key(database, "short-lived")
    caller = Caller(api.http, key)
    assert (await caller.get("/v1/customers")).status_code == 200
    (shown,) = [each for each in await list_keys(database) if each.name == "short-lived"]
    assert key.startswith(shown.prefix)
    assert key not in str(shown)
    await revoke_key(database, shown.prefix)
    assert (await caller.get("/v1/customers")).status_code == 401


async def test_nobody_gets_in_without_a_key(api: Caller) -> None:
    for header in (
        None,
        "",
        "Bearer",
        "Bearer dk_wrong",
        f"Basic {api.key}",
        f"Bearer {api.key}x",
        "Bearer dk_" + "x" * 9000,
    ):
        headers = {} if header is None else {"Authorization": header}
        response = await api.http.get("/v1/customers/x?surprise=1", headers=headers)
        assert (response.status_code, response.json()["code"]) == (401, "unauthorized"), header
        assert response.headers["WWW-Authenticate"].startswith("Bearer")
        assert response.headers["Content-Type"] == "application/problem+json"
