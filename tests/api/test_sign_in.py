"""Signing in over HTTP: a first day with a one-time password, browsers, guessers, a second factor, keys with scopes."""

from __future__ import annotations

import asyncio
import hashlib
from datetime import timedelta
from typing import Any

import httpx
import pytest
from pyotp.totp import TOTP
from sqlalchemy import func, select, text, update

from api import staff
from domain.errors import InvalidInput, NotFound
from domain.lockout import LOGIN_FREE, PAIR_FREE
from domain.roles import Role
from models import AccessLine, IdempotencyRecord, Person, PersonSession, SignInThrottle
from models.session import Database, database_now
from tests.api.conftest import KEYS, Caller
from tests.api.staff_room import PASSWORD, bearer, page_headers, signed_in, somebody, visitor, with_password


def told(response: httpx.Response) -> tuple[int, str]:
    return response.status_code, response.json()["code"]


async def later(database: Database, by: timedelta, email: str | None = None) -> None:
    """As if everything that was tried or opened had been so much earlier."""
    async with database.begin() as connection:
        await connection.execute(update(SignInThrottle).values(last_at=SignInThrottle.last_at - by))
        if email is not None:
            whose = select(Person.id).where(Person.email == email).scalar_subquery()
            await connection.execute(
                update(PersonSession)
                .where(PersonSession.person_id == whose)
                .values(seen_at=PersonSession.seen_at - by, expires_at=PersonSession.expires_at - by)
            )


async def ends(database: Database, person: dict[str, Any]) -> list[str]:
    """How the sign-ins of somebody ended, in their order."""
    async with database.session() as session:
        lines = await session.scalars(
            select(AccessLine)
            .where(AccessLine.kind == "sign_in", AccessLine.caller_id == person["id"])
            .order_by(AccessLine.id)
        )
        return [line.what for line in lines]


# A first day


async def test_a_first_day(api: Caller, database: Database) -> None:
    """09:00 the admin adds Ann and hands a password over; she can do nothing with it but set her own."""
    person = await somebody(api, Role.AGENT)
    door = visitor(api.http, "192.0.2.7")
    assert told(await door.knock(person["email"], "anything at all")) == (401, "sign_in_failed")
    given = await api.made(f"/v1/people/{person['id']}/one-time-password", None)
    first = (await door.knock(person["email"].upper(), given["password"])).json()
    assert first["must_change_password"]
    ann = bearer(api.http, first["token"])
    for refused in (
        await ann.get("/v1/customers"),
        await ann.get("/v1/sessions/current"),
        await ann.post("/v1/customers", {"email": "x@example.com", "currency": "EUR"}),
        await ann.post("/v1/me/second-factor", {"password": given["password"]}),
        await ann.delete("/v1/sessions"),
    ):
        assert told(refused) == (403, "password_change_required")
    same = await ann.post("/v1/me/password", {"current": given["password"], "new": given["password"]})
    assert told(same) == (422, "password_same")
    short = await ann.post("/v1/me/password", {"current": given["password"], "new": "short"})
    assert told(short) == (422, "password_length")
    done = await ann.post("/v1/me/password", {"current": given["password"], "new": PASSWORD})
    assert done.status_code == 204
    assert told(await ann.get("/v1/customers")) == (401, "session_over")
    assert told(await door.knock(person["email"], given["password"])) == (401, "sign_in_failed")
    ann = bearer(api.http, (await door.knock(person["email"], PASSWORD)).json()["token"])
    made = await ann.made("/v1/customers", {"email": "of-ann@example.com", "currency": "EUR"})
    await ann.patch(f"/v1/customers/{made['id']}", {"first_name": "Jo"})
    changes = (await api.get(f"/v1/customers/{made['id']}/changes")).json()["items"]
    assert changes[0]["actor"] == person["name"]
    assert await ends(database, person) == ["wrong_password", "signed_in", "wrong_password", "signed_in"]
    assert (await api.get(f"/v1/people/{person['id']}")).json()["status"] == "active"


async def test_a_one_time_password_does_not_hold_for_ever(api: Caller, database: Database) -> None:
    person = await somebody(api)
    given = await api.made(f"/v1/people/{person['id']}/one-time-password", None)
    async with database.begin() as connection:
        await connection.execute(
            update(Person).where(Person.id == person["id"]).values(one_time_until=func.now() - timedelta(seconds=1))
        )
    response = await visitor(api.http, "192.0.2.8").knock(person["email"], given["password"])
    assert told(response) == (401, "sign_in_failed")
    assert await ends(database, person) == ["one_time_password_over"]


async def test_names_and_logins_are_one_persons_alone(api: Caller) -> None:
    person = await somebody(api)
    key = await api.made("/v1/api-keys", {"name": "the shop's program", "role": "agent"})
    for wrong, field in (
        ({"email": person["email"].upper()}, "email"),
        ({"name": person["name"].upper()}, "name"),
    ):
        body = {"email": f"other-{next(KEYS)}@shop.example", "name": f"other-{next(KEYS)}", "role": "agent"} | wrong
        refused = await api.post("/v1/people", body)
        assert told(refused) == (409, "already_exists")
        assert refused.json()["errors"][0]["field"] == field
    body = {"email": f"other-{next(KEYS)}@shop.example", "name": key["name"], "role": "agent"}
    assert (await api.post("/v1/people", body)).json()["errors"][0]["field"] == "name"
    taken = await api.post("/v1/api-keys", {"name": person["name"], "role": "agent"})
    assert (taken.status_code, taken.json()["errors"][0]["field"]) == (422, "name")


async def test_who_has_signed_in_acts_in_their_own_name(api: Caller) -> None:
    lead = bearer(api.http, (await signed_in(api, await with_password(api, Role.LEAD)))["token"])
    body = {"amount": 100, "currency": "EUR", "actor": "somebody else"}
    assert told(await lead.post("/v1/vouchers", body)) == (422, "actor_is_another")


# What ends a session


@pytest.mark.parametrize("how", ["signed_out", "ended", "role_changed", "disabled", "one_time_password", "by_admin"])
async def test_what_ends_a_session(api: Caller, how: str) -> None:
    person = await with_password(api)
    session = await signed_in(api, person)
    ann = bearer(api.http, session["token"])
    assert (await ann.get("/v1/sessions/current")).json()["id"] == session["id"]
    path = f"/v1/people/{person['id']}"
    done = {
        "signed_out": lambda: ann.delete("/v1/sessions/current"),
        "ended": lambda: ann.delete(f"/v1/sessions/{session['id']}"),
        "role_changed": lambda: api.patch(path, {"role": "lead"}),
        "disabled": lambda: api.post(f"{path}/disable"),
        "one_time_password": lambda: api.post(f"{path}/one-time-password"),
        "by_admin": lambda: api.delete(f"{path}/sessions"),
    }[how]
    assert (await done()).is_success
    assert told(await ann.get("/v1/customers")) == (401, "session_over")
    assert told(await ann.post("/v1/tasks", {"title": "x"})) == (401, "session_over")
    if how == "disabled":
        assert told(await visitor(api.http, "192.0.2.1").knock(person["email"], PASSWORD)) == (401, "sign_in_failed")
        await api.post(f"{path}/enable")
        await signed_in(api, person)


@pytest.mark.parametrize("idle", [True, False])
async def test_a_session_ends_by_itself(api: Caller, database: Database, idle: bool) -> None:
    person = await with_password(api)
    session = await signed_in(api, person)
    column = PersonSession.seen_at if idle else PersonSession.expires_at
    by = timedelta(minutes=31) if idle else timedelta(hours=12, minutes=1)
    async with database.begin() as connection:
        await connection.execute(
            update(PersonSession).where(PersonSession.id == session["id"]).values({column: column - by})
        )
    assert told(await bearer(api.http, session["token"]).get("/v1/customers")) == (401, "session_over")


async def test_a_session_in_use_goes_on(api: Caller, database: Database) -> None:
    person = await with_password(api)
    session = await signed_in(api, person)
    ann = bearer(api.http, session["token"])
    async with database.begin() as connection:
        await connection.execute(
            update(PersonSession)
            .where(PersonSession.id == session["id"])
            .values(seen_at=func.now() - timedelta(minutes=29))
        )
    assert (await ann.get("/v1/customers")).status_code == 200
    async with database.session() as reading:
        row = (await reading.execute(select(PersonSession).where(PersonSession.id == session["id"]))).scalar_one()
        assert await database_now(reading) - row.seen_at < timedelta(minutes=1)


async def test_nobody_takes_themself_away_and_nobody_ends_anothers_session(api: Caller) -> None:
    admin, other = await with_password(api, Role.ADMIN), await with_password(api, Role.ADMIN)
    session, of_other = await signed_in(api, admin), await signed_in(api, other)
    ann = bearer(api.http, session["token"])
    path = f"/v1/people/{admin['id']}"
    assert told(await ann.post(f"{path}/disable")) == (409, "own_account")
    assert told(await ann.patch(path, {"role": "agent"})) == (409, "own_account")
    assert told(await ann.delete(f"/v1/sessions/{of_other['id']}")) == (404, "not_found")
    assert (await ann.get("/v1/sessions")).json()["items"][0]["id"] == session["id"]


# Browsers


async def test_a_cookie_is_for_our_pages_alone(api: Caller) -> None:
    person = await with_password(api)
    response = await visitor(api.http, "192.0.2.1").knock(person["email"], PASSWORD)
    cookies = response.headers.get_list("set-cookie")
    assert len(cookies) == 2
    assert all("HttpOnly" in cookie and "SameSite=strict" in cookie and "Secure" in cookie for cookie in cookies)
    assert response.headers["cache-control"] == "no-store"
    session = response.json()
    task = {"title": "from a page"}
    reading = await api.http.get("/v1/sessions/current", headers={"Cookie": f"dunlin_session={session['token']}"})
    assert reading.json()["csrf_token"] == session["csrf_token"]
    forged = await api.http.post("/v1/tasks", json=task, headers=page_headers(session, csrf=False))
    assert told(forged) == (403, "csrf_token_missing")
    other = await signed_in(api, await with_password(api))
    borrowed = page_headers(session) | {"Dunlin-CSRF-Token": other["csrf_token"]}
    assert told(await api.http.post("/v1/tasks", json=task, headers=borrowed)) == (403, "csrf_token_missing")
    assert (await api.http.post("/v1/tasks", json=task, headers=page_headers(session))).status_code == 201
    out = await api.http.delete("/v1/sessions/current", headers=page_headers(session))
    assert 'dunlin_session=""' in out.headers["set-cookie"]


async def test_on_this_very_machine_a_cookie_needs_no_https(api: Caller) -> None:
    person = await with_password(api)
    for base, secure in (("http://127.0.0.1:8000", False), ("http://localhost", False), ("http://shop.example", True)):
        response = await visitor(api.http, "192.0.2.1", base).knock(person["email"], PASSWORD)
        assert all(("Secure" in cookie) == secure for cookie in response.headers.get_list("set-cookie"))


async def test_a_page_of_another_site_cannot_sign_somebody_in(api: Caller) -> None:
    """A form can send text, not JSON."""
    person = await with_password(api)
    body = f'{{"email": "{person["email"]}", "password": "{PASSWORD}"}}'
    response = await api.http.post("/v1/sessions", content=body, headers={"Content-Type": "text/plain"})
    assert response.status_code == 422


# Guessers


async def test_an_unknown_login_and_a_wrong_password_look_the_same(api: Caller, database: Database) -> None:
    person, disabled = await with_password(api), await with_password(api)
    await api.post(f"/v1/people/{disabled['id']}/disable")
    door = visitor(api.http, "198.51.100.1")
    answers = [
        await door.knock(person["email"], "wrong " + PASSWORD),
        await door.knock("nobody-here@shop.example", PASSWORD),
        await door.knock(disabled["email"], PASSWORD),
        await door.knock("not even an address", PASSWORD),
    ]
    assert {(each.status_code, each.text) for each in answers} == {(401, answers[0].text)}
    async with database.session() as session:
        line = (await session.scalars(select(AccessLine).where(AccessLine.actor == "nobody").limit(1))).one()
        assert (line.what, line.address, line.caller_id) == ("wrong_password", "198.51.100.1", None)


async def test_a_guesser_waits_and_the_owner_does_not(api: Caller, database: Database) -> None:
    """Wrong passwords from one address, then from ever new ones; Ann signs in meanwhile from where she always does."""
    person = await with_password(api, address="192.0.2.20")
    guesser = visitor(api.http, "198.51.100.20")
    for _ in range(PAIR_FREE):
        assert told(await guesser.knock(person["email"], "guess of the day")) == (401, "sign_in_failed")
    for _ in range(3):
        held = await guesser.knock(person["email"], PASSWORD)  # not even the right one is heard
        assert told(held) == (429, "too_many_tries")
        assert 1 <= int(held.headers["Retry-After"]) <= 2
    for number in range(LOGIN_FREE - PAIR_FREE):
        stranger = visitor(api.http, f"198.51.100.{100 + number}")
        assert told(await stranger.knock(person["email"], "guess of the day")) == (401, "sign_in_failed")
    assert told(await visitor(api.http, "203.0.113.99").knock(person["email"], PASSWORD)) == (429, "too_many_tries")
    await signed_in(api, person, address="192.0.2.20")
    assert (await ends(database, person)).count("held_back") == 2  # once for each place, however often it tried


async def test_a_known_device_is_heard_beside_a_guesser_at_the_same_address(api: Caller) -> None:
    """One office, one address: whoever guesses there cannot keep Ann out, whose browser has a device's token."""
    person = await with_password(api, address="192.0.2.30")
    device = (await signed_in(api, person, address="192.0.2.30"))["device_token"]
    assert device is not None
    beside = visitor(api.http, "192.0.2.30")
    for _ in range(PAIR_FREE):
        await beside.knock(person["email"], "guess of the day")
    assert told(await beside.knock(person["email"], PASSWORD)) == (429, "too_many_tries")
    assert told(await beside.knock(person["email"], PASSWORD, device="dd_made-up")) == (429, "too_many_tries")
    assert (await beside.knock(person["email"], PASSWORD, device=device)).json()["device_token"] is None


async def test_a_hundred_guesses_at_once_are_not_one(api: Caller) -> None:
    person = await with_password(api)
    guesser = visitor(api.http, "198.51.100.40")
    answers = await asyncio.gather(*(guesser.knock(person["email"], f"guess number {n}") for n in range(12)))
    assert [each.status_code for each in answers].count(401) == PAIR_FREE


async def test_a_right_password_clears_what_was_wrong_there(api: Caller) -> None:
    person = await with_password(api, address="192.0.2.50")
    door = visitor(api.http, "192.0.2.50")
    for _ in range(2):
        for _ in range(PAIR_FREE - 1):
            assert told(await door.knock(person["email"], "forgot it again")) == (401, "sign_in_failed")
        assert (await door.knock(person["email"], PASSWORD)).status_code == 201


async def test_an_open_session_is_no_place_to_guess_the_password(api: Caller, database: Database) -> None:
    person = await with_password(api)
    ann = bearer(api.http, (await signed_in(api, person))["token"])
    for _ in range(PAIR_FREE):
        wrong = await ann.post("/v1/me/password", {"current": "guess of the day", "new": "another one 48"})
        assert told(wrong) == (422, "wrong_password")
    body = {"current": PASSWORD, "new": "another one 48"}
    assert told(await ann.post("/v1/me/password", body)) == (429, "too_many_tries")
    await signed_in(api, person)
    await later(database, timedelta(seconds=3))
    assert (await ann.post("/v1/me/password", body)).status_code == 204


# A second factor


async def test_a_second_factor(api: Caller, database: Database) -> None:
    person = await with_password(api, address="192.0.2.60")
    ann = bearer(api.http, (await signed_in(api, person, address="192.0.2.60"))["token"])
    assert told(await ann.post("/v1/me/second-factor", {"password": "not hers at all"})) == (422, "wrong_password")
    secret = (await ann.made("/v1/me/second-factor", {"password": PASSWORD}))["secret"]
    await signed_in(api, person, address="192.0.2.60")  # not confirmed yet: no code is asked for
    authenticator = TOTP(secret)
    async with database.session() as session:
        now = await database_now(session)
        row = (await session.execute(select(Person).where(Person.id == person["id"]))).scalar_one()
        assert secret not in str(row.totp_pending)
    assert told(await ann.post("/v1/me/second-factor/confirm", {"code": "000000x"})) == (422, "code_wrong")
    code = authenticator.at(now - timedelta(seconds=30))
    confirmed = await ann.post("/v1/me/second-factor/confirm", {"code": code})
    recovery = confirmed.json()["recovery_codes"]
    door = visitor(api.http, "192.0.2.60")
    assert told(await door.knock(person["email"], PASSWORD)) == (401, "code_required")
    assert told(await door.knock(person["email"], "wrong " + PASSWORD)) == (401, "sign_in_failed")
    assert told(await door.knock(person["email"], PASSWORD, code=code)) == (401, "sign_in_failed")  # used before
    fresh = authenticator.at(now)
    assert (await door.knock(person["email"], PASSWORD, code=f"{fresh[:3]} {fresh[3:]}")).status_code == 201
    assert told(await door.knock(person["email"], PASSWORD, code=fresh)) == (401, "sign_in_failed")
    assert (await door.knock(person["email"], PASSWORD, code=recovery[0])).status_code == 201
    assert told(await door.knock(person["email"], PASSWORD, code=recovery[0])) == (401, "sign_in_failed")
    renewed = await ann.made("/v1/me/recovery-codes", {"password": PASSWORD, "code": recovery[1]})
    assert told(await door.knock(person["email"], PASSWORD, code=recovery[2])) == (401, "sign_in_failed")
    gone = await ann.post("/v1/me/second-factor/remove", {"password": PASSWORD, "code": renewed["recovery_codes"][0]})
    assert gone.status_code == 204
    await signed_in(api, person, address="192.0.2.60")


async def test_one_code_at_once_opens_one_session(api: Caller, database: Database) -> None:
    person = await with_password(api, address="192.0.2.61")
    ann = bearer(api.http, (await signed_in(api, person, address="192.0.2.61"))["token"])
    secret = (await ann.made("/v1/me/second-factor", {"password": PASSWORD}))["secret"]
    async with database.session() as session:
        now = await database_now(session)
    await ann.post("/v1/me/second-factor/confirm", {"code": TOTP(secret).at(now - timedelta(seconds=30))})
    door = visitor(api.http, "192.0.2.61")
    answers = await asyncio.gather(
        *(door.knock(person["email"], PASSWORD, code=TOTP(secret).at(now)) for _ in range(3))
    )
    assert sorted(each.status_code for each in answers) == [201, 401, 401]


async def test_whoever_lost_the_authenticator_is_helped_by_an_admin(api: Caller, database: Database) -> None:
    person = await with_password(api)
    ann = bearer(api.http, (await signed_in(api, person))["token"])
    secret = (await ann.made("/v1/me/second-factor", {"password": PASSWORD}))["secret"]
    async with database.session() as session:
        now = await database_now(session)
    await ann.post("/v1/me/second-factor/confirm", {"code": TOTP(secret).at(now)})
    assert told(await ann.post("/v1/me/second-factor", {"password": PASSWORD})) == (409, "second_factor_set")
    assert (await api.get(f"/v1/people/{person['id']}")).json()["second_factor"]
    assert (await api.delete(f"/v1/people/{person['id']}/second-factor")).status_code == 204
    assert told(await ann.get("/v1/customers")) == (401, "session_over")
    await signed_in(api, person)


# Keys


async def test_a_key_may_do_what_its_scopes_say(api: Caller) -> None:
    made = await api.made("/v1/api-keys", {"name": "signups", "role": "agent", "scopes": ["create_customer"]})
    program = bearer(api.http, made["key"])
    await program.made("/v1/customers", {"email": "scoped@example.com", "currency": "EUR"})
    assert told(await program.post("/v1/tasks", {"title": "x"})) == (403, "forbidden_scope")
    assert told(await program.get("/v1/customers")) == (403, "forbidden_scope")
    reader = bearer(
        api.http, (await api.made("/v1/api-keys", {"name": "r", "role": "agent", "scopes": ["read"]}))["key"]
    )
    assert (await reader.get("/v1/customers")).status_code == 200
    assert told(await reader.post("/v1/tasks", {"title": "x"})) == (403, "forbidden_scope")
    beyond = {"name": "b", "role": "agent", "scopes": ["create_customer", "approve_refund"]}
    assert told(await api.post("/v1/api-keys", beyond)) == (422, "scope_beyond_role")
    for path in ("/v1/sessions", "/v1/sessions/current"):
        assert told(await api.get(path)) == (403, "people_only")


async def test_a_key_is_shown_once_and_ends_at_once(api: Caller, database: Database) -> None:
    body = {"name": "the warehouse", "role": "agent"}
    made = await api.post("/v1/api-keys", body, key="warehouse-1")
    assert told(await api.post("/v1/api-keys", body, key="warehouse-1")) == (409, "shown_once")
    program = bearer(api.http, made.json()["key"])
    assert (await program.get("/v1/meta")).json()["caller"] == "the warehouse"
    listed = (await api.get("/v1/api-keys")).json()
    (shown,) = [row for row in listed["items"] if row["id"] == made.json()["id"]]
    assert shown["used_at"] is not None
    assert made.json()["key"] not in str(listed)
    assert (await api.delete(f"/v1/api-keys/{shown['id']}")).status_code == 204
    assert told(await program.get("/v1/meta")) == (401, "unauthorized")
    async with database.session() as session:
        kept = await session.scalar(select(IdempotencyRecord.body).where(IdempotencyRecord.key == "warehouse-1"))
        assert made.json()["key"] not in str(kept)


async def test_no_secret_rests_where_somebody_could_read_it(api: Caller, database: Database) -> None:
    """Whatever was typed or shown today is in no column of no table, but for hashes and sealed bytes."""
    person = await with_password(api, address="192.0.2.90")
    session = await signed_in(api, person, address="192.0.2.90")
    ann = bearer(api.http, session["token"])
    secret = (await ann.made("/v1/me/second-factor", {"password": PASSWORD}))["secret"]
    given = (await api.made(f"/v1/people/{person['id']}/one-time-password", None))["password"]
    key = (await api.made("/v1/api-keys", {"name": f"key-{next(KEYS)}", "role": "agent"}))["key"]
    hidden = [PASSWORD, session["token"], session["csrf_token"], session["device_token"], secret, given, key]
    async with database.begin() as connection:
        tables = await connection.scalars(text("SELECT tablename FROM pg_tables WHERE schemaname = 'public'"))
        for table in tables.all():
            for word in hidden:
                found = await connection.scalar(
                    text(f'SELECT count(*) FROM "{table}" AS t WHERE strpos(t::text, :word) > 0'),  # noqa: S608
                    {"word": word},
                )
                assert found == 0, f"{table} holds a secret"
    async with database.session() as reading:
        hashes = await reading.scalars(select(Person.password_hash).where(Person.id == person["id"]))
        assert str(hashes.one()).startswith("$argon2id$")


async def test_a_body_with_a_password_leaves_no_digest_to_guess_from(api: Caller, database: Database) -> None:
    person = await with_password(api)
    ann = bearer(api.http, (await signed_in(api, person))["token"])
    response = await ann.post("/v1/me/second-factor", {"password": PASSWORD}, key="digest-1")
    async with database.session() as session:
        kept = await session.scalar(select(IdempotencyRecord.digest).where(IdempotencyRecord.key == "digest-1"))
    assert response.is_success
    assert kept != hashlib.sha256(response.request.content).hexdigest()
    again = await ann.post("/v1/me/second-factor", {"password": "another one 48"}, key="digest-1")
    assert told(again) == (422, "idempotency_key_reused")


# The command line, where nobody can sign in yet, or any more


async def test_the_first_admin_comes_from_the_command_line(api: Caller, database: Database) -> None:
    name = f"first-{next(KEYS)}"
    email = f"{name}@shop.example"
    password = await staff.invite(database, email=email, name=name, role=Role.ADMIN)
    door = visitor(api.http, "192.0.2.95")
    assert (await door.knock(email, password)).json()["must_change_password"]
    for wrong in ({"email": "no-address"}, {"name": ""}, {"email": email.upper()}, {"name": name.upper()}):
        given = {"email": f"x{email}", "name": f"x{name}"} | wrong
        with pytest.raises(InvalidInput):
            await staff.invite(database, **given, role=Role.AGENT)
    assert name in {person.name for person in await staff.everybody(database)}


async def test_who_is_shut_out_is_let_in_again(api: Caller, database: Database) -> None:
    person = await with_password(api, Role.ADMIN)
    ann = bearer(api.http, (await signed_in(api, person))["token"])
    secret = (await ann.made("/v1/me/second-factor", {"password": PASSWORD}))["secret"]
    async with database.session() as session:
        now = await database_now(session)
    await ann.post("/v1/me/second-factor/confirm", {"code": TOTP(secret).at(now)})
    await api.post(f"/v1/people/{person['id']}/disable")
    password = await staff.let_in_again(database, person["email"])
    assert (await visitor(api.http, "192.0.2.1").knock(person["email"], password)).json()["must_change_password"]
    with pytest.raises(NotFound):
        await staff.let_in_again(database, "nobody@shop.example")
