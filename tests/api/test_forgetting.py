"""A customer with history made anonymous: nothing of the person is left in any table, the books stay."""

from __future__ import annotations

from sqlalchemy import text

from models import Base
from models.session import Database
from tests.api.conftest import KEYS, Caller
from tests.api.whole_customer import whole_customer


async def tables_with(database: Database, *words: str) -> set[str]:
    """The tables that hold one of these words anywhere."""
    found: set[str] = set()
    async with database.begin() as connection:
        for name in Base.metadata.tables:
            for word in words:
                statement = f'SELECT count(*) FROM "{name}" AS t WHERE strpos(lower(t::text), :word) > 0'  # noqa: S608 - names of tables
                if await connection.scalar(text(statement), {"word": word.lower()}):
                    found.add(name)
    return found


async def test_nothing_of_the_person_is_left_and_the_books_stay(api: Caller, database: Database) -> None:
    name = f"Zacharias{next(KEYS)}"
    owner = await whole_customer(database, f"fg{next(KEYS)}", 2)
    path = f"/v1/customers/{owner}"
    async with database.begin() as connection:
        for statement in (
            "UPDATE subscriptions SET status = 'canceled' WHERE customer_id = :id",
            "UPDATE invoices SET status = 'paid' WHERE customer_id = :id",
            "UPDATE disputes SET status = 'lost' WHERE customer_id = :id",
            "UPDATE customers SET parent_id = NULL WHERE parent_id = :id",
        ):
            await connection.execute(text(statement), {"id": owner})
        for statement in (
            "UPDATE messages SET body = :name, recipient = :mail WHERE customer_id = :id",
            "UPDATE tasks SET title = :name WHERE customer_id = :id",
            "UPDATE reviews SET text = :name WHERE customer_id = :id",
            "UPDATE refunds SET reason = :name WHERE customer_id = :id",
        ):
            values = {"id": owner, "name": name} | ({"mail": f"{name}@x.example"} if ":mail" in statement else {})
            await connection.execute(text(statement), values)
    changed = await api.patch(path, {"first_name": name, "email": f"{name}@x.example", "phone": "+49 30 901820"})
    assert changed.status_code == 200
    await api.made(f"{path}/notes", {"text": f"{name} called"})
    sums = "SELECT count(*), sum(abs(amount)) FROM ledger_postings"
    async with database.begin() as connection:
        before = (await connection.execute(text(sums))).one()
    assert {"customers", "messages", "notes", "customer_search"} <= await tables_with(database, name)

    wrong = await api.post(f"{path}/forget", {"confirm": "cus_other"})
    assert (wrong.status_code, wrong.json()["code"]) == (422, "not_confirmed")
    done = await api.post(f"{path}/forget", {"confirm": owner})
    assert done.status_code == 200, done.text
    assert await tables_with(database, name) == set()
    async with database.begin() as connection:
        assert (await connection.execute(text(sums))).one() == before
    assert (await api.get(path)).json()["email"] == ""
    assert len((await api.get("/v1/invoices", customer_id=owner)).json()["items"]) == 2


async def test_what_is_open_comes_first(api: Caller, database: Database) -> None:
    owner = await whole_customer(database, f"fo{next(KEYS)}", 1)
    refused = await api.post(f"/v1/customers/{owner}/forget", {"confirm": owner})
    assert (refused.status_code, refused.json()["code"]) == (409, "subscribed")
