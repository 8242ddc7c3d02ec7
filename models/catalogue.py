"""What is sold, at which price points, and the named dunning policies."""

from __future__ import annotations

from typing import Any

from sqlalchemy import CheckConstraint, ForeignKey, Index, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column

from models.base import Base, Currency, Id, Instant, Json, Minor, Recorded, Updated


class Product(Base):
    """A thing sold, with its options; archived products sell no more and their subscriptions run on.

    `physical`: it is shipped, for each paid cycle of what is agreed from then on.
    """

    __tablename__ = "products"
    __table_args__ = (UniqueConstraint("code"),)

    id: Mapped[Id] = mapped_column(primary_key=True)
    code: Mapped[str]
    name: Mapped[str]
    description: Mapped[str] = mapped_column(server_default="")
    options: Mapped[list[Any]] = mapped_column(server_default=text("'[]'::jsonb"))
    physical: Mapped[bool] = mapped_column(default=False, server_default="false")
    dunning_policy_id: Mapped[Id | None] = mapped_column(ForeignKey("dunning_policies.id"))
    created_at: Mapped[Recorded]
    archived_at: Mapped[Instant | None]


class Price(Base):
    """One price point of a product, never edited: a new amount is a new version with a new id.

    `one_time`: bought once, in an order; its interval says nothing. `policy` holds the choices of `docs/policies.md`
    that a price point may set.
    """

    __tablename__ = "prices"
    __table_args__ = (
        UniqueConstraint("product_id", "code", "version"),
        CheckConstraint("unit_amount >= 0 AND setup_fee >= 0 AND trial_amount >= 0", name="amounts"),
        Index("ix_prices_product", "product_id"),
    )

    id: Mapped[Id] = mapped_column(primary_key=True)
    product_id: Mapped[Id] = mapped_column(ForeignKey("products.id"))
    code: Mapped[str]
    version: Mapped[int] = mapped_column(server_default="1")
    option: Mapped[str] = mapped_column(server_default="")
    currency: Mapped[Currency]
    unit_amount: Mapped[Minor]
    interval_count: Mapped[int]
    interval_unit: Mapped[str]
    trial_days: Mapped[int] = mapped_column(server_default="0")
    trial_amount: Mapped[Minor] = mapped_column(server_default="0")
    setup_fee: Mapped[Minor] = mapped_column(server_default="0")
    tax_category: Mapped[str] = mapped_column(server_default="standard")
    one_time: Mapped[bool] = mapped_column(server_default="false")
    policy: Mapped[Json] = mapped_column(server_default=text("'{}'::jsonb"))
    created_at: Mapped[Recorded]
    archived_at: Mapped[Instant | None]


class DunningPolicy(Base):
    """A named schedule of retries, messages, grace and the action at its end; pinned when dunning starts."""

    __tablename__ = "dunning_policies"
    __table_args__ = (
        UniqueConstraint("name"),
        Index("uq_dunning_policies_default", "is_default", unique=True, postgresql_where=text("is_default")),
    )

    id: Mapped[Id] = mapped_column(primary_key=True)
    name: Mapped[str]
    retries: Mapped[list[Any]]
    grace_days: Mapped[int]
    end_action: Mapped[str]
    is_default: Mapped[bool] = mapped_column(server_default="false")
    created_at: Mapped[Recorded]
    updated_at: Mapped[Updated]
