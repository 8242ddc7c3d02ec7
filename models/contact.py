"""What staff send and whom they ring: letters from a template, and calls placed by the phone switch."""

from __future__ import annotations

from sqlalchemy import CheckConstraint, ForeignKey, Index
from sqlalchemy.orm import Mapped, mapped_column

from models.base import Base, Id, Instant, Json, Recorded


class StaffLetter(Base):
    """A wish to write to a customer. The message of the same id is made from it by the worker, once."""

    __tablename__ = "staff_letters"
    __table_args__ = (Index("ix_staff_letters_customer", "customer_id"),)

    id: Mapped[Id] = mapped_column(primary_key=True)
    customer_id: Mapped[Id] = mapped_column(ForeignKey("customers.id"))
    template: Mapped[str]
    values: Mapped[Json]
    actor: Mapped[str]
    at: Mapped[Recorded]


class PhoneCall(Base):
    """A call that the switch was asked for. Written before it is asked.

    Status: pending (being asked, or its answer lost), placed, refused, unknown.
    """

    __tablename__ = "phone_calls"
    __table_args__ = (
        CheckConstraint("status IN ('pending', 'placed', 'refused', 'unknown')", name="status"),
        Index("ix_phone_calls_customer", "customer_id", "at", "id"),
    )

    id: Mapped[Id] = mapped_column(primary_key=True)
    customer_id: Mapped[Id] = mapped_column(ForeignKey("customers.id"))
    number: Mapped[str]
    status: Mapped[str] = mapped_column(server_default="pending")
    message: Mapped[str] = mapped_column(server_default="")
    actor: Mapped[str]
    at: Mapped[Recorded]
    answered_at: Mapped[Instant | None]
