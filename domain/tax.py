"""What tax a line bears: which rate is valid in a place for a category on a day, and how much of it that is.

Rates are data with days of validity. The day that decides is the local day on which the invoice is issued. Tax is
computed for each line by itself, on the line after its discounts, rounded half up once.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date
from enum import StrEnum
from typing import Final

from domain.discounts import WHOLE
from domain.errors import InvalidInput
from domain.money import Money

STANDARD: Final = "standard"
"""The category that stands in where a place has no rate of a line's own category."""


class TaxStatus(StrEnum):
    """How a customer is taxed. REVERSE_CHARGE: a business in another country owes the tax itself."""

    TAXABLE = "taxable"
    EXEMPT = "exempt"
    REVERSE_CHARGE = "reverse_charge"


class Untaxed(StrEnum):
    """Why a line bears no tax; the invoice says so."""

    EXEMPT = "exempt"
    REVERSE_CHARGE = "reverse_charge"
    NO_RATE = "no_rate"


@dataclass(frozen=True, slots=True)
class TaxRate:
    """One rate: valid from a day on, until a day that it no longer holds on (None: open).

    `place`: a country (`DE`) or a region of one (`US-CA`). `rate` in thousandths of a percent. `inclusive`: prices
    there contain it.
    """

    id: str
    place: str
    category: str
    rate: int
    inclusive: bool
    valid_from: date
    valid_until: date | None = None

    def __post_init__(self) -> None:
        if not 0 <= self.rate <= WHOLE:
            raise InvalidInput("percent", "a tax rate is 0 to 100 percent")
        if self.valid_until is not None and self.valid_until <= self.valid_from:
            raise InvalidInput("valid_until", "a rate is valid for at least a day")

    def is_valid(self, on: date) -> bool:
        return self.valid_from <= on and (self.valid_until is None or on < self.valid_until)


@dataclass(frozen=True, slots=True)
class TaxTerms:
    """How one customer is taxed: status, place, and all rates of that place, past ones too. No place: no tax."""

    status: TaxStatus = TaxStatus.TAXABLE
    place: str = ""
    rates: tuple[TaxRate, ...] = ()


NO_TAX: Final = TaxTerms()


@dataclass(frozen=True, slots=True)
class TaxShare:
    """What of an amount is tax owed to this place, in minor units."""

    place: str
    amount: int


@dataclass(frozen=True, slots=True)
class Treatment:
    """How a line is taxed, kept with it: a later credit for it is taxed in the same way.

    `rate` in thousandths of a percent; `reason` where there is none to pay.
    """

    place: str
    category: str
    rate: int
    inclusive: bool = False
    reason: Untaxed | None = None

    def tax(self, amount: Money) -> Money:
        """The tax on an amount after discounts, rounded half up: on top of it, or contained in it."""
        return amount.fraction(self.rate, WHOLE + self.rate if self.inclusive else WHOLE)

    def base(self, gross: Money) -> Money:
        """What of an amount with all tax is not the tax on top."""
        return gross if self.inclusive else gross.fraction(WHOLE, WHOLE + self.rate)


def country_of(place: str) -> str:
    """`US` of `US-CA`."""
    return place.partition("-")[0]


def treatment(terms: TaxTerms, category: str, on: date) -> Treatment | None:
    """How a line of this category is taxed on this day; None where no place is known, so nothing is said of tax.

    The region's rate goes before the country's; in each, the category's own before the standard one. Where a price
    contains tax and the customer owes none, the price stays: what is not owed as tax is ours.
    """
    match terms.status:
        case TaxStatus.EXEMPT:
            return Treatment(terms.place, category, 0, reason=Untaxed.EXEMPT)
        case TaxStatus.REVERSE_CHARGE:
            return Treatment(terms.place, category, 0, reason=Untaxed.REVERSE_CHARGE)
        case TaxStatus.TAXABLE:
            if not terms.place:
                return None
    rate = rate_on(terms, category, on)
    if rate is None:
        return Treatment(terms.place, category, 0, reason=Untaxed.NO_RATE)
    return Treatment(rate.place, category, rate.rate, inclusive=rate.inclusive)


def rate_on(terms: TaxTerms, category: str, on: date) -> TaxRate | None:
    """The rate valid on this day for this category in the place of these terms."""
    for place in dict.fromkeys((terms.place, country_of(terms.place))):
        for wanted in dict.fromkeys((category, STANDARD)):
            for rate in terms.rates:
                if (rate.place, rate.category) == (place, wanted) and rate.is_valid(on):
                    return rate
    return None


def taxes_of_part(
    taxes: Iterable[TaxShare], total: Money, before: Money, part: Money, split: Iterable[TaxShare]
) -> tuple[TaxShare, ...]:
    """What of `part` of a total is tax, where `before` was parted already and had `split` of the taxes in it.

    Parts of one total add up to its taxes exactly, however many they are: each has what is missing to the rounded share
    of all parts so far, so none is off by more than a minor unit.
    """
    had = {share.place: share.amount for share in split}
    shares: list[TaxShare] = []
    for tax in taxes:
        so_far = Money(tax.amount, total.currency).fraction(before.minor + part.minor, total.minor).minor
        amount = so_far - had.get(tax.place, 0)
        if amount:
            shares.append(TaxShare(tax.place, amount))
    return tuple(shares)
