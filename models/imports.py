"""Files brought by a merchant: the file itself, its mapping, and what became of each row."""

from __future__ import annotations

from sqlalchemy import ForeignKey, Index, LargeBinary
from sqlalchemy.orm import Mapped, mapped_column

from models.base import Base, Id, Instant, Json, JsonList, Recorded


class Import(Base):
    """One file to import. Rows are taken in order, numbered as a spreadsheet does; `next_row` is the next to take.

    `actor` brought it. The counts and `next_row` change in the transaction that writes what they tell of.
    """

    __tablename__ = "imports"
    __table_args__ = (Index("ix_imports_created", "created_at", "id"),)

    id: Mapped[Id] = mapped_column(primary_key=True)
    kind: Mapped[str]
    file_name: Mapped[str]
    actor: Mapped[str] = mapped_column(server_default="")
    mapping: Mapped[Json]
    content: Mapped[bytes] = mapped_column(LargeBinary, deferred=True)
    status: Mapped[str]
    rows_total: Mapped[int] = mapped_column(server_default="0")
    next_row: Mapped[int] = mapped_column(server_default="0")
    applied: Mapped[int] = mapped_column(server_default="0")
    known: Mapped[int] = mapped_column(server_default="0")
    refused: Mapped[int] = mapped_column(server_default="0")
    error: Mapped[str | None]
    created_at: Mapped[Recorded]
    ended_at: Mapped[Instant | None]


class ImportRow(Base):
    """A refused row, its cells as they were, with the reason. Applied rows are found by the ids they got."""

    __tablename__ = "import_rows"

    import_id: Mapped[Id] = mapped_column(ForeignKey("imports.id"), primary_key=True)
    row: Mapped[int] = mapped_column(primary_key=True)
    field: Mapped[str]
    reason: Mapped[str]
    source: Mapped[JsonList]
