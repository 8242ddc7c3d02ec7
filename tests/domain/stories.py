"""Plays a subscription in imagined time: steps are taken as the workflow takes them, outcomes come from a script.

A `Story` holds what the world would hold: the state, the whole timeline, the invoices and the books. After each step it
checks what must always be true, so every story and every random walk proves it along the way.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import assert_never
from zoneinfo import ZoneInfo

from pydantic import TypeAdapter
from pydantic_core import to_json

from domain.calendar import Interval, Unit
from domain.commands import handle
from domain.declines import DeclineKind
from domain.discounts import Discount
from domain.errors import DunlinError
from domain.explain import attention, next_in_words, sentence
from domain.facts import (
    ActionRequired,
    Charged,
    Declined,
    Fact,
    NeverArrived,
    NoMethod,
    Outcome,
    Parked,
    Recorded,
    Unknown,
)
from domain.ledger import CUSTOMER_CREDIT, RECEIVABLE, postings
from domain.lifecycle import apply, begin, next_step
from domain.messages import Command, Envelope, Prepaid, Start
from domain.state import Collecting, Datum, Entry, State, Status
from domain.steps import AskGateway, Charge, End, Record, Tick, Wait
from domain.telling import OUTCOMES, overtaken_by, tellings
from domain.terms import DEFAULT_DUNNING, DunningTerms, Terms, Trigger

BERLIN = "Europe/Berlin"
MONTH, YEAR = Interval(1, Unit.MONTH), Interval(1, Unit.YEAR)
STEPS_AT_ONE_TIME_MAX = 500
_STATE: TypeAdapter[State] = TypeAdapter(State)

# What is told of an entry, beside its kind, when a story is read as text.
_TOLD = {
    "invoice_issued": "{reason} {cycle}: {total}, due {amount_due}",
    "payment_succeeded": "{amount} from {method_id}",
    "payment_declined": "{amount} from {method_id}: {code}",
    "retry_planned": "{retry} of {retries}",
    "renewal_notice": "{cycle}: {amount}",
    "cycle_skipped": "{cycle}",
    "cycles_not_billed": "{cycles} from {first}",
    "credit_granted": "{amount}",
    "invoice_written_off": "{amount}",
    "dunning_exhausted": "{end_action}",
}
MONEY = ("invoice_issued", "payment_succeeded", "payment_declined")


def at(text: str, zone: str = BERLIN) -> datetime:
    """`2026-01-31 10:00` by the clocks of `zone`, in UTC."""
    return datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone)).astimezone(UTC)


def price(amount: int = 1000, **terms: object) -> Terms:
    """Monthly, in EUR, unless told otherwise."""
    agreed = Terms(f"price_{amount}", "prod", "Tea", amount, "EUR", 1, MONTH)
    return replace(agreed, **terms)  # pyright: ignore[reportArgumentType] - fields by name, checked by Terms itself


@dataclass
class Bank:
    """The customer's methods in order, and what the gateway answers: a word for each call; the last one repeats.

    `paid`, `soft`, `hard`, `down`, `lost` (asked again: the next word), `never`, `action`.
    """

    answers: Sequence[str] | Callable[[int], str] = ("paid",)
    methods: Sequence[str] = ("visa",)
    policy: DunningTerms = DEFAULT_DUNNING
    withdraws: bool = True  # whether it takes the withdrawal of an attempt that was never confirmed
    calls: int = 0
    keys: list[tuple[str, int, str]] = field(default_factory=list[tuple[str, int, str]])
    triggers: list[str] = field(default_factory=list[str])

    def says(self, *answers: str) -> None:
        """From now on."""
        self.answers, self.calls = answers, 0

    def charge(self, collecting: Collecting) -> Outcome:
        attempt = collecting.attempt
        if collecting.amount_due == 0:
            return Charged(attempt, 0)
        wanted = self._eligible(collecting)
        if not wanted:
            return NoMethod(attempt, self.policy)
        self.keys.append((collecting.invoice_id, attempt, wanted[0]))
        self.triggers.append(collecting.trigger)
        return self._outcome(collecting, wanted[0], another=len(wanted) > 1)

    def ask(self, collecting: Collecting, *, give_up: bool) -> Outcome:
        invoice, attempt, method = self.keys[-1] if self.keys else (collecting.invoice_id, collecting.attempt, "visa")
        assert (invoice, attempt) == (collecting.invoice_id, collecting.attempt), "only what was sent is asked for"
        others = [one for one in self._eligible(collecting) if one != method]
        outcome = self._outcome(collecting, method, another=bool(others))
        if give_up and self.withdraws and isinstance(outcome, ActionRequired):
            return Declined(
                attempt, method, "authentication_expired", DeclineKind.SOFT, bool(others), self.policy, "sandbox"
            )
        return outcome

    def _eligible(self, collecting: Collecting) -> list[str]:
        if collecting.use_method is not None:
            return [collecting.use_method]
        return [method for method in self.methods if method not in {*collecting.tried, *collecting.refused}]

    def _outcome(self, collecting: Collecting, method: str, *, another: bool) -> Outcome:
        self.calls += 1
        word = (
            self.answers(self.calls) if callable(self.answers) else self.answers[min(self.calls, len(self.answers)) - 1]
        )
        attempt = collecting.attempt
        match word:
            case "paid":
                return Charged(attempt, collecting.amount_due, method, "sandbox", f"gw_{self.calls}")
            case "soft" | "hard":
                code = {"soft": "insufficient_funds", "hard": "stolen_card"}[word]
                return Declined(attempt, method, code, DeclineKind(word), another, self.policy, "sandbox")
            case "down":
                return Parked(attempt, "sandbox")
            case "lost":
                return Unknown(attempt, "sandbox")
            case "never":
                return NeverArrived(attempt)
            case "action":
                return ActionRequired(attempt, method, "https://bank.example/confirm", "sandbox")
            case _:
                raise AssertionError(word)


@dataclass(frozen=True)
class Invoice:
    identity: tuple[int, str, int]
    due: int
    open: int


class Story:
    """One subscription's life. `until` lets time pass, `does` gives a command, `told` reads the timeline."""

    def __init__(
        self,
        terms: Terms | None = None,
        *,
        now: str,
        zone: str = BERLIN,
        bank: Bank | None = None,
        trigger: Trigger = Trigger.TIMER,
        start_at: datetime | None = None,
        bill_from: datetime | None = None,
        notice_days: int = 0,
        prepaid: Prepaid | None = None,
        discounts: tuple[Discount, ...] = (),
    ) -> None:
        self.zone = zone
        self.now = at(now, zone)
        self.bank = bank or Bank()
        self.timeline: list[Entry] = []
        self.letters: list[str] = []
        self._untold = 0
        self.invoices: dict[str, Invoice] = {}
        self.balances: Counter[str] = Counter()
        self.steps: list[object] = []
        self._ids = count(1)
        start = Start(
            "sub_1", "cus_1", zone, terms or price(), "agent", start_at, bill_from, trigger=trigger,
            notice_days=notice_days, prepaid=prepaid, order_id="ord_1" if prepaid else None, discounts=discounts,
        )  # fmt: skip
        self.state = begin(start, self.now)
        for entry in self.state.journal:
            self._write(entry)
        self.settle()

    # ------------------------------------------------------------ what happens

    def does(self, command: Command, *, reason: str = "asked", key: str | None = None) -> Story:
        """Give a command now, and let what follows at once happen."""
        self.order(command, reason=reason, key=key)
        return self.settle()

    def order(self, command: Command, *, reason: str = "asked", key: str | None = None) -> None:
        """Give a command now; nothing else happens before the next one."""
        envelope = Envelope(key or f"cmd_{next(self._ids)}", command, "agent", reason)
        self._take(handle(self.state, envelope, self.now))

    def until(self, text: str) -> Story:
        """Let time pass until then, by the customer's clock."""
        return self.until_instant(at(text, self.zone))

    def until_instant(self, then: datetime) -> Story:
        self.settle()
        while True:
            step = next_step(self.state, self.now)
            if isinstance(step, End):
                break
            assert isinstance(step, Wait)
            if step.until is None or step.until > then:
                break
            self.now = step.until
            self.settle()
        self.now = max(then, self.now)
        return self.settle()

    def sleep_until(self, text: str) -> Story:
        """Nothing runs until then: the system was down."""
        self.now = at(text, self.zone)
        return self.settle()

    def settle(self) -> Story:
        """Take all steps of this moment."""
        for _ in range(STEPS_AT_ONE_TIME_MAX):
            step = next_step(self.state, self.now)
            self.steps.append(step)
            match step:
                case Wait():
                    assert step.until is None or step.until > self.now, "a wait is for a time to come"
                    assert not self.state.journal, "the timeline is in the books before any wait"
                    assert next_in_words(self.state, self.now) == (step.why, step.until)
                    return self
                case End():
                    return self
                case Tick():
                    self._apply(step.fact)
                case Charge():
                    self._apply(self.bank.charge(self._collecting()))
                    self._tell()
                case AskGateway():
                    self._apply(self.bank.ask(self._collecting(), give_up=step.give_up))
                    self._tell()
                case Record():
                    self._tell()
                    self._apply(Recorded(self.state.seq))
                case _:
                    assert_never(step)
        raise AssertionError(f"no end of steps at {self.now}: {self.steps[-3:]}")

    def _apply(self, fact: Fact) -> None:
        self._take(apply(self.state, fact, self.now))

    def _collecting(self) -> Collecting:
        assert self.state.collecting is not None
        return self.state.collecting

    # ------------------------------------------------------------ what must always be true

    def _take(self, state: State) -> None:
        before = self.state
        assert state.cycle >= before.cycle, "cycle numbers never go back"
        assert state.seq >= before.seq
        assert state.credit >= 0, "credit is never negative"
        assert state.paid_for_period >= 0
        assert state.running is None or state.running.paid >= 0
        assert len(state.recent_commands) <= 20
        assert not (state.status is Status.CANCELED and state.collecting)
        for entry in state.journal:
            if entry.seq > before.seq:
                self._write(entry)
        assert sum(self.balances.values()) == 0, "the books balance"
        assert self.balances[RECEIVABLE] == sum(one.open for one in self.invoices.values())
        assert -self.balances[CUSTOMER_CREDIT] == state.credit
        waiting = {one: invoice for one, invoice in self.invoices.items() if invoice.open}
        assert set(waiting) <= {state.collecting.invoice_id if state.collecting else None}, "one open invoice at most"
        assert _STATE.validate_json(to_json(state)) == state, "the state travels as JSON"
        attention(state)
        self.state = state

    def _tell(self) -> None:
        """A step is written: its letters say one thing, and something of what there is to say."""
        entries, self._untold = self.timeline[self._untold :], len(self.timeline)
        told = [each.template for each in tellings(entries)]
        alone = [template for entry in entries for template in (each.template for each in tellings([entry]))]
        assert bool(told) == bool(alone), "what happened is told"
        assert sum(template in OUTCOMES for template in told) <= 1, f"a step tells one outcome: {told}"
        assert not any(new in overtaken_by(old) for old in told for new in told if new != old), (
            f"no letter is untrue: {told}"
        )
        self.letters += told

    def _write(self, entry: Entry) -> None:
        self.timeline.append(entry)
        assert entry.seq == len(self.timeline), "entries are numbered without a gap"
        assert entry.at == self.now
        words = sentence(entry.kind, entry.data)
        assert "None" not in words, words
        for posting in postings(entry):
            self.balances[posting.account] += posting.amount
        data = entry.data
        match entry.kind:
            case "invoice_issued":
                identity = (_int(data["cycle"]), str(data["reason"]), _int(data["sequence"]))
                assert identity not in {one.identity for one in self.invoices.values()}, "a cycle is invoiced once"
                assert str(data["invoice_id"]) not in self.invoices
                assert sum(line.gross for line in entry.lines) == data["total"]
                assert sum(line.tax for line in entry.lines) == data["tax"]
                assert sum(line.discount for line in entry.lines) == data["discount"]
                due = _int(data["amount_due"])
                self.invoices[str(data["invoice_id"])] = Invoice(identity, due, due)
            case "payment_succeeded" | "invoice_written_off" | "invoice_voided":
                invoice = self.invoices[str(data["invoice_id"])]
                assert invoice.open == data["amount"], "an invoice is settled once, in full"
                self.invoices[str(data["invoice_id"])] = replace(invoice, open=0)
            case _:
                pass

    # ------------------------------------------------------------ how it is read

    def told(self, *kinds: str) -> list[str]:
        """The timeline as text, by the customer's clock; only these kinds, if any are given."""
        return [self._line(entry) for entry in self.timeline if not kinds or entry.kind in kinds]

    def entries(self, kind: str) -> list[Entry]:
        return [entry for entry in self.timeline if entry.kind == kind]

    def last(self, kind: str) -> dict[str, Datum]:
        return self.entries(kind)[-1].data

    @property
    def due(self) -> str:
        """When the next wait ends, by the customer's clock."""
        step = next_step(self.state, self.now)
        assert isinstance(step, Wait)
        return self.clock(step.until) if step.until else "never"

    def clock(self, instant: datetime) -> str:
        return f"{instant.astimezone(ZoneInfo(self.zone)):%Y-%m-%d %H:%M}"

    def _line(self, entry: Entry) -> str:
        words = f"{self.clock(entry.at)} {entry.kind}"
        told = _TOLD.get(entry.kind)
        return f"{words} {told.format_map(entry.data)}" if told else words


def can_be_read(refusal: DunlinError) -> bool:
    """Whether a person is told what is wrong: there is a sentence, and it does not shout."""
    return bool(refusal.message) and not refusal.message.isupper()


def after(start: datetime, **span: int) -> datetime:
    return start + timedelta(**span)


def _int(value: Datum) -> int:
    assert isinstance(value, int)
    return value
