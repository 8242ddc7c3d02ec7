"""People for stories: made by an admin, signed in over HTTP, with what a browser or a program would keep."""

from __future__ import annotations

from itertools import count
from typing import Any

import httpx

from domain.roles import Role
from tests.api.conftest import KEYS, Caller

PEOPLE = count(1)
PASSWORD = "quiet river 47"


class Visitor:
    """Somebody at the door, from an address of their own."""

    def __init__(self, transport: httpx.ASGITransport, address: str, base_url: str = "https://api") -> None:
        asgi = httpx.ASGITransport(transport.app, raise_app_exceptions=False, client=(address, 50_000))
        self.http = httpx.AsyncClient(transport=asgi, base_url=base_url)

    async def knock(self, email: str, password: str, **more: Any) -> httpx.Response:
        return await self.http.post("/v1/sessions", json={"email": email, "password": password, **more})


def visitor(http: httpx.AsyncClient, address: str, base_url: str = "https://api") -> Visitor:
    transport = http._transport  # pyright: ignore[reportPrivateUsage] - the application under test
    assert isinstance(transport, httpx.ASGITransport)
    return Visitor(transport, address, base_url)


async def somebody(api: Caller, role: Role = Role.AGENT) -> dict[str, Any]:
    """A new person without a password."""
    name = f"person-{next(PEOPLE)}"
    return await api.made("/v1/people", {"email": f"{name}@shop.example", "name": name, "role": role})


async def with_password(api: Caller, role: Role = Role.AGENT, address: str = "192.0.2.1") -> dict[str, Any]:
    """A person who has changed their one-time password to `PASSWORD`, and has signed in from this address."""
    person = await somebody(api, role)
    given = await api.made(f"/v1/people/{person['id']}/one-time-password", None)
    first = await visitor(api.http, address).knock(person["email"], given["password"])
    changed = await bearer(api.http, first.json()["token"]).post(
        "/v1/me/password", {"current": given["password"], "new": PASSWORD}
    )
    assert changed.status_code == 204, changed.text
    return person


async def signed_in(api: Caller, person: dict[str, Any], address: str = "192.0.2.1", **more: Any) -> dict[str, Any]:
    response = await visitor(api.http, address).knock(person["email"], PASSWORD, **more)
    assert response.status_code == 201, response.text
    return response.json()


def bearer(http: httpx.AsyncClient, token: str) -> Caller:
    """A program that uses a session."""
    return Caller(http, token)


def page_headers(session: dict[str, Any], *, csrf: bool = True) -> dict[str, str]:
    """What a browser sends for a page of ours, or, without `csrf`, for anybody's page."""
    headers = {"Cookie": f"dunlin_session={session['token']}", "Idempotency-Key": f"page-{next(KEYS)}"}
    return headers | ({"Dunlin-CSRF-Token": session["csrf_token"]} if csrf else {})
