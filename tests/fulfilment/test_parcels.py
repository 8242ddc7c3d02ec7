"""A physical box each month on the real stack, with a warehouse in a process of its own: what goes out, what not."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest

from domain.fulfilment import cycle_fulfilment_id
from domain.messages import ChargeNow, GrantCredit, Skip
from tests.api.conftest import Caller
from tests.fulfilment.conftest import Depot
from tests.stack_fixtures import NUMBERS, Shop, at

pytestmark = [pytest.mark.stack, pytest.mark.timeout(180)]

VISA = "tok_ok_visa"


@pytest.fixture(autouse=True)
async def willing(depot: Depot) -> AsyncIterator[None]:
    """The warehouse takes what comes, before each test."""
    await depot.becomes("take")
    yield
    await depot.becomes("take")


async def box(shop: Shop, *tokens: str, address: bool = True, amount: int = 1900, **more: Any) -> tuple[str, str]:
    """A subscription to a box, from 5 March on, with its first cycle; subscription and customer."""
    customer = await shop.customer(*(tokens or (VISA,)))
    if address:
        await ship_to(shop, customer)
    terms = replace(await shop.terms(amount), physical=True)
    state = await shop.start(customer, terms, start_at=at("2027-03-05", 9), **more)
    await shop.until(state.id, at("2027-03-05", 10))
    return state.id, customer


async def ship_to(shop: Shop, customer: str, line: str = "1 Mill Lane") -> None:
    await shop.execute(
        "INSERT INTO addresses (id, customer_id, kind, is_default, line1, city, postal_code, country)"
        " VALUES (:id, :customer, 'shipping', true, :line, 'Ulm', '89073', 'DE')",
        id=f"adr_{next(NUMBERS)}", customer=customer, line=line,
    )  # fmt: skip


async def parcels(shop: Shop, subscription: str) -> list[dict[str, Any]]:
    return await shop.rows("SELECT * FROM fulfilments WHERE subscription_id = :id ORDER BY cycle, at", id=subscription)


async def becomes(shop: Shop, fulfilment: str, status: str, **more: Any) -> dict[str, Any]:
    """The parcel, once it is so."""

    async def so() -> bool:
        rows = await shop.rows("SELECT * FROM fulfilments WHERE id = :id", id=fulfilment)
        wanted = {"status": status} | more
        return bool(rows) and {name: rows[0][name] for name in wanted} == wanted

    await shop.eventually(so, f"{fulfilment} is {status} {more}")
    return (await shop.rows("SELECT * FROM fulfilments WHERE id = :id", id=fulfilment))[0]


async def kinds(shop: Shop, fulfilment: str) -> list[str]:
    rows = await shop.rows("SELECT kind FROM fulfilment_events WHERE fulfilment_id = :id ORDER BY seq", id=fulfilment)
    return [row["kind"] for row in rows]


async def open_tasks(shop: Shop, fulfilment: str) -> list[str]:
    rows = await shop.rows("SELECT kind, status FROM tasks WHERE subject_id = :id", id=fulfilment)
    return [row["kind"] for row in rows if row["status"] == "open"]


async def test_each_paid_month_ships_one_box_and_the_customer_is_told(shop: Shop, depot: Depot, agent: Caller) -> None:
    subscription, customer = await box(shop)
    await shop.send(subscription, Skip(1))
    await shop.until(subscription, at("2027-05-05", 10))
    sent = await parcels(shop, subscription)
    assert [row["cycle"] for row in sent] == [1, 3], "a skipped month ships nothing"
    first = await becomes(shop, sent[0]["id"], "handed_off")
    await becomes(shop, sent[1]["id"], "handed_off")
    assert first["id"] == cycle_fulfilment_id(subscription, 1)
    at_warehouse = (await depot.state())["parcels"][first["id"]]
    assert at_warehouse["address"]["line1"] == "1 Mill Lane"
    assert at_warehouse["recipient"] == "Ann"
    assert [(item["name"], item["quantity"]) for item in at_warehouse["items"]] == [("Box", 1)]
    assert await depot.calls(first["id"]) == ["fulfilment.requested"]
    said = await depot.says("shipment.shipped", first["id"], data={"carrier": "DHL", "tracking": "0034"})
    assert (said["status"], said["body"]["outcome"]) == (200, "shipped")
    again = await depot.says(
        "shipment.shipped", first["id"], data={"carrier": "DHL", "tracking": "0034"}, at="2020-01-01T00:00:00Z"
    )
    assert again["body"]["outcome"] in {"shipped", "nothing new"}
    await shop.audit(subscription)
    assert [subject for subject in await shop.mails(customer) if "on its way" in subject] == ["Box is on its way"]
    shown = (await agent.get(f"/v1/fulfilments/{first['id']}")).json()
    assert (shown["carrier"], shown["tracking"], shown["payment"]) == ("DHL", "0034", "good")
    assert shown["allowed"] == ["deliver", "return", "reship"]
    assert [each["kind"] for each in shown["events"]][:3] == ["created", "handed_off", "shipped"]
    listed = (await agent.get("/v1/fulfilments", subscription_id=subscription, status="handed_off")).json()["items"]
    assert [each["cycle"] for each in listed] == [3]
    overview = (await agent.get(f"/v1/customers/{customer}/overview")).json()
    assert [each["cycle"] for each in overview["fulfilments"]["items"]] == [3, 1]


async def test_a_box_ships_when_dunning_has_collected_it_and_never_before(shop: Shop, depot: Depot) -> None:
    customer = await shop.customer(VISA)
    await ship_to(shop, customer)
    await shop.script(await shop.token(customer), "soft:insufficient_funds", then="approve")
    terms = replace(await shop.terms(), physical=True)
    subscription = (await shop.start(customer, terms, start_at=at("2027-03-05", 9))).id
    await shop.until(subscription, at("2027-03-05", 10))
    assert await parcels(shop, subscription) == []
    await shop.until(subscription, at("2027-03-07", 10))
    assert "dunning_ended" in await shop.kinds(subscription)
    (row,) = await parcels(shop, subscription)
    assert (await becomes(shop, row["id"], "handed_off"))["cycle"] == 1
    assert await depot.calls(row["id"]) == ["fulfilment.requested"]


async def test_what_is_paid_by_credit_or_costs_nothing_ships_too_and_a_charge_by_hand_does_not(shop: Shop) -> None:
    subscription, _ = await box(shop, amount=0)
    (free,) = await parcels(shop, subscription)
    await becomes(shop, free["id"], "handed_off")
    paid, _ = await box(shop)
    await shop.send(paid, GrantCredit(1900, "USD"))
    await shop.send(paid, ChargeNow(500, "USD", "gift wrap"))
    await shop.until(paid, at("2027-04-05", 10))
    assert [row["cycle"] for row in await parcels(shop, paid)] == [1, 2]
    assert [row["amount_due"] for row in await shop.invoices(paid) if row["reason"] == "cycle"] == [1900, 0]


async def test_a_worker_killed_between_payment_and_hand_off_loses_no_box_and_doubles_none(
    shop: Shop, depot: Depot
) -> None:
    """Killed while the warehouse has taken it and has not said so, and while payments are on their way."""
    subscription, customer = await box(shop)
    token = await shop.token(customer)
    await depot.becomes("hang")
    await shop.until(subscription, at("2027-04-05", 10))
    second = cycle_fulfilment_id(subscription, 2)

    async def heard() -> bool:
        return bool(await depot.calls(second))

    await shop.eventually(heard, "the warehouse has heard of it")
    await shop.stack.kill("worker")
    await shop.stack.restart("worker")
    await shop.script(token, "hang", hang_seconds=20)
    arriving = asyncio.create_task(shop.until(subscription, at("2027-05-05", 10)))

    async def charging() -> bool:
        return len(await shop.calls(token)) >= 3

    await shop.eventually(charging, "the third charge is under way")
    await shop.stack.kill("worker")
    await depot.becomes("take")
    await shop.stack.restart("worker")
    await arriving
    await becomes(shop, second, "handed_off")
    await becomes(shop, cycle_fulfilment_id(subscription, 3), "handed_off")
    assert [row["cycle"] for row in await parcels(shop, subscription)] == [1, 2, 3]
    assert second in (await depot.state())["parcels"]
    assert len({call["key"] for call in (await depot.state())["calls"] if call["id"] == second}) == 1
    await shop.audit(subscription)


async def test_an_outage_of_the_warehouse_is_waited_for_and_seen(shop: Shop, depot: Depot, agent: Caller) -> None:
    await depot.becomes("down")
    subscription, _ = await box(shop)
    parcel = cycle_fulfilment_id(subscription, 1)

    async def seen() -> bool:
        stuck = (await agent.get("/v1/stuck")).json()["items"]
        return any(each["kind"] == "fulfilment" and each["id"] == parcel for each in stuck)

    await shop.eventually(seen, "it is among what is stuck", within_s=60)
    await depot.becomes("take")
    answer = await agent.post(f"/v1/fulfilments/{parcel}/hand-off", {"reason": "they are back"})
    assert answer.status_code == 200, answer.text
    row = await becomes(shop, parcel, "handed_off")
    assert row["attention"] is None
    assert not await seen()


async def test_without_an_address_it_waits_and_says_so(shop: Shop, depot: Depot, agent: Caller) -> None:
    subscription, customer = await box(shop, address=False)
    parcel = cycle_fulfilment_id(subscription, 1)

    async def seen() -> bool:
        stuck = (await agent.get("/v1/stuck")).json()["items"]
        return [each["why"] for each in stuck if each["id"] == parcel] == ["the customer has no address to ship to"]

    await shop.eventually(seen, "it is among what is stuck")
    await shop.execute(
        "INSERT INTO addresses (id, customer_id, kind, line1, city, country)"
        " VALUES (:id, :customer, 'billing', '2 Road', 'Ulm', 'DE')",
        id=f"adr_{next(NUMBERS)}", customer=customer,
    )  # fmt: skip
    await agent.post(f"/v1/fulfilments/{parcel}/hand-off")
    row = await becomes(shop, parcel, "handed_off")
    assert row["address"]["line1"] == "2 Road", "the billing address, for want of another"
    assert await depot.calls(parcel) == ["fulfilment.requested"]


async def test_a_refused_parcel_waits_for_a_person(shop: Shop, depot: Depot, agent: Caller) -> None:
    await depot.becomes("refuse")
    subscription, _ = await box(shop)
    parcel = cycle_fulfilment_id(subscription, 1)
    row = await becomes(shop, parcel, "pending", attention="webhook does not take it: the provider answered 422")
    assert row["handed_off_at"] is None
    answer = await agent.post(f"/v1/fulfilments/{parcel}/ship", {"carrier": "by hand"})
    assert (answer.status_code, answer.json()["status"]) == (200, "shipped")
    assert answer.json()["events"][-1]["actor"].startswith("ann")


async def test_a_void_before_hand_off_ships_nothing(shop: Shop, depot: Depot, agent: Caller) -> None:
    subscription, _ = await box(shop, address=False)
    parcel = cycle_fulfilment_id(subscription, 1)
    (charge,) = await shop.attempts(subscription)
    answer = await agent.post(f"/v1/charges/{charge['id']}/void", {"reason": "by mistake"})
    assert answer.json()["status"] == "succeeded", answer.text
    row = await becomes(shop, parcel, "stopped", withdrawal="none")
    assert row["reason"] == "its payment is voided"
    ship = await agent.post(f"/v1/fulfilments/{parcel}/ship", {"carrier": "by hand"})
    assert (ship.status_code, ship.json()["code"], ship.json()["allowed"]) == (409, "wrong_state", [])
    again = await agent.post(f"/v1/fulfilments/{parcel}/reship", {"reason": "they asked"})
    assert (again.status_code, again.json()["code"]) == (409, "payment_not_good")
    assert await depot.calls(parcel) == []


async def test_a_void_after_hand_off_asks_for_it_back_and_closes_its_task(
    shop: Shop, depot: Depot, agent: Caller
) -> None:
    subscription, _ = await box(shop)
    parcel = cycle_fulfilment_id(subscription, 1)
    await becomes(shop, parcel, "handed_off")
    (charge,) = await shop.attempts(subscription)
    await agent.post(f"/v1/charges/{charge['id']}/void", {"reason": "by mistake"})
    await becomes(shop, parcel, "stopped", withdrawal="done")
    assert (await depot.state())["withdrawn"][parcel] == "its payment is voided"
    assert await open_tasks(shop, parcel) == []
    assert await kinds(shop, parcel) == ["created", "handed_off", "stopped", "withdrawal_done"]


async def test_an_opened_dispute_asks_for_it_back_and_where_that_is_too_late_a_person_is_asked(
    shop: Shop, depot: Depot
) -> None:
    subscription, _ = await box(shop)
    parcel = cycle_fulfilment_id(subscription, 1)
    await becomes(shop, parcel, "handed_off")
    await depot.becomes("late")
    (paid,) = await shop.attempts(subscription)
    body = {"charge": paid["reference"]}
    (await shop.http.post(f"{shop.stack.gateway_url}/control/disputes", json=body)).raise_for_status()
    await becomes(shop, parcel, "handed_off", withdrawal="refused")
    assert await open_tasks(shop, parcel) == ["fulfilment_withdrawal"]
    assert await depot.calls(parcel) == ["fulfilment.requested", "fulfilment.withdrawn"]


async def test_a_dispute_that_is_won_lets_it_be_shipped_again(shop: Shop, depot: Depot, agent: Caller) -> None:
    subscription, _ = await box(shop, address=False)
    parcel = cycle_fulfilment_id(subscription, 1)
    (paid,) = await shop.attempts(subscription)
    control = f"{shop.stack.gateway_url}/control/disputes"
    dispute = (await shop.http.post(control, json={"charge": paid["reference"]})).json()["id"]
    await becomes(shop, parcel, "stopped")
    await ship_to(shop, (await shop.subscription(subscription))["customer_id"])
    refused = await agent.post(f"/v1/fulfilments/{parcel}/reship", {"reason": "too early"})
    assert refused.status_code == 409
    (await shop.http.post(f"{control}/{dispute}/won")).raise_for_status()

    async def good() -> bool:
        return (await agent.get(f"/v1/fulfilments/{parcel}")).json()["payment"] == "good"

    await shop.eventually(good, "the dispute is won")
    new = (await agent.post(f"/v1/fulfilments/{parcel}/reship", {"reason": "the bank found for us"})).json()
    await becomes(shop, new["id"], "handed_off")
    assert await depot.calls(new["id"]) == ["fulfilment.requested"]


async def test_reship_and_cancel_say_who_and_why_and_happen_once(shop: Shop, depot: Depot, agent: Caller) -> None:
    subscription, _ = await box(shop)
    parcel = cycle_fulfilment_id(subscription, 1)
    await becomes(shop, parcel, "handed_off")
    await depot.says("shipment.shipped", parcel, data={"carrier": "DHL", "tracking": "1"})
    first, second = await asyncio.gather(
        agent.post(f"/v1/fulfilments/{parcel}/reship", {"reason": "lost on its way"}, key=f"r-{parcel}"),
        agent.post(f"/v1/fulfilments/{parcel}/reship", {"reason": "lost on its way"}),
    )
    answers = sorted([first, second], key=lambda each: each.status_code)
    assert [each.status_code for each in answers] == [200, 409]
    new = answers[0].json()
    assert (new["replaces_id"], new["cycle"], new["events"][0]["reason"]) == (parcel, 1, "lost on its way")
    old = (await agent.get(f"/v1/fulfilments/{parcel}")).json()
    assert old["replaced_by"] == new["id"]
    assert old["events"][-1]["kind"] == "reshipped"
    await becomes(shop, new["id"], "handed_off")
    assert (await depot.state())["parcels"][new["id"]]["replaces"] == parcel
    canceled = await agent.post(f"/v1/fulfilments/{new['id']}/cancel", {"reason": "the first one turned up"})
    assert canceled.json()["status"] == "canceled"
    assert canceled.json()["events"][-1]["reason"] == "the first one turned up"
    await becomes(shop, new["id"], "canceled", withdrawal="done")
    again = await agent.post(f"/v1/fulfilments/{new['id']}/cancel", {"reason": "once more"})
    assert (again.status_code, again.json()["allowed"]) == (409, ["reship"])


async def test_words_twice_and_in_the_wrong_order_and_forged_ones(shop: Shop, depot: Depot) -> None:
    subscription, customer = await box(shop)
    parcel = cycle_fulfilment_id(subscription, 1)
    await becomes(shop, parcel, "handed_off")
    forged = await depot.says("shipment.delivered", parcel, forged=True)
    old = await depot.says("shipment.delivered", parcel, age_seconds=600)
    assert (forged["status"], old["status"]) == (401, 401)
    unknown = await depot.says("shipment.delivered", "ful_nothing")
    assert (unknown["status"], unknown["body"]["errors"][0]["field"]) == (422, "data.fulfilment_id")
    ignored = await depot.says("shipment.weighed", parcel)
    assert ignored["body"]["outcome"] == "ignored"
    assert (await becomes(shop, parcel, "handed_off"))["event_seq"] == 2
    words: list[tuple[str, str, dict[str, str]]] = [
        ("shipment.delivered", "2027-03-08T10:00:00Z", {}),
        ("shipment.shipped", "2027-03-06T10:00:00Z", {"carrier": "DHL", "tracking": "1"}),
        ("shipment.shipped", "2027-03-06T10:00:00Z", {"carrier": "DHL", "tracking": "1"}),
        ("shipment.delivered", "2027-03-08T10:00:00Z", {}),
    ]
    said = [await depot.says(kind, parcel, at=moment, data=data) for kind, moment, data in words]
    assert [each["body"]["outcome"] for each in said] == ["delivered", "delivered", "nothing new", "nothing new"]
    row = await becomes(shop, parcel, "delivered", tracking="1")
    assert row["shipped_at"] < row["delivered_at"]
    assert not [subject for subject in await shop.mails(customer) if "on its way" in subject], "it is there already"
