"""Money given back: refunds and voids with every try and event, and the credit notes that document them.

Written by activities only. What is being given back is reserved on its charge (`attempts.returned`) and its invoice
(`invoices.credited`) before the gateway is asked; check constraints keep both within what there is.
"""

from __future__ import annotations

from sqlalchemy import CheckConstraint, ForeignKey, Index, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column

from models.base import Base, Currency, Id, Instant, Json, Minor, Recorded, Updated


class Refund(Base):
    """One wish to give money back: a projection of its workflow `refund:{id}`.

    Kind: `void` (before settlement, in full), `refund` (after it). `void_first`: from the order, a refund follows
    where the void fails; `kind` says which of the two is being tried. Status: awaiting_approval, pending (a try is
    due or under way), queued (failed, tried again at `next_try_at`), unknown (an answer was lost), succeeded, failed
    (left the queue after its last retry), canceled (taken out), lapsed (nobody approved in time).
    """

    __tablename__ = "refunds"
    __table_args__ = (
        CheckConstraint("amount > 0", name="amount"),
        CheckConstraint("(subscription_id IS NULL) <> (order_id IS NULL)", name="of_one"),
        CheckConstraint("kind IN ('void', 'refund')", name="kind"),
        CheckConstraint(
            "status IN ('awaiting_approval', 'pending', 'queued', 'unknown', 'succeeded', 'failed', 'canceled',"
            " 'lapsed')",
            name="status",
        ),
        Index("ix_refunds_requested", "requested_at", "id"),
        Index("ix_refunds_customer", "customer_id", "requested_at"),
        Index("ix_refunds_attempt", "attempt_id"),
        Index("ix_refunds_invoice", "invoice_id"),
        Index(
            "ix_refunds_open",
            "status",
            "next_try_at",
            "id",
            postgresql_where=text("status IN ('awaiting_approval', 'pending', 'queued', 'unknown')"),
        ),
    )

    id: Mapped[Id] = mapped_column(primary_key=True)
    attempt_id: Mapped[Id] = mapped_column(ForeignKey("attempts.id"))
    invoice_id: Mapped[Id] = mapped_column(ForeignKey("invoices.id"))
    subscription_id: Mapped[Id | None]
    order_id: Mapped[Id | None]
    customer_id: Mapped[Id] = mapped_column(ForeignKey("customers.id"))
    kind: Mapped[str]
    void_first: Mapped[bool] = mapped_column(server_default="false")
    amount: Mapped[Minor]
    currency: Mapped[Currency]
    gateway: Mapped[str]
    payment_method_id: Mapped[Id | None] = mapped_column(ForeignKey("payment_methods.id"))
    status: Mapped[str]
    reason: Mapped[str]
    actor: Mapped[str]
    retries: Mapped[int] = mapped_column(server_default="0")
    next_try_at: Mapped[Instant | None]
    approval_deadline: Mapped[Instant | None]
    approved_by: Mapped[str | None]
    attention: Mapped[str | None]
    requested_at: Mapped[Instant]
    ended_at: Mapped[Instant | None]
    virtual_now: Mapped[Instant]
    event_seq: Mapped[int]
    test_mode: Mapped[bool]
    recorded_at: Mapped[Recorded]
    updated_at: Mapped[Updated]


class RefundTry(Base):
    """One call to give money back. `reference` is our key at the gateway; written before the call.

    Trigger: request, retry (one of the daily ones) or manual. Status: pending, succeeded, failed, unknown, parked.
    """

    __tablename__ = "refund_tries"
    __table_args__ = (
        UniqueConstraint("reference"),
        Index("ix_refund_tries_recorded", "recorded_at", "reference"),
        Index("ix_refund_tries_open", "status", postgresql_where=text("status IN ('pending', 'unknown', 'parked')")),
    )

    refund_id: Mapped[Id] = mapped_column(ForeignKey("refunds.id"), primary_key=True)
    number: Mapped[int] = mapped_column(primary_key=True)
    kind: Mapped[str]
    trigger: Mapped[str]
    reference: Mapped[str]
    payment_method_id: Mapped[Id | None]
    status: Mapped[str]
    settlement: Mapped[str | None]
    settled_at: Mapped[Instant | None]
    batch_id: Mapped[str | None]
    gateway_id: Mapped[str | None]
    code: Mapped[str | None]
    message: Mapped[str] = mapped_column(server_default="")
    at: Mapped[Instant]
    answered_at: Mapped[Instant | None]
    recorded_at: Mapped[Recorded]


class RefundEvent(Base):
    """The timeline of a refund in business terms; append-only. `at` is the refund's own clock."""

    __tablename__ = "refund_events"

    refund_id: Mapped[Id] = mapped_column(ForeignKey("refunds.id"), primary_key=True)
    seq: Mapped[int] = mapped_column(primary_key=True)
    at: Mapped[Instant]
    kind: Mapped[str]
    actor: Mapped[str]
    reason: Mapped[str]
    data: Mapped[Json]
    recorded_at: Mapped[Recorded]


class CreditNote(Base):
    """What corrects a final invoice, in part or in full; append-only. Disposition: `refund`, `void` or `credit`.

    `taxes` is what of the amount is tax, by place.
    """

    __tablename__ = "credit_notes"
    __table_args__ = (
        CheckConstraint("amount > 0", name="amount"),
        CheckConstraint("disposition IN ('refund', 'void', 'credit')", name="disposition"),
        UniqueConstraint("number"),
        Index("ix_credit_notes_invoice", "invoice_id"),
        Index("ix_credit_notes_customer", "customer_id", "at"),
        Index("ix_credit_notes_at", "at", "id"),
    )

    id: Mapped[Id] = mapped_column(primary_key=True)
    number: Mapped[str]
    invoice_id: Mapped[Id] = mapped_column(ForeignKey("invoices.id"))
    customer_id: Mapped[Id] = mapped_column(ForeignKey("customers.id"))
    refund_id: Mapped[Id | None]
    amount: Mapped[Minor]
    currency: Mapped[Currency]
    taxes: Mapped[Json] = mapped_column(server_default=text("'{}'::jsonb"))
    disposition: Mapped[str]
    reason: Mapped[str]
    actor: Mapped[str]
    at: Mapped[Instant]
    local_date: Mapped[str]
    test_mode: Mapped[bool]
    recorded_at: Mapped[Recorded]
