"""Money back, by date: voids, refunds, the queue of three days, approval, lost answers, killed workers."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from domain.errors import NotFound, Refused
from domain.messages import Cancel, RefundChoice, When
from domain.refund_messages import Approve, Decline, RefundMode, TakeOut, TryNow, UseMethod
from tests.refund_shop import AGENT, LEAD, MONDAY, Till
from tests.stack_fixtures import Shop, at

pytestmark = [pytest.mark.stack, pytest.mark.timeout(240)]


@pytest.fixture
async def till(shop: Shop) -> AsyncIterator[Till]:
    till = Till(shop)
    yield till
    await till.rules()


async def test_a_settled_charge_is_refunded_in_two_parts_and_never_above(shop: Shop, till: Till) -> None:
    sale = await till.sale(amount=1000)
    first = await till.open(sale, amount=300)
    assert (first.status, first.amount, first.kind) == ("succeeded", 300, "refund")
    with pytest.raises(Refused) as refusal:
        await till.open(sale, amount=701)
    assert refusal.value.code == "exceeds_refundable"
    assert "7.00 USD" in refusal.value.message
    rest = await till.open(sale)
    assert (rest.status, rest.amount) == ("succeeded", 700)
    assert await till.held(sale) == (1000, 1000)
    assert await till.kinds(rest.id) == ["requested", "given_back"]
    notes = await shop.rows("SELECT number, disposition FROM credit_notes WHERE invoice_id = :id", id=sale.invoice)
    prefix = sale.customer.replace("cus_", "C")
    assert sorted(note["number"] for note in notes) == [f"CN-{prefix}-0001", f"CN-{prefix}-0002"]
    await till.audit(sale)

    async def told() -> bool:
        return sum("refund" in subject for subject in await shop.mails(sale.customer)) == 2

    await shop.eventually(told, "the customer is told of both refunds")


async def test_before_settlement_there_is_a_void_and_after_it_a_refund(shop: Shop, till: Till) -> None:
    sale = await till.sale(settled=False)
    for mode, amount, code in [
        (RefundMode.REFUND, None, "not_settled"),
        (RefundMode.VOID, 400, "void_in_full_only"),
        (RefundMode.VOID_FIRST, 400, "partial_unsettled"),
    ]:
        with pytest.raises(Refused) as refusal:
            await till.open(sale, mode, amount)
        assert refusal.value.code == code
        assert "void" in refusal.value.allowed
    assert await till.held(sale) == (0, 0)
    voided = await till.open(sale, RefundMode.VOID)
    assert (voided.status, voided.kind, voided.amount) == ("succeeded", "void", 1000)
    assert (await shop.attempts(sale.subscription))[0]["settlement"] == "voided"
    await till.audit(sale)
    with pytest.raises(Refused, match="voided"):
        await till.open(sale)
    settled = await till.sale()
    with pytest.raises(Refused) as late:
        await till.open(settled, RefundMode.VOID)
    assert (late.value.code, late.value.allowed) == ("already_settled", ("refund", "void_first"))


async def test_what_went_back_is_not_credited_once_more(shop: Shop, till: Till) -> None:
    sale = await till.sale(settled=False)
    assert (await till.open(sale, RefundMode.VOID)).status == "succeeded"
    ended = await shop.send(sale.subscription, Cancel(When.NOW, RefundChoice.CREDIT))
    assert ended.credit == 0, "nothing was paid, so nothing of it is unused"
    sale = await till.sale()
    assert (await till.open(sale, amount=950)).status == "succeeded"
    ended = await shop.send(sale.subscription, Cancel(When.NOW, RefundChoice.CREDIT))
    assert ended.credit == 50
    assert (await till.open(sale)).status == "succeeded", "it can be given back after the end as well"


async def test_settlement_overtakes_the_void_and_a_refund_follows(till: Till) -> None:
    sale = await till.sale(settled=False)
    await till.script(sale, voids=["settles_first"])
    state = await till.open(sale, RefundMode.VOID_FIRST)
    assert (state.status, state.kind, state.number) == ("succeeded", "refund", 2)
    assert await till.kinds(state.id) == ["requested", "try_failed", "refund_follows", "given_back"]
    assert [(row["kind"], row["status"], row["code"]) for row in await till.tries(state.id)] == [
        ("void", "failed", "already_settled"),
        ("refund", "succeeded", None),
    ]
    await till.audit(sale)


async def test_a_refund_fails_on_four_days_and_leaves_the_queue(shop: Shop, till: Till) -> None:
    """1 to 4 March 2027: the call and three daily retries, at the same time of day in New York."""
    await till.rules(notify=["money@example.net", "lead@example.net"])
    sale = await till.sale()
    await till.script(sale, refunds_then="fail:closed_account")
    state = await till.open(sale)
    assert (state.status, state.retries) == ("queued", 0)
    assert await till.held(sale) == (1000, 1000), "what is queued is held"
    with pytest.raises(Refused) as held:
        await till.open(sale, amount=1)
    assert held.value.code == "exceeds_refundable"
    row = await till.row(state.id)
    assert at(MONDAY, 9) <= row["requested_at"] < at(MONDAY, 10), "its clock is its subscription's"
    state = await till.until(state.id, at("2027-03-05", 12))
    assert (state.status, state.retries) == ("failed", 3)
    tries = await till.tries(state.id)
    assert [(each["trigger"], each["status"]) for each in tries] == [
        ("request", "failed"), ("retry", "failed"), ("retry", "failed"), ("retry", "failed"),
    ]  # fmt: skip
    assert [(each["at"] - row["requested_at"]).days for each in tries] == [0, 1, 2, 3]
    assert await till.held(sale) == (0, 0), "what it held is free again"
    tasks = await shop.rows("SELECT * FROM tasks WHERE subject_id = :id", id=state.id)
    assert [(task["kind"], task["status"]) for task in tasks] == [("refund_exhausted", "open")]
    letters = await shop.rows("SELECT * FROM messages WHERE refund_id = :id ORDER BY recipient", id=state.id)
    assert [(each["recipient"], each["audience"]) for each in letters] == [
        ("lead@example.net", "staff"), ("money@example.net", "staff"),
    ]  # fmt: skip
    row = await till.row(state.id)
    assert "closed_account" in row["attention"]
    await till.audit(sale)
    with pytest.raises(Refused) as over:
        await till.send(state.id, TryNow())
    assert (over.value.code, over.value.allowed) == ("refund_ended", ())


async def test_a_refund_succeeds_on_the_second_day_of_the_queue(till: Till) -> None:
    sale = await till.sale()
    await till.script(sale, refunds=["fail:busy", "fail:busy", "fail:busy"])
    state = await till.open(sale, amount=600)
    state = await till.send(state.id, TryNow(), actor=AGENT)
    assert (state.status, state.retries, state.last_code) == ("queued", 0, "busy"), "a try by hand is none of the three"
    state = await till.until(state.id, at("2027-03-03", 12))
    assert (state.status, state.retries) == ("succeeded", 2)
    assert [each["trigger"] for each in await till.tries(state.id)] == ["request", "manual", "retry", "retry"]
    await till.audit(sale)


async def test_a_queued_refund_goes_to_another_card_or_is_taken_out(shop: Shop, till: Till) -> None:
    sale = await till.sale()
    other = await shop.card(sale.customer, "tok_ok_visa")
    strange = await shop.card(sale.customer, "tok_ok_mastercard")
    await till.script(sale, refunds=["fail:closed_account", "fail:busy"])
    first = await till.open(sale, amount=400)
    second = await till.open(sale, amount=500)
    first = await till.send(first.id, UseMethod(strange))
    assert (first.status, first.last_code, first.payment_method_id) == ("queued", "method_not_allowed", None)
    first = await till.send(first.id, UseMethod(other))
    assert (first.status, first.payment_method_id) == ("succeeded", other)
    assert second.status == "queued"
    second = await till.send(second.id, TakeOut(), key="out-1")
    assert second.status == "canceled"
    assert await till.send(second.id, TakeOut(), key="out-1") == second, "the same command, repeated after the end"
    assert await till.held(sale) == (400, 400)
    await till.audit(sale)


async def test_a_large_refund_waits_for_another_lead_and_lapses_without_one(till: Till) -> None:
    await till.rules(approval_limits={"USD": 500}, approval_hours=24)
    sale = await till.sale(amount=2000)
    small = await till.open(sale, amount=500)
    assert small.status == "succeeded"
    wanted, unwanted = [await till.open(sale, amount=501) for _ in range(2)]
    assert (wanted.status, unwanted.status) == ("awaiting_approval", "awaiting_approval")
    with pytest.raises(Refused) as own:
        await till.send(wanted.id, Approve(), actor=AGENT)
    assert own.value.code == "own_request"
    wanted = await till.send(wanted.id, Approve(), actor=LEAD)
    assert (wanted.status, wanted.approved_by) == ("succeeded", LEAD)
    unwanted = await till.send(unwanted.id, Decline())
    assert unwanted.status == "canceled"
    forgotten = await till.open(sale, amount=501)
    deadline = (await till.row(forgotten.id))["approval_deadline"]
    forgotten = await till.until(forgotten.id, deadline)
    assert forgotten.status == "lapsed"
    assert await till.held(sale) == (1001, 1001)
    await till.audit(sale)


async def test_a_lost_answer_is_asked_for_and_nothing_is_sent_twice(shop: Shop, till: Till) -> None:
    sale = await till.sale()
    await till.script(sale, refunds=["error_after", "error_before", "down", "pending:succeed"])
    lost = await till.open(sale, amount=100)
    assert lost.status == "unknown"
    with pytest.raises(Refused) as refusal:
        await till.send(lost.id, TakeOut())
    assert (refusal.value.code, refusal.value.allowed) == ("outcome_open", ())
    never = await till.open(sale, amount=200)
    assert never.status == "unknown"
    lost = await till.until(lost.id, at(MONDAY, 12))
    never = await till.until(never.id, at(MONDAY, 12))
    assert (lost.status, never.status) == ("succeeded", "succeeded")
    assert "never_arrived" in await till.kinds(never.id)
    calls = await shop.calls(reference=f"refund:{lost.id}:1")
    assert [call for call in calls if call.startswith("refund")] == ["refund error_after"]
    await till.audit(sale)


async def test_two_agents_at_the_same_moment_and_one_of_them_wins(till: Till) -> None:
    sale = await till.sale()
    both = await asyncio.gather(*(till.open(sale, amount=600) for _ in range(2)), return_exceptions=True)
    refused = [each for each in both if isinstance(each, Refused)]
    assert [each.code for each in refused] == ["exceeds_refundable"]
    assert sum(not isinstance(each, BaseException) for each in both) == 1
    await till.audit(sale)


async def test_the_same_wish_repeated_is_the_same_refund_and_a_refusal_stays_one(till: Till) -> None:
    sale = await till.sale()
    wish = till.wish(sale, amount=600)
    door = till.shop.commands.refunds
    first, again = await asyncio.gather(door.open(wish), door.open(wish))
    assert first == again == await door.open(wish)
    greedy = till.wish(sale, amount=600)
    for _ in range(2):
        with pytest.raises(Refused):
            await door.open(greedy)
    with pytest.raises(NotFound):
        await door.settled("ref_nobody")
    missing = till.wish(sale)
    with pytest.raises(NotFound):
        await door.open(type(missing)(missing.id, "att_nobody", missing.mode, "", AGENT))
    await till.audit(sale)


async def test_a_worker_killed_between_the_call_and_its_record_gives_nothing_twice(shop: Shop, till: Till) -> None:
    sale = await till.sale()
    await till.script(sale, refunds=["hang"], hang_seconds=20)
    wish = till.wish(sale, amount=600)
    opening = asyncio.create_task(shop.commands.refunds.open(wish))

    async def called() -> bool:
        return bool(await shop.calls(reference=f"refund:{wish.id}:1"))

    await shop.eventually(called, "the gateway has the order")
    await shop.stack.kill("worker")
    opening.cancel()
    await asyncio.gather(opening, return_exceptions=True)
    await shop.stack.restart("worker")
    state = await shop.commands.refunds.open(wish)
    assert state.status == "succeeded"
    calls = [call for call in await shop.calls(reference=f"refund:{wish.id}:1") if call.startswith("refund")]
    assert calls == ["refund hang"]
    await till.audit(sale)
