"""Credit notes are numbered without gaps for each customer, once for each id, however many are written at once."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import Any

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from activities.credit_notes import write_credit_note
from domain.errors import Broken
from models.session import Database
from tests.activities.credit_bench import Bench

pytestmark = pytest.mark.timeout(60)
NIGHT = datetime(2026, 3, 31, 23, 30, tzinfo=UTC)


class Notes:
    """Two customers with an invoice each."""

    def __init__(self, database: Database) -> None:
        self.bench = Bench(database)
        self.of: dict[str, tuple[str, str]] = {}

    async def ready(self) -> Notes:
        for name in ("ann", "bob"):
            sub = await self.bench.subscription()
            self.of[name] = (await self.bench.invoice(sub, 10_000), self.bench.states[sub].customer_id)
        return self

    async def write(self, identity: str, name: str = "ann", **changes: Any) -> str:
        invoice, customer = self.of[name]
        given: dict[str, Any] = {
            "id": identity,
            "invoice_id": invoice,
            "customer_id": customer,
            "refund_id": None,
            "amount": 100,
            "currency": "USD",
            "disposition": "refund",
            "reason": "late",
            "actor": "ann",
            "at": NIGHT,
            "zone": "Europe/Berlin",
            "test_mode": False,
        }
        async with self.bench.database.begin() as connection:
            return await write_credit_note(connection, **(given | changes))

    async def numbers(self) -> list[str]:
        return [row.number for row in await self.bench.rows("SELECT number FROM credit_notes ORDER BY number")]


async def test_twenty_at_once_are_twenty_numbers_for_each_customer(fresh_database: Database) -> None:
    notes = await Notes(fresh_database).ready()
    names = ["ann", "bob"] * 10
    written = await asyncio.gather(*(notes.write(f"cn_{i}", name) for i, name in enumerate(names)))
    for name in ("ann", "bob"):
        prefix = notes.of[name][1].replace("cus_", "P")
        own = sorted(number for number, whose in zip(written, names, strict=True) if whose == name)
        assert own == [f"CN-{prefix}-{i:04}" for i in range(1, 11)]
    assert sorted(written) == await notes.numbers()


async def test_the_same_note_at_once_and_again_is_one(fresh_database: Database) -> None:
    notes = await Notes(fresh_database).ready()
    first = set(await asyncio.gather(*(notes.write("cn_same") for _ in range(5))))
    assert await notes.write("cn_same", amount=999) in first
    assert len(first) == len(await notes.numbers()) == 1
    assert (await notes.bench.rows("SELECT amount FROM credit_notes"))[0].amount == 100


async def test_its_date_is_the_customer_s(fresh_database: Database) -> None:
    notes = await Notes(fresh_database).ready()
    await notes.write("cn_1")
    row = (await notes.bench.rows("SELECT local_date, at FROM credit_notes"))[0]
    assert (row.local_date, row.at) == ("2026-04-01", NIGHT)


async def test_a_note_taken_back_before_its_commit_leaves_no_gap(fresh_database: Database) -> None:
    notes = await Notes(fresh_database).ready()
    with pytest.raises(DBAPIError):
        await notes.write("cn_wrong", amount=0)
    assert (await notes.write("cn_right")).endswith("-0001")


async def test_nobody_s_note_is_a_bug(fresh_database: Database) -> None:
    notes = await Notes(fresh_database).ready()
    with pytest.raises(Broken, match="cus_nobody is missing"):
        await notes.write("cn_1", customer_id="cus_nobody")


async def test_a_note_is_never_changed(fresh_database: Database) -> None:
    notes = await Notes(fresh_database).ready()
    await notes.write("cn_1")
    with pytest.raises(DBAPIError, match="never changed"):
        async with fresh_database.begin() as connection:
            await connection.execute(text("UPDATE credit_notes SET amount = 1"))
