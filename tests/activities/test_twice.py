"""Every activity twice, cut short anywhere, and twice at once: one charge, one invoice, one letter, no gap.

The cuts are made at the seams that the activities have anyway: a transaction, a call at the gateway, the courier.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any, Self, cast

import pytest
from sqlalchemy.ext.asyncio import AsyncConnection
from temporalio.testing import ActivityEnvironment

from activities.courier import Messages
from activities.payments import Payments, StepRequest
from activities.records import Records
from domain.commands import handle
from domain.facts import Charged, Fact, NeverArrived, NoMethod, Outcome, Parked
from domain.lifecycle import apply, begin, next_step
from domain.messages import Envelope, GrantCredit, Start
from domain.state import State
from domain.steps import AskGateway, Charge, Record, Tick
from models.session import Database
from providers.gateways.base import Answer, Gateway, Order
from providers.gateways.registry import OpenGateway, open_gateway
from providers.notifiers.base import Email, NotifierUnavailable
from tests.stack_fixtures import NEW_YORK, NUMBERS, Shop

pytestmark = [pytest.mark.stack, pytest.mark.timeout(120)]

NOW = datetime(2027, 3, 5, 14, tzinfo=UTC)
VISA = "tok_ok_visa"


class Cut(Exception):
    """The machine dies here."""


class Scissors:
    """Cuts at the n-th seam passed, before or after it; counts the seams."""

    def __init__(self, at: int | None = None) -> None:
        self.at = at
        self.passed = 0

    def snip(self) -> None:
        here, self.passed = self.passed, self.passed + 1
        if here == self.at:
            raise Cut


class CutDatabase:
    """A real database whose transactions may never begin, never commit, or be the last thing that happens."""

    def __init__(self, database: Database, scissors: Scissors) -> None:
        self._database = database
        self._scissors = scissors

    @asynccontextmanager
    async def begin(self) -> AsyncGenerator[AsyncConnection]:
        self._scissors.snip()
        async with self._database.begin() as connection:
            yield connection
            self._scissors.snip()
        self._scissors.snip()


class CutGateway:
    """A real gateway, cut off before a call or after it."""

    def __init__(self, gateway: Gateway, scissors: Scissors) -> None:
        self._gateway = gateway
        self._scissors = scissors
        self.name = gateway.name
        self.is_sandbox = gateway.is_sandbox

    async def sale(self, order: Order) -> Answer:
        self._scissors.snip()
        try:
            return await self._gateway.sale(order)
        finally:
            self._scissors.snip()

    async def lookup(self, reference: str) -> Answer:
        self._scissors.snip()
        return await self._gateway.lookup(reference)

    async def void(self, reference: str) -> Answer:
        self._scissors.snip()
        try:
            return await self._gateway.void(reference)
        finally:
            self._scissors.snip()


class Pouch:
    """A courier that keeps what it is given."""

    def __init__(self, scissors: Scissors) -> None:
        self._scissors = scissors
        self.ids: list[str] = []

    async def dispatch(self, messages: Sequence[str]) -> None:
        self._scissors.snip()
        self.ids += messages
        self._scissors.snip()


class Bench:
    """Activities on the shop's database and gateway, without a workflow: a test is the workflow."""

    def __init__(self, shop: Shop, gateway: OpenGateway) -> None:
        self.shop = shop
        self.gateway = gateway
        self.dispatched: set[str] = set()

    async def run(self, request: StepRequest, kind: str, at: int | None = None) -> tuple[Fact | None, int]:
        """Run a step, cut at a seam; its outcome (None if it was cut) and how many seams it has."""
        scissors = Scissors(at)
        database = cast("Database", CutDatabase(self.shop.database, scissors))
        gateway, pouch = CutGateway(self.gateway, scissors), Pouch(scissors)
        payments = Payments(database, lambda _: cast("Gateway", gateway), pouch)
        records = Records(database, pouch)
        steps: dict[str, Any] = {"charge": payments.charge, "ask": payments.ask_gateway, "record": records.record}
        try:
            outcome = await ActivityEnvironment().run(steps[kind], request)
        except Cut:
            return None, scissors.passed
        finally:
            self.dispatched |= set(pouch.ids)
        return outcome, scissors.passed

    async def due(self, *tokens: str, **terms: Any) -> StepRequest:
        """A new subscription that is about to be charged for the first time."""
        customer = await self.shop.customer(*tokens)
        agreed = await self.shop.terms(**terms)
        number = next(NUMBERS)
        start = Start(f"sub_{number}", customer, NEW_YORK, agreed, "test", start_at=NOW, test_mode=True)
        self.shop.knows(start.id, customer)
        return StepRequest(until_step(begin(start, NOW), NOW), NOW)

    async def taken(self, before: StepRequest, outcome: Fact | None) -> State:
        """The state with which the workflow goes on from this outcome."""
        assert outcome is not None
        return replace(await self.agrees(before, outcome), journal=())

    async def agrees(self, before: StepRequest, outcome: Fact) -> State:
        """The books hold exactly what the workflow takes from this outcome, and every letter was handed over."""
        state = apply(before.state, cast("Outcome", outcome), before.now)
        told = {event["seq"]: event for event in await self.shop.events(state.id)}
        for entry in state.journal:
            row = told[entry.seq]
            assert (row["kind"], row["data"], row["at"]) == (entry.kind, entry.data, entry.at)
        assert len(told) == state.seq
        letters = await self.shop.rows("SELECT id FROM messages WHERE subscription_id = :id", id=state.id)
        assert {letter["id"] for letter in letters} <= self.dispatched
        await self.shop.audit_books(state.id)
        return state


def until_step(state: State, now: datetime) -> State:
    """Let time do what time alone does; the journal stays."""
    while isinstance(step := next_step(state, now), Tick):
        state = apply(state, step.fact, now)
    assert isinstance(step, Charge | AskGateway | Record)
    return state


@pytest.fixture
async def bench(shop: Shop) -> AsyncIterator[Bench]:
    gateway = open_gateway("sandbox", shop.stack.gateway_url, timeout_s=1, calls_per_second_max=1000)
    yield Bench(shop, gateway)
    await gateway.aclose()


OUTCOMES = ["approve", "soft:do_not_honor", "hard:stolen_card", "down", "error_after", "error_before", "action"]
SEAMS_MAX = 30


@pytest.mark.parametrize("outcome", OUTCOMES)
async def test_a_charge_cut_at_every_seam_and_run_again(shop: Shop, bench: Bench, outcome: str) -> None:
    seams = cut = 0
    while cut < SEAMS_MAX:
        request = await bench.due(VISA, setup_fee=250)
        token = await shop.token(request.state.customer_id)
        await shop.script(token, outcome)
        first, seams = await bench.run(request, "charge", at=cut)
        if first is not None:
            break
        again, _ = await bench.run(request, "charge")
        assert again is not None
        await bench.agrees(request, again)
        calls = [call for call in await shop.calls(token) if call not in {"charge down", "charge error_before"}]
        assert sum(call.startswith("charge") for call in calls) <= 1
        cut += 1
    assert cut == seams, "cut at every seam"
    assert cut > 8


@pytest.mark.parametrize("outcome", OUTCOMES)
async def test_a_charge_run_three_times_says_the_same(shop: Shop, bench: Bench, outcome: str) -> None:
    request = await bench.due(VISA)
    await shop.script(await shop.token(request.state.customer_id), outcome, then="soft:velocity")
    first, _ = await bench.run(request, "charge")
    assert first is not None
    await shop.card(request.state.customer_id, VISA)  # the world moves on; what is written stands
    for _ in range(2):
        again, _ = await bench.run(request, "charge")
        assert apply(request.state, cast("Outcome", again), NOW) == apply(request.state, cast("Outcome", first), NOW)
    await bench.agrees(request, first)


async def test_an_outage_that_was_written_down_stands_although_the_gateway_is_up_again(
    shop: Shop, bench: Bench
) -> None:
    request = await bench.due(VISA)
    token = await shop.token(request.state.customer_id)
    await shop.script(token, "down")
    first, _ = await bench.run(request, "charge")
    assert isinstance(first, Parked)
    again, _ = await bench.run(request, "charge")
    assert again == first
    assert await shop.calls(token) == ["charge down"], "nothing is sent before the workflow asks for it"


async def test_two_charges_at_the_same_moment(shop: Shop, bench: Bench) -> None:
    for outcome in OUTCOMES:
        request = await bench.due(VISA)
        await shop.script(await shop.token(request.state.customer_id), outcome)
        both = await asyncio.gather(*(bench.run(request, "charge") for _ in range(3)), return_exceptions=True)
        # One may find that the other was first; Temporal then runs it again.
        assert any(isinstance(each, tuple) for each in both)
        again, _ = await bench.run(request, "charge")
        assert again is not None
        after = apply(request.state, cast("Outcome", again), NOW)
        for each in both:
            if isinstance(each, tuple):
                assert apply(request.state, cast("Outcome", each[0]), NOW) == after
        await bench.agrees(request, again)


async def test_nothing_to_pay_and_no_card(bench: Bench) -> None:
    for tokens, terms in [((), {}), ((VISA,), {"amount": 0})]:
        for cut in range(SEAMS_MAX):
            request = await bench.due(*tokens, **terms)
            first, _ = await bench.run(request, "charge", at=cut)
            if first is not None:
                break
            again, _ = await bench.run(request, "charge")
            assert again is not None
            await bench.agrees(request, again)


@pytest.mark.parametrize(("outcome", "give_up"), [("error_after", False), ("action", False), ("action", True)])
async def test_a_look_up_cut_at_every_seam_and_run_again(shop: Shop, bench: Bench, outcome: str, give_up: bool) -> None:
    seams = cut = 0
    while cut < SEAMS_MAX:
        request = await bench.due(VISA)
        await shop.script(await shop.token(request.state.customer_id), outcome)
        open_, _ = await bench.run(request, "charge")
        assert open_ is not None
        state = await bench.agrees(request, open_)
        # A command comes in just when it is time to ask: its line is in the journal and in no book yet.
        state = handle(replace(state, journal=()), Envelope(f"k{cut}", GrantCredit(5, "USD"), "test", "sorry"), NOW)
        asking = StepRequest(state, NOW + timedelta(minutes=1), give_up)
        first, seams = await bench.run(asking, "ask", at=cut)
        if first is not None:
            break
        again, _ = await bench.run(asking, "ask")
        assert again is not None
        await bench.agrees(asking, again)
        cut += 1
    assert cut == seams


async def test_a_record_cut_at_every_seam_and_run_again(shop: Shop, bench: Bench) -> None:
    for cut in range(SEAMS_MAX):
        number = next(NUMBERS)
        customer = await shop.customer(VISA)
        start = Start(f"sub_{number}", customer, NEW_YORK, await shop.terms(trial_days=7), "t", start_at=NOW)
        shop.knows(start.id, customer)
        request = StepRequest(until_step(begin(start, NOW), NOW), NOW)
        first, _ = await bench.run(request, "record", at=cut)
        if first is not None:
            break
        again, _ = await bench.run(request, "record")
        assert again is not None
        assert len(await shop.events(start.id)) == request.state.seq
        letters = await shop.rows("SELECT id FROM messages WHERE subscription_id = :id", id=start.id)
        assert len(letters) == 1
        assert {letter["id"] for letter in letters} <= bench.dispatched


class Notifier:
    """A mail server that works, is away, or dies after so many letters."""

    def __init__(self, dies_after: int | None = None) -> None:
        self.dies_after = dies_after
        self.sent: list[str] = []

    @asynccontextmanager
    async def session(self) -> AsyncGenerator[Self]:
        yield self

    async def send(self, message: Email) -> None:
        if self.dies_after is not None and len(self.sent) >= self.dies_after:
            raise NotifierUnavailable("away")
        await asyncio.sleep(0)
        self.sent.append(message.message_id)


async def letters(shop: Shop, count: int) -> list[str]:
    customer = await shop.customer(email="nobody@example.net")
    ids = [f"msg_{next(NUMBERS)}" for _ in range(count)]
    for each in ids:
        await shop.execute(
            "INSERT INTO messages (id, customer_id, template, recipient, subject, body, at)"
            " VALUES (:id, :customer, 'receipt', 'nobody@example.net', 'Receipt', 'Thanks', now())",
            id=each,
            customer=customer,
        )
    return ids


async def test_letters_are_sent_once_however_often_they_are_dispatched(shop: Shop) -> None:
    ids, notifier = await letters(shop, 5), Notifier()
    messages = Messages(shop.database, notifier, "us@example.com")
    assert await ActivityEnvironment().run(messages.send_messages, ids) == 5
    assert await ActivityEnvironment().run(messages.send_messages, ids) == 0
    assert sorted(notifier.sent) == sorted(ids)


async def test_letters_sent_twice_at_once_go_out_once(shop: Shop) -> None:
    ids, notifier = await letters(shop, 8), Notifier()
    messages = Messages(shop.database, notifier, "us@example.com")
    both = [ActivityEnvironment().run(messages.send_messages, some) for some in (ids, ids[::-1], ids[2:5])]
    for each in await asyncio.gather(*both, return_exceptions=True):
        assert isinstance(each, int | NotifierUnavailable)
    assert sorted(notifier.sent) == sorted(ids)


async def test_letters_go_on_where_the_mail_server_went_away(shop: Shop) -> None:
    ids, notifier = await letters(shop, 5), Notifier(dies_after=2)
    messages = Messages(shop.database, notifier, "us@example.com")
    with pytest.raises(NotifierUnavailable):
        await ActivityEnvironment().run(messages.send_messages, ids)
    notifier.dies_after = None
    assert await ActivityEnvironment().run(messages.send_messages, ids) == 3
    assert sorted(notifier.sent) == sorted(ids)


@pytest.mark.parametrize("was_parked", [False, True])
async def test_a_card_that_is_gone_when_the_machine_is_back_has_still_paid(
    shop: Shop, bench: Bench, was_parked: bool
) -> None:
    # The machine dies anywhere, and the card is removed before it is back: what the card paid is found all the same.
    seams = cut = 0
    while cut < SEAMS_MAX:
        request = await bench.due(VISA)
        customer = request.state.customer_id
        token = await shop.token(customer)
        if was_parked:
            await shop.script(token, "down")
            parked, _ = await bench.run(request, "charge")
            request = StepRequest(await bench.taken(request, parked), NOW + timedelta(minutes=1))
        first, seams = await bench.run(request, "charge", at=cut)
        if first is not None:
            break
        await remove_cards(shop, customer)
        again, _ = await bench.run(request, "charge")
        if isinstance(again, NeverArrived):  # nothing was sent, and nothing is sent to a removed card
            request = StepRequest(await bench.taken(request, again), request.now + timedelta(minutes=5))
            again, _ = await bench.run(request, "charge")
        has_paid = "charge approve" in await shop.calls(token)
        assert isinstance(again, Charged if has_paid else NoMethod), f"cut at seam {cut}"
        await bench.agrees(request, again)
        cut += 1
    assert cut == seams


async def test_a_parked_charge_goes_on_with_the_card_that_took_the_place_of_a_removed_one(
    shop: Shop, bench: Bench
) -> None:
    for cut in range(SEAMS_MAX):
        request = await bench.due(VISA)
        customer = request.state.customer_id
        old = await shop.token(customer)
        await shop.script(old, "down")
        parked, _ = await bench.run(request, "charge")
        state = await bench.taken(request, parked)
        await remove_cards(shop, customer)
        new = await shop.card(customer, VISA)
        later = StepRequest(state, NOW + timedelta(minutes=1))
        first, _ = await bench.run(later, "charge", at=cut)
        outcome = first or (await bench.run(later, "charge"))[0]
        assert isinstance(outcome, Charged)
        assert outcome.method_id == new
        await bench.agrees(later, outcome)
        assert await shop.calls(old) == ["charge down"]
        (attempt,) = await shop.attempts(state.id)
        assert (attempt["status"], attempt["payment_method_id"]) == ("approved", new)
        if first is not None:
            break


async def remove_cards(shop: Shop, customer: str) -> None:
    await shop.execute("UPDATE payment_methods SET removed_at = now() WHERE customer_id = :customer", customer=customer)
