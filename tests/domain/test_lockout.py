"""Guessing is slow, and nobody is locked out: the counts of wrong tries, told with their times."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from domain.lockout import (
    LOGIN_FREE,
    LOGIN_WAIT,
    PAIR_FORGOTTEN_AFTER,
    PAIR_FREE,
    PAIR_WAIT_FIRST,
    PAIR_WAIT_MAX,
    Count,
    Heard,
    Waits,
    hear,
    place_of,
    was_right,
)

START = datetime(2027, 3, 1, 9, tzinfo=UTC)


def guess(pair: Count, login: Count, now: datetime, *, known: bool = False) -> tuple[Count, Count]:
    verdict = hear(pair, login, known=known, now=now)
    assert isinstance(verdict, Heard), verdict
    return verdict.pair, verdict.login


def test_from_one_place_a_few_are_free_then_each_waits_twice_as_long() -> None:
    pair, login, now = Count(), Count(), START
    for _ in range(PAIR_FREE):
        pair, login = guess(pair, login, now)
    waits: list[timedelta] = []
    for _ in range(12):
        verdict = hear(pair, Count(), known=False, now=now)
        assert isinstance(verdict, Waits)
        waits.append(verdict.wait)
        assert hear(pair, Count(), known=False, now=now + verdict.wait - timedelta(seconds=1)) == Waits(
            timedelta(seconds=1)
        )
        now += verdict.wait
        pair, _ = guess(pair, Count(), now)
    assert waits[:4] == [PAIR_WAIT_FIRST, PAIR_WAIT_FIRST * 2, PAIR_WAIT_FIRST * 4, PAIR_WAIT_FIRST * 8]
    assert waits[-1] == PAIR_WAIT_MAX


def test_of_two_tries_at_once_the_one_that_began_first_may_come_second() -> None:
    before = START - timedelta(seconds=1)
    assert guess(Count(1, START), Count(1, START), before)[0].tries == 2


def test_a_quiet_day_forgets() -> None:
    pair = Count(50, START)
    assert guess(pair, Count(), START + PAIR_FORGOTTEN_AFTER)[0].tries == 1
    assert isinstance(hear(pair, Count(), known=False, now=START), Waits)


def test_from_ever_new_addresses_one_in_a_minute_is_heard() -> None:
    login, now = Count(), START
    for _ in range(LOGIN_FREE):
        _, login = guess(Count(), login, now)
    assert hear(Count(), login, known=False, now=now) == Waits(LOGIN_WAIT)
    heard = 0
    for second in range(3600):
        verdict = hear(Count(), login, known=False, now=now + timedelta(seconds=second))
        if isinstance(verdict, Heard):
            heard, login = heard + 1, verdict.login
    assert heard == 59


@given(tries=st.integers(0, 10_000), seconds=st.integers(0, 10_000))
def test_a_known_place_is_heard_however_many_guess_elsewhere(tries: int, seconds: int) -> None:
    login = Count(tries, START)
    verdict = hear(Count(), login, known=True, now=START + timedelta(seconds=seconds))
    assert isinstance(verdict, Heard)
    assert verdict.login.tries <= tries


@given(st.lists(st.tuples(st.integers(0, 4000), st.booleans()), max_size=80))
def test_no_login_is_closed_for_longer_than_the_longest_wait(steps: list[tuple[int, bool]]) -> None:
    pair, login, now = Count(), Count(), START
    for seconds, known in steps:
        now += timedelta(seconds=seconds)
        match hear(pair, login, known=known, now=now):
            case Heard(pair=pair, login=login):
                pass
            case Waits(wait=wait):
                assert timedelta(0) < wait <= PAIR_WAIT_MAX
                assert isinstance(hear(pair, login, known=known, now=now + wait), Heard)


def test_a_right_try_takes_only_itself_off() -> None:
    assert was_right(Count(21, START), known=False) == Count(20, START)
    assert was_right(Count(21, START), known=True) == Count(21, START)
    assert was_right(Count(0, START), known=False).tries == 0


def test_a_place_is_a_device_or_an_address_and_a_household_has_one() -> None:
    assert place_of("203.0.113.9", "abc") == "device:abc"
    assert place_of("203.0.113.9", None) == "address:203.0.113.9"
    assert place_of("::ffff:203.0.113.9", None) == place_of("203.0.113.9", None)
    assert place_of("2001:db8:1:2:3::1", None) == place_of("2001:db8:1:2::9", None) == "address:2001:db8:1:2::/64"
    assert place_of("2001:db8:1:3::1", None) != place_of("2001:db8:1:2::1", None)
    assert place_of("testclient", None) == "address:testclient"
