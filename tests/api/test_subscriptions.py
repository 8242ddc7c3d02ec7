"""Subscriptions through HTTP alone, on the whole stack: stories with dates, as a stranger's program would play them."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from typing import Any

import httpx
import pytest

from api.keys import create_key
from local.stack import Stack
from models.session import Database
from tests.api.conftest import KEYS, Caller

pytestmark = [pytest.mark.stack, pytest.mark.timeout(120)]

CARD = "tok_ok_visa"
BROKE = "tok_soft_insufficient_funds"


@pytest.fixture(scope="module")
async def live(stack: Stack) -> AsyncIterator[Caller]:
    database = Database.connect(stack.database_url, application_name="tests", pool_max=1)
    key = await create_key(database, "shop")
    await database.close()
    async with httpx.AsyncClient(base_url=stack.api_url, timeout=60, trust_env=False) as client:
        yield Caller(client, key)


async def new_customer(live: Caller, token: str | None = CARD, **more: Any) -> str:
    body = {"email": "ada@example.com", "currency": "EUR", "time_zone": "Europe/Berlin"}
    customer = await live.made("/v1/customers", body | more)
    if token is not None:
        await live.made(f"/v1/customers/{customer['id']}/payment-methods", {"token": token})
    return customer["id"]


async def new_price(live: Caller, amount: int = 1900, **more: Any) -> str:
    product = await live.made("/v1/products", {"code": f"box-{next(KEYS)}", "name": "Box"})
    body = {"product_id": product["id"], "code": "m", "currency": "EUR", "unit_amount": amount}
    return (await live.made("/v1/prices", body | {"interval": {"count": 1, "unit": "month"}} | more))["id"]


async def started(live: Caller, customer: str, price: str, **more: Any) -> dict[str, Any]:
    body = {"customer_id": customer, "price_id": price, "test_mode": True}
    return await live.made("/v1/subscriptions", body | more)


async def done(live: Caller, subscription: dict[str, Any], command: str, body: Any = None) -> dict[str, Any]:
    response = await live.post(f"/v1/subscriptions/{subscription['id']}/{command}", body)
    assert response.status_code == 200, response.text
    return response.json()


async def kinds(live: Caller, subscription: dict[str, Any]) -> list[str]:
    events = (await live.get(f"/v1/subscriptions/{subscription['id']}/events", limit=100)).json()["items"]
    return [event["kind"] for event in events]


async def test_a_year_is_billed_month_by_month_and_the_books_balance(live: Caller) -> None:
    customer = await new_customer(live)
    subscription = await started(
        live, customer, await new_price(live), quantity=2, start_at="2027-01-31T09:00:00+01:00"
    )
    assert subscription["status"] == "scheduled"
    arrived = await done(live, subscription, "advance", {"to": "2027-06-30T12:00:00Z"})
    assert (arrived["status"], arrived["cycle"]) == ("active", 7)
    invoices = (await live.get("/v1/invoices", subscription_id=subscription["id"])).json()["items"]
    assert [each["local_date"] for each in invoices[::-1]] == [
        "2027-01-31", "2027-02-28", "2027-03-31", "2027-04-30", "2027-05-31", "2027-06-30",
    ]  # fmt: skip
    assert {(each["total"], each["status"]) for each in invoices} == {(3800, "paid")}
    # Daylight saving came in between: nine in the morning stays nine in the morning.
    assert [each["issued_at"] for each in invoices[:2]] == ["2027-06-30T07:00:00Z", "2027-05-31T07:00:00Z"]
    balance = (await live.get("/v1/ledger/trial-balance", mode="test")).json()
    assert balance["balanced"]
    entries = (await live.get("/v1/ledger/entries", subscription_id=subscription["id"], limit=100)).json()["items"]
    assert all(sum(side["amount"] for side in entry["postings"]) == 0 for entry in entries)
    assert len(entries) == 12


async def test_the_forecast_is_what_then_happens(live: Caller) -> None:
    customer = await new_customer(live, BROKE)
    subscription = await started(live, customer, await new_price(live, trial_days=14))
    path = f"/v1/subscriptions/{subscription['id']}/forecast"
    foreseen = (await live.get(path, **{"if": "card_fails", "cycles": 1})).json()["items"]
    await done(live, subscription, "advance", {"days": 60})
    events = (await live.get(f"/v1/subscriptions/{subscription['id']}/events", limit=100)).json()["items"]
    happened = [each for each in events if each["kind"] not in {"created", "trial_started"}]
    assert [each["kind"] for each in happened] == [each["kind"] for each in foreseen]
    # A timer may fire a moment after its time, never before it.
    late = [_instant(real) - _instant(plan) for real, plan in zip(happened, foreseen, strict=True)]
    assert timedelta(0) <= min(late)
    assert max(late) < timedelta(minutes=1)


def _instant(line: dict[str, Any]) -> datetime:
    return datetime.fromisoformat(line["at"])


async def test_its_workflow_is_found_in_temporals_own_ui(live: Caller, stack: Stack) -> None:
    subscription = await started(live, await new_customer(live), await new_price(live))
    workflow = subscription["workflow"]
    assert workflow["id"] == f"subscription:{subscription['id']}"
    assert workflow["url"] == (
        f"{stack.temporal_ui_url}/namespaces/default/workflows/subscription%3A{subscription['id']}"
    )
    page = await live.http.get(workflow["url"])
    assert (page.status_code, page.headers["content-type"].split(";")[0]) == (200, "text/html")


async def test_a_new_card_collects_what_is_open_at_once(live: Caller) -> None:
    customer = await new_customer(live, BROKE)
    subscription = await started(live, customer, await new_price(live))
    assert (subscription["status"], subscription["live"]["open_invoice"]["phase"]) == ("overdue", "dunning")
    await live.made(f"/v1/customers/{customer}/payment-methods", {"token": CARD})
    rescued = (await live.get(f"/v1/subscriptions/{subscription['id']}")).json()
    assert (rescued["status"], rescued["live"]["open_invoice"]) == ("active", None)
    charges = (await live.get("/v1/charges", subscription_id=subscription["id"])).json()["items"]
    assert [(each["status"], each["trigger"]) for each in charges] == [("approved", "card_update"), ("declined", "due")]
    why = (await live.get(f"/v1/charges/{charges[0]['id']}/why")).json()["because"]
    assert {each["what"] for each in why} >= {"trigger", "terms", "line", "invoice", "method", "gateway", "message"}
    assert charges[0]["reference"] in " ".join(each["text"] for each in why)


async def test_an_open_invoice_is_paid_by_hand(live: Caller) -> None:
    customer = await new_customer(live, None)
    subscription = await started(live, customer, await new_price(live))
    invoice = subscription["live"]["open_invoice"]["id"]
    stranger = await new_customer(live)
    theirs = (await live.get(f"/v1/customers/{stranger}/payment-methods")).json()["items"][0]["id"]
    for path in (f"/v1/invoices/{invoice}/pay", f"/v1/subscriptions/{subscription['id']}/collect"):
        refused = await live.post(path, {"payment_method_id": theirs})
        assert (refused.status_code, refused.json()["errors"][0]["field"]) == (422, "payment_method_id")
    still_open = (await live.post(f"/v1/invoices/{invoice}/pay")).json()
    assert still_open["status"] == "open"
    await live.made(f"/v1/customers/{customer}/payment-methods", {"token": CARD})
    paid = (await live.get(f"/v1/invoices/{invoice}")).json()
    assert (paid["status"], len(paid["charges"]), paid["lines"][0]["amount"]) == ("paid", 1, 1900)
    again = await live.post(f"/v1/invoices/{invoice}/pay")
    assert (again.status_code, again.json()["code"]) == (409, "not_open")


async def test_a_charge_by_hand_is_paid_or_void_at_once(live: Caller) -> None:
    customer = await new_customer(live)
    subscription = await started(live, customer, await new_price(live))
    body = {"amount": 750, "currency": "EUR", "description": "Express delivery"}
    await done(live, subscription, "charge", body)
    broke = await live.made(f"/v1/customers/{customer}/payment-methods", {"token": BROKE, "make_default": True})
    await done(live, subscription, "charge", body | {"payment_method_id": broke["id"]})
    declined, paid, _ = (await live.get("/v1/invoices", subscription_id=subscription["id"])).json()["items"]
    assert [(each["reason"], each["total"]) for each in (paid, declined)] == [("one_off", 750)] * 2
    assert (paid["status"], declined["status"]) == ("paid", "void")
    assert (await live.get(f"/v1/subscriptions/{subscription['id']}")).json()["status"] == "active"


async def test_a_change_costs_what_its_preview_said(live: Caller) -> None:
    customer = await new_customer(live)
    price = await new_price(live, 3000)
    subscription = await started(live, customer, price)
    await done(live, subscription, "advance", {"days": 10})
    change = {"quantity": 3, "reason": "two more seats", "actor": "agent Smith"}
    preview = await done(live, subscription, "change/preview", change)
    assert preview["when"] == "now"
    assert preview["net"] == sum(line["amount"] for line in preview["lines"]) > 0
    changed = await done(live, subscription, "change", change)
    assert (changed["quantity"], changed["amount"]) == (3, 9000)
    (newest, *_) = (await live.get("/v1/invoices", subscription_id=subscription["id"])).json()["items"]
    assert (newest["reason"], newest["total"], newest["status"]) == ("change", preview["net"], "paid")
    events = (await live.get(f"/v1/subscriptions/{subscription['id']}/events")).json()["items"]
    (told,) = [each for each in events if each["kind"] == "terms_changed"]
    assert (told["actor"], told["reason"]) == ("agent Smith", "two more seats")


async def test_a_change_that_would_be_refused_is_not_foreseen_either(live: Caller) -> None:
    subscription = await started(live, await new_customer(live), await new_price(live))
    await done(live, subscription, "cancel", {"when": "now"})
    path = f"/v1/subscriptions/{subscription['id']}/change"
    foreseen, refused = [await live.post(each, {"quantity": 3}) for each in (f"{path}/preview", path)]
    assert (foreseen.status_code, foreseen.json()["code"]) == (409, "not_while_canceled")
    assert foreseen.json() == refused.json()


async def test_a_refusal_says_what_is_allowed_and_changes_nothing(live: Caller) -> None:
    customer = await new_customer(live)
    subscription = await started(live, customer, await new_price(live))
    before = await kinds(live, subscription)
    refused = await live.post(f"/v1/subscriptions/{subscription['id']}/extend-trial", {"days": 3})
    assert refused.status_code == 409
    assert refused.json()["code"] == "not_while_active"
    assert {"skip", "pause", "cancel", "change"} <= set(refused.json()["allowed"])
    passed = await live.post(f"/v1/subscriptions/{subscription['id']}/skip", {"expected_cycle": 1})
    assert (passed.status_code, passed.json()["code"]) == (409, "cycle_passed")
    assert await kinds(live, subscription) == before


@pytest.mark.parametrize(
    ("command", "body", "field"),
    [
        ("skip", {"cycles": -1}, "cycles"),
        ("skip", {"cycles": "1"}, "cycles"),
        ("skip", {"cycle": 1}, "cycle"),
        ("extend-trial", {}, "days"),
        ("change", {}, "price_id"),
        ("change", {"quantity": 0}, "quantity"),
        ("change", {"price_id": "price_nobody"}, "price_id"),
        ("change-date", {"next_due_at": "2027-02-30T09:00:00Z"}, "next_due_at"),
        ("change-date", {"next_due_at": "2027-02-20T09:00:00"}, "next_due_at"),
        ("change-date", {"next_due_at": 1800000000}, "next_due_at"),
        ("change-date", {"next_due_at": "2020-01-01T00:00:00Z"}, "next_due_at"),
        (
            "charge",
            {"amount": 5, "currency": "EUR", "description": "x", "payment_method_id": "pm_nobody"},
            "payment_method_id",
        ),
        ("pause", {"when": "tomorrow"}, "when"),
        ("cancel", {"refund": "all"}, "refund"),
        ("credit", {"amount": 0, "currency": "EUR"}, "amount"),
        ("credit", {"amount": 5, "currency": "USD"}, "currency"),
        ("hold", {"owner": "ops", "expires_at": "2027-01-01T00:00:00Z"}, "reason"),
        ("advance", {}, "days"),
        ("advance", {"days": 1, "months": 1}, "days"),
        ("advance", {"to": "2020-01-01T00:00:00Z"}, "to"),
        ("resume", {"reason": "x" * 501}, "reason"),
    ],
)
async def test_a_bad_command_is_refused(
    live: Caller, shared: dict[str, Any], command: str, body: dict[str, Any], field: str
) -> None:
    response = await live.post(f"/v1/subscriptions/{shared['id']}/{command}", body)
    assert (response.status_code, response.json()["errors"][0]["field"]) == (422, field), response.text
    assert await kinds(live, shared) == shared["kinds"]


@pytest.fixture(scope="module")
async def shared(live: Caller) -> dict[str, Any]:
    """A subscription that nobody may change."""
    subscription = await started(live, await new_customer(live), await new_price(live))
    return subscription | {"kinds": await kinds(live, subscription)}


async def test_one_start_twice_at_once_is_one_subscription(live: Caller) -> None:
    body = {"customer_id": await new_customer(live), "price_id": await new_price(live)}
    answers = await asyncio.gather(*(live.post("/v1/subscriptions", body, key="start-once") for _ in range(5)))
    assert {answer.status_code for answer in answers} <= {201, 409}
    found = (await live.get("/v1/subscriptions", customer_id=body["customer_id"])).json()["items"]
    assert len(found) == 1
    charges = (await live.get("/v1/charges", customer_id=body["customer_id"])).json()["items"]
    assert len(charges) == 1


async def test_a_subscription_is_not_started_on_what_is_not_there(live: Caller) -> None:
    customer, price = await new_customer(live), await new_price(live)
    for wrong, field in (
        ({"customer_id": "cus_nobody"}, "customer_id"),
        ({"price_id": "price_nobody"}, "price_id"),
        ({"quantity": 0}, "quantity"),
        ({"start_at": "2020-01-01T00:00:00Z"}, "start_at"),
        ({"trigger": "moon"}, "trigger"),
    ):
        response = await live.post("/v1/subscriptions", {"customer_id": customer, "price_id": price} | wrong)
        assert (response.status_code, response.json()["errors"][0]["field"]) == (422, field)
    assert (await live.get("/v1/subscriptions", customer_id=customer)).json()["items"] == []


async def status_of(live: Caller, run: str) -> str:
    return (await live.get(f"/v1/billing-runs/{run}")).json()["status"]


async def test_what_waits_for_an_outside_trigger_is_billed_once_by_runs(live: Caller) -> None:
    customer = await new_customer(live)
    subscription = await started(live, customer, await new_price(live), trigger="external")
    await done(live, subscription, "advance", {"days": 40})
    before = (await live.get("/v1/invoices", subscription_id=subscription["id"])).json()["items"]
    segment = {"segment": {"customer_ids": [customer]}}
    runs = [(await live.post("/v1/billing-runs", segment)).json()["id"] for _ in range(3)]
    for run in runs:
        while await status_of(live, run) != "done":  # noqa: ASYNC110 - asks over HTTP, as a stranger has to
            await asyncio.sleep(0.1)
    after = (await live.get("/v1/invoices", subscription_id=subscription["id"])).json()["items"]
    assert len(after) > len(before)
    assert len({each["cycle"] for each in after}) == len(after)
    verdicts = [(await live.get(f"/v1/billing-runs/{run}/items")).json()["items"] for run in runs]
    said = Counter(each["verdict"] for items in verdicts for each in items)
    assert said == {"billed": 1, "not_due": len(runs) - 1}, "one run billed it, the others came too late"


async def test_a_run_over_a_saved_segment_bills_whoever_is_in_it(live: Caller) -> None:
    """By the filter as it was when the run was asked for."""
    inside, outside = await new_customer(live), await new_customer(live)
    tag = f"run-{inside[-8:]}"
    assert (await live.put(f"/v1/customers/{inside}/tags", {"tags": [tag]})).status_code == 200
    price = await new_price(live)
    both = [await started(live, each, price, trigger="external") for each in (inside, outside)]
    for subscription in both:
        await done(live, subscription, "advance", {"days": 40})
    gone = {"subscription": {"field": "status", "op": "eq", "value": "canceled"}}
    wanted = {"all": [{"field": "tags", "op": "has", "value": tag}, {"not": gone}]}
    segment = await live.made("/v1/segments", {"name": tag, "filter": wanted})
    run = (await live.post("/v1/billing-runs", {"segment": {"segment_id": segment["id"]}})).json()
    assert run["segment"] == {"segment_id": segment["id"], "filter": wanted}
    assert (await live.delete(f"/v1/segments/{segment['id']}")).status_code == 204
    while await status_of(live, run["id"]) != "done":  # noqa: ASYNC110 - asks over HTTP, as a stranger has to
        await asyncio.sleep(0.1)
    items = (await live.get(f"/v1/billing-runs/{run['id']}/items")).json()["items"]
    assert [(each["subscription_id"], each["verdict"]) for each in items] == [(both[0]["id"], "billed")]
    refused = await live.post("/v1/billing-runs", {"segment": {"segment_id": segment["id"]}})
    assert (refused.status_code, refused.json()["errors"][0]["field"]) == (422, "segment.segment_id")


async def test_a_notice_asked_for_reaches_the_running_subscription(live: Caller) -> None:
    customer = await new_customer(live)
    subscription = await started(live, customer, await new_price(live))
    assert (await live.patch(f"/v1/customers/{customer}", {"notice_days": 5})).status_code == 200
    shown = (await live.get(f"/v1/subscriptions/{subscription['id']}")).json()
    assert shown["live"]["notice_days"] == 5
    await done(live, subscription, "advance", {"months": 1})
    assert "renewal_notice" in await kinds(live, subscription)


async def test_health_meta_and_schedules(live: Caller) -> None:
    health = await live.http.get("/v1/health")
    assert (health.status_code, health.json()) == (200, {"database": True, "temporal": True})
    assert (await live.get("/v1/meta")).json()["caller"] == "shop"
    schedules = {each["id"]: each for each in (await live.get("/v1/schedules")).json()["items"]}
    assert set(schedules) >= {"catch-up", "billing", "settlement", "reconciliation"}
    paused = await live.post("/v1/schedules/catch-up/pause", {"reason": "moving house"})
    assert (paused.json()["paused"], paused.json()["note"]) == (True, "shop: moving house")
    assert (await live.post("/v1/schedules/catch-up/resume", {})).json()["paused"] is False
    assert (await live.post("/v1/schedules/nothing/trigger")).status_code == 404
