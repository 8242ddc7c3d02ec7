"""What a part of a period is worth: credit for what was paid and not used, charge for what is to come.

The denominator is always the actual period: its local calendar days, or its seconds. The day of a change
belongs to the new plan; the day of a cancellation is consumed. Each line is rounded once, half up, in minor
units; a credit never exceeds what was paid. Policies: `basis`, `denominator`, `change_day`, `cancel_day`,
`rounding`, `credit_capped_at_paid`.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

from domain.calendar import Period, local_day, utc
from domain.errors import InvalidInput
from domain.money import Money

_SECOND: Final = timedelta(seconds=1)


class Basis(StrEnum):
    """In what a period is counted (policy `basis`)."""

    LOCAL_DAY = "local_day"  # calendar days in the customer's zone, whatever their length
    SECOND = "second"  # elapsed seconds; a day of a clock change has 23 or 25 hours of them


@dataclass(frozen=True, slots=True)
class Proration:
    """Two invoice lines of one currency: the credit (never above zero), then the charge (never below)."""

    credit: Money
    charge: Money

    def __post_init__(self) -> None:
        nothing = Money.zero(self.credit.currency)
        if self.credit > nothing:
            raise InvalidInput("credit", "a credit is not above zero")
        if self.charge < nothing:
            raise InvalidInput("charge", "a charge is not below zero")

    @property
    def net(self) -> Money:
        return self.credit + self.charge


def length(period: Period, zone: str, basis: Basis) -> int:
    """Local days of `period` (the midnights in it), or its seconds, a started one counting whole."""
    if basis is Basis.LOCAL_DAY:
        return (local_day(period.end, zone) - local_day(period.start, zone)).days
    return -((period.start - period.end) // _SECOND)


def unused_fraction(period: Period, at: datetime, zone: str, basis: Basis, *, day_is_consumed: bool) -> tuple[int, int]:
    """(unused, whole) of `period` at the instant `at`, in local days or seconds: 0 ≤ unused ≤ whole.

    `day_is_consumed` decides to whom the local day of `at` belongs; seconds need no such rule, a started
    one is unused. Before the period all of it is unused, after it nothing. A period without a midnight, or
    an empty one, has nothing to give back: (0, 1).
    """
    at = utc(at)
    whole = length(period, zone, basis)
    if whole == 0:
        return 0, 1
    if at < period.start:
        return whole, whole
    unused = length(Period(min(at, period.end), period.end), zone, basis)
    if basis is Basis.LOCAL_DAY and day_is_consumed:
        unused -= 1
    return max(unused, 0), whole  # on the last day, before the period ends, none is left to consume


def prorate_change(
    *, old: Money, new: Money, paid: Money, period: Period, at: datetime, zone: str, basis: Basis
) -> Proration:
    """Credit for the unused part of `old`, charge for the same part of `new`. The period stays as it is.

    `old` and `new` are the prices of the whole period, `paid` is what was really paid for it, net of
    credits already given. Raises `InvalidInput` for a negative amount, `CurrencyMismatch` for two
    currencies.
    """
    unused, whole = unused_fraction(period, at, zone, basis, day_is_consumed=False)
    return Proration(_credit("old", old, paid, unused, whole), _price("new", new).fraction(unused, whole))


def prorate_reset(
    *, old: Money, new: Money, paid: Money, period: Period, at: datetime, zone: str, basis: Basis
) -> Proration:
    """A switch of interval that starts a new period at `at`: credit for the unused part, all of `new`."""
    unused, whole = unused_fraction(period, at, zone, basis, day_is_consumed=False)
    return Proration(_credit("old", old, paid, unused, whole), _price("new", new))


def prorate_cancel(*, price: Money, paid: Money, period: Period, at: datetime, zone: str, basis: Basis) -> Money:
    """The credit (never above zero) for what a cancellation leaves unused; its local day is consumed."""
    unused, whole = unused_fraction(period, at, zone, basis, day_is_consumed=True)
    return _credit("price", price, paid, unused, whole)


def prorate_stub(*, price: Money, stub: Period, full: Period, zone: str, basis: Basis) -> Money:
    """The charge for `stub`, the time until a new anchor, as a part of `full`, the period that ends there.

    More than `price` where the stub is longer than the period. Raises `InvalidInput` for an empty `full`.
    """
    whole = length(full, zone, basis)
    if whole == 0:
        raise InvalidInput("full", "the period a stub is measured by has at least one day or second")
    return _price("price", price).fraction(length(stub, zone, basis), whole)


def _credit(field: str, price: Money, paid: Money, unused: int, whole: int) -> Money:
    return -min(_price(field, price).fraction(unused, whole), _price("paid", paid))


def _price(field: str, amount: Money) -> Money:
    if amount.minor < 0:
        raise InvalidInput(field, f"{field} is not negative")
    return amount
