"""Tasks: what people have to do, opened by an agent or by the system, and closed with an outcome, never deleted."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Final, Literal

from fastapi import Path, Query
from pydantic import ConfigDict, Field, StringConstraints
from sqlalchemy import func
from sqlalchemy.ext.asyncio import AsyncSession

from api.context import CallerDep, OnceDep, Services, ServicesDep
from api.fields import Body, Code, Identifier, Instant, Name, Paragraph, Reason, View
from api.paging import Listed, PageQuery, listed
from api.routing import noun
from api.rows import add_once, found, known, replace_fields
from domain.errors import InvalidInput, Refused
from domain.tasks import accept_reminder
from models import Task
from models.queries_customers import customer
from models.queries_tasks import TASKS, TaskFilter, task, tasks
from models.session import database_now

OPEN: Final = "open"
MANUAL: Final = "manual"  # the kind of what people open, unless they say another

router = noun("tasks")
TaskId = Annotated[Identifier, Path(description="Id of the task")]
Priority = Literal["low", "normal", "high", "urgent"]
Outcome = Annotated[Reason, StringConstraints(min_length=1, pattern=r"\S")]


class _Work(Body):
    assignee: Name | None = Field(default=None, description="Who does it; null is nobody yet")
    deadline: Instant | None = Field(default=None, description="Until when; open and past it is overdue")
    remind_at: Instant | None = Field(
        default=None, description="When its assignee is reminded, by email and in the list; null is never"
    )
    priority: Priority = "normal"
    next_action: Paragraph = Field(default="", description="The next thing to do, in plain words")


class TaskNew(_Work):
    """A task of a person's own. `subject_kind` and `subject_id` name what it is about, and go together."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "title": "Call back about the refund",
                    "next_action": "Ask for the bank account's holder",
                    "customer_id": "cus_k3jq5xw2m4",
                    "assignee": "ann",
                    "deadline": "2027-03-05T16:00:00+01:00",
                }
            ]
        }
    )

    title: Name
    kind: Code = MANUAL
    customer_id: Identifier | None = None
    subject_kind: Code | None = None
    subject_id: Identifier | None = None


class TaskPatch(_Work):
    """The fields to change; what is not sent stays."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"assignee": "ben", "priority": "urgent"}]})

    title: Name = "-"


class TaskClose(Body):
    """How it ended. `canceled`: it need not be done any more."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"outcome": "refunded by bank transfer"}]})

    outcome: Outcome
    status: Literal["done", "canceled"] = "done"


class TaskView(View):
    """A task as it stands. `opened_by` is `system` or a person; `detail` is what the system knew when it opened it."""

    id: str
    kind: str
    title: str
    next_action: str
    detail: dict[str, Any]
    customer_id: str | None
    subject_kind: str | None
    subject_id: str | None
    assignee: str | None
    priority: str
    status: str
    deadline: Instant | None
    remind_at: Instant | None
    reminded_at: Instant | None
    opened_by: str
    opened_at: Instant
    closed_by: str | None
    closed_at: Instant | None
    outcome: str
    updated_at: Instant


class TaskQuery(PageQuery):
    """Which tasks. `overdue`: open and past the deadline. `reminded`: its reminder was given."""

    status: Literal["open", "done", "canceled"] | None = None
    kind: Code | None = None
    customer_id: Identifier | None = None
    assignee: Name | None = None
    subject_kind: Code | None = None
    subject_id: Identifier | None = None
    overdue: bool | None = None
    reminded: bool | None = None


@router.post("/tasks", status_code=201)
async def create_task(body: TaskNew, services: ServicesDep, once: OnceDep, caller: CallerDep) -> TaskView:
    """Open a task."""
    if (body.subject_kind is None) != (body.subject_id is None):
        raise InvalidInput("subject_id", "goes together with subject_kind")
    async with services.database.session() as session:
        if body.customer_id is not None:
            known(await customer(session, body.customer_id), "customer_id", "customer")
        if await task(session, once.id("task")) is None:
            await _set_reminder(session, services, once.id("task"), body.remind_at)
        row = await add_once(session, Task(id=once.id("task"), opened_by=caller.name, **dict(body)))
        return TaskView.model_validate(row)


@router.get("/tasks")
async def list_tasks(services: ServicesDep, query: Annotated[TaskQuery, Query()]) -> Listed[TaskView]:
    """List tasks, newest first."""
    wanted = TaskFilter(
        query.status,
        query.kind,
        query.customer_id,
        query.assignee,
        query.subject_kind,
        query.subject_id,
        query.overdue,
        query.reminded,
    )
    async with services.database.session() as session:
        rows = await tasks(session, wanted, after=query.after(TASKS), limit=query.limit)
        return listed(rows, TASKS, TaskView.model_validate)


@router.get("/tasks/{task_id}")
async def get_task(task_id: TaskId, services: ServicesDep) -> TaskView:
    """Read one task."""
    async with services.database.session() as session:
        return TaskView.model_validate(found(await task(session, task_id), "task"))


@router.patch("/tasks/{task_id}")
async def change_task(task_id: TaskId, body: TaskPatch, services: ServicesDep) -> TaskView:
    """Hand it to somebody, move its deadline, say what is next. A closed task stays as it is."""
    async with services.database.session() as session:
        row = found(await task(session, task_id, lock=True), "task")
        _refuse_closed(row)
        fields = {name: getattr(body, name) for name in body.model_fields_set}
        if "remind_at" in fields and fields["remind_at"] != row.remind_at:
            await _set_reminder(session, services, row.id, body.remind_at)
            fields["reminded_at"] = None
        if replace_fields(row, fields):
            await session.flush()
            await session.refresh(row)
        return TaskView.model_validate(row)


@router.post("/tasks/{task_id}/close")
async def close_task(task_id: TaskId, body: TaskClose, services: ServicesDep, caller: CallerDep) -> TaskView:
    """Close it with its outcome. There is no other way to be rid of a task, and no way back."""
    async with services.database.session() as session:
        row = found(await task(session, task_id, lock=True), "task")
        if (row.status, row.outcome, row.closed_by) == (body.status, body.outcome, caller.name):
            return TaskView.model_validate(row)  # this very request, repeated after a crash
        _refuse_closed(row)
        row.status, row.outcome, row.closed_by = body.status, body.outcome, caller.name
        row.closed_at = func.now()
        await session.flush()
        await session.refresh(row)
        return TaskView.model_validate(row)


async def _set_reminder(session: AsyncSession, services: Services, task_id: str, at: datetime | None) -> None:
    """The timer first, the row after it: a crash in between leaves a timer that finds nothing to do, never no timer."""
    if at is not None:
        accept_reminder(at, await database_now(session))
        await services.commands.reminders.set(task_id, at)


def _refuse_closed(row: Task) -> None:
    if row.status != OPEN:
        raise Refused("task_closed", f"this task was closed by {row.closed_by}; open another one")
