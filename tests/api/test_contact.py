"""Reaching a customer from their page: letters from templates, and calls through a phone switch."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import httpx
import pytest
from sqlalchemy import text

from activities.staff_letters import StaffLetters
from api.app import create_app
from api.context import Services
from api.keys import create_key
from models.session import Database
from providers.phones.http import HookSwitch
from tests.api.conftest import KEYS, Caller
from tests.phone_switch import FakeSwitch, fake_switch
from tests.stack_fixtures import Shop

# Telephone


@pytest.fixture
async def switch() -> AsyncIterator[FakeSwitch]:
    async with fake_switch() as running:
        yield running


@pytest.fixture
async def agent(services: Services, switch: FakeSwitch, api: Caller) -> AsyncIterator[Caller]:
    """Where a switch is set up."""
    hook = HookSwitch(switch.url, timeout_s=5)
    transport = httpx.ASGITransport(create_app(replace(services, phone=hook)), raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://api") as http:
        yield Caller(http, api.key)
    await hook.aclose()


@pytest.fixture
async def ada(api: Caller) -> str:
    body = {"email": "ada@example.com", "currency": "EUR", "phone": "0049 (0)30 901820"}
    made = await api.made("/v1/customers", body)
    assert (made["phone"], made["tel"]) == ("+4930901820", "tel:+4930901820")
    return made["id"]


async def test_a_click_rings_once(agent: Caller, switch: FakeSwitch, ada: str) -> None:
    first = await agent.post(f"/v1/customers/{ada}/call", key="ring-once")
    again = await agent.post(f"/v1/customers/{ada}/call", key="ring-once")
    shown = first.json()
    assert (first.status_code, shown["status"], shown["number"], shown["actor"]) == (
        201,
        "placed",
        "+4930901820",
        "tests",
    )
    assert again.json() == shown
    assert switch.asked == [{"reference": shown["id"], "number": "+4930901820", "agent": "tests", "customer_id": ada}]
    assert (await agent.get(f"/v1/customers/{ada}/calls")).json()["items"] == [shown]


@pytest.mark.parametrize(("answer", "status"), [(403, "refused"), (500, "unknown"), ("drop", "unknown")], ids=str)
async def test_what_became_of_a_call_is_said(
    agent: Caller, switch: FakeSwitch, ada: str, answer: int | str, status: str
) -> None:
    switch.answer = answer
    shown = (await agent.post(f"/v1/customers/{ada}/call")).json()
    assert shown["status"] == status
    assert "the phone switch" in shown["message"]


async def test_a_call_cut_off_by_a_crash_is_not_placed_again(
    agent: Caller, switch: FakeSwitch, ada: str, database: Database
) -> None:
    made = (await agent.post(f"/v1/customers/{ada}/call", key="cut-off")).json()
    async with database.begin() as connection:  # as it was just before the switch's answer was written down
        await connection.execute(
            text("UPDATE phone_calls SET status = 'pending', answered_at = NULL WHERE id = :id"), {"id": made["id"]}
        )
        await connection.execute(text("DELETE FROM idempotency_records WHERE key = 'cut-off'"))
    repeated = (await agent.post(f"/v1/customers/{ada}/call", key="cut-off")).json()
    assert (repeated["id"], repeated["status"]) == (made["id"], "unknown")
    assert len(switch.asked) == 1


async def test_without_a_switch_there_is_the_number_to_dial(api: Caller, ada: str) -> None:
    refused = await api.post(f"/v1/customers/{ada}/call")
    assert (refused.status_code, refused.json()["code"]) == (409, "not_configured")
    assert "tel:+4930901820" in refused.json()["detail"]
    assert (await api.get(f"/v1/customers/{ada}/calls")).json()["items"] == []


async def test_who_has_no_number_is_not_rung(
    agent: Caller, switch: FakeSwitch, customer: dict[str, Any], database: Database
) -> None:
    assert customer["tel"] is None
    async with database.begin() as connection:  # as an import may have brought it
        old = await agent.made("/v1/customers", {"email": "old@example.com", "currency": "EUR"})
        await connection.execute(text("UPDATE customers SET phone = '030 1' WHERE id = :id"), {"id": old["id"]})
    for customer_id in (customer["id"], old["id"]):
        refused = await agent.post(f"/v1/customers/{customer_id}/call")
        assert (refused.status_code, refused.json()["code"]) == (409, "no_phone")
    assert (await agent.post("/v1/customers/cus_nobody/call")).status_code == 404
    assert switch.asked == []


# Letters


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"template": "receipt"}, "template"),
        ({"template": "staff_thanks"}, "values.topic"),
        ({"template": "staff_thanks", "values": {"topic": "x" * 1001}}, "values.topic"),
        ({"template": "staff_thanks", "values": {"topic": "a\u0000"}}, "values.topic"),
        ({"template": "staff_thanks", "values": {"topic": "x", "agent": "the boss"}}, "values.agent"),
    ],
    ids=str,
)
async def test_a_letter_that_does_not_fit_is_refused(
    api: Caller, customer: dict[str, Any], body: dict[str, Any], field: str
) -> None:
    response = await api.post(f"/v1/customers/{customer['id']}/messages", body)
    assert (response.status_code, response.json()["errors"][0]["field"]) == (422, field)


async def test_a_letter_is_written_once_however_often_it_is_tried(
    api: Caller, customer: dict[str, Any], database: Database
) -> None:
    letter = f"msg_letter_{next(KEYS)}"
    async with database.begin() as connection:
        await connection.execute(
            text(
                'INSERT INTO staff_letters (id, customer_id, template, "values", actor)'
                " VALUES (:id, :customer, 'staff_thanks', '{\"topic\": \"your patience\"}', 'ann')"
            ),
            {"id": letter, "customer": customer["id"]},
        )
    sent: list[str] = []

    class Courier:
        async def dispatch(self, messages: list[str]) -> None:
            sent.extend(messages)

    letters = StaffLetters(database, Courier())  # pyright: ignore[reportArgumentType] - a list for any sequence
    assert [await letters.write_staff_letter(letter) for _ in range(2)] == [letter, letter]
    assert sent == [letter, letter], "a courier knows by the id what is on its way"
    (shown,) = (await api.get("/v1/messages", customer_id=customer["id"])).json()["items"]
    assert (shown["id"], shown["template"], shown["recipient"]) == (letter, "staff_thanks", "ada@example.com")
    body = (await api.get(f"/v1/messages/{letter}")).json()["body"]
    assert "thank you for your patience" in body


@pytest.mark.stack
async def test_a_letter_of_an_agent_arrives(shop: Shop) -> None:
    customer = await shop.customer()
    key = await create_key(shop.database, f"letters-{next(KEYS)}")
    async with httpx.AsyncClient(base_url=shop.stack.api_url, timeout=60, trust_env=False) as http:
        caller = Caller(http, key)
        body = {"template": "staff_message", "values": {"subject": "Your {name}", "text": "two\nlines"}}
        path = f"/v1/customers/{customer}/messages"
        first = await caller.post(path, body, key="letter")
        assert first.status_code == 201, first.text
        assert (await caller.post(path, body, key="letter")).json()["id"] == first.json()["id"]
    assert first.json()["subject"] == "Your {name}"

    async def arrived() -> bool:
        return await shop.mails(customer) == ["Your {name}"]

    await shop.eventually(arrived, "the letter arrives, once")
