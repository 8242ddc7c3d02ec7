"""What is to come, read before it happens; that it then happens is proved in `test_lifecycle_properties`."""

from dataclasses import replace

import pytest

from domain.calendar import Interval, Unit
from domain.errors import Broken
from domain.explain import sentence
from domain.forecast import FORECAST_CYCLES_MAX, Assume, Foreseen, forecast
from domain.messages import Cancel, Pause, When
from domain.terms import DEFAULT_DUNNING, EndAction, Trigger
from tests.domain.stories import Bank, Story, at, price


def foreseen(story: Story, cycles: int = 2, assume: Assume = Assume.CARD_WORKS) -> list[str]:
    seen = forecast(story.state, story.now, cycles=cycles, assume=assume, policy=story.bank.policy)
    return [f"{story.clock(one.at)} {one.kind}" for one in seen]


def test_the_next_cycles_with_their_notices() -> None:
    assert foreseen(Story(now="2026-01-31 10:00", notice_days=3)) == [
        "2026-02-25 10:00 renewal_notice",
        "2026-02-28 10:00 invoice_issued",
        "2026-02-28 10:00 payment_succeeded",
        "2026-03-28 10:00 renewal_notice",
        "2026-03-31 10:00 invoice_issued",
        "2026-03-31 10:00 payment_succeeded",
    ]


def test_what_if_the_card_fails() -> None:
    told = foreseen(Story(now="2026-01-15 10:00"), 1, Assume.CARD_FAILS)
    assert [line for line in told if line.endswith(("declined", "stopped", "canceled"))] == [
        "2026-02-15 10:00 payment_declined",
        "2026-02-16 09:00 payment_declined",
        "2026-02-19 09:00 payment_declined",
        "2026-02-22 10:00 access_stopped",
        "2026-02-24 09:00 payment_declined",
        "2026-03-03 09:00 payment_declined",
        "2026-03-03 09:00 canceled",
    ]


def test_a_failing_card_does_not_fail_where_there_is_nothing_to_pay() -> None:
    assert "2026-02-15 10:00 invoice_settled" in foreseen(Story(price(0), now="2026-01-15 10:00"), 1, Assume.CARD_FAILS)


def test_a_dunning_that_ends_overdue_ends_the_forecast() -> None:
    story = Story(now="2026-01-15 10:00")
    story.bank.policy = replace(DEFAULT_DUNNING, end_action=EndAction.STAY_OVERDUE)
    assert foreseen(story, 12, Assume.CARD_FAILS)[-1] == "2026-03-03 09:00 dunning_exhausted"


def test_a_dunning_under_way_keeps_its_pinned_policy() -> None:
    story = Story(now="2026-01-15 10:00", bank=Bank(["soft"]))
    story.bank.policy = replace(DEFAULT_DUNNING, retries=())
    assert foreseen(story, 1, Assume.CARD_FAILS)[0] == "2026-01-16 09:00 payment_declined"


def test_nothing_follows_an_end() -> None:
    story = Story(now="2026-01-15 10:00").does(Cancel())
    assert foreseen(story, 12) == ["2026-02-15 10:00 canceled"]
    assert foreseen(Story(now="2026-01-15 10:00").does(Cancel(When.NOW))) == []


def test_a_pause_without_an_end_is_the_end_of_the_forecast() -> None:
    assert foreseen(Story(now="2026-01-15 10:00").does(Pause())) == ["2026-02-15 10:00 paused"]


def test_runs_from_outside_are_taken_for_granted() -> None:
    story = Story(now="2026-01-15 10:00", trigger=Trigger.EXTERNAL)
    assert [line[:10] for line in foreseen(story) if line.endswith("issued")] == ["2026-01-15", "2026-02-15"]


def test_a_lost_answer_is_foreseen_as_the_card_is() -> None:
    story = Story(now="2026-01-15 10:00", bank=Bank(["lost"]))
    assert foreseen(story, 1)[0] == "2026-01-15 10:00 payment_succeeded"
    assert foreseen(story, 1, Assume.CARD_FAILS)[0] == "2026-01-15 10:00 payment_declined"


def test_looking_ahead_changes_nothing_and_every_line_has_words() -> None:
    story = Story(now="2026-01-15 10:00", notice_days=2)
    before = story.state
    for assume in Assume:
        for one in forecast(story.state, story.now, cycles=3, assume=assume, policy=DEFAULT_DUNNING):
            assert isinstance(one, Foreseen)
            assert "None" not in sentence(one.kind, one.data)
    assert story.state is before


@pytest.mark.parametrize("cycles", [0, -1, FORECAST_CYCLES_MAX + 1])
def test_how_far_one_may_look(cycles: int) -> None:
    with pytest.raises(Broken, match=f"1 to {FORECAST_CYCLES_MAX}"):
        foreseen(Story(now="2026-01-15 10:00"), cycles)


def test_a_forecast_ends_with_the_century() -> None:
    told = foreseen(Story(price(interval=Interval(10, Unit.YEAR)), now="2026-01-15 10:00"), FORECAST_CYCLES_MAX)
    assert told[-1] == "2126-01-15 10:00 payment_succeeded"


def test_a_hundred_and_twenty_cycles() -> None:
    daily = Story(price(interval=Interval(1, Unit.DAY)), now="2026-01-15 10:00", notice_days=1)
    told = [line for line in foreseen(daily, FORECAST_CYCLES_MAX) if line.endswith("issued")]
    assert (len(told), told[-1][:10]) == (120, "2026-05-15")


def test_a_start_in_the_future_is_foreseen() -> None:
    story = Story(price(trial_days=7), now="2026-01-15 10:00", start_at=at("2026-02-01 10:00"))
    assert foreseen(story, 1)[:3] == [
        "2026-02-01 10:00 trial_started",
        "2026-02-08 10:00 trial_ended",
        "2026-02-08 10:00 invoice_issued",
    ]
