"""kill -9 at bad moments: afterwards nothing is lost and nothing is doubled."""

from __future__ import annotations

import asyncio
import random
from datetime import UTC, datetime, timedelta
from functools import partial

import pytest

from domain.messages import Cancel, Envelope, ForceBill, When
from tests.stack_fixtures import NUMBERS, Shop, at, audit_all

pytestmark = [pytest.mark.stack, pytest.mark.timeout(300)]

VISA = "tok_ok_visa"


async def until_called(shop: Shop, token: str, calls: int) -> None:
    async def called() -> bool:
        return len(await shop.calls(token)) >= calls

    await shop.eventually(called, f"call {calls} for {token}")


async def test_a_cancellation_sent_while_no_worker_lives_waits_for_the_charge_it_interrupted(shop: Shop) -> None:
    customer = await shop.customer(VISA)
    sub = (await shop.start(customer, await shop.terms(), start_at=at("2027-03-05", 9))).id
    await shop.until(sub, at("2027-03-05", 10))
    token = await shop.token(customer)
    await shop.script(token, "hang", hang_seconds=30)
    arriving = asyncio.create_task(shop.until(sub, at("2027-04-05", 9)))
    await until_called(shop, token, 2)
    await shop.stack.kill("worker")
    cancelling = asyncio.create_task(shop.send(sub, Cancel(When.NOW), reason="had enough"))
    await asyncio.sleep(0.5)
    await shop.stack.restart("worker")
    state = await cancelling
    await arriving
    assert state.status == "canceled"
    assert [row["status"] for row in await shop.invoices(sub)] == ["paid", "paid"]
    assert await shop.kinds(sub) == [
        "created", "started", "invoice_issued", "payment_succeeded", "access_started",
        "invoice_issued", "payment_succeeded", "canceled",
    ]  # fmt: skip
    await shop.audit(sub)


async def test_a_forced_charge_whose_worker_and_caller_die_is_finished_all_the_same(shop: Shop) -> None:
    customer = await shop.customer(VISA)
    sub = (await shop.start(customer, await shop.terms(), start_at=at("2027-03-05", 9))).id
    await shop.until(sub, at("2027-03-05", 10))
    token = await shop.token(customer)
    await shop.script(token, "hang", hang_seconds=30)
    envelope = Envelope(f"force-{next(NUMBERS)}", ForceBill(), "test")
    forcing = asyncio.create_task(shop.commands.send(sub, envelope))
    await until_called(shop, token, 2)
    await shop.stack.kill("worker")
    forcing.cancel()
    await asyncio.gather(forcing, return_exceptions=True)
    await shop.stack.kill("temporal")
    await shop.stack.restart("temporal")
    await shop.stack.restart("worker")

    async def paid() -> bool:
        return [row["status"] for row in await shop.invoices(sub)] == ["paid", "paid"]

    await shop.eventually(paid, "the forced invoice is paid")
    state = await shop.commands.send(sub, envelope)
    assert state.cycle == 3
    await shop.until(sub, at("2027-05-05", 9))
    assert [row["cycle"] for row in await shop.invoices(sub)] == [1, 2, 3]
    await shop.audit(sub)


# The great one: many charges under way, everything killed in turn.

FLOCK = 48
KILLED: list[str] = []
SEED = 20270305


async def flock(shop: Shop) -> list[str]:
    """Subscriptions on the wall clock that all fall due in a few seconds; a third of their cards makes trouble."""
    terms = await shop.terms(1000)
    due = datetime.now(UTC).replace(microsecond=0) + timedelta(seconds=8)

    async def one(number: int) -> str:
        customer = await shop.customer(VISA)
        if number % 3 == 0:
            await shop.script(
                await shop.token(customer), ["hang", "error_after", "down"][number % 9 // 3], hang_seconds=3
            )
        state = await shop.start(customer, terms, start_at=due, test_mode=False)
        return state.id

    gate = asyncio.Semaphore(8)

    async def gently(number: int) -> str:
        async with gate:
            return await one(number)

    KILLED.extend(await asyncio.gather(*(gently(number) for number in range(FLOCK))))
    return list(KILLED)


async def all_paid(shop: Shop, subscriptions: list[str]) -> bool:
    rows = await shop.rows(
        "SELECT count(*) AS paid FROM invoices WHERE subscription_id = ANY(:ids) AND status = 'paid'", ids=subscriptions
    )
    return rows[0]["paid"] == len(subscriptions)


async def test_killed_in_the_middle_of_many_charges(shop: Shop) -> None:
    moments = random.Random(SEED)  # noqa: S311 - the same moments each time
    subscriptions = await flock(shop)

    async def begun() -> bool:
        return bool(
            await shop.rows("SELECT 1 FROM attempts WHERE subscription_id = ANY(:ids) LIMIT 1", ids=subscriptions)
        )

    await shop.eventually(begun, "the first charge")
    for victim in ("worker", "postgres", "worker", "gateway", "worker", "temporal", "worker"):
        await asyncio.sleep(moments.uniform(0.0, 0.4))
        await shop.stack.kill(victim)
        await asyncio.sleep(moments.uniform(0.0, 0.5))
        await shop.stack.restart(victim)
    # A parked charge is tried again after a minute, a lost answer is asked for after half a minute.
    await shop.eventually(partial(all_paid, shop, subscriptions), "every invoice is paid", within_s=200)
    for subscription in subscriptions:
        invoices = await shop.invoices(subscription)
        assert [(row["cycle"], row["status"]) for row in invoices] == [(1, "paid")]
    await audit_all(shop, subscriptions)
    sums = await shop.rows("SELECT currency, sum(amount)::bigint AS sum FROM ledger_postings GROUP BY currency")
    assert {row["sum"] for row in sums} == {0}, sums


async def test_what_was_charged_in_all_this_is_what_the_gateway_took(shop: Shop) -> None:
    """After all that was done to it in this file; charges whose outcome is open would be the only difference."""
    ours, theirs = 0, 0
    for row in await shop.rows(
        "SELECT reference, amount, status FROM attempts WHERE subscription_id = ANY(:ids)", ids=KILLED
    ):
        ours += row["amount"] if row["status"] == "approved" else 0
        if row["status"] not in {"unknown", "pending"}:
            theirs += sum(charge["captured_amount"] for charge in await shop.charges(row["reference"]))
    assert ours == theirs > 0
