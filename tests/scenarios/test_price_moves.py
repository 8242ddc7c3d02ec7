"""Subscribers moved to another price: what the preview said, at a rate, paused by people and failures, never twice."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from temporalio.testing import ActivityEnvironment

from activities.price_moves import MovePage, MoveRequest, PriceMoves
from api.keys import create_key
from domain.messages import ChangeTerms, Envelope, When
from domain.price_moves import Pace
from domain.state import State
from domain.terms import Terms
from tests.api.conftest import Caller
from tests.stack_fixtures import NUMBERS, Shop, at

pytestmark = [pytest.mark.stack, pytest.mark.timeout(240)]

VISA = "tok_ok_visa"


@pytest.fixture
async def lead(shop: Shop) -> AsyncIterator[Caller]:
    key = await create_key(shop.database, f"lea-{next(NUMBERS)}")
    async with httpx.AsyncClient(base_url=shop.stack.api_url, timeout=60, trust_env=False) as client:
        yield Caller(client, key)


async def subscribers(shop: Shop, terms: Terms, count: int) -> list[str]:
    """So many, each with a month paid from 5 March on; in the order in which a move asks them."""
    gate = asyncio.Semaphore(4)

    async def one() -> str:
        async with gate:
            state = await shop.start(await shop.customer(VISA), terms, start_at=at("2027-03-05", 9))
            await shop.until(state.id, at("2027-03-10", 9))
            return state.id

    return sorted(await asyncio.gather(*(one() for _ in range(count))))


async def move(lead: Caller, old: Terms, new: Terms, **more: Any) -> dict[str, Any]:
    body = {"from_price_id": old.price_id, "to_price_id": new.price_id, "per_minute": 6000} | more
    answer = await lead.post("/v1/price-moves", body, key=more.pop("key", None))
    assert answer.status_code == 202, answer.text
    return answer.json()


async def becomes(shop: Shop, lead: Caller, identity: str, status: str) -> dict[str, Any]:
    async def so() -> bool:
        return (await lead.get(f"/v1/price-moves/{identity}")).json()["status"] == status

    await shop.eventually(so, f"the move is {status}", within_s=120)
    return (await lead.get(f"/v1/price-moves/{identity}")).json()


async def price_of(shop: Shop, subscription: str) -> str:
    return (await shop.commands.state(subscription)).terms.price_id


async def test_each_pays_what_the_preview_said(shop: Shop, lead: Caller) -> None:
    old, new = await shop.terms(1000), await shop.terms(1500)
    moved = await subscribers(shop, old, 3)
    body = {"from_price_id": old.price_id, "to_price_id": new.price_id, "when": "now"}
    preview = (await lead.post("/v1/price-moves/preview", body)).json()["items"]
    assert [each["subscription_id"] for each in preview] == moved
    assert {(each["amount_before"], each["amount_after"], each["when"]) for each in preview} == {(1000, 1500, "now")}
    assert [await price_of(shop, each) for each in moved] == [old.price_id] * 3, "a preview changes nothing"
    made = await move(lead, old, new, when="now", reason="prices of 2027")
    done = await becomes(shop, lead, made["id"], "done")
    assert (done["seen"], done["verdicts"]) == (3, {"moved": 3})
    for subscription, foreseen in zip(moved, preview, strict=True):
        invoices = [row for row in await shop.invoices(subscription) if row["reason"] == "change"]
        assert [row["total"] for row in invoices] == [foreseen["net"]]
        (told,) = [event for event in await shop.events(subscription) if event["kind"] == "terms_changed"]
        assert (told["actor"], told["reason"]) == (made["actor"], "prices of 2027")
        await shop.audit(subscription)


async def test_at_the_periods_end_nothing_is_charged_before_it(shop: Shop, lead: Caller) -> None:
    old, new = await shop.terms(1000), await shop.terms(1500)
    (subscription,) = await subscribers(shop, old, 1)
    made = await move(lead, old, new, when="period_end")
    assert (await becomes(shop, lead, made["id"], "done"))["verdicts"] == {"planned": 1}
    items = (await lead.get(f"/v1/price-moves/{made['id']}/items", verdict="planned")).json()["items"]
    assert [each["subscription_id"] for each in items] == [subscription]
    assert [row["total"] for row in await shop.invoices(subscription)] == [1000]
    await shop.until(subscription, at("2027-04-05", 10))
    assert [row["total"] for row in await shop.invoices(subscription)] == [1000, 1500]


async def test_a_person_pauses_resumes_and_stops_it(shop: Shop, lead: Caller) -> None:
    """One a minute: after each, it would wait; who is left when it is stopped keeps the old price."""
    old, new = await shop.terms(1000), await shop.terms(1500)
    three = await subscribers(shop, old, 3)
    identity = (await move(lead, old, new, when="period_end", per_minute=1))["id"]

    async def asked(count: int) -> bool:
        return (await lead.get(f"/v1/price-moves/{identity}")).json()["seen"] == count

    await shop.eventually(lambda: asked(1), "the first is asked")
    paused = await lead.post(f"/v1/price-moves/{identity}/pause", {"reason": "support asks for a break"})
    assert (paused.json()["status"], paused.json()["detail"]) == ("paused", "support asks for a break")
    again = await lead.post(f"/v1/price-moves/{identity}/pause")
    assert again.json()["status"] == "paused", "what it is already is a repetition"
    assert (await lead.post(f"/v1/price-moves/{identity}/resume")).json()["status"] == "running"
    await shop.eventually(lambda: asked(2), "the second is asked")
    assert (await lead.post(f"/v1/price-moves/{identity}/stop")).json()["status"] == "stopped"
    refused = await lead.post(f"/v1/price-moves/{identity}/resume")
    assert (refused.status_code, refused.json()["code"], refused.json()["allowed"]) == (409, "wrong_state", [])
    planned = [(await shop.commands.state(each)).change is not None for each in three]
    assert planned == [True, True, False]


async def test_it_pauses_by_itself_where_too_many_refuse(shop: Shop, lead: Caller) -> None:
    old, new = await shop.terms(1000), await shop.terms(1500)
    for _ in range(11):
        customer = await shop.customer(VISA)
        await shop.script(await shop.token(customer), then="soft:insufficient_funds")
        state = await shop.start(customer, old, start_at=at("2027-03-05", 9))
        await shop.until(state.id, at("2027-03-05", 10))  # declined, so a payment is open
    identity = (await move(lead, old, new, when="now", failures_percent_max=20))["id"]
    paused = await becomes(shop, lead, identity, "paused")
    assert (paused["detail"], paused["verdicts"]) == ("11 of 11 did not move", {"refused": 11})
    refused = (await lead.get(f"/v1/price-moves/{identity}/items", verdict="refused")).json()["items"]
    assert len(refused) == 11
    await lead.post(f"/v1/price-moves/{identity}/resume")
    await becomes(shop, lead, identity, "done")


async def test_a_killed_worker_moves_each_once_and_so_do_two_moves_at_once(shop: Shop, lead: Caller) -> None:
    old, new = await shop.terms(1000), await shop.terms(1500)
    many = await subscribers(shop, old, 12)
    first, second = await asyncio.gather(
        move(lead, old, new, when="now", per_minute=600), move(lead, old, new, when="now", per_minute=600)
    )
    assert first["id"] != second["id"]

    async def begun() -> bool:
        kinds = [await price_of(shop, each) for each in many[:4]]
        return new.price_id in kinds

    await shop.eventually(begun, "the first are moved")
    await shop.stack.kill("worker")
    await shop.stack.restart("worker")
    for each in (first, second):
        done = await becomes(shop, lead, each["id"], "done")
        assert set(done["verdicts"]) <= {"moved"}, "who is there already is moved"
    for subscription in many:
        kinds = Counter(await shop.kinds(subscription))
        assert kinds["terms_changed"] == 1
        assert await price_of(shop, subscription) == new.price_id
        await shop.audit_books(subscription)


async def test_the_same_key_is_the_same_move(shop: Shop, lead: Caller) -> None:
    old, new = await shop.terms(1000), await shop.terms(1500)
    key = f"move-{next(NUMBERS)}"
    body = {"from_price_id": old.price_id, "to_price_id": new.price_id}
    first, second = [await lead.post("/v1/price-moves", body, key=key) for _ in range(2)]
    assert first.json()["id"] == second.json()["id"]
    bad = await lead.post("/v1/price-moves", body | {"to_price_id": old.price_id})
    assert (bad.status_code, bad.json()["errors"][0]["field"]) == (422, "to_price_id")


class Meanwhile:
    """The real door, but somebody changes the subscription just before it is asked."""

    def __init__(self, shop: Shop, other: Terms) -> None:
        self.shop, self.other = shop, other

    async def state(self, subscription_id: str) -> State:
        return await self.shop.send(subscription_id, ChangeTerms(self.other, When.NOW))

    async def send(self, subscription_id: str, envelope: Envelope) -> State:
        return await self.shop.commands.send(subscription_id, envelope)


async def test_who_has_another_price_by_then_is_left_alone(shop: Shop) -> None:
    old, new, other = [await shop.terms(amount) for amount in (1000, 1500, 3000)]
    (subscription,) = await subscribers(shop, old, 1)
    identity = f"move_{next(NUMBERS)}"
    await shop.execute(
        "INSERT INTO price_moves (id, from_price_id, to_price_id, prorate, keep_anchor, per_minute,"
        " failures_percent_max, reason, actor, status, started_at)"
        " VALUES (:id, :old, :new, true, false, 60, 10, '', 'lea', 'running', now())",
        id=identity, old=old.price_id, new=new.price_id,
    )  # fmt: skip
    request = MoveRequest(identity, old.price_id, new.price_id, When.NOW, True, False, Pace(60, 10), "lea", "")
    moves = PriceMoves(shop.database, Meanwhile(shop, other))
    page = await ActivityEnvironment().run(moves.move_price_page, MovePage(request, ""))
    assert (page.asked, page.failed) == (1, 0)
    (item,) = await shop.rows("SELECT verdict, detail FROM price_move_items WHERE move_id = :id", id=identity)
    assert (item["verdict"], item["detail"]) == ("elsewhere", other.price_id)
    assert await price_of(shop, subscription) == other.price_id


async def test_archiving_never_touches_running_subscriptions(shop: Shop, lead: Caller) -> None:
    terms = await shop.terms(1000)
    (subscription,) = await subscribers(shop, terms, 1)
    for path in (f"/v1/prices/{terms.price_id}", f"/v1/products/{terms.product_id}"):
        assert (await lead.post(f"{path}/archive")).json()["archived_at"] is not None
    await shop.until(subscription, at("2027-05-05", 10))
    assert [(row["total"], row["status"]) for row in await shop.invoices(subscription)] == [(1000, "paid")] * 3
    customer = (await shop.subscription(subscription))["customer_id"]
    refused = await lead.post("/v1/subscriptions", {"customer_id": customer, "price_id": terms.price_id})
    assert (refused.status_code, refused.json()["code"]) == (409, "archived")
    await shop.audit(subscription)
