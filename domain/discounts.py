"""Which discounts apply, in which order, and how much of each line they take.

The order is stated and the same everywhere: percents before amounts; among each, the customer's own before coupons;
then the oldest first. Each takes its part of what the one before has left, so no line falls below zero.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from typing import Final

from domain.errors import InvalidInput
from domain.money import Money, total

WHOLE: Final = 100_000
"""A hundred percent: rates are counted in thousandths of a percent, so that 8.875 % is a whole number."""
DISCOUNTS_MAX: Final = 20
CYCLES_MAX: Final = 1200
AMOUNT_MINOR_MAX: Final = 10**12
NAME_LENGTH_MAX: Final = 100


class DiscountSource(StrEnum):
    """Where it comes from: set for the customer by an agent, or a coupon that was redeemed."""

    CUSTOMER = "customer"
    COUPON = "coupon"


@dataclass(frozen=True, slots=True)
class Discount:
    """One discount as it was given. Exactly one of `rate` (thousandths of a percent) and `amount` (minor units) is set.

    `id` is what gave it: a redemption, or a customer's discount. `cycles_left` counts the billed cycles it is still
    good for (None: no count); `until`: none that fall due at that instant or later. `products`: only for these; empty:
    for all.
    """

    id: str
    name: str
    source: DiscountSource
    given_at: datetime
    rate: int = 0
    amount: int = 0
    cycles_left: int | None = None
    until: datetime | None = None
    products: tuple[str, ...] = ()
    coupon_id: str | None = None

    def __post_init__(self) -> None:
        if (self.rate == 0) == (self.amount == 0):
            raise InvalidInput("amount", "a discount is a percent or an amount, one of the two and above zero")
        if not 0 <= self.rate <= WHOLE:
            raise InvalidInput("percent", "a discount is at most 100 percent")
        if not 0 <= self.amount <= AMOUNT_MINOR_MAX:
            raise InvalidInput("amount", f"a discount is at most {AMOUNT_MINOR_MAX} minor units")
        if self.cycles_left is not None and not 1 <= self.cycles_left <= CYCLES_MAX:
            raise InvalidInput("cycles", f"a discount is good for 1 to {CYCLES_MAX} cycles")
        if not 0 < len(self.name) <= NAME_LENGTH_MAX:
            raise InvalidInput("name", f"a discount has a name of 1 to {NAME_LENGTH_MAX} characters")

    @property
    def is_counted(self) -> bool:
        """Whether it is used up by billed cycles."""
        return self.cycles_left is not None


@dataclass(frozen=True, slots=True)
class DiscountShare:
    """What one discount took from one line: minor units above zero."""

    discount_id: str
    name: str
    amount: int


def percent(rate: int) -> str:
    """`8.875 %` of 8875, `19 %` of 19000."""
    whole, rest = rate * 100 // WHOLE, rate * 100 % WHOLE
    return f"{whole}.{rest // 100:03d}".rstrip("0").rstrip(".") + " %"


def in_order(discounts: Iterable[Discount]) -> tuple[Discount, ...]:
    """The order in which they are taken off (see above)."""

    def place(discount: Discount) -> tuple[bool, bool, datetime, str]:
        is_coupon = discount.source is DiscountSource.COUPON
        return discount.rate == 0, is_coupon, discount.given_at, discount.id

    return tuple(sorted(discounts, key=place))


def in_force(discounts: Iterable[Discount], at: datetime, product_id: str) -> tuple[Discount, ...]:
    """Those that reduce what falls due at this instant for this product."""
    return in_order(
        discount
        for discount in discounts
        if (discount.until is None or at < discount.until)
        and (not discount.products or product_id in discount.products)
    )


def used(discounts: Iterable[Discount], applied: Iterable[Discount]) -> tuple[Discount, ...]:
    """The discounts after one billed cycle in which `applied` were in force: the counted ones have one cycle less."""
    gone = {discount.id for discount in applied}
    left: list[Discount] = []
    for discount in discounts:
        if discount.id not in gone or discount.cycles_left is None:
            left.append(discount)
        elif discount.cycles_left > 1:
            left.append(replace(discount, cycles_left=discount.cycles_left - 1))
    return tuple(left)


def part_of(discount: Discount, part: int, whole: int, currency: str) -> Discount | None:
    """The discount for `part`/`whole` of a period: an amount in proportion, a percent as it is; None for nothing."""
    if discount.rate:
        return discount
    amount = Money(discount.amount, currency).fraction(part, whole).minor
    return replace(discount, amount=amount) if amount else None


def parts_of(discounts: Iterable[Discount], part: int, whole: int, currency: str) -> tuple[Discount, ...]:
    """All of them for `part`/`whole` of a period."""
    parts = (part_of(discount, part, whole, currency) for discount in discounts)
    return tuple(discount for discount in parts if discount is not None)


def take_off(amounts: Sequence[Money], discounts: Iterable[Discount]) -> tuple[tuple[DiscountShare, ...], ...]:
    """For each of these amounts (of one currency, none below zero) what each discount takes, in the stated order.

    A percent is rounded half up on each amount. An amount is spread over all of them in proportion to what is left of
    each, by largest remainder; what is above their sum is lost. Shares of nothing are left out.
    """
    left = list(amounts)
    shares: list[list[DiscountShare]] = [[] for _ in left]
    for discount in in_order(discounts):
        for place, taken in enumerate(_taken(left, discount)):
            if taken.minor:
                shares[place].append(DiscountShare(discount.id, discount.name, taken.minor))
                left[place] -= taken
    return tuple(tuple(line) for line in shares)


def _taken(left: Sequence[Money], discount: Discount) -> tuple[Money, ...]:
    if not left:
        return ()
    if discount.rate:
        return tuple(amount.fraction(discount.rate, WHOLE) for amount in left)
    currency = left[0].currency
    whole = total(left, currency)
    if not whole.minor:
        return tuple(left)
    return min(Money(discount.amount, currency), whole).allocate([amount.minor for amount in left])
