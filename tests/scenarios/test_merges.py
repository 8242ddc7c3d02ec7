"""Two customers made one on the whole stack: what moves, what goes on, what comes back, and killed in the middle."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

import pytest

from activities.merges import MergeRequest, UndoMerge
from domain.errors import Refused
from domain.messages import ForceBill, GrantCredit
from domain.order_messages import OpenOrder, OrderEnvelope, Pay, Place
from domain.order_state import Channel, OrderLine, OrderLineKind
from tests.stack_fixtures import NEW_YORK, NUMBERS, Shop, at
from workflows.merge import MergeWorkflow
from workflows.subscription import CUSTOMER
from workflows.time_travel import TimeTravel

pytestmark = [pytest.mark.stack, pytest.mark.timeout(300)]

VISA = "tok_ok_visa"


def wish(master: str, loser: str) -> MergeRequest:
    return MergeRequest(f"mrg_{next(NUMBERS)}", master, loser, "lena", "the same person")


async def merge(shop: Shop, master: str, loser: str) -> MergeRequest:
    asked = wish(master, loser)
    await shop.commands.merges.start(asked)
    await shop.commands.merges.moved(asked.merge_id)
    return asked


async def undo(shop: Shop, asked: MergeRequest) -> None:
    await shop.commands.merges.undo(UndoMerge(f"undo_{next(NUMBERS)}", asked.merge_id, "lena", "two people"))


async def refusal(call: Any) -> str:
    with pytest.raises(Refused) as refused:
        await call
    return refused.value.code


async def value(shop: Shop, statement: str, **parameters: Any) -> Any:
    (row,) = await shop.rows(f"SELECT ({statement}) AS value", **parameters)
    return row["value"]


async def trial_balance(shop: Shop) -> dict[str, int]:
    rows = await shop.rows("SELECT account, sum(amount)::bigint AS held FROM ledger_postings GROUP BY account")
    return {row["account"]: row["held"] for row in rows if row["held"]}


async def owners(shop: Shop, *customers: str) -> dict[str, int]:
    """Rows of a customer, by table and column: everything that a merge may move."""
    found: dict[str, int] = {}
    columns = await shop.rows(
        "SELECT table_name, column_name FROM information_schema.columns WHERE table_schema = 'public'"
        " AND column_name IN ('customer_id', 'payer_id', 'parent_id', 'merged_into')"
    )
    for row in columns:
        table, column = row["table_name"], row["column_name"]
        statement = f"SELECT count(*) FROM {table} WHERE {column} = ANY(:ids)"  # noqa: S608 - names of columns
        count = await value(shop, statement, ids=list(customers))
        if count:
            found[f"{table}.{column}"] = count
    return found


async def settled_pair(shop: Shop) -> tuple[str, str, str]:
    """A master with a card, and a loser with a card and a subscription that paid once."""
    master, loser = await shop.customer(VISA), await shop.customer(VISA)
    sub = (await shop.start(loser, await shop.terms(), start_at=at("2027-03-05", 9))).id
    await shop.until(sub, at("2027-03-05", 10))
    return master, loser, sub


async def test_a_subscription_goes_on_under_the_master(shop: Shop) -> None:
    master, loser, sub = await settled_pair(shop)
    books = await trial_balance(shop)
    before = await shop.invoices(sub)
    await merge(shop, master, loser)
    assert await trial_balance(shop) == books, "a merge moves no money"
    assert (await shop.subscription(sub))["customer_id"] == master
    assert (await shop.commands.state(sub)).customer_id == master
    described = await shop.client.get_workflow_handle(f"subscription:{sub}").describe()
    assert described.typed_search_attributes.get(CUSTOMER) == master, "operators find it by the master"
    await shop.until(sub, at("2027-04-05", 10))
    first, second = await shop.invoices(sub)
    assert (first["number"], first["customer_id"]) == (before[0]["number"], master), "what was issued keeps its number"
    prefix = await value(shop, "SELECT invoice_prefix FROM customers WHERE id = :id", id=master)
    assert second["number"] == f"{prefix}-0001", "the master's series from now on"
    assert (await shop.attempts(sub))[-1]["payment_method_id"] == await value(
        shop, "SELECT id FROM payment_methods WHERE customer_id = :id ORDER BY position LIMIT 1", id=master
    )
    assert await shop.mails(master), "and letters go to the master"
    left = await owners(shop, loser)
    assert set(left) <= {"ledger_entries.customer_id", "customer_changes.customer_id", "login_places.customer_id"}


async def test_what_moved_goes_back_and_what_is_new_stays(shop: Shop) -> None:
    master, loser, sub = await settled_pair(shop)
    await shop.send(sub, GrantCredit(300, "USD"))
    rows = await owners(shop, loser)
    asked = await merge(shop, master, loser)
    await shop.until(sub, at("2027-04-05", 10))
    books = await trial_balance(shop)
    await undo(shop, asked)
    first, second = await shop.invoices(sub)
    assert (first["customer_id"], second["customer_id"]) == (loser, master)
    state = await shop.commands.state(sub)
    assert (state.customer_id, (await shop.subscription(sub))["customer_id"]) == (loser, loser)
    back = await owners(shop, loser)
    gone = {name: count for name, count in rows.items() if back.get(name, 0) < count}
    assert not gone, "all that was the loser's is again"
    after = await trial_balance(shop)
    assert {account: held for account, held in after.items() if account != "between_customers"} == books
    assert "between_customers" not in after, "what was handed over is handed over whole"
    # Credit that the loser got and the master used up is nobody's any more; nobody owes for what is paid.
    for customer in (master, loser):
        held = await shop.rows(
            "SELECT p.account, sum(p.amount)::bigint AS held FROM ledger_postings AS p JOIN ledger_entries AS e"
            " ON e.id = p.entry_id WHERE e.customer_id = :id AND p.account IN ('receivable', 'customer_credit')"
            " GROUP BY p.account HAVING sum(p.amount) <> 0",
            id=customer,
        )
        assert held == [], customer
    assert await value(shop, "SELECT merged_into FROM customers WHERE id = :id", id=loser) is None
    await shop.until(sub, at("2027-05-05", 10))
    third = (await shop.invoices(sub))[-1]
    assert third["customer_id"] == loser
    assert third["number"].endswith("-0002"), "the loser's own series goes on without a gap"


async def test_an_invoice_in_dunning_is_collected_from_the_master_s_card(shop: Shop) -> None:
    master, loser = await shop.customer(VISA), await shop.customer(VISA)
    await shop.script(await shop.token(loser), then="soft:insufficient_funds")
    sub = (await shop.start(loser, await shop.terms(), start_at=at("2027-03-05", 9))).id
    await shop.until(sub, at("2027-03-05", 10))
    assert (await shop.subscription(sub))["status"] == "overdue"
    asked = await merge(shop, master, loser)
    (invoice,) = await shop.invoices(sub)
    assert (invoice["customer_id"], invoice["status"]) == (master, "open")
    await shop.until(sub, at("2027-03-20", 10))
    (invoice,) = await shop.invoices(sub)
    assert invoice["status"] == "paid"
    await undo(shop, asked)
    assert (await shop.commands.state(sub)).customer_id == loser


async def test_a_charge_whose_answer_is_lost_meanwhile_is_asked_for_and_never_made_again(shop: Shop) -> None:
    master, loser, sub = await settled_pair(shop)
    token = await shop.token(loser)
    await shop.script(token, "hang", hang_seconds=3)
    forcing = asyncio.create_task(shop.send(sub, ForceBill()))

    async def called() -> bool:
        return len(await shop.calls(token)) >= 2

    await shop.eventually(called, "the charge is under way")
    await merge(shop, master, loser)
    await forcing
    await shop.until(sub, at("2027-03-05", 11))
    charged = (await shop.attempts(sub))[-1]
    assert (charged["status"], len(await shop.charges(charged["reference"]))) == ("approved", 1)
    assert charged["customer_id"] == master, "it was the loser's when it was made, and moved with the rest"
    kinds = await shop.kinds(sub)
    assert (kinds.count("customer_set"), kinds.count("payment_succeeded")) == (1, 2)
    assert kinds.index("customer_set") > kinds.index("force_asked"), "what was under way went first"


async def order_of(shop: Shop, customer: str) -> str:
    """An order of one subscription, placed and not paid."""
    terms = await shop.terms(1000)
    line = OrderLine(
        1, OrderLineKind.SUBSCRIPTION, "Box", 1, 1000, 1000,
        product_id=terms.product_id, price_id=terms.price_id, terms=terms,
    )  # fmt: skip
    order = f"ord_merged_{next(NUMBERS)}"
    await shop.commands.orders.open(
        OpenOrder(order, customer, NEW_YORK, "USD", Channel.API, "test", (line,), test_mode=True)
    )
    await shop.commands.orders.send(order, OrderEnvelope(f"place-{order}", Place(), "test"))
    return order


async def test_an_open_order_is_paid_by_the_master_and_what_it_starts_is_the_master_s(shop: Shop) -> None:
    master, loser = await shop.customer(VISA), await shop.customer()
    order = await order_of(shop, loser)
    asked = await merge(shop, master, loser)
    assert await value(shop, "SELECT customer_id FROM orders WHERE id = :id", id=order) == master
    paid = await shop.commands.orders.send(order, OrderEnvelope(f"pay-{order}", Pay(), "test"))
    assert (paid.status, paid.customer_id) == ("paid", master)
    (row,) = await shop.rows("SELECT customer_id, status FROM attempts WHERE order_id = :id", id=order)
    assert (row["customer_id"], row["status"]) == (master, "approved")
    sub = await value(shop, "SELECT subscription_id FROM order_lines WHERE order_id = :id", id=order)
    assert (await shop.commands.state(sub)).customer_id == master
    await undo(shop, asked)
    assert await value(shop, "SELECT customer_id FROM orders WHERE id = :id", id=order) == loser
    assert (await shop.commands.orders.state(order)).customer_id == loser
    kinds = await shop.rows("SELECT kind FROM order_events WHERE order_id = :id ORDER BY seq", id=order)
    assert [each["kind"] for each in kinds].count("customer_set") == 2
    assert (await shop.commands.state(sub)).customer_id == master, "it began with the master"


async def test_who_races_meets_a_rule(shop: Shop) -> None:
    first, second, third = [await shop.customer() for _ in range(3)]
    both = [wish(first, second), wish(second, first)]
    ends = await asyncio.gather(*(shop.commands.merges.start(each) for each in both), return_exceptions=True)
    codes = [each.code if isinstance(each, Refused) else None for each in ends]
    assert codes.count(None) == 1
    assert {code for code in codes if code} <= {"merged", "merge_running"}
    won = both[codes.index(None)]
    await shop.commands.merges.moved(won.merge_id)
    await shop.commands.merges.start(won)  # the same wish again is the same merge
    assert await refusal(shop.commands.merges.start(wish(third, won.loser_id))) == "merged"
    # A chain: the later one has to be taken back first.
    chained = await merge(shop, third, won.master_id)
    assert await value(shop, "SELECT merged_into FROM customers WHERE id = :id", id=won.loser_id) == third
    assert await refusal(undo(shop, won)) == "merged_on"
    undoing, joining = await asyncio.gather(
        undo(shop, chained), shop.commands.merges.start(wish(third, first)), return_exceptions=True
    )
    assert undoing is None
    assert isinstance(joining, Refused)
    assert await value(shop, "SELECT merged_into FROM customers WHERE id = :id", id=won.loser_id) == won.master_id
    await undo(shop, won)
    assert await refusal(undo(shop, won)) in {"undone", "undo_over"}


async def test_killed_in_every_step_it_moves_everything_once(shop: Shop) -> None:
    master, loser, sub = await settled_pair(shop)
    await shop.execute(
        "INSERT INTO notes (id, customer_id, visibility, text, author)"
        " SELECT 'note_' || :customer || '_many_' || n, :customer, 'internal', 'n', 'ann'"
        " FROM generate_series(1, 4000) AS n",
        customer=loser,
    )
    asked = wish(master, loser)
    starting = asyncio.create_task(shop.commands.merges.start(asked))
    for pause in (0.0, 0.1, 0.2, 0.35, 0.5):
        await asyncio.sleep(pause)
        await shop.stack.kill("worker")
        await shop.stack.restart("worker")
    await starting
    await shop.commands.merges.moved(asked.merge_id)
    assert await value(shop, "SELECT count(*) FROM notes WHERE customer_id = :id", id=master) == 4000
    assert await value(shop, "SELECT moved->>'notes.customer_id' FROM merges WHERE id = :id", id=asked.merge_id) == (
        "4000"
    )
    assert (await shop.kinds(sub)).count("customer_set") == 1
    undoing = asyncio.create_task(undo(shop, asked))
    for pause in (0.0, 0.15, 0.3):
        await asyncio.sleep(pause)
        await shop.stack.kill("worker")
        await shop.stack.restart("worker")
    await undoing
    assert await value(shop, "SELECT count(*) FROM notes WHERE customer_id = :id", id=loser) == 4000
    assert (await shop.kinds(sub)).count("customer_set") == 2


async def test_after_thirty_days_it_is_final_and_late_rows_have_come_along(shop: Shop) -> None:
    master, loser = await shop.customer(), await shop.customer()
    asked = wish(master, loser)
    travel = TimeTravel(shop.client)
    handle = await travel.client.start_workflow(
        MergeWorkflow.run, asked, id=f"merge:{asked.merge_id}", task_queue=shop.stack.settings.temporal_task_queue
    )
    await shop.commands.merges.moved(asked.merge_id)
    await shop.execute(
        "INSERT INTO notes (id, customer_id, visibility, text, author) VALUES (:id, :customer, 'internal', 'n', 'ann')",
        id=f"note_late_{loser}",
        customer=loser,
    )
    await travel.advance(handle, timedelta(minutes=3))

    async def moved() -> bool:
        return await value(shop, "SELECT count(*) FROM notes WHERE customer_id = :id", id=master) == 1

    await shop.eventually(moved, "a note that was being written when the customer was closed")
    await travel.advance(handle, timedelta(days=29))
    assert await value(shop, "SELECT status FROM merges WHERE id = :id", id=asked.merge_id) == "done"
    await travel.advance(handle, timedelta(days=1))
    await handle.result()
    assert await value(shop, "SELECT status FROM merges WHERE id = :id", id=asked.merge_id) == "final"
    assert await refusal(undo(shop, asked)) == "undo_over"
