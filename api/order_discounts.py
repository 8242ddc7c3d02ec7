"""What an order's subscriptions begin with: the customer's own discounts, and a promotion code for one of them.

A code is counted when the order is taken, under the id of its request, and given back where the order is not paid.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from sqlalchemy.ext.asyncio import AsyncSession

from api.redeeming import Wish, reserve
from domain.errors import InvalidInput, Refused
from domain.order_state import OrderLine, order_subscription_id
from models.queries_discounts import code_written, coupon, customer_discounts, fitting
from models.session import database_now


@dataclass(frozen=True, slots=True)
class Code:
    """A promotion code for an order to be: who gives it, to whom, and the identity of the redemption."""

    code: str
    redemption_id: str
    order_id: str
    customer_id: str
    currency: str
    actor: str


async def with_own_discounts(
    session: AsyncSession, lines: Sequence[OrderLine], customer_id: str, currency: str
) -> tuple[OrderLine, ...]:
    """The lines, each subscription with those of the customer's discounts that fit it today."""
    rows, now = await customer_discounts(session, customer_id), await database_now(session)
    return tuple(
        line if line.terms is None else replace(line, discounts=fitting(rows, currency, line.terms.product_id, now))
        for line in lines
    )


async def with_code(session: AsyncSession, lines: Sequence[OrderLine], given: Code) -> tuple[OrderLine, ...]:
    """The lines, the first subscription that the code is for with its coupon. Raises `InvalidInput` or `Refused`."""
    place = await _place(session, lines, given.code)
    line = lines[place]
    wish = Wish(
        redemption_id=given.redemption_id,
        customer_id=given.customer_id,
        subscription_id=order_subscription_id(given.order_id, line.position),
        currency=given.currency,
        product_id=line.product_id or "",
        actor=given.actor,
        promotion_code=given.code,
    )
    discount = await reserve(session, wish)
    return (*lines[:place], replace(line, discounts=(*line.discounts, discount)), *lines[place + 1 :])


async def _place(session: AsyncSession, lines: Sequence[OrderLine], code: str) -> int:
    row = await code_written(session, code)
    meant = None if row is None else await coupon(session, row.coupon_id)
    if meant is None:
        raise InvalidInput("promotion_code", "there is no such code", code="unknown_code")
    for place, line in enumerate(lines):
        if line.terms is not None and (not meant.products or line.product_id in meant.products):
            return place
    raise Refused("wrong_product", "This coupon is for no subscription of this order.")
