"""Orders with their lines and timeline, written by activities only; values of custom fields, and baskets, by the API.

An order is a projection of its workflow `order:{id}`. A basket is an agent's offer until somebody pays it: then it has
become one order, whose id is made from the basket's.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import CheckConstraint, ForeignKey, Index, UniqueConstraint, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from models.base import Base, Currency, Id, Instant, Json, JsonList, Minor, Recorded, Updated


class Order(Base):
    """One order. `total` is what is due when it is placed, in minor units; `revision` counts its edits.

    Status: draft (being put together), open (placed, not paid), paying (a charge is under way or its answer is
    missing), authorised (its money is set aside, not taken), releasing (that is being given back), paid, canceling,
    canceled, lapsed (nobody paid in time). `agent`: who took it.
    """

    __tablename__ = "orders"
    __table_args__ = (
        UniqueConstraint("number"),
        UniqueConstraint("external_id"),
        UniqueConstraint("basket_id"),
        CheckConstraint("channel IN ('phone', 'api', 'customer')", name="channel"),
        CheckConstraint(
            "status IN ('draft', 'open', 'paying', 'authorised', 'releasing', 'paid', 'canceling', 'canceled',"
            " 'lapsed')",
            name="status",
        ),
        CheckConstraint("total >= 0", name="total"),
        Index("ix_orders_created", "created_at", "id"),
        Index("ix_orders_customer", "customer_id", "created_at", "id"),
        Index("ix_orders_attention", "id", postgresql_where=text("attention IS NOT NULL")),
    )

    id: Mapped[Id] = mapped_column(primary_key=True)
    number: Mapped[str]
    external_id: Mapped[str | None]
    customer_id: Mapped[Id] = mapped_column(ForeignKey("customers.id"))
    basket_id: Mapped[Id | None]
    channel: Mapped[str]
    funnel: Mapped[str] = mapped_column(server_default="")
    page: Mapped[str] = mapped_column(server_default="")
    agent: Mapped[str]
    status: Mapped[str]
    currency: Mapped[Currency]
    total: Mapped[Minor]
    revision: Mapped[int]
    invoice_id: Mapped[Id | None]
    attention: Mapped[str | None]
    test_mode: Mapped[bool]
    event_seq: Mapped[int]
    created_at: Mapped[Instant]
    placed_at: Mapped[Instant | None]
    paid_at: Mapped[Instant | None]
    ended_at: Mapped[Instant | None]
    recorded_at: Mapped[Recorded]
    updated_at: Mapped[Updated]


class OrderLine(Base):
    """One line: quantity times unit amount is amount, always. `due_now` is what of it the order's invoice asks for.

    `list_amount` is the catalogue's unit amount, null for a line that is not in it; `reason` says why another one was
    agreed. `subscription_id`: what it has started.
    """

    __tablename__ = "order_lines"
    __table_args__ = (
        CheckConstraint("amount = quantity * unit_amount", name="adds_up"),
        CheckConstraint("kind IN ('one_time', 'subscription')", name="kind"),
        Index("ix_order_lines_subscription", "subscription_id", postgresql_where=text("subscription_id IS NOT NULL")),
    )

    order_id: Mapped[Id] = mapped_column(ForeignKey("orders.id"), primary_key=True)
    position: Mapped[int] = mapped_column(primary_key=True)
    kind: Mapped[str]
    description: Mapped[str]
    product_id: Mapped[Id | None] = mapped_column(ForeignKey("products.id"))
    price_id: Mapped[Id | None] = mapped_column(ForeignKey("prices.id"))
    quantity: Mapped[int]
    unit_amount: Mapped[Minor]
    amount: Mapped[Minor]
    list_amount: Mapped[Minor | None]
    reason: Mapped[str] = mapped_column(server_default="")
    due_now: Mapped[Minor]
    start_at: Mapped[Instant | None]
    subscription_id: Mapped[Id | None]


class OrderEvent(Base):
    """The timeline of an order in business terms; append-only."""

    __tablename__ = "order_events"

    order_id: Mapped[Id] = mapped_column(ForeignKey("orders.id"), primary_key=True)
    seq: Mapped[int] = mapped_column(primary_key=True)
    at: Mapped[Instant]
    kind: Mapped[str]
    actor: Mapped[str]
    reason: Mapped[str]
    data: Mapped[Json]
    recorded_at: Mapped[Recorded]


class OrderCustomValue(Base):
    """What an order has in a custom field, as it was given. No row: nothing."""

    __tablename__ = "order_custom_values"
    __table_args__ = (Index("ix_order_custom_values_field", "field_id"),)

    order_id: Mapped[Id] = mapped_column(ForeignKey("orders.id"), primary_key=True)
    field_id: Mapped[Id] = mapped_column(ForeignKey("custom_fields.id"), primary_key=True)
    value: Mapped[Any] = mapped_column(JSONB)
    updated_at: Mapped[Updated]


class Basket(Base):
    """An agent's offer: lines with the prices agreed, good until `expires_at`. `customer_id` null: whoever pays.

    `order_id`: what it became when somebody began to pay.
    """

    __tablename__ = "baskets"
    __table_args__ = (
        CheckConstraint("total >= 0", name="total"),
        Index("ix_baskets_created", "created_at", "id"),
        Index("ix_baskets_customer", "customer_id", "created_at", "id"),
    )

    id: Mapped[Id] = mapped_column(primary_key=True)
    customer_id: Mapped[Id | None] = mapped_column(ForeignKey("customers.id"))
    agent: Mapped[str]
    currency: Mapped[Currency]
    lines: Mapped[JsonList]
    total: Mapped[Minor]
    note: Mapped[str] = mapped_column(server_default="")
    funnel: Mapped[str] = mapped_column(server_default="")
    page: Mapped[str] = mapped_column(server_default="")
    revision: Mapped[int] = mapped_column(server_default="1")
    order_id: Mapped[Id | None]
    test_mode: Mapped[bool]
    expires_at: Mapped[Instant]
    withdrawn_at: Mapped[Instant | None]
    created_at: Mapped[Recorded]
    updated_at: Mapped[Updated]
