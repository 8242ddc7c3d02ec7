"""Commands at any moment: none lost, none applied twice, and who is refused is told why."""

from __future__ import annotations

import asyncio

import pytest

from domain.errors import DunlinError, NotFound, Refused, Unavailable
from domain.messages import Cancel, Envelope, ForceBill, GrantCredit, SetNotice, When
from domain.state import State
from tests.stack_fixtures import DAILY, NUMBERS, Shop, at

pytestmark = [pytest.mark.stack, pytest.mark.timeout(180)]

VISA = "tok_ok_visa"
PATIENCE = 40


async def running(shop: Shop) -> str:
    state = await shop.start(await shop.customer(VISA), await shop.terms(), start_at=at("2027-03-05", 9))
    await shop.until(state.id, at("2027-03-05", 10))
    return state.id


def credit(amount: int) -> Envelope:
    return Envelope(f"credit-{next(NUMBERS)}", GrantCredit(amount, "USD"), "test", "sorry")


async def insist(shop: Shop, subscription: str, envelope: Envelope) -> State:
    """As a good caller does: the same command under the same key until there is an answer."""
    for _ in range(PATIENCE):
        try:
            return await shop.commands.send(subscription, envelope)
        except Unavailable:
            await asyncio.sleep(0.2)
    pytest.fail("never answered")


async def granted(shop: Shop, subscription: str) -> list[int]:
    return [event["data"]["amount"] for event in await shop.events(subscription) if event["kind"] == "credit_granted"]


async def test_twenty_commands_at_once_are_each_applied_once(shop: Shop) -> None:
    sub = await running(shop)
    envelopes = [credit(1 + i) for i in range(20)]
    await asyncio.gather(*(insist(shop, sub, envelope) for envelope in envelopes))
    assert sorted(await granted(shop, sub)) == list(range(1, 21))
    assert (await shop.commands.state(sub)).credit == 210
    await shop.audit(sub)


async def test_one_key_many_times_at_once_and_again_later_is_one_command(shop: Shop) -> None:
    sub = await running(shop)
    envelope = credit(100)
    await asyncio.gather(*(insist(shop, sub, envelope) for _ in range(8)))
    for i in range(15):
        await insist(shop, sub, credit(1 + i))
    await shop.until(sub, at("2027-04-06", 9))  # by now in another run
    await insist(shop, sub, envelope)
    assert (await granted(shop, sub)).count(100) == 1
    await shop.audit(sub)


async def test_commands_while_cycles_are_billed_and_runs_change(shop: Shop) -> None:
    customer = await shop.customer(VISA)
    sub = (await shop.start(customer, await shop.terms(5000, DAILY), start_at=at("2027-03-05", 9))).id
    await shop.until(sub, at("2027-03-05", 10))
    sent: list[int] = []
    arrived = asyncio.Event()

    async def hammer(first: int) -> None:
        amount = first
        while not arrived.is_set():
            await insist(shop, sub, credit(amount))
            sent.append(amount)
            amount += 4
            await asyncio.sleep(0.05)  # a clock can only be moved between two commands

    hammers = [asyncio.create_task(hammer(first)) for first in range(1, 5)]
    for day in range(6, 14, 2):
        await shop.until(sub, at(f"2027-03-{day:02}", 10))
    arrived.set()
    await asyncio.gather(*hammers)
    assert sorted(await granted(shop, sub)) == sorted(sent)
    assert [row["cycle"] for row in await shop.invoices(sub)] == list(range(1, 9))
    used = sum(row["credit_applied"] for row in await shop.invoices(sub))
    assert (await shop.commands.state(sub)).credit + used == sum(sent)
    await shop.audit(sub)


async def test_a_command_during_a_hanging_charge_is_decided_after_it(shop: Shop) -> None:
    sub = await running(shop)
    token = await shop.token((await shop.subscription(sub))["customer_id"])
    await shop.script(token, "hang", hang_seconds=3)
    arriving = asyncio.create_task(shop.until(sub, at("2027-04-05", 9)))

    async def hanging() -> bool:
        return "charge hang" in await shop.calls(token)

    await shop.eventually(hanging, "the charge hangs")
    state = await insist(shop, sub, Envelope(f"end-{next(NUMBERS)}", Cancel(When.NOW), "test", "enough"))
    await arriving
    assert state.status == "active", "the gateway may hold money: the end waits for its answer"
    state = await shop.until(sub, at("2027-04-05", 9, 5))
    assert state.status == "canceled"
    assert (await shop.kinds(sub))[-4:] == ["outcome_unknown", "cancel_planned", "payment_succeeded", "canceled"]
    await shop.audit(sub)


async def test_of_two_that_contradict_each_other_one_is_refused_and_told_what_is_allowed(shop: Shop) -> None:
    sub = await running(shop)
    both = await asyncio.gather(*(shop.send(sub, ForceBill()) for _ in range(5)), return_exceptions=True)
    refused = [each for each in both if isinstance(each, Refused)]
    assert (len(refused), {each.code for each in refused}) == (4, {"billed_ahead"})
    assert all("cancel" in each.allowed for each in refused)
    assert [row["cycle"] for row in await shop.invoices(sub)] == [1, 2]
    await shop.audit(sub)


async def test_a_refusal_leaves_no_trace_in_the_history(shop: Shop) -> None:
    sub = await running(shop)
    await shop.send(sub, Cancel(When.NOW))
    before = await shop.history_length(sub)
    for _ in range(3):
        with pytest.raises(Refused) as refused:
            await shop.send(sub, ForceBill())
        assert refused.value.code == "not_while_canceled"
    assert await shop.history_length(sub) == before


async def test_who_is_not_there_is_not_found(shop: Shop) -> None:
    with pytest.raises(NotFound):
        await shop.send("sub_nobody", SetNotice(3))
    with pytest.raises(NotFound):
        await shop.commands.state("sub_nobody")


async def test_without_a_worker_a_command_is_unavailable_and_taken_once_when_repeated(shop: Shop) -> None:
    sub = await running(shop)
    envelope = credit(700)
    await shop.stack.stop("worker")
    waiting = [asyncio.create_task(shop.commands.send(sub, envelope)) for _ in range(3)]
    await asyncio.sleep(0.5)
    for task in waiting[1:]:
        task.cancel()
    await shop.stack.restart("worker")
    for answer in await asyncio.gather(*waiting, return_exceptions=True):
        assert isinstance(answer, State | DunlinError | asyncio.CancelledError)
    await insist(shop, sub, envelope)
    assert await granted(shop, sub) == [700]
    await shop.audit(sub)
