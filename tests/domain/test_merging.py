"""Who may go into whom, rule by rule, and when a merge may be taken back."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from domain.merging import CHILDREN_MAX, UNDO_FOR, MergeStatus, Party, objection, undo_objection
from domain.messages import Cancel, SetCustomer, When
from tests.domain.stories import Story, at

NOW = at("2027-03-01 10:00")


def party(identity: str, **more: Any) -> Party:
    return replace(Party(identity, None, None, identity, 0, False, False, False), **more)


MASTER, LOSER = party("cus_m"), party("cus_l")


def code(master: Party, loser: Party) -> str | None:
    against = objection(master, loser)
    return None if against is None else against.code


@pytest.mark.parametrize(
    ("master", "loser", "wanted"),
    [
        ({}, {}, None),
        ({"merged_into": "cus_x"}, {}, "merged"),
        ({}, {"merged_into": "cus_x"}, "merged"),
        ({"busy": True}, {}, "merge_running"),
        ({}, {"busy": True}, "merge_running"),
        # Parents and children.
        ({}, {"children": 3}, None),
        ({"children": 3}, {}, None),
        ({"children": CHILDREN_MAX - 2}, {"children": 2}, None),
        ({"children": CHILDREN_MAX - 2}, {"children": 3}, "too_many"),
        ({"parent_id": "cus_p"}, {"children": 1}, "third_level"),
        ({"parent_id": "cus_l"}, {}, "parent_into_child"),
        ({}, {"parent_id": "cus_m"}, None),
        ({}, {"parent_id": "cus_p"}, None),
        # Who pays stays who pays.
        ({}, {"parent_id": "cus_p", "payer_id": "cus_p"}, "paid_by_parent"),
        ({"parent_id": "cus_p", "payer_id": "cus_p"}, {}, "paid_by_parent"),
        ({}, {"parent_id": "cus_m", "payer_id": "cus_m"}, None),
        ({"parent_id": "cus_p", "payer_id": "cus_p"}, {"parent_id": "cus_p", "payer_id": "cus_p"}, None),
        # What is disabled stays disabled.
        ({}, {"has_login": True}, None),
        ({}, {"has_login": True, "login_disabled": True}, "login_disabled"),
        ({"has_login": True}, {"has_login": True, "login_disabled": True}, "login_disabled"),
        ({"has_login": True, "login_disabled": True}, {"has_login": True, "login_disabled": True}, None),
        ({"has_login": True, "login_disabled": True}, {}, None),
    ],
)
def test_who_may_go_into_whom(master: dict[str, Any], loser: dict[str, Any], wanted: str | None) -> None:
    assert code(replace(MASTER, **master), replace(LOSER, **loser)) == wanted


@pytest.mark.parametrize(
    ("status", "left", "master", "wanted"),
    [
        (MergeStatus.DONE, timedelta(seconds=1), {}, None),
        (MergeStatus.DONE, timedelta(0), {}, "undo_over"),
        (MergeStatus.FINAL, timedelta(days=1), {}, "undo_over"),
        (MergeStatus.RUNNING, timedelta(days=1), {}, "merge_running"),
        (MergeStatus.UNDOING, timedelta(days=1), {}, "undone"),
        (MergeStatus.UNDONE, timedelta(days=1), {}, "undone"),
        (MergeStatus.DONE, timedelta(days=1), {"merged_into": "cus_x"}, "merged_on"),
        (MergeStatus.DONE, timedelta(days=1), {"busy": True}, "merge_running"),
    ],
)
def test_when_it_may_be_taken_back(
    status: MergeStatus, left: timedelta, master: dict[str, Any], wanted: str | None
) -> None:
    against = undo_objection(status, NOW + left, NOW, replace(MASTER, **master))
    assert (None if against is None else against.code) == wanted
    assert timedelta(days=30) == UNDO_FOR


def test_a_subscription_goes_on_under_another_customer_and_says_so() -> None:
    story = Story(now="2026-01-15 10:00").until("2026-01-20 00:00")
    before = story.state
    story.does(SetCustomer("cus_m", 5), reason="merged")
    assert (story.state.customer_id, story.state.notice_days) == ("cus_m", 5)
    assert story.last("customer_set") == {"before": before.customer_id, "after": "cus_m"}
    seq = story.state.seq
    assert story.does(SetCustomer("cus_m", 5)).state.seq == seq, "told twice is told once"


def test_it_is_told_also_when_it_is_over() -> None:
    """A cancelled subscription may be restarted, and must then be the right customer's."""
    story = Story(now="2026-01-15 10:00").until("2026-01-20 00:00").does(Cancel(When.NOW))
    assert story.does(SetCustomer("cus_m", 0)).state.customer_id == "cus_m"
