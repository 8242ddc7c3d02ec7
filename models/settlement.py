"""What the gateways report: settlement batches, and the differences between their books and ours."""

from __future__ import annotations

from sqlalchemy import CheckConstraint, Index, text
from sqlalchemy.orm import Mapped, mapped_column

from models.base import Base, Currency, Id, Instant, Json, Minor, Recorded


class SettlementLine(Base):
    """One line of a gateway's batch report, as it was first read; append-only, so a repeat adds nothing.

    Kind: `sale` or `refund`. `reference` is ours, as the gateway has it.
    """

    __tablename__ = "settlement_lines"
    __table_args__ = (
        Index("ix_settlement_lines_batch", "gateway", "batch_id"),
        Index("ix_settlement_lines_reference", "reference"),
    )

    gateway: Mapped[str] = mapped_column(primary_key=True)
    gateway_id: Mapped[str] = mapped_column(primary_key=True)
    batch_id: Mapped[str]
    kind: Mapped[str]
    reference: Mapped[str]
    amount: Mapped[Minor]
    currency: Mapped[Currency]
    settled_at: Mapped[Instant]
    read_at: Mapped[Recorded]


class SettlementRun(Base):
    """One reading of a gateway's reports (`settlement`), or comparison with its books (`reconciliation`).

    `place` is how far it is; counts and place change in one step, so that a step made twice counts once. `cursor` is
    the gateway's, behind the last line read.
    """

    __tablename__ = "settlement_runs"
    __table_args__ = (Index("ix_settlement_runs_started", "started_at", "id"),)

    id: Mapped[Id] = mapped_column(primary_key=True)
    kind: Mapped[str]
    gateway: Mapped[str]
    source: Mapped[str]
    status: Mapped[str]
    since: Mapped[Instant | None]
    until: Mapped[Instant | None]
    seen: Mapped[int] = mapped_column(server_default="0")
    changed: Mapped[int] = mapped_column(server_default="0")
    differences: Mapped[int] = mapped_column(server_default="0")
    cursor: Mapped[str | None]
    place: Mapped[str] = mapped_column(server_default="")
    started_at: Mapped[Instant]
    ended_at: Mapped[Instant | None]


class Difference(Base):
    """Our books and a gateway's do not agree on one transaction.

    Kind: missing_here, missing_there, amount, state. `ours` and `theirs` are both sides as they were found. Status:
    open, fixed (by a command), gone (a later comparison found both sides equal), dismissed (with a reason). `adopted`
    is what was booked to have what the gateway says.
    """

    __tablename__ = "differences"
    __table_args__ = (
        CheckConstraint("kind IN ('missing_here', 'missing_there', 'amount', 'state')", name="kind"),
        CheckConstraint("status IN ('open', 'fixed', 'gone', 'dismissed')", name="status"),
        Index("ix_differences_found", "found_at", "id"),
        Index("ix_differences_reference", "gateway", "reference"),
        Index("uq_differences_open", "gateway", "reference", "kind", unique=True, postgresql_where="status = 'open'"),
    )

    id: Mapped[Id] = mapped_column(primary_key=True)
    gateway: Mapped[str]
    reference: Mapped[str]
    gateway_id: Mapped[str | None]
    kind: Mapped[str]
    currency: Mapped[Currency]
    ours: Mapped[Json] = mapped_column(server_default=text("'{}'::jsonb"))
    theirs: Mapped[Json] = mapped_column(server_default=text("'{}'::jsonb"))
    customer_id: Mapped[Id | None]
    run_id: Mapped[Id]
    status: Mapped[str] = mapped_column(server_default="open")
    resolution: Mapped[str | None]
    command_id: Mapped[Id | None]
    adopted: Mapped[Minor | None]
    reason: Mapped[str] = mapped_column(server_default="")
    closed_by: Mapped[str | None]
    found_at: Mapped[Instant]
    closed_at: Mapped[Instant | None]


class ReportedTransaction(Base):
    """A transaction as a gateway reported it to a reconciliation that is under way; removed when that run ends."""

    __tablename__ = "reported_transactions"
    __table_args__ = (Index("ix_reported_transactions_reference", "run_id", "reference"),)

    run_id: Mapped[Id] = mapped_column(primary_key=True)
    gateway_id: Mapped[str] = mapped_column(primary_key=True)
    kind: Mapped[str]
    reference: Mapped[str]
    amount: Mapped[Minor]
    currency: Mapped[Currency]
    state: Mapped[str]
    at: Mapped[Instant]
