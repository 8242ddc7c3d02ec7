"""How customers sign in at the merchant's site and the portal: names, password hashes, who may not, from where."""

from __future__ import annotations

from sqlalchemy import CheckConstraint, ForeignKey, String, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from models.base import Base, Id, Instant, Recorded, Updated

DIGEST_LENGTH = 64


class CustomerLogin(Base):
    """A customer's login. `login_key` is `login` in the form that is compared; no password is kept, only its hash.

    `session_version` grows whenever open sessions must end: a session that carries another one is over.
    Disabled is `disabled_at` without, for good, or with a `disabled_until` that is still to come.
    """

    __tablename__ = "customer_logins"
    __table_args__ = (
        UniqueConstraint("login_key", name="uq_customer_logins_login"),
        CheckConstraint("(login IS NULL) = (login_key IS NULL)", name="login"),
        CheckConstraint("disabled_until IS NULL OR disabled_at IS NOT NULL", name="disabled"),
    )

    customer_id: Mapped[Id] = mapped_column(ForeignKey("customers.id"), primary_key=True)
    login: Mapped[str | None]
    login_key: Mapped[str | None]
    password_hash: Mapped[str | None]
    password_set_at: Mapped[Instant | None]
    must_change: Mapped[bool] = mapped_column(server_default="false")
    disabled_at: Mapped[Instant | None]
    disabled_until: Mapped[Instant | None]
    disabled_reason: Mapped[str] = mapped_column(server_default="")
    disabled_by: Mapped[str | None]
    session_version: Mapped[int] = mapped_column(server_default="1")
    created_at: Mapped[Recorded]
    updated_at: Mapped[Updated]


class LoginPlace(Base):
    """Where a customer has signed in from, as a digest: from there a right password is always heard."""

    __tablename__ = "login_places"

    customer_id: Mapped[Id] = mapped_column(ForeignKey("customers.id"), primary_key=True)
    place: Mapped[str] = mapped_column(String(DIGEST_LENGTH), primary_key=True)
    last_at: Mapped[Instant]
