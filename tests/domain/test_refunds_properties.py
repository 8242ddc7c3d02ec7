"""Whatever is wished, answered and commanded: never more back than was captured, never a fourth daily retry."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.business import RefundRules
from domain.calendar import local_day
from domain.errors import Refused
from domain.facts import Recorded
from domain.refund_commands import ALLOWED_IN, allowed, begin, handle
from domain.refund_messages import (
    Approve,
    AskReturn,
    Decline,
    GiveBack,
    OpenRefund,
    RefundCommand,
    RefundEnvelope,
    RefundMode,
    RefundTick,
    Returned,
    ReturnFailed,
    ReturnNeverArrived,
    ReturnOutcome,
    ReturnParked,
    ReturnTaken,
    ReturnUnknown,
    TakeOut,
    TryNow,
    UseMethod,
)
from domain.refund_state import FINAL, RefundPhase, RefundState
from domain.refunds import REFUND_RETRIES_MAX, apply, next_step
from domain.steps import End, Record, Wait
from tests.domain.test_refunds import BUSY, CHARGE, NOW

RELEASING = {"taken_out", "approval_declined", "approval_lapsed", "exhausted", "failed"}
RULES = RefundRules(approval_limits={"EUR": 700}, approval_hours=30)
COMMANDS: dict[str, RefundCommand] = {
    "approve": Approve(),
    "decline": Decline(),
    "try_now": TryNow(),
    "use_method": UseMethod("pm_2"),
    "take_out": TakeOut(),
}
ANSWERS = ("paid", "busy", "method_not_allowed", "already_settled", "already_voided", "taken", "lost", "never", "down")


def outcome(word: str, number: int) -> ReturnOutcome:
    match word:
        case "paid":
            return Returned(number)
        case "taken":
            return ReturnTaken(number)
        case "lost":
            return ReturnUnknown(number)
        case "never":
            return ReturnNeverArrived(number)
        case "down":
            return ReturnParked(number)
        case _:
            return ReturnFailed(number, word)


@dataclass
class Shop:
    """A charge, the refunds opened on it, and the books that their lines lead to."""

    settlement: str
    returned: int = 0
    given: int = 0
    refunds: list[RefundState] = field(default_factory=list[RefundState])
    retry_days: dict[str, list[object]] = field(default_factory=dict[str, list[object]])

    def open(self, mode: RefundMode, amount: int | None, hours: int) -> None:
        charge = replace(
            CHARGE, settlement=self.settlement, returned=self.returned, invoice_left=CHARGE.amount - self.returned
        )
        wanted = OpenRefund(f"ref_{len(self.refunds)}", charge.attempt_id, mode, "", "anna", amount)
        try:
            state = begin(wanted, charge, RULES, NOW + timedelta(hours=hours))
        except Refused:
            return
        self.returned += state.amount
        self.refunds.append(self.booked(state))

    def booked(self, state: RefundState) -> RefundState:
        """Its lines in the books: what was held is given or free again, once."""
        kinds = [entry.kind for entry in state.journal]
        assert len(RELEASING.intersection(kinds)) + kinds.count("given_back") <= 1
        if RELEASING.intersection(kinds):
            self.returned -= state.amount
        if "given_back" in kinds:
            self.given += state.amount
            if state.kind == "void":
                self.settlement = "voided"
        return apply(state, Recorded(state.seq), NOW)

    def go(self, index: int, word: str, hours: int) -> None:
        """Let time come, and do what is to be done then; the gateway answers with this word."""
        state, now = self.refunds[index], NOW + timedelta(hours=hours)
        step = next_step(state, now)
        match step:
            case RefundTick():
                state = apply(state, step.fact, now)
                if step.fact.what == "retry":
                    self.retry_days.setdefault(state.id, []).append(local_day(now, state.zone))
            case GiveBack() | AskReturn():
                state = apply(state, outcome(word, state.number), now)
            case Wait():
                assert step.until is not None, "nothing waits for ever by itself"
                assert step.until > now
            case End():
                assert state.phase in FINAL
            case Record():
                raise AssertionError("every line is in the books")
        self.refunds[index] = self.booked(state)

    def command(self, index: int, kind: str, hours: int, actor: str) -> None:
        state, now = self.refunds[index], NOW + timedelta(hours=hours)
        open_before = allowed(state)
        envelope = RefundEnvelope(f"{hours}-{kind}", COMMANDS[kind], actor)
        if kind in open_before and not (kind == "approve" and actor == state.actor):
            self.refunds[index] = self.booked(handle(state, envelope, now))
            return
        if envelope.id not in state.recent_commands:
            with pytest.raises(Refused):
                handle(state, envelope, now)

    def check(self) -> None:
        assert 0 <= self.given <= self.returned <= CHARGE.amount
        held = sum(state.amount for state in self.refunds if state.phase not in FINAL)
        assert self.returned == self.given + held
        assert self.given == sum(state.amount for state in self.refunds if state.phase is RefundPhase.SUCCEEDED)
        for state in self.refunds:
            days = self.retry_days.get(state.id, [])
            assert len(days) == state.retries <= REFUND_RETRIES_MAX
            assert len(set(days)) == len(days), "one retry a day"
            assert (state.ended_at is not None) == (state.phase in FINAL)
            assert set(ALLOWED_IN.get(state.phase, ())) >= set(allowed(state))


acts = st.one_of(
    st.tuples(st.just("open"), st.sampled_from(list(RefundMode)), st.sampled_from([None, 1, 300, 701, 1000, 1001])),
    st.tuples(st.just("go"), st.integers(0, 3), st.sampled_from(ANSWERS)),
    st.tuples(st.just("command"), st.integers(0, 3), st.sampled_from(list(COMMANDS))),
)


@given(
    st.sampled_from(["pending", "settled"]),
    st.lists(st.tuples(acts, st.integers(0, 40), st.sampled_from(["anna", "lena"])), max_size=60),
)
def test_any_life_of_any_refunds_keeps_the_money_within_what_was_captured(
    settlement: str, moves: list[tuple[tuple[str, object, object], int, str]]
) -> None:
    shop, hours = Shop(settlement), 0
    for (act, first, second), later, actor in moves:
        hours += later
        if act == "open":
            assert isinstance(first, RefundMode)
            shop.open(first, second if isinstance(second, int) else None, hours)
        elif shop.refunds:
            assert isinstance(first, int)
            index = first % len(shop.refunds)
            if act == "go":
                shop.go(index, str(second), hours)
            else:
                shop.command(index, str(second), hours, actor)
        shop.check()


@given(st.lists(st.sampled_from([word for word in ANSWERS if word != "paid"]), min_size=1, max_size=40))
def test_a_refund_left_to_itself_ends_when_the_gateway_says_no_for_good(words: list[str]) -> None:
    state, now = begin(OpenRefund("ref_1", "att_1", RefundMode.REFUND, "", "anna"), CHARGE, RefundRules(), NOW), NOW
    answers = iter(words)
    for _ in range(400):
        step = next_step(state, now)
        match step:
            case RefundTick():
                state = apply(state, step.fact, now)
            case GiveBack() | AskReturn():
                state = apply(state, outcome(next(answers, BUSY), state.number), now)
            case Record():
                state = apply(state, Recorded(state.seq), now)
            case Wait():
                assert step.until is not None
                assert step.until > now
                now = step.until
            case End():
                break
    assert state.phase in FINAL, "a gateway that says no in the end ends it"
    assert state.number <= 2 + REFUND_RETRIES_MAX
