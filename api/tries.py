"""How a try with a password is counted: as wrong before it is looked at, and taken off when it was right.

The rules are `domain.lockout`'s; here are the rows. Two tries at once wait for each other's count, not for each
other's password.
"""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass
from typing import Final

from sqlalchemy import Delete, delete, func, literal, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from domain.lockout import PAIR_FORGOTTEN_AFTER, Count, Heard, Waits, hear, was_right
from models import SignInThrottle
from models.queries_people import throttles
from models.session import database_now

SWEPT_PER_TRY_MAX: Final = 5


@dataclass(frozen=True, slots=True)
class Try:
    """One try with a login, from a place. `known`: the login has signed in from there before."""

    login: str
    place: str
    known: bool

    @property
    def pair_key(self) -> str:
        return _key("pair", self.login.casefold(), self.place)

    @property
    def login_key(self) -> str:
        return _key("login", self.login.casefold())


@dataclass(frozen=True, slots=True)
class HeldBack:
    """The try is not looked at. `first`: the access log does not yet say that tries from there are held back."""

    wait_s: int
    first: bool


async def count(session: AsyncSession, tried: Try) -> HeldBack | None:
    """None: the try is counted and may be looked at once this transaction is committed."""
    rows = await _locked(session, tried)
    pair, login = rows[tried.pair_key], rows[tried.login_key]
    now = await database_now(session)
    match hear(_count(pair), _count(login), known=tried.known, now=now):
        case Waits(wait):
            first, pair.told = not pair.told, True
            return HeldBack(math.ceil(wait.total_seconds()), first)
        case Heard() as heard:
            pair.tries, pair.last_at, pair.told = heard.pair.tries, heard.pair.last_at, False
            login.tries, login.last_at = heard.login.tries, heard.login.last_at
            await session.execute(_sweep())
            return None


async def take_off(session: AsyncSession, tried: Try) -> None:
    """The password was right and something else is still needed: the try is taken off, the ones before stay."""
    rows = await _locked(session, tried)
    pair, login = rows[tried.pair_key], rows[tried.login_key]
    pair.tries = max(pair.tries - 1, 0)
    login.tries = was_right(_count(login), known=tried.known).tries


async def succeeded(session: AsyncSession, tried: Try) -> None:
    """From this place nothing is held against the login any more."""
    rows = await _locked(session, tried)
    login = rows[tried.login_key]
    login.tries = was_right(_count(login), known=tried.known).tries
    await session.delete(rows[tried.pair_key])


async def _locked(session: AsyncSession, tried: Try) -> dict[str, SignInThrottle]:
    keys = sorted((tried.pair_key, tried.login_key))
    await session.execute(insert(SignInThrottle).values([{"key": key} for key in keys]).on_conflict_do_nothing())
    return await throttles(session, keys)


def _count(row: SignInThrottle) -> Count:
    return Count(row.tries, row.last_at)


def _sweep() -> Delete:
    """Take some counts away that are forgotten anyway; one in other hands is left alone."""
    old = (
        select(SignInThrottle.key)
        .where(SignInThrottle.last_at < func.now() - literal(PAIR_FORGOTTEN_AFTER))
        .order_by(SignInThrottle.last_at)
        .limit(SWEPT_PER_TRY_MAX)
        .with_for_update(skip_locked=True)
        .cte("old")
    )
    return delete(SignInThrottle).where(SignInThrottle.key.in_(select(old.c.key)))


def _key(*parts: str) -> str:
    """A digest: what was typed as a login may have been a password."""
    return hashlib.sha256("\x1f".join(parts).encode()).hexdigest()
