"""Work for people: opened by an agent or by the system, with a deadline, an owner and a next action."""

from __future__ import annotations

from sqlalchemy import BigInteger, CheckConstraint, Identity, Index, text
from sqlalchemy.orm import Mapped, mapped_column

from models.base import Base, Id, Instant, Json, Recorded, Updated


class Task(Base):
    """One task. The system's tasks have an id made from what they are about, so each is opened once.

    `subject_kind` and `subject_id` name what it is about (refund, dispute, difference, charge, …).
    `reminded_at` is when the reminder for `remind_at` was given.
    """

    __tablename__ = "tasks"
    __table_args__ = (
        CheckConstraint("status IN ('open', 'done', 'canceled')", name="status"),
        CheckConstraint("priority IN ('low', 'normal', 'high', 'urgent')", name="priority"),
        Index("ix_tasks_customer", "customer_id", "opened_at"),
        Index("ix_tasks_opened", "opened_at", "id"),
        Index("ix_tasks_subject", "subject_kind", "subject_id"),
        Index("ix_tasks_open", "deadline", "id", postgresql_where=text("status = 'open'")),
    )

    id: Mapped[Id] = mapped_column(primary_key=True)
    kind: Mapped[str]
    title: Mapped[str]
    next_action: Mapped[str] = mapped_column(server_default="")
    detail: Mapped[Json] = mapped_column(server_default=text("'{}'::jsonb"))
    customer_id: Mapped[Id | None]
    subject_kind: Mapped[str | None]
    subject_id: Mapped[Id | None]
    assignee: Mapped[str | None]
    priority: Mapped[str] = mapped_column(server_default="normal")
    status: Mapped[str] = mapped_column(server_default="open")
    deadline: Mapped[Instant | None]
    remind_at: Mapped[Instant | None]
    reminded_at: Mapped[Instant | None]
    opened_by: Mapped[str]
    opened_at: Mapped[Recorded]
    closed_by: Mapped[str | None]
    closed_at: Mapped[Instant | None]
    outcome: Mapped[str] = mapped_column(server_default="")
    updated_at: Mapped[Updated]


class BusinessPolicy(Base):
    """A rule of the merchant's, set through the API: `refunds` (limits, approval, whom to tell), `disputes`, …"""

    __tablename__ = "business_policies"

    key: Mapped[str] = mapped_column(primary_key=True)
    value: Mapped[Json]
    updated_by: Mapped[str]
    updated_at: Mapped[Updated]


class BusinessPolicyChange(Base):
    """Each time a rule of the merchant's was set: by whom, from what (null: it never was), to what; append-only."""

    __tablename__ = "business_policy_changes"
    __table_args__ = (Index("ix_business_policy_changes_key", "key", "id"),)

    id: Mapped[int] = mapped_column(BigInteger, Identity(), primary_key=True)
    key: Mapped[str]
    at: Mapped[Recorded]
    actor: Mapped[str]
    old: Mapped[Json | None]
    new: Mapped[Json]
