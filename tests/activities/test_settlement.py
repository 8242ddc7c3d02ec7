"""What a gateway reports as settled, read twice, late and in pieces: each charge and refund is marked once."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import pytest

from models.session import Database
from tests.servers import Server, sandbox_gateway
from tests.settlement_desk import Desk, new_desk

pytestmark = [pytest.mark.stack, pytest.mark.timeout(120)]


@pytest.fixture(scope="module")
async def server(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Server]:
    async with sandbox_gateway(tmp_path_factory.mktemp("gateway")) as running:
        yield running


@pytest.fixture
async def desk(database: Database, server: Server) -> AsyncIterator[Desk]:
    async with new_desk(database, server) as opened:
        yield opened


async def test_a_line_marks_its_charge_and_its_refund(desk: Desk) -> None:
    sale, other = await desk.charged(), await desk.charged()
    batch = (await desk.settle(references=[sale]))["batch"]
    run = await desk.read_reports()
    assert (run["seen"], run["changed"], run["differences"], run["status"]) == (1, 1, 0, "done")
    charge = await desk.attempt(sale)
    assert (charge["settlement"], charge["batch_id"]) == ("settled", batch)
    assert datetime.now(UTC) - charge["settled_at"] < timedelta(minutes=1)
    assert (await desk.attempt(other))["settlement"] == "pending"
    refund = await desk.refunded(sale, 400)
    await desk.settle(references=[refund])
    run = await desk.read_reports()
    (tried,) = await desk.rows("SELECT * FROM refund_tries WHERE reference = :ref", ref=refund)
    assert (tried["settlement"], tried["settled_at"] is None, run["changed"]) == ("settled", False, 1)


async def test_a_report_late_in_pieces_and_twice_changes_nothing_twice(desk: Desk) -> None:
    sales = [await desk.charged() for _ in range(5)]
    await desk.settle(pieces=3, late_seconds=3600, twice=True)
    run = await desk.read_reports()
    assert (run["seen"], run["changed"]) == (0, 0), "nothing is reported yet"
    await desk.control("POST", "/settlements/report")
    run = await desk.read_reports()
    assert (run["seen"], run["changed"]) == (10, 5), "each line came twice and marked once"
    marked = [await desk.attempt(sale) for sale in sales]
    assert {charge["settlement"] for charge in marked} == {"settled"}
    again = await desk.read_reports(from_start=True)
    assert (again["seen"], again["changed"], again["differences"]) == (10, 0, 0)
    assert [await desk.attempt(sale) for sale in sales] == marked
    assert len(await desk.mine("settlement_lines")) == 5
    assert await desk.found() == []


async def test_a_run_goes_on_where_the_one_before_the_last_ended(desk: Desk) -> None:
    seen: list[int] = []
    for _ in range(4):
        await desk.charged()
        await desk.settle()
        seen.append((await desk.read_reports())["seen"])
    assert seen == [1, 2, 2, 2], "its own line, and that of the run before once more"
    assert (await desk.read_reports(from_start=True))["seen"] == 4


async def test_runs_that_meet_mark_each_charge_once(desk: Desk) -> None:
    desk.twice = False
    sales = [await desk.charged() for _ in range(6)]
    await desk.settle(pieces=2)
    runs = await asyncio.gather(*(desk.read_reports() for _ in range(4)))
    assert sum(run["changed"] for run in runs) == 6
    assert {(await desk.attempt(sale))["settlement"] for sale in sales} == {"settled"}


async def test_a_line_that_we_do_not_know_is_a_difference_with_a_task(desk: Desk) -> None:
    await desk.foreign("order-77", 700)
    await desk.settle()
    run = await desk.read_reports()
    assert (run["seen"], run["changed"], run["differences"]) == (1, 0, 1)
    (found,) = await desk.found("open")
    assert (found["kind"], found["reference"], found["ours"]) == ("missing_here", "order-77", {})
    assert (found["theirs"]["amount"], found["theirs"]["moved"], found["theirs"]["state"]) == (700, 700, "settled")
    assert await desk.tasks() == [(found["id"], "open")]
    (task,) = await desk.rows("SELECT * FROM tasks WHERE subject_id = :id", id=found["id"])
    assert (task["detail"]["theirs"], task["detail"]["ours"]) == (found["theirs"], {})
    assert found["id"] in task["next_action"]
    await desk.read_reports()
    await desk.reconcile()
    assert len(await desk.found()) == 1, "whoever finds it: one difference"
    assert len(await desk.tasks()) == 1


async def test_a_line_of_a_charge_held_as_unknown_waits_until_the_subscription_knows(desk: Desk) -> None:
    sale = await desk.charged("unknown")
    await desk.settle()
    run = await desk.read_reports(in_flight_s=3600)
    assert (run["changed"], run["differences"], await desk.found()) == (0, 0, []), "it is only just being looked up"
    await desk.read_reports()
    (found,) = await desk.found("open")
    assert (found["kind"], found["ours"]["state"], found["theirs"]["state"]) == ("state", "unknown", "settled")
    assert found["customer_id"] == (await desk.attempt(sale))["customer_id"]
    charge = await desk.attempt(sale)
    assert (charge["status"], charge["settlement"], await desk.cash()) == ("unknown", None, 0)
    # The subscription's own look-up has its answer.
    await desk.execute(
        "UPDATE attempts SET status = 'approved', settlement = 'pending' WHERE reference = :ref", ref=sale
    )
    run = await desk.read_reports()
    assert (run["changed"], run["differences"]) == (1, 0)
    assert (await desk.attempt(sale))["settlement"] == "settled"
    assert [row["status"] for row in await desk.found()] == ["gone"]
    assert await desk.tasks() == [(found["id"], "done")]


async def test_a_waiting_line_is_found_again_when_the_report_is_long_past(desk: Desk) -> None:
    sale = await desk.charged("unknown")
    await desk.settle()
    for _ in range(3):
        await desk.read_reports()
    await desk.execute(
        "UPDATE attempts SET status = 'approved', settlement = 'pending' WHERE reference = :ref", ref=sale
    )
    run = await desk.read_reports()
    assert (run["seen"], run["changed"]) == (0, 1)
    assert (await desk.attempt(sale))["settlement"] == "settled"


async def test_a_line_of_a_charge_held_as_declined_is_a_difference(desk: Desk) -> None:
    await desk.charged("declined")
    await desk.settle()
    await desk.read_reports()
    (found,) = await desk.found("open")
    assert (found["kind"], found["ours"]["state"], found["theirs"]["moved"]) == ("state", "declined", 1000)


async def test_a_line_in_another_amount_settles_and_is_a_difference(desk: Desk) -> None:
    sale = await desk.charged()
    await desk.spoil(sale, amount=900)
    await desk.settle()
    await desk.read_reports()
    (found,) = await desk.found("open")
    assert (found["kind"], found["ours"]["amount"], found["theirs"]["amount"]) == ("amount", 1000, 900)
    assert (await desk.attempt(sale))["settlement"] == "settled"


async def test_the_line_of_a_second_charge_under_one_reference_does_not_settle_the_first(desk: Desk) -> None:
    sale = await desk.charged()
    await desk.foreign(sale, 1000)
    await desk.spoil((await desk.attempt(sale))["gateway_id"], state="authorised")
    await desk.settle()
    run = await desk.read_reports()
    assert (run["seen"], (await desk.attempt(sale))["settlement"]) == (1, "pending")
    (found,) = await desk.found("open")
    assert (found["kind"], found["theirs"]["moved"]) == ("missing_here", 1000)
