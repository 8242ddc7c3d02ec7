"""Coupons and who redeemed them: reads, and the counting that holds when many redeem the last one at once."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final

from sqlalchemy import func, or_, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from domain.discounts import Discount, DiscountSource
from models.discounts import Coupon, CustomerDiscount, PromotionCode, Redemption
from models.paging import KeyPart, Keyset, Page, page

COUPONS: Final = Keyset("coupons", (Coupon.created_at, Coupon.id))
CODES: Final = Keyset("promotion_codes", (PromotionCode.created_at, PromotionCode.id))
REDEMPTIONS: Final = Keyset("redemptions", (Redemption.at, Redemption.id))

GIVEN_BACK: Final = "given_back"


async def coupon(session: AsyncSession, coupon_id: str) -> Coupon | None:
    return await session.get(Coupon, coupon_id)


async def coupons(session: AsyncSession, *, after: tuple[KeyPart, ...] | None, limit: int) -> Page[Coupon]:
    return await page(session, select(Coupon), COUPONS, after=after, limit=limit)


async def promotion_code(session: AsyncSession, code_id: str) -> PromotionCode | None:
    return await session.get(PromotionCode, code_id)


async def code_written(session: AsyncSession, code: str) -> PromotionCode | None:
    """By the word itself, in any case."""
    return (await session.scalars(select(PromotionCode).where(PromotionCode.code == code.upper()))).one_or_none()


async def codes_of(
    session: AsyncSession, coupon_id: str, *, after: tuple[KeyPart, ...] | None, limit: int
) -> Page[PromotionCode]:
    statement = select(PromotionCode).where(PromotionCode.coupon_id == coupon_id)
    return await page(session, statement, CODES, after=after, limit=limit)


async def redemption(session: AsyncSession, redemption_id: str) -> Redemption | None:
    return await session.get(Redemption, redemption_id)


async def redemptions_of(
    session: AsyncSession, coupon_id: str, *, after: tuple[KeyPart, ...] | None, limit: int
) -> Page[Redemption]:
    statement = select(Redemption).where(Redemption.coupon_id == coupon_id)
    return await page(session, statement, REDEMPTIONS, after=after, limit=limit)


async def counted(session: AsyncSession, table: type[Coupon | PromotionCode], row_id: str, by: int) -> bool:
    """Count one more (or less) redemption in one statement; False where the limit is reached.

    The row is held until the commit: who comes next counts this one, or this one never was.
    """
    statement = update(table).where(table.id == row_id).values(redeemed=table.redeemed + by)
    if by > 0:
        statement = statement.where(or_(table.limit_total.is_(None), table.redeemed < table.limit_total))
    return await session.scalar(statement.returning(table.id)) is not None


async def redeemed_by(session: AsyncSession, coupon_id: str, customer_id: str) -> int:
    """How often this customer has redeemed it. Exact while the coupon's row is held."""
    statement = select(func.count()).where(
        Redemption.coupon_id == coupon_id, Redemption.customer_id == customer_id, Redemption.status != GIVEN_BACK
    )
    return await session.scalar(statement) or 0


async def customer_discount(session: AsyncSession, customer_id: str, discount_id: str) -> CustomerDiscount | None:
    statement = select(CustomerDiscount).where(
        CustomerDiscount.id == discount_id, CustomerDiscount.customer_id == customer_id
    )
    return (await session.scalars(statement.with_for_update())).one_or_none()


async def customer_discounts(session: AsyncSession, customer_id: str) -> Sequence[CustomerDiscount]:
    """All that were ever set, newest first."""
    statement = (
        select(CustomerDiscount)
        .where(CustomerDiscount.customer_id == customer_id)
        .order_by(CustomerDiscount.created_at.desc(), CustomerDiscount.id)
    )
    return (await session.scalars(statement)).all()


async def discounts_to_start_with(
    session: AsyncSession, customer_id: str, currency: str, product_id: str, now: datetime
) -> tuple[Discount, ...]:
    """The customer's own discounts that fit a subscription beginning now."""
    return fitting(await customer_discounts(session, customer_id), currency, product_id, now)


def fitting(rows: Sequence[CustomerDiscount], currency: str, product_id: str, now: datetime) -> tuple[Discount, ...]:
    """Those of a customer's discounts, given newest first, that fit a subscription beginning now; oldest first."""
    return tuple(
        discount_of(row)
        for row in reversed(rows)
        if row.ended_at is None
        and (row.until is None or now < row.until)
        and row.currency in {None, currency}
        and (not row.products or product_id in row.products)
    )


def discount_of(row: CustomerDiscount) -> Discount:
    """As a subscription carries it."""
    return Discount(
        id=row.id, source=DiscountSource.CUSTOMER, given_at=row.created_at.replace(microsecond=0), until=row.until,
        **_size(row),
    )  # fmt: skip


def discount_of_coupon(row: Coupon, redemption: Redemption) -> Discount:
    """The same of a redeemed coupon."""
    return Discount(
        id=redemption.id, source=DiscountSource.COUPON, given_at=redemption.at.replace(microsecond=0), coupon_id=row.id,
        **_size(row),
    )  # fmt: skip


def _size(row: Coupon | CustomerDiscount) -> dict[str, Any]:
    return {
        "name": row.name, "rate": row.rate, "amount": row.amount, "cycles_left": row.cycles,
        "products": tuple(row.products),
    }  # fmt: skip
