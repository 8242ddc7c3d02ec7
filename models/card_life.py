"""What was told of cards that come to their end, and what gateways said of cards that were renewed or closed."""

from __future__ import annotations

from sqlalchemy import CheckConstraint, ForeignKey, Index
from sqlalchemy.orm import Mapped, mapped_column

from models.base import Base, Id, Instant, Recorded, Updated


class CardNotice(Base):
    """One notice: this card, with this end (`2027-03`), so many days before it. There is no second.

    `message_id` is null where the customer has no email address.
    """

    __tablename__ = "card_notices"
    __table_args__ = (Index("ix_card_notices_customer", "customer_id"),)

    payment_method_id: Mapped[Id] = mapped_column(ForeignKey("payment_methods.id"), primary_key=True)
    expires: Mapped[str] = mapped_column(primary_key=True)
    days: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    customer_id: Mapped[Id] = mapped_column(ForeignKey("customers.id"))
    message_id: Mapped[Id | None]
    at: Mapped[Instant]


class CardChange(Base):
    """A change of one card that its gateway told of, applied once. `id` is the gateway's.

    `before` and `after` are the card as it is shown: brand, last four, expiry.
    """

    __tablename__ = "card_changes"
    __table_args__ = (
        CheckConstraint("kind IN ('renewed', 'closed')", name="kind"),
        Index("ix_card_changes_customer", "customer_id"),
    )

    gateway: Mapped[str] = mapped_column(primary_key=True)
    id: Mapped[str] = mapped_column(primary_key=True)
    payment_method_id: Mapped[Id] = mapped_column(ForeignKey("payment_methods.id"), primary_key=True)
    kind: Mapped[str]
    customer_id: Mapped[Id] = mapped_column(ForeignKey("customers.id"))
    before: Mapped[str]
    after: Mapped[str]
    at: Mapped[Instant]
    recorded_at: Mapped[Recorded]


class CardFeed(Base):
    """How far the changes of a gateway's cards were read."""

    __tablename__ = "card_feeds"

    gateway: Mapped[str] = mapped_column(primary_key=True)
    cursor: Mapped[str]
    updated_at: Mapped[Updated]
