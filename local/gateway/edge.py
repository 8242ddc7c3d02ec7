"""How the sandbox gateway speaks HTTP: replies, refusals by field, a limit on bodies, the parts of the app."""

from __future__ import annotations

import asyncio
import json
from contextlib import suppress
from typing import Annotated, Any, Final

from fastapi import Depends, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send

from local.gateway.bank import Bank, Refusal, Reply
from local.gateway.card_life import CardLife
from local.gateway.disputes import Disputes
from local.gateway.events import Events
from local.gateway.returns import Returns
from local.gateway.schemas import METHOD_TAGS
from local.gateway.settlement import Settlements, Timetable

BODY_BYTES_MAX: Final = 64 * 1024
PAGE_SIZE_MAX: Final = 10_000
FAR_FUTURE_MS: Final = 2**62
# Where a field stands, in a validation error's location; the caller wants its name.
_PLACES: Final = frozenset({"body", "query", *METHOD_TAGS})


async def _bank(request: Request) -> Bank:
    return request.app.state.bank


async def _returns(request: Request) -> Returns:
    return request.app.state.returns


async def _settlements(request: Request) -> Settlements:
    return request.app.state.settlements


async def _timetable(request: Request) -> Timetable:
    return request.app.state.timetable


async def _disputes(request: Request) -> Disputes:
    return request.app.state.disputes


async def _card_life(request: Request) -> CardLife:
    return request.app.state.card_life


async def _events(request: Request) -> Events:
    return request.app.state.events


TheBank = Annotated[Bank, Depends(_bank)]
TheReturns = Annotated[Returns, Depends(_returns)]
TheSettlements = Annotated[Settlements, Depends(_settlements)]
TheTimetable = Annotated[Timetable, Depends(_timetable)]
TheDisputes = Annotated[Disputes, Depends(_disputes)]
TheCardLife = Annotated[CardLife, Depends(_card_life)]
TheEvents = Annotated[Events, Depends(_events)]


class BodyLimit:
    """Refuses a body above `BODY_BYTES_MAX`, or one that does not say its length, before reading it."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            headers = dict(scope["headers"])
            length = headers.get(b"content-length", b"0")
            if b"transfer-encoding" in headers or int(length) > BODY_BYTES_MAX:
                refusal = Refusal(413, "too_large", f"a body has at most {BODY_BYTES_MAX} bytes")
                await reply(refusal.status, refusal.body())(scope, receive, send)
                return
        await self._app(scope, receive, send)


async def send(told: Reply) -> Response:
    """Answer, after sitting on the answer where the script says so."""
    if told.wait_s:
        with suppress(asyncio.CancelledError):  # at shutdown nobody waits for the answer any more
            await asyncio.sleep(told.wait_s)
    return reply(told.status, told.body)


def reply(status: int, body: Any) -> Response:
    return Response(json.dumps(body, separators=(",", ":")), status, media_type="application/json")


def base_url(request: Request) -> str:
    """Where this gateway was called, without building the whole address of the request."""
    return f"http://{request.headers.get('host', '127.0.0.1')}"


async def refused(_: Request, error: Exception) -> Response:
    assert isinstance(error, Refusal)  # noqa: S101 - registered for this class alone
    return reply(error.status, error.body())


async def invalid(_: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)  # noqa: S101 - registered for this class alone
    return problems(error.errors())


def problems(errors: Any) -> JSONResponse:
    found = [(".".join(str(at) for at in e["loc"] if at not in _PLACES), e["msg"]) for e in errors]
    fields = [{"field": field or "body", "message": message} for field, message in found]
    body = {"code": "invalid_request", "message": "; ".join(f"{f['field']}: {f['message']}" for f in fields)}
    return JSONResponse({"error": body | {"field": fields[0]["field"], "fields": fields}}, 422)


def unprocessable(field: str, message: str) -> JSONResponse:
    return problems([{"loc": (field,), "msg": message}])
