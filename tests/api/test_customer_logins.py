"""Logins of customers: set by staff, checked for the merchant's site, never read, and nobody steps around a change."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import pytest
from sqlalchemy import text

from models.session import Database
from tests.api.conftest import KEYS, Caller

PASSWORD = "seven kites over Bergen"
OTHER = "eight boats off Bergen"
HOME = "device:home"


class Member:
    """A customer with a login, and the merchant's site that checks it."""

    def __init__(self, api: Caller, customer_id: str, login: str) -> None:
        self.api = api
        self.id = customer_id
        self.login = login

    async def set(self, rest: str, body: Any = None) -> dict[str, Any]:
        response = await self.api.post(f"/v1/customers/{self.id}/login/{rest}", body)
        assert response.status_code == 200, response.text
        return response.json()

    async def check(self, password: str, *, place: str = HOME, login: str | None = None) -> dict[str, Any]:
        body = {"login": login or self.login, "password": password, "place": place}
        response = await self.api.post("/v1/membership/check", body)
        assert response.status_code == 200, response.text
        return response.json()

    async def change(self, before: str, after: str) -> dict[str, Any]:
        body = {"login": self.login, "password": before, "new_password": after, "place": HOME}
        return (await self.api.post("/v1/membership/change-password", body)).json()

    async def shown(self) -> dict[str, Any]:
        return (await self.api.get(f"/v1/customers/{self.id}/login")).json()


@pytest.fixture
async def new(api: Caller, customer: dict[str, Any]) -> Member:
    """With a password that staff have set."""
    member = Member(api, customer["id"], f"Ada.{next(KEYS)}")
    response = await api.put(f"/v1/customers/{member.id}/login", {"login": member.login})
    assert response.status_code == 200, response.text
    await member.set("password", {"password": PASSWORD})
    return member


@pytest.fixture
async def member(new: Member) -> Member:
    """Who has chosen a password of their own."""
    assert (await new.change(PASSWORD, OTHER))["valid"]
    return new


async def test_a_forced_change_cannot_be_stepped_around(new: Member) -> None:
    answer = await new.check(PASSWORD)
    assert (answer["valid"], answer["answer"], answer["customer_id"]) == (False, "must_change", new.id)
    assert answer["session_version"] is None
    same = await new.change(PASSWORD, PASSWORD)
    assert (same["status"], same["code"]) == (422, "password_unchanged")
    weak = await new.change(PASSWORD, "aaaaaaaaaaaaaa")
    assert (weak["status"], weak["errors"][0]["field"]) == (422, "new_password")
    own = await new.change(PASSWORD, "ada@example.com")
    assert (own["status"], own["code"]) == (422, "password_is_login")
    wrong = await new.change(OTHER, "nine whales at Bergen")
    assert (wrong["valid"], wrong["answer"], wrong["customer_id"]) == (False, "wrong", None)
    assert (await new.check(PASSWORD))["answer"] == "must_change", "nothing of that has helped"
    changed = await new.change(PASSWORD, OTHER)
    assert (changed["valid"], changed["answer"]) == (True, "ok")
    assert await new.check(OTHER, login=new.login.upper()) == changed
    assert (await new.check(PASSWORD))["answer"] == "wrong"
    version = changed["session_version"]
    forced = await new.set("force-change")
    assert (forced["must_change"], forced["session_version"]) == (True, version + 1), "an open session is over"
    assert (await new.check(OTHER))["answer"] == "must_change"


async def test_what_is_disabled_cannot_sign_in_with_a_session_open_too(member: Member) -> None:
    version = (await member.check(OTHER))["session_version"]
    disabled = await member.set("disable", {"reason": "shares the account"})
    assert (disabled["disabled"], disabled["disabled_until"], disabled["disabled_by"]) == (True, None, "tests")
    assert disabled["session_version"] == version + 1
    answer = await member.check(OTHER)
    assert (answer["valid"], answer["answer"], answer["session_version"]) == (False, "disabled", None)
    assert (await member.check(PASSWORD))["answer"] == "wrong", "only who knows the password learns that"
    assert (await member.change(OTHER, "nine whales at Bergen"))["answer"] == "disabled"
    enabled = await member.set("enable")
    assert (enabled["disabled"], enabled["disabled_reason"]) == (False, "")
    assert (await member.check(OTHER))["valid"]


async def test_disabled_for_a_time_ends_by_itself(member: Member, database: Database) -> None:
    until = "2190-01-01T00:00:00Z"
    assert (await member.set("disable", {"reason": "pause", "until": until}))["disabled_until"] == until
    assert (await member.check(OTHER))["disabled_until"] == until
    async with database.begin() as connection:  # the time goes by
        await connection.execute(
            text("UPDATE customer_logins SET disabled_until = now() WHERE customer_id = :id"), {"id": member.id}
        )
    assert (await member.check(OTHER))["valid"]
    assert not (await member.shown())["disabled"]
    past = await member.api.post(
        f"/v1/customers/{member.id}/login/disable", {"reason": "x", "until": "2020-01-01T00:00:00Z"}
    )
    assert (past.status_code, past.json()["errors"][0]["field"]) == (422, "until")


async def test_a_name_that_is_not_there_gets_the_answer_of_a_wrong_password(member: Member) -> None:
    nobody = f"nobody.{next(KEYS)}"
    for _ in range(5):
        assert await member.check(OTHER, login=nobody) == await member.check(PASSWORD, place="device:other")
    held = await member.check(OTHER, login=nobody), await member.check(PASSWORD, place="device:other")
    assert [each["answer"] for each in held] == ["wait", "wait"], "also what is not there is slow to guess at"
    assert held[0].keys() == held[1].keys()


async def test_nobody_locks_somebody_else_out(member: Member) -> None:
    assert (await member.check(OTHER))["valid"]
    answers = [(await member.check(PASSWORD, place=f"198.51.100.{number}"))["answer"] for number in range(24)]
    assert answers == ["wrong"] * 20 + ["wait"] * 4, "who guesses from everywhere waits"
    stranger = await member.check(OTHER, place="203.0.113.77")
    assert (stranger["answer"], stranger["valid"]) == ("wait", False)
    assert stranger["wait_s"] > 0
    assert (await member.check(OTHER))["valid"], "from where the customer has signed in before, nothing is held back"


async def test_many_tries_at_once_are_many_tries(member: Member) -> None:
    answers = await asyncio.gather(*(member.check(PASSWORD, place="203.0.113.5") for _ in range(9)))
    assert sorted(each["answer"] for each in answers) == ["wait"] * 4 + ["wrong"] * 5


async def test_a_login_belongs_to_one_customer(api: Caller, member: Member) -> None:
    other = await api.made("/v1/customers", {"email": "eve@example.com", "currency": "EUR"})
    taken = await api.put(f"/v1/customers/{other['id']}/login", {"login": f" {member.login.upper()}"})
    assert (taken.status_code, taken.json()["code"]) == (409, "already_exists")
    assert taken.json()["errors"][0]["field"] == "login"
    shown = (await api.get(f"/v1/customers/{other['id']}/login")).json()
    assert (shown["login"], shown["has_password"], shown["disabled"]) == (None, False, False)
    without = await api.post(f"/v1/customers/{other['id']}/login/force-change")
    assert (without.status_code, without.json()["code"]) == (409, "no_password")
    nobody = await api.get("/v1/customers/cus_nobody/login")
    assert (nobody.status_code, nobody.json()["code"]) == (404, "not_found")


async def test_a_customer_without_a_login_can_be_disabled_too(api: Caller, customer: dict[str, Any]) -> None:
    member = Member(api, customer["id"], "")
    assert (await member.set("disable", {"reason": "fraud"}))["disabled"]
    log = (await api.get(f"/v1/customers/{customer['id']}/changes")).json()["items"]
    assert [(line["field"], line["new"], line["actor"]) for line in log] == [("login_disabled", "for good", "tests")]


async def test_a_password_is_nowhere_to_be_read(
    new: Member, database: Database, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.DEBUG):
        await new.change(PASSWORD, OTHER)
        await new.check(OTHER)
    assert PASSWORD not in caplog.text
    assert OTHER not in caplog.text
    async with database.begin() as connection:
        tables = await connection.execute(
            text("SELECT table_name FROM information_schema.tables WHERE table_schema = 'public'")
        )
        for (table,) in tables.all():
            found = await connection.scalar(
                text(f'SELECT count(*) FROM "{table}" AS t WHERE t::text LIKE :one OR t::text LIKE :two'),  # noqa: S608
                {"one": f"%{PASSWORD}%", "two": f"%{OTHER}%"},
            )
            assert found == 0, table
        kept = await connection.scalar(
            text("SELECT password_hash FROM customer_logins WHERE customer_id = :id"), {"id": new.id}
        )
    assert kept is not None
    assert kept.startswith("$argon2id$")
    assert "argon2" not in str(await new.shown())


@pytest.mark.parametrize(
    ("password", "code"),
    [("short", "password_length"), ("x" * 201, "password_length"), ("password1234", "password_common")],
)
async def test_a_weak_password_is_refused(new: Member, password: str, code: str) -> None:
    response = await new.api.post(f"/v1/customers/{new.id}/login/password", {"password": password})
    assert (response.status_code, response.json()["code"]) == (422, code)
    assert (await new.check(PASSWORD))["answer"] == "must_change", "the one before holds"
