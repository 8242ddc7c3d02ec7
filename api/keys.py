"""Who may call, in which role: opaque random keys, shown once, kept as a digest."""

from __future__ import annotations

import hashlib
import secrets
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import func, literal, or_, update
from sqlalchemy.ext.asyncio import AsyncSession

from api.errors import Unauthorized
from domain.errors import InvalidInput, NotFound
from domain.ids import derive
from domain.roles import READ, Role, who_may
from models import ApiKey
from models.queries_access import key_by_digest, keys
from models.queries_people import is_named
from models.session import Database, database_now

KEY_PREFIX: Final = "dk_"
KEY_RANDOM_BYTES: Final = 32
KEY_LENGTH_MAX: Final = 100
SHOWN_LENGTH: Final = 11
NAME_LENGTH_MAX: Final = 100
USED_EVERY: Final = timedelta(minutes=5)  # a row is not written at every request


@dataclass(frozen=True, slots=True)
class Caller:
    """The program or person behind a request. `name` stands as actor on what they do, `role` says what they may do.

    `key_id`: of the API key, or of the person. `scopes`: what a key may do of that; empty is all. A person has a
    `session_id`; while they must change their password, they may do nothing else.
    """

    key_id: str
    name: str
    role: Role
    scopes: frozenset[str] = frozenset()
    session_id: str | None = None
    must_change: bool = False

    def acting(self, actor: str | None) -> str:
        """Who does it. A program may act for somebody it names; a person acts in their own name.

        Raises `InvalidInput` for a person who names somebody else.
        """
        if self.session_id is not None and actor not in {None, self.name}:
            raise InvalidInput("actor", "who has signed in acts in their own name", code="actor_is_another")
        return actor or self.name


@dataclass(frozen=True, slots=True)
class KeyInfo:
    """What may be shown of a key: never the key."""

    id: str
    name: str
    role: Role
    prefix: str
    created_at: datetime
    revoked_at: datetime | None


async def create_key(database: Database, name: str, role: Role = Role.ADMIN) -> str:
    """A new key; the only moment it can be seen. Raises `InvalidInput` for a name that cannot stand in a log."""
    async with database.session() as session:
        key, _ = await add_key(session, name, role)
    return key


async def add_key(
    session: AsyncSession,
    name: str,
    role: Role,
    *,
    scopes: frozenset[str] = frozenset(),
    created_by: str | None = None,
    key_id: str | None = None,
) -> tuple[str, ApiKey]:
    """A new key and its row, to be committed with what else there is.

    `scopes`: the commands it may give, and `read`; empty is all that its role may. Raises `InvalidInput` for a name
    that cannot stand in a log, or is a person's, and for a scope that the role does not have.
    """
    name = name.strip()
    if not 1 <= len(name) <= NAME_LENGTH_MAX or not name.isprintable():
        raise InvalidInput("name", f"a key's name is 1 to {NAME_LENGTH_MAX} printable characters")
    if await is_named(session, name):
        raise InvalidInput("name", "is a person's; on a timeline nobody could tell the two apart")
    beyond = sorted(scope for scope in scopes if scope != READ and role not in who_may(scope))
    if beyond:
        raise InvalidInput("scopes", f"the role {role} may not {', '.join(beyond)}", code="scope_beyond_role")
    key = KEY_PREFIX + secrets.token_urlsafe(KEY_RANDOM_BYTES)
    digest = digest_of(key)
    row = ApiKey(
        id=key_id or derive("key", digest),
        name=name,
        role=role.value,
        scopes=sorted(scopes),
        prefix=key[:SHOWN_LENGTH],
        digest=digest,
        created_by=created_by,
    )
    session.add(row)
    await session.flush()
    return key, row


async def list_keys(database: Database) -> list[KeyInfo]:
    async with database.session() as session:
        return [KeyInfo(k.id, k.name, Role(k.role), k.prefix, k.created_at, k.revoked_at) for k in await keys(session)]


async def revoke_key(database: Database, prefix_or_id: str) -> KeyInfo:
    """Ends one key at once. Raises `NotFound`, or `InvalidInput` where a prefix names several."""
    found = [k for k in await list_keys(database) if prefix_or_id in {k.id, k.prefix} and k.revoked_at is None]
    if not found:
        raise NotFound(f"there is no working key {prefix_or_id!r}")
    if len(found) > 1:
        raise InvalidInput("key", f"{len(found)} keys start with {prefix_or_id!r}: give the id")
    async with database.begin() as connection:
        await connection.execute(update(ApiKey).where(ApiKey.id == found[0].id).values(revoked_at=func.now()))
    return found[0]


async def authenticate(database: Database, authorization: str | None) -> Caller:
    """The caller of `Authorization: Bearer dk_…`. Raises `Unauthorized`, always in the same words.

    A plain digest is enough: a key is 256 random bits, there is nothing to guess slowly. The look-up by digest
    is by index, and what its time tells is of a digest, not of a key.
    """
    scheme, _, key = (authorization or "").partition(" ")
    if scheme.lower() == "bearer" and key.startswith(KEY_PREFIX) and len(key) <= KEY_LENGTH_MAX:
        async with database.session() as session:
            found = await key_by_digest(session, digest_of(key))
            if found is not None:
                await _note_use(session, found)
        if found is not None:
            return Caller(found.id, found.name, Role(found.role), frozenset(found.scopes))
    raise Unauthorized("Send a working API key as `Authorization: Bearer dk_…`.")


async def _note_use(session: AsyncSession, key: ApiKey) -> None:
    """When it was used last, within `USED_EVERY`: the database decides, and mostly nothing is written."""
    if key.used_at is None or key.used_at < await database_now(session) - USED_EVERY:
        long_ago = or_(ApiKey.used_at.is_(None), ApiKey.used_at < func.now() - literal(USED_EVERY))
        await session.execute(update(ApiKey).where(ApiKey.id == key.id, long_ago).values(used_at=func.now()))


def digest_of(key: str) -> str:
    return hashlib.sha256(key.encode()).hexdigest()
