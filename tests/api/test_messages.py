"""Messages over the API: found by what they tell, and any of them sent again, once for each wish."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest
from sqlalchemy import text

from activities.resend import ResendRequest, Resends
from api.keys import create_key
from domain.roles import Role
from models.session import Database
from tests.api.conftest import KEYS, Caller
from tests.stack_fixtures import Shop

FUTURE = datetime(2190, 1, 1, tzinfo=UTC)


class Pouch:
    """A courier that keeps what it is given, or loses it the first time."""

    def __init__(self, *, loses_first: bool = False) -> None:
        self.ids: list[str] = []
        self._loses = loses_first

    async def dispatch(self, messages: Sequence[str]) -> None:
        if self._loses:
            self._loses = False
            raise ConnectionError
        self.ids += messages


async def written(database: Database, customer: str, **values: Any) -> str:
    """The row of a message."""
    row: dict[str, Any] = {
        "id": f"msg_{next(KEYS)}_test",
        "customer": customer,
        "status": "sent",
        "audience": "customer",
        "template": "receipt",
        "recipient": "old@example.com",
        "refund": None,
        "at": datetime(2026, 1, 1, tzinfo=UTC),
    } | values
    async with database.begin() as connection:
        await connection.execute(
            text(
                "INSERT INTO messages"
                " (id, customer_id, refund_id, audience, template, recipient, subject, body, status, at) VALUES"
                " (:id, :customer, :refund, :audience, :template, :recipient, 'Receipt', 'Thank you', :status, :at)"
            ),
            row,
        )
    return row["id"]


def asked(new_id: str, message_id: str) -> ResendRequest:
    return ResendRequest(new_id, message_id, "anna", datetime(2026, 2, 1, 12, tzinfo=UTC))


async def rows(database: Database, message_id: str) -> list[dict[str, Any]]:
    async with database.begin() as connection:
        found = await connection.execute(text("SELECT * FROM messages WHERE resend_of = :id"), {"id": message_id})
        return [dict(row) for row in found.mappings()]


async def test_a_message_sent_again_has_the_same_words_and_says_what_it_repeats(
    database: Database, customer: dict[str, Any]
) -> None:
    original = await written(database, customer["id"], refund="re_1")
    pouch = Pouch()
    new_id = f"{original}_again"
    assert await Resends(database, pouch).resend_message(asked(new_id, original)) == new_id
    (row,) = await rows(database, original)
    assert (row["id"], row["requested_by"], row["recipient"]) == (new_id, "anna", customer["email"])
    assert (row["subject"], row["body"], row["template"]) == ("Receipt", "Thank you", "receipt")
    assert (row["status"], row["refund_id"], row["audience"]) == ("pending", "re_1", "customer")
    assert row["at"] == datetime(2026, 2, 1, 12, tzinfo=UTC)
    assert pouch.ids == [new_id]


async def test_a_resend_cut_short_and_run_again_writes_one_message(
    database: Database, customer: dict[str, Any]
) -> None:
    original = await written(database, customer["id"])
    pouch = Pouch(loses_first=True)
    resends, request = Resends(database, pouch), asked(f"{original}_again", original)
    with pytest.raises(ConnectionError):
        await resends.resend_message(request)
    await resends.resend_message(request)
    await asyncio.gather(*(resends.resend_message(request) for _ in range(3)))
    assert len(await rows(database, original)) == 1
    assert set(pouch.ids) == {request.id}


async def test_what_is_sent_again_never_stands_before_what_it_repeats(
    database: Database, customer: dict[str, Any]
) -> None:
    """A test subscription's messages are ahead of the wall clock."""
    original = await written(database, customer["id"], at=FUTURE)
    await Resends(database, Pouch()).resend_message(asked(f"{original}_again", original))
    assert [row["at"] for row in await rows(database, original)] == [FUTURE]


async def test_messages_are_found_by_refund_audience_and_status(
    api: Caller, database: Database, customer: dict[str, Any]
) -> None:
    plain = await written(database, customer["id"])
    told = await written(database, customer["id"], refund="re_9", template="refund_sent")
    staff = await written(database, customer["id"], refund="re_9", audience="staff", template="refund_failed")
    bounced = await written(database, customer["id"], status="refused")

    async def found(**query: Any) -> set[str]:
        response = await api.get("/v1/messages", customer_id=customer["id"], **query)
        assert response.status_code == 200, response.text
        return {each["id"] for each in response.json()["items"]}

    assert await found() == {plain, told, staff, bounced}
    assert await found(refund_id="re_9") == {told, staff}
    assert await found(audience="staff") == {staff}
    assert await found(template="refund_sent") == {told}
    assert await found(status="refused") == {bounced}


async def test_one_on_its_way_is_not_sent_again(api: Caller, database: Database, customer: dict[str, Any]) -> None:
    pending = await written(database, customer["id"], status="pending")
    response = await api.post(f"/v1/messages/{pending}/resend")
    assert (response.status_code, response.json()["code"]) == (409, "not_sent_yet")
    assert await rows(database, pending) == []


async def test_a_customer_without_an_address_is_not_written_to(
    api: Caller, database: Database, customer: dict[str, Any]
) -> None:
    async with database.begin() as connection:
        await connection.execute(text("UPDATE customers SET email = '' WHERE id = :id"), {"id": customer["id"]})
    sent = await written(database, customer["id"])
    response = await api.post(f"/v1/messages/{sent}/resend")
    assert (response.status_code, response.json()["code"]) == (409, "no_address")


async def test_what_is_not_there_and_what_is_not_asked_right(api: Caller) -> None:
    assert (await api.post("/v1/messages/msg_nobody/resend")).status_code == 404
    response = await api.post("/v1/messages/a%00b/resend")
    assert (response.status_code, response.json()["errors"][0]["field"]) == (422, "message_id")
    for query, field in (
        ("audience=everybody", "audience"),
        ("status=failed", "status"),
        ("refund_id=a/b", "refund_id"),
    ):
        response = await api.get(f"/v1/messages?{query}")
        assert (response.status_code, response.json()["errors"][0]["field"]) == (422, field)


@pytest.fixture(scope="module")
async def ops(shop: Shop) -> AsyncIterator[Caller]:
    async with httpx.AsyncClient(base_url=shop.stack.api_url, timeout=60, trust_env=False) as http:
        yield Caller(http, await create_key(shop.database, "olga", Role.OPS))


@pytest.mark.stack
@pytest.mark.timeout(120)
async def test_a_message_goes_out_again_once_for_each_wish(ops: Caller, shop: Shop) -> None:
    customer = await shop.customer()
    sent = await written(shop.database, customer, template="canceled")
    first = await ops.post(f"/v1/messages/{sent}/resend", key="again-please")
    shown = first.json()
    assert first.status_code == 201, first.text
    assert (shown["resend_of"], shown["requested_by"], shown["template"]) == (sent, "olga", "canceled")
    assert (shown["recipient"], shown["body"]) == (f"{customer}@example.com", "Thank you")
    again = await ops.post(f"/v1/messages/{sent}/resend", key="again-please")
    assert again.json()["id"] == shown["id"]

    async def arrived() -> bool:
        return (await ops.get(f"/v1/messages/{shown['id']}")).json()["status"] == "sent"

    await shop.eventually(arrived, "the message is sent")
    assert await shop.mails(customer) == ["Receipt"]
    third = await ops.post(f"/v1/messages/{shown['id']}/resend")
    assert third.json()["resend_of"] == shown["id"], "another wish is another message"
