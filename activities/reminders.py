"""A task's reminder: sent once at the time set, to whoever has the task then, and to nobody where it was moved."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection
from temporalio import activity

from activities.courier import Courier
from activities.outbox import NewMessage, put
from domain.ids import derive
from domain.tasks import DueTask, reminder
from models.session import Database


@dataclass(frozen=True, slots=True)
class ReminderRequest:
    """Of which task, and for what time it was set. Nothing personal: the rest is read when it is due."""

    task_id: str
    at: datetime


class Reminders:
    """The activity of `workflows.reminder`."""

    def __init__(self, database: Database, courier: Courier) -> None:
        self._database = database
        self._courier = courier

    @activity.defn(name="remind")
    async def remind(self, request: ReminderRequest) -> bool:
        """Mark the task as reminded and write to its assignee; False where there is no such task (yet).

        The row's lock waits for a change under way. Repeated, it finds the message under the same id.
        """
        message_id = derive("msg", "reminder", request.task_id, request.at.isoformat())
        async with self._database.begin() as connection:
            row = (await connection.execute(_TASK, {"id": request.task_id})).one_or_none()
            if row is None:
                return False
            if row.status != "open" or row.remind_at != request.at:
                return True  # closed, moved or cleared since: another timer has it, or none
            await connection.execute(_REMINDED, {"id": request.task_id})
            recipient = await self._recipient(connection, row.assignee)
            if recipient is None:
                return True  # nobody to write to; it stands in the list of reminders
            letter = reminder(DueTask(request.task_id, row.title, row.next_action, row.deadline))
            await put(
                connection,
                NewMessage(
                    id=message_id,
                    customer_id=row.customer_id,
                    template="task_reminder",
                    recipient=recipient,
                    subject=letter.subject,
                    body=letter.body,
                    at=request.at.replace(microsecond=0),
                    audience="staff",
                ),
            )
        await self._courier.dispatch([message_id])
        return True

    @staticmethod
    async def _recipient(connection: AsyncConnection, assignee: str | None) -> str | None:
        """A person's email by their name, or the assignee where it is an email address itself."""
        if assignee is None:
            return None
        person = await connection.scalar(_PERSON, {"name": assignee})
        return person or (assignee if "@" in assignee else None)


_TASK = text(
    "SELECT status, remind_at, assignee, title, next_action, deadline, customer_id FROM tasks WHERE id = :id FOR UPDATE"
)
_REMINDED = text("UPDATE tasks SET reminded_at = coalesce(reminded_at, now()) WHERE id = :id")
_PERSON = text("SELECT email FROM people WHERE lower(name) = lower(:name) AND disabled_at IS NULL")
