"""One page, whole customer: everything is on it, it costs the same however long the history, and every part goes on."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

import pytest
from sqlalchemy import Connection, event

from api.overview import SHOWN_MAX, Overview, Part
from models.session import Database
from tests.api.conftest import KEYS, Caller
from tests.api.whole_customer import customer, entry, whole_customer

STATEMENTS_MAX = 30  # as docs/customer-page.md says: with the caller's key and the line in the log of looks
FEW, MANY = 3, 300
PARTS = [
    name
    for name, field in Overview.model_fields.items()
    if isinstance(field.annotation, type) and issubclass(field.annotation, Part)
]


@contextmanager
def counted(database: Database) -> Generator[list[str]]:
    """The statements that this process sends meanwhile."""
    seen: list[str] = []

    def see(_: Connection, __: Any, statement: str, *___: Any) -> None:
        seen.append(statement)

    event.listen(database.engine.sync_engine, "before_cursor_execute", see)
    try:
        yield seen
    finally:
        event.remove(database.engine.sync_engine, "before_cursor_execute", see)


async def overview(api: Caller, customer_id: str) -> dict[str, Any]:
    response = await api.get(f"/v1/customers/{customer_id}/overview")
    assert response.status_code == 200, response.text
    return response.json()


@pytest.fixture(scope="module")
async def few(database: Database) -> str:
    return await whole_customer(database, "few", FEW)


@pytest.fixture(scope="module")
async def many(database: Database) -> str:
    return await whole_customer(database, "many", MANY)


def test_every_part_has_a_place() -> None:
    assert len(PARTS) == 19


async def test_it_costs_the_same_with_3_and_with_300_of_everything(
    api: Caller, database: Database, few: str, many: str
) -> None:
    seen: dict[str, list[str]] = {}
    for owner in (few, many):
        await overview(api, owner)
        with counted(database) as seen[owner]:
            await overview(api, owner)
    assert len(seen[few]) == len(seen[many]) <= STATEMENTS_MAX


@pytest.mark.parametrize("part", PARTS)
async def test_a_part_that_fits_is_whole(api: Caller, few: str, part: str) -> None:
    found = (await overview(api, few))[part]
    assert (len(found["items"]), found["next"]) == (FEW, None)


@pytest.mark.parametrize("part", PARTS)
async def test_a_part_that_does_not_fit_goes_on_where_it_says(api: Caller, many: str, part: str) -> None:
    found = (await overview(api, many))[part]
    assert len(found["items"]) == SHOWN_MAX
    first = found["items"]
    if part in {"addresses", "payment_methods"}:  # lists without pages: all of it
        rest = (await api.http.get(found["next"], headers={"Authorization": f"Bearer {api.key}"})).json()["items"]
        assert rest[:SHOWN_MAX] == first
        assert len(rest) == MANY
        return
    names = [each.get("id", each) for each in first]
    place = found["next"]
    while place is not None:
        response = await api.http.get(place, headers={"Authorization": f"Bearer {api.key}"})
        assert response.status_code == 200, (place, response.text)
        page = response.json()
        names += [each.get("id", each) for each in page["items"]]
        cursor = page["next_cursor"]
        place = None if cursor is None else place.partition("cursor=")[0] + f"cursor={cursor}"
    assert len(names) == MANY
    if part != "changes":  # its rows have no id
        assert len(set(names)) == MANY


async def test_the_page_holds_what_the_lists_hold(api: Caller, few: str) -> None:
    page = await overview(api, few)
    of = {"customer_id": few}
    for part, path, query in (
        ("subscriptions", "/v1/subscriptions", of),
        ("charges", "/v1/charges", of),
        ("pending_charges", "/v1/charges", of | {"pending": True}),
        ("refunds", "/v1/refunds", of),
        ("disputes", "/v1/disputes", of),
        ("invoices_due", "/v1/invoices", of | {"status": "open"}),
        ("credit_notes", "/v1/credit-notes", of),
        ("vouchers", "/v1/vouchers", of),
        ("tasks", "/v1/tasks", of),
        ("messages", "/v1/messages", of),
        ("activity", "/v1/logs/activity", of),
        ("changes", f"/v1/customers/{few}/changes", {}),
        ("addresses", f"/v1/customers/{few}/addresses", {}),
        ("payment_methods", f"/v1/customers/{few}/payment-methods", {}),
    ):
        listed = await api.get(path, **query)
        assert page[part]["items"] == listed.json()["items"], part
    assert page["customer"] == (await api.get(f"/v1/customers/{few}")).json()
    assert page["lifetime_value"] == (await api.get(f"/v1/customers/{few}/lifetime-value")).json()
    assert page["points"] == FEW
    assert "tok_" not in str(page["payment_methods"]), "masked: what is shown is no token"


async def test_a_settled_charge_is_not_pending(api: Caller, database: Database, few: str) -> None:
    charges = (await api.get("/v1/charges", customer_id=few, pending=False)).json()["items"]
    assert charges == []
    one = await whole_customer(database, f"settled{next(KEYS)}", 1)
    async with database.begin() as connection:
        await connection.exec_driver_sql(f"UPDATE attempts SET settlement = 'settled' WHERE customer_id = '{one}'")  # noqa: S608 - ours
    page = await overview(api, one)
    assert (len(page["charges"]["items"]), page["pending_charges"]["items"]) == (1, [])


async def test_a_new_customer_has_an_empty_page(api: Caller) -> None:
    made = await api.made("/v1/customers", {"email": "new@example.com", "currency": "EUR"})
    page = await overview(api, made["id"])
    assert {part: page[part]["items"] for part in PARTS if part != "activity"} == {
        part: [] for part in PARTS if part != "activity"
    }
    (line,) = page["activity"]["items"]
    assert (line["command"], line["actor"]) == ("create_customer", "tests")
    assert page["lifetime_value"] == {"customer_id": made["id"], "own": [], "with_children": []}


async def test_there_is_no_page_of_nobody(api: Caller) -> None:
    for path in ("overview", "lifetime-value"):
        response = await api.get(f"/v1/customers/cus_nobody/{path}")
        assert (response.status_code, response.json()["code"]) == (404, "not_found")


async def test_what_a_child_paid_counts_for_the_parent_too(api: Caller, database: Database) -> None:
    name = f"kin{next(KEYS)}"
    parent = await customer(database, name)
    child = await customer(database, f"{name}c", parent_id=parent)
    cash = "cash:sandbox"
    await entry(database, f"{name}1", parent, "payment_succeeded", (cash, 700), ("receivable", -700))
    await entry(database, f"{name}2", child, "payment_succeeded", (cash, 500), ("receivable", -500))
    await entry(database, f"{name}3", child, "refund", ("receivable", 200), (cash, -200))
    await entry(
        database, f"{name}4", child, "payment_succeeded", (cash, 9), ("receivable", -9), currency="USD", test_mode=True
    )
    said = (await api.get(f"/v1/customers/{parent}/lifetime-value")).json()

    def values(rows: list[dict[str, Any]]) -> dict[tuple[str, bool], tuple[int, int, int]]:
        return {(row["currency"], row["test_mode"]): (row["paid"], row["refunded"], row["value"]) for row in rows}

    assert values(said["own"]) == {("EUR", False): (700, 0, 700)}
    assert values(said["with_children"]) == {("EUR", False): (1200, 200, 1000), ("USD", True): (9, 0, 9)}
    own = (await api.get(f"/v1/customers/{child}/lifetime-value")).json()["own"]
    assert values(own) == {("EUR", False): (500, 200, 300), ("USD", True): (9, 0, 9)}
