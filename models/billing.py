"""Billing facts: written by activities only, each in the transaction of what it tells."""

from __future__ import annotations

from typing import Any

from sqlalchemy import BigInteger, CheckConstraint, ForeignKey, Index, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column

from models.base import Base, Currency, Id, Instant, Json, Minor, Recorded, Updated


class Subscription(Base):
    """What lists need to know of a subscription: a projection of its workflow's state."""

    __tablename__ = "subscriptions"
    __table_args__ = (
        Index("ix_subscriptions_customer", "customer_id"),
        Index("ix_subscriptions_due", "next_due_at", "id", postgresql_where=text("next_due_at IS NOT NULL")),
        Index("ix_subscriptions_status", "status", "created_at", "id"),
        Index("ix_subscriptions_created", "created_at", "id"),
        Index("ix_subscriptions_attention", "id", postgresql_where=text("attention IS NOT NULL")),
        UniqueConstraint("external_id"),
    )

    id: Mapped[Id] = mapped_column(primary_key=True)
    external_id: Mapped[str | None]
    customer_id: Mapped[Id] = mapped_column(ForeignKey("customers.id"))
    product_id: Mapped[Id] = mapped_column(ForeignKey("products.id"))
    price_id: Mapped[Id] = mapped_column(ForeignKey("prices.id"))
    status: Mapped[str]
    access: Mapped[str]
    currency: Mapped[Currency]
    amount: Mapped[Minor]
    quantity: Mapped[int]
    cycle: Mapped[int]
    next_due_at: Mapped[Instant | None]
    period_start: Mapped[Instant | None]
    period_end: Mapped[Instant | None]
    trial_end: Mapped[Instant | None]
    held: Mapped[bool] = mapped_column(server_default="false")
    attention: Mapped[str | None]
    test_mode: Mapped[bool]
    trigger: Mapped[str]
    event_seq: Mapped[int]
    virtual_now: Mapped[Instant]
    created_at: Mapped[Recorded]
    updated_at: Mapped[Updated]


class SubscriptionEvent(Base):
    """The timeline of a subscription in business terms; append-only. `at` is the subscription's own clock."""

    __tablename__ = "subscription_events"
    # For the report on dunning: one line of a subscription in many is the start of it.
    __table_args__ = (Index("ix_subscription_events_dunning", "at", postgresql_where=text("kind = 'dunning_started'")),)

    subscription_id: Mapped[Id] = mapped_column(ForeignKey("subscriptions.id"), primary_key=True)
    seq: Mapped[int] = mapped_column(primary_key=True)
    at: Mapped[Instant]
    kind: Mapped[str]
    actor: Mapped[str]
    reason: Mapped[str]
    data: Mapped[Json]
    recorded_at: Mapped[Recorded]


class Invoice(Base):
    """What is owed for one cycle and reason, or for an order. `number` is gapless within the customer's series.

    `subtotal` is what the lines say, `discount` what is off, `tax` what of the total is tax, `taxes` by place.
    `sequence` tells apart several changes billed within one cycle. `credited` is what credit notes correct, or will
    once the refund they wait for is through.
    """

    __tablename__ = "invoices"
    __table_args__ = (
        UniqueConstraint("subscription_id", "cycle", "reason", "sequence"),
        UniqueConstraint("order_id", "sequence"),
        UniqueConstraint("number"),
        CheckConstraint("(subscription_id IS NULL) <> (order_id IS NULL)", name="of_one"),
        CheckConstraint("total = amount_due + credit_applied OR total < 0", name="adds_up"),
        CheckConstraint("status IN ('open', 'paid', 'uncollectible', 'void')", name="status"),
        CheckConstraint("credited BETWEEN 0 AND greatest(total, 0)", name="credited"),
        Index("ix_invoices_customer", "customer_id", "issued_at"),
        Index("ix_invoices_issued", "issued_at", "number"),
        Index("ix_invoices_open", "issued_at", "number", postgresql_where=text("status = 'open'")),
    )

    id: Mapped[Id] = mapped_column(primary_key=True)
    number: Mapped[str]
    customer_id: Mapped[Id] = mapped_column(ForeignKey("customers.id"))
    subscription_id: Mapped[Id | None]
    order_id: Mapped[Id | None]
    cycle: Mapped[int]
    reason: Mapped[str]
    sequence: Mapped[int] = mapped_column(server_default="0")
    currency: Mapped[Currency]
    subtotal: Mapped[Minor] = mapped_column(server_default="0")
    discount: Mapped[Minor] = mapped_column(server_default="0")
    tax: Mapped[Minor] = mapped_column(server_default="0")
    taxes: Mapped[Json] = mapped_column(server_default=text("'{}'::jsonb"))
    total: Mapped[Minor]
    credit_applied: Mapped[Minor]
    amount_due: Mapped[Minor]
    credited: Mapped[Minor] = mapped_column(server_default="0")
    status: Mapped[str]
    issued_at: Mapped[Instant]
    local_date: Mapped[str]
    period_start: Mapped[Instant | None]
    period_end: Mapped[Instant | None]
    paid_at: Mapped[Instant | None]
    test_mode: Mapped[bool]


class InvoiceLine(Base):
    """One line: quantity times unit amount is amount, always; prorated lines have quantity 1.

    `discount` is taken off the amount (`discounts`: by which ones); `tax` is on top of the rest, or contained in it.
    `tax_rate` in thousandths of a percent, `tax_reason` where there is none to pay; no place: nothing is said of tax.
    """

    __tablename__ = "invoice_lines"
    __table_args__ = (
        CheckConstraint("amount = quantity * unit_amount", name="adds_up"),
        CheckConstraint("discount BETWEEN 0 AND greatest(amount, 0)", name="discount"),
    )

    invoice_id: Mapped[Id] = mapped_column(ForeignKey("invoices.id"), primary_key=True)
    position: Mapped[int] = mapped_column(primary_key=True)
    kind: Mapped[str]
    description: Mapped[str]
    quantity: Mapped[int]
    unit_amount: Mapped[Minor]
    amount: Mapped[Minor]
    tax_category: Mapped[str] = mapped_column(server_default="standard")
    discount: Mapped[Minor] = mapped_column(server_default="0")
    discounts: Mapped[list[Any]] = mapped_column(server_default=text("'[]'::jsonb"))
    tax: Mapped[Minor] = mapped_column(server_default="0")
    tax_place: Mapped[str | None]
    tax_rate: Mapped[int | None]
    tax_inclusive: Mapped[bool] = mapped_column(server_default="false")
    tax_reason: Mapped[str | None]
    period_start: Mapped[Instant | None]
    period_end: Mapped[Instant | None]

    @property
    def net(self) -> int:
        """After discounts, without any tax."""
        left = self.amount - self.discount
        return left - self.tax if self.tax_inclusive else left

    @property
    def gross(self) -> int:
        """After discounts, with all tax."""
        return self.net + self.tax


class Attempt(Base):
    """One try to collect an invoice. `reference` is our key at the gateway; written before the call.

    Status: pending (call under way or its answer lost), approved, declined, action_required, unknown,
    parked (gateway down, not sent), no_method, canceled; authorised (set aside until `held_until`, not taken),
    capturing and releasing (asked for at `asked_at`, or the answer lost), released (given back, nothing was taken).
    Settlement of an approved one: pending, settled or voided. `returned` is what was given back or is reserved for
    that. `payer_id`: the parent whose method it was.
    """

    __tablename__ = "attempts"
    __table_args__ = (
        UniqueConstraint("invoice_id", "number"),
        UniqueConstraint("reference"),
        CheckConstraint("(subscription_id IS NULL) <> (order_id IS NULL)", name="of_one"),
        CheckConstraint("returned BETWEEN 0 AND amount", name="returned"),
        Index("ix_attempts_at", "at", "recorded_at", "id"),
        Index("ix_attempts_customer", "customer_id", "at"),
        Index("ix_attempts_payer", "payer_id", "at", postgresql_where=text("payer_id IS NOT NULL")),
        Index("ix_attempts_recorded", "recorded_at", "reference"),
        Index("ix_attempts_asked", "asked_at", postgresql_where=text("asked_at IS NOT NULL")),
        Index(
            "ix_attempts_open",
            "status",
            "id",
            postgresql_where=text(
                "status IN ('pending', 'unknown', 'parked', 'action_required', 'capturing', 'releasing')"
            ),
        ),
    )

    id: Mapped[Id] = mapped_column(primary_key=True)
    invoice_id: Mapped[Id] = mapped_column(ForeignKey("invoices.id"))
    subscription_id: Mapped[Id | None]
    order_id: Mapped[Id | None]
    customer_id: Mapped[Id]
    payer_id: Mapped[Id | None]
    number: Mapped[int]
    reference: Mapped[str]
    trigger: Mapped[str]
    payment_method_id: Mapped[Id | None] = mapped_column(ForeignKey("payment_methods.id"))
    gateway: Mapped[str | None]
    amount: Mapped[Minor]
    currency: Mapped[Currency]
    status: Mapped[str]
    settlement: Mapped[str | None]
    settled_at: Mapped[Instant | None]
    batch_id: Mapped[str | None]
    returned: Mapped[Minor] = mapped_column(server_default="0")
    gateway_id: Mapped[str | None]
    code: Mapped[str | None]
    decline: Mapped[str | None]
    message: Mapped[str] = mapped_column(server_default="")
    action_url: Mapped[str | None]
    at: Mapped[Instant]
    answered_at: Mapped[Instant | None]
    held_until: Mapped[Instant | None]
    asked_at: Mapped[Instant | None]
    test_mode: Mapped[bool]
    recorded_at: Mapped[Recorded]


class LedgerEntry(Base):
    """The header of a double entry. Append-only; its postings sum to zero per currency (a trigger checks)."""

    __tablename__ = "ledger_entries"
    __table_args__ = (
        Index("ix_ledger_entries_at", "at", "id"),
        Index("ix_ledger_entries_customer", "customer_id", "at", "id"),
    )

    id: Mapped[Id] = mapped_column(primary_key=True)
    at: Mapped[Instant]
    kind: Mapped[str]
    customer_id: Mapped[Id | None]
    subscription_id: Mapped[Id | None]
    invoice_id: Mapped[Id | None]
    subject_id: Mapped[Id | None]
    description: Mapped[str]
    test_mode: Mapped[bool]
    recorded_at: Mapped[Recorded]


class LedgerPosting(Base):
    """One side of an entry: debit positive, credit negative, in minor units."""

    __tablename__ = "ledger_postings"
    __table_args__ = (
        CheckConstraint("amount <> 0", name="amount"),
        Index("ix_ledger_postings_account", "account", "currency"),
    )

    entry_id: Mapped[Id] = mapped_column(ForeignKey("ledger_entries.id"), primary_key=True)
    position: Mapped[int] = mapped_column(primary_key=True)
    account: Mapped[str]
    currency: Mapped[Currency]
    amount: Mapped[Minor]


class Message(Base):
    """A message as it was sent, to a customer or to staff. Its id comes from the event it tells, so it exists once.

    One that was sent again is a message of its own, with `resend_of` and `requested_by`. `document_id`: the file that
    went with it. `template_version` of `language`: 0 came with Dunlin; `template_trouble`: why the merchant's own was
    not used. One that was received has a `sender`, and the message it answers in `reply_to` (see `ReceivedMail`).

    Status: pending, sent, refused (by the mail server), overtaken (no longer true before it was sent), bounced, or
    received.
    """

    __tablename__ = "messages"
    __table_args__ = (
        Index("ix_messages_customer", "customer_id", "at"),
        Index("ix_messages_at", "at", "id"),
        Index("ix_messages_unsent", "status", "id", postgresql_where=text("status <> 'sent'")),
        Index("ix_messages_received", "at", "id", postgresql_where=text("direction = 'received'")),
        Index(
            "ix_messages_template_trouble",
            "template",
            "language",
            "template_version",
            postgresql_where=text("template_trouble IS NOT NULL"),
        ),
        CheckConstraint("direction IN ('sent', 'received')", name="direction"),
    )

    id: Mapped[Id] = mapped_column(primary_key=True)
    customer_id: Mapped[Id | None] = mapped_column(ForeignKey("customers.id"))
    subscription_id: Mapped[Id | None]
    order_id: Mapped[Id | None]
    event_seq: Mapped[int | None]
    refund_id: Mapped[Id | None]
    resend_of: Mapped[Id | None]
    requested_by: Mapped[str | None]
    document_id: Mapped[Id | None] = mapped_column(ForeignKey("documents.id"))
    audience: Mapped[str] = mapped_column(server_default="customer")
    template: Mapped[str]
    recipient: Mapped[str]
    subject: Mapped[str]
    body: Mapped[str]
    html: Mapped[str | None]
    language: Mapped[str | None]
    template_version: Mapped[int | None]
    template_trouble: Mapped[str | None]
    direction: Mapped[str] = mapped_column(server_default="sent")
    sender: Mapped[str | None]
    reply_to: Mapped[Id | None]
    status: Mapped[str] = mapped_column(server_default="pending")
    error: Mapped[str | None]
    tries: Mapped[int] = mapped_column(server_default="0")
    at: Mapped[Instant]
    claimed_until: Mapped[Instant | None]
    sent_at: Mapped[Instant | None]
    recorded_at: Mapped[Recorded]


class BillingRun(Base):
    """One call of "bill what is due": its segment, progress and counts by verdict."""

    __tablename__ = "billing_runs"
    __table_args__ = (Index("ix_billing_runs_started", "started_at", "id"),)

    id: Mapped[Id] = mapped_column(primary_key=True)
    segment: Mapped[Json]
    source: Mapped[str]
    status: Mapped[str]
    seen: Mapped[int] = mapped_column(server_default="0")
    verdicts: Mapped[Json] = mapped_column(server_default=text("'{}'::jsonb"))
    started_at: Mapped[Instant]
    ended_at: Mapped[Instant | None]


class BillingRunItem(Base):
    """The verdict on one subscription of a run."""

    __tablename__ = "billing_run_items"

    run_id: Mapped[Id] = mapped_column(ForeignKey("billing_runs.id"), primary_key=True)
    subscription_id: Mapped[Id] = mapped_column(primary_key=True)
    verdict: Mapped[str]
    detail: Mapped[str] = mapped_column(server_default="")
    seq: Mapped[int] = mapped_column(BigInteger, server_default="0")
