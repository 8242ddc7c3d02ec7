"""Templates of letters, every version of them, and mail that was received."""

from __future__ import annotations

from sqlalchemy import BigInteger, CheckConstraint, ForeignKey, Identity, LargeBinary, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from models.base import Base, Id, Recorded


class LetterTemplate(Base):
    """One version of a template: who wrote it and when; append-only. The highest of an event and language is in force.

    Without words: from then on the built-in ones again. Ids follow the order of commits (writers take turns), so the
    last id says whether anything has changed.
    """

    __tablename__ = "letter_templates"
    __table_args__ = (
        UniqueConstraint("event", "language", "version"),
        CheckConstraint("(subject IS NULL) = (text IS NULL)", name="whole"),
    )

    id: Mapped[int] = mapped_column(BigInteger, Identity(), primary_key=True)
    event: Mapped[str]
    language: Mapped[str]
    version: Mapped[int]
    subject: Mapped[str | None]
    text: Mapped[str | None]
    html: Mapped[str | None]
    actor: Mapped[str]
    at: Mapped[Recorded]


class ReceivedMail(Base):
    """What belongs to a received message besides its row among the messages: the mail as it came, and why it is where
    it is. `matched_by`: the message it answers, its sender's address, a person; None: nobody's yet.
    """

    __tablename__ = "received_mails"
    __table_args__ = (
        CheckConstraint("kind IN ('mail', 'auto_reply', 'bounce')", name="kind"),
        CheckConstraint("matched_by IN ('message', 'address', 'person')", name="matched_by"),
    )

    message_id: Mapped[Id] = mapped_column(ForeignKey("messages.id"), primary_key=True)
    rfc_message_id: Mapped[str | None]
    kind: Mapped[str]
    matched_by: Mapped[str | None]
    why: Mapped[str]
    raw: Mapped[bytes] = mapped_column(LargeBinary)
    received_at: Mapped[Recorded]
