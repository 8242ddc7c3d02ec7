"""Coupons, the promotion codes by which customers redeem them, and who did."""

from __future__ import annotations

from typing import Annotated, Any, Final, Self

from fastapi import Path, Query
from pydantic import ConfigDict, Field, StringConstraints, model_validator

from api.context import CallerDep, OnceDep, ServicesDep
from api.fields import Body, Currency, Identifier, Instant, View
from api.paging import Listed, PageQuery, listed
from api.percents import Percent, percent_of, rate_of
from api.routing import noun
from api.rows import add_once, found, known
from domain.discounts import AMOUNT_MINOR_MAX, CYCLES_MAX, NAME_LENGTH_MAX
from domain.errors import InvalidInput, Refused
from models import Coupon, PromotionCode
from models.queries_catalogue import product
from models.queries_discounts import (
    CODES,
    COUPONS,
    REDEMPTIONS,
    code_written,
    codes_of,
    coupon,
    coupons,
    promotion_code,
    redemptions_of,
)
from models.session import database_now

LIMIT_MAX: Final = 10**9
PRODUCTS_MAX: Final = 100

router = noun("coupons")
CouponId = Annotated[Identifier, Path(description="Id of the coupon")]
CodeId = Annotated[Identifier, Path(description="Id of the promotion code")]
DiscountName = Annotated[str, StringConstraints(min_length=1, max_length=NAME_LENGTH_MAX, pattern=r"^\S[^\x00-\x1f]*$")]
Limit = Annotated[int, Field(ge=1, le=LIMIT_MAX)]
Word = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]{2,39}$")]


class Size(Body):
    """How much a discount takes off: a percent, or an amount with its currency; and for how many billed cycles."""

    name: DiscountName = Field(description="As invoices show it")
    percent: Percent | None = None
    amount: Annotated[int, Field(ge=1, le=AMOUNT_MINOR_MAX, description="Minor units of `currency`")] | None = None
    currency: Currency | None = Field(default=None, description="Of the amount")
    cycles: Annotated[int, Field(ge=1, le=CYCLES_MAX)] | None = Field(
        default=None, description="For so many billed cycles; 1 is once, null for ever"
    )
    products: Annotated[list[Identifier], Field(max_length=PRODUCTS_MAX)] = Field(
        default_factory=list, description="For these products only; empty is all"
    )

    @model_validator(mode="after")
    def _one_size(self) -> Self:
        if (self.percent is None) == (self.amount is None):
            raise ValueError("send exactly one of percent and amount")
        if (self.amount is None) != (self.currency is None):
            raise ValueError("an amount goes with its currency, a percent with none")
        return self

    def columns(self) -> dict[str, Any]:
        """As the tables keep it. Raises `InvalidInput` for a percent of 0 or above 100."""
        rate = 0 if self.percent is None else rate_of(self.percent)
        if self.percent is not None and rate == 0:
            raise InvalidInput("percent", "must be above 0")
        return {
            "name": self.name,
            "rate": rate,
            "amount": self.amount or 0,
            "currency": self.currency,
            "cycles": self.cycles,
            "products": self.products,
        }


class CouponNew(Size):
    """A coupon to be."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"name": "Spring: 20 % off", "percent": "20", "cycles": 3, "limit_total": 500, "limit_per_customer": 1}
            ]
        }
    )

    valid_from: Instant | None = None
    valid_until: Instant | None = Field(default=None, description="From this instant on it cannot be redeemed")
    limit_total: Limit | None = Field(default=None, description="How often it may be redeemed in all")
    limit_per_customer: Limit | None = None


class PromotionCodeNew(Body):
    """A word for a coupon."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"code": "SPRING26", "limit_total": 100}]})

    code: Word = Field(description="Upper and lower case are one")
    valid_until: Instant | None = None
    limit_total: Limit | None = Field(default=None, description="How often this word may be used, within the coupon's")


class SizeView(View):
    """How much a discount takes off."""

    name: str
    percent: str | None
    amount: int | None
    currency: str | None
    cycles: int | None
    products: list[str]


class CouponView(SizeView):
    """A coupon, and how often it has been redeemed."""

    id: str
    valid_from: Instant | None
    valid_until: Instant | None
    limit_total: int | None
    limit_per_customer: int | None
    redeemed: int
    actor: str
    created_at: Instant
    archived_at: Instant | None


class PromotionCodeView(View):
    """A promotion code, and how often it has been used."""

    id: str
    coupon_id: str
    code: str
    valid_until: Instant | None
    limit_total: int | None
    redeemed: int
    actor: str
    created_at: Instant
    archived_at: Instant | None


class RedemptionView(View):
    """One redemption: `reserved` while the subscription is asked, `applied`, or `given_back` where it refused."""

    id: str
    promotion_code_id: str | None
    customer_id: str
    subscription_id: str
    status: str
    actor: str
    at: Instant
    ended_at: Instant | None


@router.post("/coupons", status_code=201)
async def create_coupon(body: CouponNew, services: ServicesDep, once: OnceDep, caller: CallerDep) -> CouponView:
    """Create a coupon."""
    if body.valid_from is not None and body.valid_until is not None and body.valid_until <= body.valid_from:
        raise InvalidInput("valid_until", "must be after valid_from")
    async with services.database.session() as session:
        for product_id in body.products:
            known(await product(session, product_id), "products", "product")
        row = Coupon(
            id=once.id("coup"),
            actor=caller.name,
            valid_from=body.valid_from,
            valid_until=body.valid_until,
            limit_total=body.limit_total,
            limit_per_customer=body.limit_per_customer,
            **body.columns(),
        )
        return coupon_view(await add_once(session, row))


@router.get("/coupons")
async def list_coupons(services: ServicesDep, query: Annotated[PageQuery, Query()]) -> Listed[CouponView]:
    """List coupons, newest first."""
    async with services.database.session() as session:
        rows = await coupons(session, after=query.after(COUPONS), limit=query.limit)
        return listed(rows, COUPONS, coupon_view)


@router.get("/coupons/{coupon_id}")
async def get_coupon(coupon_id: CouponId, services: ServicesDep) -> CouponView:
    """Read one coupon."""
    async with services.database.session() as session:
        return coupon_view(found(await coupon(session, coupon_id), "coupon"))


@router.post("/coupons/{coupon_id}/archive")
async def archive_coupon(coupon_id: CouponId, services: ServicesDep) -> CouponView:
    """Let nobody redeem it any more. Who has redeemed it keeps what was promised."""
    async with services.database.session() as session:
        row = found(await coupon(session, coupon_id), "coupon")
        if row.archived_at is None:
            row.archived_at = await database_now(session)
        return coupon_view(row)


@router.get("/coupons/{coupon_id}/redemptions")
async def list_redemptions(
    coupon_id: CouponId, services: ServicesDep, query: Annotated[PageQuery, Query()]
) -> Listed[RedemptionView]:
    """Who redeemed it, newest first."""
    async with services.database.session() as session:
        found(await coupon(session, coupon_id), "coupon")
        rows = await redemptions_of(session, coupon_id, after=query.after(REDEMPTIONS), limit=query.limit)
        return listed(rows, REDEMPTIONS, RedemptionView.model_validate)


@router.post("/coupons/{coupon_id}/promotion-codes", status_code=201)
async def create_promotion_code(
    coupon_id: CouponId, body: PromotionCodeNew, services: ServicesDep, once: OnceDep, caller: CallerDep
) -> PromotionCodeView:
    """Give a coupon a word by which customers redeem it."""
    async with services.database.session() as session:
        found(await coupon(session, coupon_id), "coupon")
        row_id = once.id("promo")
        taken = await code_written(session, body.code)
        if taken is not None and taken.id != row_id:
            raise Refused("already_exists", "This code is taken.")
        row = PromotionCode(
            id=row_id,
            coupon_id=coupon_id,
            code=body.code.upper(),
            valid_until=body.valid_until,
            limit_total=body.limit_total,
            actor=caller.name,
        )
        return PromotionCodeView.model_validate(await add_once(session, row))


@router.get("/coupons/{coupon_id}/promotion-codes")
async def list_promotion_codes(
    coupon_id: CouponId, services: ServicesDep, query: Annotated[PageQuery, Query()]
) -> Listed[PromotionCodeView]:
    """The words of a coupon, newest first."""
    async with services.database.session() as session:
        found(await coupon(session, coupon_id), "coupon")
        rows = await codes_of(session, coupon_id, after=query.after(CODES), limit=query.limit)
        return listed(rows, CODES, PromotionCodeView.model_validate)


@router.post("/promotion-codes/{code_id}/archive")
async def archive_promotion_code(code_id: CodeId, services: ServicesDep) -> PromotionCodeView:
    """Let nobody use this word any more."""
    async with services.database.session() as session:
        row = found(await promotion_code(session, code_id), "promotion code")
        if row.archived_at is None:
            row.archived_at = await database_now(session)
        return PromotionCodeView.model_validate(row)


def size_of(row: Any) -> dict[str, Any]:
    """How much, as it is shown: of a coupon or a customer's discount."""
    return {
        "percent": percent_of(row.rate) if row.rate else None,
        "amount": row.amount or None,
        "currency": row.currency,
        "cycles": row.cycles,
        "products": row.products,
    }


def coupon_view(row: Coupon) -> CouponView:
    shown = {name: getattr(row, name) for name in CouponView.model_fields if name != "percent"}
    return CouponView(**shown | size_of(row))
