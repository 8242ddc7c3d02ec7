"""One page, whole customer: what is on it, how much of each, and where it goes on."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, Generic, TypeVar
from urllib.parse import urlencode

from pydantic import BaseModel, Field
from sqlalchemy.ext.asyncio import AsyncSession

from api.addresses import AddressView
from api.charges import ChargeView, charge_views
from api.context import ServicesDep
from api.credit_notes import CreditNoteView
from api.customers import ChangeView, CustomerId, CustomerView
from api.disputes import DisputeView
from api.fields import Instant, View
from api.fulfilments import FulfilmentView
from api.invoices import InvoiceView
from api.logs import ActivityView
from api.messages import MessageView
from api.order_views import OrderView
from api.paging import cursor_of
from api.payment_methods import MethodView
from api.refunds import RefundView, refund_view
from api.routing import noun
from api.rows import found
from api.subscription_views import SubscriptionView
from api.tasks import TaskView
from api.vouchers import VoucherView, voucher_view
from models import queries_overview as own
from models.paging import Keyset, Page
from models.queries_billing import CHARGES, INVOICES, MESSAGES, BillingFilter, charges, invoices, messages
from models.queries_credits import CREDIT_NOTES, VOUCHERS, balances, credit_notes, vouchers
from models.queries_customers import CHANGES, changes, customer
from models.queries_disputes import DISPUTES, disputes
from models.queries_fulfilment import FULFILMENTS, FulfilmentFilter, fulfilments
from models.queries_logs import ACTIVITY, LogFilter, activity
from models.queries_orders import ORDERS, OrderFilter, orders
from models.queries_refunds import REFUNDS, RefundFilter, refunds
from models.queries_subscriptions import SUBSCRIPTIONS, Wanted, subscriptions
from models.queries_tasks import TASKS, TaskFilter, tasks
from models.queries_value import worth

SHOWN_MAX: Final = 10  # of each kind
OPEN: Final = "open"  # of an invoice or a task

router = noun("customers")
Shown = TypeVar("Shown")
Row = TypeVar("Row")


class Part(BaseModel, Generic[Shown]):
    """The first rows of one kind. `next` is the address of the rest; null where this is all."""

    items: list[Shown]
    next: str | None = Field(description="Go on here: the list this is the beginning of, with its cursor")


class NoteLine(View):
    """A note as it stands."""

    id: str
    visibility: str
    text: str
    author: str
    created_at: Instant
    edited_at: Instant | None


class ReviewLine(View):
    """What the customer said of a product."""

    id: str
    product_id: str
    rating: int
    text: str
    status: str
    created_at: Instant


class WorthView(View):
    """In minor units of one currency; test-mode money has books of its own.

    `value` is `paid` less `refunded` less `charged_back`; `credit` is on account, `owed` on open invoices.
    """

    currency: str
    test_mode: bool
    paid: int
    refunded: int
    charged_back: int
    value: int
    credit: int
    owed: int


class LifetimeValue(BaseModel):
    """What a customer was worth so far, from the ledger: by themselves, and with their children."""

    customer_id: str
    own: list[WorthView]
    with_children: list[WorthView]


class Overview(BaseModel):
    """A customer with all that belongs to them. Parts are cut to ten rows, newest first unless said otherwise."""

    customer: CustomerView
    addresses: Part[AddressView] = Field(description="Oldest first")
    payment_methods: Part[MethodView] = Field(description="In their order of use")
    subscriptions: Part[SubscriptionView]
    orders: Part[OrderView]
    charges: Part[ChargeView] = Field(description="Payment history, with what was paid for children")
    pending_charges: Part[ChargeView] = Field(description="Outcome not known yet, or not settled")
    refunds: Part[RefundView]
    disputes: Part[DisputeView]
    invoices_due: Part[InvoiceView]
    fulfilments: Part[FulfilmentView]
    credit_notes: Part[CreditNoteView]
    vouchers: Part[VoucherView]
    children: Part[CustomerView]
    notes: Part[NoteLine]
    tasks: Part[TaskView] = Field(description="The open ones")
    messages: Part[MessageView]
    reviews: Part[ReviewLine]
    points: int = Field(description="Loyalty points")
    activity: Part[ActivityView] = Field(description="The commands that were given")
    changes: Part[ChangeView] = Field(description="What changed in the customer's details")
    lifetime_value: LifetimeValue


@router.get("/customers/{customer_id}/overview")
async def read_overview(customer_id: CustomerId, services: ServicesDep) -> Overview:
    """Everything of one customer in one request; how much it reads does not grow with their history."""
    async with services.database.session() as session:
        row = found(await customer(session, customer_id), "customer")
        return Overview(
            customer=CustomerView.model_validate(row),
            **await _person(session, customer_id),
            **await _payments(session, customer_id),
            **await _billing(session, customer_id),
            **await _work(session, customer_id),
            points=await own.points(session, customer_id),
            lifetime_value=await _value(session, customer_id),
        )


@router.get("/customers/{customer_id}/lifetime-value")
async def read_lifetime_value(customer_id: CustomerId, services: ServicesDep) -> LifetimeValue:
    """Paid less refunded, by currency, from the ledger; without and with the customer's children."""
    async with services.database.session() as session:
        found(await customer(session, customer_id), "customer")
        return await _value(session, customer_id)


async def _value(session: AsyncSession, customer_id: str) -> LifetimeValue:
    alone, together = await worth(session, customer_id)
    return LifetimeValue(
        customer_id=customer_id,
        own=[WorthView.model_validate(each) for each in alone],
        with_children=[WorthView.model_validate(each) for each in together],
    )


async def _person(session: AsyncSession, customer_id: str) -> dict[str, Any]:
    at = f"/v1/customers/{customer_id}"
    addresses = await own.addresses(session, customer_id, SHOWN_MAX)
    methods = await own.methods(session, customer_id, SHOWN_MAX)
    children = await own.children(session, customer_id, SHOWN_MAX)
    reviews = await own.reviews(session, customer_id, SHOWN_MAX)
    lasting = await changes(session, customer_id, after=None, limit=SHOWN_MAX)
    return {
        "addresses": _part(addresses, None, AddressView.model_validate, f"{at}/addresses"),
        "payment_methods": _part(methods, None, MethodView.model_validate, f"{at}/payment-methods"),
        "children": _part(children, own.CHILDREN, CustomerView.model_validate, f"{at}/children"),
        "reviews": _part(reviews, own.REVIEWS, ReviewLine.model_validate, f"/v1/reviews?customer_id={customer_id}"),
        "changes": _part(lasting, CHANGES, ChangeView.model_validate, f"{at}/changes"),
    }


async def _payments(session: AsyncSession, customer_id: str) -> dict[str, Any]:
    of = f"customer_id={customer_id}"
    mine = BillingFilter(customer_id)
    paid, pending = [
        await charges(session, mine, gateway=None, pending=which, since=None, until=None, after=None, limit=SHOWN_MAX)
        for which in (None, True)
    ]
    views = {view.id: view for view in await charge_views(session, [*paid.rows, *pending.rows])}
    back = await refunds(session, RefundFilter(customer_id=customer_id), after=None, limit=SHOWN_MAX)
    disputed = await disputes(
        session, customer_id=customer_id, status=None, charge_id=None, test_mode=None, after=None, limit=SHOWN_MAX
    )
    return {
        "charges": _part(paid, CHARGES, lambda row: views[row.id], f"/v1/charges?{of}"),
        "pending_charges": _part(pending, CHARGES, lambda row: views[row.id], f"/v1/charges?{of}&pending=true"),
        "refunds": _part(back, REFUNDS, refund_view, f"/v1/refunds?{of}"),
        "disputes": _part(disputed, DISPUTES, DisputeView.model_validate, f"/v1/disputes?{of}"),
    }


async def _billing(session: AsyncSession, customer_id: str) -> dict[str, Any]:
    of = f"customer_id={customer_id}"
    subscribed = await subscriptions(session, Wanted(customer_id=customer_id), after=None, limit=SHOWN_MAX)
    sold = await orders(session, OrderFilter(customer_id=customer_id), after=None, limit=SHOWN_MAX)
    due = await invoices(session, BillingFilter(customer_id, status=OPEN), after=None, limit=SHOWN_MAX)
    noted = await credit_notes(
        session, customer_id=customer_id, invoice_id=None, disposition=None, test_mode=None, after=None, limit=SHOWN_MAX
    )
    sent = await fulfilments(session, FulfilmentFilter(customer_id=customer_id), after=None, limit=SHOWN_MAX)
    given = await vouchers(session, customer_id=customer_id, test_mode=None, after=None, limit=SHOWN_MAX)
    left = await balances(session, [each.id for each in given.rows])
    return {
        "subscriptions": _part(subscribed, SUBSCRIPTIONS, SubscriptionView.model_validate, f"/v1/subscriptions?{of}"),
        "orders": _part(sold, ORDERS, OrderView.model_validate, f"/v1/orders?{of}"),
        "invoices_due": _part(due, INVOICES, InvoiceView.model_validate, f"/v1/invoices?{of}&status={OPEN}"),
        "fulfilments": _part(sent, FULFILMENTS, FulfilmentView.model_validate, f"/v1/fulfilments?{of}"),
        "credit_notes": _part(noted, CREDIT_NOTES, CreditNoteView.model_validate, f"/v1/credit-notes?{of}"),
        "vouchers": _part(given, VOUCHERS, lambda each: voucher_view(each, left[each.id]), f"/v1/vouchers?{of}"),
    }


async def _work(session: AsyncSession, customer_id: str) -> dict[str, Any]:
    of = f"customer_id={customer_id}"
    notes = await own.notes(session, customer_id, SHOWN_MAX)
    todo = await tasks(session, TaskFilter(OPEN, customer_id=customer_id), after=None, limit=SHOWN_MAX)
    mine = BillingFilter(customer_id)
    told = await messages(session, mine, template=None, refund_id=None, audience=None, after=None, limit=SHOWN_MAX)
    given = await activity(session, LogFilter(customer_id=customer_id), status=None, after=None, limit=SHOWN_MAX)
    return {
        "notes": _part(notes, own.NOTES, NoteLine.model_validate, f"/v1/customers/{customer_id}/notes"),
        "tasks": _part(todo, TASKS, TaskView.model_validate, f"/v1/tasks?{of}&status={OPEN}"),
        "messages": _part(told, MESSAGES, MessageView.model_validate, f"/v1/messages?{of}"),
        "activity": _part(given, ACTIVITY, ActivityView.model_validate, f"/v1/logs/activity?{of}"),
    }


def _part(rows: Page[Row], keyset: Keyset | None, show: Callable[[Row], Shown], path: str) -> Part[Shown]:
    """The rows, and where the list of them goes on; a list without pages (`keyset` is None) has all of it there."""
    items = [show(row) for row in rows.rows]
    if rows.next is None:
        return Part(items=items, next=None)
    if keyset is None:
        return Part(items=items, next=path)
    cursor = urlencode({"cursor": cursor_of(keyset, rows.next)})
    return Part(items=items, next=f"{path}{'&' if '?' in path else '?'}{cursor}")
