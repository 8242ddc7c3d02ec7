"""Who did what, and who looked at whom: append-only, and free of personal data but for ids."""

from __future__ import annotations

from sqlalchemy import BigInteger, CheckConstraint, Identity, Index
from sqlalchemy.orm import Mapped, mapped_column

from models.base import Base, Id, Recorded


class ActivityLine(Base):
    """One command that came through the API, done or refused. `status` is that of its answer.

    `subject_id` is what the path names besides the customer, `created_id` what came into being. `replayed`: nothing
    was done, it was the kept answer of an earlier request. No foreign keys: a log outlives what it speaks of.
    """

    __tablename__ = "activity_log"
    __table_args__ = (
        Index("ix_activity_log_at", "at", "id"),
        Index("ix_activity_log_customer", "customer_id", "at", "id"),
        Index("ix_activity_log_actor", "actor", "at", "id"),
        Index("ix_activity_log_command", "command", "at", "id"),
    )

    id: Mapped[int] = mapped_column(BigInteger, Identity(), primary_key=True)
    at: Mapped[Recorded]
    caller_id: Mapped[Id]
    actor: Mapped[str]
    role: Mapped[str]
    command: Mapped[str]
    customer_id: Mapped[Id | None]
    subject_id: Mapped[Id | None]
    created_id: Mapped[Id | None]
    idempotency_key: Mapped[str | None]
    status: Mapped[int]
    replayed: Mapped[bool]


class AccessLine(Base):
    """One look. Kind: `customer` (something of one customer was shown), `file` (a file was taken), `sign_in`.

    `what` is the command that reads, or how a sign-in ended; `address` is where a sign-in came from.
    """

    __tablename__ = "access_log"
    __table_args__ = (
        CheckConstraint("kind IN ('customer', 'file', 'sign_in')", name="kind"),
        Index("ix_access_log_at", "at", "id"),
        Index("ix_access_log_customer", "customer_id", "at", "id"),
        Index("ix_access_log_actor", "actor", "at", "id"),
        Index("ix_access_log_what", "what", "at", "id"),
    )

    id: Mapped[int] = mapped_column(BigInteger, Identity(), primary_key=True)
    at: Mapped[Recorded]
    kind: Mapped[str]
    caller_id: Mapped[Id | None]
    actor: Mapped[str]
    role: Mapped[str | None]
    what: Mapped[str]
    customer_id: Mapped[Id | None]
    subject_id: Mapped[Id | None]
    address: Mapped[str | None]
