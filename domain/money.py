"""What an amount is: whole minor units of one ISO 4217 currency, and the only division in the house.

Every way to part an amount is exact: `allocate` and `split` give parts that add up to the whole, `fraction`
rounds once, half away from zero. Source of codes and minor units: ISO 4217, list one, as of January 2026
(so without BGN and with XCG, SLE and ZWG), without the codes that have no minor unit (gold, XDR, …).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final, Self

from domain.errors import CurrencyMismatch, InvalidInput

MINOR_MAX: Final = 10**15  # far above any invoice, far below what PostgreSQL's bigint holds
PARTS_MAX: Final = 10_000
MAJOR_TEXT_LENGTH_MAX: Final = 24

_CODES_BY_DIGITS: Final = {
    0: "BIF CLP DJF GNF ISK JPY KMF KRW PYG RWF UGX UYI VND VUV XAF XOF XPF",
    2: """AED AFN ALL AMD AOA ARS AUD AWG AZN BAM BBD BDT BMD BND BOB BOV BRL BSD BTN BWP BYN BZD CAD CDF CHE
          CHF CHW CNY COP COU CRC CUP CVE CZK DKK DOP DZD EGP ERN ETB EUR FJD FKP GBP GEL GHS GIP GMD GTQ GYD
          HKD HNL HTG HUF IDR ILS INR IRR JMD KES KGS KHR KPW KYD KZT LAK LBP LKR LRD LSL MAD MDL MGA MKD MMK
          MNT MOP MRU MUR MVR MWK MXN MXV MYR MZN NAD NGN NIO NOK NPR NZD PAB PEN PGK PHP PKR PLN QAR RON RSD
          RUB SAR SBD SCR SDG SEK SGD SHP SLE SOS SRD SSP STN SVC SYP SZL THB TJS TMT TOP TRY TTD TWD TZS UAH
          USD USN UYU UZS VED VES WST XAD XCD XCG YER ZAR ZMW ZWG""",
    3: "BHD IQD JOD KWD LYD OMR TND",
    4: "CLF UYW",
}
CURRENCIES: Final[dict[str, int]] = {
    code: digits for digits, codes in _CODES_BY_DIGITS.items() for code in codes.split()
}
"""Currency code → number of minor digits."""


def is_currency(code: str) -> bool:
    return code in CURRENCIES


def minor_digits(currency: str) -> int:
    """Digits after the point: 2 for EUR, 0 for JPY, 3 for BHD. Raises `InvalidInput` for an unknown code."""
    digits = CURRENCIES.get(currency)
    if digits is None:
        raise InvalidInput("currency", f"{currency!r} is not an active ISO 4217 currency code")
    return digits


@dataclass(frozen=True, slots=True)
class Money:
    """`minor` whole minor units (cents of EUR, yen of JPY), negative for a credit, in `currency`.

    Raises `InvalidInput` for a `minor` that is no integer or beyond ±`MINOR_MAX`, and for an unknown
    currency. Sums and comparisons of two currencies raise `CurrencyMismatch`; `==` between them is just
    false.
    """

    minor: int
    currency: str

    def __post_init__(self) -> None:
        if type(self.minor) is not int:  # an exact test: True is an int, and one cent it is not
            raise InvalidInput("minor", "an amount is a whole number of minor units")
        if not -MINOR_MAX <= self.minor <= MINOR_MAX:
            raise InvalidInput("minor", f"an amount lies between -{MINOR_MAX} and {MINOR_MAX} minor units")
        if self.currency not in CURRENCIES:
            minor_digits(self.currency)

    @classmethod
    def zero(cls, currency: str) -> Self:
        return cls(0, currency)

    def __add__(self, other: Money) -> Money:
        return Money(self.minor + self._same(other), self.currency)

    def __sub__(self, other: Money) -> Money:
        return Money(self.minor - self._same(other), self.currency)

    def __neg__(self) -> Money:
        return Money(-self.minor, self.currency)

    def __mul__(self, quantity: int) -> Money:
        if type(quantity) is not int:
            raise InvalidInput("quantity", "money is multiplied by whole numbers only; for a part use `fraction`")
        return Money(self.minor * quantity, self.currency)

    def __lt__(self, other: Money) -> bool:
        return self.minor < self._same(other)

    def __le__(self, other: Money) -> bool:
        return self.minor <= self._same(other)

    def __gt__(self, other: Money) -> bool:
        return self.minor > self._same(other)

    def __ge__(self, other: Money) -> bool:
        return self.minor >= self._same(other)

    def __str__(self) -> str:
        """`12.34 EUR`, `-0.05 EUR`, `500 JPY`: for logs and stories; screens format by locale."""
        digits = CURRENCIES[self.currency]
        sign = "-" if self.minor < 0 else ""
        figures = str(abs(self.minor)).rjust(digits + 1, "0")
        point = len(figures) - digits
        fraction = f".{figures[point:]}" if digits else ""
        return f"{sign}{figures[:point]}{fraction} {self.currency}"

    def fraction(self, numerator: int, denominator: int) -> Money:
        """`numerator`/`denominator` of this amount, rounded once to a minor unit, ties away from zero."""
        if denominator <= 0:
            raise InvalidInput("denominator", "the denominator of a fraction is at least 1")
        part = self.minor * numerator
        rounded = (2 * abs(part) + denominator) // (2 * denominator)
        return Money(rounded if part >= 0 else -rounded, self.currency)

    def allocate(self, weights: Sequence[int]) -> tuple[Money, ...]:
        """Part this amount by `weights` into parts that add up to it: largest remainder, ties to the first.

        A negative amount parts as its positive twin does, negated. Raises `InvalidInput` for no weights,
        more than `PARTS_MAX`, a negative weight, or weights that are all zero.
        """
        if not 0 < len(weights) <= PARTS_MAX:
            raise InvalidInput("weights", f"an amount is parted among 1 to {PARTS_MAX} weights")
        if min(weights) < 0 or (whole := sum(weights)) == 0:
            raise InvalidInput("weights", "weights are not negative, and one of them is above zero")
        amount = abs(self.minor)
        shares = [amount * weight // whole for weight in weights]
        by_remainder = sorted(range(len(weights)), key=lambda i: -(amount * weights[i] % whole))
        for i in by_remainder[: amount - sum(shares)]:
            shares[i] += 1
        sign = -1 if self.minor < 0 else 1
        return tuple(Money(sign * share, self.currency) for share in shares)

    def split(self, parts: int) -> tuple[Money, ...]:
        """`parts` parts that differ by at most one minor unit, the larger first, adding up to the whole."""
        if not 0 < parts <= PARTS_MAX:
            raise InvalidInput("parts", f"an amount is split into 1 to {PARTS_MAX} parts")
        return self.allocate((1,) * parts)

    def _same(self, other: Money) -> int:
        if self.currency != other.currency:
            raise CurrencyMismatch("currency", f"{other.currency} met where {self.currency} was needed")
        return other.minor


def total(moneys: Iterable[Money], currency: str) -> Money:
    """The sum; zero of `currency` for none. Raises `CurrencyMismatch` for an amount of another currency."""
    return sum(moneys, start=Money.zero(currency))


def parse_major(text: str, currency: str, *, field: str = "amount") -> Money:
    """`"12.34"` is 1234 minor units of EUR: an optional minus, digits, and a point between digits.

    Raises `InvalidInput` naming `field` for anything else, and for more digits than the currency has: to
    drop a digit is to change a price.
    """
    digits = minor_digits(currency)
    whole, point, fraction = text.removeprefix("-").partition(".")
    figures = whole + fraction
    plain = figures.isascii() and figures.isdigit() and whole != "" and (fraction != "" or not point)
    if not plain or len(text) > MAJOR_TEXT_LENGTH_MAX:
        raise InvalidInput(field, f"{text[:MAJOR_TEXT_LENGTH_MAX]!r} is not a decimal number such as 12 or -12.50")
    if len(fraction) > digits:
        raise InvalidInput(field, f"{currency} has {digits} digits after the point, {text!r} has more")
    minor = int(whole + fraction.ljust(digits, "0"))
    if minor > MINOR_MAX:
        raise InvalidInput(field, f"{text!r} is beyond the largest amount, {Money(MINOR_MAX, currency)}")
    return Money(-minor if text.startswith("-") else minor, currency)
