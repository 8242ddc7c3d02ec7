"""Whatever the order of commands, answers and time: what a subscription never does.

`Story` checks the books, the invoices and the state after every step (see `stories.py`); the walks below add what only
a whole life shows. `DUNLIN_TEST_DEPTH=deep` walks more often.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import date, datetime, timedelta

from hypothesis import given, note, settings
from hypothesis import strategies as st

from domain.calendar import Alignment, Interval, Unit, boundary
from domain.commands import allowed, handle
from domain.discounts import Discount, DiscountSource
from domain.errors import DunlinError, InvalidInput, Refused
from domain.forecast import Assume, forecast
from domain.messages import (
    AddDiscount,
    BillDue,
    Cancel,
    ChangeDate,
    ChangeTerms,
    ChargeNow,
    CollectNow,
    Command,
    EndTrial,
    Envelope,
    ExtendTrial,
    ForceBill,
    GrantCredit,
    Pause,
    PlaceHold,
    RefundChoice,
    ReleaseHold,
    RemoveDiscount,
    Restart,
    RestartTrial,
    Resume,
    SetCustomer,
    SetNotice,
    SetTax,
    Skip,
    StopTrial,
    UndoCancel,
    When,
)
from domain.plan import due_at
from domain.proration import Basis
from domain.state import EntryData, State, Status
from domain.tax import TaxRate, TaxStatus, TaxTerms
from domain.terms import CatchUp, DunningTerms, EndAction, Retry, Terms, Trigger
from tests.domain.stories import BERLIN, Bank, Story, at, price

ZONES = ("Europe/Berlin", "America/New_York", "Pacific/Auckland", "UTC")
ALIGNED = Alignment(day_of_month=1)

amounts = st.sampled_from([0, 1, 999, 1000, 5000])
intervals = st.sampled_from(
    [
        Interval(1, Unit.MONTH),
        Interval(1, Unit.WEEK),
        Interval(10, Unit.DAY),
        Interval(3, Unit.MONTH),
        Interval(1, Unit.YEAR),
    ]
)


def _terms(interval: Interval, *, aligned: bool, amount: int, **fields: object) -> Terms:
    alignment = ALIGNED if aligned and interval.unit is Unit.MONTH else None
    return price(amount, interval=interval, alignment=alignment, **fields)


terms = st.builds(
    _terms,
    interval=intervals,
    aligned=st.booleans(),
    amount=amounts,
    quantity=st.integers(1, 3),
    trial_days=st.sampled_from([0, 0, 7, 14]),
    trial_amount=st.sampled_from([0, 0, 100]),
    setup_fee=st.sampled_from([0, 300]),
    catch_up=st.sampled_from(CatchUp),
    basis=st.sampled_from(Basis),
)

policies = st.builds(
    DunningTerms,
    id=st.just("p"),
    name=st.just("p"),
    retries=st.lists(st.builds(Retry, st.integers(0, 9), st.integers(0, 23)), max_size=3).map(tuple),
    grace_days=st.integers(0, 20),
    end_action=st.sampled_from(list(EndAction)),
)

words = st.sampled_from(["paid", "paid", "paid", "soft", "hard", "down", "lost", "never", "action"])


# Any command, with values that are mostly right and sometimes not; times are so far from the moment it is given.
METHODS = st.sampled_from([None, "visa", "master", "amex"])
SPANS = st.integers(-1, 90).map(lambda days: timedelta(days=days, hours=1))
Order = Callable[[datetime], Command]


def _now(command: Command) -> Order:
    return lambda _: command


def _date(span: timedelta, prorate: bool) -> Order:
    return lambda now: ChangeDate(now + span, prorate)


def _pause(when: When, span: timedelta | None) -> Order:
    return lambda now: Pause(when, None if span is None else now + span)


def _hold(span: timedelta) -> Order:
    return lambda now: PlaceHold("ops", now + span)


def _discount(size: tuple[int, int], cycles: int | None, span: timedelta | None, number: int) -> Order:
    rate, amount = size
    source = DiscountSource.COUPON if number % 2 else DiscountSource.CUSTOMER

    def order(now: datetime) -> Command:
        until = None if span is None else now + span
        name = f"discount {number}"
        return AddDiscount(Discount(name, name, source, now, rate, amount, cycles, until), "EUR")

    return order


RATES = (
    TaxRate("old", "DE", "standard", 19_000, False, date(2020, 1, 1), date(2026, 5, 1)),
    TaxRate("new", "DE", "standard", 16_000, False, date(2026, 5, 1)),
    TaxRate("fr", "FR", "standard", 20_000, True, date(2020, 1, 1)),
)


def _tax(status: TaxStatus, place: str) -> Order:
    return _now(SetTax(TaxTerms(status, place, RATES)))


COMMANDS: st.SearchStrategy[Order] = st.one_of(
    st.one_of(
        st.builds(Skip, st.integers(-1, 3)),
        st.builds(ExtendTrial, st.integers(0, 30)),
        st.builds(RestartTrial, st.sampled_from([None, 0, 5])),
        st.sampled_from(
            [EndTrial(), StopTrial(), ForceBill(), Resume(), UndoCancel(), Restart(), ReleaseHold(), BillDue("run")]
        ),
        st.builds(ChangeTerms, terms, st.sampled_from([None, *When]), st.booleans(), st.booleans()),
        st.builds(ChargeNow, st.integers(0, 500), st.just("EUR"), st.just("Cups"), METHODS),
        st.builds(Cancel, st.sampled_from(When), st.sampled_from(RefundChoice)),
        st.builds(GrantCredit, st.integers(0, 3000), st.sampled_from(["EUR", "EUR", "USD"])),
        st.builds(CollectNow, METHODS),
        st.builds(SetNotice, st.integers(0, 10)),
        st.builds(SetCustomer, st.sampled_from(["cus_a", "cus_b"]), st.integers(0, 10)),
    ).map(_now),
    st.builds(_date, SPANS, st.booleans()),
    st.builds(_pause, st.sampled_from(When), st.none() | SPANS),
    SPANS.map(_hold),
    st.builds(
        _discount,
        st.sampled_from([(10_000, 0), (33_333, 0), (100_000, 0), (0, 1), (0, 700), (0, 9000)]),
        st.sampled_from([None, 1, 3]),
        st.sampled_from([None, None, timedelta(days=40)]),
        st.integers(1, 4),
    ),
    st.builds(RemoveDiscount, st.sampled_from(["discount 1", "discount 2"])).map(_now),
    st.builds(_tax, st.sampled_from(TaxStatus), st.sampled_from(["", "DE", "FR"])),
)
# What happens next: a command (and whether another follows in the same moment), or time passes.
EVENTS = st.one_of(
    st.tuples(COMMANDS, st.booleans()),
    st.sampled_from([0, 1, 26, 24 * 8, 24 * 31, 24 * 70]).map(lambda hours: timedelta(hours=hours)),
)


def _begin(
    agreed: Terms,
    day: str,
    zone: str,
    answers: list[str],
    methods: tuple[str, ...],
    policy: DunningTerms,
    trigger: Trigger,
    start: int | None,
    notice_days: int,
) -> Story:
    now = at(day, zone)
    return Story(
        agreed,
        now=day,
        zone=zone,
        bank=Bank(lambda call: answers[call % len(answers)], methods, policy),
        trigger=trigger,
        start_at=None if start is None else now + timedelta(days=start),
        bill_from=now - timedelta(days=3) if start is not None and start < 0 else None,
        notice_days=notice_days,
    )


# An answer that ends an outage comes round again, so that a walk does not wait hour by hour for ever.
STORIES = st.builds(
    _begin,
    agreed=terms,
    day=st.sampled_from(["2024-01-31 10:00", "2024-02-29 00:00", "2026-03-28 02:30", "2026-10-24 02:30"]),
    zone=st.sampled_from(ZONES),
    answers=st.lists(words, max_size=10).map(lambda answers: [*answers, "paid"]),
    methods=st.sampled_from([("visa",), ("visa", "master"), ()]),
    policy=policies,
    trigger=st.sampled_from([Trigger.TIMER, Trigger.TIMER, Trigger.EXTERNAL]),
    start=st.sampled_from([None, None, 20, -40]),
    notice_days=st.integers(0, 4),
)


def _refusal(story: Story, command: Command) -> DunlinError | None:
    try:
        story.order(command)
    except (Refused, InvalidInput) as refusal:
        return refusal
    return None


class Walker:
    """Gives commands and lets time pass, and holds against the story what it promised before."""

    def __init__(self, story: Story) -> None:
        self.story = story
        self.billed_until = len(story.timeline)

    def command(self, command: Command, *, at_once: bool) -> None:
        story = self.story
        note(f"{story.clock(story.now)} {command}")
        before, may = story.state, command.kind in allowed(story.state, story.now)
        refusal = _refusal(story, command)
        if refusal is None:
            assert may, f"{command.kind} was taken though it is not allowed"
        else:
            assert story.state is before, "a refusal changes nothing"
        if isinstance(refusal, Refused):
            assert refusal.allowed == allowed(before, story.now)
            # What depends on the values given is not in the list of what is allowed.
            assert not may or refusal.code in {"payment_open", "method_refused", "no_such_discount"}, refusal.code
        if not at_once:
            self.settle()

    def settle(self) -> None:
        self.story.settle()
        self.check()

    def pass_time(self, span: timedelta) -> None:
        """In one go, as after an outage, where the span is short; else step by step."""
        note(f"… {span}")
        self.story.until_instant(self.story.now + span)
        self.check()

    def check(self) -> None:
        story, state = self.story, self.story.state
        cycles = [entry for entry in story.timeline[self.billed_until :] if entry.kind == "invoice_issued"]
        for entry in cycles:
            early = str(entry.data["period_start"]) > entry.at.isoformat()
            if entry.data["reason"] == "cycle" and early:
                assert entry.data["trigger"] == "force_bill", f"billed before its time: {entry}"
        self.billed_until = len(story.timeline)
        due = due_at(state)
        if state.anchor is not None and due is not None and state.stub is None and state.status is not Status.SCHEDULED:
            assert due == boundary(state.anchor, state.terms.interval, state.index), "the anchor decides, nothing else"
        for planned in (state.cancel and state.cancel.at, state.pause and state.pause.begins_at):
            if planned is not None and planned > story.now and state.status is not Status.PAUSED:
                assert planned == due, "what is planned for the period's end stays there"


def walk(story: Story, events: Sequence[tuple[Order, bool] | timedelta]) -> Walker:
    walker = Walker(story)
    for event in events:
        if isinstance(event, timedelta):
            walker.settle()
            walker.pass_time(event)
        else:
            order, at_once = event
            walker.command(order(story.now), at_once=at_once)
    walker.settle()
    return walker


@settings(max_examples=4 * settings().max_examples)
@given(STORIES, st.lists(EVENTS, max_size=25))
def test_no_order_of_events_breaks_a_promise(story: Story, events: list[tuple[Order, bool] | timedelta]) -> None:
    walk(story, events).pass_time(timedelta(days=60))


@given(STORIES, COMMANDS)
def test_the_same_command_twice_is_the_same_command_once(story: Story, order: Order) -> None:
    envelope = Envelope("the same key", order(story.now), "agent", "asked")
    try:
        once = handle(story.state, envelope, story.now)
    except (Refused, InvalidInput):
        return
    assert handle(once, envelope, story.now + timedelta(days=1)) is once


@settings(max_examples=3 * settings().max_examples)
@given(STORIES, st.lists(EVENTS, max_size=8), st.sampled_from(Assume))
def test_the_forecast_is_what_then_happens(
    story: Story, events: list[tuple[Order, bool] | timedelta], assume: Assume
) -> None:
    """Foreseen from any state, then played with that very card: same kinds, times and amounts."""
    walk(story, events)
    # Foreseen as if a run came whenever a cycle is due.
    story.state = replace(story.state, trigger=Trigger.TIMER)
    seen = forecast(story.state, story.now, cycles=3, assume=assume, policy=story.bank.policy)
    note(f"foreseen: {[(str(one.at), one.kind) for one in seen]}")
    known = len(story.timeline)
    # The forecast knows one card: the one last charged, never refused for good.
    story.bank.answers = ("paid",) if assume is Assume.CARD_WORKS else ("soft",)
    story.bank.methods = (story.bank.keys[-1][2] if story.bank.keys else "visa",)
    story.state = _with_one_card(story.state)
    story.until_instant(seen[-1].at if seen else story.now)
    happened = [(entry.at, entry.kind, _amounts(entry.data)) for entry in story.timeline[known:]]
    assert happened[: len(seen)] == [(one.at, one.kind, _amounts(one.data)) for one in seen]


def _with_one_card(state: State) -> State:
    collecting = state.collecting
    if collecting is None:
        return state
    return replace(state, collecting=replace(collecting, use_method=None, tried=(), refused=()))


def _amounts(data: EntryData) -> EntryData:
    return {name: value for name, value in data.items() if name not in {"method_id", "gateway", "gateway_id", "code"}}


@given(st.integers(1, 40), st.sampled_from(["2024-01-31 10:00", "2024-02-29 02:30", "2025-12-30 23:59"]))
def test_the_anchor_never_drifts(cycles: int, start: str) -> None:
    """However a life goes, a due date is the anchor's: declines, holds and outages in between move nothing."""
    story = Story(now=start, bank=Bank(lambda call: "soft" if call % 3 == 0 else "paid"))
    assert story.state.anchor is not None
    anchor = story.state.anchor
    for n in range(1, cycles):
        story.until_instant(boundary(anchor, story.state.terms.interval, n) + timedelta(days=20))
    assert story.state.anchor == anchor
    starts = [str(entry.data["period_start"]) for entry in story.entries("invoice_issued")]
    assert starts == [boundary(anchor, story.state.terms.interval, n).isoformat() for n in range(len(starts))]
    assert story.zone == BERLIN
