"""What customers are found by: custom fields and their values, saved filters, and the table the search box reads.

`customer_search` and `search_words` are kept by triggers of the database (migration 0005), whoever writes a customer
or a value of a custom field; no code of ours writes them.
"""

from __future__ import annotations

from typing import Any, Final

from sqlalchemy import CheckConstraint, Column, ForeignKey, Index, Table, Text, UniqueConstraint, text
from sqlalchemy.dialects.postgresql import ARRAY, JSONB
from sqlalchemy.orm import Mapped, mapped_column

from models.base import Base, Id, Instant, Json, Recorded, Updated

VALUE_INDEXED_LENGTH_MAX: Final = 200  # of a value of a custom field; what is longer is found by its words


class CustomField(Base):
    """A field that an admin defined. It is never deleted: an archived one takes no new values and keeps the old."""

    __tablename__ = "custom_fields"
    __table_args__ = (
        UniqueConstraint("subject", "key", name="uq_custom_fields_key"),
        CheckConstraint("subject IN ('customer', 'order')", name="subject"),
        CheckConstraint("type IN ('text', 'number', 'date', 'choice', 'yes_no')", name="type"),
    )

    id: Mapped[Id] = mapped_column(primary_key=True)
    subject: Mapped[str]
    key: Mapped[str]
    label: Mapped[str]
    type: Mapped[str]
    choices: Mapped[list[Any]] = mapped_column(server_default=text("'[]'::jsonb"))
    required: Mapped[bool] = mapped_column(server_default="false")
    created_at: Mapped[Recorded]
    updated_at: Mapped[Updated]
    archived_at: Mapped[Instant | None]


class CustomValue(Base):
    """What a customer has in a custom field, as it was given: text, number, or true or false. No row: nothing."""

    __tablename__ = "custom_values"
    __table_args__ = (
        Index("ix_custom_values_field", "field_id"),
        Index(
            "ix_custom_values_text",
            text(f"left(search_fold(value #>> '{{}}'), {VALUE_INDEXED_LENGTH_MAX})"),
        ),
    )

    customer_id: Mapped[Id] = mapped_column(ForeignKey("customers.id", ondelete="CASCADE"), primary_key=True)
    field_id: Mapped[Id] = mapped_column(ForeignKey("custom_fields.id"), primary_key=True)
    value: Mapped[Any] = mapped_column(JSONB)
    updated_at: Mapped[Updated]


class Segment(Base):
    """A saved filter over customers, as it was given; `domain.segments` says what it may hold."""

    __tablename__ = "segments"
    __table_args__ = (UniqueConstraint("name"),)

    id: Mapped[Id] = mapped_column(primary_key=True)
    name: Mapped[str]
    description: Mapped[str] = mapped_column(server_default="")
    filter: Mapped[Json]
    created_by: Mapped[str]
    created_at: Mapped[Recorded]
    updated_at: Mapped[Updated]


class CustomerSearch(Base):
    """One row for each customer, folded (small letters, no accents).

    `name` is "first last company", `phone` the digits backwards (so that an area or country code may be missing),
    `words` every run of letters or of digits in names, email, external id and values of custom fields.
    """

    __tablename__ = "customer_search"
    __table_args__ = (
        Index("ix_customer_search_phone", "phone", postgresql_ops={"phone": "text_pattern_ops"}),
        Index("ix_customer_search_words", "words", postgresql_using="gin"),
    )

    customer_id: Mapped[Id] = mapped_column(ForeignKey("customers.id", ondelete="CASCADE"), primary_key=True)
    name: Mapped[str]
    phone: Mapped[str]
    words: Mapped[list[str]] = mapped_column(ARRAY(Text))


# Every word of letters that some customer has, so that a misspelt one is looked up among words and not among
# customers. Without a unique key on purpose: two transactions that bring the same new word need not wait for each
# other, and a word that stands here twice does no harm.
search_words: Final = Table(
    "search_words",
    Base.metadata,
    Column("word", Text, nullable=False),
    Index("ix_search_words_word", "word", postgresql_ops={"word": "text_pattern_ops"}),
    Index("ix_search_words_similar", "word", postgresql_using="gin", postgresql_ops={"word": "gin_trgm_ops"}),
)
