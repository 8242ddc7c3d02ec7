"""What is to be shipped for a paid cycle or order, how that goes, and the batches that were handed off as files."""

from __future__ import annotations

from typing import Any

from sqlalchemy import CheckConstraint, ForeignKey, Index, UniqueConstraint, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from models.base import Base, Id, Instant, Recorded, Updated


class Fulfilment(Base):
    """One delivery, written in its payment's transaction. Its id is made from what it is for: the provider's key, too.

    `address` and `recipient` are pinned when it is handed off. `attention`: why a person should look. `replaces_id`:
    what it is sent in place of. Status and withdrawal: `domain.fulfilment`.
    """

    __tablename__ = "fulfilments"
    __table_args__ = (
        CheckConstraint(
            "status IN ('pending', 'sending', 'handed_off', 'shipped', 'delivered', 'returned', 'canceled', 'stopped')",
            name="status",
        ),
        CheckConstraint("withdrawal IN ('none', 'due', 'done', 'by_hand', 'refused')", name="withdrawal"),
        CheckConstraint("quantity >= 1", name="quantity"),
        UniqueConstraint("replaces_id"),
        Index("ix_fulfilments_at", "at", "id"),
        Index("ix_fulfilments_customer", "customer_id", "at", "id"),
        Index("ix_fulfilments_status", "status", "at", "id"),
        Index("ix_fulfilments_subscription", "subscription_id", postgresql_where=text("subscription_id IS NOT NULL")),
        Index("ix_fulfilments_order", "order_id", postgresql_where=text("order_id IS NOT NULL")),
        Index("ix_fulfilments_invoice", "invoice_id"),
        Index("ix_fulfilments_batch", "batch_id", postgresql_where=text("batch_id IS NOT NULL")),
        Index("ix_fulfilments_attention", "updated_at", "id", postgresql_where=text("attention IS NOT NULL")),
    )

    id: Mapped[Id] = mapped_column(primary_key=True)
    customer_id: Mapped[Id] = mapped_column(ForeignKey("customers.id"))
    subscription_id: Mapped[Id | None]
    cycle: Mapped[int | None]
    order_id: Mapped[Id | None]
    invoice_id: Mapped[Id] = mapped_column(ForeignKey("invoices.id"))
    product_id: Mapped[Id] = mapped_column(ForeignKey("products.id"))
    price_id: Mapped[Id | None] = mapped_column(ForeignKey("prices.id"))
    description: Mapped[str]
    quantity: Mapped[int]
    test_mode: Mapped[bool]
    status: Mapped[str] = mapped_column(server_default="pending")
    withdrawal: Mapped[str] = mapped_column(server_default="none")
    reason: Mapped[str] = mapped_column(server_default="")
    recipient: Mapped[str] = mapped_column(server_default="")
    address: Mapped[dict[str, Any] | None] = mapped_column(JSONB(none_as_null=True))
    provider: Mapped[str | None]
    provider_reference: Mapped[str | None]
    batch_id: Mapped[Id | None] = mapped_column(ForeignKey("fulfilment_batches.id"))
    tries: Mapped[int] = mapped_column(server_default="0")
    attention: Mapped[str | None]
    carrier: Mapped[str] = mapped_column(server_default="")
    tracking: Mapped[str] = mapped_column(server_default="")
    tracked_at: Mapped[Instant | None]
    replaces_id: Mapped[Id | None] = mapped_column(ForeignKey("fulfilments.id"))
    replaced: Mapped[bool] = mapped_column(server_default="false")
    at: Mapped[Instant]
    handed_off_at: Mapped[Instant | None]
    shipped_at: Mapped[Instant | None]
    delivered_at: Mapped[Instant | None]
    returned_at: Mapped[Instant | None]
    event_seq: Mapped[int] = mapped_column(server_default="1")
    recorded_at: Mapped[Recorded]
    updated_at: Mapped[Updated]


class FulfilmentEvent(Base):
    """One line of a fulfilment's history; append-only. `command_id`: the request that asked for it, once."""

    __tablename__ = "fulfilment_events"
    __table_args__ = (UniqueConstraint("fulfilment_id", "command_id"),)

    fulfilment_id: Mapped[Id] = mapped_column(ForeignKey("fulfilments.id"), primary_key=True)
    seq: Mapped[int] = mapped_column(primary_key=True)
    at: Mapped[Instant]
    kind: Mapped[str]
    actor: Mapped[str]
    reason: Mapped[str] = mapped_column(server_default="")
    data: Mapped[dict[str, Any]] = mapped_column(server_default=text("'{}'::jsonb"))
    command_id: Mapped[Id | None]
    recorded_at: Mapped[Recorded]


class FulfilmentBatch(Base):
    """Fulfilments that were handed off together, as one file that people fetch."""

    __tablename__ = "fulfilment_batches"
    __table_args__ = (Index("ix_fulfilment_batches_created", "created_at", "id"),)

    id: Mapped[Id] = mapped_column(primary_key=True)
    actor: Mapped[str]
    test_mode: Mapped[bool]
    fulfilments: Mapped[int] = mapped_column(server_default="0")
    left_out: Mapped[int] = mapped_column(server_default="0")
    created_at: Mapped[Recorded]
