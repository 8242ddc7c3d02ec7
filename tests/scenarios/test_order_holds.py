"""An order that is authorised and captured later, on the real engine: killed in the middle, and left to run out."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

import pytest

from domain.order_holds import HOLD_TIME, RAN_OUT, RUNS_OUT
from domain.order_messages import (
    CaptureOrder,
    OpenOrder,
    OrderCommand,
    OrderEnvelope,
    Pay,
    ReleaseOrder,
)
from domain.order_state import Channel, OrderLine, OrderLineKind, OrderState
from models.queries_operations import stuck
from tests.stack_fixtures import NEW_YORK, NUMBERS, Shop
from workflows.inputs import OrderInput
from workflows.order import OrderWorkflow
from workflows.order_commands import order_workflow_id
from workflows.time_travel import TimeTravel

pytestmark = [pytest.mark.stack, pytest.mark.timeout(200)]

AMOUNT = 1000


async def wanted(shop: Shop) -> OpenOrder:
    customer, number = await shop.customer("tok_ok_visa"), next(NUMBERS)
    terms = await shop.terms(AMOUNT)
    line = OrderLine(
        1, OrderLineKind.SUBSCRIPTION, "Box", 1, AMOUNT, AMOUNT, product_id=terms.product_id, price_id=terms.price_id,
        terms=terms,
    )  # fmt: skip
    return OpenOrder(f"ord_held_{number}", customer, NEW_YORK, "USD", Channel.API, "test", (line,), test_mode=True)


async def send(shop: Shop, order: str, command: OrderCommand, key: str | None = None) -> OrderState:
    envelope = OrderEnvelope(key or f"key-{next(NUMBERS)}", command, "test")
    return await shop.commands.orders.send(order, envelope)


async def attempt(shop: Shop, order: str) -> dict[str, Any]:
    (row,) = await shop.rows("SELECT * FROM attempts WHERE order_id = :id", id=order)
    return row


async def script(shop: Shop, reference: str, **outcomes: Any) -> None:
    answer = await shop.http.put(
        f"{shop.stack.gateway_url}/control/returns/{reference}/script", json={"hang_seconds": 20} | outcomes
    )
    answer.raise_for_status()


async def state_there(shop: Shop, reference: str) -> str:
    (charge,) = await shop.charges(reference)
    return charge["state"]


async def test_a_worker_killed_between_capture_and_record_takes_it_once(shop: Shop) -> None:
    order = (await shop.commands.orders.open(await wanted(shop))).id
    assert (await send(shop, order, Pay(hold=True))).status == "authorised"
    reference = (await attempt(shop, order))["reference"]
    await script(shop, reference, captures=["hang"])
    taking = asyncio.create_task(send(shop, order, CaptureOrder(), "take"))

    async def taken() -> bool:
        return await state_there(shop, reference) == "captured"

    await shop.eventually(taken, "the gateway has taken it")
    await shop.stack.kill("worker")
    assert (await attempt(shop, order))["status"] == "capturing", "it is not in our books yet"
    await shop.stack.restart("worker")
    await asyncio.gather(taking, return_exceptions=True)
    state = await send(shop, order, CaptureOrder(), "take")
    assert (state.status, state.started) == ("paid", (1,))
    row = await attempt(shop, order)
    assert (row["status"], row["settlement"]) == ("approved", "pending")
    calls = [call.split()[0] for call in await shop.calls(reference=reference)]
    assert calls.count("capture") == 1, "what was lost is looked up, and not sent again"
    (charge,) = await shop.charges(reference)
    assert charge["captured_amount"] == AMOUNT
    paid = await shop.rows("SELECT kind FROM order_events WHERE order_id = :id AND kind = 'order_paid'", id=order)
    assert len(paid) == 1
    (line,) = await shop.rows("SELECT subscription_id FROM order_lines WHERE order_id = :id", id=order)
    assert (await shop.subscription(line["subscription_id"]))["cycle"] == 2


async def test_a_worker_killed_in_a_release_gives_it_back_once(shop: Shop) -> None:
    order = (await shop.commands.orders.open(await wanted(shop))).id
    await send(shop, order, Pay(hold=True))
    reference = (await attempt(shop, order))["reference"]
    await script(shop, reference, voids=["hang"])
    giving = asyncio.create_task(send(shop, order, ReleaseOrder(), "give"))

    async def given() -> bool:
        return await state_there(shop, reference) == "voided"

    await shop.eventually(given, "the gateway has given it back")
    await shop.stack.kill("worker")
    await shop.stack.restart("worker")
    await asyncio.gather(giving, return_exceptions=True)
    assert (await send(shop, order, ReleaseOrder(), "give")).status == "open"
    assert (await attempt(shop, order))["status"] == "released"


async def test_two_who_capture_at_once_take_it_once(shop: Shop) -> None:
    order = (await shop.commands.orders.open(await wanted(shop))).id
    await send(shop, order, Pay(hold=True))
    told = await asyncio.gather(*(send(shop, order, CaptureOrder()) for _ in range(3)), return_exceptions=True)
    codes = sorted(getattr(each, "code", "taken") for each in told)
    assert codes == ["already_paid", "already_paid", "taken"]
    (charge,) = await shop.charges((await attempt(shop, order))["reference"])
    assert charge["captured_amount"] == AMOUNT


async def test_nobody_captures_it_and_the_engine_gives_it_back_by_itself(shop: Shop) -> None:
    """The workflow's own timer, in virtual time."""
    opening, travel = await wanted(shop), TimeTravel(shop.client)
    handle = await travel.client.start_workflow(
        OrderWorkflow.run,
        OrderInput(wanted=opening),
        id=order_workflow_id(opening.id),
        task_queue=shop.stack.settings.temporal_task_queue,
    )
    assert (await send(shop, opening.id, Pay(hold=True))).status == "authorised"
    reference = (await attempt(shop, opening.id))["reference"]
    await travel.advance(handle, HOLD_TIME - timedelta(hours=1))
    assert (await shop.commands.orders.settled(opening.id)).status == "authorised"
    (row,) = await shop.rows("SELECT attention FROM orders WHERE id = :id", id=opening.id)
    assert row["attention"] == RUNS_OUT
    await travel.advance(handle, timedelta(hours=2))
    assert (await shop.commands.orders.settled(opening.id)).status == "open"
    assert await state_there(shop, reference) == "voided"
    (row,) = await shop.rows("SELECT status, attention FROM orders WHERE id = :id", id=opening.id)
    assert (row["status"], row["attention"]) == ("open", RAN_OUT)
    kinds = await shop.rows("SELECT kind FROM order_events WHERE order_id = :id ORDER BY seq", id=opening.id)
    ended = ["authorisation_ending", "authorisation_expired", "authorisation_released"]
    assert [each["kind"] for each in kinds][-3:] == ended
    async with shop.database.session() as session:
        waiting = await stuck(session, limit=1000, older_than_minutes=0)
    assert [each.why for each in waiting if (each.kind, each.id) == ("order", opening.id)] == [RAN_OUT]
    begun = await shop.rows("SELECT id FROM subscriptions WHERE customer_id = :id", id=opening.customer_id)
    assert begun == [], "nothing began without money"
    assert (await send(shop, opening.id, Pay())).status == "paid"
    (row,) = await shop.rows("SELECT attention FROM orders WHERE id = :id", id=opening.id)
    assert row["attention"] is None
