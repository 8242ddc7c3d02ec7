"""How an order is shown: its row in lists, and everything of it in one answer, by a bounded number of statements."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pydantic import BaseModel, Field
from sqlalchemy.ext.asyncio import AsyncSession

from api.charges import ChargeView, charge_views
from api.custom_fields import CustomValueView, item_of
from api.customers import CustomerView
from api.fields import Instant, View
from api.fulfilments import FulfilmentView
from api.invoices import InvoiceView, LineView, line_view
from api.messages import MessageView
from api.payment_methods import MethodView
from api.refunds import RefundView, refund_view
from api.rows import found
from api.subscription_views import SubscriptionView
from domain.explain import sentence
from models import Attempt, Invoice, Order, OrderEvent
from models.queries_customers import customer, methods
from models.queries_orders import (
    order,
    order_charges,
    order_events,
    order_fulfilments,
    order_invoice_lines,
    order_invoices,
    order_lines,
    order_messages,
    order_refunds,
    order_subscriptions,
    order_values,
)


class OrderView(View):
    """An order as lists show it. `total` is what is due when it is placed, in minor units; `revision` counts edits.

    Status: draft, open (placed, not paid), paying (a charge is under way), authorised (set aside, not taken), releasing
    (that is being given back), paid, canceling, canceled, lapsed.
    """

    id: str
    number: str
    external_id: str | None
    customer_id: str
    basket_id: str | None
    channel: str
    funnel: str
    page: str
    agent: str
    status: str
    currency: str
    total: int
    revision: int
    invoice_id: str | None
    attention: str | None
    test_mode: bool
    created_at: Instant
    placed_at: Instant | None
    paid_at: Instant | None
    ended_at: Instant | None


class OrderLineView(View):
    """One line: quantity times unit amount is amount, always. `due_now`: what of it is due when the order is placed.

    `list_amount` is the catalogue's unit amount, null for what is not in it.
    """

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
    subscription_id: str | None


class OrderInvoiceView(InvoiceView):
    """The order's invoice with its lines."""

    lines: list[LineView]


class OrderEventView(BaseModel):
    """One line of the order's timeline."""

    seq: int
    at: Instant
    kind: str
    text: str
    actor: str
    reason: str
    data: dict[str, Any]


class PaymentView(BaseModel):
    """Where its payment stands. `code` and `message` are the last decline's; `methods`, what else it can be paid with.

    State: none, under_way, action_required (at `action_url`), authorised (until `authorised_until`: then it is given
    back), releasing, declined, paid. `link`: ask there for a link by which the customer pays.
    """

    state: str
    authorised_until: Instant | None
    code: str | None
    message: str
    action_url: str | None
    methods: list[MethodView]
    link: str | None


class OrderSummary(OrderView):
    """Everything of an order."""

    customer: CustomerView
    lines: list[OrderLineView]
    payment: PaymentView
    invoice: OrderInvoiceView | None
    voided_invoices: list[InvoiceView] = Field(description="Of earlier revisions, after a decline")
    charges: list[ChargeView] = Field(description="Newest first")
    refunds: list[RefundView] = Field(description="Newest first")
    subscriptions: list[SubscriptionView]
    fulfilments: list[FulfilmentView] = Field(description="What its payment sends, first cycles of subscriptions too")
    messages: list[MessageView] = Field(description="Newest first")
    custom_fields: list[CustomValueView]
    events: list[OrderEventView]
    allowed: list[str] = Field(description="Commands it would take now, as named in their routes")


async def summary(session: AsyncSession, order_id: str) -> OrderSummary:
    """The order with all that belongs to it. Raises `NotFound`."""
    row: Order = found(await order(session, order_id), "order")
    buyer = found(await customer(session, row.customer_id), "customer")
    invoices = await order_invoices(session, order_id)
    current = next((each for each in invoices if each.id == row.invoice_id), None)
    charges = await order_charges(session, order_id)
    shown = await charge_views(session, charges)
    events = await order_events(session, order_id)
    ways = [MethodView.model_validate(each) for each in await methods(session, buyer.payer_id)]
    return OrderSummary(
        **OrderView.model_validate(row).model_dump(),
        customer=CustomerView.model_validate(buyer),
        lines=[OrderLineView.model_validate(each) for each in await order_lines(session, order_id)],
        payment=_payment(row, current, charges, ways),
        invoice=None if current is None else await _invoice(session, current),
        voided_invoices=[InvoiceView.model_validate(each) for each in invoices if each is not current],
        charges=shown,
        refunds=[refund_view(each) for each in await order_refunds(session, order_id)],
        subscriptions=[SubscriptionView.model_validate(each) for each in await order_subscriptions(session, order_id)],
        fulfilments=[FulfilmentView.model_validate(each) for each in await order_fulfilments(session, order_id)],
        messages=[MessageView.model_validate(each) for each in await order_messages(session, buyer.id, order_id)],
        custom_fields=[
            item_of(own, None if value is None else value.value) for own, value in await order_values(session, order_id)
        ],
        events=[_event(each) for each in events],
        allowed=_allowed(row, charges, shown),
    )


async def _invoice(session: AsyncSession, row: Invoice) -> OrderInvoiceView:
    lines = await order_invoice_lines(session, row.id)
    return OrderInvoiceView(**InvoiceView.model_validate(row).model_dump(), lines=[line_view(each) for each in lines])


def _event(row: OrderEvent) -> OrderEventView:
    return OrderEventView(
        seq=row.seq,
        at=row.at,
        kind=row.kind,
        text=sentence(row.kind, row.data),
        actor=row.actor,
        reason=row.reason,
        data=row.data,
    )


def _payment(row: Order, owed: Invoice | None, charges: Sequence[Attempt], ways: list[MethodView]) -> PaymentView:
    last = next((each for each in charges if owed is not None and each.invoice_id == owed.id), None)
    payable = row.status in {"draft", "open"}
    view = PaymentView(
        state="none",
        authorised_until=None,
        code=None,
        message="",
        action_url=None,
        methods=ways if payable else [],
        link=f"/v1/invoices/{owed.id}/payment-link" if owed is not None and owed.status == "open" else None,
    )
    if row.paid_at is not None:
        return view.model_copy(update={"state": "paid"})
    if row.status == "paying":
        if last is not None and last.status == "action_required":
            return view.model_copy(update={"state": "action_required", "action_url": last.action_url})
        return view.model_copy(update={"state": "under_way"})
    if row.status in {"authorised", "releasing"}:
        until = None if last is None else last.held_until
        return view.model_copy(update={"state": row.status, "authorised_until": until, "link": None})
    if last is not None and last.status == "declined":
        return view.model_copy(update={"state": "declined", "code": last.code, "message": last.message})
    return view


def _allowed(  # noqa: PLR0911 - one for each case
    row: Order, charges: Sequence[Attempt], shown: Sequence[ChargeView]
) -> list[str]:
    """What it would take now, as far as the books say, so also when Temporal is away."""
    match row.status:
        case "draft":
            return ["lines", "place", "pay", "cancel"]
        case "open":
            return ["lines", "pay", "cancel"]
        case "paying":
            # A charge or a capture that surely was not taken, as the gateway is down.
            return ["cancel"] if charges and charges[0].status in {"parked", "authorised"} else []
        case "authorised":
            return ["capture", "release", "cancel"]
        case "paid":
            return ["cancel", "give-back"] if any(each.refundable for each in shown) else ["cancel"]
        case "canceled":
            return ["give-back"] if any(each.refundable for each in shown) else []
        case _:
            return []
