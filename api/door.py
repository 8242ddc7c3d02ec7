"""Whether a login, a password and a code open a session.

Nobody learns from the answer, or from its time, whether a login exists: an unknown login, a wrong password and a
disabled account are refused in the same words after the same work. Only a right password is told that a code is
still needed. A try is counted before it is looked at (`api.tries`), and the access log tells what came of it.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from typing import Final

from sqlalchemy import delete, insert, select
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.ext.asyncio import AsyncSession

from api.context import Services
from api.errors import TooManyTries, Unauthorized
from api.second_factor import accepts
from api.sessions import RANDOM_BYTES, digest_of, open_for
from api.tries import Try, count, succeeded, take_off
from domain.lockout import KNOWN_FOR, place_of
from domain.roles import Role
from models import AccessLine, Person, PersonSession, SignInPlace
from models.queries_people import person, person_by_email, places_of
from models.session import database_now

DEVICE_PREFIX: Final = "dd_"
PLACES_KEPT_MAX: Final = 50  # of one person; the oldest are known no more
NOBODY: Final = "nobody"  # who stands in the access log where nobody has that login
CODE_REQUIRED: Final = "code_required"


@dataclass(frozen=True, slots=True)
class Knock:
    """One try to sign in, and where it comes from. `device`: the token of an earlier sign-in, where it is shown."""

    email: str
    password: str
    code: str | None
    device: str | None
    address: str
    user_agent: str


@dataclass(frozen=True, slots=True)
class Opened:
    """The session and its token; `device` is a new device's token, None for one that was known."""

    person: Person
    session: PersonSession
    token: str
    device: str | None


async def knock(services: Services, asked: Knock) -> Opened:
    """The session that is opened. Raises `TooManyTries`, or `Unauthorized` (`sign_in_failed`, `code_required`)."""
    async with services.database.session() as session:
        who = await person_by_email(session, asked.email)
        tried = await _try_of(session, who, asked)
        held = await count(session, tried)
        if held is not None and held.first:
            await _log(session, who, "held_back", asked)
    if held is not None:
        raise TooManyTries(held.wait_s)
    matching = await services.passwords.matches(who.password_hash if who is not None else None, asked.password)
    async with services.database.session() as session:
        outcome = await _decide(session, services, who, asked, tried) if who and matching else "wrong_password"
        await _log(session, who, "signed_in" if isinstance(outcome, Opened) else outcome, asked)
    if isinstance(outcome, Opened):
        return outcome
    if outcome == CODE_REQUIRED:
        raise Unauthorized("The code of your second factor is needed too.", code=CODE_REQUIRED)
    raise Unauthorized("There is no such login with this password and code.", code="sign_in_failed")


async def _try_of(session: AsyncSession, who: Person | None, asked: Knock) -> Try:
    """A device counts as one where this login has signed in with it; anybody can make a token up."""
    device = digest_of(asked.device or "")
    own, address = place_of(asked.address, device), place_of(asked.address, None)
    since = await database_now(session) - KNOWN_FOR
    before = await places_of(session, who.id if who else "", (own, address), since)
    return Try(asked.email, own if own in before else address, known=bool(before))


async def _decide(session: AsyncSession, services: Services, who: Person, asked: Knock, tried: Try) -> Opened | str:
    """With the row locked: what was changed while the password was being checked counts."""
    now = await database_now(session)
    row = await person(session, who.id, lock=True)
    if row is None or row.password_hash != who.password_hash:
        return "wrong_password"
    if row.disabled_at is not None:
        return "disabled"
    if row.one_time_until is not None and row.one_time_until <= now:
        return "one_time_password_over"
    if row.totp_secret is not None:
        if asked.code is None:
            await take_off(session, tried)
            return CODE_REQUIRED
        if not await accepts(session, services.vault, row, asked.code):
            return "wrong_code"
    await succeeded(session, tried)
    row.signed_in_at = now
    token, opened = await open_for(session, row, address=asked.address, user_agent=asked.user_agent)
    return Opened(row, opened, token, await _remember(session, row, asked, tried))


async def _remember(session: AsyncSession, row: Person, asked: Knock, tried: Try) -> str | None:
    """Make this place a known one; the token of a device that has none yet."""
    own = place_of(asked.address, digest_of(asked.device or ""))
    token = None if tried.place == own else DEVICE_PREFIX + secrets.token_urlsafe(RANDOM_BYTES)
    device = own if token is None else place_of(asked.address, digest_of(token))
    now = await database_now(session)
    rows = [{"person_id": row.id, "place": each, "last_at": now} for each in (device, place_of(asked.address, None))]
    known = upsert(SignInPlace).values(rows)
    await session.execute(
        known.on_conflict_do_update(
            index_elements=[SignInPlace.person_id, SignInPlace.place], set_={"last_at": known.excluded.last_at}
        )
    )
    oldest = (
        select(SignInPlace.place)
        .where(SignInPlace.person_id == row.id)
        .order_by(SignInPlace.last_at.desc(), SignInPlace.place)
        .offset(PLACES_KEPT_MAX)
    )
    await session.execute(delete(SignInPlace).where(SignInPlace.person_id == row.id, SignInPlace.place.in_(oldest)))
    return token


async def _log(session: AsyncSession, who: Person | None, what: str, asked: Knock) -> None:
    """Never what was typed: it may have been a password in the wrong field."""
    line = insert(AccessLine).values(
        kind="sign_in",
        caller_id=who.id if who else None,
        actor=who.name if who else NOBODY,
        role=Role(who.role).value if who else None,
        what=what,
        address=asked.address,
    )
    await session.execute(line)
