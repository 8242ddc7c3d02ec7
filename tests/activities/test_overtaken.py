"""A letter that waited too long: what is no longer true is not sent after what is."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any, Self

import pytest
from sqlalchemy import text
from temporalio.testing import ActivityEnvironment

from activities.courier import Messages
from models.session import Database
from providers.notifiers.base import Email
from tests.stack_fixtures import NUMBERS

NOW = datetime(2026, 3, 1, 9, tzinfo=UTC)
STATEMENTS = (
    "INSERT INTO customers (id, email, currency, invoice_prefix) VALUES (:id, 'a@example.net', 'EUR', :id)",
    "INSERT INTO products (id, code, name) VALUES (:id, :id, 'Box')",
    """INSERT INTO prices (id, product_id, code, currency, unit_amount, interval_count, interval_unit)
    VALUES (:id, :id, 'p', 'EUR', 100, 1, 'month')""",
    """INSERT INTO subscriptions (id, customer_id, product_id, price_id, status, access, currency, amount, quantity,
    cycle, test_mode, trigger, event_seq, virtual_now)
    VALUES (:id, :id, :id, :id, 'active', 'active', 'EUR', 100, 1, 1, true, 'clock', 9, now())""",
)


class Post:
    def __init__(self) -> None:
        self.taken: list[str] = []

    @asynccontextmanager
    async def session(self) -> AsyncGenerator[Self]:
        yield self

    async def send(self, message: Email) -> None:
        self.taken.append(message.subject)


async def told(database: Database, *lines: tuple[str, str | None], resend_of: str | None = None) -> list[str]:
    """Letters that wait, one a line of the timeline: (template, invoice)."""
    number = f"late_{next(NUMBERS)}"
    async with database.begin() as connection:
        for statement in STATEMENTS:
            await connection.execute(text(statement.replace(":id", f"'{number}'")))
        for seq, (template, invoice) in enumerate(lines, start=1):
            row: dict[str, Any] = {
                "id": f"msg_{number}_{seq}", "of": number, "seq": seq, "at": NOW + timedelta(days=seq),
                "template": template, "data": json.dumps({"invoice_id": invoice} if invoice else {}),
                "again": resend_of,
            }  # fmt: skip
            await connection.execute(
                text(
                    "INSERT INTO subscription_events (subscription_id, seq, at, kind, actor, reason, data)"
                    " VALUES (:of, :seq, :at, 'line', 'system', '', CAST(:data AS jsonb))"
                ),
                row,
            )
            await connection.execute(
                text(
                    "INSERT INTO messages (id, customer_id, subscription_id, event_seq, template, recipient, subject,"
                    " body, at, resend_of) VALUES (:id, :of, :of, :seq, :template, 'a@example.net', :template, 'x',"
                    " :at, :again)"
                ),
                row,
            )
    return [f"msg_{number}_{seq}" for seq in range(1, len(lines) + 1)]


async def sent(database: Database, ids: list[str]) -> list[str]:
    post = Post()
    await ActivityEnvironment().run(Messages(database, post, "us@example.net").send_messages, ids)
    return post.taken


@pytest.mark.parametrize(
    ("lines", "taken"),
    [
        ([("payment_failed", "inv_1"), ("receipt", "inv_1")], ["receipt"]),
        ([("payment_failed", "inv_1"), ("payment_final_notice", "inv_1")], ["payment_final_notice"]),
        ([("dunning_exhausted", "inv_1"), ("receipt", "inv_1")], ["receipt"]),
        ([("access_stopped", None), ("receipt", "inv_1")], ["receipt"]),
        ([("paused", None), ("resumed", None)], ["resumed"]),
        # Another invoice was paid: what failed is still open.
        ([("payment_failed", "inv_1"), ("receipt", "inv_2")], ["payment_failed", "receipt"]),
        # The order counts: what was paid before failed anew.
        ([("receipt", "inv_1"), ("payment_failed", "inv_2")], ["receipt", "payment_failed"]),
        ([("receipt", "inv_1"), ("receipt", "inv_2")], ["receipt", "receipt"]),
    ],
    ids=str,
)
async def test_what_is_no_longer_true_is_not_sent(
    database: Database, lines: list[tuple[str, str | None]], taken: list[str]
) -> None:
    """The mail server was away for days, and everything waits."""
    ids = await told(database, *lines)
    assert await sent(database, ids) == taken
    assert await sent(database, ids) == []
    async with database.begin() as connection:
        rows = await connection.execute(
            text("SELECT status, error FROM messages WHERE id = ANY(:ids) ORDER BY id"), {"ids": ids}
        )
        said = rows.all()
    for row in said:
        assert row.status == "sent" or (row.status, row.error) == ("overtaken", f"no longer true: {ids[-1]}")
    assert [row.status for row in said].count("sent") == len(taken)


async def test_what_a_person_sends_again_goes_out(database: Database) -> None:
    ids = await told(database, ("payment_failed", "inv_1"), ("receipt", "inv_1"), resend_of="msg_old")
    assert await sent(database, ids) == ["payment_failed", "receipt"]
