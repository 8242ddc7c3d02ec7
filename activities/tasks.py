"""Tasks that the system opens for people, in the transaction of what made them necessary."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from domain.ids import derive


@dataclass(frozen=True, slots=True)
class NewTask:
    """What a person has to do, about which thing, until when. The same kind and subject is the same task."""

    kind: str
    title: str
    next_action: str
    subject_kind: str
    subject_id: str
    customer_id: str | None = None
    priority: str = "high"
    deadline: datetime | None = None
    detail: Mapping[str, Any] = field(default_factory=dict[str, Any])

    @property
    def id(self) -> str:
        return derive("task", self.kind, self.subject_kind, self.subject_id)


async def open_task(connection: AsyncConnection, task: NewTask) -> str:
    """Open it once; one that is there stays as people left it. Returns its id."""
    await connection.execute(
        _OPEN,
        {
            "id": task.id,
            "kind": task.kind,
            "title": task.title,
            "next_action": task.next_action,
            "detail": json.dumps(task.detail),
            "customer": task.customer_id,
            "subject_kind": task.subject_kind,
            "subject_id": task.subject_id,
            "priority": task.priority,
            "deadline": task.deadline,
        },
    )
    return task.id


async def close_task(connection: AsyncConnection, task_id: str, *, actor: str, outcome: str) -> None:
    """Mark a task done by what happened; one that is closed already stays as it is."""
    await connection.execute(_CLOSE, {"id": task_id, "actor": actor, "outcome": outcome})


async def move_deadline(
    connection: AsyncConnection, task_id: str, before: datetime | None, after: datetime | None
) -> None:
    """Give an open task its new deadline, unless people have set another than the one it had `before`."""
    await connection.execute(_MOVE, {"id": task_id, "before": before, "after": after})


_OPEN = text(
    """
INSERT INTO tasks (
    id, kind, title, next_action, detail, customer_id, subject_kind, subject_id, priority, deadline, opened_by
) VALUES (
    :id, :kind, :title, :next_action, CAST(:detail AS jsonb), :customer, :subject_kind, :subject_id, :priority,
    :deadline, 'system'
) ON CONFLICT DO NOTHING
"""
)
_CLOSE = text(
    """
UPDATE tasks SET status = 'done', closed_by = :actor, closed_at = now(), outcome = :outcome, updated_at = now()
WHERE id = :id AND status = 'open'
"""
)
_MOVE = text(
    """
UPDATE tasks SET deadline = :after, updated_at = now()
WHERE id = :id AND status = 'open' AND deadline IS NOT DISTINCT FROM :before AND deadline IS DISTINCT FROM :after
"""
)
