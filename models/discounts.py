"""Coupons with their codes and redemptions, discounts set for one customer, and rates of tax."""

from __future__ import annotations

from datetime import date
from typing import Any

from sqlalchemy import CheckConstraint, ForeignKey, Index, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column

from models.base import Base, Currency, Id, Instant, Minor, Recorded


class Coupon(Base):
    """A discount that can be redeemed. `rate` in thousandths of a percent, or `amount` in minor units of `currency`.

    `cycles`: for so many billed cycles (None: for ever). The count and its limit are in one row, so that the last one
    is redeemed once. Valid from, and until but not with, an instant.
    """

    __tablename__ = "coupons"
    __table_args__ = (
        CheckConstraint("(rate = 0) <> (amount = 0)", name="size"),
        CheckConstraint("redeemed >= 0 AND redeemed <= coalesce(limit_total, redeemed)", name="redeemed"),
        Index("ix_coupons_created", "created_at", "id"),
    )

    id: Mapped[Id] = mapped_column(primary_key=True)
    name: Mapped[str]
    rate: Mapped[int]
    amount: Mapped[Minor]
    currency: Mapped[Currency | None]
    cycles: Mapped[int | None]
    products: Mapped[list[Any]] = mapped_column(server_default=text("'[]'::jsonb"))
    valid_from: Mapped[Instant | None]
    valid_until: Mapped[Instant | None]
    limit_total: Mapped[int | None]
    limit_per_customer: Mapped[int | None]
    redeemed: Mapped[int] = mapped_column(server_default="0")
    actor: Mapped[str]
    created_at: Mapped[Recorded]
    archived_at: Mapped[Instant | None]


class PromotionCode(Base):
    """A word by which customers redeem a coupon, with a limit and an end of its own; upper case."""

    __tablename__ = "promotion_codes"
    __table_args__ = (
        UniqueConstraint("code"),
        CheckConstraint("redeemed >= 0 AND redeemed <= coalesce(limit_total, redeemed)", name="redeemed"),
        Index("ix_promotion_codes_coupon", "coupon_id", "created_at", "id"),
    )

    id: Mapped[Id] = mapped_column(primary_key=True)
    coupon_id: Mapped[Id] = mapped_column(ForeignKey("coupons.id"))
    code: Mapped[str]
    valid_until: Mapped[Instant | None]
    limit_total: Mapped[int | None]
    redeemed: Mapped[int] = mapped_column(server_default="0")
    actor: Mapped[str]
    created_at: Mapped[Recorded]
    archived_at: Mapped[Instant | None]


class Redemption(Base):
    """One coupon for one subscription; its id is that of the discount there.

    Status: reserved (counted, the subscription is being asked), applied, given_back (it was refused; counted no more).
    """

    __tablename__ = "redemptions"
    __table_args__ = (
        CheckConstraint("status IN ('reserved', 'applied', 'given_back')", name="status"),
        Index("ix_redemptions_coupon", "coupon_id", "at", "id"),
        Index("ix_redemptions_customer", "customer_id", "coupon_id"),
    )

    id: Mapped[Id] = mapped_column(primary_key=True)
    coupon_id: Mapped[Id] = mapped_column(ForeignKey("coupons.id"))
    promotion_code_id: Mapped[Id | None] = mapped_column(ForeignKey("promotion_codes.id"))
    customer_id: Mapped[Id] = mapped_column(ForeignKey("customers.id"))
    subscription_id: Mapped[Id]
    status: Mapped[str]
    actor: Mapped[str]
    at: Mapped[Recorded]
    ended_at: Mapped[Instant | None]


class CustomerDiscount(Base):
    """A discount that an agent set for one customer: on every subscription, those to come too, until it is ended."""

    __tablename__ = "customer_discounts"
    __table_args__ = (
        CheckConstraint("(rate = 0) <> (amount = 0)", name="size"),
        Index("ix_customer_discounts_customer", "customer_id", "created_at", "id"),
    )

    id: Mapped[Id] = mapped_column(primary_key=True)
    customer_id: Mapped[Id] = mapped_column(ForeignKey("customers.id"))
    name: Mapped[str]
    rate: Mapped[int]
    amount: Mapped[Minor]
    currency: Mapped[Currency | None]
    cycles: Mapped[int | None]
    until: Mapped[Instant | None]
    products: Mapped[list[Any]] = mapped_column(server_default=text("'[]'::jsonb"))
    reason: Mapped[str]
    actor: Mapped[str]
    created_at: Mapped[Recorded]
    ended_at: Mapped[Instant | None]
    ended_by: Mapped[str | None]


class TaxRateRow(Base):
    """A rate of tax, never edited: ended, and followed by another. Valid from a day, until but not with another."""

    __tablename__ = "tax_rates"
    __table_args__ = (
        CheckConstraint("rate BETWEEN 0 AND 100000", name="rate"),
        CheckConstraint("valid_until > valid_from", name="validity"),
        Index("ix_tax_rates_place", "place", "category", "valid_from"),
    )

    id: Mapped[Id] = mapped_column(primary_key=True)
    place: Mapped[str]
    category: Mapped[str]
    rate: Mapped[int]
    inclusive: Mapped[bool]
    valid_from: Mapped[date]
    valid_until: Mapped[date | None]
    actor: Mapped[str]
    created_at: Mapped[Recorded]


class TaxRun(Base):
    """How far changed rates of a country have reached its running subscriptions."""

    __tablename__ = "tax_runs"
    __table_args__ = (
        CheckConstraint("status IN ('running', 'done')", name="status"),
        Index("ix_tax_runs_started", "started_at", "id"),
    )

    id: Mapped[Id] = mapped_column(primary_key=True)
    country: Mapped[str]
    per_minute: Mapped[int]
    actor: Mapped[str]
    reason: Mapped[str]
    status: Mapped[str]
    cursor: Mapped[str] = mapped_column(server_default="")
    seen: Mapped[int] = mapped_column(server_default="0")
    failed: Mapped[int] = mapped_column(server_default="0")
    detail: Mapped[str] = mapped_column(server_default="")
    started_at: Mapped[Instant]
    ended_at: Mapped[Instant | None]
