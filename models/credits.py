"""E-vouchers, and credit on its way to a subscription. Balances are ledger accounts, never columns."""

from __future__ import annotations

from typing import Any

from sqlalchemy import CheckConstraint, ForeignKey, Index, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column

from models.base import Base, Currency, Id, Instant, Minor, Recorded


class Voucher(Base):
    """An e-voucher. What is left of it is the balance of ledger account `voucher:{id}`; its row is only locked.

    `expired_at`: when what was left was taken off it at its end; none again where a redemption then gave money back.
    """

    __tablename__ = "vouchers"
    __table_args__ = (
        UniqueConstraint("code"),
        CheckConstraint("issued > 0", name="issued"),
        Index("ix_vouchers_customer", "customer_id", "issued_at"),
        Index("ix_vouchers_issued", "issued_at", "id"),
        Index("ix_vouchers_expires", "expires_at", "id", postgresql_where=text("expired_at IS NULL")),
    )

    id: Mapped[Id] = mapped_column(primary_key=True)
    code: Mapped[str]
    customer_id: Mapped[Id | None] = mapped_column(ForeignKey("customers.id"))
    currency: Mapped[Currency]
    issued: Mapped[Minor]
    expires_at: Mapped[Instant | None]
    reason: Mapped[str]
    actor: Mapped[str]
    test_mode: Mapped[bool]
    issued_at: Mapped[Instant]
    expired_at: Mapped[Instant | None]


class VoucherMovement(Base):
    """One change of a voucher's balance; append-only. Kind: issued, adjusted, redeemed, given_back, expired.

    `amount` is signed: what it added to the balance. `id` is that of its ledger entry.
    """

    __tablename__ = "voucher_movements"
    __table_args__ = (
        CheckConstraint("amount <> 0", name="amount"),
        Index("ix_voucher_movements_voucher", "voucher_id", "at"),
    )

    id: Mapped[Id] = mapped_column(primary_key=True)
    voucher_id: Mapped[Id] = mapped_column(ForeignKey("vouchers.id"))
    kind: Mapped[str]
    amount: Mapped[Minor]
    subscription_id: Mapped[Id | None]
    actor: Mapped[str]
    reason: Mapped[str]
    at: Mapped[Instant]
    recorded_at: Mapped[Recorded]


class CreditTransfer(Base):
    """Money on its way from a voucher or a credit note into a subscription's credit for rebills.

    A projection of its workflow `credit:{id}`. Status: pending, granted, given_back (the subscription refused: `code`
    and `detail` say why). `source_id` is the voucher, or the credit note, which is written once the money is granted.
    """

    __tablename__ = "credit_transfers"
    __table_args__ = (
        CheckConstraint("amount > 0", name="amount"),
        CheckConstraint("source IN ('voucher', 'credit_note')", name="source"),
        CheckConstraint("status IN ('pending', 'granted', 'given_back')", name="status"),
        Index("ix_credit_transfers_customer", "customer_id", "at"),
    )

    id: Mapped[Id] = mapped_column(primary_key=True)
    source: Mapped[str]
    source_id: Mapped[Id]
    subscription_id: Mapped[Id]
    customer_id: Mapped[Id] = mapped_column(ForeignKey("customers.id"))
    invoice_id: Mapped[Id | None]
    amount: Mapped[Minor]
    taxes: Mapped[dict[str, Any]] = mapped_column(server_default=text("'{}'::jsonb"))
    currency: Mapped[Currency]
    status: Mapped[str]
    code: Mapped[str | None]
    detail: Mapped[str] = mapped_column(server_default="")
    actor: Mapped[str]
    at: Mapped[Instant]
    ended_at: Mapped[Instant | None]
