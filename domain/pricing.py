"""The one function that every total goes through: lines, less discounts, with tax, and what they add up to."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import date
from typing import Final

from domain.discounts import Discount, take_off
from domain.money import Money
from domain.state import Line, LineKind
from domain.tax import TaxShare, TaxTerms, Treatment, treatment

# Credits give back what was paid; a charge by hand is the amount that its agent said.
_NEVER_DISCOUNTED: Final = frozenset({LineKind.PRORATION_CREDIT, LineKind.ONE_OFF})


@dataclass(frozen=True, slots=True)
class RateTotal:
    """What all lines of one treatment add up to, in minor units: the base without tax, and the tax."""

    treatment: Treatment
    net: int
    tax: int


@dataclass(frozen=True, slots=True)
class Priced:
    """Lines with their discounts and tax, and their sums in minor units of `currency`.

    `subtotal` is what the lines cost before discounts (with the tax that prices contain), `discount` what is taken
    off, `net` what is left without any tax. `net + tax == total`, always.
    """

    currency: str
    lines: tuple[Line, ...]
    subtotal: int
    discount: int
    net: int
    tax: int
    total: int
    rates: tuple[RateTotal, ...]

    @property
    def taxes(self) -> tuple[TaxShare, ...]:
        """What is owed to each place."""
        sums: Counter[str] = Counter()
        for each in self.rates:
            sums[each.treatment.place] += each.tax
        return tuple(TaxShare(place, amount) for place, amount in sums.items() if amount)


def price(lines: Sequence[Line], discounts: Iterable[Discount], terms: TaxTerms, on: date, currency: str) -> Priced:
    """What these lines cost on this local day: discounts first, then tax on each discounted line.

    The discounts are those in force (`discounts.in_force`); their order is stated there. A credit keeps the treatment
    it comes with: that of the charge it gives back.
    """
    discounted = discount_lines(lines, discounts, currency)
    taxed = tuple(_taxed(line, terms, on, currency) for line in discounted)
    return Priced(
        currency=currency,
        lines=taxed,
        subtotal=sum(line.amount for line in taxed),
        discount=sum(line.discount for line in taxed),
        net=sum(line.net for line in taxed),
        tax=sum(line.tax for line in taxed),
        total=sum(line.gross for line in taxed),
        rates=rate_totals(taxed),
    )


def discount_lines(lines: Sequence[Line], discounts: Iterable[Discount], currency: str) -> tuple[Line, ...]:
    """The lines with what the discounts take of each. One that has discounts already keeps those alone."""
    places = [place for place, line in enumerate(lines) if is_discountable(line)]
    shares = take_off([Money(lines[place].amount, currency) for place in places], discounts)
    given = dict(zip(places, shares, strict=True))
    return tuple(
        replace(line, discounts=given[place]) if given.get(place) else line for place, line in enumerate(lines)
    )


def is_discountable(line: Line) -> bool:
    """Whether discounts are taken off this line: a charge that is for the plan, and not discounted yet."""
    return line.amount > 0 and not line.discounts and line.kind not in _NEVER_DISCOUNTED


def rate_totals(lines: Iterable[Line]) -> tuple[RateTotal, ...]:
    """What the lines of each treatment add up to, in the order in which they first appear."""
    sums: dict[Treatment, tuple[int, int]] = {}
    for line in lines:
        if line.treatment is None:
            continue
        same = replace(line.treatment, category="")
        net, tax = sums.get(same, (0, 0))
        sums[same] = net + line.net, tax + line.tax
    return tuple(RateTotal(same, net, tax) for same, (net, tax) in sums.items())


def _taxed(line: Line, terms: TaxTerms, on: date, currency: str) -> Line:
    is_credit = line.kind is LineKind.PRORATION_CREDIT
    how = line.treatment if is_credit else treatment(terms, line.tax_category, on)
    tax = 0 if how is None else how.tax(Money(line.discounted, currency)).minor
    return replace(line, treatment=how, tax=tax)
