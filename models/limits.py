"""How long a question of a person's own making may take: then it is stopped, and the answer says so."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Final

from sqlalchemy import func, select
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncSession

from domain.errors import Unavailable

_CANCELED: Final = "57014"  # query_canceled


@asynccontextmanager
async def within(session: AsyncSession, timeout_ms: int) -> AsyncGenerator[None]:
    """Each statement in the block, and in the rest of its transaction, takes at most that long.

    Raises `Unavailable` for one that does not.
    """
    await session.execute(select(func.set_config("statement_timeout", str(timeout_ms), True)))
    try:
        yield
    except DBAPIError as error:
        if getattr(error.orig, "sqlstate", None) == _CANCELED:
            raise Unavailable(f"That took longer than {timeout_ms} ms: ask for less.") from error
        raise
