"""What is to be shipped as a file, and the tracking numbers that come back: once, whatever is repeated."""

from __future__ import annotations

import csv
import io
from collections.abc import AsyncIterator, Sequence
from typing import Any, cast

import httpx
import pytest
from sqlalchemy import text
from temporalio.testing import ActivityEnvironment

from activities.fulfilment_batches import BatchOrder, FulfilmentBatches
from activities.fulfilments import Fulfilments, Ordered, ParcelWord, Seen, parcel_of
from activities.shipments import OrderParcel, ship_order
from api.app import create_app
from api.context import Services
from api.keys import create_key
from models.session import Database
from providers.fulfilment.csv import CsvProvider
from tests.api.conftest import Caller
from tests.api.whole_customer import START, whole_customer
from workflows.commands import Commands

FORMULA = "=SUM(A1)"


class Worker:
    """The activities as Temporal would call them, and what they dispatch."""

    def __init__(self, database: Database) -> None:
        self.provider = CsvProvider()
        self.batches = FulfilmentBatches(database, self.provider)
        self.parcels = Fulfilments(database, self.provider, self)
        self.dispatched: list[str] = []
        self.fulfilments = self

    async def dispatch(self, messages: Sequence[str]) -> None:
        self.dispatched.extend(messages)

    async def hand_off_batch(self, order: BatchOrder) -> str:
        made: Ordered = await ActivityEnvironment().run(self.batches.hand_off_batch, order)
        assert made.fulfilment_id is not None
        return made.fulfilment_id

    async def hear_many(self, words: Sequence[ParcelWord], upload_id: str) -> list[str]:  # noqa: ARG002 - the door's
        return await ActivityEnvironment().run(self.parcels.hear_of_many, list(words))


@pytest.fixture
async def worker(fresh_database: Database) -> Worker:
    """Four parcels: one to ship, one disputed, one without an address, one of a test-mode subscription."""
    for name in ("fine", "sued", "lost", "test"):
        await whole_customer(fresh_database, name, 1)
    await run(
        fresh_database,
        "UPDATE invoices SET status = 'paid'",
        "UPDATE refunds SET status = 'failed'",
        "UPDATE disputes SET status = 'won' WHERE id <> 'dis_sued_0'",
        "DELETE FROM addresses WHERE customer_id = 'cus_lost'",
        "UPDATE fulfilments SET test_mode = true WHERE id = 'ful_test_0'",
        "UPDATE customers SET first_name = '=SUM(A1)' WHERE id = 'cus_fine'",
    )
    return Worker(fresh_database)


@pytest.fixture
async def ops(fresh_database: Database, worker: Worker) -> AsyncIterator[Caller]:
    app = create_app(Services(fresh_database, cast("Commands", worker), {}))
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://api") as http:
        yield Caller(http, await create_key(fresh_database, "olga"))


async def run(database: Database, *statements: str) -> None:
    async with database.begin() as connection:
        for statement in statements:
            await connection.execute(text(statement))


async def statuses(database: Database) -> dict[str, tuple[str, str | None]]:
    async with database.begin() as connection:
        rows = await connection.execute(text("SELECT id, status, attention FROM fulfilments"))
        return {row.id: (row.status, row.attention) for row in rows}


async def test_a_batch_hands_off_once_what_is_paid_and_has_an_address(ops: Caller, fresh_database: Database) -> None:
    made = (await ops.post("/v1/fulfilment-batches", {}, key="monday")).json()
    assert (made["fulfilments"], made["left_out"], made["actor"]) == (1, 2, "olga")
    assert await statuses(fresh_database) == {
        "ful_fine_0": ("handed_off", None),
        "ful_sued_0": ("stopped", None),
        "ful_lost_0": ("pending", "the customer has no address to ship to"),
        "ful_test_0": ("pending", None),
    }
    assert (await ops.post("/v1/fulfilment-batches", {})).json()["fulfilments"] == 0
    assert (await ops.post("/v1/fulfilment-batches", {"test_mode": True})).json()["fulfilments"] == 1
    stuck = (await ops.get("/v1/fulfilments", attention=True)).json()["items"]
    assert [each["id"] for each in stuck] == ["ful_lost_0"]
    file = await ops.get(f"/v1/fulfilment-batches/{made['id']}/file")
    assert file.headers["content-type"].startswith("text/csv")
    (row,) = csv.DictReader(io.StringIO(file.text))
    assert (row["fulfilment_id"], row["line1"], row["product"]) == ("ful_fine_0", "1 Road", "fine_0")
    assert row["recipient"] == f"'{FORMULA}", "no spreadsheet runs it"


async def test_a_batch_whose_worker_died_before_its_answer_is_the_same_batch(worker: Worker) -> None:
    order = BatchOrder("fulb_1", "olga")
    assert [await worker.hand_off_batch(order) for _ in range(2)] == ["fulb_1", "fulb_1"]


async def test_tracking_comes_back_from_a_file_and_twice_is_as_once(
    ops: Caller, worker: Worker, fresh_database: Database
) -> None:
    await worker.hand_off_batch(BatchOrder("fulb_1", "olga"))
    content = "fulfilment_id,carrier,tracking,at\nful_fine_0,DHL,0034,2027-03-06T10:00:00Z\nful_none,DHL,1,\n"
    first = (await ops.post("/v1/fulfilment-tracking", {"content": content})).json()["items"]
    assert [(each["row"], each["outcome"]) for each in first] == [(2, "shipped"), (3, "unknown")]
    again = (await ops.post("/v1/fulfilment-tracking", {"content": content})).json()["items"]
    assert [each["outcome"] for each in again] == ["nothing new", "unknown"]
    assert len(set(worker.dispatched)) == 1, "the customer is told once"
    shown = (await ops.get("/v1/fulfilments/ful_fine_0")).json()
    assert [(each["kind"], each["actor"]) for each in shown["events"]][-1] == ("shipped", "olga")
    assert (await statuses(fresh_database))["ful_fine_0"] == ("shipped", None)


@pytest.mark.parametrize(
    ("content", "rule"),
    [
        ("fulfilment_id,carrier\nful_1,DHL\n", "has the columns"),
        ("fulfilment_id,carrier,tracking\n", "has 1 to 1000 rows"),
        ("fulfilment_id,carrier,tracking\nmsg_1,DHL,1\n", "row 2: fulfilment_id"),
        ("fulfilment_id,carrier,tracking\nful_1,,1\n", "row 2: carrier is missing"),
        ("fulfilment_id,carrier,tracking\nful_1,DHL\n", "row 2: has 2 cells"),
        ("fulfilment_id,carrier,tracking,status\nful_1,DHL,1,eaten\n", "row 2: status is"),
        ("fulfilment_id,carrier,tracking,at\nful_1,DHL,1,2027-03-06\n", "row 2: at is"),
    ],
)
async def test_a_bad_file_is_refused_as_a_whole(ops: Caller, worker: Worker, content: str, rule: str) -> None:
    answer = await ops.post("/v1/fulfilment-tracking", {"content": content})
    problem: dict[str, Any] = answer.json()["errors"][0]
    assert (answer.status_code, problem["field"]) == (422, "content")
    assert rule in problem["message"]
    assert worker.dispatched == []


async def test_what_went_out_as_a_file_is_called_back_by_a_person(worker: Worker, fresh_database: Database) -> None:
    await worker.hand_off_batch(BatchOrder("fulb_1", "olga"))
    await run(fresh_database, "UPDATE fulfilments SET status = 'stopped', withdrawal = 'due' WHERE id = 'ful_fine_0'")
    assert await ActivityEnvironment().run(worker.parcels.see_to, "ful_fine_0") == Seen()
    async with fresh_database.begin() as connection:
        row = (await connection.execute(text("SELECT * FROM fulfilments WHERE id = 'ful_fine_0'"))).one()
        tasks = (await connection.execute(text("SELECT kind FROM tasks WHERE subject_id = 'ful_fine_0'"))).scalars()
    assert (row.status, row.withdrawal, list(tasks)) == ("stopped", "by_hand", ["fulfilment_withdrawal"])


async def test_the_paid_lines_of_an_order_ship_once_and_only_what_is_physical(
    worker: Worker, fresh_database: Database
) -> None:
    await run(fresh_database, "UPDATE products SET physical = true WHERE id = 'prod_fine_0'")
    lines = [
        OrderParcel("ord_1", 1, "cus_fine", "in_fine_0", "prod_fine_0", None, "Grinder", 2, False, START),
        OrderParcel("ord_1", 2, "cus_fine", "in_fine_0", "prod_sued_0", None, "E-book", 1, False, START),
    ]
    async with fresh_database.begin() as connection:
        (sent,) = await ship_order(connection, lines)
        assert await ship_order(connection, lines) == (sent,)
    async with fresh_database.begin() as connection:
        row = (await connection.execute(text("SELECT * FROM fulfilments WHERE order_id = 'ord_1'"))).one()
        parcel = await parcel_of(connection, sent)
    assert (row.id, row.description, row.quantity, row.status) == (sent, "Grinder", 2, "pending")
    assert parcel.reference == "ord_1"
    assert await worker.hand_off_batch(BatchOrder("fulb_1", "olga")) == "fulb_1"
    assert (await statuses(fresh_database))[sent] == ("handed_off", None)
