"""A reminder's activity, run twice and run too late: one message, or none."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from itertools import count
from typing import Any

import pytest
from sqlalchemy import text

from activities.reminders import ReminderRequest, Reminders
from models.session import Database

AT = datetime(2027, 3, 5, 9, tzinfo=UTC)
NUMBERS = count(1)


class Postbox:
    """A courier that keeps what it was given."""

    def __init__(self) -> None:
        self.given: list[str] = []

    async def dispatch(self, messages: Sequence[str]) -> None:
        self.given.extend(messages)


async def a_task(database: Database, **fields: Any) -> str:
    row: dict[str, Any] = {"id": f"task_r{next(NUMBERS)}", "assignee": "ann@example.com", "remind_at": AT}
    row |= {"status": "open"} | fields
    async with database.begin() as connection:
        await connection.execute(
            text(
                "INSERT INTO tasks (id, kind, title, opened_by, assignee, remind_at, status)"
                " VALUES (:id, 'manual', 'Call back', 'ann', :assignee, :remind_at, :status)"
            ),
            row,
        )
    return row["id"]


async def written(database: Database, ids: list[str]) -> list[tuple[str, str, str | None]]:
    async with database.begin() as connection:
        rows = await connection.execute(
            text("SELECT recipient, audience, customer_id FROM messages WHERE id = ANY(:ids)"), {"ids": ids}
        )
        return [(row.recipient, row.audience, row.customer_id) for row in rows]


async def test_run_twice_it_writes_one_message(database: Database) -> None:
    postbox, task = Postbox(), await a_task(database)
    reminders = Reminders(database, postbox)
    assert await reminders.remind(ReminderRequest(task, AT))
    assert await reminders.remind(ReminderRequest(task, AT))
    assert len(set(postbox.given)) == 1
    assert await written(database, postbox.given) == [("ann@example.com", "staff", None)]


@pytest.mark.parametrize(
    "fields",
    [{"remind_at": None}, {"remind_at": AT.replace(hour=10)}, {"status": "done"}, {"assignee": None}],
    ids=["cleared", "moved", "closed", "nobody's"],
)
async def test_nobody_is_written_to_in_vain(database: Database, fields: dict[str, Any]) -> None:
    postbox, task = Postbox(), await a_task(database, **fields)
    assert await Reminders(database, postbox).remind(ReminderRequest(task, AT))
    assert postbox.given == []


async def test_a_task_that_is_not_there_yet_is_looked_for_again(database: Database) -> None:
    assert not await Reminders(database, Postbox()).remind(ReminderRequest("task_none", AT))
