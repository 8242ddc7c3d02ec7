"""How fast subscribers are moved to another price, and when so many refuse that a person must look."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from domain.errors import Refused

PER_MINUTE_MAX: Final = 6000
PER_MINUTE_DEFAULT: Final = 300
FAILURES_PERCENT_DEFAULT: Final = 10
PAGE_MAX: Final = 50
# A share of failures says nothing before so many were asked.
FAILURES_LOOK_MIN: Final = 10
_MINUTE_S: Final = 60
_WHOLE_PERCENT: Final = 100


class MoveStatus(StrEnum):
    """Paused: by a person or by its failures. Stopped: by a person, for good."""

    RUNNING = "running"
    PAUSED = "paused"
    STOPPED = "stopped"
    DONE = "done"


_ALLOWED: Final = {
    MoveStatus.RUNNING: ("pause", "stop"),
    MoveStatus.PAUSED: ("resume", "stop"),
    MoveStatus.STOPPED: (),
    MoveStatus.DONE: (),
}
_COMMANDS: Final = {MoveStatus.PAUSED: "pause", MoveStatus.RUNNING: "resume", MoveStatus.STOPPED: "stop"}


@dataclass(frozen=True, slots=True)
class Pace:
    """`per_minute`: subscriptions asked in a minute; above `failures_percent_max` of them failed, the move pauses."""

    per_minute: int
    failures_percent_max: int

    @property
    def page_size(self) -> int:
        """How many are asked before the next wait: no page holds more than a minute's worth."""
        return min(PAGE_MAX, self.per_minute)

    def wait_s(self, asked: int) -> float:
        """Seconds from one page to the next, so that the rate holds."""
        return asked * _MINUTE_S / self.per_minute

    def is_failing(self, seen: int, failed: int) -> bool:
        """Whether more failed than is allowed, of enough to say so."""
        return seen >= FAILURES_LOOK_MIN and failed * _WHOLE_PERCENT > seen * self.failures_percent_max


def check_steer(now: MoveStatus, wanted: MoveStatus) -> None:
    """Raises `Refused` where a move in `now` cannot become `wanted`; what it is already is a repetition."""
    if now is wanted or _COMMANDS[wanted] in _ALLOWED[now]:
        return
    raise Refused("wrong_state", f"This move is {now}.", allowed=_ALLOWED[now])
