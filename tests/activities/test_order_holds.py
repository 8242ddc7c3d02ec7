"""Authorise, capture and release of an order, twice, cut short anywhere, and twice at once: the money moves once.

Cut at the seams that the activities have anyway: a transaction, a call at the gateway, the courier.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, cast

import pytest
from temporalio.testing import ActivityEnvironment

from activities.orders import OrderRequest, OrderSteps
from domain.facts import Authorised, Charged, Declined, NeverArrived, Outcome, Parked, Released, Unknown
from domain.order_commands import handle
from domain.order_holds import HOLD_GONE, HOLD_TIME
from domain.order_messages import CancelOrder, CaptureOrder, OpenOrder, OrderCommand, OrderEnvelope, Pay, ReleaseOrder
from domain.order_state import Channel, OrderLine, OrderLineKind, OrderState
from domain.orders import apply, begin_order, next_step
from domain.state import Phase
from domain.steps import AskGateway, Charge
from models.session import Database
from providers.gateways.base import Answer, Gateway, Order
from providers.gateways.registry import OpenGateway, open_gateway
from tests.activities.test_twice import Cut, CutDatabase, CutGateway, Pouch, Scissors
from tests.stack_fixtures import NEW_YORK, NUMBERS, Shop

pytestmark = [pytest.mark.stack, pytest.mark.timeout(120)]

NOW = datetime(2027, 3, 5, 14, tzinfo=UTC)
VISA = "tok_ok_visa"
AMOUNT = 1500
SEAMS_MAX = 30


class CutHolds(CutGateway):
    """With what an authorisation needs."""

    async def authorise(self, order: Order) -> Answer:
        self._scissors.snip()
        try:
            return await self._gateway.authorise(order)
        finally:
            self._scissors.snip()

    async def capture(self, authorisation: str, order: Order) -> Answer:
        self._scissors.snip()
        try:
            return await self._gateway.capture(authorisation, order)
        finally:
            self._scissors.snip()

    async def release(self, authorisation: str) -> Answer:
        self._scissors.snip()
        try:
            return await self._gateway.release(authorisation)
        finally:
            self._scissors.snip()


class Bench:
    """Activities on the shop's database and gateway, without a workflow: a test is the workflow."""

    def __init__(self, shop: Shop, gateway: OpenGateway) -> None:
        self.shop = shop
        self.gateway = gateway

    async def run(self, state: OrderState, at: int | None = None) -> tuple[Outcome | None, int]:
        """Take the next step of this state, cut at a seam; its outcome (None if cut) and how many seams it has."""
        scissors = Scissors(at)
        database = cast("Database", CutDatabase(self.shop.database, scissors))
        gateway = CutHolds(self.gateway, scissors)
        door: Any = None  # nothing here starts a subscription or a refund
        steps = OrderSteps(database, lambda _: cast("Gateway", gateway), Pouch(scissors), door)
        step = next_step(state, NOW)
        method: Any = steps.charge_order if isinstance(step, Charge) else steps.ask_about_order
        assert isinstance(step, Charge | AskGateway)
        try:
            return await ActivityEnvironment().run(method, OrderRequest(state, NOW)), scissors.passed
        except Cut:
            return None, scissors.passed

    async def order(self, token: str = VISA) -> OrderState:
        """An order that is about to be authorised."""
        number = next(NUMBERS)
        line = OrderLine(1, OrderLineKind.ONE_TIME, "Engraving", 1, AMOUNT)
        customer = await self.shop.customer(token)
        wanted = OpenOrder(f"ord_held_{number}", customer, NEW_YORK, "USD", Channel.API, "test", (line,))
        return commanded(begin_order(wanted, NOW), Pay(hold=True))

    async def held(self) -> OrderState:
        """An order that is authorised."""
        state = await self.order()
        outcome, _ = await self.run(state)
        assert isinstance(outcome, Authorised)
        return after(state, outcome)

    async def row(self, state: OrderState) -> dict[str, Any]:
        rows = await self.shop.rows(
            "SELECT * FROM attempts WHERE order_id = :id ORDER BY number DESC LIMIT 1", id=state.id
        )
        return rows[0]

    async def script(self, state: OrderState, **outcomes: Any) -> None:
        reference = (await self.row(state))["reference"]
        answer = await self.shop.http.put(
            f"{self.shop.stack.gateway_url}/control/returns/{reference}/script", json=outcomes | {"hang_seconds": 5}
        )
        answer.raise_for_status()

    async def agrees(self, before: OrderState, outcome: Outcome) -> OrderState:
        """The books hold what the workflow takes from this outcome, and the money is where the gateway says."""
        state = apply(before, outcome, NOW)
        told = {
            row["seq"]: row
            for row in await self.shop.rows("SELECT * FROM order_events WHERE order_id = :id", id=state.id)
        }
        assert len(told) == state.seq
        for entry in state.journal:
            assert (told[entry.seq]["kind"], told[entry.seq]["data"]) == (entry.kind, entry.data)
        row = await self.row(state)
        (charge,) = await self.shop.charges(row["reference"])
        assert row["settlement"] == ("pending" if row["status"] == "approved" else None)
        cash = await self.shop.rows(
            "SELECT coalesce(sum(p.amount), 0)::bigint AS held FROM ledger_postings AS p"
            " JOIN ledger_entries AS e ON e.id = p.entry_id WHERE e.invoice_id = :id AND p.account = 'cash:sandbox'",
            id=row["invoice_id"],
        )
        if row["status"] in {"capturing", "releasing"}:  # the gateway may have done it, and nobody claims to know
            assert cash == [{"held": 0}]
            return state
        assert (charge["captured_amount"] > 0) == (row["status"] == "approved"), (row["status"], charge)
        assert cash == [{"held": charge["captured_amount"]}]
        return state


def commanded(state: OrderState, command: OrderCommand) -> OrderState:
    return handle(state, OrderEnvelope(f"key-{next(NUMBERS)}", command, "test"), NOW)


def after(state: OrderState, outcome: Outcome | None) -> OrderState:
    """What the workflow goes on with."""
    assert outcome is not None
    return replace(apply(state, outcome, NOW), journal=())


@pytest.fixture
async def bench(shop: Shop) -> AsyncIterator[Bench]:
    gateway = open_gateway("sandbox", shop.stack.gateway_url, timeout_s=1, calls_per_second_max=1000)
    yield Bench(shop, gateway)
    await gateway.aclose()


ACTS = [("authorise", "ok"), ("capture", "succeed"), ("capture", "error_after"), ("capture", "error_before"),
        ("capture", "gone"), ("capture", "down"), ("release", "succeed"), ("release", "error_after"),
        ("release", "down"), ("cancel", "succeed")]  # fmt: skip


async def ready(bench: Bench, act: str, outcome: str) -> OrderState:
    if act == "authorise":
        return await bench.order()
    held = await bench.held()
    kind = "captures" if act == "capture" else "voids"
    await bench.script(held, **{kind: [outcome]})
    command = {"capture": CaptureOrder(), "release": ReleaseOrder(), "cancel": CancelOrder()}[act]
    return commanded(held, command)


@pytest.mark.parametrize(("act", "outcome"), ACTS)
async def test_cut_at_every_seam_and_run_again(bench: Bench, act: str, outcome: str) -> None:
    seams = cut = 0
    while cut < SEAMS_MAX:
        state = await ready(bench, act, outcome)
        first, seams = await bench.run(state, at=cut)
        if first is not None:
            break
        again, _ = await bench.run(state)
        assert again is not None
        await bench.agrees(state, again)
        calls = await bench.shop.calls(reference=(await bench.row(state))["reference"])
        sent = Counter(call.split()[0] for call in calls if not call.endswith("outage"))
        lost = outcome in {"error_before", "down"}  # of these nothing came of the first call
        assert max(sent["capture"], sent["void"], sent["charge"]) <= 1 + lost, "asked for before it is sent again"
        cut += 1
    assert cut == seams, "cut at every seam"
    assert cut > 8


@pytest.mark.parametrize(("act", "outcome"), ACTS)
async def test_run_three_times_it_says_the_same(bench: Bench, act: str, outcome: str) -> None:
    state = await ready(bench, act, outcome)
    first, _ = await bench.run(state)
    assert first is not None
    for _ in range(2):
        again, _ = await bench.run(state)
        assert again is not None
        assert apply(state, again, NOW) == apply(state, first, NOW)
    await bench.agrees(state, first)


@pytest.mark.parametrize("act", ["authorise", "capture", "release"])
async def test_at_the_same_moment_it_moves_once(bench: Bench, act: str) -> None:
    state = await ready(bench, act, "ok" if act == "authorise" else "succeed")
    both = await asyncio.gather(*(bench.run(state) for _ in range(3)), return_exceptions=True)
    # One may find that the other was first; Temporal then runs it again.
    assert any(isinstance(each, tuple) for each in both)
    again, _ = await bench.run(state)
    assert again is not None
    await bench.agrees(state, again)


async def test_a_row_says_what_stands_and_until_when(bench: Bench) -> None:
    held = await bench.held()
    row = await bench.row(held)
    assert (row["status"], row["settlement"], row["held_until"]) == ("authorised", None, NOW + HOLD_TIME)
    taking = commanded(held, CaptureOrder())
    outcome, _ = await bench.run(taking)
    assert isinstance(outcome, Charged)
    row = await bench.row(held)
    assert (row["status"], row["settlement"]) == ("approved", "pending")
    assert (row["held_until"], row["gateway_id"]) == (NOW + HOLD_TIME, outcome.gateway_id)


@pytest.mark.parametrize(("lost", "found"), [("error_after", Charged), ("error_before", NeverArrived)])
async def test_a_lost_capture_is_asked_for_before_anything_is_sent(bench: Bench, lost: str, found: type) -> None:
    held = await bench.held()
    await bench.script(held, captures=[lost])
    taking = commanded(held, CaptureOrder())
    outcome, _ = await bench.run(taking)
    assert isinstance(outcome, Unknown)
    row = await bench.row(held)
    assert row["status"] == "capturing"
    calls = await bench.shop.calls(reference=row["reference"])
    asking = after(taking, outcome)
    assert asking.collecting is not None
    asking = replace(asking, collecting=replace(asking.collecting, not_before=NOW))
    answer, _ = await bench.run(asking)
    assert isinstance(answer, found)
    since = (await bench.shop.calls(reference=row["reference"]))[len(calls) :]
    assert [call.split()[0] for call in since] == ["lookup"]
    again = after(asking, answer)
    if isinstance(answer, NeverArrived):
        assert again.collecting is not None
        assert again.collecting.phase is Phase.PARKED
        assert (await bench.row(held))["status"] == "authorised"
        again = replace(again, collecting=replace(again.collecting, not_before=NOW))
        taken, _ = await bench.run(again)
        assert isinstance(taken, Charged)
        await bench.agrees(again, taken)
    else:
        assert answer is not None
        await bench.agrees(asking, answer)


async def test_an_outage_leaves_it_authorised(bench: Bench) -> None:
    held = await bench.held()
    await bench.script(held, captures=["down"])
    outcome, _ = await bench.run(commanded(held, CaptureOrder()))
    assert isinstance(outcome, Parked)
    assert (await bench.row(held))["status"] == "authorised"


async def test_what_is_gone_is_declined_and_what_was_taken_elsewhere_is_booked(bench: Bench) -> None:
    held = await bench.held()
    await bench.script(held, captures=["gone"])
    outcome, _ = await bench.run(commanded(held, CaptureOrder()))
    assert isinstance(outcome, Declined)
    assert (outcome.code, outcome.another) == (HOLD_GONE, False)
    row = await bench.row(held)
    assert (row["status"], row["code"]) == ("declined", HOLD_GONE)
    other = await bench.held()
    await bench.script(other, voids=["settles_first"])
    reference = (await bench.row(other))["reference"]
    url = bench.shop.stack.gateway_url
    (
        await bench.shop.http.post(f"{url}/v1/charges/{reference}/capture", json={"reference": reference})
    ).raise_for_status()
    releasing = commanded(other, ReleaseOrder())
    outcome, _ = await bench.run(releasing)
    assert isinstance(outcome, Charged)
    assert (await bench.agrees(releasing, outcome)).status == "paid"


async def test_what_the_gateway_no_longer_knows_is_released(bench: Bench) -> None:
    held = await bench.held()
    reference = (await bench.row(held))["reference"]
    url = bench.shop.stack.gateway_url
    (await bench.shop.http.post(f"{url}/v1/charges/{reference}/void")).raise_for_status()
    outcome, _ = await bench.run(commanded(held, ReleaseOrder()))
    assert isinstance(outcome, Released)
    assert (await bench.row(held))["status"] == "released"
