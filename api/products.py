"""Products and their price points. A price is never edited: a new amount is a new version of its code."""

from __future__ import annotations

from datetime import UTC, datetime, time
from typing import Annotated, Any, Final, Literal

from fastapi import Path, Query
from pydantic import ConfigDict, Field
from sqlalchemy.ext.asyncio import AsyncSession

from api.context import OnceDep, ServicesDep
from api.fields import Body, Code, Currency, Identifier, Instant, Minor, Name, Paragraph, View
from api.paging import Listed, PageQuery, listed
from api.routing import noun
from api.rows import add_once, found, known, replace_fields
from domain.calendar import Alignment, Interval, Unit, aligned_anchor
from domain.errors import InvalidInput, Refused
from domain.terms import TRIAL_DAYS_MAX
from models import Price, Product
from models.queries_catalogue import PRICES, PRODUCTS, latest_version, policy, price, prices, product, products
from models.session import database_now

OPTIONS_MAX: Final = 100

router = noun("catalogue")
ProductId = Annotated[Identifier, Path(description="Id of the product")]
PriceId = Annotated[Identifier, Path(description="Id of the price")]


class ProductNew(Body):
    """A thing to sell. `options` are its variants, such as sizes; a price may be for one of them."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"code": "coffee", "name": "Coffee box", "options": ["beans", "ground"]}]}
    )

    code: Code
    name: Name
    description: Paragraph = ""
    options: Annotated[list[Name], Field(max_length=OPTIONS_MAX)] = Field(default_factory=list)
    physical: bool = Field(default=False, description="It is shipped, for each paid cycle; pinned as prices are")
    dunning_policy_id: Identifier | None = None


class ProductPatch(Body):
    """The fields to change. Running subscriptions keep the name they were agreed with."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"name": "Coffee box, large"}]})

    name: Name = "-"
    description: Paragraph = ""
    options: Annotated[list[Name], Field(max_length=OPTIONS_MAX)] = Field(default_factory=list)
    physical: bool = Field(default=False, description="It is shipped, for each paid cycle; pinned as prices are")
    dunning_policy_id: Identifier | None = None


class ProductView(View):
    """A product as it stands."""

    id: str
    code: str
    name: str
    description: str
    options: list[str]
    physical: bool
    dunning_policy_id: str | None
    created_at: Instant
    archived_at: Instant | None


class IntervalBody(Body):
    """So many days, weeks, months or years, at most ten years."""

    count: Annotated[int, Field(ge=1, le=3650)]
    unit: Literal["day", "week", "month", "year"]


class AlignmentBody(Body):
    """Calendar billing: one of a day of the month, its last day, a weekday; with `month`, once a year."""

    day_of_month: Annotated[int, Field(ge=1, le=31)] | None = None
    last_day: bool = False
    weekday: Annotated[int, Field(ge=0, le=6, description="0 is Monday")] | None = None
    month: Annotated[int, Field(ge=1, le=12)] | None = None


class PolicyBody(Body):
    """The choices of docs/policies.md that a price point may make; what is not sent takes the default there."""

    month_end: Literal["clamp_restore", "sticky_last"] = "clamp_restore"
    basis: Literal["local_day", "second"] = "local_day"
    catch_up: Literal["bill_each", "bill_once", "skip"] = "bill_each"
    alignment: AlignmentBody | None = None


class PriceNew(Body):
    """A price point. A code the product already has makes its next version, and the one before sells no more."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "product_id": "prod_aaaaaaaaaaaaaaaaaaaaaaaa",
                    "code": "monthly",
                    "currency": "EUR",
                    "unit_amount": 1900,
                    "interval": {"count": 1, "unit": "month"},
                    "trial_days": 14,
                }
            ]
        }
    )

    product_id: Identifier
    code: Code
    option: Annotated[str, Field(max_length=200)] = Field(
        default="", description="One of the product's options, or none"
    )
    currency: Currency
    unit_amount: Minor
    interval: IntervalBody | None = Field(default=None, description="Needed unless `one_time`")
    one_time: bool = Field(default=False, description="Paid once, in an order; no subscription is made of it")
    trial_days: Annotated[int, Field(ge=0, le=TRIAL_DAYS_MAX)] = 0
    trial_amount: Annotated[Minor, Field(description="Charged when the trial starts; 0 is a free trial")] = 0
    setup_fee: Annotated[Minor, Field(description="Charged once, with the first payment")] = 0
    tax_category: Code = "standard"
    policy: PolicyBody = Field(default_factory=PolicyBody)


class IntervalView(View):
    """An interval."""

    count: int
    unit: str


class PriceView(View):
    """A price point as it stands. `archived_at`: sells no more from then on; its subscriptions run on."""

    id: str
    product_id: str
    code: str
    version: int
    option: str
    currency: str
    unit_amount: int
    interval: IntervalView | None
    one_time: bool
    trial_days: int
    trial_amount: int
    setup_fee: int
    tax_category: str
    policy: dict[str, Any]
    created_at: Instant
    archived_at: Instant | None


class ProductQuery(PageQuery):
    """Which products."""

    code: Code | None = None
    archived: bool | None = None


class PriceQuery(PageQuery):
    """Which prices."""

    product_id: Identifier | None = None
    code: Code | None = None
    archived: bool | None = None


@router.post("/products", status_code=201)
async def create_product(body: ProductNew, services: ServicesDep, once: OnceDep) -> ProductView:
    """Create a product."""
    async with services.database.session() as session:
        if body.dunning_policy_id is not None:
            known(await policy(session, body.dunning_policy_id), "dunning_policy_id", "dunning policy")
        return ProductView.model_validate(await add_once(session, Product(id=once.id("prod"), **body.model_dump())))


@router.get("/products")
async def list_products(services: ServicesDep, query: Annotated[ProductQuery, Query()]) -> Listed[ProductView]:
    """List products, newest first."""
    async with services.database.session() as session:
        rows = await products(
            session, code=query.code, archived=query.archived, after=query.after(PRODUCTS), limit=query.limit
        )
        return listed(rows, PRODUCTS, ProductView.model_validate)


@router.get("/products/{product_id}")
async def get_product(product_id: ProductId, services: ServicesDep) -> ProductView:
    """Read one product."""
    async with services.database.session() as session:
        return ProductView.model_validate(found(await product(session, product_id), "product"))


@router.patch("/products/{product_id}")
async def change_product(product_id: ProductId, body: ProductPatch, services: ServicesDep) -> ProductView:
    """Change some fields of a product."""
    async with services.database.session() as session:
        row = found(await product(session, product_id, lock=True), "product")
        if body.dunning_policy_id is not None:
            known(await policy(session, body.dunning_policy_id), "dunning_policy_id", "dunning policy")
        replace_fields(row, body.model_dump(exclude_unset=True))
        await session.flush()
        return ProductView.model_validate(row)


@router.post("/products/{product_id}/archive")
async def archive_product(product_id: ProductId, services: ServicesDep) -> ProductView:
    """Sell it no more. Running subscriptions go on."""
    async with services.database.session() as session:
        row = found(await product(session, product_id, lock=True), "product")
        await _archive(session, row)
        return ProductView.model_validate(row)


@router.post("/prices", status_code=201)
async def create_price(body: PriceNew, services: ServicesDep, once: OnceDep) -> PriceView:
    """Create a price point, or the next version of one. Running subscriptions keep the terms they have."""
    fields = body.model_dump(exclude={"interval", "policy"})
    interval = _interval(body)
    async with services.database.session() as session:
        owner = known(await product(session, body.product_id, lock=True), "product_id", "product")
        if owner.archived_at is not None:
            raise Refused("archived", "This product sells no more.")
        if body.option and body.option not in owner.options:
            raise InvalidInput("option", "is not one of the product's options")
        before = await latest_version(session, body.product_id, body.code)
        if before is not None and before.id == once.id("price"):
            return _price_view(before)
        if before is not None:
            await _archive(session, before)
        row = Price(
            id=once.id("price"),
            version=1 if before is None else before.version + 1,
            interval_count=interval.count,
            interval_unit=interval.unit.value,
            policy=body.policy.model_dump(exclude_unset=True),
            **fields,
        )
        return _price_view(await add_once(session, row))


@router.get("/prices")
async def list_prices(services: ServicesDep, query: Annotated[PriceQuery, Query()]) -> Listed[PriceView]:
    """List prices, newest first."""
    async with services.database.session() as session:
        rows = await prices(
            session,
            product_id=query.product_id,
            code=query.code,
            archived=query.archived,
            after=query.after(PRICES),
            limit=query.limit,
        )
        return listed(rows, PRICES, _price_view)


@router.get("/prices/{price_id}")
async def get_price(price_id: PriceId, services: ServicesDep) -> PriceView:
    """Read one price."""
    async with services.database.session() as session:
        return _price_view(found(await price(session, price_id), "price"))


@router.post("/prices/{price_id}/archive")
async def archive_price(price_id: PriceId, services: ServicesDep) -> PriceView:
    """Sell at this price no more. Running subscriptions keep it."""
    async with services.database.session() as session:
        row = found(await price(session, price_id), "price")
        await _archive(session, row)
        return _price_view(row)


async def _archive(session: AsyncSession, row: Product | Price) -> None:
    if row.archived_at is None:
        row.archived_at = await database_now(session)
        await session.flush()


def _interval(body: PriceNew) -> Interval:
    """Of a price that is paid once it says nothing. The rules of a calendar are the calendar's: ask it, for any day."""
    if body.one_time:
        if body.interval is not None or body.trial_days or body.trial_amount or body.setup_fee:
            raise InvalidInput("one_time", "what is paid once has no interval, trial or set-up fee")
        return Interval(1, Unit.MONTH)
    if body.interval is None:
        raise InvalidInput("interval", "is needed, unless the price is one_time")
    try:
        interval = Interval(body.interval.count, Unit(body.interval.unit))
    except InvalidInput as error:
        raise InvalidInput(f"interval.{error.field}", error.message) from None
    if body.policy.alignment is None:
        return interval
    try:
        alignment = Alignment(**body.policy.alignment.model_dump())
        aligned_anchor(datetime(2026, 1, 1, tzinfo=UTC), "UTC", alignment, interval, time())
    except InvalidInput as error:
        path = "policy.alignment" if error.field == "alignment" else f"policy.alignment.{error.field}"
        raise InvalidInput(path, error.message) from None
    return interval


def _price_view(row: Price) -> PriceView:
    interval = None if row.one_time else IntervalView(count=row.interval_count, unit=row.interval_unit)
    shown = {name: getattr(row, name) for name in PriceView.model_fields if name != "interval"}
    return PriceView(interval=interval, **shown)
