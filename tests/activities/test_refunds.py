"""Every activity of a refund twice, cut short anywhere, and many at once: the money goes back once.

The cuts are made at the seams that the activities have anyway: a transaction, a call at the gateway, the courier.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any, cast

import pytest
from temporalio.testing import ActivityEnvironment

from activities.refund_books import note_id
from activities.refunds import OpenRequest, RefundRequest, Refunds
from domain.business import RefundRules
from domain.errors import Broken
from domain.paid_back import PaidBack
from domain.refund_commands import handle
from domain.refund_messages import (
    OpenRefund,
    RefundEnvelope,
    RefundFact,
    RefundMode,
    RefundResult,
    RefundTimePassed,
    Returned,
    ReturnFailed,
    ReturnNeverArrived,
    ReturnTaken,
    ReturnUnknown,
    TakeOut,
)
from domain.refund_state import RefundPhase, RefundState
from domain.refunds import apply
from domain.state import InvoiceReason
from models.session import Database
from providers.gateways.base import Gateway, Given, RefundOrder
from providers.gateways.registry import OpenGateway, open_gateway
from tests.activities.test_twice import CutDatabase, CutGateway, Pouch, Scissors
from tests.refund_shop import Sale, Till
from tests.stack_fixtures import Shop

pytestmark = [pytest.mark.stack, pytest.mark.timeout(120)]

WALL = datetime(2026, 1, 5, 14, tzinfo=UTC)
SEAMS_MAX = 30
NO_RULES = RefundRules()


class CutReturns(CutGateway):
    """A real gateway, cut off before a return or after it."""

    async def refund(self, order: RefundOrder) -> Given:
        self._scissors.snip()
        try:
            return await self._gateway.refund(order)
        finally:
            self._scissors.snip()

    async def void_sale(self, sale: str) -> Given:
        self._scissors.snip()
        try:
            return await self._gateway.void_sale(sale)
        finally:
            self._scissors.snip()

    async def find_refund(self, reference: str) -> Given:
        self._scissors.snip()
        return await self._gateway.find_refund(reference)


class Ear:
    """Hears what went back; cut off before or after."""

    def __init__(self, scissors: Scissors, heard: list[PaidBack]) -> None:
        self._scissors = scissors
        self._heard = heard

    async def paid_back(self, subscription_id: str, told: PaidBack) -> None:
        self._scissors.snip()
        assert (told.cycle, told.reason, subscription_id[:4]) == (1, InvoiceReason.CYCLE, "sub_")
        self._heard.append(told)
        self._scissors.snip()


class Bench:
    """The activities on the shop's database and gateway, without a workflow: a test is the workflow."""

    def __init__(self, till: Till, gateway: OpenGateway) -> None:
        self.till = till
        self.gateway = gateway
        self.dispatched: list[str] = []
        self.told: list[PaidBack] = []

    async def run(self, request: Any, kind: str, at: int | None = None) -> tuple[Any, int]:
        """Run a step, cut at a seam; its outcome (None if it was cut) and how many seams it has."""
        scissors = Scissors(at)
        database = cast("Database", CutDatabase(self.till.shop.database, scissors))
        gateway, pouch = CutReturns(self.gateway, scissors), Pouch(scissors)
        refunds = Refunds(database, lambda _: cast("Gateway", gateway), pouch, Ear(scissors, self.told))
        steps: dict[str, Any] = {
            "open": refunds.open_refund,
            "give": refunds.give_back,
            "ask": refunds.ask_return,
            "record": refunds.record_refund,
        }
        try:
            outcome = await ActivityEnvironment().run(steps[kind], request)
        except Exception as error:
            if type(error).__name__ == "Cut":
                return None, scissors.passed
            raise
        finally:
            self.dispatched += pouch.ids
        return outcome, scissors.passed

    async def opened(self, sale: Sale, mode: RefundMode = RefundMode.REFUND, amount: int | None = 600) -> RefundRequest:
        """A refund that is about to be tried."""
        result, _ = await self.run(OpenRequest(self.till.wish(sale, mode, amount), WALL), "open")
        state = cast("RefundResult", result).state
        assert state is not None
        return RefundRequest(state, state.requested_at)

    async def agrees(self, before: RefundRequest, fact: RefundFact) -> RefundState:
        """The books hold exactly what the workflow takes from this outcome, and every letter was handed over."""
        state = apply(before.state, fact, before.now)
        rows = await self.till.shop.rows("SELECT * FROM refund_events WHERE refund_id = :id", id=state.id)
        told = {row["seq"]: row for row in rows}
        for entry in state.journal:
            assert (told[entry.seq]["kind"], told[entry.seq]["data"]) == (entry.kind, entry.data)
        assert len(told) == state.seq
        row = await self.till.row(state.id)
        assert (row["status"], row["event_seq"], row["retries"]) == (state.status, state.seq, state.retries)
        letters = await self.till.shop.rows("SELECT id FROM messages WHERE refund_id = :id", id=state.id)
        assert {letter["id"] for letter in letters} <= set(self.dispatched)
        heard = {told.amount for told in self.told if told.id == note_id(state)}
        assert heard == ({state.amount} if isinstance(fact, Returned) else set()), "the subscription has heard of it"
        return state


@pytest.fixture
async def bench(shop: Shop) -> AsyncIterator[Bench]:
    gateway = open_gateway("sandbox", shop.stack.gateway_url, timeout_s=1, calls_per_second_max=1000)
    till = Till(shop)
    yield Bench(till, gateway)
    await till.rules()
    await gateway.aclose()


async def calls(bench: Bench, state: RefundState) -> list[str]:
    """The refunds that the gateway carried out or refused under this try's name."""
    log = await bench.till.shop.calls(reference=f"refund:{state.id}:{state.number}")
    done = [call for call in log if call.startswith("refund") and call not in {"refund down", "refund error_before"}]
    return [call for call in done if call != "refund replay"]


async def test_an_opening_cut_at_every_seam_and_run_again_holds_once(bench: Bench) -> None:
    sale, cut, seams = await bench.till.sale(), 0, 0
    while cut < SEAMS_MAX:
        request = OpenRequest(bench.till.wish(sale, amount=10), WALL)
        first, seams = await bench.run(request, "open", at=cut)
        again, _ = await bench.run(request, "open")
        assert again.state is not None
        assert first in {None, again}
        assert await bench.till.held(sale) == (10 * (cut + 1), 10 * (cut + 1))
        assert await bench.till.kinds(request.wanted.id) == ["requested"]
        cut += 1
        if first is not None:
            break
    assert cut - 1 == seams == 3


async def test_many_openings_at_once_hold_no_more_than_there_is(bench: Bench) -> None:
    sale = await bench.till.sale(amount=1000)
    wishes = [OpenRequest(bench.till.wish(sale, amount=300), WALL) for _ in range(6)]
    results = [result for result, _ in await asyncio.gather(*(bench.run(each, "open") for each in wishes))]
    assert Counter(result.refusal.code if result.refusal else "opened" for result in results) == {
        "opened": 3,
        "exceeds_refundable": 3,
    }
    assert await bench.till.held(sale) == (900, 900)
    refused = next(each for each, result in zip(wishes, results, strict=True) if result.refusal)
    rows = await bench.till.shop.rows("SELECT id FROM refunds WHERE id = :id", id=refused.wanted.id)
    assert rows == [], "a refused wish leaves nothing"


async def test_the_same_opening_many_times_at_once_is_one(bench: Bench) -> None:
    sale = await bench.till.sale()
    request = OpenRequest(bench.till.wish(sale, amount=300), WALL)
    results = await asyncio.gather(*(bench.run(request, "open") for _ in range(5)))
    assert all(result == results[0][0] for result, _ in results)
    assert await bench.till.held(sale) == (300, 300)


async def test_an_opening_reads_what_the_database_knows_of_the_charge(bench: Bench) -> None:
    till = bench.till
    sale, shop = await till.sale(), till.shop
    mine, strange = await shop.card(sale.customer, "tok_ok_visa"), await shop.card(await shop.customer(), "tok_ok_visa")
    removed = await shop.card(sale.customer, "tok_ok_visa")
    await shop.execute("UPDATE payment_methods SET removed_at = now() WHERE id = :id", id=removed)

    async def code(**wanted: Any) -> str | None:
        result, _ = await bench.run(OpenRequest(till.wish(sale, amount=1, **wanted), WALL), "open")
        return result.refusal.code if result.refusal else None

    assert await code(payment_method_id=mine) is None
    assert await code(payment_method_id=strange) == "method_not_allowed"
    assert await code(payment_method_id=removed) == "method_not_allowed"
    dispute = await till.dispute(sale)
    assert await code() == "disputed"
    await shop.execute("UPDATE disputes SET status = 'won' WHERE id = :id", id=dispute)
    assert await code() is None
    await shop.execute("UPDATE invoices SET credited = 990 WHERE id = :id", id=sale.invoice)
    result, _ = await bench.run(OpenRequest(till.wish(sale, amount=11), WALL), "open")
    assert result.refusal.code == "exceeds_refundable", "what is credited on account cannot go to the card as well"
    result, _ = await bench.run(OpenRequest(till.wish(sale), WALL), "open")
    assert result.state.amount == 10
    missing = OpenRefund("ref_x", "att_nobody", RefundMode.REFUND, "", "anna")
    result, _ = await bench.run(OpenRequest(missing, WALL), "open")
    assert result.refusal.code == "not_found"


async def test_an_opening_repeated_long_after_says_how_the_refund_ended(bench: Bench) -> None:
    sale = await bench.till.sale()
    request = OpenRequest(bench.till.wish(sale, amount=300), WALL)
    result, _ = await bench.run(request, "open")
    giving = RefundRequest(result.state, result.state.requested_at)
    fact, _ = await bench.run(giving, "give")
    again, _ = await bench.run(request, "open")
    assert again.state.phase is RefundPhase.SUCCEEDED
    assert again.state.seq == apply(giving.state, fact, giving.now).seq
    lost = OpenRequest(bench.till.wish(sale, amount=300), WALL)
    result, _ = await bench.run(lost, "open")
    await bench.till.script(sale, refunds=["error_before"])
    await bench.run(RefundRequest(result.state, result.state.requested_at), "give")
    with pytest.raises(Broken, match="without its workflow"):
        await bench.run(lost, "open")


OUTCOMES = ["succeed", "fail:busy", "down", "error_after", "error_before", "pending"]


@pytest.mark.parametrize("outcome", OUTCOMES)
async def test_a_refund_cut_at_every_seam_and_run_again(bench: Bench, outcome: str) -> None:
    seams = cut = 0
    sale = await bench.till.sale(amount=100_000)
    while cut < SEAMS_MAX:
        request = await bench.opened(sale)
        await bench.till.script(sale, refunds=[outcome])
        first, seams = await bench.run(request, "give", at=cut)
        if first is not None:
            break
        again, _ = await bench.run(request, "give")
        assert again is not None
        await bench.agrees(request, again)
        assert len(await calls(bench, request.state)) <= 1
        notes = await bench.till.shop.rows("SELECT id FROM credit_notes WHERE refund_id = :id", id=request.state.id)
        assert len(notes) == isinstance(again, Returned)
        cut += 1
    assert cut == seams, "cut at every seam"
    assert cut > 8


@pytest.mark.parametrize("outcome", ["succeed", "fail:busy", "settles_first", "error_after", "error_before"])
async def test_a_void_cut_anywhere_and_run_again(bench: Bench, outcome: str) -> None:
    for cut in (1, 4, 5, 7):
        sale = await bench.till.sale(settled=False)
        request = await bench.opened(sale, RefundMode.VOID_FIRST, None)
        await bench.till.script(sale, voids=[outcome])
        await bench.run(request, "give", at=cut)
        again, _ = await bench.run(request, "give")
        state = await bench.agrees(request, again)
        row = (await bench.till.shop.attempts(sale.subscription))[0]
        assert (row["settlement"] == "voided") == (state.status == "succeeded")
        if state.status == "succeeded":
            await bench.till.audit(sale)


async def test_a_refund_run_three_times_says_the_same_although_the_world_moves_on(bench: Bench) -> None:
    sale = await bench.till.sale(amount=10_000)
    for outcome in OUTCOMES:
        request = await bench.opened(sale)
        await bench.till.script(sale, refunds=[outcome], refunds_then="fail:later")
        first, _ = await bench.run(request, "give")
        for _ in range(2):
            again, _ = await bench.run(request, "give")
            assert apply(request.state, again, request.now) == apply(request.state, first, request.now), outcome
        await bench.agrees(request, first)


async def test_two_tries_at_the_same_moment(bench: Bench) -> None:
    sale = await bench.till.sale(amount=10_000)
    for outcome in OUTCOMES:
        request = await bench.opened(sale)
        await bench.till.script(sale, refunds=[outcome])
        both = await asyncio.gather(*(bench.run(request, "give") for _ in range(3)), return_exceptions=True)
        # One may find that another was first; Temporal then runs it again.
        assert any(isinstance(each, tuple) for each in both)
        again, _ = await bench.run(request, "give")
        await bench.agrees(request, again)
        assert len(await calls(bench, request.state)) <= 1


@pytest.mark.parametrize("outcome", ["error_after", "error_before", "pending", "pending:fail:late"])
async def test_a_look_up_cut_at_every_seam_and_run_again(bench: Bench, outcome: str) -> None:
    seams = cut = 0
    sale = await bench.till.sale(amount=100_000)
    wanted = {"error_after": Returned, "error_before": ReturnNeverArrived, "pending": ReturnTaken}
    while cut < SEAMS_MAX:
        request = await bench.opened(sale)
        await bench.till.script(sale, refunds=[outcome])
        open_, _ = await bench.run(request, "give")
        assert isinstance(open_, ReturnUnknown | ReturnTaken)
        state = await bench.agrees(request, open_)
        asking = RefundRequest(replace(state, journal=()), request.now + timedelta(minutes=1))
        first, seams = await bench.run(asking, "ask", at=cut)
        if first is not None:
            break
        again, _ = await bench.run(asking, "ask")
        assert isinstance(again, wanted.get(outcome, ReturnFailed))
        await bench.agrees(asking, again)
        cut += 1
    assert cut == seams


async def test_an_end_cut_at_every_seam_and_recorded_again_frees_what_was_held_once(bench: Bench) -> None:
    sale = await bench.till.sale(amount=10_000)
    for cut in range(SEAMS_MAX):
        request = await bench.opened(sale)
        await bench.till.script(sale, refunds=["fail:busy"])
        fact, _ = await bench.run(request, "give")
        state = replace(await bench.agrees(request, fact), journal=())
        state = handle(state, RefundEnvelope("k", TakeOut(), "lena"), request.now)
        first, _ = await bench.run(RefundRequest(state, request.now), "record", at=cut)
        again, _ = await bench.run(RefundRequest(state, request.now), "record")
        assert again.seq == state.seq
        assert await bench.till.held(sale) == (0, 0)
        if first is not None:
            break


async def test_what_leaves_the_queue_frees_tells_and_asks_for_a_person_once(shop: Shop, bench: Bench) -> None:
    await bench.till.rules(notify=["money@example.net"])
    sale = await bench.till.sale()
    request = await bench.opened(sale)
    await bench.till.script(sale, refunds_then="fail:closed")
    fact, _ = await bench.run(request, "give")
    state = replace(await bench.agrees(request, fact), journal=())
    for _ in range(3):
        assert state.retry_at is not None
        now = state.retry_at
        state = apply(state, RefundTimePassed("retry"), now)
        request = RefundRequest(state, now)
        await bench.run(request, "give", at=9)
        fact, _ = await bench.run(request, "give")
        state = replace(await bench.agrees(request, fact), journal=())
    assert state.status == "failed"
    assert await bench.till.held(sale) == (0, 0)
    tasks = await shop.rows("SELECT kind FROM tasks WHERE subject_id = :id", id=state.id)
    letters = await shop.rows("SELECT audience FROM messages WHERE refund_id = :id", id=state.id)
    assert (tasks, letters) == ([{"kind": "refund_exhausted"}], [{"audience": "staff"}])


async def test_what_stays_unknown_opens_a_task_that_the_answer_closes(shop: Shop, bench: Bench) -> None:
    sale = await bench.till.sale()
    request = await bench.opened(sale)
    await bench.till.script(sale, refunds=["hang"], hang_seconds=60)
    fact, _ = await bench.run(request, "give")
    state = replace(await bench.agrees(request, fact), journal=())
    await shop.outage(down=True)
    try:
        for _ in range(3):
            assert state.not_before is not None
            asking = RefundRequest(state, state.not_before)
            fact, _ = await bench.run(asking, "ask")
            state = replace(await bench.agrees(asking, fact), journal=())
    finally:
        await shop.outage(down=False)
    statement = "SELECT kind, status FROM tasks WHERE subject_id = :id"
    assert await shop.rows(statement, id=state.id) == [{"kind": "refund_unknown", "status": "open"}]
    assert (await bench.till.row(state.id))["attention"] is not None
    assert state.not_before is not None
    asking = RefundRequest(state, state.not_before)
    fact, _ = await bench.run(asking, "ask")
    assert isinstance(fact, Returned)
    await bench.agrees(asking, fact)
    assert await shop.rows(statement, id=state.id) == [{"kind": "refund_unknown", "status": "done"}]
    assert (await bench.till.row(state.id))["attention"] is None
    await bench.till.audit(sale)


async def test_a_dispute_opened_meanwhile_stops_the_money(bench: Bench) -> None:
    sale = await bench.till.sale()
    request = await bench.opened(sale)
    await bench.till.dispute(sale)
    fact, _ = await bench.run(request, "give")
    assert fact == ReturnFailed(1, "disputed")
    assert await calls(bench, request.state) == []
