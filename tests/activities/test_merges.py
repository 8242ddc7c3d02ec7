"""The steps of a merge on a database: every row of every kind goes there and comes back, each step run twice."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any

import pytest
from sqlalchemy import Table, select, text
from temporalio.testing import ActivityEnvironment

from activities.merge_rows import FAMILY, MOVERS, STAYS, TOLD
from activities.merges import MergeMark, MergeRequest, Merges, MovePage, OpenMerge, UndoMerge, UndoStep
from domain.errors import NotFound
from domain.merging import UNDO_FOR, MergeStatus
from domain.messages import Envelope
from domain.order_messages import OrderEnvelope
from domain.order_state import OrderState
from domain.state import State
from models import (
    Base,
    Customer,
    CustomerLogin,
    CustomField,
    CustomValue,
    PhoneCall,
    PointMovement,
    Review,
    StaffLetter,
)
from models.queries_papers import invoice_paper
from models.session import Database
from tests.api.whole_customer import add, whole_customer

NOW = datetime(2027, 3, 5, 9, tzinfo=UTC)
NUMBERS = count(1)


class GoneOrders:
    async def send(self, order_id: str, envelope: OrderEnvelope) -> OrderState:
        raise NotFound(f"there is no {order_id} to hear {envelope.command.kind}")


class Gone:
    """Subscriptions and orders that ended so long ago that they have no workflow any more."""

    orders = GoneOrders()

    async def send(self, subscription_id: str, envelope: Envelope) -> State:
        raise NotFound(f"there is no {subscription_id} to hear {envelope.command.kind}")


@pytest.fixture
def merges(database: Database) -> Merges:
    return Merges(database, Gone())


async def run(step: Callable[..., Any], asked: Any) -> Any:
    return await ActivityEnvironment().run(step, asked)


async def merged(merges: Merges, master: str, loser: str) -> MergeRequest:
    """Each step twice."""
    request = MergeRequest(f"mrg_act{next(NUMBERS)}", master, loser, "lena", "one person")
    for _ in range(2):
        assert await run(merges.open_merge, OpenMerge(request, NOW)) is None
    page = MovePage(request, NOW)
    while await run(merges.move_merge_rows, page):
        pass
    assert not await run(merges.move_merge_rows, page)
    for _ in range(2):
        await run(merges.mark_merge, MergeMark(request.merge_id, MergeStatus.DONE, NOW, NOW + UNDO_FOR))
    return request


async def undone(merges: Merges, request: MergeRequest) -> None:
    step = UndoStep(UndoMerge(f"undo_{request.merge_id}", request.merge_id, "lena", "two"), NOW + timedelta(days=1))
    for _ in range(2):
        assert await run(merges.open_undo, step) is None
    page = MovePage(request, NOW)
    while await run(merges.move_merge_back, page):
        pass
    for _ in range(2):
        await run(merges.close_undo, step)


async def pair(database: Database) -> tuple[str, str]:
    """Two customers with everything, some of it alike."""
    number = next(NUMBERS)
    master = await whole_customer(database, f"am{number}", 2)
    loser = await whole_customer(database, f"al{number}", 3)
    field = f"field_{number}"
    await add(
        database,
        CustomField,
        *({"id": f"{field}_{n}", "subject": "customer", "key": f"{field}_{n}", "label": "F", "type": "text"}
          for n in range(2)),
    )  # fmt: skip
    await add(
        database,
        CustomValue,
        {"customer_id": master, "field_id": f"{field}_0", "value": "the master's"},
        {"customer_id": loser, "field_id": f"{field}_0", "value": "the loser's"},
        {"customer_id": loser, "field_id": f"{field}_1", "value": "the loser's alone"},
    )
    await add(database, CustomerLogin, {"customer_id": loser, "login": f"l{number}", "login_key": f"l{number}"})
    await add(database, PhoneCall, {"id": f"call_{number}", "customer_id": loser, "number": "+49", "actor": "ann"})
    await add(
        database,
        StaffLetter,
        {"id": f"let_{number}", "customer_id": loser, "template": "staff_thanks", "values": {}, "actor": "ann"},
    )
    await add(
        database,
        Review,
        {"id": f"rev_double_{number}", "customer_id": loser, "product_id": f"prod_am{number}_0", "rating": 1,
         "text": "bad", "recorded_by": "ann"},
    )  # fmt: skip
    async with database.begin() as connection:
        await connection.execute(
            text("UPDATE customers SET tags = CAST(:tags AS jsonb) WHERE id = :id"), {"id": loser, "tags": '["vip"]'}
        )
        firsts = [f"adr_am{number}_0", f"adr_al{number}_0"]
        await connection.execute(text("UPDATE addresses SET is_default = true WHERE id = ANY(:ids)"), {"ids": firsts})
    return master, loser


def naming_customers() -> set[str]:
    """Every column that names a customer."""
    found: set[str] = set()
    for table in Base.metadata.tables.values():
        for column in table.columns:
            refers = any(key.column.table.name == "customers" for key in column.foreign_keys)
            if refers or column.name in {"customer_id", "payer_id"}:
                found.add(f"{table.name}.{column.name}")
    return found


async def rows_of(database: Database, table: Table, *customers: str) -> list[dict[str, Any]]:
    columns = [column for column in table.columns if f"{table.name}.{column.name}" in naming_customers()]
    async with database.begin() as connection:
        found: list[dict[str, Any]] = []
        for column in columns:
            rows = await connection.execute(select(table).where(column.in_(customers)))
            found += [dict(row) for row in rows.mappings()]
    clocks = {"updated_at", "session_version"}
    return sorted([{k: v for k, v in row.items() if k not in clocks} for row in found], key=repr)


async def everything(database: Database, *customers: str) -> dict[str, list[dict[str, Any]]]:
    names = {name.partition(".")[0] for name in naming_customers()} - {"merges", "activity_log", "access_log"}
    return {name: await rows_of(database, Base.metadata.tables[name], *customers) for name in sorted(names)}


def test_every_column_with_a_customer_has_its_rule() -> None:
    """A new table moves with the customer, or stays for a stated reason; nobody forgets to say."""
    moves = {mover.what for mover in (*MOVERS, *FAMILY)} - {"tasks.subject_id"}
    assert moves | set(STAYS) | set(TOLD) == naming_customers()
    assert not moves & set(STAYS)


async def test_everything_goes_there_and_comes_back(database: Database, merges: Merges) -> None:
    master, loser = await pair(database)
    before = await everything(database, master, loser)
    request = await merged(merges, master, loser)
    left = {name: rows for name, rows in (await everything(database, loser)).items() if rows}
    stays = {name.partition(".")[0] for name in STAYS}
    # What the master has already: a value in the same field, a review of the same product.
    assert set(left) <= stays | {"customers", "custom_values", "reviews"}, set(left) - stays
    assert [row["value"] for row in left["custom_values"]] == ["the loser's"]
    assert [(row["status"], row["status_reason"]) for row in left["reviews"]] == [("hidden", "merged")]
    async with database.session() as session:
        row = await session.get_one(Customer, master)
        assert row.tags == ["vip"]
    defaults = [row for row in await rows_of(database, Base.metadata.tables["addresses"], master) if row["is_default"]]
    assert [row["id"] for row in defaults] == [f"adr_{master.removeprefix('cus_')}_0"], "the master's own stays it"
    await undone(merges, request)
    after = await everything(database, master, loser)
    for name in ("customer_changes", "point_movements", "customer_search"):
        del before[name], after[name]
    for name, rows in before.items():
        assert after[name] == rows, name


async def test_points_move_as_a_balance_and_come_back_as_far_as_they_are_there(
    database: Database, merges: Merges
) -> None:
    master, loser = await pair(database)

    async def balances() -> tuple[int, int]:
        async with database.session() as session:
            found = [
                await session.scalar(
                    select(PointMovement.balance)
                    .where(PointMovement.customer_id == each)
                    .order_by(PointMovement.seq.desc())
                    .limit(1)
                )
                for each in (master, loser)
            ]
        return found[0] or 0, found[1] or 0

    assert await balances() == (2, 3)
    request = await merged(merges, master, loser)
    assert await balances() == (5, 0)
    spent = {"id": f"pt_spent_{master}", "customer_id": master, "seq": 4, "amount": -4, "balance": 1}
    await add(database, PointMovement, spent | {"reason": "mug", "actor": "ann"})
    await undone(merges, request)
    assert await balances() == (0, 1)


async def test_a_card_that_both_have_is_one_card(database: Database, merges: Merges) -> None:
    master, loser = await pair(database)
    doubled, own = f"pm_{loser.removeprefix('cus_')}_0", f"pm_{master.removeprefix('cus_')}_0"
    async with database.begin() as connection:
        await connection.execute(
            text(
                "UPDATE payment_methods SET token = (SELECT token FROM payment_methods WHERE id = :own) WHERE id = :d"
            ),
            {"own": own, "d": doubled},
        )
    request = await merged(merges, master, loser)

    async def cards(owner: str) -> list[tuple[str, int, bool]]:
        rows = await rows_of(database, Base.metadata.tables["payment_methods"], owner)
        rows.sort(key=lambda row: (row["removed_at"] is not None, row["position"], row["id"]))
        return [(row["id"], row["position"], row["removed_at"] is None) for row in rows]

    held = await cards(master)
    assert [alive for _, _, alive in held] == [True, True, True, True, False]
    assert [position for _, position, alive in held if alive] == [0, 1, 3, 4], "after the master's own, in their order"
    assert held[-1][0] == doubled
    await undone(merges, request)
    assert [(position, alive) for _, position, alive in await cards(loser)] == [(0, True), (1, True), (2, True)]


async def test_an_invoice_says_to_whom_it_was_issued(database: Database, merges: Merges) -> None:
    master, loser = await pair(database)
    invoice = f"in_{loser.removeprefix('cus_')}_0"
    async with database.begin() as connection:
        await connection.execute(
            text("UPDATE customers SET last_name = id WHERE id IN (:a, :b)"), {"a": master, "b": loser}
        )
    async with database.session() as session:
        before = await invoice_paper(session, invoice)
    await merged(merges, master, loser)
    async with database.session() as session:
        after = await invoice_paper(session, invoice)
    assert before is not None
    assert loser in before.buyer
    assert after == before


async def test_a_tie_ends_and_is_made_again_where_it_can_be(database: Database, merges: Merges) -> None:
    master, loser = await pair(database)
    third, fourth = await pair(database)
    async with database.begin() as connection:
        await connection.execute(
            text("UPDATE customers SET parent_id = NULL WHERE parent_id IN (:l, :f)"), {"l": loser, "f": fourth}
        )
        await connection.execute(text("UPDATE customers SET parent_id = :p WHERE id = :l"), {"p": third, "l": loser})
    request = await merged(merges, master, loser)
    async with database.session() as session:
        assert (await session.get_one(Customer, loser)).parent_id is None, "it counts for nobody but the master"
    await undone(merges, request)
    async with database.session() as session:
        assert (await session.get_one(Customer, loser)).parent_id == third
