"""Links that customers follow without signing in."""

from __future__ import annotations

from sqlalchemy import CheckConstraint, ForeignKey, Index
from sqlalchemy.orm import Mapped, mapped_column

from domain.links import Link, LinkKind
from models.base import Base, Id, Instant, Recorded


class CustomerLink(Base):
    """A link that was made. What stands in its address is not kept: it is made anew from this row and the key.

    `subject_id`: the invoice, card, customer or basket that it is for. `customer_id` is null where there is no customer
    yet.
    """

    __tablename__ = "links"
    __table_args__ = (
        CheckConstraint("kind IN ('pay_invoice', 'update_card', 'basket')", name="kind"),
        Index("ix_links_customer", "customer_id", "created_at", "id"),
        Index("ix_links_subject", "subject_id"),
    )

    id: Mapped[Id] = mapped_column(primary_key=True)
    kind: Mapped[str]
    subject_id: Mapped[Id]
    customer_id: Mapped[Id | None] = mapped_column(ForeignKey("customers.id"))
    created_by: Mapped[str]
    created_at: Mapped[Recorded]
    expires_at: Mapped[Instant]
    used_at: Mapped[Instant | None]
    revoked_at: Mapped[Instant | None]
    revoked_by: Mapped[str | None]

    @property
    def link(self) -> Link:
        """As it was signed."""
        return Link(self.id, LinkKind(self.kind), self.subject_id, self.expires_at)
