"""When a customer is told that a card comes to its end."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from domain.card_life import notice_due


@pytest.mark.parametrize(
    ("now", "days"),
    [
        ("2027-02-26 12:00", None),
        ("2027-03-01 12:00", 30),
        ("2027-03-23 12:00", 30),
        ("2027-03-24 12:00", 7),
        ("2027-03-31 12:00", 7),
        ("2027-04-01 12:00", None),
    ],
)
def test_thirty_and_seven_days_before_the_last_day_of_its_month(now: str, days: int | None) -> None:
    assert notice_due(2027, 3, "UTC", datetime.fromisoformat(now).replace(tzinfo=UTC)) == days


@pytest.mark.parametrize(("zone", "days"), [("Pacific/Auckland", 7), ("Europe/Berlin", 30), ("America/New_York", 30)])
def test_the_day_is_the_customer_s(zone: str, days: int) -> None:
    assert notice_due(2027, 3, zone, datetime(2027, 3, 23, 20, tzinfo=UTC)) == days


def test_a_card_of_february_works_longer_in_a_leap_year() -> None:
    now = datetime(2028, 2, 22, 12, tzinfo=UTC)
    assert (notice_due(2028, 2, "UTC", now), notice_due(2027, 2, "UTC", now)) == (7, None)
    assert notice_due(2028, 2, "UTC", datetime(2028, 2, 21, 12, tzinfo=UTC)) == 30
