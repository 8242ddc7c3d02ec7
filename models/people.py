"""Tables of the people who serve customers: who they are, where they are signed in, what they tried."""

from __future__ import annotations

from sqlalchemy import BigInteger, ForeignKey, Index, func, text
from sqlalchemy.orm import Mapped, mapped_column

from models.base import Base, Id, Instant, Recorded, Updated


class Person(Base):
    """Somebody of the merchant. `name` stands as actor on what they do, so it is theirs alone.

    `password_hash` is Argon2id; null: cannot sign in yet. `one_time_until`: the password was made for them, holds
    until then, and must be changed first. `totp_secret` is sealed; `totp_pending` is one that waits for its first
    code; `totp_step` is the last time step whose code was used.
    """

    __tablename__ = "people"
    __table_args__ = (
        Index("uq_people_email", text("lower(email)"), unique=True),
        Index("uq_people_name", text("lower(name)"), unique=True),
        Index("ix_people_created", "created_at", "id"),
    )

    id: Mapped[Id] = mapped_column(primary_key=True)
    email: Mapped[str]
    name: Mapped[str]
    role: Mapped[str]
    password_hash: Mapped[str | None]
    password_at: Mapped[Instant | None]
    one_time_until: Mapped[Instant | None]
    totp_secret: Mapped[str | None]
    totp_pending: Mapped[str | None]
    totp_step: Mapped[int | None] = mapped_column(BigInteger)
    disabled_at: Mapped[Instant | None]
    signed_in_at: Mapped[Instant | None]
    created_by: Mapped[str]
    created_at: Mapped[Recorded]
    updated_at: Mapped[Updated]


class PersonSession(Base):
    """One sign-in, from then until it is ended or too old. The token is shown once and kept as a digest."""

    __tablename__ = "person_sessions"
    __table_args__ = (
        Index("uq_person_sessions_digest", "digest", unique=True),
        Index("ix_person_sessions_person", "person_id", "created_at", "id"),
    )

    id: Mapped[Id] = mapped_column(primary_key=True)
    person_id: Mapped[Id] = mapped_column(ForeignKey("people.id"))
    digest: Mapped[str]
    address: Mapped[str]
    user_agent: Mapped[str]
    created_at: Mapped[Recorded]
    seen_at: Mapped[Instant] = mapped_column(server_default=func.now())
    expires_at: Mapped[Instant]
    ended_at: Mapped[Instant | None]
    ended_why: Mapped[str | None]


class RecoveryCode(Base):
    """A code that stands in for a second factor, once."""

    __tablename__ = "recovery_codes"

    person_id: Mapped[Id] = mapped_column(ForeignKey("people.id"), primary_key=True)
    digest: Mapped[str] = mapped_column(primary_key=True)
    used_at: Mapped[Instant | None]


class SignInPlace(Base):
    """A device (by the digest of its token) or an address from which somebody has signed in."""

    __tablename__ = "sign_in_places"

    person_id: Mapped[Id] = mapped_column(ForeignKey("people.id"), primary_key=True)
    place: Mapped[str] = mapped_column(primary_key=True)
    last_at: Mapped[Instant]


class SignInThrottle(Base):
    """Wrong tries of a login, by the digest of what was typed: from one place, or from everywhere.

    Kept for logins that are not there, too, or a wait would tell that one is. `told`: the access log says that tries
    are held back, and need not say it again.
    """

    __tablename__ = "sign_in_throttles"
    __table_args__ = (Index("ix_sign_in_throttles_last", "last_at"),)

    key: Mapped[str] = mapped_column(primary_key=True)
    tries: Mapped[int] = mapped_column(server_default="0")
    last_at: Mapped[Instant | None]
    told: Mapped[bool] = mapped_column(server_default="false")
