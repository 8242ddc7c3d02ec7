"""What the page of an invoice tells, by its status and its tries."""

from __future__ import annotations

import pytest

from domain.declines import DECLINES, in_words
from domain.paying import Stand, Tried, can_pay, refused_for_good, stand


@pytest.mark.parametrize(
    ("status", "tries", "told", "payable"),
    [
        ("open", [], Stand.OPEN, True),
        ("open", ["declined"], Stand.DECLINED, True),
        ("open", ["declined", "pending"], Stand.CHECKING, False),
        ("open", ["declined", "unknown"], Stand.CHECKING, False),
        ("open", ["action_required"], Stand.CONFIRM, False),
        ("open", ["parked"], Stand.PARKED, True),
        ("open", ["canceled"], Stand.OPEN, True),
        ("open", ["approved"], Stand.CHECKING, False),
        ("paid", ["declined", "approved"], Stand.PAID, False),
        ("void", ["declined"], Stand.CLOSED, False),
        ("uncollectible", ["unknown"], Stand.CLOSED, False),
    ],
)
def test_where_it_stands(status: str, tries: list[str], told: Stand, payable: bool) -> None:
    found = stand(status, [Tried(each) for each in tries])
    assert (found, can_pay(found)) == (told, payable)


def test_a_method_that_was_refused_for_good_is_not_offered_again() -> None:
    tries = [Tried("declined", "a", decline="soft"), Tried("declined", "b", decline="hard"), Tried("approved", "c")]
    assert refused_for_good(tries) == {"b"}


def test_every_decline_has_words_of_its_own_and_none_accuses() -> None:
    unknown = in_words("anything_new")
    for codes in DECLINES.values():
        for code in codes:
            said = in_words(code)
            assert said != unknown, code
            assert not any(word in said.lower() for word in ("stolen", "lost", "fraud", "pick")), said
