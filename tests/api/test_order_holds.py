"""Authorise now, capture later, through HTTP alone on the whole stack: what a merchant who ships goods does."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from domain.roles import Role
from local.stack import Stack
from tests.api.conftest import Caller
from tests.api.test_orders import BROKE, CARD, ENGRAVING, caller_of, customer, done, ordered, price
from tests.stack_fixtures import Shop

pytestmark = [pytest.mark.stack, pytest.mark.timeout(120)]

LATER = {"capture": "later"}


@pytest.fixture(scope="module")
async def live(stack: Stack) -> AsyncIterator[Caller]:
    async for caller in caller_of(stack, Role.ADMIN):
        yield caller


@pytest.fixture(scope="module")
async def agent(stack: Stack) -> AsyncIterator[Caller]:
    async for caller in caller_of(stack, Role.AGENT):
        yield caller


async def authorised(live: Caller, token: str = CARD, *, caller: Caller | None = None) -> dict[str, Any]:
    lines = [{"price_id": await price(live, 1900)}, ENGRAVING]
    return await ordered(caller or live, customer_id=await customer(live, token), lines=lines, pay=LATER)


async def refusal(live: Caller, order: dict[str, Any], command: str, body: Any = None) -> tuple[int, str]:
    response = await live.post(f"/v1/orders/{order['id']}/{command}", body)
    return response.status_code, response.json()["code"]


async def cash(shop: Shop, order: dict[str, Any]) -> int:
    """What our books have of this order's money at the gateway."""
    rows = await shop.rows(
        "SELECT coalesce(sum(p.amount), 0)::bigint AS held FROM ledger_postings AS p JOIN ledger_entries AS e"
        " ON e.id = p.entry_id JOIN invoices AS i ON i.id = e.invoice_id"
        " WHERE i.order_id = :id AND p.account = 'cash:sandbox'",
        id=order["id"],
    )
    return rows[0]["held"]


async def test_it_is_authorised_now_and_taken_when_the_goods_leave(live: Caller, agent: Caller, shop: Shop) -> None:
    order = await authorised(live, caller=agent)
    assert (order["status"], order["payment"]["state"], order["paid_at"]) == ("authorised", "authorised", None)
    (charge,) = order["charges"]
    assert (charge["status"], charge["settlement"], charge["refundable"]) == ("authorised", None, 0)
    until = datetime.fromisoformat(order["payment"]["authorised_until"])
    assert timedelta(days=6) < until - datetime.now(UTC) <= timedelta(days=7)
    assert order["allowed"] == ["capture", "release", "cancel"]
    assert (order["payment"]["link"], order["payment"]["methods"]) == (None, [])
    assert (order["invoice"]["status"], order["subscriptions"], order["fulfilments"]) == ("open", [], [])
    assert (order["messages"], await cash(shop, order)) == ([], 0)
    assert "authorised" in order["events"][-1]["text"]
    listed = (await live.get("/v1/transactions", customer_id=order["customer_id"], status="authorised")).json()
    assert [(row["id"], row["settlement"]) for row in listed["items"]] == [(charge["id"], None)]
    one = (await live.get(f"/v1/transactions/{charge['id']}")).json()
    assert (one["status"], one["again"]) == ("authorised", f"/v1/orders/{order['id']}/capture")
    found = (await live.get("/v1/orders", customer_id=order["customer_id"], status="authorised")).json()["items"]
    assert [each["id"] for each in found] == [order["id"]]
    overview = (await live.get(f"/v1/customers/{order['customer_id']}/overview")).json()
    assert [each["status"] for each in overview["orders"]["items"]] == ["authorised"]

    paid = await done(agent, order, "capture", {"reason": "handed to the carrier"})
    assert (paid["status"], paid["payment"]["state"], paid["invoice"]["status"]) == ("paid", "paid", "paid")
    (charge,) = paid["charges"]
    assert (charge["status"], charge["settlement"], charge["amount"]) == ("approved", "pending", 3400)
    assert [each["status"] for each in paid["subscriptions"]] == ["active"]
    assert [each["template"] for each in paid["messages"]] == ["receipt"]
    assert await cash(shop, order) == 3400
    assert await refusal(agent, order, "capture") == (409, "already_paid")
    why = [each["text"] for each in (await live.get(f"/v1/charges/{charge['id']}/why")).json()["because"]]
    assert any("authorised" in text for text in why)


async def test_both_books_are_equal_before_and_after_the_capture(live: Caller, shop: Shop) -> None:
    order = await authorised(live)
    reference = order["charges"][0]["reference"]
    taken = await authorised(live)
    await done(live, taken, "capture")
    now = datetime.now(UTC)
    window = {"since": (now - timedelta(minutes=10)).isoformat(), "until": now.isoformat()}
    run = await live.post("/v1/reconciliation-runs", window | {"in_flight_s": 0})
    assert run.status_code == 202, run.text

    async def compared() -> bool:
        return (await live.get(f"/v1/reconciliation-runs/{run.json()['id']}")).json()["status"] == "done"

    await shop.eventually(compared, "both books are compared")
    own = (reference, taken["charges"][0]["reference"])
    assert await shop.rows("SELECT * FROM differences WHERE reference = ANY(:own)", own=list(own)) == []
    body = {"references": list(own)}
    (await shop.http.post(f"{shop.stack.gateway_url}/control/settle", json=body)).raise_for_status()
    settled = await live.post("/v1/settlement-runs", {})
    assert settled.status_code == 202, settled.text

    async def marked() -> bool:
        rows = await shop.rows("SELECT settlement FROM attempts WHERE reference = :own", own=own[1])
        return rows[0]["settlement"] == "settled"

    await shop.eventually(marked, "the capture is settled, under the name of its charge")
    (charge,) = (await live.get(f"/v1/orders/{order['id']}")).json()["charges"]
    assert (charge["status"], charge["settlement"]) == ("authorised", None), "what was not taken is not settled"
    (balance,) = await shop.rows("SELECT coalesce(sum(amount), 0)::bigint AS sum FROM ledger_postings")
    assert balance["sum"] == 0


async def test_released_it_is_open_and_is_edited_and_paid_otherwise(live: Caller, shop: Shop) -> None:
    order = await authorised(live)
    assert await refusal(live, order, "lines", {"lines": [ENGRAVING]}) == (409, "payment_authorised")
    assert await refusal(live, order, "pay") == (409, "payment_authorised")
    by_invoice = await live.post(f"/v1/invoices/{order['invoice']['id']}/pay")
    assert (by_invoice.status_code, by_invoice.json()["code"]) == (409, "payment_authorised")
    for undone in ("void", "refunds"):
        nothing = await live.post(f"/v1/charges/{order['charges'][0]['id']}/{undone}", {"reason": "too early"})
        assert (nothing.status_code, nothing.json()["code"]) == (409, "not_captured"), nothing.text
    open_again = await done(live, order, "release", {"reason": "out of stock"})
    assert (open_again["status"], open_again["payment"]["state"]) == ("open", "none")
    assert [each["status"] for each in open_again["charges"]] == ["released"]
    assert await refusal(live, order, "capture") == (409, "not_authorised")
    changed = await done(live, order, "lines", {"lines": [ENGRAVING], "revision": 1})
    paid = await done(live, changed, "pay", {"total": 1500})
    assert (paid["status"], await cash(shop, order)) == ("paid", 1500)
    states = {row["state"] for each in paid["charges"] for row in await shop.charges(each["reference"])}
    assert states == {"voided", "captured"}


async def test_a_part_is_refused_with_the_rule_and_changes_nothing(live: Caller) -> None:
    order = await authorised(live)
    response = await live.post(f"/v1/orders/{order['id']}/capture", {"amount": 1500})
    assert response.status_code == 422
    (error,) = response.json()["errors"]
    assert error["field"] == "amount"
    assert "captured in full, 34.00 EUR" in error["message"]
    assert (await live.get(f"/v1/orders/{order['id']}")).json()["events"] == order["events"]
    assert (await done(live, order, "capture", {"amount": 3400}))["status"] == "paid"


async def test_cancelled_it_is_released_first_as_its_preview_said(live: Caller, shop: Shop) -> None:
    order = await authorised(live)
    preview = (await live.post(f"/v1/orders/{order['id']}/cancel/preview")).json()
    assert [(each["on"], each["effect"]) for each in preview["effects"]] == [
        ("payment", "release"),
        ("invoice", "void"),
    ]
    canceled = await done(live, order, "cancel", {"reason": "changed their mind"})
    assert (canceled["status"], canceled["invoice"]["status"]) == ("canceled", "void")
    assert [each["kind"] for each in canceled["events"]][-3:] == [
        "authorisation_released",
        "invoice_voided",
        "order_canceled",
    ]
    (charge,) = await shop.charges(order["charges"][0]["reference"])
    assert (charge["state"], await cash(shop, order)) == ("voided", 0)


async def test_once_captured_it_is_cancelled_as_any_paid_order(live: Caller, shop: Shop) -> None:
    order = await authorised(live)
    await done(live, order, "capture")
    canceled = await done(live, order, "cancel")
    assert [(each["kind"], each["status"]) for each in canceled["refunds"]] == [("void", "succeeded")]
    assert [each["status"] for each in canceled["subscriptions"]] == ["canceled"]
    (charge,) = await shop.charges(order["charges"][0]["reference"])
    assert (charge["state"], await cash(shop, order)) == ("voided", 0)


async def test_where_nothing_is_due_nothing_is_authorised(live: Caller) -> None:
    free = {"description": "Leaflet", "unit_amount": 0}
    order = await ordered(live, customer_id=await customer(live, CARD), lines=[free], pay=LATER)
    assert (order["status"], order["charges"]) == ("paid", [])


async def test_a_declined_authorisation_leaves_the_order_open(live: Caller) -> None:
    order = await authorised(live, BROKE)
    assert (order["status"], order["payment"]["state"]) == ("open", "declined")
    held = await done(live, order, "pay", {"token": CARD} | LATER)
    assert held["status"] == "authorised"
    assert [each["status"] for each in held["charges"]] == ["authorised", "declined"]


async def test_what_is_gone_at_the_gateway_is_a_decline_with_its_reason(live: Caller, shop: Shop) -> None:
    order = await authorised(live)
    reference = order["charges"][0]["reference"]
    (await shop.http.post(f"{shop.stack.gateway_url}/v1/charges/{reference}/void")).raise_for_status()
    declined = await done(live, order, "capture")
    assert (declined["status"], declined["payment"]["state"]) == ("open", "declined")
    assert declined["payment"]["code"] == "authorisation_gone"
    assert (await done(live, order, "pay"))["status"] == "paid"


async def test_a_customer_who_confirms_authorises(live: Caller, shop: Shop) -> None:
    order = await authorised(live, "tok_action")
    assert (order["status"], order["payment"]["state"]) == ("paying", "action_required")
    confirmed = await shop.http.post(order["payment"]["action_url"], data={"outcome": "approve"})
    assert confirmed.status_code == 200

    async def held() -> bool:
        return (await live.get(f"/v1/orders/{order['id']}")).json()["status"] == "authorised"

    await shop.eventually(held, "the answer of the customer is found", within_s=60)
    assert await cash(shop, order) == 0
    assert (await done(live, order, "capture"))["status"] == "paid"


async def test_presses_beside_each_other_and_again_take_it_once(live: Caller, shop: Shop) -> None:
    order = await authorised(live)
    path = f"/v1/orders/{order['id']}/capture"
    same = await asyncio.gather(*(live.post(path, key=f"same-{order['id']}") for _ in range(3)))
    others = await asyncio.gather(*(live.post(path) for _ in range(3)))
    assert all(each.status_code in {200, 409} for each in same)
    assert any(each.status_code == 200 for each in same)
    assert {each.json()["code"] for each in others} == {"already_paid"}
    assert (await live.post(path, key=f"same-{order['id']}")).json()["status"] == "paid"
    (charge,) = await shop.charges(order["charges"][0]["reference"])
    assert charge["captured_amount"] == 3400
    assert [call.split()[0] for call in await shop.calls(reference=charge["reference"])].count("capture") == 1


async def test_who_is_on_the_blacklist_by_now_is_not_taken_from_and_released(live: Caller) -> None:
    order = await authorised(live)
    entry = await live.made(
        "/v1/blacklist", {"kind": "email", "value": order["customer"]["email"], "reason": "chargebacks"}
    )
    response = await live.post(f"/v1/orders/{order['id']}/capture")
    assert response.status_code == 403, response.text
    assert (await done(live, order, "release"))["status"] == "open"
    assert (await live.delete(f"/v1/blacklist/{entry['id']}")).status_code == 204
