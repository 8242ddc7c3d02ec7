"""Reads of tasks and of the log of the merchant's rules."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession

from models.paging import KeyPart, Keyset, Page, page
from models.tasks import BusinessPolicy, BusinessPolicyChange, Task

TASKS: Final = Keyset("tasks", (Task.opened_at, Task.id))
RULE_CHANGES: Final = Keyset("rule_changes", (BusinessPolicyChange.id,))


@dataclass(frozen=True, slots=True)
class TaskFilter:
    """Which tasks; None does not ask. `overdue`: open, and its deadline has passed by the database's clock."""

    status: str | None = None
    kind: str | None = None
    customer_id: str | None = None
    assignee: str | None = None
    subject_kind: str | None = None
    subject_id: str | None = None
    overdue: bool | None = None
    reminded: bool | None = None


async def task(session: AsyncSession, task_id: str, *, lock: bool = False) -> Task | None:
    return await session.get(Task, task_id, with_for_update=lock or None)


async def tasks(
    session: AsyncSession, wanted: TaskFilter, *, after: tuple[KeyPart, ...] | None, limit: int
) -> Page[Task]:
    statement = select(Task)
    same = {
        Task.status: wanted.status,
        Task.kind: wanted.kind,
        Task.customer_id: wanted.customer_id,
        Task.assignee: wanted.assignee,
        Task.subject_kind: wanted.subject_kind,
        Task.subject_id: wanted.subject_id,
    }
    for column, value in same.items():
        if value is not None:
            statement = statement.where(column == value)
    if wanted.overdue is not None:
        late = (Task.status == "open") & func.coalesce(Task.deadline < func.now(), False)
        statement = statement.where(late if wanted.overdue else ~late)
    if wanted.reminded is not None:
        given = Task.reminded_at.is_not(None)
        statement = statement.where(given if wanted.reminded else ~given)
    return await page(session, statement, TASKS, after=after, limit=limit)


async def rule(session: AsyncSession, key: str) -> BusinessPolicy | None:
    """A rule as it was set, locked until the end of the transaction; None where it never was."""
    return await session.get(BusinessPolicy, key, with_for_update=True)


async def rule_changes(
    session: AsyncSession, key: str, *, after: tuple[KeyPart, ...] | None, limit: int
) -> Page[BusinessPolicyChange]:
    statement = select(BusinessPolicyChange).where(BusinessPolicyChange.key == key)
    return await page(session, statement, RULE_CHANGES, after=after, limit=limit)
