"""How migrations run: one transaction, with a lock timeout, so that a busy table refuses instead of queueing all."""

from __future__ import annotations

import asyncio

from alembic import context
from sqlalchemy import Connection, NullPool
from sqlalchemy.ext.asyncio import create_async_engine

from models import Base

LOCK_TIMEOUT_MS = 5_000
STATEMENT_TIMEOUT_MS = 600_000
# Two servers may start at once: the second waits here and then finds nothing to do.
ADVISORY_LOCK = 0x44554E4C494E


def _run(connection: Connection) -> None:
    context.configure(
        connection=connection, target_metadata=Base.metadata, compare_type=True, compare_server_default=True
    )
    with context.begin_transaction():
        connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({ADVISORY_LOCK})")
        context.run_migrations()


async def _connect_and_run() -> None:
    engine = create_async_engine(
        context.config.attributes["url"],
        poolclass=NullPool,
        connect_args={
            "server_settings": {
                "application_name": "dunlin-migrate",
                "lock_timeout": str(LOCK_TIMEOUT_MS),
                "statement_timeout": str(STATEMENT_TIMEOUT_MS),
            }
        },
    )
    try:
        async with engine.connect() as connection:
            await connection.run_sync(_run)
    finally:
        await engine.dispose()


asyncio.run(_connect_and_run())
