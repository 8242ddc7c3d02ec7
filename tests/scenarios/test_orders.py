"""kill -9 between the payment of an order and what follows: one charge, one subscription for each line."""

from __future__ import annotations

import asyncio

import pytest

from domain.order_messages import OpenOrder, OrderEnvelope, Pay
from domain.order_state import Channel, OrderLine, OrderLineKind
from tests.stack_fixtures import NEW_YORK, NUMBERS, Shop

pytestmark = [pytest.mark.stack, pytest.mark.timeout(200)]


async def test_a_worker_killed_in_the_middle_of_a_payment_sells_everything_once(shop: Shop) -> None:
    customer, number = await shop.customer("tok_ok_visa"), next(NUMBERS)
    agreed = [await shop.terms(1000), await shop.terms(2500)]
    lines = tuple(
        OrderLine(
            place,
            OrderLineKind.SUBSCRIPTION,
            "Box",
            1,
            terms.unit_amount,
            terms.unit_amount,
            product_id=terms.product_id,
            price_id=terms.price_id,
            terms=terms,
        )
        for place, terms in enumerate(agreed, start=1)
    )
    order = f"ord_killed_{number}"
    await shop.commands.orders.open(
        OpenOrder(order, customer, NEW_YORK, "USD", Channel.API, "test", lines, test_mode=True)
    )
    token = await shop.token(customer)
    await shop.script(token, "hang", hang_seconds=20)
    paying = asyncio.create_task(shop.commands.orders.send(order, OrderEnvelope(f"pay-{number}", Pay(), "test")))

    async def called() -> bool:
        return bool(await shop.calls(token))

    await shop.eventually(called, "the charge is sent")
    await shop.stack.kill("worker")
    await shop.stack.restart("worker")
    await asyncio.gather(paying, return_exceptions=True)
    state = await shop.commands.orders.send(order, OrderEnvelope(f"pay-{number}", Pay(), "test"))
    assert (state.status, state.started) == ("paid", (1, 2))
    (attempt,) = await shop.rows("SELECT reference, amount, status FROM attempts WHERE order_id = :id", id=order)
    assert (attempt["status"], attempt["amount"]) == ("approved", 3500)
    assert [charge["captured_amount"] for charge in await shop.charges(attempt["reference"])] == [3500]
    started = await shop.rows("SELECT subscription_id FROM order_lines WHERE order_id = :id", id=order)
    assert len({row["subscription_id"] for row in started}) == 2
    for row in started:
        assert (await shop.subscription(row["subscription_id"]))["cycle"] == 2
        assert await shop.invoices(row["subscription_id"]) == []
