"""Files that were sent, byte for byte: what a customer holds in hands can be read again here."""

from __future__ import annotations

from sqlalchemy import ForeignKey, Index, LargeBinary
from sqlalchemy.orm import Mapped, mapped_column

from models.base import Base, Id, Recorded


class Document(Base):
    """A PDF/A of an invoice as it was sent; its id comes from its content, so the same file is kept once."""

    __tablename__ = "documents"
    __table_args__ = (Index("ix_documents_invoice", "invoice_id"),)

    id: Mapped[Id] = mapped_column(primary_key=True)
    invoice_id: Mapped[Id] = mapped_column(ForeignKey("invoices.id"))
    name: Mapped[str]
    content: Mapped[bytes] = mapped_column(LargeBinary)
    recorded_at: Mapped[Recorded]
