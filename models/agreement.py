"""How a price point becomes the terms that a subscription is pinned to."""

from __future__ import annotations

from domain.calendar import Alignment, Interval, MonthEnd, Unit
from domain.errors import InvalidInput
from domain.proration import Basis
from domain.terms import CatchUp, Terms
from models.catalogue import Price, Product


def terms_of(price: Price, product: Product, quantity: int, *, trial_days: int | None = None) -> Terms:
    """The terms as agreed now; `trial_days` in place of the price's own. Raises `InvalidInput` for a bad quantity.

    The keys of `Price.policy` are the fields of `Terms` of the same name; what is not set takes the default of
    `docs/policies.md`.
    """
    if price.one_time:
        raise InvalidInput("price_id", "this price is paid once, in an order; it has no interval")
    policy = price.policy
    alignment = policy.get("alignment")
    return Terms(
        price_id=price.id,
        product_id=product.id,
        product_name=product.name,
        unit_amount=price.unit_amount,
        currency=price.currency,
        quantity=quantity,
        interval=Interval(price.interval_count, Unit(price.interval_unit)),
        trial_days=price.trial_days if trial_days is None else trial_days,
        trial_amount=price.trial_amount,
        setup_fee=price.setup_fee,
        tax_category=price.tax_category,
        month_end=MonthEnd(policy.get("month_end", MonthEnd.CLAMP_RESTORE)),
        basis=Basis(policy.get("basis", Basis.LOCAL_DAY)),
        catch_up=CatchUp(policy.get("catch_up", CatchUp.BILL_EACH)),
        alignment=None if alignment is None else Alignment(**alignment),
        physical=product.physical,
    )
