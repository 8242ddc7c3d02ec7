from datetime import UTC, date, datetime, time, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.calendar import Anchor, Interval, Period, Unit, period
from domain.errors import CurrencyMismatch, InvalidInput
from domain.money import Money, parse_major
from domain.proration import (
    Basis,
    Proration,
    length,
    prorate_cancel,
    prorate_change,
    prorate_reset,
    prorate_stub,
    unused_fraction,
)
from tests.domain.doc_tables import rows

BERLIN = "Europe/Berlin"
DAY, SECOND = Basis.LOCAL_DAY, Basis.SECOND


def at(text: str, zone: str = BERLIN) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone)).astimezone(UTC)


def eur(minor: int) -> Money:
    return Money(minor, "EUR")


APRIL = Period(at("2026-04-01 10:00"), at("2026-05-01 10:00"))
MARCH = Period(at("2026-03-01 10:00"), at("2026-04-01 10:00"))  # an hour short: clocks change on the 29th


# --- the part that is unused


@pytest.mark.parametrize(
    ("moment", "of_a_change", "of_a_cancellation"),
    [
        ("2026-03-31 23:59", 30, 30),
        ("2026-04-01 00:00", 30, 30),  # not begun: nothing is consumed
        ("2026-04-01 10:00", 30, 29),
        ("2026-04-01 23:59", 30, 29),
        ("2026-04-02 00:00", 29, 28),
        ("2026-04-16 18:00", 15, 14),
        ("2026-04-30 23:59", 1, 0),
        ("2026-05-01 00:00", 0, 0),
        ("2026-05-01 10:00", 0, 0),
        ("2026-06-01 00:00", 0, 0),
    ],
)
def test_unused_local_days(moment: str, of_a_change: int, of_a_cancellation: int) -> None:
    change = unused_fraction(APRIL, at(moment), BERLIN, DAY, day_is_consumed=False)
    cancellation = unused_fraction(APRIL, at(moment), BERLIN, DAY, day_is_consumed=True)
    assert (change, cancellation) == ((of_a_change, 30), (of_a_cancellation, 30))


@pytest.mark.parametrize("day_is_consumed", [True, False])
@pytest.mark.parametrize(
    ("moment", "unused"),
    [
        ("2026-04-01 09:59:59", 2_592_000),
        ("2026-04-01 10:00:00", 2_592_000),
        ("2026-04-01 10:00:00.999999", 2_592_000),
        ("2026-04-01 10:00:01", 2_591_999),
        ("2026-05-01 09:59:59", 1),
        ("2026-05-01 09:59:59.999999", 1),
        ("2026-05-01 10:00:00", 0),
    ],
)
def test_unused_seconds_take_no_side(moment: str, unused: int, day_is_consumed: bool) -> None:
    part = unused_fraction(APRIL, at(moment), BERLIN, SECOND, day_is_consumed=day_is_consumed)
    assert part == (unused, 2_592_000)


def test_a_day_of_a_clock_change_is_a_day_of_fewer_seconds() -> None:
    assert length(MARCH, BERLIN, DAY) == 31
    assert length(MARCH, BERLIN, SECOND) == 31 * 86_400 - 3_600
    sunday = Period(at("2026-03-29 00:00"), at("2026-03-30 00:00"))
    assert (length(sunday, BERLIN, DAY), length(sunday, BERLIN, SECOND)) == (1, 23 * 3_600)


def test_whose_day_it_is_depends_on_the_zone() -> None:
    moment = at("2026-04-16 03:00")  # still the 15th in New York
    assert unused_fraction(APRIL, moment, BERLIN, DAY, day_is_consumed=False) == (15, 30)
    assert unused_fraction(APRIL, moment, "America/New_York", DAY, day_is_consumed=False) == (16, 30)


def test_a_period_without_a_midnight_or_a_second_has_nothing_to_give_back() -> None:
    hours = Period(at("2026-04-01 10:00"), at("2026-04-01 12:00"))
    moment = at("2026-04-01 11:00")
    assert unused_fraction(hours, moment, BERLIN, DAY, day_is_consumed=False) == (0, 1)
    assert unused_fraction(hours, moment, BERLIN, SECOND, day_is_consumed=False) == (3_600, 7_200)
    nothing = Period(hours.start, hours.start)
    assert unused_fraction(nothing, moment, BERLIN, SECOND, day_is_consumed=True) == (0, 1)


def test_a_period_of_one_day() -> None:
    day = Period(at("2026-04-01 10:00"), at("2026-04-02 10:00"))
    assert unused_fraction(day, at("2026-04-01 12:00"), BERLIN, DAY, day_is_consumed=False) == (1, 1)
    assert unused_fraction(day, at("2026-04-01 12:00"), BERLIN, DAY, day_is_consumed=True) == (0, 1)


def test_a_period_that_starts_within_a_second() -> None:
    start = APRIL.start + timedelta(milliseconds=700)
    odd = Period(start, start + timedelta(seconds=2))
    later = start + timedelta(milliseconds=100)
    assert unused_fraction(odd, later, BERLIN, SECOND, day_is_consumed=False) == (2, 2)


def test_a_moment_without_a_zone_is_refused() -> None:
    naive = datetime(2026, 4, 16)  # noqa: DTZ001 - this is what is refused
    with pytest.raises(InvalidInput) as refusal:
        unused_fraction(APRIL, naive, BERLIN, DAY, day_is_consumed=False)
    assert refusal.value.field == "instant"


# --- lines


def test_an_upgrade_in_the_middle_of_april() -> None:
    change = prorate_change(
        old=eur(1000), new=eur(3000), paid=eur(1000), period=APRIL, at=at("2026-04-16 18:00"), zone=BERLIN, basis=DAY
    )
    assert change == Proration(credit=eur(-500), charge=eur(1500))
    assert change.net == eur(1000)


def test_a_second_change_is_credited_with_what_is_left_of_the_payment() -> None:
    paid = eur(1000)
    first = prorate_change(
        old=eur(1000), new=eur(3000), paid=paid, period=APRIL, at=at("2026-04-11 12:00"), zone=BERLIN, basis=DAY
    )
    assert first == Proration(eur(-667), eur(2000))
    second = prorate_change(
        old=eur(3000),
        new=eur(1000),
        paid=paid + first.net,
        period=APRIL,
        at=at("2026-04-21 12:00"),
        zone=BERLIN,
        basis=DAY,
    )
    assert second == Proration(eur(-1000), eur(333))
    # Ten days at 10, ten at 30, ten at 10 are 16.66; the last third of a cent was rounded for the subscriber.
    assert paid + first.net + second.net == eur(1666)


def test_nothing_paid_is_nothing_credited() -> None:
    common: dict[str, Any] = {"period": APRIL, "at": at("2026-04-16 18:00"), "zone": BERLIN, "basis": DAY}
    assert prorate_change(old=eur(1000), new=eur(3000), paid=eur(0), **common) == Proration(eur(0), eur(1500))
    assert prorate_cancel(price=eur(1000), paid=eur(0), **common) == eur(0)
    assert prorate_reset(old=eur(1000), new=eur(9600), paid=eur(0), **common) == Proration(eur(0), eur(9600))


def test_a_negative_price_or_payment_is_refused() -> None:
    common: dict[str, Any] = {"period": APRIL, "at": at("2026-04-16 18:00"), "zone": BERLIN, "basis": DAY}
    below, ten = eur(-1), eur(1000)
    attempts: list[tuple[str, Any, dict[str, Money]]] = [
        ("old", prorate_change, {"old": below, "new": ten, "paid": ten}),
        ("new", prorate_change, {"old": ten, "new": below, "paid": ten}),
        ("paid", prorate_change, {"old": ten, "new": ten, "paid": below}),
        ("old", prorate_reset, {"old": below, "new": ten, "paid": ten}),
        ("new", prorate_reset, {"old": ten, "new": below, "paid": ten}),
        ("paid", prorate_reset, {"old": ten, "new": ten, "paid": below}),
        ("price", prorate_cancel, {"price": below, "paid": ten}),
        ("paid", prorate_cancel, {"price": ten, "paid": below}),
    ]
    for field, prorate, amounts in attempts:
        with pytest.raises(InvalidInput) as refusal:
            prorate(**amounts, **common)
        assert (refusal.value.field, refusal.value.message) == (field, f"{field} is not negative")
    with pytest.raises(InvalidInput) as refusal:
        prorate_stub(price=below, stub=APRIL, full=APRIL, zone=BERLIN, basis=DAY)
    assert (refusal.value.field, refusal.value.message) == ("price", "price is not negative")


def test_two_currencies_are_refused() -> None:
    usd = Money(1000, "USD")
    for old, new, paid in ((usd, eur(1), eur(1)), (eur(1), usd, eur(1)), (eur(1), eur(1), usd)):
        with pytest.raises(CurrencyMismatch):
            prorate_change(old=old, new=new, paid=paid, period=APRIL, at=at("2026-04-16 18:00"), zone=BERLIN, basis=DAY)


def test_lines_have_their_signs() -> None:
    with pytest.raises(InvalidInput) as refusal:
        Proration(credit=eur(1), charge=eur(0))
    assert (refusal.value.field, refusal.value.message) == ("credit", "a credit is not above zero")
    with pytest.raises(InvalidInput) as refusal:
        Proration(credit=eur(0), charge=eur(-1))
    assert (refusal.value.field, refusal.value.message) == ("charge", "a charge is not below zero")
    assert Proration(credit=eur(0), charge=eur(0)).net == eur(0)


def test_a_stub_is_measured_by_a_period_that_is_not_empty() -> None:
    empty = Period(APRIL.start, APRIL.start)
    with pytest.raises(InvalidInput) as refusal:
        prorate_stub(price=eur(1000), stub=APRIL, full=empty, zone=BERLIN, basis=SECOND)
    assert refusal.value.field == "full"
    assert refusal.value.message == "the period a stub is measured by has at least one day or second"
    assert prorate_stub(price=eur(1000), stub=empty, full=APRIL, zone=BERLIN, basis=DAY) == eur(0)
    one_day = Period(APRIL.start, APRIL.start + timedelta(days=1))
    assert prorate_stub(price=eur(1000), stub=one_day, full=one_day, zone=BERLIN, basis=DAY) == eur(1000)


# --- properties

prices = st.integers(0, 10**8).map(eur)
bases = st.sampled_from(Basis)
zones = st.sampled_from((BERLIN, "America/New_York", "Australia/Lord_Howe", "Asia/Kathmandu", "America/Nuuk"))
intervals = st.sampled_from(
    (Interval(1, Unit.DAY), Interval(2, Unit.WEEK), Interval(1, Unit.MONTH), Interval(1, Unit.YEAR))
)


@st.composite
def moments(draw: st.DrawFn) -> tuple[Period, datetime, str]:
    """A period of some subscription, a moment in it, and the zone."""
    zone, hour = draw(zones), draw(st.integers(0, 23))
    day = draw(st.dates(date(2020, 1, 1), date(2032, 12, 31)))
    whole = period(Anchor(day, time(hour, 30), zone), draw(intervals), draw(st.integers(-5, 30)))
    seconds = int((whole.end - whole.start).total_seconds())
    return whole, whole.start + timedelta(seconds=draw(st.integers(0, seconds))), zone


@given(moments(), prices, prices, bases)
def test_a_credit_never_exceeds_the_payment_nor_the_price(
    moment: tuple[Period, datetime, str], price: Money, paid: Money, basis: Basis
) -> None:
    whole, instant, zone = moment
    credit = prorate_cancel(price=price, paid=paid, period=whole, at=instant, zone=zone, basis=basis)
    assert eur(0) <= -credit <= min(price, paid)
    change = prorate_change(old=price, new=price, paid=paid, period=whole, at=instant, zone=zone, basis=basis)
    assert eur(0) <= -change.credit <= min(price, paid)
    assert credit >= change.credit  # who leaves gets no more than who stays
    reset = prorate_reset(old=price, new=paid, paid=paid, period=whole, at=instant, zone=zone, basis=basis)
    assert reset == Proration(change.credit, paid)


@given(moments(), prices, bases)
def test_a_change_to_the_same_price_costs_nothing(
    moment: tuple[Period, datetime, str], price: Money, basis: Basis
) -> None:
    whole, instant, zone = moment
    change = prorate_change(old=price, new=price, paid=price, period=whole, at=instant, zone=zone, basis=basis)
    assert change.net == eur(0)


@given(moments(), prices, bases)
def test_credit_and_the_part_before_add_up_to_the_price(
    moment: tuple[Period, datetime, str], price: Money, basis: Basis
) -> None:
    whole, instant, zone = moment
    credit = prorate_change(old=price, new=price, paid=price, period=whole, at=instant, zone=zone, basis=basis).credit
    before = Period(whole.start, instant)
    used = prorate_stub(price=price, stub=before, full=whole, zone=zone, basis=basis)
    assert -1 <= (used - credit - price).minor <= 1  # two lines, each rounded once


@given(moments(), prices, bases)
def test_the_later_the_moment_the_smaller_the_credit(
    moment: tuple[Period, datetime, str], price: Money, basis: Basis
) -> None:
    whole, instant, zone = moment
    credited = [
        -prorate_cancel(price=price, paid=price, period=whole, at=when, zone=zone, basis=basis)
        for when in (whole.start, instant, whole.end)
    ]
    assert credited == sorted(credited, reverse=True)
    assert credited[-1] == eur(0)


# --- the page in docs/


def money(text: str) -> Money:
    return parse_major(*text.split())


def common_of(row: dict[str, str], moment: str) -> dict[str, Any]:
    zone = row["zone"]
    return {
        "paid": money(row["paid"]),
        "period": Period(at(row["period from"], zone), at(row["to"], zone)),
        "at": at(row[moment], zone),
        "zone": zone,
        "basis": Basis(row["basis"]),
    }


def part_of(common: dict[str, Any], *, day_is_consumed: bool) -> tuple[str, str]:
    unused, whole = unused_fraction(
        common["period"], common["at"], common["zone"], common["basis"], day_is_consumed=day_is_consumed
    )
    return str(unused), str(whole)


def test_docs_change() -> None:
    for row in rows("proration.md", "Change"):
        common = common_of(row, "changed")
        assert part_of(common, day_is_consumed=False) == (row["unused"], row["whole"]), row
        change = prorate_change(old=money(row["old"]), new=money(row["new"]), **common)
        assert (str(change.credit), str(change.charge)) == (row["credit"], row["charge"]), row


def test_docs_new_cycle() -> None:
    for row in rows("proration.md", "New cycle"):
        change = prorate_reset(old=money(row["old"]), new=money(row["new"]), **common_of(row, "changed"))
        assert (str(change.credit), str(change.charge)) == (row["credit"], row["charge"]), row


def test_docs_cancellation() -> None:
    for row in rows("proration.md", "Cancellation"):
        common = common_of(row, "cancelled")
        assert part_of(common, day_is_consumed=True) == (row["unused"], row["whole"]), row
        assert str(prorate_cancel(price=money(row["price"]), **common)) == row["credit"], row


def test_docs_stub() -> None:
    for row in rows("proration.md", "Stub"):
        zone, basis, end = row["zone"], Basis(row["basis"]), at(row["both to"], row["zone"])
        stub, full = Period(at(row["stub from"], zone), end), Period(at(row["full from"], zone), end)
        assert (str(length(stub, zone, basis)), str(length(full, zone, basis))) == (row["part"], row["whole"]), row
        charge = prorate_stub(price=money(row["price"]), stub=stub, full=full, zone=zone, basis=basis)
        assert str(charge) == row["charge"], row
