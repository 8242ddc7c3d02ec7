"""What people write down about a customer, and what a customer collects and says: notes, loyalty points, reviews."""

from __future__ import annotations

from sqlalchemy import CheckConstraint, ForeignKey, Index, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from models.base import Base, Id, Instant, Recorded


class Note(Base):
    """A note as it stands. `internal`: never shown to the customer. A removed one keeps its row and its versions."""

    __tablename__ = "notes"
    __table_args__ = (
        CheckConstraint("visibility IN ('internal', 'public')", name="visibility"),
        Index("ix_notes_customer", "customer_id", "created_at", "id"),
    )

    id: Mapped[Id] = mapped_column(primary_key=True)
    customer_id: Mapped[Id] = mapped_column(ForeignKey("customers.id"))
    visibility: Mapped[str]
    text: Mapped[str]
    version: Mapped[int] = mapped_column(server_default="1")
    author: Mapped[str]
    created_at: Mapped[Recorded]
    edited_by: Mapped[str | None]
    edited_at: Mapped[Instant | None]
    removed_by: Mapped[str | None]
    removed_at: Mapped[Instant | None]


class NoteVersion(Base):
    """What a note said, and who had written it so. Append-only; the newest version is what the note says now."""

    __tablename__ = "note_versions"

    note_id: Mapped[Id] = mapped_column(ForeignKey("notes.id"), primary_key=True)
    version: Mapped[int] = mapped_column(primary_key=True)
    visibility: Mapped[str]
    text: Mapped[str]
    author: Mapped[str]
    at: Mapped[Recorded]


class PointMovement(Base):
    """Loyalty points given or taken. Append-only; `seq` counts a customer's movements.

    `balance` is what they add up to with this one. Two hands cannot both write the next `seq`, so none is overlooked.
    """

    __tablename__ = "point_movements"
    __table_args__ = (
        UniqueConstraint("customer_id", "seq"),
        CheckConstraint("amount <> 0", name="amount"),
        CheckConstraint("balance >= 0", name="balance"),
    )

    id: Mapped[Id] = mapped_column(primary_key=True)
    customer_id: Mapped[Id] = mapped_column(ForeignKey("customers.id"))
    seq: Mapped[int]
    amount: Mapped[int]
    balance: Mapped[int]
    reason: Mapped[str]
    actor: Mapped[str]
    at: Mapped[Recorded]


class Review(Base):
    """What a customer says of a product they have or had; one for each product."""

    __tablename__ = "reviews"
    __table_args__ = (
        UniqueConstraint("customer_id", "product_id"),
        CheckConstraint("rating BETWEEN 1 AND 5", name="rating"),
        CheckConstraint("status IN ('shown', 'hidden')", name="status"),
        Index("ix_reviews_product", "product_id", "created_at", "id"),
        Index("ix_reviews_created", "created_at", "id"),
    )

    id: Mapped[Id] = mapped_column(primary_key=True)
    customer_id: Mapped[Id] = mapped_column(ForeignKey("customers.id"))
    product_id: Mapped[Id] = mapped_column(ForeignKey("products.id"))
    rating: Mapped[int]
    text: Mapped[str]
    status: Mapped[str] = mapped_column(server_default="shown")
    status_reason: Mapped[str] = mapped_column(server_default="")
    status_by: Mapped[str | None]
    recorded_by: Mapped[str]
    created_at: Mapped[Recorded]
