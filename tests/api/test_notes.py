"""Notes, loyalty points and reviews over the API: what is said stays, what is counted adds up."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from models.session import Database
from tests.api.conftest import KEYS, Caller


def at(customer: dict[str, Any], rest: str) -> str:
    return f"/v1/customers/{customer['id']}/{rest}"


async def ids(api: Caller, path: str, **query: Any) -> list[str]:
    return [each["id"] for each in (await api.get(path, **query)).json()["items"]]


# Notes


async def test_a_note_is_edited_and_keeps_every_wording(
    api: Caller, customer: dict[str, Any], database: Database
) -> None:
    note = await api.made(at(customer, "notes"), {"text": "Rings at six.\n\tNot before."})
    assert (note["visibility"], note["version"], note["author"], note["edited_by"]) == ("internal", 1, "tests", None)
    path = at(customer, f"notes/{note['id']}")
    edited = (await api.patch(path, {"visibility": "public", "text": "Rings at seven."})).json()
    assert (edited["visibility"], edited["text"], edited["version"]) == ("public", "Rings at seven.", 2)
    assert (edited["edited_by"], edited["author"]) == ("tests", "tests")
    assert (await api.patch(path, {"visibility": "public"})).json() == edited, "nothing changed, nothing is written"
    versions = (await api.get(f"{path}/versions")).json()["items"]
    assert [(each["version"], each["visibility"], each["text"]) for each in versions] == [
        (2, "public", "Rings at seven."),
        (1, "internal", "Rings at six.\n\tNot before."),
    ]
    with pytest.raises(DBAPIError, match="never changed or removed"):
        async with database.begin() as connection:
            await connection.execute(text("UPDATE note_versions SET text = 'never said'"))


async def test_a_removed_note_stays_among_the_removed(api: Caller, customer: dict[str, Any]) -> None:
    kept = await api.made(at(customer, "notes"), {"text": "stays", "visibility": "public"})
    gone = await api.made(at(customer, "notes"), {"text": "goes"})
    path = at(customer, f"notes/{gone['id']}")
    for _ in range(2):
        assert (await api.delete(path)).status_code == 204
    assert await ids(api, at(customer, "notes")) == [kept["id"]]
    assert await ids(api, at(customer, "notes"), removed=True) == [gone["id"]]
    assert await ids(api, at(customer, "notes"), visibility="internal") == []
    assert await ids(api, at(customer, "notes"), visibility="public") == [kept["id"]]
    refused = await api.patch(path, {"text": "is back"})
    assert (refused.status_code, refused.json()["code"]) == (409, "note_removed")
    (version,) = (await api.get(f"{path}/versions")).json()["items"]
    assert version["text"] == "goes"


async def test_a_note_belongs_to_one_customer(api: Caller, customer: dict[str, Any]) -> None:
    note = await api.made(at(customer, "notes"), {"text": "mine"})
    other = await api.made("/v1/customers", {"email": "eve@example.com", "currency": "EUR"})
    path = at(other, f"notes/{note['id']}")
    for response in (
        await api.patch(path, {"text": "hers"}),
        await api.delete(path),
        await api.get(f"{path}/versions"),
        await api.post("/v1/customers/cus_nobody/notes", {"text": "x"}),
        await api.get("/v1/customers/cus_nobody/notes"),
    ):
        assert response.status_code == 404
    assert await ids(api, at(customer, "notes")) == [note["id"]]


async def test_the_same_request_writes_one_note(api: Caller, customer: dict[str, Any]) -> None:
    for _ in range(2):
        assert (await api.post(at(customer, "notes"), {"text": "once"}, key="note-once")).status_code == 201
    assert len(await ids(api, at(customer, "notes"))) == 1


@pytest.mark.parametrize(
    ("wrong", "field"),
    [
        ({"text": ""}, "text"),
        ({"text": " \n"}, "text"),
        ({"text": "x" * 10_001}, "text"),
        ({"text": "a\u0000b"}, "text"),
        ({"text": "a\rb"}, "text"),
        ({"text": None}, "text"),
        ({"visibility": "secret"}, "visibility"),
        ({"author": "somebody else"}, "author"),
    ],
    ids=str,
)
async def test_a_bad_note_is_refused(api: Caller, customer: dict[str, Any], wrong: dict[str, Any], field: str) -> None:
    note = await api.made(at(customer, "notes"), {"text": "good"})
    for response in (
        await api.post(at(customer, "notes"), {"text": "good"} | wrong),
        await api.patch(at(customer, f"notes/{note['id']}"), wrong),
    ):
        assert (response.status_code, response.json()["errors"][0]["field"]) == (422, field)


@pytest.mark.parametrize("said", ["<script>alert(1)</script>", "=1+1", "'; DROP TABLE notes; --", "\u202eabc", "👍🏽"])
async def test_whatever_is_said_comes_back_as_it_was(api: Caller, customer: dict[str, Any], said: str) -> None:
    assert (await api.made(at(customer, "notes"), {"text": said}))["text"] == said


# Loyalty points


async def move(api: Caller, customer: dict[str, Any], amount: int) -> int:
    return (await api.post(at(customer, "points"), {"amount": amount, "reason": "a game"})).status_code


async def balance(api: Caller, customer: dict[str, Any]) -> int:
    return (await api.get(at(customer, "points"))).json()["balance"]


async def test_points_are_given_and_taken_and_never_below_zero(api: Caller, customer: dict[str, Any]) -> None:
    assert await balance(api, customer) == 0
    assert await move(api, customer, -1) == 409
    assert await move(api, customer, 10) == 201
    refused = await api.post(at(customer, "points"), {"amount": -11, "reason": "too much"})
    assert (refused.status_code, refused.json()["code"]) == (409, "not_enough_points")
    assert "10 points" in refused.json()["detail"]
    assert await move(api, customer, -10) == 201
    moved = (await api.get(at(customer, "points/movements"))).json()["items"]
    assert [(each["seq"], each["amount"], each["balance"]) for each in moved] == [(2, -10, 0), (1, 10, 10)]
    assert {each["actor"] for each in moved} == {"tests"}


async def test_two_at_once_do_not_spend_the_same_points(api: Caller, customer: dict[str, Any]) -> None:
    await move(api, customer, 10)
    answers = await asyncio.gather(*(move(api, customer, -7) for _ in range(4)))
    assert sorted(answers) == [201, 409, 409, 409]
    assert await balance(api, customer) == 3


@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(amounts=st.lists(st.integers(-20, 20), max_size=8))
async def test_the_balance_is_the_sum_of_what_was_taken(api: Caller, amounts: list[int]) -> None:
    customer = await api.made("/v1/customers", {"email": "sum@example.com", "currency": "EUR"})
    expected = 0
    for amount in amounts:
        fits = amount != 0 and expected + amount >= 0
        expected += amount if fits else 0
        assert await move(api, customer, amount) == (201 if fits else 422 if amount == 0 else 409)
    moved = (await api.get(at(customer, "points/movements"))).json()["items"]
    assert await balance(api, customer) == sum(each["amount"] for each in moved) == expected


async def test_the_database_itself_keeps_points_above_zero(
    api: Caller, customer: dict[str, Any], database: Database
) -> None:
    await move(api, customer, 5)
    await move(api, customer, 1)
    written = (
        "INSERT INTO point_movements (id, customer_id, seq, amount, balance, reason, actor)"
        " VALUES ('pts_bad', :customer, :seq, :amount, :balance, 'x', 'x')"
    )
    below = {"customer": customer["id"], "seq": 3, "amount": -7, "balance": -1}
    overlooked = {"customer": customer["id"], "seq": 2, "amount": 5, "balance": 10}
    for statement, values in (
        ("UPDATE point_movements SET balance = 1000", {}),
        ("DELETE FROM point_movements", {}),
        (written, below),
        (written, overlooked),
    ):
        with pytest.raises(DBAPIError):
            async with database.begin() as connection:
                await connection.execute(text(statement), values)


@pytest.mark.parametrize(
    ("wrong", "field"),
    [
        ({"amount": 0}, "amount"),
        ({"amount": 1.0}, "amount"),
        ({"amount": 10**10}, "amount"),
        ({"reason": ""}, "reason"),
        ({"reason": " "}, "reason"),
    ],
    ids=str,
)
async def test_a_bad_movement_is_refused(
    api: Caller, customer: dict[str, Any], wrong: dict[str, Any], field: str
) -> None:
    response = await api.post(at(customer, "points"), {"amount": 1, "reason": "x"} | wrong)
    assert (response.status_code, response.json()["errors"][0]["field"]) == (422, field)


async def test_points_have_a_top(api: Caller, customer: dict[str, Any]) -> None:
    assert await move(api, customer, 1_000_000_000) == 201
    assert await move(api, customer, 1) == 409


# Reviews


async def bought(database: Database, customer: str, product: str, status: str) -> None:
    """A subscription as it stands in lists."""
    number = next(KEYS)
    async with database.begin() as connection:
        await connection.execute(
            text(
                "INSERT INTO prices (id, product_id, code, currency, unit_amount, interval_count, interval_unit)"
                " VALUES (:price, :product, 'm', 'EUR', 100, 1, 'month')"
            ),
            {"price": f"price_rev_{number}", "product": product},
        )
        await connection.execute(
            text(
                "INSERT INTO subscriptions (id, customer_id, product_id, price_id, status, access, currency, amount,"
                " quantity, cycle, test_mode, trigger, event_seq, virtual_now) VALUES (:id, :customer, :product,"
                " :price, :status, 'active', 'EUR', 100, 1, 1, false, 'timer', 1, now())"
            ),
            {
                "id": f"sub_rev_{number}",
                "customer": customer,
                "product": product,
                "price": f"price_rev_{number}",
                "status": status,
            },
        )


async def test_a_review_is_of_a_product_that_the_customer_has_or_had(
    api: Caller, customer: dict[str, Any], product: dict[str, Any], database: Database
) -> None:
    body = {"product_id": product["id"], "rating": 4, "text": "Good box."}
    refused = await api.post(at(customer, "reviews"), body)
    assert (refused.status_code, refused.json()["code"]) == (409, "never_had")
    await bought(database, customer["id"], product["id"], "canceled")
    review = await api.made(at(customer, "reviews"), body)
    assert (review["rating"], review["status"], review["recorded_by"]) == (4, "shown", "tests")
    again = await api.post(at(customer, "reviews"), body)
    assert (again.status_code, again.json()["code"]) == (409, "already_exists")
    assert await ids(api, "/v1/reviews", customer_id=customer["id"]) == [review["id"]]

    path = f"/v1/reviews/{review['id']}/status"
    hidden = (await api.put(path, {"status": "hidden", "reason": "names an employee"})).json()
    assert (hidden["status"], hidden["status_reason"], hidden["status_by"]) == (
        "hidden",
        "names an employee",
        "tests",
    )
    assert await ids(api, "/v1/reviews", product_id=product["id"], status="shown") == []
    assert await ids(api, "/v1/reviews", product_id=product["id"], status="hidden") == [review["id"]]
    shown = (await api.put(path, {"status": "shown", "reason": "looked at again"})).json()
    assert shown["status"] == "shown"


@pytest.mark.parametrize(
    ("wrong", "field"),
    [
        ({"rating": 0}, "rating"),
        ({"rating": 6}, "rating"),
        ({"rating": 4.5}, "rating"),
        ({"rating": True}, "rating"),
        ({"text": "a\u0000"}, "text"),
        ({"text": "x" * 2001}, "text"),
        ({"product_id": "prod_nobody"}, "product_id"),
    ],
    ids=str,
)
async def test_a_bad_review_is_refused(
    api: Caller, customer: dict[str, Any], product: dict[str, Any], wrong: dict[str, Any], field: str
) -> None:
    response = await api.post(at(customer, "reviews"), {"product_id": product["id"], "rating": 4} | wrong)
    assert (response.status_code, response.json()["errors"][0]["field"]) == (422, field)


async def test_a_review_that_is_not_there_is_404(api: Caller) -> None:
    response = await api.put("/v1/reviews/rev_none/status", {"status": "hidden", "reason": "x"})
    assert (response.status_code, response.json()["code"]) == (404, "not_found")
