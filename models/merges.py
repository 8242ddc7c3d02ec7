"""Merges of two customers: who went into whom, and row by row what moved, so that it can be moved back."""

from __future__ import annotations

from sqlalchemy import CheckConstraint, ForeignKey, Index, text
from sqlalchemy.orm import Mapped, mapped_column

from models.base import Base, Id, Instant, Json, Recorded


class Merge(Base):
    """One merge: a projection of its workflow `merge:{id}`. `source`: a person, or a guest's verified address.

    Status: running (rows move), done (may be undone until `undo_until`), undoing, undone, final (its time is over).
    `moved` counts by what moved.
    """

    __tablename__ = "merges"
    __table_args__ = (
        CheckConstraint("master_id <> loser_id", name="two"),
        CheckConstraint("status IN ('running', 'done', 'undoing', 'undone', 'final')", name="status"),
        CheckConstraint("source IN ('person', 'guest')", name="source"),
        Index("ix_merges_at", "at", "id"),
        Index("ix_merges_master", "master_id", "at"),
        Index("uq_merges_loser", "loser_id", unique=True, postgresql_where=text("status <> 'undone'")),
    )

    id: Mapped[Id] = mapped_column(primary_key=True)
    master_id: Mapped[Id] = mapped_column(ForeignKey("customers.id"))
    loser_id: Mapped[Id] = mapped_column(ForeignKey("customers.id"))
    source: Mapped[str] = mapped_column(server_default="person")
    status: Mapped[str] = mapped_column(server_default="running")
    actor: Mapped[str]
    reason: Mapped[str] = mapped_column(server_default="")
    moved: Mapped[Json] = mapped_column(server_default=text("'{}'::jsonb"))
    at: Mapped[Instant]
    done_at: Mapped[Instant | None]
    undo_until: Mapped[Instant | None]
    undone_by: Mapped[str | None]
    undo_reason: Mapped[str] = mapped_column(server_default="")
    undone_at: Mapped[Instant | None]


class MergeMove(Base):
    """One row that a merge moved. `what` is its table and column; `detail`, what else must be put back with it."""

    __tablename__ = "merge_moves"
    __table_args__ = (
        Index("ix_merge_moves_row", "what", "row_id"),
        Index("ix_merge_moves_owner", "old_owner", "what"),
        Index("ix_merge_moves_left", "merge_id", "what", "row_id", postgresql_where=text("undone_at IS NULL")),
    )

    merge_id: Mapped[Id] = mapped_column(ForeignKey("merges.id"), primary_key=True)
    what: Mapped[str] = mapped_column(primary_key=True)
    row_id: Mapped[Id] = mapped_column(primary_key=True)
    old_owner: Mapped[Id]
    detail: Mapped[Json] = mapped_column(server_default=text("'{}'::jsonb"))
    moved_at: Mapped[Recorded]
    undone_at: Mapped[Instant | None]
