"""What every route does before its own code: the caller is known and may, the body is sane, a POST works once."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, ClassVar, Final

from fastapi import APIRouter, Request, Security
from fastapi.responses import Response
from fastapi.routing import APIRoute
from fastapi.security import HTTPBearer

from api import activity, errors, idempotency
from api.forgotten import refuse_forgotten
from api.keys import Caller
from api.roles import admit
from api.sessions import caller_of
from domain.errors import InvalidInput, NotFound, Refused
from models.queries_customers import customer

MIB: Final = 1024 * 1024
READING: Final = {"GET"}
FORGETS: Final = "forget_customer"  # doing it again changes nothing, and says the same

_bearer = HTTPBearer(
    bearerFormat="dk_…",
    description="An API key (`dk_…`), or the token of a session (`ds_…`), which browsers send as a cookie",
    auto_error=False,
)

_Handler = Callable[[Request], Coroutine[Any, Any, Response]]


@dataclass(slots=True)
class _Given:
    """What is known of a request so far. `claimed`: it is the one that works under its idempotency key."""

    caller: Caller
    asked: idempotency.Asked | None = None
    claimed: bool = False
    replayed: bool = False


class Edge(APIRoute):
    """A route that anybody may call. Every error leaves it as a problem document."""

    body_bytes_max: ClassVar[int] = MIB

    def get_route_handler(self) -> _Handler:
        own = super().get_route_handler()

        async def handle(request: Request) -> Response:
            try:
                return await self._handle(request, own)
            except Exception as error:  # noqa: BLE001 - the edge: what is not answered here would be a bare 500
                return errors.answer(error)

        return handle

    async def _handle(self, request: Request, own: _Handler) -> Response:
        self._refuse_unknown_query(request)
        request, _ = await self._read(request)
        return await own(request)

    def _refuse_unknown_query(self, request: Request) -> None:
        """A route's query is one model that forbids what it does not know, or there is none."""
        if request.query_params and not self.dependant.query_params:
            raise InvalidInput(next(iter(request.query_params)), "there is no such query parameter here")

    async def _read(self, request: Request) -> tuple[Request, bytes]:
        """The request with its whole body read; reading stops as soon as it is too large."""
        receive, size, limit = request.receive, 0, self.body_bytes_max
        too_large = InvalidInput("body", f"is at most {limit} bytes", code="body_too_large")
        if int(request.headers.get("content-length") or 0) > limit:
            raise too_large

        async def counted() -> Any:
            nonlocal size
            message = await receive()
            size += len(message.get("body", b""))
            if size > limit:
                raise too_large
            return message

        request = Request(request.scope, counted)
        return request, await request.body()


class Route(Edge):
    """A route for known callers who may; a POST works once for each idempotency key."""

    async def _handle(self, request: Request, own: _Handler) -> Response:
        database = request.app.state.services.database
        caller = await caller_of(request, database)
        request.state.caller = caller
        given = _Given(caller)
        try:
            try:
                response = await self._work(request, own, given)
            except NotFound:  # of a merged customer nothing is left: say whose it is now
                await _refuse_merged(request, request.path_params.get("customer_id"))
                raise
        except Exception as error:  # noqa: BLE001 - whatever it is: it is logged, and the key freed or the answer kept
            response = errors.answer(error)
        await self._close(request, given, response)
        return response

    async def _work(self, request: Request, own: _Handler, given: _Given) -> Response:
        admit(given.caller, self.name, reading=self.methods == READING)
        self._refuse_unknown_query(request)
        await _refuse_merged(request, request.query_params.get("customer_id"))
        request, body = await self._read(request)
        if self.methods != READING and self.name != FORGETS:
            await refuse_forgotten(request, body)
        if request.method != "POST":
            return await own(request)
        given.asked = idempotency.asked(request, given.caller, self._digest(request, body))
        request.state.once = given.asked.once
        before = await idempotency.claim(request.app.state.services.database, given.asked)
        if before is not None:
            given.replayed = True
            return before
        given.claimed = True
        return await own(request)

    async def _close(self, request: Request, given: _Given, response: Response) -> None:
        """Log the request and keep its answer, both or neither: no answer leaves that is not logged."""
        if self.methods == READING:
            line = activity.of_reading(request, given.caller, self.name, response)
        else:
            key = given.asked.once.key if given.asked else None
            line = activity.of_command(request, given.caller, self.name, response, key=key, replayed=given.replayed)
        if line is None:
            return
        async with request.app.state.services.database.begin() as connection:
            await connection.execute(line)
            if given.asked is not None and given.claimed:
                await connection.execute(idempotency.settled(given.asked, self._kept(response)))

    def _digest(self, request: Request, body: bytes) -> str:  # noqa: ARG002 - what others make it of
        """By which a repetition is known for the same request."""
        return hashlib.sha256(body).hexdigest()

    def _kept(self, response: Response) -> Response:
        """What a repetition is answered."""
        return response


async def _refuse_merged(request: Request, asked: str | None) -> None:
    """What belonged to a merged customer would seem not to be there, as if they had nothing: raises `Merged`."""
    if asked is not None and "\x00" not in asked:
        async with request.app.state.services.database.session() as session:
            await customer(session, asked)


class SecretRoute(Route):
    """For a password or a code in a body: of those a plain digest could be guessed, so it is made with a secret."""

    def _digest(self, request: Request, body: bytes) -> str:
        return request.app.state.services.vault.fingerprint(body)


class ShownOnceRoute(SecretRoute):
    """For an answer with a secret: it is not kept, and a repetition is told that it was shown."""

    def _kept(self, response: Response) -> Response:
        if response.status_code >= HTTPStatus.BAD_REQUEST:
            return response
        return errors.answer(
            Refused("shown_once", "This was done, and its secret was shown then, only once. Make a new one.")
        )


class LargeRoute(Route):
    """For files in a body."""

    body_bytes_max: ClassVar[int] = 64 * MIB


def _problem(description: str) -> dict[str, Any]:
    return {
        "model": errors.Problem,
        "description": description,
        "content": {errors.PROBLEM_JSON: {"schema": {"$ref": "#/components/schemas/Problem"}}},
    }


PROBLEMS: Final[dict[int | str, dict[str, Any]]] = {
    401: _problem("No API key or session, or none that works"),
    403: _problem("You may not do that; `roles` may, where it is a matter of roles"),
    404: _problem("There is no such thing"),
    410: _problem("This customer was merged into another (`merged_into` says which), or made anonymous (`forgotten`)"),
    409: _problem("Right input, wrong moment; `allowed` says what would be taken now"),
    422: _problem("A field breaks a rule; `errors` names field and rule; nothing was changed"),
    500: _problem("A bug; the same request may be repeated"),
    503: _problem("A part of the system is down; repeat after `Retry-After` seconds"),
}


# Of routes that look at a password or a code.
TOO_MANY_TRIES: Final = _problem("Too many wrong passwords or codes; the next is heard after `Retry-After` seconds")


def noun(tag: str, *, route_class: type[Route] = Route) -> APIRouter:
    """A router for one noun, with everything its routes share."""
    return APIRouter(tags=[tag], route_class=route_class, responses=PROBLEMS, dependencies=[Security(_bearer)])
