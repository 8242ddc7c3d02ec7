"""Reads of people, their sessions and the places they have signed in from."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Final

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession

from models.access import ApiKey
from models.paging import KeyPart, Keyset, Page, page
from models.people import Person, PersonSession, RecoveryCode, SignInPlace, SignInThrottle

PEOPLE: Final = Keyset("people", (Person.created_at, Person.id))
SESSIONS: Final = Keyset("sessions", (PersonSession.created_at, PersonSession.id))
API_KEYS: Final = Keyset("api_keys", (ApiKey.created_at, ApiKey.id))


async def person(session: AsyncSession, person_id: str, *, lock: bool = False) -> Person | None:
    return await session.get(Person, person_id, with_for_update=lock or None, populate_existing=lock)


async def person_by_email(session: AsyncSession, email: str) -> Person | None:
    """Whoever has this login, however it is written."""
    return (await session.scalars(select(Person).where(func.lower(Person.email) == func.lower(email)))).one_or_none()


async def is_named(session: AsyncSession, name: str) -> bool:
    """Whether a person has this name."""
    return await session.scalar(select(Person.id).where(func.lower(Person.name) == func.lower(name))) is not None


async def people(session: AsyncSession, *, after: tuple[KeyPart, ...] | None, limit: int) -> Page[Person]:
    return await page(session, select(Person), PEOPLE, after=after, limit=limit)


async def open_session(
    session: AsyncSession, digest: str, *, seen_after: datetime
) -> tuple[PersonSession, Person] | None:
    """The session with this digest and whose it is, while both may go on. `seen_after`: else it was idle too long."""
    statement = (
        select(PersonSession, Person)
        .join(Person, Person.id == PersonSession.person_id)
        .where(
            PersonSession.digest == digest,
            PersonSession.ended_at.is_(None),
            PersonSession.expires_at > func.now(),
            PersonSession.seen_at > seen_after,
            Person.disabled_at.is_(None),
        )
    )
    row = (await session.execute(statement)).one_or_none()
    return None if row is None else (row[0], row[1])


async def sessions_of(
    session: AsyncSession, person_id: str, *, after: tuple[KeyPart, ...] | None, limit: int
) -> Page[PersonSession]:
    statement = select(PersonSession).where(PersonSession.person_id == person_id)
    return await page(session, statement, SESSIONS, after=after, limit=limit)


async def session_of(session: AsyncSession, person_id: str, session_id: str) -> PersonSession | None:
    row = await session.get(PersonSession, session_id, with_for_update=True)
    return row if row is not None and row.person_id == person_id else None


async def places_of(session: AsyncSession, person_id: str, places: Sequence[str], since: datetime) -> set[str]:
    """Which of these places somebody has signed in from since."""
    statement = select(SignInPlace.place).where(
        SignInPlace.person_id == person_id, SignInPlace.place.in_(places), SignInPlace.last_at > since
    )
    return set((await session.scalars(statement)).all())


async def throttles(session: AsyncSession, keys: Sequence[str]) -> dict[str, SignInThrottle]:
    """The counts under these keys, locked in one order for everybody."""
    statement = (
        select(SignInThrottle).where(SignInThrottle.key.in_(keys)).order_by(SignInThrottle.key).with_for_update()
    )
    return {row.key: row for row in await session.scalars(statement)}


async def unused_recovery_code(session: AsyncSession, person_id: str, digest: str) -> RecoveryCode | None:
    row = await session.get(RecoveryCode, (person_id, digest), with_for_update=True)
    return row if row is not None and row.used_at is None else None


async def recovery_codes_left(session: AsyncSession, person_id: str) -> int:
    statement = select(func.count()).where(RecoveryCode.person_id == person_id, RecoveryCode.used_at.is_(None))
    return (await session.execute(statement)).scalar_one()


async def api_keys(session: AsyncSession, *, after: tuple[KeyPart, ...] | None, limit: int) -> Page[ApiKey]:
    return await page(session, select(ApiKey), API_KEYS, after=after, limit=limit)


async def api_key(session: AsyncSession, key_id: str) -> ApiKey | None:
    return await session.get(ApiKey, key_id, with_for_update=True)


async def is_key_named(session: AsyncSession, name: str) -> bool:
    """Whether a working key has this name."""
    statement = select(ApiKey.id).where(func.lower(ApiKey.name) == func.lower(name), ApiKey.revoked_at.is_(None))
    return await session.scalar(statement.limit(1)) is not None
