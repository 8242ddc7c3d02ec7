"""How passwords are kept and compared: Argon2id, in threads, a few at once, and as long for nobody as for somebody."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable
from functools import cached_property
from typing import Final, TypeVar

from argon2 import PasswordHasher
from argon2.exceptions import VerifyMismatchError

from domain.errors import Unavailable
from domain.passwords import normal

# Each takes 64 MiB and about a tenth of a second of one core.
HASHES_AT_ONCE_MAX: Final = 2
HASHES_WAITING_MAX: Final = 50

T = TypeVar("T")


class Passwords:
    """The hasher of this process. Unless given, by RFC 9106's second recommendation: 3 passes, 64 MiB, 4 lanes."""

    def __init__(self, hasher: PasswordHasher | None = None) -> None:
        self._hasher: Final = hasher or PasswordHasher()
        self._at_once: Final = asyncio.Semaphore(HASHES_AT_ONCE_MAX)
        self._waiting = 0

    async def hash(self, password: str) -> str:
        """The hash to keep; parameters and salt are in it. Raises `Unavailable` where too many wait already."""
        return await self._in_thread(lambda: self._hasher.hash(normal(password)))

    async def matches(self, kept: str | None, password: str) -> bool:
        """Whether the password belongs to the kept hash. None, for a login that is not there, takes as long: False.

        Raises `Unavailable` where too many wait already.
        """
        return await self._in_thread(lambda: self._verify(kept, normal(password)))

    def _verify(self, kept: str | None, password: str) -> bool:
        try:
            matching = self._hasher.verify(kept or self._of_nobody, password)
        except VerifyMismatchError:
            return False
        return matching and kept is not None

    @cached_property
    def _of_nobody(self) -> str:
        return self._hasher.hash(secrets.token_urlsafe())

    async def _in_thread(self, work: Callable[[], T]) -> T:
        if self._waiting >= HASHES_WAITING_MAX:
            raise Unavailable("Too many passwords are being checked at once; try again in a moment.")
        self._waiting += 1
        try:
            async with self._at_once:
                return await asyncio.to_thread(work)
        finally:
            self._waiting -= 1
