"""When a customer is told that a card comes to its end: so many days before the last day on which it works."""

from __future__ import annotations

from calendar import monthrange
from datetime import date, datetime
from typing import Final

from domain.calendar import local_day

NOTICE_DAYS: Final = (7, 30)
MONTHS: Final = range(1, 13)


def last_day(year: int, month: int) -> date:
    """A card works until the end of the month that stands on it."""
    return date(year, month, monthrange(year, month)[1])


def notice_due(year: int, month: int, zone: str, now: datetime) -> int | None:
    """Which notice is due, by days before the end in the customer's zone; None: none yet, or the card is over.

    The nearest counts: who was not told 30 days before (an outage, a card that came late) is told once, not twice.
    """
    left = (last_day(year, month) - local_day(now, zone)).days
    if left < 0:
        return None
    return next((days for days in NOTICE_DAYS if left <= days), None)


def written(year: int, month: int) -> str:
    """An end as it is kept and compared: `2027-03`."""
    return f"{year:04}-{month:02}"
