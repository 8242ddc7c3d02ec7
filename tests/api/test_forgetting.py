"""A customer with history made anonymous: nothing of the person is left in any table, the books stay."""

from __future__ import annotations

import re
from typing import Any

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from api.errors import answer
from models import Base
from models.session import Database
from tests.api.conftest import KEYS, Caller
from tests.api.test_merges import ROUTES, example_of
from tests.api.whole_customer import whole_customer


async def tables_with(database: Database, *words: str) -> set[str]:
    """The tables that hold one of these words anywhere."""
    found: set[str] = set()
    async with database.begin() as connection:
        for name in Base.metadata.tables:
            for word in words:
                statement = f'SELECT count(*) FROM "{name}" AS t WHERE strpos(lower(t::text), :word) > 0'  # noqa: S608 - names of tables
                if await connection.scalar(text(statement), {"word": word.lower()}):
                    found.add(name)
    return found


async def test_nothing_of_the_person_is_left_and_the_books_stay(api: Caller, database: Database) -> None:
    name = f"Zacharias{next(KEYS)}"
    owner = await whole_customer(database, f"fg{next(KEYS)}", 2)
    path = f"/v1/customers/{owner}"
    async with database.begin() as connection:
        for statement in (
            "UPDATE subscriptions SET status = 'canceled' WHERE customer_id = :id",
            "UPDATE invoices SET status = 'paid' WHERE customer_id = :id",
            "UPDATE disputes SET status = 'lost' WHERE customer_id = :id",
            "UPDATE customers SET parent_id = NULL WHERE parent_id = :id",
            "UPDATE orders SET status = 'paid' WHERE customer_id = :id",
            "UPDATE fulfilments SET status = 'delivered' WHERE customer_id = :id",
        ):
            await connection.execute(text(statement), {"id": owner})
        for each in (
            "SELECT set_config('dunlin.removes_customer', 'yes', true), :id, :name",
            "UPDATE messages SET body = :name, html = :name, sender = :name WHERE customer_id = :id",
            "UPDATE messages SET recipient = :mail WHERE customer_id = :id",
            "UPDATE tasks SET title = :name, detail = jsonb_build_object('of', :name) WHERE customer_id = :id",
            (
                "UPDATE fulfilments SET recipient = :name, tracking = :name,"
                " address = jsonb_build_object('name', :name) WHERE customer_id = :id"
            ),
            (
                "UPDATE fulfilment_events SET reason = :name, data = jsonb_build_object('of', :name)"
                " WHERE fulfilment_id IN (SELECT id FROM fulfilments WHERE customer_id = :id)"
            ),
            (
                "INSERT INTO order_lines (order_id, position, kind, description, quantity, unit_amount, amount,"
                " due_now) SELECT id, 1, 'one_time', :name, 1, 0, 0, 0 FROM orders WHERE customer_id = :id"
            ),
            (
                "INSERT INTO order_events (order_id, seq, at, kind, actor, reason, data)"
                " SELECT id, 1, now(), 'drafted', 'ann', :name, '{}' FROM orders WHERE customer_id = :id"
            ),
            (
                "INSERT INTO imports (id, kind, file_name, mapping, content, status, ended_at)"
                " VALUES ('imp_' || :id, 'customers', 'x.csv', '{}', convert_to(:mail, 'UTF8'), 'completed', now())"
            ),
            (
                "INSERT INTO import_rows (import_id, row, field, reason, source)"
                " VALUES ('imp_' || :id, 2, 'email', 'is taken', jsonb_build_array(:mail))"
            ),
            (
                "INSERT INTO blacklist_entries (id, kind, value, reason, actor, removed_at)"
                " VALUES ('bl_' || :id, 'email', lower(:mail), :name, 'ann', now())"
            ),
            "UPDATE reviews SET text = :name WHERE customer_id = :id",
            "UPDATE refunds SET reason = :name WHERE customer_id = :id",
        ):
            statement = each
            for given, value in {"id": owner, "name": name, "mail": f"{name}@x.example"}.items():
                statement = statement.replace(f":{given}", f"'{value}'")
            await connection.execute(text(statement))
    changed = await api.patch(path, {"first_name": name, "email": f"{name}@x.example", "phone": "+49 30 901820"})
    assert changed.status_code == 200
    await api.made(f"{path}/notes", {"text": f"{name} called"})
    sums = "SELECT count(*), sum(abs(amount)) FROM ledger_postings"
    async with database.begin() as connection:
        before = (await connection.execute(text(sums))).one()
    assert {"customers", "messages", "notes", "customer_search"} <= await tables_with(database, name)

    wrong = await api.post(f"{path}/forget", {"confirm": "cus_other"})
    assert (wrong.status_code, wrong.json()["code"]) == (422, "not_confirmed")
    done = await api.post(f"{path}/forget", {"confirm": owner})
    assert done.status_code == 200, done.text
    assert await tables_with(database, name) == set()
    async with database.begin() as connection:
        assert (await connection.execute(text(sums))).one() == before
    assert (await api.get(path)).json()["email"] == ""
    assert len((await api.get("/v1/invoices", customer_id=owner)).json()["items"]) == 2


async def test_what_is_open_comes_first(api: Caller, database: Database) -> None:
    owner = await whole_customer(database, f"fo{next(KEYS)}", 1)
    refused = await api.post(f"/v1/customers/{owner}/forget", {"confirm": owner})
    assert (refused.status_code, refused.json()["code"]) == (409, "subscribed")


async def forgotten(api: Caller) -> dict[str, Any]:
    person = await api.made("/v1/customers", {"email": f"fz{next(KEYS)}@example.com", "currency": "EUR"})
    done = await api.post(f"/v1/customers/{person['id']}/forget", {"confirm": person["id"]})
    assert done.status_code == 200, done.text
    return person


async def test_nothing_is_written_to_one_who_is_forgotten(api: Caller) -> None:
    """Every route that writes to a customer, and the bodies that name one; reading still works."""
    owner = (await forgotten(api))["id"]
    described = (await api.get("/v1/openapi.json")).json()
    asked = 0
    for route in ROUTES:
        if "{customer_id}" not in route.path or route.path.endswith("/forget"):
            continue
        path = re.sub(r"\{\w+\}", "x_1", route.path.replace("{customer_id}", owner))
        for method in sorted((route.methods or set()) - {"GET"}):
            headers = {"Authorization": f"Bearer {api.key}"}
            headers |= {"Idempotency-Key": f"walk-{next(KEYS)}"} if method == "POST" else {}
            body = example_of(described, method, route.path)
            response = await api.http.request(method, f"/v1{path}", json=body, headers=headers)
            assert (response.status_code, response.json()["code"]) == (410, "forgotten"), (method, route.path)
            asked += 1
    assert asked > 25
    for path, field in {
        "/v1/orders": "customer_id",
        "/v1/subscriptions": "customer_id",
        "/v1/tasks": "customer_id",
        "/v1/vouchers": "customer_id",
        "/v1/merges": "master_id",
    }.items():
        assert (await api.post(path, {field: owner})).status_code == 410, path
    assert (await api.get(f"/v1/customers/{owner}")).json()["forgotten_at"] is not None
    again = await api.post(f"/v1/customers/{owner}/forget", {"confirm": owner})
    assert again.status_code == 200, again.text


async def test_the_tables_take_nothing_of_one_who_is_forgotten(api: Caller, database: Database) -> None:
    """Also from one who asked before it happened and writes after: they are told the same."""
    owner = (await forgotten(api))["id"]
    note = "INSERT INTO notes (id, customer_id, visibility, text, author) VALUES ('n', :id, 'internal', 'x', 'ann')"
    for statement in (note, "UPDATE customers SET email = 'ada@example.com' WHERE id = :id"):
        with pytest.raises(DBAPIError) as told:
            async with database.begin() as connection:
                await connection.execute(text(statement), {"id": owner})
        assert answer(told.value).status_code == 410


async def test_one_on_the_blacklist_is_taken_off_it_first(api: Caller) -> None:
    person = await api.made("/v1/customers", {"email": f"fb{next(KEYS)}@example.com", "currency": "EUR"})
    path = f"/v1/customers/{person['id']}/forget"
    entry = await api.made("/v1/blacklist", {"kind": "email", "value": person["email"], "reason": "charged back"})
    refused = await api.post(path, {"confirm": person["id"]})
    assert (refused.status_code, refused.json()["code"]) == (409, "on_blacklist")
    assert (await api.delete(f"/v1/blacklist/{entry['id']}")).status_code == 204
    assert (await api.post(path, {"confirm": person["id"]})).status_code == 200
