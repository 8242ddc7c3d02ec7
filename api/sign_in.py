"""Signing in and out: what a request to sign in looks like, its cookies, and which sessions go on."""

from __future__ import annotations

import ipaddress
from datetime import timedelta
from typing import Annotated, Any, ClassVar, Final

from fastapi import APIRouter, Path, Query, Request, Response
from pydantic import ConfigDict, Field, StringConstraints

from api.context import CallerDep, ServicesDep
from api.door import Knock, knock
from api.errors import Forbidden
from api.fields import Body, Identifier, Instant, Line, View
from api.keys import Caller
from api.paging import Listed, PageQuery, listed
from api.routing import PROBLEMS, TOO_MANY_TRIES, Edge, noun
from api.rows import found
from api.sessions import AGE_MAX, COOKIE, csrf_of, end_all, end_one
from domain.lockout import KNOWN_FOR
from domain.passwords import PASSWORD_LENGTH_MAX
from domain.roles import Role
from models.queries_people import SESSIONS, session_of, sessions_of

DEVICE_COOKIE: Final = "dunlin_device"
DEVICE_LENGTH_MAX: Final = 100
SIGN_IN_BYTES_MAX: Final = 8 * 1024
LOGIN_LENGTH_MAX: Final = 254
CODE_LENGTH_MAX: Final = 40
SESSIONS_PATH: Final = "/v1/sessions"

Password = Annotated[str, StringConstraints(min_length=1, max_length=PASSWORD_LENGTH_MAX)]
SecondFactor = Annotated[Line, StringConstraints(min_length=1, max_length=CODE_LENGTH_MAX)]


class SignInRoute(Edge):
    """Whoever signs in has no key yet. A repetition opens another session and leaves the first to its end."""

    body_bytes_max: ClassVar[int] = SIGN_IN_BYTES_MAX


public = APIRouter(
    tags=["sessions"],
    route_class=SignInRoute,
    responses={
        **{status: PROBLEMS[status] for status in (409, 422, 500, 503)},
        401: PROBLEMS[401] | {"description": "Not with this login, password and code; `code_required`: a code is due"},
        429: TOO_MANY_TRIES,
    },
)
router = noun("sessions")
SessionId = Annotated[Identifier, Path(description="Id of the session")]


class SignIn(Body):
    """Who, with which password. `device`: the token of an earlier sign-in, for programs that keep no cookies."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"email": "ann@shop.example", "password": "quiet river 47", "code": "492039"}]}
    )

    email: Annotated[Line, StringConstraints(min_length=1, max_length=LOGIN_LENGTH_MAX)]
    password: Password
    code: SecondFactor | None = Field(default=None, description="Of the authenticator, or a recovery code")
    device: Annotated[Line, StringConstraints(max_length=DEVICE_LENGTH_MAX)] | None = None


class SessionView(View):
    """A sign-in. It ends at `expires_at`, half an hour after `seen_at`, or when `ended_at` says so."""

    id: str
    address: str
    user_agent: str
    created_at: Instant
    seen_at: Instant
    expires_at: Instant
    ended_at: Instant | None
    ended_why: str | None


class SignedIn(View):
    """An open session. `token` is for programs, `csrf_token` for pages that use the cookie.

    `must_change_password`: nothing else can be done before. `device_token` makes this place known at the next
    sign-in; null where it was.
    """

    id: str
    token: str
    csrf_token: str
    device_token: str | None
    person_id: str
    name: str
    role: Role
    must_change_password: bool
    expires_at: Instant


class Current(View):
    """Who has signed in here. `csrf_token` is null without a cookie: programs need none."""

    id: str
    person_id: str
    name: str
    role: Role
    csrf_token: str | None


@public.post("/sessions", status_code=201)
async def sign_in(body: SignIn, request: Request, response: Response, services: ServicesDep) -> SignedIn:
    """Sign in. Needs no key and takes no idempotency key: each sign-in is a session of its own."""
    device = body.device or request.cookies.get(DEVICE_COOKIE)
    agent = "".join(each for each in request.headers.get("user-agent", "") if each.isprintable())
    address = "unknown" if request.client is None else request.client.host
    opened = await knock(services, Knock(body.email, body.password, body.code, device, address, agent))
    _keep(request, response, COOKIE, opened.token, AGE_MAX, path="/v1")
    if opened.device is not None:
        _keep(request, response, DEVICE_COOKIE, opened.device, KNOWN_FOR, path=SESSIONS_PATH)
    response.headers["Cache-Control"] = "no-store"
    return SignedIn(
        id=opened.session.id,
        token=opened.token,
        csrf_token=csrf_of(opened.token),
        device_token=opened.device,
        person_id=opened.person.id,
        name=opened.person.name,
        role=Role(opened.person.role),
        must_change_password=opened.person.one_time_until is not None,
        expires_at=opened.session.expires_at,
    )


@router.get("/sessions/current")
async def read_current_session(request: Request, caller: CallerDep) -> Current:
    """Who has signed in here, and the token that a page needs for its commands."""
    session_id = own_session(caller)
    cookie = None if "authorization" in request.headers else request.cookies.get(COOKIE)
    return Current(
        id=session_id,
        person_id=caller.key_id,
        name=caller.name,
        role=caller.role,
        csrf_token=None if cookie is None else csrf_of(cookie),
    )


@router.delete("/sessions/current", status_code=204)
async def sign_out(services: ServicesDep, caller: CallerDep) -> Response:
    """End this session. The device stays known."""
    async with services.database.session() as session:
        await end_one(session, own_session(caller), "signed_out")
    return gone()


@router.get("/sessions")
async def list_own_sessions(
    services: ServicesDep, caller: CallerDep, query: Annotated[PageQuery, Query()]
) -> Listed[SessionView]:
    """Your own sessions, newest first, those that have ended included."""
    own_session(caller)
    async with services.database.session() as session:
        rows = await sessions_of(session, caller.key_id, after=query.after(SESSIONS), limit=query.limit)
        return listed(rows, SESSIONS, SessionView.model_validate)


@router.delete("/sessions/{session_id}", status_code=204)
async def end_own_session(session_id: SessionId, services: ServicesDep, caller: CallerDep) -> Response:
    """End one of your own sessions."""
    own_session(caller)
    async with services.database.session() as session:
        row = found(await session_of(session, caller.key_id, session_id), "session of yours")
        await end_one(session, row.id, "ended")
    return Response(status_code=204)


@router.delete("/sessions", status_code=204)
async def end_own_sessions(services: ServicesDep, caller: CallerDep) -> Response:
    """End all your own sessions, this one too."""
    own_session(caller)
    async with services.database.session() as session:
        await end_all(session, caller.key_id, "ended")
    return gone()


def own_session(caller: Caller) -> str:
    """The session of whoever has signed in. Raises `Forbidden` for an API key, which has none and no password."""
    if caller.session_id is None:
        raise Forbidden("This is for people who have signed in; an API key has no password.", code="people_only")
    return caller.session_id


def gone() -> Response:
    """The answer after which there is no session any more; the browser forgets it too."""
    response = Response(status_code=204)
    response.delete_cookie(COOKIE, path="/v1")
    return response


def _keep(request: Request, response: Response, name: str, value: str, age: timedelta, **where: Any) -> None:
    """A cookie that no script reads and no other site's page sends. Over HTTPS alone, but for this very machine."""
    seconds = int(age.total_seconds())
    response.set_cookie(
        name, value, seconds, secure=not _on_loopback(request), httponly=True, samesite="strict", **where
    )


def _on_loopback(request: Request) -> bool:
    host = request.url.hostname or ""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
