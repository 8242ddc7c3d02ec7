"""Orders: taken, edited, placed, paid, cancelled; each answer is the whole order."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from fastapi import Path, Query
from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy.ext.asyncio import AsyncSession

from api.blacklist import refuse_blacklisted, refuse_blacklisted_payment
from api.context import CallerDep, OnceDep, Services, ServicesDep
from api.coupons import Word
from api.custom_fields import Values
from api.customers import CustomerNew, new_customer
from api.fields import Body, Code, Currency, ExternalId, Identifier, Line, Minor, Name, Reason, Token, View
from api.idempotency import Once
from api.keys import Caller
from api.order_bodies import Lines, Source, lines_of
from api.order_discounts import Code as GivenCode
from api.order_discounts import with_code, with_own_discounts
from api.order_fields import check_values, write_values
from api.order_views import OrderSummary, OrderView, summary
from api.paging import Listed, PageQuery, listed
from api.payment_methods import add_method
from api.redeeming import applied, give_back
from api.routing import noun
from api.rows import found, known
from domain.errors import InvalidInput, Refused
from domain.fulfilment import Fulfilment, Status, Withdrawal
from domain.ids import derive
from domain.order_cancel import Sale, Sent, effects
from domain.order_messages import CancelOrder, OpenOrder, OrderCommand, OrderEnvelope, Pay, Place, SetLines
from domain.order_state import Channel, OrderStatus
from models import Customer, Order
from models.queries_customers import customer
from models.queries_disputes import disputes
from models.queries_orders import (
    ORDERS,
    OrderFilter,
    order,
    order_charges,
    order_fulfilments,
    order_hold,
    order_invoices,
    order_subscriptions,
    orders,
)
from models.queries_refunds import refundable
from models.queries_tax import tax_terms

router = noun("orders")
OrderId = Annotated[Identifier, Path(description="Id of the order")]
ChannelName = Literal["phone", "api", "customer"]
StatusName = Literal[
    "draft", "open", "paying", "authorised", "releasing", "paid", "canceling", "canceled", "lapsed"
]  # fmt: skip


class PayBody(Body):
    """With what: a method of the customer's, a new token from the gateway's form, or neither: their order of use.

    `total`: what the payer was shown; where the order comes to something else by now, nothing is charged. `capture`:
    `later` only sets the money aside, for `POST /v1/orders/{id}/capture` when the goods are sent.
    """

    model_config = ConfigDict(json_schema_extra={"examples": [{"payment_method_id": "pm_aaaaaaaaaaaaaaaaaaaaaaaa"}]})

    capture: Literal["now", "later"] = "now"
    payment_method_id: Identifier | None = None
    token: Token | None = None
    gateway: Code | None = None
    total: Minor | None = None
    reason: Reason = ""
    actor: Name | None = None


class OrderNew(Source):
    """An order to be, of a customer or a new one that is made with it. Without `pay` and `place` it is a draft."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "customer": {"email": "ada@example.com", "currency": "EUR", "time_zone": "Europe/Berlin"},
                    "channel": "phone",
                    "funnel": "autumn call list",
                    "lines": [{"description": "Engraving", "unit_amount": 1500}],
                }
            ]
        }
    )

    customer_id: Identifier | None = None
    customer: CustomerNew | None = None
    currency: Currency | None = Field(default=None, description="The customer's unless said")
    channel: ChannelName = "api"
    external_id: ExternalId | None = None
    lines: Lines
    promotion_code: Word | None = Field(default=None, description="For the first subscription that it is good for")
    custom_fields: Values = Field(default_factory=dict)
    test_mode: bool = False
    place: bool = Field(default=False, description="Issue the invoice; the customer pays later, by a link")
    pay: PayBody | None = Field(default=None, description="Place it and charge it at once")
    actor: Name | None = Field(default=None, description="Who takes it, where the API key acts for somebody")


class LinesBody(Body):
    """All lines as they are to be. `revision`: the one that was looked at."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"lines": [{"description": "Engraving", "unit_amount": 1200}], "revision": 1}]}
    )

    lines: Lines
    revision: Annotated[int, Field(ge=1)] | None = None
    reason: Reason = ""
    actor: Name | None = None


class OrderRemark(Body):
    """Why, and who, where the API key acts for somebody."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"reason": "pays by the link"}]})

    reason: Reason = ""
    actor: Name | None = None


class CancelBody(Body):
    """What a cancellation of a paid order does: `give_back` its money, `end_subscriptions` that it started."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"reason": "ordered twice"}]})

    give_back: bool = True
    end_subscriptions: bool = True
    reason: Reason = ""


class EffectView(View):
    """One thing that a cancellation does, on payment, invoice, subscription or fulfilment."""

    on: str
    id: str | None
    effect: str
    text: str
    amount: int | None


class CancelPreview(BaseModel):
    """What a cancellation would do now; `refusal` says why it would not be taken."""

    order_id: str
    currency: str
    effects: list[EffectView]
    refusal: str | None


class OrderQuery(PageQuery):
    """Which orders; all that is given must fit."""

    customer_id: Identifier | None = None
    status: StatusName | None = None
    channel: ChannelName | None = None
    agent: Name | None = None
    funnel: Line | None = None
    page: Line | None = None
    number: Code | None = None
    external_id: ExternalId | None = None
    test_mode: bool | None = None


@router.post("/orders", status_code=201)
async def create_order(body: OrderNew, services: ServicesDep, once: OnceDep, caller: CallerDep) -> OrderSummary:
    """Take an order; with `pay` it is charged at once. The answer is the order, also where the charge was declined."""
    order_id = derive("ord", "external", body.external_id) if body.external_id else once.id("ord")
    actor = caller.acting(body.actor)
    async with services.database.session() as session:
        if body.custom_fields:
            await check_values(session, body.custom_fields)
        buyer = await _buyer(session, body, once)
        before = await order(session, order_id)
        if before is None:  # else an earlier try has taken it
            await refuse_blacklisted(session, buyer)
        currency = body.currency or buyer.currency
        lines = await lines_of(session, body.lines, currency, caller)
        lines = await with_own_discounts(session, lines, buyer.id, currency)
        if body.promotion_code is not None:
            given = GivenCode(body.promotion_code, once.id("red"), order_id, buyer.id, currency, actor)
            lines = await with_code(session, lines, given)
        wanted = OpenOrder(
            id=order_id,
            customer_id=buyer.id,
            zone=buyer.time_zone,
            currency=currency,
            channel=Channel(body.channel),
            agent=actor,
            lines=lines,
            test_mode=body.test_mode,
            external_id=body.external_id,
            funnel=body.funnel,
            page=body.page,
            notice_days=buyer.notice_days,
            request_id=once.id("cmd"),
            tax=await tax_terms(session, buyer.id),
        )
    try:
        state = await services.commands.orders.open(wanted)
    except (Refused, InvalidInput):
        await give_back(services.database, once.id("red"))
        raise
    taken = once.id("cmd") in state.recent_commands
    await (applied if taken else give_back)(services.database, once.id("red"))
    if body.external_id is not None and not taken:
        raise Refused("already_exists", "This external_id is taken by another order.")
    if body.custom_fields:
        async with services.database.session() as session:
            await write_values(session, order_id, body.custom_fields)
    if body.pay is not None:
        await _pay(services, order_id, buyer.id, body.pay, once, caller)
    elif body.place:
        await _send(services, order_id, once, Place(), actor, "")
    return await _summary(services, order_id)


@router.get("/orders")
async def list_orders(services: ServicesDep, query: Annotated[OrderQuery, Query()]) -> Listed[OrderView]:
    """List orders, newest first."""
    wanted = OrderFilter(**query.model_dump(exclude={"limit", "cursor"}))
    async with services.database.session() as session:
        rows = await orders(session, wanted, after=query.after(ORDERS), limit=query.limit)
        return listed(rows, ORDERS, OrderView.model_validate)


@router.get("/orders/{order_id}")
async def get_order(order_id: OrderId, services: ServicesDep) -> OrderSummary:
    """Everything of one order in one request: lines, invoice, charges, subscriptions, messages, what is allowed now."""
    return await _summary(services, order_id)


@router.post("/orders/{order_id}/lines")
async def change_order_lines(
    order_id: OrderId, body: LinesBody, services: ServicesDep, once: OnceDep, caller: CallerDep
) -> OrderSummary:
    """Other lines in place of those there are, before it is paid. An invoice that was issued for it becomes void."""
    async with services.database.session() as session:
        row = found(await order(session, order_id), "order")
        lines = await lines_of(session, body.lines, row.currency, caller)
        lines = await with_own_discounts(session, lines, row.customer_id, row.currency)
    command = SetLines(lines, body.revision)
    return await _send(services, order_id, once, command, caller.acting(body.actor), body.reason)


@router.post("/orders/{order_id}/place")
async def place_order(
    order_id: OrderId, services: ServicesDep, once: OnceDep, caller: CallerDep, body: OrderRemark | None = None
) -> OrderSummary:
    """Issue its invoice without charging it: the customer pays later, by a link or another call."""
    row = await _known(services, order_id)
    async with services.database.session() as session:
        await refuse_blacklisted_payment(session, row.customer_id, None)
    asked = body or OrderRemark()
    return await _send(services, order_id, once, Place(), caller.acting(asked.actor), asked.reason)


@router.post("/orders/{order_id}/pay")
async def pay_order(
    order_id: OrderId, services: ServicesDep, once: OnceDep, caller: CallerDep, body: PayBody | None = None
) -> OrderSummary:
    """Charge what is due now. The answer is the order: paid, or open with the decline and the customer's methods."""
    row = await _known(services, order_id)
    await _pay(services, order_id, row.customer_id, body or PayBody(), once, caller)
    return await _summary(services, order_id)


@router.post("/orders/{order_id}/cancel/preview")
async def preview_order_cancel(
    order_id: OrderId, services: ServicesDep, body: CancelBody | None = None
) -> CancelPreview:
    """What a cancellation would do now: to payment, subscriptions and what is sent. Nothing is changed."""
    async with services.database.session() as session:
        return await _preview(session, order_id, body or CancelBody())


@router.post("/orders/{order_id}/cancel")
async def cancel_order(
    order_id: OrderId, services: ServicesDep, once: OnceDep, caller: CallerDep, body: CancelBody | None = None
) -> OrderSummary:
    """Cancel it: what it started ends, its money goes back by a void, or a refund where settlement was faster.

    What is only authorised is released first.
    """
    asked = body or CancelBody()
    await _known(services, order_id)
    command = CancelOrder(asked.give_back, asked.end_subscriptions)
    # Always the caller's own name: who asks for a refund must not be able to approve it under another.
    return await _send(services, order_id, once, command, caller.name, asked.reason)


async def _buyer(session: AsyncSession, body: OrderNew, once: Once) -> Customer:
    if (body.customer_id is None) == (body.customer is None):
        raise InvalidInput("customer_id", "send the customer_id of a known customer, or customer for a new one")
    if body.customer is not None:
        return await new_customer(session, once.id("cus"), body.customer)
    return known(await customer(session, body.customer_id or ""), "customer_id", "customer")


async def _pay(services: Services, order_id: str, customer_id: str, body: PayBody, once: Once, caller: Caller) -> None:
    method_id = body.payment_method_id
    if body.token is not None:
        if method_id is not None:
            raise InvalidInput("token", "send a token or a payment_method_id, not both")
        method_id = await _brought(services, customer_id, once, body.token, body.gateway)
    async with services.database.session() as session:
        await refuse_blacklisted_payment(session, customer_id, method_id)
    command = Pay(method_id, body.total, hold=body.capture == "later")
    command_id = derive("cmd", once.id("cmd"), "pay")
    await _send_only(services, order_id, command_id, command, caller.acting(body.actor), body.reason)


async def _brought(services: Services, customer_id: str, once: Once, token: str, gateway: str | None) -> str:
    """The id of the method of this token: a new one, or the customer's own."""
    return (await add_method(services, customer_id, once.id("pm"), token, gateway, reuse=True)).id


async def _send(
    services: Services, order_id: str, once: Once, command: OrderCommand, actor: str, reason: str
) -> OrderSummary:
    await _send_only(services, order_id, derive("cmd", once.id("cmd"), command.kind), command, actor, reason)
    return await _summary(services, order_id)


async def _send_only(
    services: Services, order_id: str, command_id: str, command: OrderCommand, actor: str, reason: str
) -> None:
    await services.commands.orders.send(order_id, OrderEnvelope(command_id, command, actor, reason))


async def _known(services: Services, order_id: str) -> Order:
    async with services.database.session() as session:
        return found(await order(session, order_id), "order")


async def _summary(services: Services, order_id: str) -> OrderSummary:
    async with services.database.session() as session:
        return await summary(session, order_id)


async def _preview(session: AsyncSession, order_id: str, asked: CancelBody) -> CancelPreview:
    row: Order = found(await order(session, order_id), "order")
    invoices = await order_invoices(session, order_id)
    owed = next(((each.id, each.amount_due) for each in invoices if each.status == "open"), None)
    held = await order_hold(session, order_id)
    told = effects(
        status=OrderStatus(row.status),
        currency=row.currency,
        open_invoice=owed,
        held=(held.id, held.amount) if held is not None and held.status == "authorised" else None,
        sale=await _sale(session, order_id),
        subscriptions=[(each.id, each.status) for each in await order_subscriptions(session, order_id)],
        fulfilments=await _sent(session, order_id),
        give_back=asked.give_back,
        end_subscriptions=asked.end_subscriptions,
    )
    over = row.status in {"releasing", "canceling", "canceled", "lapsed"}
    return CancelPreview(
        order_id=order_id,
        currency=row.currency,
        effects=[] if over else [EffectView.model_validate(each) for each in told],
        refusal=f"This order is {row.status}." if over else None,
    )


async def _sent(session: AsyncSession, order_id: str) -> list[Sent]:
    return [
        Sent(each.id, Fulfilment(Status(each.status), Withdrawal(each.withdrawal)), each.subscription_id is not None)
        for each in await order_fulfilments(session, order_id)
    ]


async def _sale(session: AsyncSession, order_id: str) -> Sale | None:
    paid = next((each for each in await order_charges(session, order_id) if each.status == "approved"), None)
    if paid is None:
        return None
    left = await refundable(session, [paid.id])
    against: Any = await disputes(
        session, customer_id=None, status=None, charge_id=paid.id, test_mode=None, after=None, limit=10
    )
    disputed = next((each.status for each in against.rows if each.status != "won"), None)
    return Sale(paid.settlement, left.get(paid.id, 0), disputed)
