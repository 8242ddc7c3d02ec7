"""Who may call the API, and which POSTs were already answered."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Index, text
from sqlalchemy.orm import Mapped, mapped_column

from models.base import Base, Id, Instant, Recorded


class ApiKey(Base):
    """A key for programs: shown once, stored as a SHA-256 digest. `prefix` lets people tell keys apart.

    `scopes`: the commands it may give, of those of its role; empty is all of them. `used_at` is coarse.
    """

    __tablename__ = "api_keys"
    __table_args__ = (Index("uq_api_keys_digest", "digest", unique=True),)

    id: Mapped[Id] = mapped_column(primary_key=True)
    name: Mapped[str]
    prefix: Mapped[str]
    digest: Mapped[str]
    role: Mapped[str] = mapped_column(server_default="admin")
    scopes: Mapped[list[Any]] = mapped_column(server_default=text("'[]'::jsonb"))
    created_by: Mapped[str | None]
    created_at: Mapped[Recorded]
    used_at: Mapped[Instant | None]
    revoked_at: Mapped[Instant | None]


class IdempotencyRecord(Base):
    """One POST by its key: the digest of what was asked, and the answer once there is one. `caller_id`: of the API key,
    or of the person who had signed in.

    `locked_until` bounds how long a crash in the middle blocks a repetition.
    """

    __tablename__ = "idempotency_records"
    __table_args__ = (Index("ix_idempotency_records_created", "created_at"),)

    caller_id: Mapped[Id] = mapped_column(primary_key=True)
    key: Mapped[str] = mapped_column(primary_key=True)
    route: Mapped[str]
    digest: Mapped[str]
    status: Mapped[int | None]
    body: Mapped[str | None]
    locked_until: Mapped[Instant]
    created_at: Mapped[Recorded]
