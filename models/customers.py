"""Customers, their addresses and the payment methods kept for them as gateway tokens."""

from __future__ import annotations

from typing import Any

from sqlalchemy import BigInteger, CheckConstraint, ForeignKey, Identity, Index, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column

from models.base import Base, Currency, Id, Instant, Json, Recorded, Updated

INVOICE_PREFIX_LENGTH = 10  # 50 bits of the id: among a million customers, a pair in 2,000 databases


def invoice_prefix_of(customer_id: str) -> str:
    """What a customer's invoice numbers start with."""
    return customer_id.rpartition("_")[2][-INVOICE_PREFIX_LENGTH:].upper()


class Customer(Base):
    """One person or company that pays. `invoice_seq` numbers its invoices without gaps.

    A child (`parent_id`) with `pays` `parent` is charged on the parent's methods; else on its own. `merged_into` is
    never itself merged: one step leads to the customer that goes on. `verified_email` is the address that was proved to
    be theirs, in the form of `domain.blacklist`; none again when `email` changes. Of one with
    `forgotten_at` the tables take nothing personal any more.
    """

    __tablename__ = "customers"
    __table_args__ = (
        UniqueConstraint("external_id"),
        CheckConstraint("notice_days >= 0", name="notice_days"),
        CheckConstraint("parent_id <> id", name="parent"),
        CheckConstraint("pays = 'self' OR pays = 'parent' AND parent_id IS NOT NULL", name="pays"),
        CheckConstraint("merged_into <> id", name="merged_into"),
        Index("ix_customers_email", text("lower(email)")),
        Index("ix_customers_created", "created_at", "id"),
        Index("ix_customers_parent", "parent_id", "created_at", "id", postgresql_where=text("parent_id IS NOT NULL")),
        Index("ix_customers_tags", "tags", postgresql_using="gin"),
        Index("ix_customers_merged", "merged_into", postgresql_where=text("merged_into IS NOT NULL")),
        Index("ix_customers_verified", "verified_email", postgresql_where=text("verified_email IS NOT NULL")),
    )

    id: Mapped[Id] = mapped_column(primary_key=True)
    external_id: Mapped[str | None]
    title: Mapped[str] = mapped_column(server_default="")
    first_name: Mapped[str] = mapped_column(server_default="")
    last_name: Mapped[str] = mapped_column(server_default="")
    company: Mapped[str] = mapped_column(server_default="")
    email: Mapped[str]
    phone: Mapped[str] = mapped_column(server_default="")
    gender: Mapped[str | None]
    language: Mapped[str] = mapped_column(server_default="en")
    time_zone: Mapped[str] = mapped_column(server_default="UTC")
    currency: Mapped[Currency]
    tax_status: Mapped[str] = mapped_column(server_default="taxable")
    tax_id: Mapped[str | None]
    agent: Mapped[str | None]
    notice_days: Mapped[int] = mapped_column(server_default="0")
    dunning_policy_id: Mapped[Id | None] = mapped_column(ForeignKey("dunning_policies.id"))
    parent_id: Mapped[Id | None] = mapped_column(ForeignKey("customers.id"))
    pays: Mapped[str] = mapped_column(default="self", server_default="self")
    invoice_prefix: Mapped[str]
    invoice_seq: Mapped[int] = mapped_column(server_default="0")
    tags: Mapped[list[Any]] = mapped_column(server_default=text("'[]'::jsonb"))
    guest: Mapped[bool] = mapped_column(default=False, server_default="false")
    verified_email: Mapped[str | None]
    verified_at: Mapped[Instant | None]
    verified_by: Mapped[str | None]
    merged_into: Mapped[Id | None] = mapped_column(ForeignKey("customers.id"))
    forgotten_at: Mapped[Instant | None]
    created_at: Mapped[Recorded]
    updated_at: Mapped[Updated]

    @property
    def payer_id(self) -> str:
        """Whose methods are charged for this customer."""
        return self.parent_id if self.pays == "parent" and self.parent_id is not None else self.id


class CustomerChange(Base):
    """The activity log of a customer's details: which field, from what, to what, by whom."""

    __tablename__ = "customer_changes"
    __table_args__ = (Index("ix_customer_changes_customer", "customer_id", "id"),)

    id: Mapped[int] = mapped_column(BigInteger, Identity(), primary_key=True)
    customer_id: Mapped[Id] = mapped_column(ForeignKey("customers.id"))
    at: Mapped[Recorded]
    actor: Mapped[str]
    field: Mapped[str]
    old: Mapped[str | None]
    new: Mapped[str | None]


class Address(Base):
    """A billing or shipping address; one default of each kind (a partial unique index keeps it so)."""

    __tablename__ = "addresses"
    __table_args__ = (
        CheckConstraint("kind IN ('billing', 'shipping')", name="kind"),
        Index("ix_addresses_customer", "customer_id"),
        Index(
            "uq_addresses_default",
            "customer_id",
            "kind",
            unique=True,
            postgresql_where=text("is_default"),
        ),
    )

    id: Mapped[Id] = mapped_column(primary_key=True)
    customer_id: Mapped[Id] = mapped_column(ForeignKey("customers.id"))
    kind: Mapped[str]
    is_default: Mapped[bool] = mapped_column(server_default="false")
    line1: Mapped[str]
    line2: Mapped[str] = mapped_column(server_default="")
    city: Mapped[str]
    region: Mapped[str] = mapped_column(server_default="")
    postal_code: Mapped[str] = mapped_column(server_default="")
    country: Mapped[str]
    created_at: Mapped[Recorded]


class PaymentMethod(Base):
    """A card, bank account or token kept at a gateway. `position` is the order of use; 0 is the default.

    A removed method keeps its row (`removed_at`): attempts of the past point to it. One that its gateway calls closed
    (`closed_at`) is shown, and charged no more.
    """

    __tablename__ = "payment_methods"
    __table_args__ = (
        Index("ix_payment_methods_customer", "customer_id", "position"),
        Index("ix_payment_methods_last4", "last4", postgresql_where=text("removed_at IS NULL AND last4 <> ''")),
        # For what gateways tell of a token, and to know whose it is.
        Index("ix_payment_methods_token", "token", "gateway"),
        # For the list of transactions: a card that was removed had its charges, too.
        Index("ix_payment_methods_card", "last4", "customer_id"),
        Index(
            "uq_payment_methods_token",
            "customer_id",
            "gateway",
            "token",
            unique=True,
            postgresql_where=text("removed_at IS NULL"),
        ),
    )

    id: Mapped[Id] = mapped_column(primary_key=True)
    customer_id: Mapped[Id] = mapped_column(ForeignKey("customers.id"))
    gateway: Mapped[str]
    token: Mapped[str]
    kind: Mapped[str]
    brand: Mapped[str] = mapped_column(server_default="")
    last4: Mapped[str] = mapped_column(server_default="")
    exp_month: Mapped[int | None]
    exp_year: Mapped[int | None]
    fingerprint: Mapped[str] = mapped_column(server_default="")
    position: Mapped[int] = mapped_column(server_default="0")
    details: Mapped[Json] = mapped_column(server_default=text("'{}'::jsonb"))
    created_at: Mapped[Recorded]
    removed_at: Mapped[Instant | None]
    closed_at: Mapped[Instant | None]
