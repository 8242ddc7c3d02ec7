"""Parents, notes, logins of customers, points and reviews."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

APPEND_ONLY = ("note_versions", "point_movements")


def upgrade() -> None:
    _parents()
    _notes()
    _points_and_reviews()
    _logins()
    _contact()
    for table in APPEND_ONLY:
        op.execute(
            f"CREATE TRIGGER {table}_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON {table} "
            "FOR EACH STATEMENT EXECUTE FUNCTION refuse_change()"
        )


def _parents() -> None:
    op.add_column("customers", sa.Column("parent_id", sa.String(length=64), nullable=True))
    op.add_column("customers", sa.Column("pays", sa.Text(), server_default="self", nullable=False))
    op.create_foreign_key(op.f("fk_customers_parent_id"), "customers", "customers", ["parent_id"], ["id"])
    op.create_check_constraint(op.f("ck_customers_parent"), "customers", "parent_id <> id")
    op.create_check_constraint(
        op.f("ck_customers_pays"), "customers", "pays = 'self' OR pays = 'parent' AND parent_id IS NOT NULL"
    )
    op.create_index(
        "ix_customers_parent",
        "customers",
        ["parent_id", "created_at", "id"],
        postgresql_where=sa.text("parent_id IS NOT NULL"),
    )
    op.add_column("attempts", sa.Column("payer_id", sa.String(length=64), nullable=True))
    op.create_index(
        "ix_attempts_payer", "attempts", ["payer_id", "at"], postgresql_where=sa.text("payer_id IS NOT NULL")
    )


def _notes() -> None:
    op.create_table(
        "notes",
        _id(),
        _customer(),
        sa.Column("visibility", sa.Text(), nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.Column("version", sa.Integer(), server_default="1", nullable=False),
        sa.Column("author", sa.Text(), nullable=False),
        _now("created_at"),
        sa.Column("edited_by", sa.Text(), nullable=True),
        sa.Column("edited_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("removed_by", sa.Text(), nullable=True),
        sa.Column("removed_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint("visibility IN ('internal', 'public')", name=op.f("ck_notes_visibility")),
        sa.ForeignKeyConstraint(["customer_id"], ["customers.id"], name=op.f("fk_notes_customer_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_notes")),
    )
    op.create_index("ix_notes_customer", "notes", ["customer_id", "created_at", "id"])
    op.create_table(
        "note_versions",
        sa.Column("note_id", sa.String(length=64), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("visibility", sa.Text(), nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.Column("author", sa.Text(), nullable=False),
        _now("at"),
        sa.ForeignKeyConstraint(["note_id"], ["notes.id"], name=op.f("fk_note_versions_note_id")),
        sa.PrimaryKeyConstraint("note_id", "version", name=op.f("pk_note_versions")),
    )


def _points_and_reviews() -> None:
    op.create_table(
        "point_movements",
        _id(),
        _customer(),
        sa.Column("seq", sa.Integer(), nullable=False),
        sa.Column("amount", sa.Integer(), nullable=False),
        sa.Column("balance", sa.Integer(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("actor", sa.Text(), nullable=False),
        _now("at"),
        sa.CheckConstraint("amount <> 0", name=op.f("ck_point_movements_amount")),
        sa.CheckConstraint("balance >= 0", name=op.f("ck_point_movements_balance")),
        sa.ForeignKeyConstraint(["customer_id"], ["customers.id"], name=op.f("fk_point_movements_customer_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_point_movements")),
        sa.UniqueConstraint("customer_id", "seq", name=op.f("uq_point_movements_customer_id_seq")),
    )
    op.create_table(
        "reviews",
        _id(),
        _customer(),
        sa.Column("product_id", sa.String(length=64), nullable=False),
        sa.Column("rating", sa.Integer(), nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.Column("status", sa.Text(), server_default="shown", nullable=False),
        sa.Column("status_reason", sa.Text(), server_default="", nullable=False),
        sa.Column("status_by", sa.Text(), nullable=True),
        sa.Column("recorded_by", sa.Text(), nullable=False),
        _now("created_at"),
        sa.CheckConstraint("rating BETWEEN 1 AND 5", name=op.f("ck_reviews_rating")),
        sa.CheckConstraint("status IN ('shown', 'hidden')", name=op.f("ck_reviews_status")),
        sa.ForeignKeyConstraint(["customer_id"], ["customers.id"], name=op.f("fk_reviews_customer_id")),
        sa.ForeignKeyConstraint(["product_id"], ["products.id"], name=op.f("fk_reviews_product_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_reviews")),
        sa.UniqueConstraint("customer_id", "product_id", name=op.f("uq_reviews_customer_id_product_id")),
    )
    op.create_index("ix_reviews_created", "reviews", ["created_at", "id"])
    op.create_index("ix_reviews_product", "reviews", ["product_id", "created_at", "id"])


def _logins() -> None:
    op.create_table(
        "customer_logins",
        _customer(),
        sa.Column("login", sa.Text(), nullable=True),
        sa.Column("login_key", sa.Text(), nullable=True),
        sa.Column("password_hash", sa.Text(), nullable=True),
        sa.Column("password_set_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("must_change", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("disabled_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("disabled_until", sa.DateTime(timezone=True), nullable=True),
        sa.Column("disabled_reason", sa.Text(), server_default="", nullable=False),
        sa.Column("disabled_by", sa.Text(), nullable=True),
        sa.Column("session_version", sa.Integer(), server_default="1", nullable=False),
        _now("created_at"),
        _now("updated_at"),
        sa.CheckConstraint("(login IS NULL) = (login_key IS NULL)", name=op.f("ck_customer_logins_login")),
        sa.CheckConstraint(
            "disabled_until IS NULL OR disabled_at IS NOT NULL", name=op.f("ck_customer_logins_disabled")
        ),
        sa.ForeignKeyConstraint(["customer_id"], ["customers.id"], name=op.f("fk_customer_logins_customer_id")),
        sa.PrimaryKeyConstraint("customer_id", name=op.f("pk_customer_logins")),
        sa.UniqueConstraint("login_key", name=op.f("uq_customer_logins_login")),
    )
    op.create_table(
        "login_places",
        _customer(),
        sa.Column("place", sa.String(length=64), nullable=False),
        sa.Column("last_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["customer_id"], ["customers.id"], name=op.f("fk_login_places_customer_id")),
        sa.PrimaryKeyConstraint("customer_id", "place", name=op.f("pk_login_places")),
    )


def _contact() -> None:
    op.create_table(
        "staff_letters",
        _id(),
        _customer(),
        sa.Column("template", sa.Text(), nullable=False),
        sa.Column("values", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("actor", sa.Text(), nullable=False),
        _now("at"),
        sa.ForeignKeyConstraint(["customer_id"], ["customers.id"], name=op.f("fk_staff_letters_customer_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_staff_letters")),
    )
    op.create_index("ix_staff_letters_customer", "staff_letters", ["customer_id"])
    op.create_table(
        "phone_calls",
        _id(),
        _customer(),
        sa.Column("number", sa.Text(), nullable=False),
        sa.Column("status", sa.Text(), server_default="pending", nullable=False),
        sa.Column("message", sa.Text(), server_default="", nullable=False),
        sa.Column("actor", sa.Text(), nullable=False),
        _now("at"),
        sa.Column("answered_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint("status IN ('pending', 'placed', 'refused', 'unknown')", name=op.f("ck_phone_calls_status")),
        sa.ForeignKeyConstraint(["customer_id"], ["customers.id"], name=op.f("fk_phone_calls_customer_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_phone_calls")),
    )
    op.create_index("ix_phone_calls_customer", "phone_calls", ["customer_id", "at", "id"])


def _id() -> sa.Column[str]:
    return sa.Column("id", sa.String(length=64), nullable=False)


def _customer() -> sa.Column[str]:
    return sa.Column("customer_id", sa.String(length=64), nullable=False)


def _now(name: str) -> sa.Column[object]:
    return sa.Column(name, sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False)


def downgrade() -> None:
    for table in (
        "phone_calls",
        "staff_letters",
        "login_places",
        "customer_logins",
        "reviews",
        "point_movements",
        "note_versions",
        "notes",
    ):
        op.drop_table(table)
    op.drop_index("ix_attempts_payer", table_name="attempts", postgresql_where=sa.text("payer_id IS NOT NULL"))
    op.drop_column("attempts", "payer_id")
    op.drop_index("ix_customers_parent", table_name="customers", postgresql_where=sa.text("parent_id IS NOT NULL"))
    op.drop_constraint(op.f("ck_customers_pays"), "customers", type_="check")
    op.drop_constraint(op.f("ck_customers_parent"), "customers", type_="check")
    op.drop_constraint(op.f("fk_customers_parent_id"), "customers", type_="foreignkey")
    op.drop_column("customers", "pays")
    op.drop_column("customers", "parent_id")
