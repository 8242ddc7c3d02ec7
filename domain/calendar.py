"""When periods start and end: every boundary is computed from the anchor, never from the last date.

An anchor is a local date, a wall time and an IANA zone. A boundary adds whole intervals to the local date,
then asks the zone which instant that wall time is. So nothing drifts: neither through short months nor
through daylight saving.

- Day 29, 30 or 31 in a shorter month is its last day, and the anchor's day again afterwards (`MonthEnd`).
- A wall time that does not exist moves forward by the gap; one that occurs twice is the first of the two
  (PEP 495 with fold 0; the rule of RFC 5545, section 3.3.5).

Instants come in as any aware datetime and go out in UTC. A naive datetime raises `InvalidInput`.
"""

from __future__ import annotations

from calendar import isleap
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from enum import StrEnum
from functools import lru_cache
from typing import Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from domain.errors import InvalidInput

YEAR_MIN: Final = 1900
YEAR_MAX: Final = 2999
DAYS_AWAY_MAX: Final = 3_660
ZONES_CACHED_MAX: Final = 1_024
ZONE_NAME_LENGTH_MAX: Final = 64
ANCHOR_SEARCH_STEPS_MAX: Final = 8  # 29 February is at most 7 steps back (every 9 years over 2100), a 31st 5

_MONTHS_IN_YEAR: Final = 12
_DAYS_IN_WEEK: Final = 7
_DAYS_IN_MONTH_MAX: Final = 31
_DAYS_IN_MONTH: Final = (31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)
_ORDINAL_MIN: Final = date(YEAR_MIN, 1, 1).toordinal()
_ORDINAL_MAX: Final = date(YEAR_MAX, 12, 31).toordinal()
_NOT_PLACES: Final = frozenset({"localtime", "posixrules", "Factory"})  # differ by machine, or are no zone at all


class Unit(StrEnum):
    DAY = "day"
    WEEK = "week"
    MONTH = "month"
    YEAR = "year"


INTERVAL_COUNT_MAX: Final = {Unit.DAY: 3_650, Unit.WEEK: 520, Unit.MONTH: 120, Unit.YEAR: 10}
_UNIT_DAYS: Final = {Unit.DAY: 1, Unit.WEEK: _DAYS_IN_WEEK}
_UNIT_MONTHS: Final = {Unit.MONTH: 1, Unit.YEAR: _MONTHS_IN_YEAR}


class MonthEnd(StrEnum):
    """What an anchor at the end of a month means (policy `month_end`)."""

    CLAMP_RESTORE = "clamp_restore"  # 30 Apr → 30 May; 31 Jan → 28 Feb → 31 Mar
    STICKY_LAST = "sticky_last"  # an anchor on the last day of its month stays there: 30 Apr → 31 May


@dataclass(frozen=True, slots=True)
class Interval:
    """`count` units, at most ten years (`INTERVAL_COUNT_MAX`)."""

    count: int
    unit: Unit

    def __post_init__(self) -> None:
        count_max = INTERVAL_COUNT_MAX[self.unit]
        if type(self.count) is not int or not 1 <= self.count <= count_max:
            raise InvalidInput("count", f"an interval is 1 to {count_max} {self.unit}s")

    @property
    def days(self) -> int:
        """Local calendar days in a step, 0 where the step is counted in months."""
        return self.count * _UNIT_DAYS.get(self.unit, 0)

    @property
    def months(self) -> int:
        """Calendar months in a step, 0 where the step is counted in days."""
        return self.count * _UNIT_MONTHS.get(self.unit, 0)


@dataclass(frozen=True, slots=True)
class Anchor:
    """Where the calendar of a subscription is fixed: local date, wall time (whole seconds), IANA zone."""

    day: date
    at: time
    zone: str
    month_end: MonthEnd = MonthEnd.CLAMP_RESTORE

    def __post_init__(self) -> None:
        if isinstance(self.day, datetime) or not YEAR_MIN <= self.day.year <= YEAR_MAX:
            raise InvalidInput("day", f"an anchor is a date in the years {YEAR_MIN} to {YEAR_MAX}")
        if self.at.tzinfo is not None or self.at.microsecond or self.at.fold:
            raise InvalidInput("at", "an anchor's time is a plain wall time in whole seconds")
        zone_of(self.zone)


@dataclass(frozen=True, slots=True)
class Period:
    """[start, end) in UTC; empty where a daily period meets a date its zone left out (Apia, 30 Dec 2011)."""

    start: datetime
    end: datetime

    def __post_init__(self) -> None:
        # Aware is not enough: two datetimes of one zone subtract by wall clock and lose the hour of a change.
        if self.start.utcoffset() != timedelta(0):
            raise InvalidInput("start", "a period starts at an instant in UTC")
        if self.end.utcoffset() != timedelta(0):
            raise InvalidInput("end", "a period ends at an instant in UTC")
        if self.end < self.start:
            raise InvalidInput("end", "a period does not end before it starts")


@dataclass(frozen=True, slots=True)
class Alignment:
    """Calendar billing: a day of the month, its last day, or a weekday (0 is Monday).

    `month` (1 to 12) says in which month a year, or a part of one such as a quarter, begins.
    """

    day_of_month: int | None = None
    last_day: bool = False
    weekday: int | None = None
    month: int | None = None

    def __post_init__(self) -> None:
        if (self.day_of_month is not None) + self.last_day + (self.weekday is not None) != 1:
            raise InvalidInput("alignment", "choose one of day_of_month, last_day and weekday")
        if self.day_of_month is not None and not 1 <= self.day_of_month <= _DAYS_IN_MONTH_MAX:
            raise InvalidInput("day_of_month", f"a day of the month is 1 to {_DAYS_IN_MONTH_MAX}")
        if self.weekday is not None and not 0 <= self.weekday < _DAYS_IN_WEEK:
            raise InvalidInput("weekday", "a weekday is 0 (Monday) to 6 (Sunday)")
        if self.month is not None and not 1 <= self.month <= _MONTHS_IN_YEAR:
            raise InvalidInput("month", f"a month is 1 to {_MONTHS_IN_YEAR}")
        if self.month is not None and self.weekday is not None:
            raise InvalidInput("month", "a weekday is aligned to weeks, not to a month")


@dataclass(frozen=True, slots=True)
class Aligned:
    """An anchor on the aligned calendar, and the index of its first boundary at or after the start."""

    anchor: Anchor
    first_index: int


@lru_cache(maxsize=ZONES_CACHED_MAX)
def zone_of(name: str) -> ZoneInfo:
    """The IANA zone of that name. Raises `InvalidInput` where there is none."""
    # right/ counts leap seconds and posix/ is a second name: neither is what a customer's address means.
    if len(name) > ZONE_NAME_LENGTH_MAX or name in _NOT_PLACES or name.startswith(("right/", "posix/")):
        raise InvalidInput("zone", f"{name[:ZONE_NAME_LENGTH_MAX]!r} is not an IANA time zone")
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:  # OSError: the name of a folder
        raise InvalidInput("zone", f"{name!r} is not an IANA time zone") from error


def utc(instant: datetime) -> datetime:
    """The same instant in UTC. Raises `InvalidInput` for a naive datetime, which is none."""
    if instant.tzinfo is UTC:
        return instant
    if instant.utcoffset() is None:
        raise InvalidInput("instant", "an instant needs a time zone; a naive datetime has none")
    return instant.astimezone(UTC)


def whole_second(instant: datetime) -> datetime:
    """The same instant in UTC without its fraction of a second: the clock of a subscription counts whole ones."""
    return utc(instant).replace(microsecond=0)


def at_local(day: date, at: time, zone: str) -> datetime:
    """The instant, in UTC, when clocks in `zone` show that date and time (for gaps and repeats see above)."""
    return datetime.combine(day, at.replace(fold=0), tzinfo=zone_of(zone)).astimezone(UTC)


def local_day(instant: datetime, zone: str) -> date:
    return _local(instant, zone).date()


def days_later(instant: datetime, days: int, zone: str, hour: int | None = None) -> datetime:
    """`days` local calendar days later at the same wall time, or at `hour`:00; never before `instant`.

    Raises `InvalidInput` for `days` outside 0 to `DAYS_AWAY_MAX` and `hour` outside 0 to 23.
    """
    if not 0 <= days <= DAYS_AWAY_MAX:
        raise InvalidInput("days", f"days are 0 to {DAYS_AWAY_MAX}")
    if hour is not None and not 0 <= hour <= 23:  # noqa: PLR2004 - a clock's hours
        raise InvalidInput("hour", "an hour of the day is 0 to 23")
    local = _local(instant, zone)
    at = local.time() if hour is None else time(hour)
    return max(at_local(local.date() + timedelta(days=days), at, zone), utc(instant))


def days_before(instant: datetime, days: int, zone: str) -> datetime:
    """`days` local calendar days earlier at the same wall time: a notice goes out on that date.

    Raises `InvalidInput` for `days` outside 0 to `DAYS_AWAY_MAX`.
    """
    if not 0 <= days <= DAYS_AWAY_MAX:
        raise InvalidInput("days", f"days are 0 to {DAYS_AWAY_MAX}")
    local = _local(instant, zone)
    return at_local(local.date() - timedelta(days=days), local.time(), zone)


def anchor_on(day: date, at: time, zone: str, month_end: MonthEnd = MonthEnd.CLAMP_RESTORE) -> Anchor:
    return Anchor(day, at, zone, month_end)


def anchor_from(instant: datetime, zone: str, month_end: MonthEnd = MonthEnd.CLAMP_RESTORE) -> Anchor:
    """The anchor at the local date and wall time of `instant`; seconds are kept, microseconds dropped.

    Within the second of two equal hours the anchor means the first, as every later boundary does.
    """
    local = _local(instant, zone)
    return Anchor(local.date(), local.time().replace(microsecond=0, fold=0), zone, month_end)


def boundary(anchor: Anchor, interval: Interval, n: int) -> datetime:
    """The n-th boundary in UTC; 0 is the anchor itself, below 0 lies before it.

    Raises `InvalidInput` outside the years `YEAR_MIN` to `YEAR_MAX`.
    """
    return at_local(_boundary_day(anchor, interval, n), anchor.at, anchor.zone)


def period(anchor: Anchor, interval: Interval, n: int) -> Period:
    """[boundary(n), boundary(n + 1))."""
    return Period(boundary(anchor, interval, n), boundary(anchor, interval, n + 1))


def index_at(anchor: Anchor, interval: Interval, instant: datetime) -> int:
    """The n whose period contains `instant`: the last boundary at or before it. Constant time."""
    day = local_day(instant, anchor.zone)
    if interval.days:
        n = (day - anchor.day).days // interval.days
    else:
        n = (_month_number(day) - _month_number(anchor.day)) // interval.months
    # One more, as a clock set back over midnight shows yesterday's date again; then down, a step or three.
    n += 1
    while boundary(anchor, interval, n) > instant:
        n -= 1
    return n


def aligned_anchor(instant: datetime, zone: str, alignment: Alignment, interval: Interval, at: time) -> Aligned:
    """The calendar whose boundaries are the aligned dates, and its first boundary at or after `instant`.

    Weeks take a weekday; months and years take a day of the month or the last day; `month` fixes the phase
    of a year, half-year, quarter, … (a number of months that divides 12 or that 12 divides). Raises
    `InvalidInput` else.

    Day 31 first met in a short month: the anchor is then that many whole intervals earlier, where the month
    really has the day, so that later months restore it. Where no month of the sequence has it (every 31
    April), the longest one gives the day. The last day of the month is an anchor on a last day with
    `MonthEnd.STICKY_LAST`.
    """
    if alignment.weekday is not None:
        day = _first_weekday(instant, zone, alignment.weekday, interval, at)
        return Aligned(Anchor(day, at, zone), 0)
    number, wanted = _first_month(instant, zone, alignment, interval, at)
    if alignment.last_day:
        return Aligned(Anchor(_day_in(number, wanted), at, zone, MonthEnd.STICKY_LAST), 0)
    earlier = (_day_in(number - steps * interval.months, wanted) for steps in range(ANCHOR_SEARCH_STEPS_MAX))
    steps, day = max(enumerate(earlier), key=lambda found: (found[1].day, -found[0]))
    return Aligned(Anchor(day, at, zone), steps)


def _first_weekday(instant: datetime, zone: str, weekday: int, interval: Interval, at: time) -> date:
    if interval.unit is not Unit.WEEK:
        raise InvalidInput("weekday", "a weekday aligns an interval of weeks")
    # From the day before: a time that moves forward over midnight belongs to the date it was meant for.
    day = local_day(instant, zone) - timedelta(days=1)
    day += timedelta(days=(weekday - day.weekday()) % _DAYS_IN_WEEK)
    while at_local(day, at, zone) < instant:
        day += timedelta(days=_DAYS_IN_WEEK)
    return day


def _first_month(instant: datetime, zone: str, alignment: Alignment, interval: Interval, at: time) -> tuple[int, int]:
    """The number of the first month whose aligned date is at or after `instant`, and the day wanted in it."""
    months = interval.months
    if not months:
        raise InvalidInput("day_of_month", "a day of the month aligns an interval of months or years")
    phase = 1
    wanted = alignment.day_of_month or _DAYS_IN_MONTH_MAX
    number = _month_number(local_day(instant, zone) - timedelta(days=1))  # for the reason in _first_weekday
    if alignment.month is not None:
        if _MONTHS_IN_YEAR % months and months % _MONTHS_IN_YEAR:
            raise InvalidInput("month", "a month aligns an interval that divides the year or is made of whole years")
        phase = min(months, _MONTHS_IN_YEAR)
        number += (alignment.month - 1 - number) % phase
    while at_local(_day_in(number, wanted), at, zone) < instant:
        number += phase
    return number, wanted


def _boundary_day(anchor: Anchor, interval: Interval, n: int) -> date:
    if interval.days:
        ordinal = anchor.day.toordinal() + interval.days * n
        if not _ORDINAL_MIN <= ordinal <= _ORDINAL_MAX:
            raise InvalidInput("n", f"boundary {n} is outside the years {YEAR_MIN} to {YEAR_MAX}")
        return date.fromordinal(ordinal)
    anchored = _month_number(anchor.day)
    wanted = anchor.day.day
    if anchor.month_end is MonthEnd.STICKY_LAST and anchor.day == _day_in(anchored, _DAYS_IN_MONTH_MAX):
        wanted = _DAYS_IN_MONTH_MAX
    number = anchored + interval.months * n
    if not YEAR_MIN <= number // _MONTHS_IN_YEAR <= YEAR_MAX:
        raise InvalidInput("n", f"boundary {n} is outside the years {YEAR_MIN} to {YEAR_MAX}")
    return _day_in(number, wanted)


def _month_number(day: date) -> int:
    """Months since year 0, so that adding months is adding integers."""
    return day.year * _MONTHS_IN_YEAR + day.month - 1


def _day_in(month_number: int, wanted: int) -> date:
    """Day `wanted` of that month, or its last day where it is shorter."""
    year, month_index = divmod(month_number, _MONTHS_IN_YEAR)
    length = _DAYS_IN_MONTH[month_index]
    if month_index == 1 and isleap(year):
        length += 1
    return date(year, month_index + 1, min(wanted, length))


def _local(instant: datetime, zone: str) -> datetime:
    return utc(instant).astimezone(zone_of(zone))
