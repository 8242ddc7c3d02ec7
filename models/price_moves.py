"""Moves of subscribers to another price: what was asked, how far it is, and the verdict on each subscription."""

from __future__ import annotations

from sqlalchemy import CheckConstraint, ForeignKey, Index, text
from sqlalchemy.orm import Mapped, mapped_column

from models.base import Base, Id, Instant, Json


class PriceMove(Base):
    """One bulk move from a price to another. Status: running, paused, stopped (by a person), done.

    `at`: `now` or `period_end` for all, null as for any change. `detail`: why it is paused or was stopped.
    """

    __tablename__ = "price_moves"
    __table_args__ = (
        CheckConstraint("status IN ('running', 'paused', 'stopped', 'done')", name="status"),
        Index("ix_price_moves_started", "started_at", "id"),
    )

    id: Mapped[Id] = mapped_column(primary_key=True)
    from_price_id: Mapped[Id] = mapped_column(ForeignKey("prices.id"))
    to_price_id: Mapped[Id] = mapped_column(ForeignKey("prices.id"))
    at: Mapped[str | None]
    prorate: Mapped[bool]
    keep_anchor: Mapped[bool]
    per_minute: Mapped[int]
    failures_percent_max: Mapped[int]
    reason: Mapped[str]
    actor: Mapped[str]
    status: Mapped[str]
    detail: Mapped[str] = mapped_column(server_default="")
    seen: Mapped[int] = mapped_column(server_default="0")
    verdicts: Mapped[Json] = mapped_column(server_default=text("'{}'::jsonb"))
    started_at: Mapped[Instant]
    ended_at: Mapped[Instant | None]


class PriceMoveItem(Base):
    """The verdict on one subscription: asked, moved, planned, elsewhere, refused or failed."""

    __tablename__ = "price_move_items"

    move_id: Mapped[Id] = mapped_column(ForeignKey("price_moves.id"), primary_key=True)
    subscription_id: Mapped[Id] = mapped_column(primary_key=True)
    verdict: Mapped[str]
    detail: Mapped[str] = mapped_column(server_default="")
