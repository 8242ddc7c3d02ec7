"""How fast a move goes, when it pauses by itself, and what it takes in each state."""

from __future__ import annotations

import pytest

from domain.errors import Refused
from domain.price_moves import FAILURES_LOOK_MIN, PAGE_MAX, MoveStatus, Pace, check_steer


@pytest.mark.parametrize("per_minute", [1, 7, 50, 300, 6000])
def test_the_rate_holds_over_any_number_of_pages(per_minute: int) -> None:
    pace = Pace(per_minute, 10)
    assert pace.page_size <= min(PAGE_MAX, per_minute)
    pages = 20
    waited = sum(pace.wait_s(pace.page_size) for _ in range(pages))
    assert pages * pace.page_size / waited * 60 == pytest.approx(per_minute)


def test_a_share_of_failures_says_something_of_enough() -> None:
    pace = Pace(60, 10)
    assert not pace.is_failing(FAILURES_LOOK_MIN - 1, FAILURES_LOOK_MIN - 1)
    assert not pace.is_failing(100, 10)
    assert pace.is_failing(100, 11)
    assert pace.is_failing(FAILURES_LOOK_MIN, 2)
    assert not Pace(60, 100).is_failing(100, 100)


@pytest.mark.parametrize(
    ("now", "allowed"),
    [
        (MoveStatus.RUNNING, ("pause", "stop")),
        (MoveStatus.PAUSED, ("resume", "stop")),
        (MoveStatus.STOPPED, ()),
        (MoveStatus.DONE, ()),
    ],
)
def test_each_state_takes_its_commands(now: MoveStatus, allowed: tuple[str, ...]) -> None:
    wanted = {"pause": MoveStatus.PAUSED, "resume": MoveStatus.RUNNING, "stop": MoveStatus.STOPPED}
    for command, status in wanted.items():
        if command in allowed or status is now:
            check_steer(now, status)
        else:
            with pytest.raises(Refused) as refused:
                check_steer(now, status)
            assert refused.value.allowed == allowed
