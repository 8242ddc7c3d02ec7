"""Removing a customer: all of one who was never billed goes, nothing of one who was."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import delete, func, select, update
from sqlalchemy.exc import DBAPIError

from models import Attempt, Base, CustomerChange, Message, NoteVersion, PhoneCall, StaffLetter, Voucher
from models.removal import BILLED, GOES, IMPLIED, STAYS
from models.session import Database
from tests.api.conftest import KEYS, Caller
from tests.api.whole_customer import START, add, whole_customer


def test_every_table_with_a_customer_has_its_rule() -> None:
    """A new table goes with the customer, keeps them, or stays for a stated reason; nobody forgets to say."""
    owned = {name for name, table in Base.metadata.tables.items() if "customer_id" in table.columns}
    ruled = [*(table.__tablename__ for table in (*GOES, *BILLED)), *IMPLIED, *STAYS]
    assert sorted(ruled) == sorted(owned)


async def test_nothing_of_the_removed_is_left(api: Caller, customer: dict[str, Any], database: Database) -> None:
    path = f"/v1/customers/{customer['id']}"
    name = f"Zebulon{next(KEYS)}"
    assert (await api.patch(path, {"first_name": name})).status_code == 200
    note = await api.made(f"{path}/notes", {"text": f"{name} called"})
    assert (await api.patch(f"{path}/notes/{note['id']}", {"text": f"{name} called twice"})).status_code == 200
    await api.made(f"{path}/points", {"amount": 5, "reason": "welcome"})
    mine = {"customer_id": customer["id"]}
    letter = {"template": "free", "recipient": "a@example.com", "subject": name, "body": name, "at": START}
    await add(database, Message, mine | letter | {"id": f"msg_{name}", "status": "sent"})

    answer = await api.delete(path)
    assert answer.status_code == 200, answer.text
    removed = answer.json()["removed"]
    assert {table: count for table, count in removed.items() if count} == {
        "customer_changes": 1, "customer_search": 1, "messages": 1,
        "note_versions": 2, "notes": 1, "point_movements": 1,
    }  # fmt: skip
    assert (await api.get(path)).status_code == 404
    assert (await api.delete(path)).status_code == 404
    async with database.session() as session:
        for table in (*GOES, *BILLED):
            statement = select(func.count()).select_from(table).where(table.__table__.c.customer_id == customer["id"])
            assert (await session.execute(statement)).scalar_one() == 0, table
        left = select(func.count()).select_from(NoteVersion).where(NoteVersion.note_id == note["id"])
        assert (await session.execute(left)).scalar_one() == 0
    logged = (await api.get("/v1/logs/activity", customer_id=customer["id"])).json()["items"]
    assert ("remove_customer", 200) in {(line["command"], line["status"]) for line in logged}


KEEPING: list[tuple[str, type[Any], dict[str, Any]]] = [
    ("billed", Voucher, {"code": "KEPT", "currency": "EUR", "issued": 500, "reason": "", "actor": "ann",
                         "test_mode": False, "issued_at": START}),
    ("on_its_way", Message, {"template": "free", "recipient": "a@example.com", "subject": "", "body": "",
                             "at": START}),
    ("on_its_way", StaffLetter, {"template": "free", "values": {}, "actor": "ann"}),
    ("on_its_way", PhoneCall, {"number": "+49301", "actor": "ann"}),
]  # fmt: skip


@pytest.mark.parametrize(("code", "table", "row"), KEEPING, ids=[t.__name__ for _, t, _ in KEEPING])
async def test_who_has_something_is_kept(
    api: Caller, customer: dict[str, Any], database: Database, code: str, table: type[Any], row: dict[str, Any]
) -> None:
    await add(database, table, row | {"id": f"kept_{next(KEYS)}", "customer_id": customer["id"]})
    refused = await api.delete(f"/v1/customers/{customer['id']}")
    assert (refused.status_code, refused.json()["code"]) == (409, code)
    assert (await api.get(f"/v1/customers/{customer['id']}")).status_code == 200


async def test_a_parent_is_kept(api: Caller, customer: dict[str, Any]) -> None:
    path = f"/v1/customers/{customer['id']}"
    child = await api.made("/v1/customers", {"email": "kid@example.com", "currency": "EUR"})
    await api.put(f"/v1/customers/{child['id']}/parent", {"parent_id": customer["id"]})
    assert (await api.delete(path)).json()["code"] == "has_children"
    assert (await api.delete(f"/v1/customers/{child['id']}/parent")).status_code == 200
    assert (await api.delete(f"/v1/customers/{child['id']}")).status_code == 200
    assert (await api.delete(path)).status_code == 200


async def test_who_was_billed_and_who_paid_for_them_are_kept(
    api: Caller, customer: dict[str, Any], database: Database
) -> None:
    billed = await whole_customer(database, f"removal{next(KEYS)}", 1)
    async with database.begin() as connection:
        paid = update(Attempt).where(Attempt.customer_id == billed).values(payer_id=customer["id"])
        await connection.execute(paid)
    for customer_id in (billed, customer["id"]):
        refused = await api.delete(f"/v1/customers/{customer_id}")
        assert (refused.status_code, refused.json()["code"]) == (409, "billed")


async def test_what_only_grows_cannot_be_cut_otherwise(
    api: Caller, customer: dict[str, Any], database: Database
) -> None:
    await api.patch(f"/v1/customers/{customer['id']}", {"first_name": "Ada"})
    with pytest.raises(DBAPIError, match="never changed or removed"):
        async with database.begin() as connection:
            await connection.execute(delete(CustomerChange).where(CustomerChange.customer_id == customer["id"]))
