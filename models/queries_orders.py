"""Reads of orders and baskets: lists, one order with all that belongs to it, values of custom fields."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from sqlalchemy import and_, or_, select
from sqlalchemy.ext.asyncio import AsyncSession

from models.billing import Attempt, Invoice, InvoiceLine, Message, Subscription
from models.fulfilment import Fulfilment
from models.orders import Basket, Order, OrderCustomValue, OrderEvent, OrderLine
from models.paging import KeyPart, Keyset, Page, page
from models.refunds import Refund
from models.search import CustomField

ORDERS: Final = Keyset("orders", (Order.created_at, Order.id))
BASKETS: Final = Keyset("baskets", (Basket.created_at, Basket.id))
SHOWN_MAX: Final = 100  # of each kind in an order's summary


@dataclass(frozen=True, slots=True)
class OrderFilter:
    """Which orders; None does not ask."""

    customer_id: str | None = None
    status: str | None = None
    channel: str | None = None
    agent: str | None = None
    funnel: str | None = None
    page: str | None = None
    number: str | None = None
    external_id: str | None = None
    test_mode: bool | None = None


async def order(session: AsyncSession, order_id: str) -> Order | None:
    return await session.get(Order, order_id)


async def orders(
    session: AsyncSession, wanted: OrderFilter, *, after: tuple[KeyPart, ...] | None, limit: int
) -> Page[Order]:
    statement = select(Order)
    for name in OrderFilter.__slots__:
        value = getattr(wanted, name)
        if value is not None:
            statement = statement.where(getattr(Order, name) == value)
    return await page(session, statement, ORDERS, after=after, limit=limit)


async def order_lines(session: AsyncSession, order_id: str) -> Sequence[OrderLine]:
    statement = select(OrderLine).where(OrderLine.order_id == order_id).order_by(OrderLine.position)
    return (await session.scalars(statement)).all()


async def order_events(session: AsyncSession, order_id: str) -> Sequence[OrderEvent]:
    """The latest lines of the timeline, oldest first."""
    statement = select(OrderEvent).where(OrderEvent.order_id == order_id).order_by(OrderEvent.seq.desc())
    return list(reversed((await session.scalars(statement.limit(SHOWN_MAX))).all()))


async def order_invoices(session: AsyncSession, order_id: str) -> Sequence[Invoice]:
    """All of the order's invoices, the last one first; those before it are void."""
    statement = select(Invoice).where(Invoice.order_id == order_id).order_by(Invoice.sequence.desc())
    return (await session.scalars(statement.limit(SHOWN_MAX))).all()


async def order_invoice_lines(session: AsyncSession, invoice_id: str) -> Sequence[InvoiceLine]:
    statement = select(InvoiceLine).where(InvoiceLine.invoice_id == invoice_id).order_by(InvoiceLine.position)
    return (await session.scalars(statement)).all()


async def order_charges(session: AsyncSession, order_id: str) -> Sequence[Attempt]:
    """Newest first, read through its invoices, which have an index by order."""
    own = select(Invoice.id).where(Invoice.order_id == order_id)
    statement = select(Attempt).where(Attempt.invoice_id.in_(own)).order_by(Attempt.at.desc(), Attempt.number.desc())
    return (await session.scalars(statement.limit(SHOWN_MAX))).all()


async def order_hold(session: AsyncSession, order_id: str) -> Attempt | None:
    """The charge whose money is set aside for it, and not taken or given back yet."""
    own = select(Invoice.id).where(Invoice.order_id == order_id, Invoice.status == "open")
    held = Attempt.status.in_(("authorised", "capturing", "releasing"))
    return (await session.scalars(select(Attempt).where(Attempt.invoice_id.in_(own), held).limit(1))).one_or_none()


async def order_refunds(session: AsyncSession, order_id: str) -> Sequence[Refund]:
    own = select(Invoice.id).where(Invoice.order_id == order_id)
    statement = select(Refund).where(Refund.invoice_id.in_(own)).order_by(Refund.requested_at.desc(), Refund.id)
    return (await session.scalars(statement.limit(SHOWN_MAX))).all()


async def order_fulfilments(session: AsyncSession, order_id: str) -> Sequence[Fulfilment]:
    """What its payment sends: its own lines and the first cycles it has paid, and what was sent in their place."""
    own = select(Invoice.id).where(Invoice.order_id == order_id)
    statement = select(Fulfilment).where(Fulfilment.invoice_id.in_(own)).order_by(Fulfilment.at, Fulfilment.id)
    return (await session.scalars(statement.limit(SHOWN_MAX))).all()


async def order_messages(session: AsyncSession, customer_id: str, order_id: str) -> Sequence[Message]:
    statement = (
        select(Message)
        .where(Message.customer_id == customer_id, Message.order_id == order_id)
        .order_by(Message.at.desc(), Message.id)
    )
    return (await session.scalars(statement.limit(SHOWN_MAX))).all()


async def order_subscriptions(session: AsyncSession, order_id: str) -> Sequence[Subscription]:
    """In the order of the lines that started them."""
    statement = (
        select(Subscription)
        .join(OrderLine, OrderLine.subscription_id == Subscription.id)
        .where(OrderLine.order_id == order_id)
        .order_by(OrderLine.position)
    )
    return (await session.scalars(statement)).all()


async def order_values(session: AsyncSession, order_id: str) -> Sequence[tuple[CustomField, OrderCustomValue | None]]:
    """Every field of orders with this one's value; of archived fields only those with a value."""
    own = and_(OrderCustomValue.field_id == CustomField.id, OrderCustomValue.order_id == order_id)
    statement = (
        select(CustomField, OrderCustomValue)
        .outerjoin(OrderCustomValue, own)
        .where(
            CustomField.subject == "order",
            or_(CustomField.archived_at.is_(None), OrderCustomValue.order_id.is_not(None)),
        )
        .order_by(CustomField.created_at, CustomField.id)
    )
    return [(row[0], row[1]) for row in await session.execute(statement)]


async def basket(session: AsyncSession, basket_id: str, *, lock: bool = False) -> Basket | None:
    return await session.get(Basket, basket_id, with_for_update=lock or None)


async def baskets(
    session: AsyncSession, *, customer_id: str | None, agent: str | None, after: tuple[KeyPart, ...] | None, limit: int
) -> Page[Basket]:
    statement = select(Basket)
    if customer_id is not None:
        statement = statement.where(Basket.customer_id == customer_id)
    if agent is not None:
        statement = statement.where(Basket.agent == agent)
    return await page(session, statement, BASKETS, after=after, limit=limit)
