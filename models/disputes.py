"""Disputes, and the inbox of signed events that gateways send us."""

from __future__ import annotations

from sqlalchemy import CheckConstraint, ForeignKey, Index, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column

from models.base import Base, Currency, Id, Instant, Json, Minor, Recorded, Updated


class GatewayEvent(Base):
    """One event as a gateway signed and sent it; a second delivery adds nothing. `outcome` says what it led to.

    `subject_id` is the dispute it speaks of, also before there is a row of it.
    """

    __tablename__ = "gateway_events"
    __table_args__ = (
        Index("ix_gateway_events_waiting", "received_at", postgresql_where=text("handled_at IS NULL")),
        Index("ix_gateway_events_subject", "subject_id", "received_at"),
    )

    gateway: Mapped[str] = mapped_column(primary_key=True)
    event_id: Mapped[str] = mapped_column(primary_key=True)
    kind: Mapped[str]
    subject_id: Mapped[Id | None]
    body: Mapped[Json]
    received_at: Mapped[Recorded]
    handled_at: Mapped[Instant | None]
    outcome: Mapped[str] = mapped_column(server_default="")


class Dispute(Base):
    """A customer disputes a charge at their bank. Status: opened, evidence_due, won, lost; the last two are final.

    `consequence`: what followed, by what it followed from: `{"lost": {"action": "cancel", "result": "done"}}`, and
    `blacklisted`, the kinds that were put on the blacklist. Results: due, done, refused.
    """

    __tablename__ = "disputes"
    __table_args__ = (
        CheckConstraint("amount > 0", name="amount"),
        CheckConstraint("(subscription_id IS NULL) <> (order_id IS NULL)", name="of_one"),
        CheckConstraint("fee >= 0", name="fee"),
        CheckConstraint("status IN ('opened', 'evidence_due', 'won', 'lost')", name="status"),
        UniqueConstraint("gateway", "gateway_id"),
        Index("ix_disputes_opened", "opened_at", "id"),
        Index("ix_disputes_customer", "customer_id", "opened_at"),
        Index("ix_disputes_attempt", "attempt_id"),
    )

    id: Mapped[Id] = mapped_column(primary_key=True)
    gateway: Mapped[str]
    gateway_id: Mapped[str]
    attempt_id: Mapped[Id] = mapped_column(ForeignKey("attempts.id"))
    invoice_id: Mapped[Id] = mapped_column(ForeignKey("invoices.id"))
    subscription_id: Mapped[Id | None]
    order_id: Mapped[Id | None]
    customer_id: Mapped[Id] = mapped_column(ForeignKey("customers.id"))
    amount: Mapped[Minor]
    fee: Mapped[Minor] = mapped_column(server_default="0")
    currency: Mapped[Currency]
    status: Mapped[str]
    reason: Mapped[str] = mapped_column(server_default="")
    evidence_due_at: Mapped[Instant | None]
    opened_at: Mapped[Instant]
    closed_at: Mapped[Instant | None]
    consequence: Mapped[Json] = mapped_column(server_default=text("'{}'::jsonb"))
    test_mode: Mapped[bool]
    recorded_at: Mapped[Recorded]
    updated_at: Mapped[Updated]


class BlacklistEntry(Base):
    """What no new order or charge is taken from. Kind: email, phone, fingerprint or address; `value` is normalised."""

    __tablename__ = "blacklist_entries"
    __table_args__ = (
        CheckConstraint("kind IN ('email', 'phone', 'fingerprint', 'address')", name="kind"),
        Index("uq_blacklist_entries_value", "kind", "value", unique=True, postgresql_where=text("removed_at IS NULL")),
    )

    id: Mapped[Id] = mapped_column(primary_key=True)
    kind: Mapped[str]
    value: Mapped[str]
    reason: Mapped[str]
    actor: Mapped[str]
    at: Mapped[Recorded]
    removed_at: Mapped[Instant | None]
    removed_by: Mapped[str | None]
