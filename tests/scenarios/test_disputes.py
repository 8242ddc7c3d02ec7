"""Disputes from the gateway's own webhook to the end of the subscription, and what the blacklist then refuses."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest

from api.keys import create_key
from domain.calendar import Interval, Unit
from tests.api.conftest import Caller
from tests.stack_fixtures import NUMBERS, Shop, at

pytestmark = [pytest.mark.stack, pytest.mark.timeout(120)]

VISA = "tok_ok_visa"
MONTHLY = Interval(1, Unit.MONTH)


class Bank:
    """The gateway's control, as far as disputes go."""

    def __init__(self, shop: Shop) -> None:
        self.shop = shop

    async def control(self, method: str, path: str, body: Any = None) -> Any:
        answer = await self.shop.http.request(method, f"{self.shop.stack.gateway_url}/control/{path}", json=body)
        answer.raise_for_status()
        return answer.json()

    async def dispute(self, subscription: str, **asked: Any) -> str:
        """The bank takes the subscription's last payment back; the gateway's name of the dispute."""
        paid = [row for row in await self.shop.attempts(subscription) if row["status"] == "approved"]
        return (await self.control("POST", "disputes", {"charge": paid[-1]["reference"]} | asked))["id"]

    async def ends(self, dispute: str, how: str) -> None:
        await self.control("POST", f"disputes/{dispute}/{how}")

    async def cash(self) -> int:
        """What the gateway holds for us, by its own books."""
        return (await self.control("GET", "books"))["cash"].get("USD", {}).get("net", 0)

    @asynccontextmanager
    async def deliveries(self, **how: Any) -> AsyncGenerator[None]:
        """Deliver in another way for a while."""
        await self.control("PUT", "webhooks", how)
        try:
            yield
        finally:
            await self.control("PUT", "webhooks", {})


async def our_cash(shop: Shop) -> int:
    rows = await shop.rows(
        "SELECT coalesce(sum(amount), 0)::bigint AS held FROM ledger_postings"
        " WHERE account = 'cash:sandbox' AND currency = 'USD'"
    )
    return rows[0]["held"]


async def becomes(shop: Shop, gateway_id: str, status: str) -> dict[str, Any]:
    """The dispute, once it has come so far and all that follows from it is done."""

    async def so_far() -> bool:
        rows = await shop.rows("SELECT * FROM disputes WHERE gateway_id = :id", id=gateway_id)
        return (
            bool(rows) and rows[0]["status"] == status and '"due"' not in str(rows[0]["consequence"]).replace("'", '"')
        )

    await shop.eventually(so_far, f"{gateway_id} is {status}")
    return (await shop.rows("SELECT * FROM disputes WHERE gateway_id = :id", id=gateway_id))[0]


@pytest.fixture
def bank(shop: Shop) -> Bank:
    return Bank(shop)


@pytest.fixture
async def live(shop: Shop) -> AsyncIterator[Caller]:
    key = await create_key(shop.database, f"shop-{next(NUMBERS)}")
    async with httpx.AsyncClient(base_url=shop.stack.api_url, timeout=60, trust_env=False) as client:
        yield Caller(client, key)


async def paid_subscription(shop: Shop) -> tuple[str, str]:
    """Subscription and customer, with one paid month from 5 March on."""
    customer = await shop.customer(VISA)
    state = await shop.start(customer, await shop.terms(1200), start_at=at("2027-03-05", 9))
    await shop.until(state.id, at("2027-03-06", 9))
    return state.id, customer


async def test_a_lost_dispute_ends_the_subscription_and_our_books_are_the_gateway_s(shop: Shop, bank: Bank) -> None:
    subscription, customer = await paid_subscription(shop)
    apart = await bank.cash() - await our_cash(shop)
    disputed = await bank.dispute(subscription, fee=1500)
    opened = await becomes(shop, disputed, "opened")
    assert await bank.cash() - await our_cash(shop) == apart
    assert (opened["amount"], opened["fee"], opened["customer_id"], opened["test_mode"]) == (1200, 0, customer, True)
    (task,) = await shop.rows("SELECT * FROM tasks WHERE customer_id = :id", id=customer)
    assert (task["kind"], task["status"], task["deadline"]) == ("dispute", "open", opened["evidence_due_at"])
    assert (await shop.subscription(subscription))["status"] == "active", "an open dispute changes nothing by default"
    await bank.ends(disputed, "evidence_due")
    await becomes(shop, disputed, "evidence_due")
    await bank.ends(disputed, "lost")
    lost = await becomes(shop, disputed, "lost")
    assert await bank.cash() - await our_cash(shop) == apart
    assert lost["fee"] == 1500
    assert lost["consequence"] == {"lost": {"action": "cancel", "result": "done"}}
    assert (await shop.subscription(subscription))["status"] == "canceled"
    (told,) = [event for event in await shop.events(subscription) if event["kind"] == "canceled"]
    assert (told["actor"], told["reason"]) == ("system", f"dispute {disputed} lost")
    (task,) = await shop.rows("SELECT * FROM tasks WHERE customer_id = :id", id=customer)
    assert (task["status"], task["outcome"]) == ("done", "the dispute was lost")


async def test_events_twice_and_in_the_wrong_order_end_right(shop: Shop, bank: Bank) -> None:
    subscription, _ = await paid_subscription(shop)
    apart = await bank.cash() - await our_cash(shop)
    async with bank.deliveries(twice=True, hold=True):
        disputed = await bank.dispute(subscription)
        await bank.ends(disputed, "evidence_due")
        await bank.ends(disputed, "won")
        events = (await bank.control("GET", "events?limit=1000"))["events"]
        ours = [event["id"] for event in events if event["data"]["dispute_id"] == disputed]
        assert len(ours) == 3
        await bank.control("POST", "webhooks/release", {"events": ours[::-1]})
    won = await becomes(shop, disputed, "won")

    async def all_handled() -> bool:
        rows = await shop.rows("SELECT handled_at FROM gateway_events WHERE subject_id = :id", id=won["id"])
        return len(rows) == 3 and all(row["handled_at"] for row in rows)

    await shop.eventually(all_handled, "all three events are handled")
    row = await becomes(shop, disputed, "won")
    assert row["opened_at"] <= row["closed_at"]
    assert row["consequence"] == {}
    assert await bank.cash() - await our_cash(shop) == apart
    await shop.audit(subscription)


async def test_a_forged_event_changes_nothing(shop: Shop, bank: Bank) -> None:
    subscription, _ = await paid_subscription(shop)
    before = await shop.rows("SELECT count(*) FROM gateway_events")
    async with bank.deliveries(hold=True):
        disputed = await bank.dispute(subscription)
        events = (await bank.control("GET", "events?limit=1000"))["events"]
        (event,) = [event["id"] for event in events if event["data"]["dispute_id"] == disputed]
        for forged in ({"bad_signature": True}, {"age_seconds": 600}):
            await bank.control("POST", f"events/{event}/deliver", forged)
        assert await shop.rows("SELECT count(*) FROM gateway_events") == before
        await bank.control("POST", f"events/{event}/deliver", {})
    await becomes(shop, disputed, "opened")


async def test_an_event_of_an_unknown_sale_is_taken_up_when_it_is_sent_again(shop: Shop, bank: Bank) -> None:
    subscription = f"sub_{next(NUMBERS)}"
    disputed = f"dp_{subscription}"
    data = {"dispute_id": disputed, "reference": f"charge:{subscription}:1:1", "amount": 1200, "currency": "USD"}
    event = (await bank.control("POST", "events", {"type": "dispute.won", "data": data}))["id"]
    heard = "SELECT outcome, handled_at FROM gateway_events WHERE body -> 'data' ->> 'dispute_id' = :dispute"

    async def kept() -> bool:
        return [row["outcome"] for row in await shop.rows(heard, dispute=disputed)] == ["unknown_sale"]

    await shop.eventually(kept, "the event is kept")
    await shop.start(await shop.customer(VISA), await shop.terms(1200), id=subscription)
    await bank.control("POST", f"events/{event}/deliver", {})
    await becomes(shop, disputed, "won")
    (row,) = await shop.rows(heard, dispute=disputed)
    assert row["handled_at"] is not None
    await shop.audit(subscription)


async def test_after_a_lost_dispute_the_card_is_not_charged_and_no_order_is_taken(
    shop: Shop, bank: Bank, live: Caller
) -> None:
    """The merchant blacklists who loses a dispute, and lets the subscription go on."""
    rules = {"on_opened": "none", "on_lost": "none", "blacklist_on_lost": True}
    before = (await live.get("/v1/rules/disputes")).json()
    assert (await put_rules(live, rules)).status_code == 200
    try:
        number = next(NUMBERS)
        customer = await live.made("/v1/customers", {"email": f"Jo.{number}@gmail.com", "currency": "USD"})
        methods = f"/v1/customers/{customer['id']}/payment-methods"
        card = await live.made(methods, {"token": f"{VISA}_{number}"})
        terms = await shop.terms(1200)
        order = {"customer_id": customer["id"], "price_id": terms.price_id, "test_mode": True}
        subscription = await live.made("/v1/subscriptions", order)
        disputed = await bank.dispute(subscription["id"])
        await bank.ends(disputed, "lost")
        assert (await becomes(shop, disputed, "lost"))["consequence"] == {"blacklisted": ["email", "fingerprint"]}
    finally:
        await put_rules(live, before)
    path = f"/v1/subscriptions/{subscription['id']}"
    assert (await live.get(path)).json()["status"] == "active", "it is not cancelled by itself"
    charge = {"amount": 500, "currency": "USD", "description": "Extra"}
    for refused in (
        await live.post("/v1/subscriptions", order),
        await live.post(methods, {"token": f"{VISA}_other_{number}"}),
        await live.post(f"{path}/charge", charge),
        await live.post(f"{path}/collect", {"payment_method_id": card["id"]}),
    ):
        assert (refused.status_code, refused.json()["code"]) == (403, "blacklisted")
    assert (await live.post(f"{path}/advance", {"months": 1})).json()["status"] == "overdue"
    last = (await live.get("/v1/charges", subscription_id=subscription["id"])).json()["items"]
    assert [each["status"] for each in last] == ["approved"], "nothing was sent to the blacklisted card"
    assert "no_payment_method" in await shop.kinds(subscription["id"])
    entries = (await live.get("/v1/blacklist", customer_id=customer["id"])).json()["items"]
    for each in entries:
        assert (await live.delete(f"/v1/blacklist/{each['id']}")).status_code == 204
    assert (await live.post(f"{path}/force-bill")).json()["status"] == "active"


async def put_rules(live: Caller, rules: dict[str, Any]) -> httpx.Response:
    headers = {"Authorization": f"Bearer {live.key}"}
    return await live.http.put("/v1/rules/disputes", json=rules, headers=headers)
