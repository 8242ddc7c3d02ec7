"""Our books against the gateway's: each kind of difference, what ends it, and that the books agree afterwards."""

from __future__ import annotations

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


async def kinds(desk: Desk, status: str | None = "open") -> list[str]:
    return sorted(row["kind"] for row in await desk.found(status))


async def test_equal_books_have_no_difference(desk: Desk) -> None:
    """Sales, a void, a refund, a refund that was refused, a decline; settled and not."""
    sales = [await desk.charged() for _ in range(3)]
    await desk.settle(references=sales[:1])
    await desk.read_reports()
    await desk.refunded(sales[0], 400)
    await desk.refunded(sales[1], 400, "failed")
    await desk.gateway.void_sale(sales[2])
    await desk.execute("UPDATE attempts SET settlement = 'voided' WHERE reference = :ref", ref=sales[2])
    await desk.charged("parked", sent=False)
    run = await desk.reconcile()
    assert (run["status"], run["changed"], run["differences"]) == ("done", 0, 0)
    assert run["seen"] >= 4
    assert (await desk.found(), await desk.tasks()) == ([], [])
    assert await desk.rows("SELECT * FROM reported_transactions WHERE run_id = :id", id=run["id"]) == [], (
        "kept only while it runs"
    )


async def test_each_kind_of_difference_shows_both_sides_and_has_a_task(desk: Desk) -> None:
    await desk.foreign("order-1", 500)
    dropped, amount, state = [await desk.charged() for _ in range(3)]
    await desk.drop(dropped)
    await desk.spoil(amount, amount=900)
    await desk.spoil(state, state="voided")
    run = await desk.reconcile()
    assert run["differences"] == 4
    seen = {row["reference"]: row for row in await desk.found("open")}
    assert {name: row["kind"] for name, row in seen.items()} == {
        "order-1": "missing_here", dropped: "missing_there", amount: "amount", state: "state",
    }  # fmt: skip
    assert (seen["order-1"]["ours"], seen["order-1"]["theirs"]["amount"]) == ({}, 500)
    assert (seen[dropped]["ours"]["amount"], seen[dropped]["theirs"]) == (1000, {})
    assert [seen[amount][side]["amount"] for side in ("ours", "theirs")] == [1000, 900]
    assert [seen[state][side]["state"] for side in ("ours", "theirs")] == ["captured", "voided"]
    assert {subject for subject, _ in await desk.tasks()} == {row["id"] for row in seen.values()}
    tasks = {row["subject_id"]: row for row in await desk.rows("SELECT * FROM tasks WHERE kind = 'reconciliation'")}
    for row in seen.values():
        detail = tasks[row["id"]]["detail"]
        assert (detail["ours"], detail["theirs"]) == (row["ours"], row["theirs"])
        assert tasks[row["id"]]["customer_id"] == row["customer_id"]
        assert tasks[row["id"]]["next_action"]
    await desk.reconcile()
    assert len(await desk.found()) == len(await desk.tasks()) == 4, "a second look opens nothing"


async def test_refunds_are_compared_too(desk: Desk) -> None:
    sale = await desk.charged()
    await desk.settle()
    await desk.read_reports()
    lost, wrong = await desk.refunded(sale, 300), await desk.refunded(sale, 200)
    await desk.drop(lost)
    await desk.spoil(wrong, state="failed")
    await desk.reconcile()
    assert {row["reference"]: row["kind"] for row in await desk.found()} == {lost: "missing_there", wrong: "state"}


async def test_a_difference_that_is_mended_is_gone_at_the_next_run_whatever_its_window(desk: Desk) -> None:
    sale = await desk.charged()
    await desk.spoil(sale, amount=900)
    await desk.reconcile()
    await desk.spoil(sale, amount=1000)
    later = datetime.now(UTC)
    run = await desk.reconcile(since=later, until=later + timedelta(seconds=1))
    assert (run["seen"], run["changed"], run["differences"]) == (0, 1, 0)
    assert await kinds(desk, "gone") == ["amount"]
    assert [status for _, status in await desk.tasks()] == ["done"]
    await desk.spoil(sale, amount=900)
    await desk.reconcile()
    assert (await kinds(desk), len(await desk.found())) == (["amount"], 2), "it came again: a new difference"


async def test_the_edges_of_a_window_make_no_difference(desk: Desk) -> None:
    sale = await desk.charged(age=timedelta(hours=30))
    await desk.reconcile(days=0.01)
    await desk.reconcile(days=2, until=datetime.now(UTC) - timedelta(hours=1))
    assert await desk.found() == [], "ours long before theirs, each alone in one of the windows"
    await desk.drop(sale)
    await desk.reconcile(days=2, until=datetime.now(UTC) - timedelta(hours=1))
    assert await kinds(desk) == ["missing_there"]


async def test_what_is_on_its_way_is_left_to_a_later_run(desk: Desk) -> None:
    await desk.charged("unknown")
    voided = await desk.charged()
    await desk.gateway.void_sale(voided)
    await desk.voiding(voided)
    await desk.charged("pending", sent=False)
    await desk.reconcile(in_flight_s=3600)
    assert await desk.found() == []
    await desk.reconcile()
    assert await kinds(desk) == ["state", "state"]
    await desk.reconcile(in_flight_s=3600)
    assert await kinds(desk) == ["state", "state"], "what still differs is not gone because it is excused"


async def test_a_capture_under_way_is_left_to_a_later_run_however_long_ago_it_was_authorised(desk: Desk) -> None:
    taking = await desk.charged("capturing", age=timedelta(days=5))
    await desk.execute("UPDATE attempts SET asked_at = now() WHERE reference = :ref", ref=taking)
    await desk.reconcile(in_flight_s=3600)
    assert await desk.found() == []
    await desk.reconcile()
    assert await kinds(desk) == ["state"], "taken there, and not in our books yet"


async def test_what_was_authorised_long_before_is_compared_once_it_is_captured(desk: Desk) -> None:
    """A gateway reports it by when it was authorised; the window of the Schedule reaches back to that."""
    await desk.reconcile()
    held = await desk.charged("authorised", age=timedelta(days=5))
    await desk.spoil(held, state="authorised")
    usual = await desk.reconcile(days=None)
    assert (usual["differences"], usual["since"] > datetime.now(UTC) - timedelta(days=1)) == (0, True)
    await desk.execute("UPDATE attempts SET asked_at = now() WHERE reference = :ref", ref=held)
    await desk.learns(held)
    run = await desk.reconcile(days=None)
    assert run["since"] <= (await desk.attempt(held))["recorded_at"]
    assert await kinds(desk) == ["state"], "captured here, and only authorised there"
    await desk.spoil(held, state="captured")
    await desk.reconcile(days=None)
    assert await kinds(desk) == []


async def test_a_charge_made_twice_under_one_reference_is_found(desk: Desk) -> None:
    sale = await desk.charged()
    await desk.foreign(sale, 1000)
    await desk.reconcile()
    (found,) = await desk.found()
    assert (found["kind"], found["theirs"]["amount"]) == ("missing_here", 1000)
    assert found["gateway_id"] != (await desk.attempt(sale))["gateway_id"]


async def test_a_recheck_closes_what_is_equal_now_and_shows_what_is_not(desk: Desk) -> None:
    sale, dropped = await desk.charged(), await desk.charged()
    await desk.spoil(sale, amount=900)
    await desk.drop(dropped)
    await desk.reconcile()
    by_kind = {row["kind"]: row["id"] for row in await desk.found()}
    await desk.spoil(sale, amount=950)
    assert (await desk.resolve(by_kind["amount"], "recheck")).code is None
    assert (await desk.resolve(by_kind["missing_there"], "recheck")).code is None
    assert await kinds(desk) == ["amount", "missing_there"]
    (shown,) = [row for row in await desk.found() if row["kind"] == "amount"]
    assert shown["theirs"]["amount"] == 950
    await desk.spoil(sale, amount=1000)
    await desk.resolve(by_kind["amount"], "recheck")
    assert (await kinds(desk), await kinds(desk, "gone")) == (["missing_there"], ["amount"])
    again = await desk.resolve(by_kind["amount"], "dismiss", reason="never mind")
    assert again.code == "difference_closed"


@pytest.mark.parametrize("trouble", ["foreign", "dropped", "amount", "voided", "declined_here", "refund"])
async def test_adopting_books_what_the_gateway_says_and_the_next_run_agrees(desk: Desk, trouble: str) -> None:
    sale = await desk.charged("declined" if trouble == "declined_here" else "approved")
    match trouble:
        case "foreign":
            await desk.foreign("order-9", 500)
        case "dropped":
            await desk.drop(sale)
        case "amount":
            await desk.spoil(sale, amount=900)
        case "voided":
            await desk.spoil(sale, state="voided")
        case "refund":
            await desk.settle()
            await desk.read_reports()
            await desk.refunded(sale, 300, "failed")
        case _:
            pass
    await desk.reconcile()
    (found,) = await desk.found("open")
    assert await desk.cash() != await desk.their_cash()
    assert (await desk.resolve(found["id"], "adopt", "cmd_1")).code is None
    assert await desk.cash() == await desk.their_cash()
    assert await desk.trial_balance() == 0
    (entry,) = await desk.rows("SELECT * FROM ledger_entries WHERE subject_id = :id", id=found["id"])
    assert (entry["kind"], entry["customer_id"]) == ("reconciliation_adopted", found["customer_id"])
    (closed,) = await desk.found()
    assert (closed["status"], closed["closed_by"], closed["resolution"]) == ("fixed", "ann", "adopted")
    assert [status for _, status in await desk.tasks()] == ["done"]
    assert (await desk.resolve(found["id"], "adopt", "cmd_1")).code is None, "the same command again"
    assert (await desk.resolve(found["id"], "adopt", "cmd_2")).code == "difference_closed"
    await desk.reconcile()
    assert await kinds(desk) == []
    assert await desk.cash() == await desk.their_cash()


async def test_what_the_gateway_changes_after_it_was_adopted_is_a_new_difference(desk: Desk) -> None:
    sale = await desk.charged()
    await desk.spoil(sale, amount=900)
    await desk.reconcile()
    await desk.resolve((await desk.found())[0]["id"], "adopt")
    await desk.spoil(sale, amount=800)
    await desk.reconcile()
    (found,) = await desk.found("open")
    await desk.resolve(found["id"], "adopt")
    assert await desk.cash() == await desk.their_cash() == 800
    assert await desk.trial_balance() == 0
    assert [row["adopted"] for row in await desk.found()] == [-100, -100]


async def test_nothing_is_adopted_while_our_own_outcome_is_open(desk: Desk) -> None:
    """The subscription asks for it by itself, and would book it a second time."""
    await desk.charged("unknown")
    await desk.reconcile()
    (found,) = await desk.found()
    refused = await desk.resolve(found["id"], "adopt")
    assert (refused.code, refused.allowed) == ("outcome_open", ("recheck", "dismiss"))
    assert "recheck" in refused.message
    assert await desk.cash() == 0


async def test_nothing_is_adopted_while_the_gateway_has_yet_to_say(desk: Desk) -> None:
    """It may still fail there; what was booked by then would be wrong."""
    sale = await desk.charged()
    await desk.settle()
    await desk.read_reports()
    given = await desk.refunded(sale, 300)
    await desk.spoil(given, state="pending")
    await desk.reconcile()
    (found,) = await desk.found()
    refused = await desk.resolve(found["id"], "adopt")
    assert (refused.code, refused.allowed) == ("outcome_open", ("recheck", "dismiss"))
    assert (await desk.cash(), await kinds(desk)) == (700, ["state"])
    await desk.spoil(given, state="failed")
    assert (await desk.resolve(found["id"], "adopt")).code is None
    assert await desk.cash() == 1000


async def test_nothing_is_adopted_where_no_money_differs_or_no_currency_agrees(desk: Desk) -> None:
    sale = await desk.charged(age=timedelta(days=5))
    await desk.execute("UPDATE attempts SET status = 'declined', settlement = NULL WHERE reference = :ref", ref=sale)
    await desk.spoil(sale, amount=900, state="declined")
    other = await desk.charged()
    await desk.execute("UPDATE attempts SET currency = 'USD' WHERE reference = :ref", ref=other)
    await desk.reconcile()
    found = {row["reference"]: row["id"] for row in await desk.found("open")}
    assert (await desk.resolve(found[sale], "adopt")).code == "nothing_to_adopt"
    assert (await desk.resolve(found[other], "adopt")).code == "currency_differs"
    assert len(await desk.found("open")) == 2


async def test_what_was_dismissed_stays_so_until_the_money_changes(desk: Desk) -> None:
    await desk.foreign("order-5", 500)
    await desk.reconcile()
    (found,) = await desk.found()
    assert (await desk.resolve(found["id"], "dismiss", reason="our bank's own test")).code is None
    await desk.settle()
    await desk.read_reports()
    await desk.reconcile()
    (closed,) = await desk.found()
    assert (closed["status"], closed["reason"], await desk.cash()) == ("dismissed", "our bank's own test", 0)
    await desk.spoil("order-5", amount=600)
    await desk.reconcile()
    assert await kinds(desk) == ["missing_here"]


async def test_a_gateway_that_is_down_is_said_so_and_nothing_changes(desk: Desk) -> None:
    await desk.foreign("order-6", 500)
    await desk.reconcile()
    (found,) = await desk.found()
    await desk.control("PUT", "/outage", {"down": True})
    assert (await desk.resolve(found["id"], "adopt", "cmd_7")).code == "unavailable"
    await desk.control("PUT", "/outage", {"down": False})
    assert (await desk.resolve(found["id"], "adopt", "cmd_7")).code is None
    assert await desk.cash() == 500
    assert (await desk.resolve("dif_nobody", "recheck")).code == "not_found"


async def test_a_window_of_many_pages_is_compared_whole(desk: Desk) -> None:
    """All made at one instant: only the reference tells where a page ends. Four of them were never there."""
    desk.twice = False
    first = await desk.attempt(await desk.charged("parked", sent=False))
    await desk.execute(
        "INSERT INTO attempts (id, invoice_id, subscription_id, customer_id, number, reference, trigger, gateway,"
        " amount, currency, status, settlement, at, test_mode, recorded_at) SELECT :like || n, :invoice, 'sub', 'cus',"
        " n + 1, :like || lpad(n::text, 4, '0'), 'due', :gateway, 1, 'EUR', CASE WHEN n IN (1, 500, 501, 1001)"
        " THEN 'approved' ELSE 'parked' END, 'pending', now(), false, CAST(:at AS timestamptz)"
        " FROM generate_series(1, 1001) AS n",
        like=f"{first['id']}:",
        invoice=first["invoice_id"],
        gateway=desk.gateway.name,
        at=datetime.now(UTC) - timedelta(minutes=10),
    )
    run = await desk.reconcile()
    assert (run["seen"], run["differences"]) == (1002, 4)
