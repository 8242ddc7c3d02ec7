"""Plays an order in imagined time, as `workflows/order.py` does: a bank answers by words, a small world remembers.

The world holds what an order leads to: its invoices and the books, the subscriptions that it started, the parcels that
it sent, and what its payment gave back. After each step it is checked what must always be true.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from datetime import datetime
from itertools import count
from typing import assert_never
from zoneinfo import ZoneInfo

import pytest
from pydantic import TypeAdapter
from pydantic_core import to_json

from domain.collection import is_outcome_open
from domain.errors import InvalidInput, Refused
from domain.explain import sentence
from domain.facts import Charged, Declined, NoMethod, Recorded
from domain.fulfilment import Status as ParcelStatus
from domain.fulfilment import stop
from domain.ledger import RECEIVABLE, postings
from domain.lifecycle import begin
from domain.messages import Start
from domain.order_cancel import Effect, Sale, Sent, effects, stays_in
from domain.order_commands import allowed, handle
from domain.order_messages import (
    EndedSubscription,
    OpenOrder,
    OrderCommand,
    OrderEnvelope,
    OrderFact,
    OrderTick,
    Started,
    StartLine,
    StoppedParcel,
    Undo,
    Undone,
)
from domain.order_state import Channel, DueLine, OrderLine, OrderLineKind, OrderState, OrderStatus
from domain.orders import apply, attention, begin_order, collecting_of, next_step, start_of
from domain.state import RECENT_COMMANDS_MAX, Datum, Entry, Phase
from domain.steps import AskGateway, Charge, End, Record, Wait
from domain.tax import NO_TAX, TaxTerms
from domain.terms import Terms
from tests.domain.stories import BERLIN, Bank, at, can_be_read, price

STEPS_AT_ONE_TIME_MAX = 200
FINAL = frozenset({OrderStatus.CANCELED, OrderStatus.LAPSED})
_STATE: TypeAdapter[OrderState] = TypeAdapter(OrderState)

# What is told of an entry, beside its kind, when a story is read as text.
_TOLD = {
    "order_created": "{lines}: {total}",
    "lines_changed": "{revision}: {total}",
    "invoice_issued": "{sequence}: {total}",
    "invoice_voided": "{amount}",
    "payment_succeeded": "{amount} from {method_id}",
    "payment_declined": "{amount} from {method_id}: {code}",
    "order_paid": "{amount}",
    "subscription_started": "{position}",
    "subscription_kept": "{code}",
    "parcel_stopped": "{fulfilment_id}: {withdrawal}",
    "parcel_stays": "{fulfilment_id}: {status}",
    "money_back": "{status}",
    "money_kept": "{code}",
}


def item(amount: int = 1500, quantity: int = 1, **fields: object) -> OrderLine:
    """Something that is paid once, in no catalogue unless told otherwise."""
    line = OrderLine(1, OrderLineKind.ONE_TIME, "Engraving", quantity, amount)
    return replace(line, **fields)  # pyright: ignore[reportArgumentType] - fields by name


def plan(terms: Terms | None = None, **fields: object) -> OrderLine:
    """A subscription at the catalogue's price."""
    agreed = terms or price()
    line = OrderLine(
        1, OrderLineKind.SUBSCRIPTION, agreed.product_name, agreed.quantity, agreed.unit_amount,
        list_amount=agreed.unit_amount, product_id=agreed.product_id, price_id=agreed.price_id, terms=agreed,
    )  # fmt: skip
    return replace(line, **fields)  # pyright: ignore[reportArgumentType] - fields by name


def lines(*wanted: OrderLine) -> tuple[OrderLine, ...]:
    """In their places."""
    return tuple(replace(line, position=position) for position, line in enumerate(wanted, start=1))


@dataclass
class World:
    """What an order has led to outside of itself."""

    settlement: str = "pending"
    disputed: str | None = None
    captured: int = 0
    returned: int = 0


class OrderStory:
    """One order's life. `until` lets time pass, `does` gives a command, `told` reads the timeline."""

    def __init__(
        self,
        *wanted: OrderLine,
        now: str = "2026-03-02 10:00",
        zone: str = BERLIN,
        bank: Bank | None = None,
        tax: TaxTerms = NO_TAX,
        notice_days: int = 0,
        dues: tuple[DueLine, ...] | None = None,
        test_mode: bool = False,
    ) -> None:
        self.zone = zone
        self.now = at(now, zone)
        self.bank = bank or Bank()
        self.world = World()
        self.timeline: list[Entry] = []
        self.invoices: dict[str, int] = {}  # what is open of each
        self.paid: list[str] = []
        self.balances: Counter[str] = Counter()
        self.starts: dict[str, Start] = {}
        self.running: dict[str, str] = {}  # subscription → its status
        self.parcels: dict[str, Sent] = {}
        self.steps: list[object] = []
        self._ids = count(1)
        self.state = begin_order(
            OpenOrder(
                "ord_1", "cus_1", zone, "EUR", Channel.PHONE, "anna", lines(*(wanted or (item(),))),
                dues=dues, notice_days=notice_days, tax=tax, request_id="req_1", test_mode=test_mode,
            ),
            self.now,
        )  # fmt: skip
        self._write(self.state.journal[0])
        self.settle()

    # ------------------------------------------------------------ what happens

    def does(self, *commands: OrderCommand, actor: str = "anna", reason: str = "asked", key: str = "") -> OrderStory:
        """Give commands now, each when what follows at once from the one before it has happened."""
        for command in commands:
            envelope = OrderEnvelope(key or f"cmd_{next(self._ids)}", command, actor, reason)
            self._take(handle(self.state, envelope, self.now))
            self.settle()
        return self

    def refused(self, command: OrderCommand) -> Refused:
        """Give a command that is not taken: nothing changes."""
        with pytest.raises(Refused) as refused:
            self.does(command)
        assert refused.value.allowed == allowed(self.state)
        assert can_be_read(refused.value)
        return refused.value

    def invalid(self, command: OrderCommand) -> InvalidInput:
        with pytest.raises(InvalidInput) as invalid:
            self.does(command)
        return invalid.value

    def until(self, text: str) -> OrderStory:
        """Let time pass until then, by the customer's clock."""
        return self.until_instant(at(text, self.zone))

    def until_instant(self, then: datetime) -> OrderStory:
        while True:
            step = next_step(self.state, self.now)
            if not isinstance(step, Wait) or step.until is None or step.until > then:
                break
            self.now = step.until
            self.settle()
        self.now = max(then, self.now)
        return self.settle()

    def settle(self) -> OrderStory:
        """Take all steps of this moment."""
        for _ in range(STEPS_AT_ONE_TIME_MAX):
            step = next_step(self.state, self.now)
            self.steps.append(step)
            match step:
                case Wait():
                    assert step.until is not None, "nothing waits for ever by itself"
                    assert step.until > self.now, "a wait is for a time to come"
                    assert not self.state.journal, "the timeline is in the books before any wait"
                    return self
                case End():
                    assert not self.state.journal
                    assert self.state.status in FINAL | {OrderStatus.PAID}
                    return self
                case OrderTick():
                    self._apply(step.fact)
                case Charge():
                    assert self.state.status is OrderStatus.PAYING, "only what is being paid is charged"
                    self._apply(self.bank.charge(collecting_of(self.state)))
                case AskGateway():
                    self._apply(self.bank.ask(collecting_of(self.state), give_up=step.give_up))
                case StartLine():
                    self._apply(self._start(step.position))
                case Undo():
                    self._apply(self._undo())
                case Record():
                    self._apply(Recorded(self.state.seq))
                case _:
                    assert_never(step)
        raise AssertionError(f"no end of steps at {self.now}: {self.steps[-3:]}")

    def sends(self, identity: str, sent: Sent) -> None:
        """A parcel that the paid order sends."""
        self.parcels[identity] = sent

    def preview(self, *, give_back: bool = True, end_subscriptions: bool = True) -> tuple[Effect, ...]:
        """What a cancellation would do now."""
        left = self.world.captured - self.world.returned
        return effects(
            status=self.state.status,
            currency=self.state.currency,
            open_invoice=next(((one, due) for one, due in self.invoices.items() if due), None),
            sale=Sale(self.world.settlement, left, self.world.disputed) if self.world.captured else None,
            subscriptions=list(self.running.items()),
            fulfilments=list(self.parcels.values()),
            give_back=give_back,
            end_subscriptions=end_subscriptions,
        )

    def _start(self, position: int) -> Started:
        start = start_of(self.state, position)
        assert start.id not in self.starts, "a subscription begins once"
        assert start.start_at is not None
        assert self.state.paid_at is not None
        assert start.start_at >= self.state.paid_at, "none begins before the order is paid"
        begin(start, self.now)  # it can be begun so
        self.starts[start.id] = start
        self.running[start.id] = "active" if start.start_at <= self.now else "scheduled"
        return Started(position, start.id)

    def _undo(self) -> Undone:
        """As `activities.orders` does it."""
        ending = self.state.ending
        assert ending is not None
        stopped: list[StoppedParcel] = []
        for identity, sent in self.parcels.items():
            if stays_in(
                of_subscription=sent.of_subscription,
                give_back=ending.give_back,
                end_subscriptions=ending.end_subscriptions,
            ):
                now = stop(sent.fulfilment)
                self.parcels[identity] = replace(sent, fulfilment=now)
                inside = now.status is ParcelStatus.STOPPED
                stopped.append(StoppedParcel(identity, now.status.value, now.withdrawal.value, inside))
        ended: list[EndedSubscription] = []
        if ending.end_subscriptions:
            for identity, status in self.running.items():
                over = status == "canceled"
                ended.append(EndedSubscription(identity, "already_canceled" if over else None))
                self.running[identity] = "canceled"
        refund, status, refusal = self._give_back(give_back=ending.give_back)
        return Undone(tuple(ended), refund, status, refusal, tuple(stopped))

    def _give_back(self, *, give_back: bool) -> tuple[str | None, str | None, str | None]:
        world = self.world
        if not give_back:
            return None, None, "kept"
        if not world.captured:
            return None, None, "not_captured" if self.state.invoice_id is not None else None
        if world.disputed is not None:
            return None, None, "disputed"
        if world.captured == world.returned:
            return None, None, "nothing_left"
        world.returned = world.captured
        return "ref_1", "succeeded" if world.settlement == "pending" else "queued", None

    def _apply(self, fact: OrderFact) -> None:
        self._take(apply(self.state, fact, self.now))
        if isinstance(fact, Charged | Declined | NoMethod):
            assert apply(self.state, fact, self.now) == self.state, "an outcome counts once"

    # ------------------------------------------------------------ what must always be true

    def _take(self, state: OrderState) -> None:
        before = self.state
        assert state.seq >= before.seq
        assert state.revision >= before.revision
        assert state.invoices >= before.invoices
        assert len(state.recent_commands) <= RECENT_COMMANDS_MAX
        assert before.status not in FINAL or state.status is before.status, "what is over stays over"
        if state.status in FINAL:
            assert not is_outcome_open(before.collecting), "nothing ends while the gateway may hold money"
        assert (state.ended_at is not None) == (state.status in FINAL)
        assert state.paid_at is None or state.placed_at is not None
        assert (state.status is OrderStatus.CANCELING) == (state.ending is not None)
        assert state.total == sum(due.line.gross for due in state.dues)
        for entry in state.journal:
            if entry.seq > before.seq:
                self._write(entry)
        assert sum(self.balances.values()) == 0, "the books balance"
        assert self.balances[RECEIVABLE] == sum(self.invoices.values())
        waiting = {one for one, due in self.invoices.items() if due}
        assert waiting == ({state.collecting.invoice_id} if state.collecting else set()), "one open invoice at most"
        if state.collecting is not None:
            assert state.collecting.invoice_id == state.invoice_id
            assert state.collecting.amount_due == state.total == state.collecting.total
            if known(state):
                tried = state.collecting.phase is not Phase.EXHAUSTED
                assert state.status is (OrderStatus.PAYING if tried else OrderStatus.OPEN)
        positions = [line.position for line in state.lines if line.kind is OrderLineKind.SUBSCRIPTION]
        assert list(state.started) == positions[: len(state.started)], "in their order, each once"
        assert not state.started or state.paid_at is not None, "nothing begins before it is paid"
        assert _STATE.validate_json(to_json(state)) == state, "the state travels as JSON"
        attention(state)
        self.state = state

    def _write(self, entry: Entry) -> None:
        self.timeline.append(entry)
        assert entry.seq == len(self.timeline), "entries are numbered without a gap"
        assert entry.at == self.now
        assert "None" not in sentence(entry.kind, entry.data)
        for posting in postings(entry):
            self.balances[posting.account] += posting.amount
        data, identity = entry.data, str(entry.data.get("invoice_id"))
        match entry.kind:
            case "invoice_issued":
                assert identity not in self.invoices, "an invoice is issued once"
                assert not any(self.invoices.values()), "the one before is closed"
                assert not self.paid, "nothing is invoiced once it is paid"
                assert data["total"] == data["amount_due"] == sum(line.gross for line in entry.lines)
                assert data["subtotal"] == sum(line.amount for line in entry.lines)
                assert data["discount"] == sum(line.discount for line in entry.lines)
                assert data["tax"] == sum(line.tax for line in entry.lines)
                self.invoices[identity] = number(data["amount_due"])
            case "payment_succeeded":
                assert not self.paid, "nothing is paid twice"
                assert self.invoices[identity] == data["amount"], "an invoice is paid in full"
                self.invoices[identity] = 0
                self.paid.append(identity)
                self.world.captured += number(data["amount"])
            case "invoice_voided":
                assert self.invoices[identity] == data["amount"], "what is owed no more was owed"
                self.invoices[identity] = 0
            case _:
                pass

    # ------------------------------------------------------------ how it is read

    def told(self, *kinds: str) -> list[str]:
        """The timeline as text, by the customer's clock; only these kinds, if any are given."""
        return [self._line(entry) for entry in self.timeline if not kinds or entry.kind in kinds]

    @property
    def kinds(self) -> list[str]:
        return [entry.kind for entry in self.timeline]

    def last(self, kind: str) -> dict[str, Datum]:
        return self.entry(kind).data

    def entry(self, kind: str) -> Entry:
        return next(entry for entry in reversed(self.timeline) if entry.kind == kind)

    @property
    def due(self) -> str:
        """When the next wait ends, by the customer's clock."""
        step = next_step(self.state, self.now)
        assert isinstance(step, Wait)
        assert step.until is not None
        return self.clock(step.until)

    @property
    def is_closed(self) -> bool:
        return isinstance(next_step(self.state, self.now), End)

    def clock(self, instant: datetime) -> str:
        return f"{instant.astimezone(ZoneInfo(self.zone)):%Y-%m-%d %H:%M}"

    def _line(self, entry: Entry) -> str:
        words = f"{self.clock(entry.at)} {entry.kind}"
        told = _TOLD.get(entry.kind)
        return f"{words} {told.format_map(entry.data)}" if told else words


def known(state: OrderState) -> bool:
    """Whether it stands where an order stands that is charged at once."""
    return state.status in {
        OrderStatus.DRAFT, OrderStatus.OPEN, OrderStatus.PAYING, OrderStatus.PAID, OrderStatus.CANCELING,
        OrderStatus.CANCELED, OrderStatus.LAPSED,
    }  # fmt: skip


def number(value: Datum) -> int:
    assert isinstance(value, int)
    return value
