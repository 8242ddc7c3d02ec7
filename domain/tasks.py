"""What a reminder of a task says, and when one may be set."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from domain.errors import InvalidInput

REMIND_AHEAD_MAX: Final = timedelta(days=3 * 366)
SUBJECT_LENGTH_MAX: Final = 200


@dataclass(frozen=True, slots=True)
class DueTask:
    """A task as its reminder tells it."""

    id: str
    title: str
    next_action: str
    deadline: datetime | None


@dataclass(frozen=True, slots=True)
class Reminder:
    """One line, and text."""

    subject: str
    body: str


def accept_reminder(remind_at: datetime, now: datetime) -> None:
    """Raises `InvalidInput` for a time that has come already, or is further ahead than `REMIND_AHEAD_MAX`."""
    if remind_at <= now:
        raise InvalidInput("remind_at", "lies in the future")
    if remind_at - now > REMIND_AHEAD_MAX:
        raise InvalidInput("remind_at", f"lies at most {REMIND_AHEAD_MAX.days} days ahead")


def reminder(task: DueTask) -> Reminder:
    """What its assignee reads."""
    lines = [task.title]
    if task.next_action:
        lines.append(f"Next: {task.next_action}")
    if task.deadline is not None:
        lines.append(f"Deadline: {task.deadline:%d %b %Y %H:%M} UTC")
    lines.append(f"Task {task.id}")
    return Reminder(f"Reminder: {task.title}"[:SUBJECT_LENGTH_MAX], "\n\n".join(lines) + "\n")
