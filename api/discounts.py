"""Discounts of one customer, set by agents within a cap, and what a subscription carries: given and taken back."""

from __future__ import annotations

from typing import Annotated, Final

from fastapi import Path, Response
from pydantic import ConfigDict, Field

from api.context import CallerDep, OnceDep, ServicesDep
from api.coupons import Size, SizeView, Word, size_of
from api.customers import CustomerId
from api.errors import Forbidden
from api.fields import Body as Sent
from api.fields import Identifier, Instant, Name, Reason
from api.keys import Caller
from api.paging import Listed
from api.percents import percent_of
from api.redeeming import Wish, applied, give_back, reserve
from api.routing import noun
from api.rows import add_once, found, known
from api.subscription_views import SubscriptionDetail, detail
from api.subscriptions import SubscriptionId
from domain.business import DiscountRules
from domain.errors import InvalidInput, NotFound, Refused
from domain.ids import derive
from domain.messages import AddDiscount, Envelope, RemoveDiscount
from domain.money import Money
from domain.roles import Role
from models import CustomerDiscount
from models.queries_business import discount_rules
from models.queries_catalogue import product
from models.queries_customers import customer
from models.queries_discounts import customer_discount, customer_discounts, discount_of
from models.queries_subscriptions import living_of
from models.session import database_now

DISCOUNTS_OF_CUSTOMER_MAX: Final = 10
_MAY_EXCEED: Final = frozenset({Role.LEAD, Role.ADMIN})

router = noun("discounts")
DiscountId = Annotated[Identifier, Path(description="Id of the discount")]


class CustomerDiscountNew(Size):
    """A discount for one customer: on all subscriptions that it fits, and on those to come."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"name": "For your patience", "percent": "10", "cycles": 3, "reason": "late"}]}
    )

    until: Instant | None = Field(default=None, description="Nothing that falls due from then on is reduced")
    reason: Reason = ""


class CustomerDiscountView(SizeView):
    """A discount of one customer."""

    id: str
    until: Instant | None
    reason: str
    actor: str
    created_at: Instant
    ended_at: Instant | None
    ended_by: str | None


class DiscountBody(Sent):
    """Which coupon: by a promotion code, or by its id."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"promotion_code": "SPRING26"}]})

    promotion_code: Word | None = None
    coupon_id: Identifier | None = None
    reason: Reason = ""
    actor: Name | None = Field(default=None, description="Who, where the API key acts for somebody")


@router.post("/customers/{customer_id}/discounts", status_code=201)
async def set_customer_discount(
    customer_id: CustomerId, body: CustomerDiscountNew, services: ServicesDep, once: OnceDep, caller: CallerDep
) -> CustomerDiscountView:
    """Give one customer a discount. Above the cap that agents have it takes a lead."""
    async with services.database.session() as session:
        found(await customer(session, customer_id, lock=True), "customer")
        for product_id in body.products:
            known(await product(session, product_id), "products", "product")
        columns = body.columns()
        _check_cap(await discount_rules(session), columns["rate"], columns["amount"], body.currency, caller)
        now = await database_now(session)
        if body.until is not None and body.until <= now:
            raise InvalidInput("until", "must be in the future")
        row_id = once.id("disc")
        others = [one for one in await customer_discounts(session, customer_id) if one.id != row_id]
        if sum(one.ended_at is None for one in others) >= DISCOUNTS_OF_CUSTOMER_MAX:
            raise Refused("too_many", f"A customer has at most {DISCOUNTS_OF_CUSTOMER_MAX} discounts at a time.")
        new = CustomerDiscount(
            id=row_id,
            customer_id=customer_id,
            until=body.until,
            reason=body.reason,
            actor=caller.name,
            created_at=now.replace(microsecond=0),
            **columns,
        )
        row = await add_once(session, new)
        view, discount = _view(row), discount_of(row)
        subscriptions = await living_of(session, customer_id)
    for subscription in subscriptions:
        command = AddDiscount(discount, view.currency)
        envelope = Envelope(derive("cmd", subscription, view.id), command, caller.name, body.reason)
        await services.commands.send_if_taken(subscription, envelope)
    return view


@router.get("/customers/{customer_id}/discounts")
async def list_customer_discounts(customer_id: CustomerId, services: ServicesDep) -> Listed[CustomerDiscountView]:
    """The discounts of one customer, newest first, those that have ended too."""
    async with services.database.session() as session:
        found(await customer(session, customer_id), "customer")
        return Listed(items=[_view(row) for row in await customer_discounts(session, customer_id)])


@router.delete("/customers/{customer_id}/discounts/{discount_id}", status_code=204)
async def end_customer_discount(
    customer_id: CustomerId, discount_id: DiscountId, services: ServicesDep, caller: CallerDep
) -> Response:
    """End a customer's discount: from the next invoice on, on every subscription."""
    async with services.database.session() as session:
        row = found(await customer_discount(session, customer_id, discount_id), "discount")
        if row.ended_at is None:
            row.ended_at, row.ended_by = await database_now(session), caller.name
        subscriptions = await living_of(session, customer_id)
    for subscription in subscriptions:
        envelope = Envelope(derive("cmd", subscription, discount_id, "end"), RemoveDiscount(discount_id), caller.name)
        await services.commands.send_if_taken(subscription, envelope)
    return Response(status_code=204)


@router.post("/subscriptions/{subscription_id}/discounts")
async def add_discount(
    subscription_id: SubscriptionId, body: DiscountBody, services: ServicesDep, once: OnceDep, caller: CallerDep
) -> SubscriptionDetail:
    """Redeem a coupon for a subscription: it reduces what is billed from now on."""
    state = await services.commands.state(subscription_id)
    wish = Wish(
        redemption_id=once.id("red"),
        customer_id=state.customer_id,
        subscription_id=subscription_id,
        currency=state.currency,
        product_id=state.terms.product_id,
        actor=caller.acting(body.actor),
        promotion_code=body.promotion_code,
        coupon_id=body.coupon_id,
    )
    async with services.database.session() as session:
        discount = await reserve(session, wish)
    envelope = Envelope(once.id("cmd"), AddDiscount(discount, state.currency), wish.actor, body.reason)
    try:
        after = await services.commands.send(subscription_id, envelope)
    except (Refused, InvalidInput, NotFound):
        await give_back(services.database, wish.redemption_id)
        raise
    await applied(services.database, wish.redemption_id)
    return await detail(services, subscription_id, after)


@router.delete("/subscriptions/{subscription_id}/discounts/{discount_id}")
async def remove_discount(
    subscription_id: SubscriptionId, discount_id: DiscountId, services: ServicesDep, caller: CallerDep
) -> SubscriptionDetail:
    """Take a discount back. What was billed with it stays; its redemption stays counted."""
    envelope = Envelope(derive("cmd", subscription_id, discount_id, "end"), RemoveDiscount(discount_id), caller.name)
    return await detail(services, subscription_id, await services.commands.send(subscription_id, envelope))


def _check_cap(rules: DiscountRules, rate: int, amount: int, currency: str | None, caller: Caller) -> None:
    """Raises `Forbidden` where it takes a lead."""
    if caller.role in _MAY_EXCEED:
        return
    most = Money(rules.agent_amounts.get(currency or "", 0), currency) if currency else None
    if rate > rules.agent_rate or (most is not None and amount > most.minor):
        cap = f"{percent_of(rules.agent_rate)} percent" if rate else str(most)
        said = tuple(role.value for role in Role if role in _MAY_EXCEED)
        raise Forbidden(f"above {cap} a discount is for the roles {', '.join(said)}", roles=said)


def _view(row: CustomerDiscount) -> CustomerDiscountView:
    shown = {name: getattr(row, name) for name in CustomerDiscountView.model_fields if name != "percent"}
    return CustomerDiscountView(**shown | size_of(row))
