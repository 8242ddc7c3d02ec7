"""What holds for every page: headers, how many requests are heard, whose forms are taken, how large a form may be.

There are no cookies, so nothing is done in somebody's name by another site: whoever has no link has nothing. A form
from another site is refused all the same.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final
from urllib.parse import parse_qsl, urlsplit

from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from domain.errors import InvalidInput
from domain.lockout import place_of
from domain.papers import Seller
from portal.context import Portal
from portal.frame import Frame, message
from portal.limits import Limits

FORM_BYTES_MAX: Final = 4096
FORM_FIELDS_MAX: Final = 10
YEAR_S: Final = 31_536_000

_HEADERS: Final = (
    (
        "Content-Security-Policy",
        "default-src 'none'; style-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    ),
    ("X-Content-Type-Options", "nosniff"),
    ("X-Frame-Options", "DENY"),
    # The address is the key: no other site gets to see it.
    ("Referrer-Policy", "same-origin"),
    ("Cross-Origin-Opener-Policy", "same-origin"),
    ("Cross-Origin-Resource-Policy", "same-origin"),
    ("Permissions-Policy", "camera=(), geolocation=(), microphone=(), payment=()"),
    ("X-Robots-Tag", "noindex, nofollow"),
)


class ForeignForm(Exception):
    """A form that was not sent from a page of ours."""


class Edge:
    """Around the whole portal."""

    def __init__(self, app: ASGIApp, portal: Portal) -> None:
        self._app = app
        self._portal = portal
        self._limits = Limits()
        lasting = (("Strict-Transport-Security", f"max-age={YEAR_S}"),) if portal.is_https else ()
        self._headers = [(name.lower().encode(), value.encode()) for name, value in (*_HEADERS, *lasting)]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def with_headers(said: Message) -> None:
            if said["type"] == "http.response.start":
                headers = list(said.get("headers", ()))
                if not any(name == b"cache-control" for name, _ in headers):
                    headers.append((b"cache-control", b"no-store"))
                said = {**said, "headers": [*headers, *self._headers]}
            await send(said)

        request = Request(scope, receive)
        place = place_of(request.client.host if request.client else "", None)
        wait = self._limits.wait_s(place, self._portal.clock())
        if wait:
            response = message(
                Frame(self._portal.base, Seller()),
                "Please wait a moment",
                f"There were too many requests from your connection. Try again in {wait} seconds.",
                429,
            )
            response.headers["Retry-After"] = str(wait)
            await response(scope, receive, with_headers)
            return
        await self._app(scope, receive, with_headers)


async def form_of(request: Request) -> Mapping[str, str]:
    """The fields of a form of ours. Raises `ForeignForm`, or `InvalidInput` for one that no page of ours sends."""
    _refuse_foreign(request)
    size, parts = 0, list[bytes]()
    async for part in request.stream():
        size += len(part)
        if size > FORM_BYTES_MAX:
            raise InvalidInput("form", f"is at most {FORM_BYTES_MAX} bytes")
        parts.append(part)
    try:
        fields = parse_qsl(
            b"".join(parts).decode(), keep_blank_values=True, max_num_fields=FORM_FIELDS_MAX, errors="strict"
        )
    except ValueError as error:
        raise InvalidInput("form", "is not readable") from error
    if len(dict(fields)) != len(fields) or any(not value.isprintable() for _, value in fields):
        raise InvalidInput("form", "is not one that a page of ours sends")
    return dict(fields)


def _refuse_foreign(request: Request) -> None:
    """By what browsers add by themselves. What adds none of it is no browser, and nobody was led there by a page."""
    site, origin = request.headers.get("sec-fetch-site"), request.headers.get("origin")
    if site is not None and site != "same-origin":
        raise ForeignForm
    if origin is not None and urlsplit(origin).netloc != request.headers.get("host"):
        raise ForeignForm
