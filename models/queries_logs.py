"""Reads of the logs: by who, about whom, which command, when."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Final

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from models.logs import AccessLine, ActivityLine
from models.paging import KeyPart, Keyset, Page, page
from models.queries_customers import whole

ACTIVITY: Final = Keyset("activity_log", (ActivityLine.at, ActivityLine.id))
ACCESS: Final = Keyset("access_log", (AccessLine.at, AccessLine.id))


@dataclass(frozen=True, slots=True)
class LogFilter:
    """Which lines; None does not ask. `since` is included, `until` is not."""

    actor: str | None = None
    customer_id: str | None = None
    subject_id: str | None = None
    command: str | None = None
    since: datetime | None = None
    until: datetime | None = None


async def activity(
    session: AsyncSession, wanted: LogFilter, *, status: int | None, after: tuple[KeyPart, ...] | None, limit: int
) -> Page[ActivityLine]:
    """Commands, newest first."""
    statement = select(ActivityLine)
    same = {
        ActivityLine.actor: wanted.actor,
        ActivityLine.subject_id: wanted.subject_id,
        ActivityLine.command: wanted.command,
        ActivityLine.status: status,
    }
    for column, value in same.items():
        if value is not None:
            statement = statement.where(column == value)
    if wanted.customer_id is not None:
        statement = statement.where(ActivityLine.customer_id.in_(whole(wanted.customer_id)))
    if wanted.since is not None:
        statement = statement.where(ActivityLine.at >= wanted.since)
    if wanted.until is not None:
        statement = statement.where(ActivityLine.at < wanted.until)
    return await page(session, statement, ACTIVITY, after=after, limit=limit)


async def access(
    session: AsyncSession, wanted: LogFilter, *, kind: str | None, after: tuple[KeyPart, ...] | None, limit: int
) -> Page[AccessLine]:
    """Looks at customers, files taken and sign-ins, newest first."""
    statement = select(AccessLine)
    same = {
        AccessLine.actor: wanted.actor,
        AccessLine.subject_id: wanted.subject_id,
        AccessLine.what: wanted.command,
        AccessLine.kind: kind,
    }
    for column, value in same.items():
        if value is not None:
            statement = statement.where(column == value)
    if wanted.customer_id is not None:
        statement = statement.where(AccessLine.customer_id.in_(whole(wanted.customer_id)))
    if wanted.since is not None:
        statement = statement.where(AccessLine.at >= wanted.since)
    if wanted.until is not None:
        statement = statement.where(AccessLine.at < wanted.until)
    return await page(session, statement, ACCESS, after=after, limit=limit)
