"""Who may do what, cell by cell: every route that changes something, under a key of each role."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Mapping
from itertools import chain

import httpx
import pytest
from fastapi.routing import APIRoute

from api.app import ROUTERS
from api.keys import create_key, list_keys
from api.routing import READING, Route
from domain.roles import COMMANDS, READS, Role, who_may, who_may_read
from models.session import Database
from settings import Settings
from tests.api.conftest import KEYS, Caller
from tests.api.staff_room import page_headers, signed_in, with_password
from tests.conftest import Server
from tests.domain.doc_tables import rows
from tests.servers import ROOT

ROUTES = {route.name: route for router in ROUTERS for route in router.routes if isinstance(route, Route)}
CHANGING = {name: route for name, route in ROUTES.items() if route.methods != READING}
TOLD = {
    command: {Role.ADMIN, *(role for role in Role if row.get(role.value) == "yes")}
    for row in rows("roles.md", "Roles and commands")
    for command in row["commands"].split(", ")
}


@pytest.fixture(scope="session")
async def callers(http: httpx.AsyncClient, database: Database) -> Mapping[Role, Caller]:
    return {role: Caller(http, await create_key(database, f"the {role}", role)) for role in Role}


@pytest.fixture(scope="session")
async def reader(api: Caller) -> Caller:
    """An admin's key that was made for reading."""
    made = await api.made("/v1/api-keys", {"name": "reader", "role": "admin", "scopes": ["read"]})
    return Caller(api.http, made["key"])


def test_every_route_has_a_name_of_its_own() -> None:
    """Otherwise one row of the table would speak of two routes."""
    routes = [route for router in ROUTERS for route in router.routes if isinstance(route, APIRoute)]
    assert len({route.name for route in routes}) == len(routes)


def test_every_command_has_its_row_and_every_row_its_command() -> None:
    """A new route is for admins alone until it gets a row in `domain.roles` and one in docs/roles.md."""
    assert set(COMMANDS) == set(CHANGING)


def test_the_page_tells_what_the_code_does() -> None:
    assert dict(COMMANDS) == TOLD


@pytest.mark.parametrize("role", Role)
@pytest.mark.parametrize("name", CHANGING)
async def test_a_cell(callers: Mapping[Role, Caller], name: str, role: Role) -> None:
    """An unknown query parameter is refused right after the role was asked, so a cell that is allowed does nothing."""
    route = CHANGING[name]
    path = f"/v1{route.path}"
    for parameter in route.param_convertors:
        path = path.replace(f"{{{parameter}}}", "nobody")
    method = next(iter(route.methods or ()))
    headers = {"Authorization": f"Bearer {callers[role].key}", "Idempotency-Key": f"cell-{next(KEYS)}"}
    response = await callers[role].http.request(method, path, params={"surprise": "1"}, headers=headers)
    if role in TOLD[name]:
        assert (response.status_code, response.json()["errors"][0]["field"]) == (422, "surprise")
    else:
        problem = response.json()
        assert (response.status_code, problem["code"]) == (403, "forbidden_role")
        assert set(problem["roles"]) == TOLD[name]
        assert role in problem["detail"]


@pytest.mark.parametrize("role", Role)
async def test_reading_is_for_every_role(callers: Mapping[Role, Caller], role: Role) -> None:
    for name, route in ROUTES.items():
        if name not in CHANGING and name not in READS:
            response = await callers[role].get(f"/v1{route.path}".replace("{", "no").replace("}", ""), surprise=1)
            assert response.status_code == 422, name


@pytest.mark.parametrize("role", Role)
@pytest.mark.parametrize("name", READS)
async def test_what_is_not_for_everybody_to_read(callers: Mapping[Role, Caller], name: str, role: Role) -> None:
    response = await callers[role].get(f"/v1{ROUTES[name].path}".replace("{", "no").replace("}", ""), surprise=1)
    assert response.status_code == (422 if role in who_may_read(name) else 403)


@pytest.mark.parametrize("role", Role)
async def test_a_person_may_do_what_their_role_may(api: Caller, role: Role) -> None:
    """The same table, every row of it, for somebody who has signed in with a page."""
    session = await signed_in(api, await with_password(api, role))
    for name, route in CHANGING.items():
        path = f"/v1{route.path}".replace("{", "no").replace("}", "")
        method = next(iter(route.methods or ()))
        response = await api.http.request(method, path, params={"surprise": "1"}, headers=page_headers(session))
        assert response.status_code == (422 if role in TOLD[name] else 403), name
        forged = await api.http.request(method, path, headers=page_headers(session, csrf=False))
        assert forged.json()["code"] == "csrf_token_missing", name


@pytest.mark.parametrize("name", CHANGING)
async def test_a_scope_is_asked_of_every_command(api: Caller, reader: Caller, name: str) -> None:
    route = CHANGING[name]
    path = f"/v1{route.path}".replace("{", "no").replace("}", "")
    headers = {"Authorization": f"Bearer {reader.key}", "Idempotency-Key": f"scope-{next(KEYS)}"}
    response = await api.http.request(next(iter(route.methods or ())), path, headers=headers)
    assert (response.status_code, response.json()["code"]) == (403, "forbidden_scope")


def test_what_the_table_does_not_name_is_for_admins() -> None:
    assert who_may("something_new") == {Role.ADMIN}
    assert all(Role.ADMIN in roles for roles in chain(COMMANDS.values()))


async def test_a_key_without_a_role_is_an_admins(http: httpx.AsyncClient, database: Database) -> None:
    key = await create_key(database, "old")
    meta = (await Caller(http, key).get("/v1/meta")).json()
    assert (meta["caller"], meta["role"]) == ("old", "admin")


async def test_a_key_shows_its_role(database: Database) -> None:
    await create_key(database, "shown role", Role.LEAD)
    assert [key.role for key in await list_keys(database) if key.name == "shown role"] == [Role.LEAD]


async def test_the_command_line_makes_a_key_of_a_role(postgres_server: Server) -> None:
    url = await postgres_server.new_database()
    environment = Settings(database_url=url).environment()

    async def cli(*arguments: str) -> tuple[int | None, str]:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "cli.py", "api-key", *arguments),
            cwd=ROOT,
            env=environment,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        said, _ = await process.communicate()
        return process.returncode, said.decode()

    assert (await cli("create", "--name", "lea", "--role", "lead"))[0] == 0
    code, said = await cli("list")
    assert code == 0
    assert [line.split()[-2:] for line in said.splitlines()] == [["lead", "lea"]]
    assert (await cli("create", "--name", "eve", "--role", "queen"))[0] != 0
