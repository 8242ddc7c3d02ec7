"""Who stands behind a request: an API key, or a person by the session that a sign-in opened.

A session's token (`ds_…`) comes as `Authorization: Bearer` from programs, or as a cookie from browsers. A browser
sends a cookie along whoever made the page, so a command that comes with one also shows the CSRF token of its
session: it is made from the session's token, and a page of another site can read neither.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from datetime import datetime, timedelta
from typing import Final

from fastapi import Request
from sqlalchemy import func, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from api.errors import Forbidden, Unauthorized
from api.keys import Caller, authenticate
from domain.ids import derive
from domain.roles import Role
from models import Person, PersonSession
from models.queries_people import open_session
from models.session import Database, database_now

TOKEN_PREFIX: Final = "ds_"  # noqa: S105 - what tokens begin with
TOKEN_LENGTH_MAX: Final = 100
RANDOM_BYTES: Final = 32
COOKIE: Final = "dunlin_session"
CSRF_HEADER: Final = "Dunlin-CSRF-Token"
AGE_MAX: Final = timedelta(hours=12)
IDLE_MAX: Final = timedelta(minutes=30)
SEEN_EVERY: Final = timedelta(minutes=1)  # a row is not written at every request
SESSIONS_MAX: Final = 20  # of one person; the oldest ones end
USER_AGENT_LENGTH_MAX: Final = 200


def digest_of(token: str) -> str:
    """What is kept of a random token: nobody can go back from it, and there is nothing to guess slowly."""
    return hashlib.sha256(token.encode()).hexdigest()


def csrf_of(token: str) -> str:
    return derive("csrf", token)


async def caller_of(request: Request, database: Database) -> Caller:
    """Raises `Unauthorized` without a working key or session, `Forbidden` for a cookie without its CSRF token."""
    authorization = request.headers.get("authorization")
    if authorization is None and (cookie := request.cookies.get(COOKIE)) is not None:
        caller = await _of_session(database, cookie)
        if request.method != "GET":
            _refuse_forged(request, cookie)
        return caller
    scheme, _, token = (authorization or "").partition(" ")
    if scheme.lower() == "bearer" and token.startswith(TOKEN_PREFIX):
        return await _of_session(database, token)
    return await authenticate(database, authorization)


async def open_for(
    session: AsyncSession, person: Person, *, address: str, user_agent: str
) -> tuple[str, PersonSession]:
    """A new session of somebody whose row is locked, and its token: the only moment it can be seen."""
    token = TOKEN_PREFIX + secrets.token_urlsafe(RANDOM_BYTES)
    now = await database_now(session)
    row = PersonSession(
        id=derive("ses", digest_of(token)),
        person_id=person.id,
        digest=digest_of(token),
        address=address,
        user_agent=user_agent[:USER_AGENT_LENGTH_MAX],
        created_at=now,
        seen_at=now,
        expires_at=now + AGE_MAX,
    )
    session.add(row)
    await session.flush()
    running = select(PersonSession.id).where(PersonSession.person_id == person.id, PersonSession.ended_at.is_(None))
    too_many = running.order_by(PersonSession.created_at.desc(), PersonSession.id).offset(SESSIONS_MAX)
    await session.execute(_ended("too_many").where(PersonSession.id.in_(too_many)))
    return token, row


async def end_all(session: AsyncSession, person_id: str, why: str) -> None:
    """End every session of a person at once; the next request of each is refused."""
    await session.execute(_ended(why).where(PersonSession.person_id == person_id, PersonSession.ended_at.is_(None)))


async def end_one(session: AsyncSession, session_id: str, why: str) -> None:
    """One that has ended already stays as it is."""
    await session.execute(_ended(why).where(PersonSession.id == session_id, PersonSession.ended_at.is_(None)))


def _ended(why: str):  # noqa: ANN202 - an update, whose full type says nothing
    return update(PersonSession).values(ended_at=func.now(), ended_why=why)


async def _of_session(database: Database, token: str) -> Caller:
    if token.startswith(TOKEN_PREFIX) and len(token) <= TOKEN_LENGTH_MAX:
        async with database.session() as session:
            now = await database_now(session)
            found = await open_session(session, digest_of(token), seen_after=now - IDLE_MAX)
            if found is not None:
                row, person = found
                await _see(session, row, now)
                return Caller(
                    person.id,
                    person.name,
                    Role(person.role),
                    session_id=row.id,
                    must_change=person.one_time_until is not None,
                )
    raise Unauthorized("This session is over or was never there: sign in again.", code="session_over")


async def _see(session: AsyncSession, row: PersonSession, now: datetime) -> None:
    if now - row.seen_at >= SEEN_EVERY:
        await session.execute(update(PersonSession).where(PersonSession.id == row.id).values(seen_at=now))


def _refuse_forged(request: Request, token: str) -> None:
    shown = request.headers.get(CSRF_HEADER, "")
    if not hmac.compare_digest(shown.encode(), csrf_of(token).encode()):
        raise Forbidden(f"A command with a session's cookie needs its {CSRF_HEADER} header.", code="csrf_token_missing")
