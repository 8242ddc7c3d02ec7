"""How the database is reached: one engine for a process, with its limits, and whether its tables are current.

`Database.begin` gives a Core connection for hot paths, `Database.session` an ORM session for screens; both are one
transaction, committed at the end of the block and rolled back by any exception.
"""

from __future__ import annotations

import json
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Final

from alembic.config import Config
from alembic.script import ScriptDirectory
from sqlalchemy import func, select, text
from sqlalchemy.exc import DBAPIError, ProgrammingError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, AsyncSession, async_sessionmaker, create_async_engine

STATEMENT_TIMEOUT_MS: Final = 30_000
LOCK_TIMEOUT_MS: Final = 10_000
IDLE_IN_TRANSACTION_TIMEOUT_MS: Final = 60_000
CONNECT_TIMEOUT_S: Final = 5.0
POOL_WAIT_S: Final = 10.0
CONNECTION_AGE_S_MAX: Final = 1_800
STATEMENTS_PREPARED_MAX: Final = 500  # for each connection; above the number of statements this code has

NO_DATABASE: Final = "the database does not answer: check DATABASE_URL"
ALEMBIC_INI: Final = Path(__file__).resolve().parent.parent / "alembic.ini"

_to_json = partial(json.dumps, ensure_ascii=False, separators=(",", ":"), allow_nan=False)


@dataclass(frozen=True, slots=True)
class Database:
    """The engine of this process and the two ways to open a transaction."""

    engine: AsyncEngine
    _sessions: async_sessionmaker[AsyncSession]

    @classmethod
    def connect(cls, url: str, *, application_name: str, pool_max: int, check_connections: bool = False) -> Database:
        """A pool that opens connections when they are needed; nothing is sent here.

        `check_connections` costs a round trip at each use and hides a restart of PostgreSQL from the caller: right for
        people's requests, not needed where Temporal retries.
        """
        engine = create_async_engine(
            url,
            pool_size=pool_max,
            max_overflow=0,
            pool_timeout=POOL_WAIT_S,
            pool_recycle=CONNECTION_AGE_S_MAX,
            pool_pre_ping=check_connections,
            hide_parameters=True,  # errors are logged, and parameters hold names and addresses
            json_serializer=_to_json,
            connect_args={
                "timeout": CONNECT_TIMEOUT_S,
                "prepared_statement_cache_size": STATEMENTS_PREPARED_MAX,
                "server_settings": {
                    "application_name": application_name,
                    "statement_timeout": str(STATEMENT_TIMEOUT_MS),
                    "lock_timeout": str(LOCK_TIMEOUT_MS),
                    "idle_in_transaction_session_timeout": str(IDLE_IN_TRANSACTION_TIMEOUT_MS),
                    "timezone": "UTC",
                    "jit": "off",  # compiling costs more than any of these short statements
                },
            },
        )
        return cls(engine, async_sessionmaker(engine, expire_on_commit=False))

    def begin(self) -> AbstractAsyncContextManager[AsyncConnection]:
        return self.engine.begin()

    def session(self) -> AbstractAsyncContextManager[AsyncSession]:
        return self._sessions.begin()

    async def is_reachable(self) -> bool:
        try:
            async with self.begin() as connection:
                await connection.execute(text("SELECT 1"))
        except (DBAPIError, PoolTimeout, OSError):
            return False
        return True

    async def close(self) -> None:
        await self.engine.dispose()


async def answers(url: str) -> bool:
    """Whether a database is there, for whoever is about to start something on it."""
    database = Database.connect(url, application_name="dunlin-start", pool_max=1)
    try:
        return await database.is_reachable()
    finally:
        await database.close()


def alembic_config(url: str) -> Config:
    """The migrations of this checkout, to be run on `url` (async driver)."""
    config = Config(ALEMBIC_INI)
    config.attributes["url"] = url
    return config


def revision_of_code() -> str | None:
    """The newest migration that this code knows."""
    return ScriptDirectory.from_config(Config(ALEMBIC_INI)).get_current_head()


async def revision_of(database: Database) -> str | None:
    """The migration the database stands at; None where it was never migrated."""
    try:
        async with database.begin() as connection:
            return await connection.scalar(text("SELECT version_num FROM alembic_version"))
    except ProgrammingError:  # no such table
        return None


async def database_now(session: AsyncSession) -> datetime:
    """The start of this transaction by the database's clock: the one clock of rows that no workflow writes."""
    return (await session.execute(select(func.now()))).scalar_one()
