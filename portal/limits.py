"""How many requests are heard from one place: a bucket that fills with each and empties by the second.

Kept in this process: it holds back those who try many addresses and those who press without end, and costs no write.
What must hold over all processes (how often a card is tried) is counted in the books.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from dataclasses import dataclass
from typing import Final

REQUESTS_AT_ONCE_MAX: Final = 60
REQUESTS_PER_SECOND_MAX: Final = 1.0
PLACES_KEPT_MAX: Final = 10_000


@dataclass(frozen=True, slots=True)
class Level:
    """How full a bucket was, and when (in seconds of a clock that only grows)."""

    requests: float
    at: float


def heard(before: Level | None, now: float) -> tuple[Level, int]:
    """The level after a request, and how many seconds it must wait; 0 is heard. One that must wait adds nothing."""
    left = 0.0 if before is None else max(before.requests - (now - before.at) * REQUESTS_PER_SECOND_MAX, 0.0)
    if left + 1 > REQUESTS_AT_ONCE_MAX:
        return Level(left, now), math.ceil((left + 1 - REQUESTS_AT_ONCE_MAX) / REQUESTS_PER_SECOND_MAX)
    return Level(left + 1, now), 0


class Limits:
    """The buckets; those not seen for longest are forgotten first, so that no number of places fills the memory."""

    def __init__(self) -> None:
        self._levels: Final[OrderedDict[str, Level]] = OrderedDict()

    def wait_s(self, place: str, now: float) -> int:
        """0: go on. Else the seconds after which a request from there is heard."""
        level, wait = heard(self._levels.pop(place, None), now)
        self._levels[place] = level
        if len(self._levels) > PLACES_KEPT_MAX:
            self._levels.popitem(last=False)
        return wait
