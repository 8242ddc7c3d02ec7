"""A clock that is being moved (test mode), as the workflow sees it whose clock it is."""

from __future__ import annotations

from datetime import datetime, timedelta


class Journey:
    """One for each run: whether the clock is being moved, and how far.

    Where a step is still under way when the end of the journey passes by the wall clock, the server (1.32) skips once
    more, to whatever timer comes next. So while the clock is moved, no timer is set for what lies beyond the end.
    """

    def __init__(self) -> None:
        self.under_way = False
        self._end: datetime | None = None

    def begin(self, now: datetime, by: timedelta | None) -> None:
        """The clock is about to be moved from `now` by so much; None is how a run from before this rule was told."""
        self.under_way = True
        self._end = now + by if by is not None else None

    def arrive(self) -> None:
        """The clock runs by itself again."""
        self.under_way = False
        self._end = None

    def timer(self, due: datetime | None, now: datetime) -> timedelta | None:
        """How long to wait for what is due then; None is without a timer, until something is said."""
        if due is None or (self._end is not None and due > self._end):
            return None
        return due - now
