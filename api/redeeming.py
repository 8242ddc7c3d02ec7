"""How a coupon is redeemed: counted first, then given to its subscription; what that refuses is given back.

The count and its limit are in one row that one statement changes, so the last one is redeemed once, however many ask.
A redemption's id comes from its request's key: a repetition finds it and goes on where the first try stopped.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Final

from sqlalchemy.ext.asyncio import AsyncSession

from domain.discounts import Discount
from domain.errors import InvalidInput, Refused
from models import Coupon, PromotionCode, Redemption
from models.queries_discounts import (
    GIVEN_BACK,
    code_written,
    counted,
    coupon,
    discount_of_coupon,
    promotion_code,
    redeemed_by,
    redemption,
)
from models.session import Database, database_now

RESERVED: Final = "reserved"
APPLIED: Final = "applied"


@dataclass(frozen=True, slots=True)
class Wish:
    """Who wants which coupon for which subscription: by a promotion code, or by its id."""

    redemption_id: str
    customer_id: str
    subscription_id: str
    currency: str
    product_id: str
    actor: str
    promotion_code: str | None = None
    coupon_id: str | None = None


async def reserve(session: AsyncSession, wish: Wish) -> Discount:
    """Count it and give the discount. Raises `InvalidInput` for no such code, `Refused` for one that does not fit."""
    row, code = await _meant(session, wish)
    known = await redemption(session, wish.redemption_id)
    if known is not None and known.status != GIVEN_BACK:
        return discount_of_coupon(row, known)
    now = await database_now(session)
    _check(row, code, wish, now)
    if not await counted(session, Coupon, row.id, 1):
        raise Refused("coupon_used_up", "This coupon has been redeemed as often as it may be.")
    if code is not None and not await counted(session, PromotionCode, code.id, 1):
        raise Refused("code_used_up", "This code has been used as often as it may be.")
    again = await redemption(session, wish.redemption_id)  # by a twin of this request, while the row was in its hands
    if again is not None:
        await session.refresh(again)
    if again is not None and again.status != GIVEN_BACK:
        await counted(session, Coupon, row.id, -1)
        if code is not None:
            await counted(session, PromotionCode, code.id, -1)
        return discount_of_coupon(row, again)
    limit = row.limit_per_customer
    if limit is not None and await redeemed_by(session, row.id, wish.customer_id) >= limit:
        raise Refused("coupon_used_up_by_customer", f"A customer may redeem this coupon {limit} times, and has.")
    if again is None:
        again = Redemption(
            id=wish.redemption_id,
            coupon_id=row.id,
            promotion_code_id=code.id if code else None,
            customer_id=wish.customer_id,
            subscription_id=wish.subscription_id,
            actor=wish.actor,
            at=now.replace(microsecond=0),
        )
        session.add(again)
    again.status, again.ended_at = RESERVED, None
    await session.flush()
    return discount_of_coupon(row, again)


async def applied(database: Database, redemption_id: str) -> None:
    """The subscription has it."""
    async with database.session() as session:
        row = await session.get(Redemption, redemption_id, with_for_update=True)
        if row is not None and row.status == RESERVED:
            row.status = APPLIED


async def give_back(database: Database, redemption_id: str) -> None:
    """The subscription refused it: it is counted no more."""
    async with database.session() as session:
        row = await session.get(Redemption, redemption_id, with_for_update=True)
        if row is None or row.status != RESERVED:
            return
        row.status, row.ended_at = GIVEN_BACK, await database_now(session)
        await counted(session, Coupon, row.coupon_id, -1)
        if row.promotion_code_id is not None:
            await counted(session, PromotionCode, row.promotion_code_id, -1)


async def _meant(session: AsyncSession, wish: Wish) -> tuple[Coupon, PromotionCode | None]:
    if (wish.promotion_code is None) == (wish.coupon_id is None):
        raise InvalidInput("promotion_code", "send exactly one of promotion_code and coupon_id")
    known = await redemption(session, wish.redemption_id)
    if known is not None:  # whatever became of the code meanwhile, this request is about what it was about
        code = None if known.promotion_code_id is None else await promotion_code(session, known.promotion_code_id)
        row = await coupon(session, known.coupon_id)
    elif wish.promotion_code is not None:
        code = await code_written(session, wish.promotion_code)
        if code is None:
            raise InvalidInput("promotion_code", "there is no such code", code="unknown_code")
        row = await coupon(session, code.coupon_id)
    else:
        code, row = None, await coupon(session, wish.coupon_id or "")
    if row is None:
        raise InvalidInput("coupon_id", "there is no such coupon", code="unknown_reference")
    return row, code


def _check(row: Coupon, code: PromotionCode | None, wish: Wish, now: datetime) -> None:
    if row.archived_at is not None or (code is not None and code.archived_at is not None):
        raise Refused("coupon_archived", "This coupon is given out no more.")
    if row.valid_from is not None and now < row.valid_from:
        raise Refused("coupon_not_yet_valid", f"This coupon is valid from {row.valid_from.isoformat()} on.")
    ends = [end for end in (row.valid_until, code.valid_until if code else None) if end is not None]
    if ends and now >= min(ends):
        raise Refused("coupon_expired", f"This could be redeemed until {min(ends).isoformat()}.")
    if row.currency is not None and row.currency != wish.currency:
        raise Refused("currency_mismatch", f"This coupon is in {row.currency}, the subscription in {wish.currency}.")
    if row.products and wish.product_id not in row.products:
        raise Refused("wrong_product", "This coupon is not for this product.")
