"""Disputes: forward only, whatever comes twice or out of order, and every cent of it in the books once."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import permutations
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.business import Consequence, DisputeRules
from domain.disputes import (
    Dispute,
    DisputeEvent,
    DisputeStatus,
    Step,
    consequences,
    fold,
    postings,
    read_event,
)
from domain.errors import InvalidInput

OPENED, EVIDENCE_DUE, WON, LOST = DisputeStatus
AT = {OPENED: 1, EVIDENCE_DUE: 5, WON: 20, LOST: 20}
DEADLINE = datetime(2027, 3, 12, 9, tzinfo=UTC)


def event(status: DisputeStatus, **other: Any) -> DisputeEvent:
    """3 March to 22 March: 12.00 EUR disputed, 15.00 EUR of fee if lost."""
    at = datetime(2027, 3, 2, 9, tzinfo=UTC) + timedelta(days=AT[status])
    deadline = None if status is OPENED else DEADLINE
    given = DisputeEvent(status, at, "dp_1", "charge:sub:1:1", 1200, "EUR", 1500, "fraudulent", deadline)
    return replace(given, **other)


def told(*events: DisputeEvent) -> tuple[Dispute, list[Step]]:
    """What a sequence of events ends in, and the money it moved, in order. None of them is a conflict."""
    dispute: Dispute | None = None
    moved: list[Step] = []
    for each in events:
        folded = fold(dispute, each)
        assert folded.conflict is None
        dispute = folded.dispute
        moved += folded.steps
    assert dispute is not None
    return dispute, moved


def test_a_dispute_that_is_won() -> None:
    dispute, moved = told(event(OPENED), event(EVIDENCE_DUE), event(WON))
    assert dispute == Dispute(
        WON, "charge:sub:1:1", 1200, "EUR", 0, "fraudulent", event(OPENED).at, DEADLINE, event(WON).at
    )
    assert moved == [Step.OPENED, Step.WON]


def test_a_dispute_that_is_lost_costs_its_fee() -> None:
    dispute, moved = told(event(OPENED), event(EVIDENCE_DUE), event(LOST))
    assert (dispute.status, dispute.fee, dispute.closed_at) == (LOST, 1500, event(LOST).at)
    assert moved == [Step.OPENED, Step.LOST, Step.FEE]


def test_without_a_fee_none_is_booked() -> None:
    assert told(event(OPENED), event(LOST, fee=0))[1] == [Step.OPENED, Step.LOST]


def test_the_fee_is_the_one_that_the_loss_names() -> None:
    assert told(event(OPENED, fee=99), event(LOST))[0].fee == 1500
    assert told(event(OPENED, fee=99), event(WON))[0].fee == 0


def test_won_before_opened_ends_right() -> None:
    dispute, moved = told(event(WON))
    assert moved == [Step.OPENED, Step.WON]
    assert dispute.status is WON
    assert told(event(WON), event(OPENED))[0] == told(event(OPENED), event(WON))[0]


@pytest.mark.parametrize("end", [WON, LOST])
def test_every_order_of_arrival_ends_the_same(end: DisputeStatus) -> None:
    heard = [event(OPENED), event(EVIDENCE_DUE), event(end), event(OPENED)]
    first, moved = told(*heard)
    for order in permutations(heard):
        again, also_moved = told(*order)
        assert again == first
        assert Counter(also_moved) == Counter(moved)


@given(st.data(), st.sampled_from([WON, LOST]))
def test_any_events_any_number_of_times_in_any_order(data: st.DataObject, end: DisputeStatus) -> None:
    """As many copies of each as you like: the dispute and the money are those of one copy in the right order."""
    kinds = data.draw(st.lists(st.sampled_from([OPENED, EVIDENCE_DUE, end]), min_size=1, max_size=8))
    heard = [event(kind) for kind in kinds]
    right = sorted(set(heard), key=lambda each: each.at)
    dispute, moved = told(*heard)
    assert (dispute, Counter(moved)) == (told(*right)[0], Counter(told(*right)[1]))
    assert max(Counter(moved).values()) == 1


@given(st.lists(st.sampled_from(DisputeStatus), min_size=1, max_size=8))
def test_the_first_final_word_stands(kinds: list[DisputeStatus]) -> None:
    final = next((kind for kind in kinds if kind.is_final), None)
    dispute: Dispute | None = None
    for kind in kinds:
        folded = fold(dispute, event(kind))
        contradicts = dispute is not None and dispute.status.is_final and kind.is_final and kind is not dispute.status
        assert (folded.conflict is not None) == contradicts
        if contradicts:
            assert (folded.dispute, folded.steps) == (dispute, ())
        dispute = folded.dispute
    assert dispute is not None
    assert dispute.status is final or not dispute.status.is_final


@pytest.mark.parametrize(
    ("other", "named"),
    [({"amount": 900}, "900 EUR"), ({"currency": "USD"}, "1200 USD"), ({"reference": "charge:x"}, "charge:x")],
)
def test_another_amount_or_sale_is_a_conflict(other: dict[str, Any], named: str) -> None:
    known = fold(None, event(OPENED)).dispute
    folded = fold(known, event(LOST, **other))
    assert folded.dispute == known
    assert folded.steps == ()
    assert folded.conflict is not None
    assert named in folded.conflict


def test_a_deadline_moves_on_and_not_back() -> None:
    later = DEADLINE + timedelta(days=3)
    assert told(event(EVIDENCE_DUE, evidence_due_at=later), event(EVIDENCE_DUE))[0].evidence_due_at == later


def test_the_opening_says_why() -> None:
    assert told(event(WON, reason="other"), event(OPENED))[0].reason == "fraudulent"
    assert told(event(OPENED), event(WON, reason="other"))[0].reason == "fraudulent"
    assert told(event(OPENED, reason=""), event(WON, reason="other"))[0].reason == "other"


def test_the_accounts_of_every_step() -> None:
    sides = {
        step: [(side.account, side.amount) for side in postings(step, "sandbox", amount=1200, fee=1500, currency="EUR")]
        for step in Step
    }
    assert sides == {
        Step.OPENED: [("disputed:sandbox", 1200), ("cash:sandbox", -1200)],
        Step.WON: [("cash:sandbox", 1200), ("disputed:sandbox", -1200)],
        Step.LOST: [("chargeback_loss", 1200), ("disputed:sandbox", -1200)],
        Step.FEE: [("dispute_fees", 1500), ("cash:sandbox", -1500)],
    }


RULES = DisputeRules(on_opened=Consequence.PAUSE, on_lost=Consequence.CANCEL)


def follows(*kinds: DisputeStatus, rules: DisputeRules = RULES) -> list[dict[DisputeStatus, Consequence]]:
    before: Dispute | None = None
    asked: list[dict[DisputeStatus, Consequence]] = []
    for kind in kinds:
        after = fold(before, event(kind)).dispute
        asked.append(consequences(before, after, rules))
        before = after
    return asked


def test_what_follows_is_asked_once() -> None:
    pause, cancel = {OPENED: Consequence.PAUSE}, {LOST: Consequence.CANCEL}
    assert follows(OPENED, EVIDENCE_DUE, OPENED, LOST, LOST) == [pause, {}, {}, cancel, {}]
    assert follows(EVIDENCE_DUE, OPENED, WON, LOST) == [pause, {}, {}, {}]


def test_a_dispute_that_is_over_when_we_hear_of_it_was_never_open_to_us() -> None:
    assert follows(LOST, OPENED) == [{LOST: Consequence.CANCEL}, {}]
    assert follows(WON, OPENED) == [{}, {}]


def test_no_consequence_is_none() -> None:
    assert follows(OPENED, LOST, rules=DisputeRules(Consequence.NONE, Consequence.NONE)) == [{}, {}]


DATA: dict[str, Any] = {
    "dispute_id": "dp_1",
    "reference": "charge:sub:1:1",
    "amount": 1200,
    "currency": "EUR",
    "fee": 1500,
    "reason": "fraudulent",
    "evidence_due_at": "2027-03-12T10:00:00.5+01:00",
}


def test_an_event_is_read() -> None:
    at = event(LOST).at.replace(microsecond=250_000)
    assert read_event("dispute.lost", at, DATA) == event(LOST)
    least = {name: DATA[name] for name in ("dispute_id", "reference", "amount", "currency")}
    assert read_event("dispute.opened", event(OPENED).at, least) == event(
        OPENED, fee=0, reason="", evidence_due_at=None
    )


@pytest.mark.parametrize("kind", ["charge.settled", "dispute", "dispute.", "dispute.closed", "opened", "Dispute.lost"])
def test_other_events_are_not_of_disputes(kind: str) -> None:
    assert read_event(kind, event(OPENED).at, DATA) is None


@pytest.mark.parametrize(
    ("field", "wrong"),
    [
        ("dispute_id", [None, "", 5, "x" * 256, "a\nb"]),
        ("reference", [None, "", 5]),
        ("amount", [None, 0, -1, 1.0, "5", True, 10**16]),
        ("currency", [None, "euro", "XXX", 5]),
        ("fee", [-1, 1.0, "5", True, 10**16]),
        ("evidence_due_at", ["soon", 5, "2027-03-12T10:00:00", "2027-13-12T10:00:00Z"]),
    ],
)
def test_an_unreadable_event_names_its_field(field: str, wrong: list[Any]) -> None:
    for value in wrong:
        with pytest.raises(InvalidInput) as refused:
            read_event("dispute.opened", event(OPENED).at, DATA | {field: value})
        assert refused.value.field == field


def test_a_time_without_offset_is_refused() -> None:
    with pytest.raises(InvalidInput) as refused:
        read_event("dispute.opened", event(OPENED).at.replace(tzinfo=None), DATA)
    assert refused.value.field == "timestamp"
