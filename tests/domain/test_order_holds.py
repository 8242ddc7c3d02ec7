"""An order's money that is authorised and captured later: stories with dates, and any order of commands and answers.

`Counter` plays an order as its workflow does, against a gateway that keeps its own books of what it holds and took.
After each step it checks what must always hold.
"""

from __future__ import annotations

import contextlib
from collections import Counter as Tally
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import count

import pytest
from hypothesis import given, note, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter
from pydantic_core import to_json

from domain.declines import DeclineKind, in_words
from domain.errors import InvalidInput, Refused
from domain.explain import sentence
from domain.facts import (
    ActionRequired,
    Authorised,
    Charged,
    Declined,
    NeverArrived,
    Outcome,
    Parked,
    Recorded,
    Released,
    Unknown,
)
from domain.ledger import RECEIVABLE, cash, postings
from domain.order_cancel import effects
from domain.order_commands import ALLOWED_IN, allowed, handle
from domain.order_holds import HOLD_GONE, HOLD_TIME, RAN_OUT, RUNS_OUT
from domain.order_messages import (
    CancelOrder,
    CaptureOrder,
    OpenOrder,
    OrderCommand,
    OrderEnvelope,
    OrderTick,
    Pay,
    Place,
    ReleaseOrder,
    SetLines,
    Started,
    StartLine,
    Undo,
    Undone,
)
from domain.order_state import Channel, OrderLine, OrderLineKind, OrderState, OrderStatus
from domain.orders import OPEN_DAYS_MAX, apply, attention, begin_order, collecting_of, next_step
from domain.paying import Stand, Tried, can_pay, stand
from domain.state import Act, Collecting, Entry, Phase
from domain.steps import AskGateway, Charge, End, Record, Wait
from domain.telling import tellings
from domain.terms import DEFAULT_DUNNING
from tests.domain.stories import BERLIN, at, price

_STATE: TypeAdapter[OrderState] = TypeAdapter(OrderState)
ENGRAVING = OrderLine(1, OrderLineKind.ONE_TIME, "Engraving", 1, 1500)
BOX = OrderLine(2, OrderLineKind.SUBSCRIPTION, "Box", 1, 1000, 1000, terms=price(1000))
TOTAL = 2500
MONDAY = at("2026-03-02 10:00")


def key_of(collecting: Collecting) -> tuple[int, int]:
    """What the reference is made of: the invoice of the order, and the attempt."""
    return collecting.sequence, collecting.attempt


@dataclass
class Till:
    """The gateway: what became of each attempt (held, taken, gone, asked), and what it says next, word by word.

    `ok`; `soft`; `down`; `lost` (done, the answer lost), `never` (not done, the answer lost); `action`; `gone` (what
    was held is not there any more). Nothing left to say is `ok`.
    """

    words: list[str] = field(default_factory=list[str])
    books: dict[tuple[int, int], str] = field(default_factory=dict[tuple[int, int], str])

    @property
    def stands(self) -> list[str]:
        """What became of each attempt, in their order."""
        return [self.books[key] for key in sorted(self.books)]

    def does(self, collecting: Collecting) -> Outcome:
        word = self.words.pop(0) if self.words else "ok"
        number = collecting.attempt
        if word == "down":
            return Parked(number, "sandbox")
        if word != "never":
            self._carry_out(collecting, word)
        return Unknown(number, "sandbox") if word in {"lost", "never"} else self.tells(collecting)

    def tells(self, collecting: Collecting, *, give_up: bool = False) -> Outcome:
        """Its word on the attempt as it is, whatever was asked; as the adapter and the collector put it."""
        number, act, key = collecting.attempt, collecting.act, key_of(collecting)
        if give_up and self.books.get(key) == "asked":
            self.books[key] = "gone"
        match self.books.get(key):
            case "taken":
                return Charged(number, collecting.amount_due, "visa", "sandbox", f"ch_{number}")
            case "held" if act is Act.AUTHORISE:
                return Authorised(number, collecting.amount_due, "visa", "sandbox", f"ch_{number}")
            case "held" | None:
                return NeverArrived(number)
            case "asked":
                return ActionRequired(number, "visa", "https://bank.example.com", "sandbox")
            case _ if act is Act.RELEASE:
                return Released(number, collecting.amount_due, "sandbox")
            case _:
                code = HOLD_GONE if act is Act.CAPTURE else "insufficient_funds"
                return Declined(number, "visa", code, DeclineKind.SOFT, another=False, policy=DEFAULT_DUNNING)

    def _carry_out(self, collecting: Collecting, word: str) -> None:
        key = key_of(collecting)
        stands = self.books.get(key)
        match collecting.act:
            case Act.SALE | Act.AUTHORISE if stands is None:
                done = "taken" if collecting.act is Act.SALE else "held"
                self.books[key] = {"soft": "gone", "gone": "gone", "action": "asked"}.get(word, done)
            case Act.CAPTURE if stands == "held":
                self.books[key] = "gone" if word == "gone" else "taken"
            case Act.RELEASE if stands == "held":
                self.books[key] = "gone"
            case _:
                pass


@dataclass
class Counter:
    """One order, played in imagined time."""

    words: Sequence[str] = ()
    now: datetime = MONDAY
    lines: tuple[OrderLine, ...] = (ENGRAVING, BOX)

    def __post_init__(self) -> None:
        wanted = OpenOrder("ord", "cus", BERLIN, "EUR", Channel.PHONE, "Anna", self.lines)
        self.state = begin_order(wanted, self.now)
        self.till = Till(list(self.words))
        self.timeline: list[Entry] = []
        self.balances: Tally[str] = Tally()
        self.begun: list[int] = []
        self.undone = 0
        self.keys = count(1)
        self._take(self.state)
        self.settle()

    def does(self, command: OrderCommand, *, key: str | None = None) -> Counter:
        self._take(handle(self.state, OrderEnvelope(key or f"key-{next(self.keys)}", command, "Anna"), self.now))
        return self.settle()

    def until(self, moment: datetime) -> Counter:
        while True:
            step = next_step(self.state, self.now)
            if not isinstance(step, Wait) or step.until is None or step.until > moment:
                self.now = max(self.now, moment)
                return self.settle()
            self.now = step.until
            self.settle()

    def after(self, **span: float) -> Counter:
        return self.until(self.now + timedelta(**span))

    def settle(self) -> Counter:
        for _ in range(100):
            step = next_step(self.state, self.now)
            match step:
                case Wait() | End():
                    assert isinstance(step, End) or step.until is None or step.until > self.now, "for a time to come"
                    assert not self.state.journal
                    return self
                case OrderTick():
                    self._take(apply(self.state, step.fact, self.now))
                case Charge():
                    self._take(apply(self.state, self.till.does(collecting_of(self.state)), self.now))
                case AskGateway():
                    told = self.till.tells(collecting_of(self.state), give_up=step.give_up)
                    self._take(apply(self.state, told, self.now))
                case StartLine():
                    assert "taken" in self.till.books.values(), "nothing begins before the money is taken"
                    self.begun.append(step.position)
                    self._take(apply(self.state, Started(step.position, f"sub_{step.position}"), self.now))
                case Undo():
                    self.undone += 1
                    self._take(apply(self.state, Undone((), "re_1", "succeeded"), self.now))
                case Record():
                    self._take(apply(self.state, Recorded(self.state.seq), self.now))
        raise AssertionError("no end of steps")

    def told(self, *kinds: str) -> list[str]:
        return [each.kind for each in self.timeline if not kinds or each.kind in kinds]

    def _take(self, state: OrderState) -> None:
        for entry in state.journal:
            if entry.seq > len(self.timeline):
                self._write(entry)
        self.state = state
        stands = Tally(self.till.books.values())
        assert stands["taken"] <= 1, "never taken twice"
        assert stands["taken"] + stands["held"] <= 1, "never held twice, or held beside what was taken"
        paid = self.told("payment_succeeded")
        assert len(paid) <= stands["taken"], "nothing is booked that was not taken"
        assert self.balances[cash("sandbox")] == TOTAL * len(paid)
        assert sum(self.balances.values()) == 0
        owed = state.collecting is not None
        assert self.balances[RECEIVABLE] == (TOTAL if owed else 0)
        if state.status is OrderStatus.AUTHORISED:
            assert stands["held"] + stands["gone"] >= 1
            assert not paid
        assert len(self.begun) == len(set(self.begun))
        assert not self.begun or paid
        assert _STATE.validate_json(to_json(state)) == state, "the state travels as JSON"
        assert set(allowed(state)) == {kind for kind in ALLOWED_IN if self._would_take(kind)}
        attention(state)

    def _would_take(self, kind: str) -> bool:
        command = {
            "set_lines": SetLines(self.lines),
            "place": Place(),
            "pay": Pay(),
            "capture_order": CaptureOrder(),
            "release_order": ReleaseOrder(),
            "cancel_order": CancelOrder(),
        }[kind]
        try:
            handle(self.state, OrderEnvelope("probe", command, "Anna"), self.now)
        except Refused:
            return False
        return True

    def _write(self, entry: Entry) -> None:
        self.timeline.append(entry)
        assert entry.seq == len(self.timeline)
        assert "None" not in sentence(entry.kind, entry.data)
        for posting in postings(entry):
            self.balances[posting.account] += posting.amount


def refused(counter: Counter, command: OrderCommand) -> str:
    before = counter.state
    with pytest.raises(Refused) as caught:
        counter.does(command)
    assert counter.state == before
    return caught.value.code


# ---------------------------------------------------------------- stories


def test_authorised_on_monday_and_captured_on_wednesday() -> None:
    counter = Counter().does(Pay(hold=True))
    assert counter.state.status == "authorised"
    assert counter.told() == ["order_created", "payment_asked", "invoice_issued", "payment_authorised"]
    assert sentence("payment_authorised", counter.timeline[-1].data) == (
        "25.00 EUR authorised by sandbox until 2026-03-09T09:00:00+00:00, nothing taken yet (attempt 1)."
    )
    assert (counter.begun, counter.state.paid_at) == ([], None)
    assert tellings(counter.timeline) == (), "the receipt comes with the capture"
    assert allowed(counter.state) == ("capture_order", "release_order", "cancel_order")
    counter.until(at("2026-03-04 15:00")).does(CaptureOrder())
    assert counter.told()[4:] == ["capture_asked", "payment_succeeded", "order_paid", "subscription_started"]
    assert (counter.state.status, counter.state.paid_at) == ("paid", at("2026-03-04 15:00"))
    assert (counter.begun, counter.till.stands) == ([2], ["taken"])
    assert [each.template for each in tellings(counter.timeline)] == ["receipt"]
    assert refused(counter, CaptureOrder()) == refused(counter, ReleaseOrder()) == "already_paid"


def test_a_payment_without_a_word_is_a_sale_as_ever() -> None:
    counter = Counter().does(Pay())
    assert (counter.state.status, counter.till.stands) == ("paid", ["taken"])
    assert "payment_authorised" not in counter.told()


def test_what_is_authorised_is_not_edited_or_paid_beside_it() -> None:
    counter = Counter().does(Pay(hold=True))
    assert refused(counter, SetLines((ENGRAVING,))) == "payment_authorised"
    assert refused(counter, Pay()) == refused(counter, Pay(hold=True)) == "payment_authorised"
    counter.does(ReleaseOrder()).does(SetLines((ENGRAVING, BOX))).does(Pay(hold=True))
    assert (counter.state.status, counter.till.stands) == ("authorised", ["gone", "held"])


def test_a_part_is_not_captured_and_the_whole_may_be_named() -> None:
    counter = Counter().does(Pay(hold=True))
    before = counter.state
    for wrong in (TOTAL - 1, TOTAL + 1, 0):
        with pytest.raises(InvalidInput, match=r"captured in full, 25\.00 EUR") as caught:
            counter.does(CaptureOrder(wrong))
        assert (caught.value.field, caught.value.code) == ("amount", "capture_in_full")
    assert counter.state == before
    assert counter.does(CaptureOrder(TOTAL)).state.status == "paid"


def test_released_it_is_open_and_paid_otherwise() -> None:
    counter = Counter().does(Pay(hold=True)).does(ReleaseOrder())
    assert counter.told()[4:] == ["release_asked", "authorisation_released"]
    assert (counter.state.status, attention(counter.state)) == ("open", None)
    assert refused(counter, CaptureOrder()) == "not_authorised"
    assert counter.does(Pay("amex")).state.status == "paid"
    assert counter.till.stands == ["gone", "taken"]


def test_cancelled_it_is_released_first() -> None:
    counter = Counter().does(Pay(hold=True)).does(CancelOrder())
    assert counter.told()[4:] == ["cancel_asked", "authorisation_released", "invoice_voided", "order_canceled"]
    assert (counter.state.status, counter.till.stands, counter.undone) == ("canceled", ["gone"], 0)


def test_nobody_captures_it_and_after_seven_days_it_is_given_back() -> None:
    counter = Counter().does(Pay(hold=True))
    pinned = counter.state.collecting
    assert pinned is not None
    assert pinned.held_until == counter.now + HOLD_TIME == at("2026-03-09 10:00")
    counter.until(at("2026-03-08 09:59"))
    assert (counter.state.status, attention(counter.state)) == ("authorised", None)
    counter.until(at("2026-03-08 10:00"))
    assert (counter.state.status, attention(counter.state)) == ("authorised", RUNS_OUT)
    counter.until(at("2026-03-09 09:59"))
    assert counter.state.status == "authorised"
    counter.until(at("2026-03-09 10:00"))
    assert counter.told()[4:] == ["authorisation_ending", "authorisation_expired", "authorisation_released"]
    assert (counter.state.status, counter.till.stands) == ("open", ["gone"])
    assert attention(counter.state) == RAN_OUT
    counter.does(Pay(hold=True))
    assert (counter.state.status, attention(counter.state)) == ("authorised", None)


def test_it_is_captured_on_its_last_day_and_nobody_needs_to_look_any_more() -> None:
    counter = Counter().does(Pay(hold=True)).until(at("2026-03-09 09:00"))
    assert attention(counter.state) == RUNS_OUT
    assert counter.told("authorisation_ending") == ["authorisation_ending"], "a person is told once"
    counter.does(CaptureOrder())
    assert (counter.state.status, attention(counter.state)) == ("paid", None)


def test_it_runs_out_while_the_gateway_is_down_and_is_given_back_when_it_is_up() -> None:
    counter = Counter().does(Pay(hold=True))
    counter.till.words = ["down", "down", "lost"]
    counter.until(at("2026-03-09 10:00"))
    assert counter.state.status == "releasing"
    assert refused(counter, CaptureOrder()) == refused(counter, CancelOrder()) == "release_under_way"
    counter.after(hours=1)
    assert (counter.state.status, counter.till.stands) == ("open", ["gone"])
    assert attention(counter.state) == RAN_OUT


def test_a_lapsed_order_holds_nothing() -> None:
    counter = Counter().does(Place()).after(days=OPEN_DAYS_MAX - 1).does(Pay(hold=True)).after(days=8)
    assert (counter.state.status, counter.till.stands) == ("lapsed", ["gone"])
    assert counter.state.collecting is None


@pytest.mark.parametrize("word", ["lost", "never", "down"])
def test_no_answer_to_any_of_the_three_moves_it_twice(word: str) -> None:
    counter = Counter([word]).does(Pay(hold=True)).after(hours=1)
    assert counter.state.status == "authorised"
    counter.till.words = [word]
    counter.does(CaptureOrder())
    assert counter.state.status == "paying"
    assert refused(counter, CaptureOrder()) == refused(counter, ReleaseOrder()) == "payment_under_way"
    counter.after(hours=1)
    assert (counter.state.status, counter.till.stands) == ("paid", ["taken"])
    other = Counter().does(Pay(hold=True))
    other.till.words = [word]
    assert other.does(ReleaseOrder()).state.status == "releasing"
    assert other.after(hours=1).state.status == "open"
    assert other.till.stands == ["gone"]


def test_an_outage_of_a_capture_may_be_cancelled_and_a_lost_answer_may_not() -> None:
    counter = Counter().does(Pay(hold=True))
    counter.till.words = ["down"]
    counter.does(CaptureOrder()).does(CancelOrder())
    assert (counter.state.status, counter.till.stands) == ("canceled", ["gone"])
    other = Counter().does(Pay(hold=True))
    other.till.words = ["lost"]
    assert refused(other.does(CaptureOrder()), CancelOrder()) == "outcome_open"


def test_what_is_gone_at_the_gateway_is_a_decline_and_the_order_is_open() -> None:
    counter = Counter().does(Pay(hold=True))
    counter.till.words = ["gone"]
    counter.does(CaptureOrder())
    assert counter.told()[4:] == ["capture_asked", "payment_declined"]
    assert counter.timeline[-1].data["code"] == HOLD_GONE
    assert "reserved" in in_words(HOLD_GONE)
    assert (counter.state.status, attention(counter.state)) == ("open", None)
    assert counter.does(Pay()).state.status == "paid"


def test_a_capture_that_finds_nothing_tries_no_other_card() -> None:
    counter = Counter().does(Pay(hold=True)).does(CaptureOrder(), key="once")
    held = Counter().does(Pay(hold=True))
    taking = handle(held.state, OrderEnvelope("key", CaptureOrder(), "Anna"), held.now)
    gone = Declined(1, "visa", HOLD_GONE, DeclineKind.SOFT, another=True, policy=DEFAULT_DUNNING)
    after = apply(taking, gone, held.now)
    assert (after.status, collecting_of(after).phase) == ("open", Phase.EXHAUSTED)
    assert counter.does(CaptureOrder(), key="once").state.status == "paid", "the same press again is no other one"


def test_a_customer_who_is_to_confirm_authorises_by_it() -> None:
    counter = Counter(["action"]).does(Pay(hold=True))
    assert (counter.state.status, collecting_of(counter.state).phase) == ("paying", Phase.ACTION)
    counter.till.books[1, 1] = "held"
    counter.after(minutes=1)
    assert counter.state.status == "authorised"
    silent = Counter(["action"]).does(Pay(hold=True)).after(hours=25)
    assert (silent.state.status, silent.till.stands) == ("open", ["gone"])


def test_what_somebody_took_at_the_gateway_goes_back_where_it_was_to_be_cancelled() -> None:
    counter = Counter().does(Pay(hold=True))
    counter.till.books[1, 1] = "taken"
    counter.does(CancelOrder(give_back=False, end_subscriptions=False))
    assert (counter.state.status, counter.undone, counter.begun) == ("canceled", 1, [])
    other = Counter().does(Pay(hold=True))
    other.till.books[1, 1] = "taken"
    assert (other.does(ReleaseOrder()).state.status, other.begun) == ("paid", [2])


def test_a_cancellation_says_release_first() -> None:
    told = effects(
        status=OrderStatus.AUTHORISED, currency="EUR", open_invoice=("inv", TOTAL), held=("att", TOTAL), sale=None,
        subscriptions=(), fulfilments=(), give_back=True, end_subscriptions=True,
    )  # fmt: skip
    assert [(each.on, each.effect, each.amount) for each in told] == [
        ("payment", "release", TOTAL),
        ("invoice", "void", TOTAL),
    ]


def test_the_page_of_its_link_does_not_ask_for_the_money_again() -> None:
    for status, stands in [("authorised", Stand.HELD), ("capturing", Stand.HELD), ("releasing", Stand.CHECKING)]:
        assert stand("open", [Tried(status)]) is stands
        assert not can_pay(stands)
    assert can_pay(stand("open", [Tried("released")]))


# ---------------------------------------------------------------- any order

COMMANDS = st.sampled_from([
    Pay(hold=True), Pay(hold=True), Pay(), CaptureOrder(), CaptureOrder(TOTAL), CaptureOrder(1), ReleaseOrder(),
    CancelOrder(), Place(), SetLines((ENGRAVING, BOX)),
])  # fmt: skip
WORDS = st.lists(st.sampled_from(["ok", "ok", "soft", "down", "lost", "never", "action", "gone"]), max_size=12)
SPANS = st.sampled_from([timedelta(0), timedelta(minutes=3), timedelta(hours=5), timedelta(days=3), timedelta(days=8)])


@settings(max_examples=200)
@given(words=WORDS, walk=st.lists(st.tuples(COMMANDS, SPANS), max_size=12))
def test_nothing_is_taken_twice_and_nothing_begins_without_money(
    words: list[str], walk: list[tuple[OrderCommand, timedelta]]
) -> None:
    """`Counter` checks it after every step: one capture at most, cash as the gateway has it, subscriptions after it."""
    counter = Counter(words)
    for command, span in walk:
        note(f"{counter.now} {counter.state.status}: {command}, {span}")
        with contextlib.suppress(Refused, InvalidInput):
            counter.does(command)
        counter.after(seconds=span.total_seconds())
    counter.till.words = []
    counter.after(days=60)
    assert "held" not in counter.till.books.values(), "nothing is held for ever"
    assert counter.state.status in {OrderStatus.PAID, OrderStatus.CANCELED, OrderStatus.LAPSED}
    taken = "taken" in counter.till.books.values()
    assert taken == ("payment_succeeded" in counter.told())
    assert bool(counter.begun) <= taken
