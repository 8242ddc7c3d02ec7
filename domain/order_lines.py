"""What may be ordered at which price, and what of it is due when the order is placed.

Due now: one-time lines, the first cycle of a subscription with its set-up fee, or its paid trial. Not due now: a free
trial, and a start that lies ahead; such a subscription bills itself when its time comes.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import datetime

from domain.business import DiscountRules
from domain.calendar import local_day
from domain.discounts import WHOLE, Discount, DiscountSource, in_force
from domain.errors import InvalidInput, Refused
from domain.invoicing import cycle_charges
from domain.lifecycle import begin
from domain.messages import Start
from domain.order_state import DueLine, OrderLine, OrderLineKind
from domain.plan import begin_cycles
from domain.pricing import Priced, discount_lines, price, rate_totals
from domain.state import Line, LineKind
from domain.tax import TaxTerms
from domain.terms import AMOUNT_MINOR_MAX, QUANTITY_MAX

LINES_MAX = 100


def check_lines(lines: Sequence[OrderLine], currency: str) -> None:
    """Raises `InvalidInput` naming the line and the rule it breaks."""
    if not 1 <= len(lines) <= LINES_MAX:
        raise InvalidInput("lines", f"an order has 1 to {LINES_MAX} lines")
    for index, line in enumerate(lines):
        field = f"lines.{index}"
        if not 1 <= line.quantity <= QUANTITY_MAX:
            raise InvalidInput(f"{field}.quantity", f"must be 1 to {QUANTITY_MAX}")
        if not 0 <= line.unit_amount <= AMOUNT_MINOR_MAX or line.amount > AMOUNT_MINOR_MAX:
            raise InvalidInput(f"{field}.unit_amount", f"a line is 0 to {AMOUNT_MINOR_MAX} minor units")
        if (line.terms is not None) != (line.kind is OrderLineKind.SUBSCRIPTION):
            raise InvalidInput(f"{field}.kind", "a subscription has terms, and nothing else has")
        if line.terms is not None and line.terms.currency != currency:
            raise InvalidInput(f"{field}.price_id", f"the order is in {currency}", code="currency_mismatch")
        if is_special(line) and not line.reason:
            raise InvalidInput(f"{field}.reason", "a price that is not the catalogue's needs a reason")


def is_special(line: OrderLine) -> bool:
    """Whether it is sold at another price than the catalogue's; what is not in the catalogue has none."""
    return line.list_amount is not None and line.unit_amount != line.list_amount


def refuse_beyond(lines: Iterable[OrderLine], rules: DiscountRules) -> None:
    """Raises `Refused` for a line that is further below the catalogue than the rules let an agent go."""
    for line in lines:
        listed = line.list_amount
        if listed is None or line.unit_amount >= listed:
            continue
        if (listed - line.unit_amount) * WHOLE > listed * rules.agent_rate:
            raise Refused(
                "special_price_beyond_limit",
                f"line {line.position} is further below the catalogue than an agent may sell; a lead may",
            )


def dues_of(lines: Sequence[OrderLine], currency: str, zone: str, tax: TaxTerms, now: datetime) -> tuple[DueLine, ...]:
    """What these lines ask for when they are ordered at `now`, with the tax of that local day, in their order."""
    dues = [due for line in lines for due in _dues(line, zone, now)]
    taxed = price([due.line for due in dues], (), tax, local_day(now, zone), currency).lines
    return tuple(replace(due, line=line) for due, line in zip(dues, taxed, strict=True))


def bill_of(dues: Iterable[DueLine], currency: str) -> Priced:
    """What an invoice over these lines says: they are priced already, and stay as they were promised."""
    lines = tuple(due.line for due in dues)
    return Priced(
        currency=currency,
        lines=lines,
        subtotal=sum(line.amount for line in lines),
        discount=sum(line.discount for line in lines),
        net=sum(line.net for line in lines),
        tax=sum(line.tax for line in lines),
        total=sum(line.gross for line in lines),
        rates=rate_totals(lines),
    )


def _dues(line: OrderLine, zone: str, now: datetime) -> tuple[DueLine, ...]:
    terms = line.terms
    if terms is None:
        item = Line(LineKind.ITEM, line.description, line.quantity, line.unit_amount, tax_category=line.tax_category)
        return (DueLine(line.position, item),)
    if line.start_at is not None and line.start_at > now:
        return ()
    if terms.trial_days:
        if not terms.trial_amount:
            return ()
        name = f"{line.description} (trial)"
        trial = Line(LineKind.TRIAL, name, 1, terms.trial_amount, tax_category=terms.tax_category)
        lasting = [one for one in in_force(line.discounts, now, terms.product_id) if not one.is_counted]
        return (DueLine(line.position, discount_lines((trial,), lasting, terms.currency)[0], prepays=True),)
    start = Start("", "", zone, terms, "", start_at=now, discounts=line.discounts)
    charges, _ = cycle_charges(begin_cycles(begin(start, now), now), now)
    # The period begins when the order is paid, which may be later: the invoice does not name it.
    return tuple(
        DueLine(line.position, replace(each, period=None), prepays=place == 0) for place, each in enumerate(charges)
    )


def keep_coupons(before: Sequence[OrderLine], after: Sequence[OrderLine]) -> tuple[OrderLine, ...]:
    """The new lines, with the coupons that were redeemed for the subscriptions that are still in their places."""
    known = {(line.position, line.product_id): line for line in before if line.terms is not None}
    return tuple(_with_coupons(line, known.get((line.position, line.product_id))) for line in after)


def _with_coupons(line: OrderLine, before: OrderLine | None) -> OrderLine:
    if line.terms is None or before is None:
        return line
    kept: list[Discount] = [one for one in before.discounts if one.source is DiscountSource.COUPON]
    known = {one.id for one in line.discounts}
    return replace(line, discounts=(*line.discounts, *(one for one in kept if one.id not in known)))


def due_by_line(dues: Iterable[DueLine]) -> dict[int, int]:
    """Position → what of that line is due now."""
    sums: Counter[int] = Counter()
    for due in dues:
        sums[due.position] += due.line.gross
    return dict(sums)
