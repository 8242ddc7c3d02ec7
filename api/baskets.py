"""Baskets: an agent's offer with the prices agreed, sent as a link, edited and withdrawn until somebody pays it."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from fastapi import Path, Query
from pydantic import ConfigDict, Field
from sqlalchemy.ext.asyncio import AsyncSession

from api.blacklist import refuse_blacklisted
from api.context import CallerDep, OnceDep, Services, ServicesDep
from api.fields import Body, Currency, Identifier, Instant, Name, Paragraph, View
from api.order_bodies import Lines, Source, lines_of
from api.order_views import OrderView
from api.paging import Listed, PageQuery, listed
from api.routing import noun
from api.rows import add_once, found, known
from domain import baskets
from domain.errors import Refused
from domain.links import ID_PREFIX, Link, LinkKind
from domain.order_lines import due_by_line
from models import Basket, Customer
from models.offers import dues_now, kept, offered, total_of
from models.queries_customers import customer
from models.queries_links import keep_link
from models.queries_orders import BASKETS, basket, order
from models.queries_orders import baskets as all_baskets
from models.session import database_now

router = noun("baskets")
BasketId = Annotated[Identifier, Path(description="Id of the basket")]


class BasketNew(Source):
    """An offer to a customer: its lines are as those of an order, at the catalogue's prices of now or special ones."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "customer_id": "cus_aaaaaaaaaaaaaaaaaaaaaaaa",
                    "lines": [{"description": "Engraving", "unit_amount": 1500}],
                    "note": "As agreed on the telephone",
                }
            ]
        }
    )

    customer_id: Identifier
    currency: Currency | None = Field(default=None, description="The customer's unless said")
    lines: Lines
    note: Paragraph = Field(default="", description="Words for the customer, on the page")
    expires_at: Instant | None = Field(default=None, description="In 7 days unless said, in 90 at most")
    test_mode: bool = False
    actor: Name | None = Field(default=None, description="Who offers it, where the API key acts for somebody")


class BasketLinesBody(Body):
    """All lines as they are to be. `revision`: the one that was looked at."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"lines": [{"description": "Engraving", "unit_amount": 1200}], "revision": 1}]}
    )

    lines: Lines
    revision: Annotated[int, Field(ge=1)] | None = None


class BasketLineView(View):
    """One line: quantity times unit amount is amount, always. `due_now`: what of it the basket asks for, with tax."""

    position: int
    kind: str
    description: str
    product_id: str | None
    price_id: str | None
    quantity: int
    unit_amount: int
    amount: int
    list_amount: int | None
    reason: str
    due_now: int
    start_at: Instant | None


class BasketView(View):
    """A basket as lists show it. `total` is what was due by the last edit, in minor units; `revision` counts edits.

    Status: open, taken (somebody has begun to pay: `order_id` says more), expired, withdrawn.
    """

    id: str
    status: str
    customer_id: str | None
    agent: str
    currency: str
    total: int
    note: str
    funnel: str
    page: str
    revision: int
    order_id: str | None
    test_mode: bool
    expires_at: Instant
    withdrawn_at: Instant | None
    created_at: Instant


class BasketWhole(BasketView):
    """A basket with its lines, and the order that it has become."""

    lines: list[BasketLineView]
    order: OrderView | None


class BasketMade(BasketWhole):
    """A new basket with its link. Whoever has the address may pay it: give it to the customer alone."""

    link_id: str
    url: str


class BasketLink(View):
    """A fresh link to a basket; those before it go on working."""

    id: str
    url: str
    expires_at: Instant


class BasketQuery(PageQuery):
    """Which baskets; all that is given must fit."""

    customer_id: Identifier | None = None
    agent: Name | None = None


@router.post("/baskets", status_code=201)
async def create_basket(body: BasketNew, services: ServicesDep, once: OnceDep, caller: CallerDep) -> BasketMade:
    """Offer lines at these prices until it expires; the answer has the link by which the customer pays them."""
    async with services.database.session() as session:
        buyer = known(await customer(session, body.customer_id), "customer_id", "customer")
        await refuse_blacklisted(session, buyer)
        now = await database_now(session)
        currency = body.currency or buyer.currency
        lines = await lines_of(session, body.lines, currency, caller)
        row = await add_once(
            session,
            Basket(
                id=once.id(baskets.ID_PREFIX),
                customer_id=buyer.id,
                agent=caller.acting(body.actor),
                currency=currency,
                lines=kept(lines),
                total=total_of(await dues_now(session, lines, currency, buyer)),
                note=body.note,
                funnel=body.funnel,
                page=body.page,
                revision=1,
                test_mode=body.test_mode,
                expires_at=baskets.expiry(body.expires_at, now),
                created_at=now,
            ),
        )
        link = await _linked(session, services, row, once.id(ID_PREFIX), caller.name)
        return BasketMade(**dict(await _whole(session, row)), link_id=link.id, url=link.url)


@router.get("/baskets")
async def list_baskets(services: ServicesDep, query: Annotated[BasketQuery, Query()]) -> Listed[BasketView]:
    """List baskets, newest first, of one customer or one agent."""
    async with services.database.session() as session:
        now = await database_now(session)
        rows = await all_baskets(
            session,
            customer_id=query.customer_id,
            agent=query.agent,
            after=query.after(BASKETS),
            limit=query.limit,
        )
        return listed(rows, BASKETS, lambda row: _view(row, now))


@router.get("/baskets/{basket_id}")
async def get_basket(basket_id: BasketId, services: ServicesDep) -> BasketWhole:
    """A basket with its lines, and its order once somebody has begun to pay."""
    async with services.database.session() as session:
        return await _whole(session, found(await basket(session, basket_id), "basket"))


@router.post("/baskets/{basket_id}/lines")
async def change_basket_lines(
    basket_id: BasketId, body: BasketLinesBody, services: ServicesDep, caller: CallerDep
) -> BasketWhole:
    """Other lines in place of those there are. A page that is open shows the old price, and its button pays nothing."""
    async with services.database.session() as session:
        row, now = await _locked(session, basket_id), await database_now(session)
        baskets.refuse_unless_open(_standing(row, now))
        if body.revision is not None and body.revision != row.revision:
            raise Refused("changed_meanwhile", f"The basket was changed meanwhile: it is at revision {row.revision}.")
        lines = await lines_of(session, body.lines, row.currency, caller)
        buyer = await _buyer(session, row)
        row.lines, row.revision = kept(lines), row.revision + 1
        row.total = total_of(await dues_now(session, lines, row.currency, buyer))
        await session.flush()
        return await _whole(session, row)


@router.post("/baskets/{basket_id}/link", status_code=201)
async def create_basket_link(
    basket_id: BasketId, services: ServicesDep, once: OnceDep, caller: CallerDep
) -> BasketLink:
    """A fresh link to a basket that can still be paid; it ends with the basket."""
    async with services.database.session() as session:
        row, now = await _locked(session, basket_id), await database_now(session)
        baskets.refuse_unless_open(_standing(row, now))
        return await _linked(session, services, row, once.id(ID_PREFIX), caller.name)


@router.post("/baskets/{basket_id}/cancel")
async def cancel_basket(basket_id: BasketId, services: ServicesDep) -> BasketWhole:
    """Withdraw it: its page says so, and it can be paid no more. Withdrawn again it stays as it was withdrawn first."""
    async with services.database.session() as session:
        row, now = await _locked(session, basket_id), await database_now(session)
        if row.withdrawn_at is None:
            baskets.refuse_unless_open(_standing(row, now))
            row.withdrawn_at = now
            await session.flush()
        return await _whole(session, row)


async def _locked(session: AsyncSession, basket_id: str) -> Basket:
    return found(await basket(session, basket_id, lock=True), "basket")


async def _buyer(session: AsyncSession, row: Basket) -> Customer:
    return found(await customer(session, row.customer_id or ""), "customer")


async def _linked(session: AsyncSession, services: Services, row: Basket, link_id: str, actor: str) -> BasketLink:
    """The link, made once; it ends when the basket does."""
    link = Link(link_id, LinkKind.BASKET, row.id, row.expires_at)
    await keep_link(session, link, customer_id=row.customer_id, actor=actor)
    return BasketLink(id=link.id, url=services.links.url(link), expires_at=link.expires_at)


def _standing(row: Basket, now: datetime) -> baskets.BasketStanding:
    return baskets.standing(now, expires_at=row.expires_at, withdrawn_at=row.withdrawn_at, order_id=row.order_id)


def _view(row: Basket, now: datetime) -> BasketView:
    own = {name: getattr(row, name) for name in BasketView.model_fields if name != "status"}
    return BasketView(status=_standing(row, now).value, **own)


async def _whole(session: AsyncSession, row: Basket) -> BasketWhole:
    lines, buyer = offered(row), await _buyer(session, row)
    due = due_by_line(await dues_now(session, lines, row.currency, buyer))
    bought = await order(session, row.order_id) if row.order_id is not None else None
    view = _view(row, await database_now(session))
    return BasketWhole(
        **dict(view),
        lines=[
            BasketLineView(
                kind=line.kind.value,
                due_now=due.get(line.position, 0),
                **{
                    name: getattr(line, name) for name in BasketLineView.model_fields if name not in {"kind", "due_now"}
                },
            )
            for line in lines
        ],
        order=OrderView.model_validate(bought) if bought is not None else None,
    )
