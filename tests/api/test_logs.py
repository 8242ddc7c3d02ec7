"""The logs: every command leaves a line, every look at a customer too; nothing is changed or removed."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import BaseModel
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from api.app import ROUTERS
from api.keys import create_key
from api.routing import READING, Route
from domain.roles import Role
from models.session import Database
from tests.api.conftest import KEYS, Caller
from tests.api.whole_customer import whole_customer

ROUTES = {route.name: route for router in ROUTERS for route in router.routes if isinstance(route, Route)}
CHANGING = {name: route for name, route in ROUTES.items() if route.methods != READING}
OF_A_CUSTOMER = "customer_id"


def asks_for_a_customer(route: Route) -> bool:
    queries = [parameter.field_info.annotation for parameter in route.dependant.query_params]
    models = [query for query in queries if isinstance(query, type) and issubclass(query, BaseModel)]
    return any(OF_A_CUSTOMER in model.model_fields for model in models)


def shows_a_customers(route: Route) -> bool:
    model: Any = route.response_model
    return isinstance(model, type) and issubclass(model, BaseModel) and OF_A_CUSTOMER in model.model_fields


READINGS = {name: route for name, route in ROUTES.items() if route.methods == READING}
IN_PATH = [name for name, route in READINGS.items() if list(route.param_convertors) == [OF_A_CUSTOMER]]
BY_QUERY = [name for name, route in READINGS.items() if asks_for_a_customer(route)]
# One thing of a customer's → what of `whole_customer` it shows. A new route of this sort needs its row here.
OF_A_THING = {
    "get_charge": "ch",
    "get_transaction": "ch",
    "get_invoice": "in",
    "get_credit_note": "cn",
    "get_voucher": "vch",
    "get_refund": "re",
    "get_dispute": "dis",
    "get_order": "ord",
    "get_basket": "bsk",
    "get_fulfilment": "ful",
    "get_message": "msg",
    "get_task": "task",
    "get_note": "note",
    "get_review": "rev",
    "get_difference": "diff",
}
# They ask Temporal, which is not here; the rule is the one of all: what the answer belongs to.
BY_WORKFLOW = {"get_subscription"}


async def lines(api: Caller, log: str, **query: Any) -> list[dict[str, Any]]:
    response = await api.get(f"/v1/logs/{log}", **query)
    assert response.status_code == 200, response.text
    return response.json()["items"]


@pytest.fixture(scope="module")
async def seen(database: Database) -> str:
    return await whole_customer(database, "seen", 2)


@pytest.fixture
async def ann(api: Caller, database: Database) -> Caller:
    """A caller whose name nobody else has."""
    return Caller(api.http, await create_key(database, f"ann {next(KEYS)}", Role.ADMIN))


async def name_of(caller: Caller) -> str:
    return (await caller.get("/v1/meta")).json()["caller"]


@pytest.mark.parametrize("name", CHANGING)
async def test_every_writing_route_leaves_a_line(api: Caller, ann: Caller, name: str) -> None:
    """The unknown parameter is refused after the role was asked, so that nothing is done; the line says so."""
    route = CHANGING[name]
    path = f"/v1{route.path}"
    for parameter in route.param_convertors:
        path = path.replace(f"{{{parameter}}}", "nobody")
    headers = {"Authorization": f"Bearer {ann.key}", "Idempotency-Key": f"line-{next(KEYS)}"}
    response = await ann.http.request(next(iter(route.methods or ())), path, params={"surprise": "1"}, headers=headers)
    assert response.status_code == 422, response.text
    (line,) = await lines(api, "activity", actor=await name_of(ann))
    assert (line["command"], line["status"], line["role"]) == (name, 422, "admin")
    assert line["customer_id"] == ("nobody" if OF_A_CUSTOMER in route.param_convertors else None)


@pytest.mark.parametrize("name", IN_PATH)
async def test_every_page_of_a_customer_leaves_a_line(api: Caller, ann: Caller, seen: str, name: str) -> None:
    response = await ann.get(f"/v1{READINGS[name].path}".replace("{customer_id}", seen))
    found = await lines(api, "access", actor=await name_of(ann), command=name)
    if response.status_code == 404:  # this customer has no such thing: nothing was shown
        assert found == []
        return
    assert response.status_code == 200, response.text
    assert [(line["kind"], line["customer_id"]) for line in found] == [("customer", seen)]


@pytest.mark.parametrize("name", BY_QUERY)
async def test_every_list_that_is_asked_for_a_customer_leaves_a_line(
    api: Caller, ann: Caller, seen: str, name: str
) -> None:
    response = await ann.get(f"/v1{READINGS[name].path}", customer_id=seen)
    assert response.status_code == 200, response.text
    (line,) = await lines(api, "access", actor=await name_of(ann), command=name)
    assert (line["kind"], line["what"], line["customer_id"]) == ("customer", name, seen)


SHOWING = [
    name
    for name, route in READINGS.items()
    if name not in {*IN_PATH, *BY_WORKFLOW} and route.param_convertors and shows_a_customers(route)
]


@pytest.mark.parametrize("name", SHOWING)
async def test_every_thing_of_a_customer_leaves_a_line(api: Caller, ann: Caller, seen: str, name: str) -> None:
    identity = f"{OF_A_THING[name]}_seen_0"
    path = f"/v1{READINGS[name].path}".replace("{customer_id}", seen)
    (other,) = [each for each in READINGS[name].param_convertors if each != OF_A_CUSTOMER]
    response = await ann.get(path.replace(f"{{{other}}}", identity))
    assert response.status_code == 200, response.text
    (line,) = await lines(api, "access", actor=await name_of(ann))
    assert (line["what"], line["customer_id"], line["subject_id"]) == (name, seen, identity)


def test_the_walk_meets_the_routes_that_matter() -> None:
    assert {"get_customer", "read_overview", "list_methods"} <= set(IN_PATH)
    assert {"list_charges", "list_messages"} <= set(BY_QUERY)
    assert {"get_charge", "get_refund"} <= set(SHOWING)


async def test_a_line_says_who_did_what_to_whom(api: Caller, ann: Caller, database: Database) -> None:
    actor = await name_of(ann)
    made = await ann.post("/v1/customers", {"email": "a@example.com", "currency": "EUR"}, key="sign-up")
    owner = made.json()["id"]
    await ann.post("/v1/customers", {"email": "a@example.com", "currency": "EUR"}, key="sign-up")
    await ann.patch(f"/v1/customers/{owner}", {"phone": "+49 30 1234567"})
    task = (await ann.post("/v1/tasks", {"title": "Call", "customer_id": owner})).json()["id"]
    await ann.post(f"/v1/tasks/{task}/close", {"outcome": "done"})
    await ann.delete(f"/v1/customers/{owner}/addresses/adr_none")
    columns = ("command", "customer_id", "subject_id", "created_id", "status", "replayed")
    found = await lines(api, "activity", actor=actor)
    assert [tuple(line[column] for column in columns) for line in reversed(found)] == [
        ("create_customer", owner, None, owner, 201, False),
        ("create_customer", owner, None, owner, 201, True),
        ("change_customer", owner, None, None, 200, False),
        ("create_task", owner, None, task, 201, False),
        ("close_task", owner, task, None, 200, False),
        ("remove_address", owner, "adr_none", None, 404, False),
    ]
    assert [line["idempotency_key"] for line in found][-2:] == ["sign-up", "sign-up"]
    async with database.session() as session:
        kept = (await session.execute(text("SELECT activity_log::text FROM activity_log"))).scalars().all()
    assert not [line for line in kept if "@example.com" in line or "1234567" in line], "ids, no personal data"


async def test_a_refusal_leaves_a_line_too(api: Caller, database: Database) -> None:
    agent = Caller(api.http, await create_key(database, f"agent {next(KEYS)}", Role.AGENT))
    refused = await agent.post("/v1/blacklist", {"kind": "email", "value": "a@example.com", "reason": "x"})
    assert refused.status_code == 403
    (line,) = await lines(api, "activity", actor=await name_of(agent))
    assert (line["command"], line["role"], line["status"]) == ("blacklist_payer", "agent", 403)


async def test_what_is_not_an_id_is_not_kept(api: Caller, ann: Caller) -> None:
    await ann.patch("/v1/customers/ada@example.com", {"phone": ""})
    await ann.patch(f"/v1/tasks/{'x' * 200}", {"title": "x"})
    found = await lines(api, "activity", actor=await name_of(ann))
    assert [(line["customer_id"], line["subject_id"]) for line in found] == [(None, None), (None, None)]


async def test_finding_one_customer_is_a_look_and_leafing_through_many_is_none(api: Caller, ann: Caller) -> None:
    email = f"rare{next(KEYS)}@example.com"
    owner = (await api.made("/v1/customers", {"email": email, "currency": "EUR"}))["id"]
    await api.made("/v1/customers", {"email": "other@example.com", "currency": "EUR"})
    await ann.get("/v1/customers")
    await ann.get("/v1/customers", email="nobody-has-this@example.com")
    await ann.get("/v1/customers/cus_nobody")
    await ann.get("/v1/customers", email=email)
    (line,) = await lines(api, "access", actor=await name_of(ann))
    assert (line["what"], line["customer_id"]) == ("list_customers", owner)


async def test_a_file_that_is_taken_leaves_a_line(api: Caller, ann: Caller) -> None:
    query = {"first_day": "2027-01-01", "last_day": "2027-01-31"}
    await ann.get("/v1/reports/payments", **query)
    await ann.get("/v1/reports/payments", **query, format="csv")
    (line,) = await lines(api, "access", actor=await name_of(ann))
    assert (line["kind"], line["what"], line["customer_id"]) == ("file", "report_payments", None)


async def test_what_cannot_be_logged_is_not_shown_and_not_kept(
    api: Caller, ann: Caller, database: Database, seen: str
) -> None:
    """A log that takes nothing: no look is answered, and a command is repeated under its key once it does again."""
    body = {"email": f"unlogged{next(KEYS)}@example.com", "currency": "EUR"}
    async with database.begin() as connection:
        for log in ("access_log", "activity_log"):
            await connection.execute(text(f"ALTER TABLE {log} ADD CONSTRAINT shut CHECK (at < '2000-01-01') NOT VALID"))
    try:
        look = await ann.get(f"/v1/customers/{seen}")
        command = await ann.post("/v1/customers", body, key="unlogged")
    finally:
        async with database.begin() as connection:
            for log in ("access_log", "activity_log"):
                await connection.execute(text(f"ALTER TABLE {log} DROP CONSTRAINT shut"))
            await connection.execute(text("UPDATE idempotency_records SET locked_until = now() WHERE key = 'unlogged'"))
    assert look.status_code == command.status_code == 500
    assert seen not in look.text
    again = await ann.post("/v1/customers", body, key="unlogged")
    assert again.status_code == 201
    (line,) = await lines(api, "activity", actor=await name_of(ann))
    assert (line["created_id"], line["status"]) == (again.json()["id"], 201)
    assert len((await api.get("/v1/customers", email=body["email"])).json()["items"]) == 1


async def test_lines_are_found(api: Caller, ann: Caller) -> None:
    actor = await name_of(ann)
    owner = (await ann.made("/v1/customers", {"email": "f@example.com", "currency": "EUR"}))["id"]
    await ann.patch(f"/v1/customers/{owner}", {"phone": ""})
    await ann.patch(f"/v1/customers/{owner}", {"notice_days": -1})

    async def found(**query: Any) -> list[str]:
        return [line["command"] for line in await lines(api, "activity", actor=actor, **query)]

    assert await found() == ["change_customer", "change_customer", "create_customer"]
    assert await found(customer_id=owner, status=422) == ["change_customer"]
    assert await found(command="create_customer") == ["create_customer"]
    assert await found(since="2100-01-01T00:00:00Z") == await found(until="2000-01-01T00:00:00Z") == []
    assert await found(since="2000-01-01T00:00:00Z", until="2100-01-01T00:00:00Z") == await found()
    first = await api.get("/v1/logs/activity", actor=actor, limit=2)
    rest = await api.get("/v1/logs/activity", actor=actor, limit=2, cursor=first.json()["next_cursor"])
    assert [len(page.json()["items"]) for page in (first, rest)] == [2, 1]
    await ann.get(f"/v1/customers/{owner}")
    assert [line["what"] for line in await lines(api, "access", actor=actor, customer_id=owner)] == ["get_customer"]
    assert await lines(api, "access", actor=actor, kind="file") == []


@pytest.mark.parametrize(("table", "column"), [("activity_log", "command"), ("access_log", "what")])
@pytest.mark.parametrize("change", ["UPDATE {} SET {} = {}", "DELETE FROM {}", "TRUNCATE {}"])
async def test_the_logs_only_grow(database: Database, table: str, column: str, change: str) -> None:
    with pytest.raises(DBAPIError, match="never changed or removed"):
        async with database.begin() as connection:
            await connection.execute(text(change.format(table, column, column)))
