"""Subscriptions: started, read, foreseen, explained, and in test mode moved through time."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Annotated, Any, Final, Literal

from fastapi import Path, Query
from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy.ext.asyncio import AsyncSession

from api.context import CallerDep, OnceDep, Services, ServicesDep
from api.coupons import Word
from api.fields import Body, ExternalId, Identifier, Instant, Quantity, View
from api.fields import Query as QueryModel
from api.idempotency import Once, intend
from api.paging import Listed, PageQuery, listed
from api.redeeming import Wish, applied, give_back, reserve
from api.routing import noun
from api.rows import found, known
from api.subscription_views import SubscriptionDetail, SubscriptionView, clock, detail
from domain.calendar import Interval, Unit, anchor_from, boundary, days_later
from domain.discounts import Discount
from domain.errors import InvalidInput, Refused
from domain.explain import sentence
from domain.forecast import FORECAST_CYCLES_MAX, Assume, forecast
from domain.ids import derive
from domain.messages import Start
from domain.state import State
from domain.terms import TRIAL_DAYS_MAX, Terms, Trigger
from models import Customer, SubscriptionEvent
from models.agreement import terms_of
from models.blacklisted import refuse_blacklisted
from models.queries_catalogue import dunning_terms, price, product
from models.queries_customers import customer
from models.queries_discounts import discounts_to_start_with
from models.queries_subscriptions import EVENTS, Wanted, events, id_of_external, order_of, subscription, subscriptions
from models.queries_tax import tax_terms
from models.session import database_now

ADVANCE_DAYS_MAX: Final = 3_660
ADVANCE_MONTHS_MAX: Final = 120

router = noun("subscriptions")
SubscriptionId = Annotated[Identifier, Path(description="Id of the subscription")]


class SubscriptionNew(Body):
    """A subscription to be. Its terms are those of the price now, and stay so until a command changes them."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "customer_id": "cus_aaaaaaaaaaaaaaaaaaaaaaaa",
                    "price_id": "price_aaaaaaaaaaaaaaaaaaaaaaaa",
                    "quantity": 2,
                    "test_mode": True,
                }
            ]
        }
    )

    customer_id: Identifier
    price_id: Identifier
    quantity: Quantity = 1
    start_at: Instant | None = Field(
        default=None, description="When it begins, with its trial if it has one; null is now"
    )
    bill_from: Instant | None = Field(
        default=None, description="Taken over from another system: no period that began before this is billed"
    )
    trial_days: Annotated[int, Field(ge=0, le=TRIAL_DAYS_MAX)] | None = Field(
        default=None, description="In place of the price's own"
    )
    test_mode: bool = Field(default=False, description="True gives it a clock of its own; see `advance`")
    trigger: Literal["timer", "external"] = Field(
        default="timer", description="What bills a due cycle: its own timer, or only a billing run"
    )
    external_id: ExternalId | None = None
    promotion_code: Word | None = Field(default=None, description="Redeemed for this subscription")


class SubscriptionQuery(PageQuery):
    """Which subscriptions. With `due_before` the next due come first, else the newest."""

    status: Literal["scheduled", "trialing", "active", "overdue", "paused", "canceled"] | None = None
    customer_id: Identifier | None = None
    product_id: Identifier | None = None
    price_id: Identifier | None = None
    external_id: ExternalId | None = None
    due_before: Instant | None = None
    dunning: bool | None = None
    held: bool | None = None
    attention: bool | None = None
    test_mode: bool | None = None


class EventView(View):
    """One line of the timeline, at the subscription's own time."""

    seq: int
    at: Instant
    kind: str
    text: str
    actor: str
    reason: str
    data: dict[str, Any]


class ForecastQuery(QueryModel):
    """How far to look, and what to take for granted of the card."""

    cycles: Annotated[int, Field(ge=1, le=FORECAST_CYCLES_MAX)] = 12
    assume: Annotated[Assume, Field(alias="if")] = Assume.CARD_WORKS


class ForeseenView(BaseModel):
    """One line of the timeline to come."""

    at: Instant
    kind: str
    text: str
    data: dict[str, Any]


class Forecast(BaseModel):
    """The timeline to come, by the code that will make it."""

    now: Instant
    items: list[ForeseenView]


class Advance(Body):
    """How far to move: one of the three. Days and months are of the subscription's calendar."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"months": 1}]})

    days: Annotated[int, Field(ge=1, le=ADVANCE_DAYS_MAX)] | None = None
    months: Annotated[int, Field(ge=1, le=ADVANCE_MONTHS_MAX)] | None = None
    to: Instant | None = None


@router.post("/subscriptions", status_code=201)
async def create_subscription(
    body: SubscriptionNew, services: ServicesDep, once: OnceDep, caller: CallerDep
) -> SubscriptionDetail:
    """Start a subscription. The answer comes when it is in the books, its first charge included."""
    # The same external id is the same subscription, also when two requests for it meet.
    subscription_id = derive("sub", "external", body.external_id) if body.external_id else once.id("sub")
    async with services.database.session() as session:
        payer = known(await customer(session, body.customer_id), "customer_id", "customer")
        if await subscription(session, subscription_id) is None:  # else an earlier try has started it
            await _refuse_taken(session, body.external_id)
            await refuse_blacklisted(session, payer)
        terms = await _terms(session, body)
        own = await _priced(session, payer, terms)
        start = _start(subscription_id, body, payer, terms, caller.name, once.id("cmd"))
        start = replace(start, discounts=own, tax=await tax_terms(session, payer.id))
        wish = _wish(start, body.promotion_code, once)
        if wish is not None:
            start = replace(start, discounts=(*own, await reserve(session, wish)))
    try:
        state = await services.commands.start(start)
        if wish is not None:
            await _settle(services, wish, start, state)
    except (Refused, InvalidInput):
        if wish is not None:
            await give_back(services.database, wish.redemption_id)
        raise
    if state is not None and body.external_id is not None and start.request_id not in state.recent_commands:
        raise _taken()
    return await detail(services, subscription_id, state)


@router.get("/subscriptions")
async def list_subscriptions(
    services: ServicesDep, query: Annotated[SubscriptionQuery, Query()]
) -> Listed[SubscriptionView]:
    """List subscriptions."""
    wanted = Wanted(**query.model_dump(exclude={"limit", "cursor", "due_before"}), due_before=query.due_before)
    order = order_of(wanted)
    async with services.database.session() as session:
        rows = await subscriptions(session, wanted, after=query.after(order), limit=query.limit)
        return listed(rows, order, SubscriptionView.model_validate)


@router.get("/subscriptions/{subscription_id}")
async def get_subscription(subscription_id: SubscriptionId, services: ServicesDep) -> SubscriptionDetail:
    """Read one subscription: what the books say, and what its workflow says now."""
    return await detail(services, subscription_id)


@router.get("/subscriptions/{subscription_id}/events")
async def list_events(
    subscription_id: SubscriptionId, services: ServicesDep, query: Annotated[PageQuery, Query()]
) -> Listed[EventView]:
    """The timeline in business words, oldest first."""
    async with services.database.session() as session:
        found(await subscription(session, subscription_id), "subscription")
        rows = await events(session, subscription_id, after=query.after(EVENTS), limit=query.limit)
        return listed(rows, EVENTS, event_view)


@router.get("/subscriptions/{subscription_id}/forecast")
async def foresee(
    subscription_id: SubscriptionId, services: ServicesDep, query: Annotated[ForecastQuery, Query()]
) -> Forecast:
    """What will happen, if nobody intervenes and the card works or fails."""
    state = await services.commands.state(subscription_id)
    now = await clock(services, state)
    async with services.database.session() as session:
        policy = await dunning_terms(session, state.customer_id, state.terms.product_id)
    seen = forecast(state, now, cycles=query.cycles, assume=query.assume, policy=policy)
    return Forecast(
        now=now,
        items=[
            ForeseenView(at=each.at, kind=each.kind, text=sentence(each.kind, each.data), data=each.data)
            for each in seen
        ],
    )


@router.post("/subscriptions/{subscription_id}/advance")
async def advance(
    subscription_id: SubscriptionId, body: Advance, services: ServicesDep, once: OnceDep
) -> SubscriptionDetail:
    """Move a test-mode subscription's clock; the real workflow bills on the way. The answer comes on arrival."""
    state = await services.commands.state(subscription_id)
    now = await services.commands.virtual_now(subscription_id)
    meant = target_of(body, now, state.zone)
    target = datetime.fromisoformat(await intend(services.database, once, meant.isoformat()))
    if target != meant and target <= now:  # an interrupted try of this request has arrived already
        return await detail(services, subscription_id)
    by = target - now
    if by <= timedelta(0):
        raise InvalidInput("to", "must be after the subscription's own time")
    return await detail(services, subscription_id, await services.commands.advance(subscription_id, by))


def event_view(row: SubscriptionEvent) -> EventView:
    return EventView(
        seq=row.seq,
        at=row.at,
        kind=row.kind,
        text=sentence(row.kind, row.data),
        actor=row.actor,
        reason=row.reason,
        data=row.data,
    )


async def _priced(session: AsyncSession, payer: Customer, terms: Terms) -> tuple[Discount, ...]:
    """The discounts that the customer has anyway."""
    now = await database_now(session)
    return await discounts_to_start_with(session, payer.id, terms.currency, terms.product_id, now)


def _wish(start: Start, promotion_code: str | None, once: Once) -> Wish | None:
    if promotion_code is None:
        return None
    return Wish(
        redemption_id=once.id("red"),
        customer_id=start.customer_id,
        subscription_id=start.id,
        currency=start.terms.currency,
        product_id=start.terms.product_id,
        actor=start.actor,
        promotion_code=promotion_code,
    )


async def _settle(services: Services, wish: Wish, start: Start, state: State | None) -> None:
    """What came of the redemption: a subscription that was there already under its external id has not got it."""
    if state is None or start.request_id in state.recent_commands:
        await applied(services.database, wish.redemption_id)
    else:
        await give_back(services.database, wish.redemption_id)


async def _refuse_taken(session: AsyncSession, external_id: str | None) -> None:
    if external_id is not None and await id_of_external(session, external_id) is not None:
        raise _taken()


def _taken() -> Refused:
    return Refused("already_exists", "This external_id is taken by another subscription.")


async def _terms(session: AsyncSession, body: SubscriptionNew) -> Terms:
    chosen = known(await price(session, body.price_id), "price_id", "price")
    sold = known(await product(session, chosen.product_id), "price_id", "product")
    if chosen.archived_at is not None or sold.archived_at is not None:
        raise Refused("archived", "This price sells no more.")
    return terms_of(chosen, sold, body.quantity, trial_days=body.trial_days)


def _start(
    subscription_id: str, body: SubscriptionNew, payer: Customer, terms: Terms, actor: str, request_id: str
) -> Start:
    return Start(
        id=subscription_id,
        customer_id=payer.id,
        zone=payer.time_zone,
        terms=terms,
        actor=actor,
        start_at=body.start_at,
        bill_from=body.bill_from,
        external_id=body.external_id,
        test_mode=body.test_mode,
        trigger=Trigger(body.trigger),
        notice_days=payer.notice_days,
        request_id=request_id,
    )


def target_of(body: Advance, now: datetime, zone: str) -> datetime:
    """Where an advance leads to. Raises `InvalidInput` unless exactly one of the three is given."""
    match (body.days, body.months, body.to):
        case (int(days), None, None):
            return days_later(now, days, zone)
        case (None, int(months), None):
            return boundary(anchor_from(now, zone), Interval(months, Unit.MONTH), 1)
        case (None, None, datetime() as moment):
            return moment
        case _:
            raise InvalidInput("days", "send exactly one of days, months and to")
