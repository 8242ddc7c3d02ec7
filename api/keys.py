"""Who may call, in which role: opaque random keys, shown once, kept as a digest."""

from __future__ import annotations

import hashlib
import secrets
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from sqlalchemy import func, insert, update

from api.errors import Unauthorized
from domain.errors import InvalidInput, NotFound
from domain.ids import derive
from domain.roles import Role
from models import ApiKey
from models.queries_access import key_by_digest, keys
from models.session import Database

KEY_PREFIX: Final = "dk_"
KEY_RANDOM_BYTES: Final = 32
KEY_LENGTH_MAX: Final = 100
SHOWN_LENGTH: Final = 11
NAME_LENGTH_MAX: Final = 100


@dataclass(frozen=True, slots=True)
class Caller:
    """The program behind a request. `name` stands as actor on what it does, `role` says what it may do."""

    key_id: str
    name: str
    role: Role


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
    name = name.strip()
    if not 1 <= len(name) <= NAME_LENGTH_MAX or not name.isprintable():
        raise InvalidInput("name", f"a key's name is 1 to {NAME_LENGTH_MAX} printable characters")
    key = KEY_PREFIX + secrets.token_urlsafe(KEY_RANDOM_BYTES)
    digest = digest_of(key)
    async with database.begin() as connection:
        await connection.execute(
            insert(ApiKey).values(
                id=derive("key", digest), name=name, role=role.value, prefix=key[:SHOWN_LENGTH], digest=digest
            )
        )
    return key


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
            return Caller(found.id, found.name, Role(found.role))
    raise Unauthorized("Send a working API key as `Authorization: Bearer dk_…`.")


def digest_of(key: str) -> str:
    return hashlib.sha256(key.encode()).hexdigest()
