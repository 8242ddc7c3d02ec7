"""Events of gateways against a real database: kept once, folded in any order, booked to the cent, asked for once."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import timedelta
from itertools import permutations
from typing import Any

import pytest
from temporalio.testing import ActivityEnvironment

from activities.disputes import GatewayEventRequest, TakenEvent
from domain.errors import Refused, Unavailable
from domain.messages import Cancel, Pause, RefundChoice, When
from models.session import Database
from tests.dispute_desk import DEADLINE, SOLD, Desk, Door, event


@pytest.fixture
def desk(fresh_database: Database) -> Desk:
    return Desk(fresh_database)


async def test_at_each_moment_the_books_are_the_gateway_s(desk: Desk) -> None:
    won, lost = await desk.sale(), await desk.sale()
    for sale in (won, lost):
        assert await desk.hear(sale, "opened") == TakenEvent("opened")
        assert await desk.accounts(sale) == {"cash:sandbox": -1200, "disputed:sandbox": 1200}
        assert await desk.hear(sale, "evidence_due") == TakenEvent("evidence_due")
        assert await desk.accounts(sale) == {"cash:sandbox": -1200, "disputed:sandbox": 1200}
    await desk.hear(won, "won")
    assert await desk.accounts(won) == {}
    await desk.hear(lost, "lost")
    assert await desk.accounts(lost) == {"cash:sandbox": -2700, "chargeback_loss": 1200, "dispute_fees": 1500}


async def test_a_dispute_of_a_part_moves_that_part(desk: Desk) -> None:
    sale = await desk.sale()
    await desk.hear(sale, "opened", amount=500)
    assert await desk.accounts(sale) == {"cash:sandbox": -500, "disputed:sandbox": 500}


@pytest.mark.parametrize("end", ["won", "lost"])
async def test_every_order_of_four_events_ends_in_the_same_row_and_ledger(desk: Desk, end: str) -> None:
    async def heard(order: Sequence[str]) -> tuple[dict[str, Any], dict[str, int], set[str]]:
        sale = await desk.sale()
        for word in order:
            await desk.hear(sale, word)
        row, own = await desk.dispute(sale), {"recorded_at", "updated_at"}
        # The names of a sale, and what is derived from them, are its own.
        shown = {name: value for name, value in row.items() if name not in own and not name.endswith("id")}
        return shown, await desk.accounts(sale), set(await desk.entries(sale))

    first, *others = [await heard(order) for order in permutations(["opened", "evidence_due", end, "opened"])]
    assert first[0]["status"] == end
    assert all(other == first for other in others)


async def test_an_event_that_comes_again_changes_nothing(desk: Desk) -> None:
    sale = await desk.sale()
    for word in ("opened", "lost"):
        await desk.hear(sale, word, f"evt_{word}")
    row, entries = await desk.dispute(sale), await desk.entries(sale)
    for word in ("opened", "lost", "opened"):
        assert (await desk.hear(sale, word, f"evt_{word}")).outcome == "known"
    assert (await desk.dispute(sale), await desk.entries(sale)) == (row, entries)
    assert await desk.outcomes(sale) == [("opened", True), ("lost", True)]


async def test_all_events_at_once(desk: Desk) -> None:
    sales = [await desk.sale() for _ in range(5)]
    words = ["opened", "evidence_due", "lost", "opened", "lost"]
    await asyncio.gather(*(desk.hear(sale, word) for sale in sales for word in words))
    for sale in sales:
        assert (await desk.dispute(sale))["status"] == "lost"
        assert await desk.accounts(sale) == {"cash:sandbox": -2700, "chargeback_loss": 1200, "dispute_fees": 1500}
        assert all(handled for _, handled in await desk.outcomes(sale))


async def test_a_sale_that_is_not_ours_waits_for_it_with_a_task(desk: Desk) -> None:
    sale = "not-yet"
    assert (await desk.hear(sale, "lost")).outcome == "unknown_sale"
    assert (await desk.hear(sale, "opened", "evt_again")).outcome == "unknown_sale"
    assert await desk.outcomes(sale) == [("unknown_sale", False), ("unknown_sale", False)]
    assert (await desk.tasks(sale))["dispute_unknown_sale"] == ("open", "", DEADLINE)
    await desk.sale(name=sale)
    assert (await desk.hear(sale, "opened", "evt_again")).outcome == "opened"
    assert await desk.outcomes(sale) == [("lost", True), ("opened", True)], "all that waited is taken up"
    assert (await desk.dispute(sale))["status"] == "lost"
    assert (await desk.tasks(sale))["dispute_unknown_sale"][:2] == ("done", "the sale is in our books by now")


async def test_a_gateway_has_no_say_in_the_sales_of_another(desk: Desk) -> None:
    sale = await desk.sale()
    foreign = GatewayEventRequest("other", "evt_1", "dispute.lost", DEADLINE, event(sale, "lost").data)
    assert (await ActivityEnvironment().run(desk.disputes.take, foreign)).outcome == "unknown_sale"
    assert await desk.accounts(sale) == {}


async def test_won_and_lost_is_for_a_person(desk: Desk) -> None:
    sale = await desk.sale()
    await desk.hear(sale, "won")
    assert (await desk.hear(sale, "lost")).outcome == "conflict: it was won, now it is lost"
    assert (await desk.dispute(sale))["status"] == "won"
    assert await desk.accounts(sale) == {}
    assert (await desk.tasks(sale))["dispute_conflict"][0] == "open"


async def test_what_cannot_be_read_is_kept_for_a_person(desk: Desk) -> None:
    broken = GatewayEventRequest("sandbox", "evt_1", "dispute.opened", DEADLINE, {"amount": "many"})
    for _ in range(2):
        assert await ActivityEnvironment().run(desk.disputes.take, broken) == TakenEvent("unreadable")
    (kept,) = await desk.rows("SELECT * FROM gateway_events")
    assert kept["body"]["data"] == {"amount": "many"}
    assert kept["outcome"].startswith("unreadable: currency ")
    (task,) = await desk.rows("SELECT * FROM tasks")
    assert (task["kind"], task["status"]) == ("gateway_event_unreadable", "open")


async def test_other_kinds_of_event_are_kept_and_ignored(desk: Desk) -> None:
    other = GatewayEventRequest("sandbox", "evt_1", "charge.settled", DEADLINE, {})
    assert await ActivityEnvironment().run(desk.disputes.take, other) == TakenEvent("ignored")
    assert [row["outcome"] for row in await desk.rows("SELECT outcome FROM gateway_events")] == ["ignored"]
    assert await desk.rows("SELECT id FROM tasks") == []


async def test_the_task_of_a_dispute(desk: Desk) -> None:
    sale, later = await desk.sale(), DEADLINE + timedelta(days=3)
    await desk.hear(sale, "opened", evidence_due_at=None)
    assert (await desk.tasks(sale))["dispute"] == ("open", "", None)
    await desk.hear(sale, "evidence_due")
    assert (await desk.tasks(sale))["dispute"] == ("open", "", DEADLINE)
    await desk.execute("UPDATE tasks SET deadline = :earlier", earlier=DEADLINE - timedelta(days=1))
    await desk.hear(sale, "evidence_due", evidence_due_at=later.isoformat())
    assert (await desk.tasks(sale))["dispute"] == ("open", "", DEADLINE - timedelta(days=1)), "people set another"
    (task,) = await desk.rows("SELECT * FROM tasks")
    assert (task["priority"], task["customer_id"], task["opened_by"]) == ("high", f"cus_{sale}", "system")
    assert task["title"] == "Answer the dispute of 12.00 EUR"
    await desk.hear(sale, "won")
    assert (await desk.tasks(sale))["dispute"][:2] == ("done", "the dispute was won")


async def test_a_test_mode_charge_ahead_of_the_gateway_s_clock(desk: Desk) -> None:
    ahead = SOLD + timedelta(days=400)
    sale = await desk.sale(at=ahead, test_mode=True)
    await desk.hear(sale, "opened")
    assert (await desk.dispute(sale))["test_mode"]
    (entry,) = await desk.rows("SELECT * FROM ledger_entries")
    assert (entry["test_mode"], entry["at"], entry["subject_id"]) == (True, ahead, (await desk.dispute(sale))["id"])


async def test_by_default_a_lost_dispute_cancels(desk: Desk) -> None:
    sale = await desk.sale()
    assert (await desk.hear(sale, "opened")).follow is None
    taken = await desk.hear(sale, "lost")
    dispute = await desk.dispute(sale)
    assert taken.follow == dispute["id"]
    assert dispute["consequence"] == {"lost": {"action": "cancel", "result": "due"}}
    for _ in range(2):
        await ActivityEnvironment().run(desk.disputes.follow, dispute["id"])
    ((subscription, envelope),) = desk.door.asked
    assert subscription == f"sub_{sale}"
    assert envelope.command == Cancel(When.NOW, RefundChoice.NONE)
    assert (envelope.actor, envelope.reason) == ("system", f"dispute dp_{sale} lost")
    assert (await desk.dispute(sale))["consequence"] == {"lost": {"action": "cancel", "result": "done"}}
    assert (await desk.hear(sale, "lost")).follow is None
    assert await desk.rows("SELECT id FROM blacklist_entries") == []


async def test_opened_pauses_and_lost_cancels_where_the_merchant_says_so(desk: Desk) -> None:
    await desk.rule(on_opened="pause", on_lost="cancel")
    sale = await desk.sale()
    for word in ("opened", "lost"):
        taken = await desk.hear(sale, word)
        assert taken.follow is not None
    await ActivityEnvironment().run(desk.disputes.follow, taken.follow)
    assert [envelope.command for _, envelope in desk.door.asked] == [
        Pause(When.PERIOD_END), Cancel(When.NOW, RefundChoice.NONE)
    ]  # fmt: skip
    assert len({envelope.id for _, envelope in desk.door.asked}) == 2
    assert {cause: said["result"] for cause, said in (await desk.dispute(sale))["consequence"].items()} == {
        "opened": "done",
        "lost": "done",
    }


async def test_nothing_follows_where_the_merchant_wants_nothing(desk: Desk) -> None:
    await desk.rule(on_opened="none", on_lost="none")
    sale = await desk.sale()
    assert [(await desk.hear(sale, word)).follow for word in ("opened", "lost")] == [None, None]
    assert (await desk.dispute(sale))["consequence"] == {}


async def test_a_refusal_is_noted_and_an_outage_is_repeated_under_the_same_id(fresh_database: Database) -> None:
    over = Refused("not_while_canceled", "cancel is not possible while the subscription is canceled")
    desk = Desk(fresh_database, Door(Unavailable("Temporal does not answer"), over))
    sale = await desk.sale()
    taken = await desk.hear(sale, "lost", "evt_1")
    assert taken.follow is not None
    with pytest.raises(Unavailable):
        await ActivityEnvironment().run(desk.disputes.follow, taken.follow)
    assert (await desk.hear(sale, "lost", "evt_1")).follow == taken.follow, "still to be done"
    await ActivityEnvironment().run(desk.disputes.follow, taken.follow)
    first, second = (envelope.id for _, envelope in desk.door.asked)
    assert first == second
    assert (await desk.dispute(sale))["consequence"] == {
        "lost": {"action": "cancel", "result": "refused", "code": "not_while_canceled"}
    }


async def test_a_lost_dispute_blacklists_email_and_card(desk: Desk) -> None:
    await desk.rule(on_lost="none", blacklist_on_lost=True)
    sale, other = await desk.sale(), await desk.sale()
    await desk.hear(other, "won")
    for word in ("opened", "lost", "lost"):
        await desk.hear(sale, word)
    assert (await desk.dispute(sale))["consequence"] == {"blacklisted": ["email", "fingerprint"]}
    entries = "SELECT kind, value, actor, reason FROM blacklist_entries WHERE removed_at IS NULL ORDER BY kind"
    reason = f"lost the dispute dp_{sale} at sandbox"
    assert await desk.rows(entries) == [
        {"kind": "email", "value": f"jo{sale}@gmail.com", "actor": "system", "reason": reason},
        {"kind": "fingerprint", "value": f"fp_{sale}", "actor": "system", "reason": reason},
    ]
    await desk.execute("UPDATE blacklist_entries SET removed_at = now(), removed_by = 'lead'")
    await desk.hear(sale, "opened", reason="said late")
    assert await desk.rows(entries) == [], "what a person took off stays off"


async def test_a_rule_set_after_the_loss_is_not_for_it(desk: Desk) -> None:
    sale = await desk.sale()
    await desk.hear(sale, "lost")
    await desk.rule(on_opened="cancel", blacklist_on_lost=True)
    await desk.hear(sale, "opened")
    assert (await desk.dispute(sale))["opened_at"] == event(sale, "opened").at, "it is noted when it was opened"
    assert (await desk.dispute(sale))["consequence"] == {"lost": {"action": "cancel", "result": "due"}}
    assert await desk.rows("SELECT id FROM blacklist_entries") == []
