"""What waits for a person, in one list: each kind with its owner, its age and the next thing to do."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from sqlalchemy import text
from temporalio.client import Client

from activities.tasks import NewTask, open_task
from api.app import create_app
from api.context import Services
from api.keys import create_key
from domain.roles import Role
from models.session import Database
from tests.api.conftest import Caller
from workflows.commands import Commands

SHOP = """
INSERT INTO customers (id, email, currency, invoice_prefix) VALUES ('cus', 'a@example.com', 'EUR', 'A');
INSERT INTO invoices (id, number, customer_id, subscription_id, cycle, reason, currency, total, credit_applied,
    amount_due, status, issued_at, local_date, test_mode)
VALUES ('inv', 'A-0001', 'cus', 'sub', 1, 'cycle', 'EUR', 900, 0, 900, 'paid', now(), '2027-03-01', false);
INSERT INTO attempts (id, invoice_id, subscription_id, customer_id, number, reference, trigger, amount, currency,
    status, at, test_mode)
VALUES ('att', 'inv', 'sub', 'cus', 1, 'charge:sub:1:1', 'due', 900, 'EUR', 'approved', now(), false)
"""
REFUND = """
INSERT INTO refunds (id, attempt_id, invoice_id, subscription_id, customer_id, kind, amount, currency, gateway, status,
    reason, actor, requested_at, virtual_now, event_seq, test_mode, attention, approval_deadline, updated_at)
VALUES (:id, 'att', 'inv', 'sub', 'cus', 'refund', 1, 'EUR', 'sandbox', :status, '', 'anna', now(), now(), 1, false,
    :attention, now() + make_interval(hours => :hours), now() - make_interval(mins => :minutes))
"""
CHARGE = """
INSERT INTO attempts (id, invoice_id, subscription_id, customer_id, number, reference, trigger, amount, currency,
    status, at, test_mode, recorded_at)
VALUES ('lost', 'inv', 'sub', 'cus', 2, 'charge:sub:1:2', 'due', 900, 'EUR', 'unknown', now(), false,
    now() - interval '2 hours')
"""
MESSAGE = """
INSERT INTO messages (id, customer_id, template, recipient, subject, body, status, error, at)
VALUES ('msg', 'cus', 'receipt', 'a@example.com', 's', 'b', 'refused', 'no such mailbox', now())
"""
DIFFERENCE = """
INSERT INTO differences (id, gateway, reference, kind, currency, run_id, status, found_at)
VALUES (:id, 'sandbox', 'charge:sub:1:1', 'missing_here', 'EUR', 'run', :status, now() - interval '3 hours')
"""
EVENT = """
INSERT INTO gateway_events (gateway, event_id, kind, body, received_at, handled_at)
VALUES ('sandbox', :id, 'dispute.opened', '{}', now() - make_interval(mins => :minutes),
    CASE WHEN :handled THEN now() END)
"""


@pytest.fixture
async def ops(fresh_database: Database) -> AsyncIterator[Caller]:
    """An operator, while Temporal does not answer."""
    commands = Commands(await Client.connect("127.0.0.1:9", lazy=True), "nobody")
    app = create_app(Services(fresh_database, commands, {}))
    await run(fresh_database, SHOP)
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://api") as http:
        yield Caller(http, await create_key(fresh_database, "olga", Role.OPS))


async def run(database: Database, statements: str, **values: Any) -> None:
    async with database.begin() as connection:
        for statement in statements.split(";"):
            await connection.execute(text(statement), values)


async def refund(
    database: Database, identity: str, status: str, *, attention: str | None = None, hours: int = 48, minutes: int = 0
) -> None:
    await run(database, REFUND, id=identity, status=status, attention=attention, hours=hours, minutes=minutes)


async def stuck(ops: Caller, **query: Any) -> dict[str, dict[str, Any]]:
    response = await ops.get("/v1/stuck", **query)
    assert response.status_code == 200, response.text
    return {each["id"]: each for each in response.json()["items"]}


async def test_a_healthy_shop_has_nothing_stuck_and_says_when_temporal_was_not_asked(ops: Caller) -> None:
    nothing: dict[str, Any] = {"items": [], "next_cursor": None, "temporal": False, "steps_cut": False}
    assert (await ops.get("/v1/stuck")).json() == nothing


async def test_refunds_are_stuck_when_they_need_a_person(ops: Caller, fresh_database: Database) -> None:
    await refund(fresh_database, "fine", "queued")
    await refund(fresh_database, "young", "pending")
    await refund(fresh_database, "old", "pending", minutes=60)
    await refund(fresh_database, "lost", "unknown", attention="The answer is lost.")
    await refund(fresh_database, "patient", "awaiting_approval", hours=30)
    await refund(fresh_database, "lapsing", "awaiting_approval", hours=20)
    await refund(fresh_database, "given-up", "failed", attention="It left the queue.", minutes=500)
    await refund(fresh_database, "cared-for", "failed", attention="It left the queue.", minutes=600)
    async with fresh_database.begin() as connection:
        task = await open_task(
            connection, NewTask("refund_exhausted", "Give it back", "Ask her bank", "refund", "cared-for")
        )
    found = await stuck(ops)
    assert list(found) == ["cared-for", "old", "lost", "lapsing"], "the oldest first"
    assert {each["kind"] for each in found.values()} == {"refund"}
    assert found["lost"]["why"] == "The answer is lost."
    assert "look the refund's reference up" in found["lost"]["next_action"]
    assert "approves or declines" in found["lapsing"]["next_action"]
    assert 3600 <= found["old"]["age_s"] < 3700
    mine = found["cared-for"]
    assert (mine["task_id"], mine["owner"], mine["next_action"]) == (task, None, "Ask her bank")
    assert (await ops.patch(f"/v1/tasks/{task}", {"assignee": "ben"})).status_code == 200
    assert (await stuck(ops))["cared-for"]["owner"] == "ben"
    assert (await ops.post(f"/v1/tasks/{task}/close", {"outcome": "paid by hand"})).status_code == 200
    assert "cared-for" not in await stuck(ops)


async def test_what_else_waits(ops: Caller, fresh_database: Database) -> None:
    await run(fresh_database, CHARGE)
    await run(fresh_database, MESSAGE)
    await run(fresh_database, DIFFERENCE, id="open-one", status="open")
    await run(fresh_database, DIFFERENCE, id="closed-one", status="dismissed")
    for identity, minutes, handled in (("old", 60, False), ("new", 1, False), ("done", 60, True)):
        await run(fresh_database, EVENT, id=identity, minutes=minutes, handled=handled)
    late = await ops.made("/v1/tasks", {"title": "Call", "deadline": "2020-01-01T00:00:00Z", "assignee": "ben"})
    await ops.made("/v1/tasks", {"title": "Call later", "deadline": "2190-01-01T00:00:00Z"})
    found = await stuck(ops)
    assert [each["kind"] for each in found.values()] == ["difference", "charge", "gateway_event", "message", "task"]
    assert found["open-one"]["why"] == "missing here: charge:sub:1:1 at sandbox"
    assert "recheck, adopt or dismiss" in found["open-one"]["next_action"]
    assert "gateway-event:sandbox:old" in next(
        each["next_action"] for each in found.values() if each["kind"] == "gateway_event"
    )
    assert (found[late["id"]]["owner"], found[late["id"]]["why"]) == ("ben", "overdue: Call")


async def test_a_task_that_is_shown_with_its_subject_is_not_shown_twice(ops: Caller, fresh_database: Database) -> None:
    await run(fresh_database, DIFFERENCE, id="diff", status="open")
    task = await ops.made(
        "/v1/tasks",
        {"title": "Look", "subject_kind": "difference", "subject_id": "diff", "deadline": "2020-01-01T00:00:00Z"},
    )
    assert [(each["kind"], each["task_id"]) for each in (await stuck(ops)).values()] == [("difference", task["id"])]


async def test_every_page_goes_on_where_the_one_before_ended(ops: Caller, fresh_database: Database) -> None:
    """Of many kinds, many of one age, tasks beside their subjects among them: each is there once."""
    await run(fresh_database, CHARGE)
    await run(fresh_database, MESSAGE)
    for number in range(7):
        await run(
            fresh_database,
            DIFFERENCE.replace("'charge:sub:1:1'", f"'charge {number}'"),
            id=f"diff{number}",
            status="open",
        )
        await run(fresh_database, EVENT, id=f"ev{number}", minutes=180, handled=False)
        await refund(fresh_database, f"re{number}", "pending", minutes=180)
        late = {"title": "Look", "deadline": "2020-01-01T00:00:00Z"}
        await ops.made("/v1/tasks", late | {"subject_kind": "difference", "subject_id": f"diff{number}"})
        await ops.made("/v1/tasks", late)
    await run(fresh_database, "UPDATE refunds SET updated_at = '2026-01-01Z'")
    await run(fresh_database, "UPDATE differences SET found_at = '2026-01-01Z'")
    await run(fresh_database, "UPDATE gateway_events SET received_at = '2026-01-01Z'")
    await run(fresh_database, "UPDATE tasks SET opened_at = '2026-01-01Z'")
    whole = (await ops.get("/v1/stuck", limit=100, older_than_minutes=0)).json()
    assert (len(whole["items"]), whole["next_cursor"]) == (30, None)
    for limit in (1, 4, 29, 30):
        seen: list[dict[str, Any]] = []
        cursor: dict[str, str] = {}
        while True:
            page = (await ops.get("/v1/stuck", limit=limit, older_than_minutes=0, **cursor)).json()
            assert len(page["items"]) <= limit
            seen += page["items"]
            if page["next_cursor"] is None:
                break
            cursor = {"cursor": page["next_cursor"]}
        assert [each["id"] for each in seen] == [each["id"] for each in whole["items"]]
    assert (await ops.get("/v1/stuck", cursor="bm8")).status_code == 422


async def test_the_age_and_the_number_can_be_chosen(ops: Caller, fresh_database: Database) -> None:
    for number in range(3):
        await refund(fresh_database, f"re{number}", "pending", minutes=60 + number)
    assert list(await stuck(ops, limit=2)) == ["re2", "re1"]
    assert list(await stuck(ops, older_than_minutes=62)) == ["re2"]
    for query, field in (("limit=0", "limit"), ("limit=101", "limit"), ("older_than_minutes=-1", "older_than_minutes")):
        response = await ops.get(f"/v1/stuck?{query}")
        assert (response.status_code, response.json()["errors"][0]["field"]) == (422, field)


async def test_a_temporal_that_was_never_reached_is_503_and_not_a_bug(ops: Caller) -> None:
    response = await ops.get("/v1/schedules")
    assert (response.status_code, response.json()["code"]) == (503, "unavailable")
