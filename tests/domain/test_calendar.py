from datetime import UTC, date, datetime, time, timedelta, timezone
from itertools import pairwise
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from pydantic import TypeAdapter

from domain.calendar import (
    DAYS_AWAY_MAX,
    INTERVAL_COUNT_MAX,
    YEAR_MAX,
    YEAR_MIN,
    Aligned,
    Alignment,
    Anchor,
    Interval,
    MonthEnd,
    Period,
    Unit,
    aligned_anchor,
    anchor_from,
    anchor_on,
    at_local,
    boundary,
    days_before,
    days_later,
    index_at,
    local_day,
    period,
    utc,
    zone_of,
)
from domain.errors import InvalidInput
from tests.domain.doc_tables import rows

BERLIN, NEW_YORK, APIA, LORD_HOWE = "Europe/Berlin", "America/New_York", "Pacific/Apia", "Australia/Lord_Howe"
ZONES = (BERLIN, NEW_YORK, "Asia/Kathmandu", LORD_HOWE, "America/Nuuk", "Africa/Cairo", "America/Santiago", "UTC")
MONTHLY, YEARLY = Interval(1, Unit.MONTH), Interval(1, Unit.YEAR)
WEEKLY, DAILY = Interval(1, Unit.WEEK), Interval(1, Unit.DAY)
TEN = time(10)
TICK = timedelta(microseconds=1)


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def local_days(anchor: Anchor, interval: Interval, first: int, last: int) -> list[str]:
    return [str(local_day(boundary(anchor, interval, n), anchor.zone)) for n in range(first, last + 1)]


def refusal_of(make: Any, *args: Any, **kwargs: Any) -> tuple[str, str]:
    with pytest.raises(InvalidInput) as refusal:
        make(*args, **kwargs)
    return refusal.value.field, refusal.value.message


# --- hard dates


@pytest.mark.parametrize(
    ("start", "expected"),
    [
        (
            "2024-01-31",
            "01-31 02-29 03-31 04-30 05-31 06-30 07-31 08-31 09-30 10-31 11-30 12-31 01-31 02-28",
        ),
        (
            "2025-01-31",
            "01-31 02-28 03-31 04-30 05-31 06-30 07-31 08-31 09-30 10-31 11-30 12-31 01-31 02-28",
        ),
        (
            "2027-01-30",
            "01-30 02-28 03-30 04-30 05-30 06-30 07-30 08-30 09-30 10-30 11-30 12-30 01-30 02-29",
        ),
        (
            "2027-01-29",
            "01-29 02-28 03-29 04-29 05-29 06-29 07-29 08-29 09-29 10-29 11-29 12-29 01-29 02-29",
        ),
    ],
)
def test_monthly_from_the_end_of_january_for_fourteen_months(start: str, expected: str) -> None:
    anchor = anchor_on(date.fromisoformat(start), TEN, BERLIN)
    assert [day[5:] for day in local_days(anchor, MONTHLY, 0, 13)] == expected.split()


def test_yearly_from_a_leap_day_keeps_the_29th_for_leap_years() -> None:
    anchor = anchor_on(date(2024, 2, 29), TEN, NEW_YORK)
    assert [day[2:] for day in local_days(anchor, YEARLY, 0, 8)] == [
        *("24-02-29", "25-02-28", "26-02-28", "27-02-28"),
        *("28-02-29", "29-02-28", "30-02-28", "31-02-28", "32-02-29"),
    ]
    century = anchor_on(date(2096, 2, 29), TEN, NEW_YORK)
    assert local_days(century, Interval(4, Unit.YEAR), 0, 2) == ["2096-02-29", "2100-02-28", "2104-02-29"]


def test_every_three_months_from_the_30th_of_november() -> None:
    anchor = anchor_on(date(2023, 11, 30), TEN, BERLIN)
    assert local_days(anchor, Interval(3, Unit.MONTH), -1, 5) == [
        *("2023-08-30", "2023-11-30", "2024-02-29", "2024-05-30", "2024-08-30", "2024-11-30", "2025-02-28"),
    ]


def test_a_sticky_last_day_stays_the_last_day() -> None:
    anchor = anchor_on(date(2023, 2, 28), TEN, BERLIN, MonthEnd.STICKY_LAST)
    assert local_days(anchor, MONTHLY, -2, 3) == [
        *("2022-12-31", "2023-01-31", "2023-02-28", "2023-03-31", "2023-04-30", "2023-05-31"),
    ]
    assert local_days(anchor, YEARLY, 0, 1) == ["2023-02-28", "2024-02-29"]
    not_last = anchor_on(date(2024, 2, 28), TEN, BERLIN, MonthEnd.STICKY_LAST)
    assert local_days(not_last, MONTHLY, 0, 2) == ["2024-02-28", "2024-03-28", "2024-04-28"]


@pytest.mark.parametrize(
    ("zone", "start", "expected"),
    [
        (BERLIN, "2026-03-22", ["2026-03-22 09:00", "2026-03-29 08:00", "2026-04-05 08:00"]),
        (BERLIN, "2026-10-18", ["2026-10-18 08:00", "2026-10-25 09:00", "2026-11-01 09:00"]),
        (NEW_YORK, "2026-03-01", ["2026-03-01 15:00", "2026-03-08 14:00", "2026-03-15 14:00"]),
        (NEW_YORK, "2026-10-25", ["2026-10-25 14:00", "2026-11-01 15:00", "2026-11-08 15:00"]),
        ("Asia/Kathmandu", "2026-03-22", ["2026-03-22 04:15", "2026-03-29 04:15", "2026-04-05 04:15"]),
    ],
)
def test_weekly_keeps_the_wall_time_through_clock_changes(zone: str, start: str, expected: list[str]) -> None:
    anchor = anchor_on(date.fromisoformat(start), TEN, zone)
    assert [boundary(anchor, WEEKLY, n) for n in range(3)] == [at(instant) for instant in expected]
    assert boundary(anchor, WEEKLY, 1).tzinfo is UTC


def test_one_shifted_boundary_leaves_no_trace_in_the_next() -> None:
    spring = anchor_on(date(2026, 3, 28), time(2, 30), BERLIN)
    assert [boundary(spring, DAILY, n) for n in range(3)] == [
        *(at("2026-03-28 01:30"), at("2026-03-29 01:30"), at("2026-03-30 00:30")),
    ]
    autumn = anchor_on(date(2026, 10, 24), time(2, 30), BERLIN)
    assert [boundary(autumn, DAILY, n) for n in range(3)] == [
        *(at("2026-10-24 00:30"), at("2026-10-25 00:30"), at("2026-10-26 01:30")),
    ]


def test_the_day_samoa_left_out_is_an_empty_period_that_no_instant_lies_in() -> None:
    anchor = anchor_on(date(2011, 12, 28), TEN, APIA)
    assert [boundary(anchor, DAILY, n) for n in range(5)] == [
        *(at("2011-12-28 20:00"), at("2011-12-29 20:00"), at("2011-12-30 20:00")),
        *(at("2011-12-30 20:00"), at("2011-12-31 20:00")),
    ]
    missing = period(anchor, DAILY, 2)
    assert missing.start == missing.end
    assert index_at(anchor, DAILY, missing.start) == 3
    assert index_at(anchor, DAILY, missing.start - TICK) == 1
    monthly = anchor_on(date(2011, 11, 30), TEN, APIA)
    assert local_days(monthly, MONTHLY, 0, 2) == ["2011-11-30", "2011-12-31", "2012-01-30"]


def test_a_clock_set_back_over_midnight_shows_yesterday_again_and_the_new_period_goes_on() -> None:
    # St. John's, 2010: at 00:01 on 7 November the clock went back to 23:01 on the 6th.
    anchor = anchor_on(date(2010, 11, 2), time(0), "America/St_Johns")
    midnight, again = at("2010-11-07 02:30"), at("2010-11-07 02:45")
    assert boundary(anchor, DAILY, 5) == midnight
    assert local_day(again, anchor.zone) == date(2010, 11, 6)
    assert index_at(anchor, DAILY, again) == index_at(anchor, DAILY, midnight) == 5
    assert index_at(anchor, DAILY, midnight - TICK) == 4


def test_boundaries_before_the_anchor_and_beyond_the_years_served() -> None:
    anchor = anchor_on(date(2024, 1, 31), TEN, BERLIN)
    assert local_days(anchor, MONTHLY, -2, 0) == ["2023-11-30", "2023-12-31", "2024-01-31"]
    assert local_days(anchor, DAILY, -31, -31) == ["2023-12-31"]
    for interval, last in ((MONTHLY, 11_711), (YEARLY, 975), (DAILY, 356_446), (WEEKLY, 50_920)):
        assert boundary(anchor, interval, last).year == YEAR_MAX
        for beyond in (last + 1, 10**12):
            rule = f"boundary {beyond} is outside the years {YEAR_MIN} to {YEAR_MAX}"
            assert refusal_of(boundary, anchor, interval, beyond) == ("n", rule)
    for interval, first in ((MONTHLY, -1488), (YEARLY, -124), (DAILY, -45_320), (WEEKLY, -6474)):
        assert boundary(anchor, interval, first).year == YEAR_MIN
        for beyond in (first - 1, -(10**12)):
            rule = f"boundary {beyond} is outside the years {YEAR_MIN} to {YEAR_MAX}"
            assert refusal_of(boundary, anchor, interval, beyond) == ("n", rule)


def test_a_period_runs_from_its_boundary_to_the_next() -> None:
    anchor = anchor_on(date(2026, 3, 1), TEN, BERLIN)
    assert period(anchor, MONTHLY, 0) == Period(at("2026-03-01 09:00"), at("2026-04-01 08:00"))
    assert period(anchor, MONTHLY, -1) == Period(at("2026-02-01 09:00"), at("2026-03-01 09:00"))


# --- properties

intervals = st.sampled_from(Unit).flatmap(
    lambda unit: st.builds(Interval, st.integers(1, min(24, INTERVAL_COUNT_MAX[unit])), st.just(unit))
)
anchors = st.builds(
    Anchor,
    st.dates(date(2000, 1, 1), date(2035, 12, 31)),
    st.times().map(lambda moment: moment.replace(microsecond=0, fold=0)),
    st.sampled_from(ZONES),
    st.sampled_from(MonthEnd),
)
indexes = st.integers(-8, 60)  # ten years back from 2000, eight times, are still served
instants = st.datetimes(datetime(2000, 1, 1), datetime(2035, 12, 31), timezones=st.just(UTC))  # noqa: DTZ001 - hypothesis wants plain bounds


def month_length(year: int, month: int) -> int:
    return (date(year + month // 12, month % 12 + 1, 1) - date(year, month, 1)).days


@given(anchors, st.integers(1, 24), indexes)
def test_the_anchor_never_drifts(anchor: Anchor, count: int, n: int) -> None:
    anchor = Anchor(anchor.day, TEN, anchor.zone)  # ten o'clock exists on every day of these zones
    day = local_day(boundary(anchor, Interval(count, Unit.MONTH), n), anchor.zone)
    months = (anchor.day.year * 12 + anchor.day.month - 1) + count * n
    assert (day.year, day.month) == (months // 12, months % 12 + 1)
    assert day.day == min(anchor.day.day, month_length(day.year, day.month))


@given(anchors, intervals, indexes)
def test_a_boundary_is_the_wall_time_of_the_anchor_unless_the_clock_leaves_it_out(
    anchor: Anchor, interval: Interval, n: int
) -> None:
    instant = boundary(anchor, interval, n)
    shown = instant.astimezone(ZoneInfo(anchor.zone))
    if shown.time() == anchor.at:
        assert (instant - timedelta(hours=1)).astimezone(ZoneInfo(anchor.zone)).time() != anchor.at  # the first
    else:
        assert (
            timedelta(0)
            < datetime.combine(shown.date(), shown.time())
            - datetime.combine(
                shown.date() if shown.time() > anchor.at else shown.date() - timedelta(days=1), anchor.at
            )
            <= timedelta(hours=1)
        )


@given(anchors, intervals, indexes)
def test_boundaries_rise_and_every_instant_has_its_period(anchor: Anchor, interval: Interval, n: int) -> None:
    start, end = boundary(anchor, interval, n), boundary(anchor, interval, n + 1)
    assert start < end
    assert index_at(anchor, interval, start) == n
    assert index_at(anchor, interval, start - TICK) == n - 1
    assert index_at(anchor, interval, end - TICK) == n


@given(anchors, intervals, instants)
def test_the_period_at_an_instant_contains_it(anchor: Anchor, interval: Interval, instant: datetime) -> None:
    found = period(anchor, interval, index_at(anchor, interval, instant))
    assert found.start <= instant < found.end


# --- anchors


def test_an_anchor_from_an_instant_is_its_local_date_and_wall_time() -> None:
    instant = at("2026-01-31 23:30:15.999999")
    assert anchor_from(instant, BERLIN) == Anchor(date(2026, 2, 1), time(0, 30, 15), BERLIN)
    assert anchor_from(instant, NEW_YORK, MonthEnd.STICKY_LAST) == Anchor(
        date(2026, 1, 31), time(18, 30, 15), NEW_YORK, MonthEnd.STICKY_LAST
    )
    tokyo = instant.astimezone(ZoneInfo("Asia/Tokyo"))
    assert anchor_from(tokyo, BERLIN) == anchor_from(instant, BERLIN)


def test_an_anchor_in_the_second_of_two_equal_hours_means_the_first() -> None:
    anchor = anchor_from(at("2026-10-25 01:30"), BERLIN)
    assert anchor == Anchor(date(2026, 10, 25), time(2, 30), BERLIN)
    assert boundary(anchor, DAILY, 0) == at("2026-10-25 00:30")
    assert index_at(anchor, DAILY, at("2026-10-25 01:30")) == 0


@given(instants, st.sampled_from(ZONES))
def test_the_first_boundary_of_an_anchor_is_the_instant_it_came_from(instant: datetime, zone: str) -> None:
    local = instant.astimezone(ZoneInfo(zone))
    assume(local.fold == 0)
    assert boundary(anchor_from(instant, zone), MONTHLY, 0) == instant.replace(microsecond=0)


def test_what_cannot_be_an_anchor_is_refused() -> None:
    day, years = date(2026, 1, 1), f"an anchor is a date in the years {YEAR_MIN} to {YEAR_MAX}"
    assert refusal_of(Anchor, at("2026-01-01"), TEN, BERLIN) == ("day", years)
    assert refusal_of(Anchor, date(YEAR_MIN - 1, 12, 31), TEN, BERLIN) == ("day", years)
    assert refusal_of(Anchor, date(YEAR_MAX + 1, 1, 1), TEN, BERLIN) == ("day", years)
    Anchor(date(YEAR_MIN, 1, 1), TEN, BERLIN)
    Anchor(date(YEAR_MAX, 12, 31), TEN, BERLIN)
    plain = "an anchor's time is a plain wall time in whole seconds"
    for moment in (time(10, tzinfo=UTC), time(10, microsecond=1), time(2, 30, fold=1)):
        assert refusal_of(Anchor, day, moment, BERLIN) == ("at", plain)
    assert refusal_of(Anchor, day, TEN, "Mars/Olympus") == (
        "zone",
        "'Mars/Olympus' is not an IANA time zone",
    )


@pytest.mark.parametrize(
    "name",
    [
        *("", "Berlin", "Europe/", "Europe", "../etc/passwd", "/etc/localtime", "Europe/Berlin\0"),
        *("localtime", "posixrules", "Factory", "right/Europe/Berlin", "posix/Europe/Berlin", "A" * 65),
    ],
)
def test_what_is_no_place_in_the_iana_data_is_no_zone(name: str) -> None:
    assert refusal_of(zone_of, name) == ("zone", f"{name[:64]!r} is not an IANA time zone")


def test_zones_are_found_once() -> None:
    assert zone_of(BERLIN) is zone_of(BERLIN)
    assert zone_of("America/Argentina/ComodRivadavia").key == "America/Argentina/ComodRivadavia"
    assert zone_of("UTC").utcoffset(None) == timedelta(0)


def test_an_interval_is_at_most_ten_years() -> None:
    assert (Interval(3, Unit.MONTH).months, Interval(3, Unit.MONTH).days) == (3, 0)
    assert (Interval(2, Unit.YEAR).months, Interval(2, Unit.YEAR).days) == (24, 0)
    assert (Interval(2, Unit.WEEK).months, Interval(2, Unit.WEEK).days) == (0, 14)
    assert (Interval(9, Unit.DAY).months, Interval(9, Unit.DAY).days) == (0, 9)
    for unit, count_max in ((Unit.DAY, 3650), (Unit.WEEK, 520), (Unit.MONTH, 120), (Unit.YEAR, 10)):
        Interval(count_max, unit)
        for count in (0, -1, count_max + 1, True, 1.0):
            assert refusal_of(Interval, count, unit) == ("count", f"an interval is 1 to {count_max} {unit}s")


def test_a_period_is_in_utc_and_runs_forward() -> None:
    start, end = at("2026-03-01"), at("2026-04-01")
    assert Period(start.replace(tzinfo=timezone(timedelta(0))), end) == Period(start, end)
    Period(start, start)
    starts, ends = "a period starts at an instant in UTC", "a period ends at an instant in UTC"
    for wrong in (start.replace(tzinfo=None), start.replace(tzinfo=ZoneInfo("Asia/Tokyo"))):
        assert refusal_of(Period, wrong, end) == ("start", starts)
        assert refusal_of(Period, start, wrong) == ("end", ends)
    assert refusal_of(Period, end, start) == ("end", "a period does not end before it starts")


@pytest.mark.parametrize(
    "value",
    [
        Interval(3, Unit.MONTH),
        Anchor(date(2024, 2, 29), time(23, 59, 59), LORD_HOWE, MonthEnd.STICKY_LAST),
        Period(at("2026-03-01 10:00:00.5"), at("2026-04-01")),
        Alignment(day_of_month=31, month=12),
        Aligned(Anchor(date(2024, 1, 31), TEN, BERLIN), 1),
    ],
)
def test_state_survives_json(value: object) -> None:
    kind: TypeAdapter[object] = TypeAdapter(type(value))
    assert kind.validate_json(kind.dump_json(value)) == value


# --- instants and local days


def test_an_instant_needs_a_zone() -> None:
    naive = datetime(2026, 3, 1, 10)  # noqa: DTZ001 - this is what is refused
    anchor = anchor_on(date(2026, 3, 1), TEN, BERLIN)
    refusal = ("instant", "an instant needs a time zone; a naive datetime has none")
    assert refusal_of(utc, naive) == refusal
    assert refusal_of(local_day, naive, BERLIN) == refusal
    assert refusal_of(anchor_from, naive, BERLIN) == refusal
    assert refusal_of(index_at, anchor, MONTHLY, naive) == refusal
    assert refusal_of(days_later, naive, 1, BERLIN) == refusal
    assert refusal_of(aligned_anchor, naive, BERLIN, Alignment(day_of_month=1), MONTHLY, TEN) == refusal


def test_any_aware_instant_is_understood_and_utc_comes_out() -> None:
    tokyo = datetime(2026, 3, 1, 10, tzinfo=ZoneInfo("Asia/Tokyo"))
    assert utc(tokyo) == tokyo
    assert utc(tokyo).tzinfo is UTC
    assert local_day(at("2026-03-01 03:00"), NEW_YORK) == date(2026, 2, 28)
    assert local_day(at("2026-03-01 23:00"), BERLIN) == date(2026, 3, 2)
    assert at_local(date(2026, 10, 25), time(2, 30, fold=1), BERLIN) == at("2026-10-25 00:30")


def test_days_away_have_limits() -> None:
    now = at("2026-03-01 12:00:30.5")
    for days in (-1, DAYS_AWAY_MAX + 1):
        assert refusal_of(days_later, now, days, BERLIN) == ("days", f"days are 0 to {DAYS_AWAY_MAX}")
        assert refusal_of(days_before, now, days, BERLIN) == ("days", f"days are 0 to {DAYS_AWAY_MAX}")
    for hour in (-1, 24):
        assert refusal_of(days_later, now, 1, BERLIN, hour) == ("hour", "an hour of the day is 0 to 23")
    assert days_later(now, DAYS_AWAY_MAX, "UTC") == now + timedelta(days=DAYS_AWAY_MAX)
    assert days_before(now, DAYS_AWAY_MAX, "UTC") == now - timedelta(days=DAYS_AWAY_MAX)
    assert days_later(now, 0, BERLIN) == days_before(now, 0, BERLIN) == now
    assert days_later(now, 1, BERLIN, 0) == at("2026-03-01 23:00")
    assert days_later(now, 1, BERLIN, 23) == at("2026-03-02 22:00")
    assert days_later(now.astimezone(ZoneInfo(BERLIN)), 0, BERLIN).tzinfo is UTC


@given(instants, st.integers(0, 400), st.sampled_from(ZONES), st.none() | st.integers(0, 23))
def test_days_later_counts_local_dates_and_never_goes_back(
    instant: datetime, days: int, zone: str, hour: int | None
) -> None:
    later = days_later(instant, days, zone, hour)
    wanted = local_day(instant, zone) + timedelta(days=days)
    assert later >= instant
    shown = later.astimezone(ZoneInfo(zone))
    gap = shown.time() != (instant.astimezone(ZoneInfo(zone)).time() if hour is None else time(hour))
    assert shown.date() == wanted or (gap and shown.date() == wanted + timedelta(days=1))


@given(instants, st.integers(0, 400), st.sampled_from(ZONES))
def test_days_before_counts_local_dates_back(instant: datetime, days: int, zone: str) -> None:
    earlier = days_before(instant, days, zone)
    local = instant.astimezone(ZoneInfo(zone))
    assert earlier <= instant
    assert earlier == at_local(local.date() - timedelta(days=days), local.time(), zone)
    assert abs((instant - earlier) - timedelta(days=days)) <= timedelta(hours=1)


# --- calendar billing


def alignment_of(text: str) -> Alignment:
    match text.split():
        case ["day", day]:
            return Alignment(day_of_month=int(day))
        case ["day", day, "of", "month", month]:
            return Alignment(day_of_month=int(day), month=int(month))
        case ["weekday", weekday]:
            return Alignment(weekday=int(weekday))
        case _:
            assert text == "last day"
            return Alignment(last_day=True)


def test_day_31_first_met_in_a_short_month_is_anchored_where_the_month_has_it() -> None:
    aligned = aligned_anchor(at("2026-02-10"), BERLIN, Alignment(day_of_month=31), MONTHLY, TEN)
    assert aligned == Aligned(Anchor(date(2026, 1, 31), TEN, BERLIN), 1)
    quarterly = Interval(3, Unit.MONTH)
    aligned = aligned_anchor(at("2026-02-10"), BERLIN, Alignment(day_of_month=31), quarterly, TEN)
    assert aligned == Aligned(Anchor(date(2025, 8, 31), TEN, BERLIN), 2)


@pytest.mark.parametrize(
    ("alignment", "interval", "expected"),
    [
        (Alignment(day_of_month=31, month=4), YEARLY, Aligned(Anchor(date(2026, 4, 30), TEN, BERLIN), 0)),
        (Alignment(day_of_month=30, month=2), YEARLY, Aligned(Anchor(date(2024, 2, 29), TEN, BERLIN), 2)),
        (
            Alignment(day_of_month=29, month=2),
            Interval(9, Unit.YEAR),
            Aligned(Anchor(date(2008, 2, 29), TEN, BERLIN), 2),
        ),
        (Alignment(day_of_month=28, month=2), YEARLY, Aligned(Anchor(date(2026, 2, 28), TEN, BERLIN), 0)),
        (
            Alignment(last_day=True, month=2),
            YEARLY,
            Aligned(Anchor(date(2026, 2, 28), TEN, BERLIN, MonthEnd.STICKY_LAST), 0),
        ),
        (
            Alignment(last_day=True, month=12),
            Interval(6, Unit.MONTH),
            Aligned(Anchor(date(2026, 6, 30), TEN, BERLIN, MonthEnd.STICKY_LAST), 0),
        ),
        (
            Alignment(day_of_month=15, month=12),
            Interval(24, Unit.MONTH),
            Aligned(Anchor(date(2026, 12, 15), TEN, BERLIN), 0),
        ),
        (Alignment(day_of_month=1, month=1), MONTHLY, Aligned(Anchor(date(2026, 3, 1), TEN, BERLIN), 0)),
        (Alignment(weekday=1), Interval(2, Unit.WEEK), Aligned(Anchor(date(2026, 2, 10), TEN, BERLIN), 0)),
        (Alignment(weekday=6), WEEKLY, Aligned(Anchor(date(2026, 2, 15), TEN, BERLIN), 0)),
    ],
)
def test_where_a_calendar_is_anchored(alignment: Alignment, interval: Interval, expected: Aligned) -> None:
    assert aligned_anchor(at("2026-02-10 09:00"), BERLIN, alignment, interval, TEN) == expected


def test_the_furthest_a_day_is_looked_for() -> None:
    every_nine, leap_day = Interval(9, Unit.YEAR), Alignment(day_of_month=29, month=2)
    aligned = aligned_anchor(at("2127-01-01"), BERLIN, leap_day, every_nine, TEN)  # 2100 has no leap day
    assert aligned == Aligned(Anchor(date(2064, 2, 29), TEN, BERLIN), 7)
    every_five = Interval(5, Unit.MONTH)  # February, September, April, November, June: all short
    aligned = aligned_anchor(at("2026-02-10"), BERLIN, Alignment(day_of_month=31), every_five, TEN)
    assert aligned == Aligned(Anchor(date(2024, 1, 31), TEN, BERLIN), 5)


def test_a_time_that_moves_over_midnight_belongs_to_the_date_it_was_meant_for() -> None:
    # In Nuuk 23:30 on 28 March 2026 is 00:30 on the 29th; at 00:15 that boundary is still to come.
    quarter_past = at("2026-03-29 01:15")
    saturday = aligned_anchor(quarter_past, "America/Nuuk", Alignment(weekday=5), WEEKLY, time(23, 30))
    assert saturday == Aligned(Anchor(date(2026, 3, 28), time(23, 30), "America/Nuuk"), 0)
    the_28th = aligned_anchor(quarter_past, "America/Nuuk", Alignment(day_of_month=28), MONTHLY, time(23, 30))
    assert the_28th == Aligned(Anchor(date(2026, 3, 28), time(23, 30), "America/Nuuk"), 0)


def test_a_date_that_was_left_out_at_the_end_of_a_month_is_still_ahead_on_the_first() -> None:
    # Kiritimati had no 31 December 1994; ten o'clock of that day is ten o'clock on 1 January.
    five = at("1994-12-31 15:00")
    aligned = aligned_anchor(five, "Pacific/Kiritimati", Alignment(last_day=True), MONTHLY, TEN)
    assert aligned.anchor.day == date(1994, 12, 31)
    assert boundary(aligned.anchor, MONTHLY, aligned.first_index) == five + timedelta(hours=5)


def test_what_cannot_be_aligned_is_refused() -> None:
    one_of = ("alignment", "choose one of day_of_month, last_day and weekday")
    assert refusal_of(Alignment) == one_of
    assert refusal_of(Alignment, day_of_month=1, last_day=True) == one_of
    assert refusal_of(Alignment, day_of_month=1, weekday=1) == one_of
    assert refusal_of(Alignment, last_day=True, weekday=0) == one_of
    assert refusal_of(Alignment, month=1) == one_of
    assert Alignment(day_of_month=1, month=12).month == 12
    assert Alignment(day_of_month=31, month=1).day_of_month == 31
    assert [Alignment(weekday=weekday).weekday for weekday in (0, 6)] == [0, 6]
    for day in (0, 32):
        assert refusal_of(Alignment, day_of_month=day) == ("day_of_month", "a day of the month is 1 to 31")
    for weekday in (-1, 7):
        assert refusal_of(Alignment, weekday=weekday) == (
            "weekday",
            "a weekday is 0 (Monday) to 6 (Sunday)",
        )
    for month in (0, 13):
        assert refusal_of(Alignment, day_of_month=1, month=month) == ("month", "a month is 1 to 12")
    assert refusal_of(Alignment, weekday=0, month=1) == (
        "month",
        "a weekday is aligned to weeks, not to a month",
    )

    now = at("2026-02-10")
    for interval in (DAILY, MONTHLY, YEARLY):
        assert refusal_of(aligned_anchor, now, BERLIN, Alignment(weekday=0), interval, TEN) == (
            "weekday",
            "a weekday aligns an interval of weeks",
        )
    for interval in (DAILY, WEEKLY):
        assert refusal_of(aligned_anchor, now, BERLIN, Alignment(day_of_month=1), interval, TEN) == (
            "day_of_month",
            "a day of the month aligns an interval of months or years",
        )
    for months in (5, 8, 18):
        of_year = Alignment(day_of_month=1, month=1)
        assert refusal_of(aligned_anchor, now, BERLIN, of_year, Interval(months, Unit.MONTH), TEN) == (
            "month",
            "a month aligns an interval that divides the year or is made of whole years",
        )


@given(instants, st.sampled_from(ZONES), st.integers(1, 31), st.integers(1, 24))
def test_an_aligned_calendar_starts_at_or_after_the_instant_and_keeps_its_day(
    instant: datetime, zone: str, day: int, count: int
) -> None:
    interval = Interval(count, Unit.MONTH)
    aligned = aligned_anchor(instant, zone, Alignment(day_of_month=day), interval, TEN)
    first = boundary(aligned.anchor, interval, aligned.first_index)
    assert instant <= first < instant + timedelta(days=32)
    assert boundary(aligned.anchor, interval, aligned.first_index - 1) < instant
    for n in range(24):
        shown = local_day(boundary(aligned.anchor, interval, aligned.first_index + n), zone)
        assert shown.day == min(day, month_length(shown.year, shown.month))


@given(instants, st.sampled_from(ZONES), st.integers(0, 6), st.integers(1, 8))
def test_an_aligned_week_starts_on_the_first_such_weekday(
    instant: datetime, zone: str, weekday: int, count: int
) -> None:
    interval = Interval(count, Unit.WEEK)
    aligned = aligned_anchor(instant, zone, Alignment(weekday=weekday), interval, TEN)
    first = boundary(aligned.anchor, interval, aligned.first_index)
    assert instant <= first <= instant + timedelta(days=7, hours=1)
    assert local_day(first, zone).weekday() == weekday


# --- the page in docs/


def interval_of(text: str) -> Interval:
    count, unit = text.split()
    return Interval(int(count), Unit(unit.removesuffix("s")))


def dates_of(text: str) -> list[str]:
    return text.split(", ")


def test_docs_boundaries() -> None:
    for row in rows("calendar.md", "Boundaries"):
        start = datetime.fromisoformat(row["anchor (local)"])
        anchor = Anchor(start.date(), start.time(), row["zone"], MonthEnd(row["month_end"]))
        expected = dates_of(row["the next boundaries (local dates)"])
        assert local_days(anchor, interval_of(row["every"]), 1, len(expected)) == expected, row


def test_docs_clock_changes() -> None:
    for row in rows("calendar.md", "Clock changes"):
        wanted = datetime.fromisoformat(row["wanted (local)"])
        instant = at_local(wanted.date(), wanted.time(), row["zone"])
        assert instant == at(row["is the instant (UTC)"]), row
        shown = f"{instant.astimezone(ZoneInfo(row['zone'])):%Y-%m-%d %H:%M}"
        assert shown == row["when clocks there show"], row


def test_docs_calendar_billing() -> None:
    for row in rows("calendar.md", "Calendar billing"):
        interval, alignment = interval_of(row["every"]), alignment_of(row["on"])
        moment = time.fromisoformat(row["at"])
        aligned = aligned_anchor(at(row["from (UTC)"]), row["zone"], alignment, interval, moment)
        expected = dates_of(row["the first dates (local)"])
        last = aligned.first_index + len(expected) - 1
        assert local_days(aligned.anchor, interval, aligned.first_index, last) == expected, row


def test_docs_days_away() -> None:
    for row in rows("calendar.md", "Days later, days before"):
        hour = None if row["hour"] == "same" else int(row["hour"])
        instant, days = at(row["from (UTC)"]), int(row["days"])
        found = days_later(instant, days, row["zone"], hour) if days >= 0 else days_before(instant, -days, row["zone"])
        assert found == at(row["instant (UTC)"]), row


def test_a_page_is_really_read() -> None:
    assert len(rows("calendar.md", "Boundaries")) >= 10
    assert all(pair[0] != pair[1] for pair in pairwise(rows("calendar.md", "Clock changes")))
