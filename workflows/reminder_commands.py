"""The door to reminders: a timer is set for a task, once for each time."""

from __future__ import annotations

from datetime import UTC, datetime

from temporalio.client import Client
from temporalio.common import WorkflowIDConflictPolicy

from activities.reminders import ReminderRequest
from workflows.answers import answered
from workflows.reminder import ReminderWorkflow


class ReminderCommands:
    """What people may ask of reminders, with errors of `domain.errors` only."""

    def __init__(self, client: Client, task_queue: str) -> None:
        self._client = client
        self._task_queue = task_queue

    async def set(self, task_id: str, at: datetime) -> None:
        """Have the timer running; safe to repeat. Called before the task's row says so: a timer too many is silent.

        Raises `Unavailable` where Temporal does not answer.
        """

        async def run() -> None:
            await self._client.start_workflow(
                ReminderWorkflow.run,
                ReminderRequest(task_id, at),
                id=f"reminder:{task_id}:{at.astimezone(UTC).isoformat()}",
                task_queue=self._task_queue,
                id_conflict_policy=WorkflowIDConflictPolicy.USE_EXISTING,
                static_summary=f"Reminder of {task_id}",
            )

        await answered(run, noun="reminder")
