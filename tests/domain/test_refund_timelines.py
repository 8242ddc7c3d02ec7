"""What a refund's timeline says, line by line: when, who, why, and the facts that pages and letters are filled from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from typing import Any

from domain.business import RefundRules
from domain.refund_commands import begin
from domain.refund_messages import (
    Approve,
    Decline,
    OpenRefund,
    RefundMode,
    RefundTimePassed,
    Returned,
    ReturnNeverArrived,
    ReturnParked,
    ReturnTaken,
    ReturnUnknown,
    TakeOut,
    TryNow,
    UseMethod,
)
from domain.refund_state import RefundKind, RefundPhase, RefundState
from domain.refunds import apply
from tests.domain.test_refunds import BERLIN, CHARGE, NO_RULES, NOW, due, failed, send, start

HOUR = timedelta(hours=1)
LIMIT = RefundRules(approval_limits={"EUR": 500}, approval_hours=24)
ASKED = {"mode": "refund", "what": "refund", "amount": 1000, "currency": "EUR", "method_id": None}

Line = tuple[float, str, str, str, Mapping[str, Any]]


def timeline(state: RefundState) -> list[Line]:
    """Hours after the request, kind, who, why, facts."""
    return [
        ((entry.at - NOW) / HOUR, entry.kind, entry.actor, entry.reason, dict(entry.data)) for entry in state.journal
    ]


def test_a_refund_begins_with_all_that_it_will_need() -> None:
    wanted = OpenRefund("ref_1", "att_1", RefundMode.VOID_FIRST, "sorry", "anna", None, None)
    charge = replace(CHARGE, settlement="pending", order_id="ord_1", test_mode=True)
    asked = {"mode": "void_first", "what": "void", "amount": 1000, "currency": "EUR", "method_id": None}
    state = begin(wanted, charge, NO_RULES, NOW, ahead_s=60)
    assert replace(state, journal=(), seq=0) == RefundState(
        id="ref_1",
        attempt_id="att_1",
        invoice_id="inv_1",
        subscription_id="sub_1",
        order_id="ord_1",
        customer_id="cus_1",
        zone=BERLIN,
        gateway="sandbox",
        sale="charge:sub_1:1:1",
        amount=1000,
        currency="EUR",
        kind=RefundKind.VOID,
        void_first=True,
        reason="sorry",
        actor="anna",
        requested_at=NOW,
        phase=RefundPhase.TRY,
        test_mode=True,
        ahead_s=60,
    )
    assert timeline(state) == [(0, "requested", "anna", "sorry", asked)]


def test_approved_parked_lost_never_arrived_taken_failed_and_given_another_way() -> None:
    wanted = OpenRefund("ref_1", "att_1", RefundMode.REFUND, "sorry", "anna", None, "pm_2")
    state = send(begin(wanted, CHARGE, LIMIT, NOW), Approve(), NOW + HOUR)
    assert (state.approved_by, state.recent_commands) == ("lena", ("k2",))
    for hour in (2, 3, 4, 5, 6, 7):
        state = apply(state, ReturnParked(1), NOW + hour * HOUR)
    for hour in (10, 11, 12, 13, 14):
        state = apply(state, ReturnUnknown(1), NOW + hour * HOUR)
    assert (state.parked, state.lookups) == (6, 5)
    state = apply(state, ReturnNeverArrived(1), NOW + 20 * HOUR)
    assert (state.parked, state.lookups) == (7, 0)
    state = apply(state, ReturnTaken(1, "re_7"), NOW + 21 * HOUR)
    state = failed(state, NOW + 22 * HOUR, "method_not_allowed")
    assert (state.number, state.parked, state.lookups, state.not_before) == (2, 0, 0, None)
    state = send(state, UseMethod("pm_3"), NOW + 23 * HOUR)
    state = apply(state, Returned(2, "re_8"), NOW + 24 * HOUR)
    down = {"number": 1, "gateway": "sandbox"}
    given = {"number": 2, "what": "refund", "amount": 1000, "currency": "EUR", "gateway": "sandbox"}
    queued = {"retry": 1, "retries": 3, "retry_at": "2027-03-28T11:30:00+00:00", "code": "method_not_allowed"}
    said = {"number": 1, "what": "refund", "code": "method_not_allowed", "message": "not now"}
    asked = {"deadline": "2027-03-27T14:30:00+00:00", "limit": 500, "currency": "EUR"}
    assert timeline(state) == [
        (0, "requested", "anna", "sorry", ASKED | {"method_id": "pm_2"}),
        (0, "approval_asked", "system", "", asked),
        (1, "approved", "lena", "because", {}),
        (2, "gateway_down", "system", "", down),
        (7, "gateway_still_down", "system", "", down),
        (10, "outcome_unknown", "system", "", down),
        (13, "outcome_overdue", "system", "", down),
        (20, "never_arrived", "system", "", {"number": 1}),
        (21, "accepted", "system", "", {"number": 1, "gateway_id": "re_7"}),
        (22, "try_failed", "system", "", said),
        (22, "method_taken_back", "system", "", {"method_id": "pm_2"}),
        (22, "queued", "system", "", queued),
        (23, "method_changed", "lena", "because", {"method_id": "pm_3"}),
        (24, "given_back", "system", "", given | {"gateway_id": "re_8", "method_id": "pm_3"}),
    ]


def test_a_lead_who_says_no_and_a_lead_who_says_nothing() -> None:
    wanted = begin(OpenRefund("ref_1", "att_1", RefundMode.REFUND, "sorry", "anna"), CHARGE, LIMIT, NOW)
    assert timeline(send(wanted, Decline(), NOW + HOUR))[-1] == (1, "approval_declined", "lena", "because", {})
    assert timeline(apply(wanted, RefundTimePassed("lapse"), NOW + 24 * HOUR))[-1] == (
        24, "approval_lapsed", "system", "", {},
    )  # fmt: skip


def test_the_queue_to_its_end_with_a_try_by_hand_and_what_is_taken_out() -> None:
    state = failed(start(), NOW)
    assert timeline(send(state, TakeOut(), NOW + HOUR))[-1] == (1, "taken_out", "lena", "because", {})
    state = send(state, TryNow(), NOW + HOUR)
    assert timeline(state)[-1] == (1, "try_asked", "lena", "because", {})
    state = failed(state, NOW + 2 * HOUR)
    for retry in (1, 2, 3):
        assert state.journal[-1].data["retry"] == retry
        now = due(state)
        state = failed(apply(state, RefundTimePassed("retry"), now), now)
    end = {"code": "busy", "retries": 3, "amount": 1000, "currency": "EUR"}
    assert timeline(state)[-1] == ((now - NOW) / HOUR, "exhausted", "system", "", end)


def test_a_void_that_lost_its_race_says_that_a_refund_follows() -> None:
    lost = failed(start(RefundMode.VOID_FIRST, settlement="pending"), NOW + HOUR, "already_settled")
    assert timeline(lost)[1:] == [
        (1, "try_failed", "system", "", {"number": 1, "what": "void", "code": "already_settled", "message": "not now"}),
        (1, "refund_follows", "system", "", {"code": "already_settled"}),
    ]
    plain = failed(start(RefundMode.VOID, settlement="pending"), NOW + HOUR, "already_settled")
    over = {"code": "already_settled", "retries": 0, "amount": 1000, "currency": "EUR"}
    assert timeline(plain)[-1] == (1, "failed", "system", "", over)


def test_a_gateway_that_took_it_and_does_not_answer_is_told_once() -> None:
    state = start()
    for hour in range(1, 12):
        state = apply(state, ReturnTaken(1, "re_1"), NOW + hour * HOUR)
    assert state.lookups == 11
    assert [line[1] for line in timeline(state)] == ["requested", "accepted", "answer_overdue"]
    assert timeline(state)[-1][2:] == ("system", "", {"number": 1})
