"""A lead's first hour on the real server: one-time password, own one, second factor, a command in her own name."""

from __future__ import annotations

from datetime import UTC, datetime

import httpx
import pytest
from pyotp.totp import TOTP

from local.keys import api_key
from tests.stack_fixtures import NUMBERS, Shop, at

pytestmark = [pytest.mark.stack, pytest.mark.timeout(180)]

PASSWORD = "quiet river 47"


def once() -> dict[str, str]:
    return {"Idempotency-Key": f"sign-in-{next(NUMBERS)}"}


async def test_a_leads_first_hour(shop: Shop) -> None:
    state = await shop.start(await shop.customer("tok_ok_visa"), await shop.terms(), start_at=at("2027-03-05", 9))
    await shop.until(state.id, at("2027-03-05", 10))
    admin = {"Authorization": f"Bearer {await api_key(shop.stack)}"}
    name = f"lea-{next(NUMBERS)}"
    login = {"email": f"{name}@shop.example"}
    async with httpx.AsyncClient(base_url=shop.stack.api_url, timeout=30, trust_env=False) as http:
        person = (
            await http.post("/v1/people", json=login | {"name": name, "role": "lead"}, headers=admin | once())
        ).json()
        path = f"/v1/people/{person['id']}/one-time-password"
        given = (await http.post(path, headers=admin | once())).json()["password"]

        first = await http.post("/v1/sessions", json=login | {"password": given})
        assert "Secure" not in first.headers["set-cookie"]  # on this very machine
        page = {"Dunlin-CSRF-Token": first.json()["csrf_token"]}  # the cookies are the client's own affair
        body = {"current": given, "new": PASSWORD}
        assert (await http.post("/v1/me/password", json=body, headers=page | once())).status_code == 204
        assert (await http.get("/v1/sessions/current")).status_code == 401

        again = (await http.post("/v1/sessions", json=login | {"password": PASSWORD})).json()
        assert again["device_token"] is None  # the browser's cookie was known
        page = {"Dunlin-CSRF-Token": again["csrf_token"]}
        setup = await http.post("/v1/me/second-factor", json={"password": PASSWORD}, headers=page | once())
        code = TOTP(setup.json()["secret"]).at(datetime.now(UTC))
        confirmed = await http.post("/v1/me/second-factor/confirm", json={"code": code}, headers=page | once())
        recovery = confirmed.json()["recovery_codes"]

        await shop.stack.restart("api")  # sessions are in the database, and the sealed secret opens again
        credit = {"amount": 500, "currency": "USD", "reason": "sorry"}
        done = await http.post(f"/v1/subscriptions/{state.id}/credit", json=credit, headers=page | once())
        assert done.status_code == 200, done.text
        assert [event["actor"] for event in await shop.events(state.id) if event["kind"] == "credit_granted"] == [name]
        needed = await http.post("/v1/sessions", json=login | {"password": PASSWORD})
        assert needed.json()["code"] == "code_required"
        third = await http.post("/v1/sessions", json=login | {"password": PASSWORD, "code": recovery[0]})
        assert third.status_code == 201
