"""Links by which customers pay or renew a card, and notices of cards that expire."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0017"
down_revision = "0016"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "links",
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("subject_id", sa.String(length=64), nullable=False),
        sa.Column("customer_id", sa.String(length=64), nullable=True),
        sa.Column("created_by", sa.Text(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("used_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("revoked_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("revoked_by", sa.Text(), nullable=True),
        sa.CheckConstraint("kind IN ('pay_invoice', 'update_card', 'basket')", name=op.f("ck_links_kind")),
        sa.ForeignKeyConstraint(["customer_id"], ["customers.id"], name=op.f("fk_links_customer_id_customers")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_links")),
    )
    op.create_index("ix_links_customer", "links", ["customer_id", "created_at", "id"])
    op.create_index("ix_links_subject", "links", ["subject_id"])
    op.create_table(
        "card_notices",
        sa.Column("payment_method_id", sa.String(length=64), nullable=False),
        sa.Column("expires", sa.Text(), nullable=False),
        sa.Column("days", sa.Integer(), nullable=False),
        sa.Column("customer_id", sa.String(length=64), nullable=False),
        sa.Column("message_id", sa.String(length=64), nullable=True),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["payment_method_id"],
            ["payment_methods.id"],
            name=op.f("fk_card_notices_payment_method_id_payment_methods"),
        ),
        sa.ForeignKeyConstraint(["customer_id"], ["customers.id"], name=op.f("fk_card_notices_customer_id_customers")),
        sa.PrimaryKeyConstraint("payment_method_id", "expires", "days", name=op.f("pk_card_notices")),
    )
    op.create_index("ix_card_notices_customer", "card_notices", ["customer_id"])
    op.create_table(
        "card_changes",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("gateway", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("payment_method_id", sa.String(length=64), nullable=False),
        sa.Column("customer_id", sa.String(length=64), nullable=False),
        sa.Column("before", sa.Text(), nullable=False),
        sa.Column("after", sa.Text(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("recorded_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint("kind IN ('renewed', 'closed')", name=op.f("ck_card_changes_kind")),
        sa.ForeignKeyConstraint(
            ["payment_method_id"],
            ["payment_methods.id"],
            name=op.f("fk_card_changes_payment_method_id_payment_methods"),
        ),
        sa.ForeignKeyConstraint(["customer_id"], ["customers.id"], name=op.f("fk_card_changes_customer_id_customers")),
        sa.PrimaryKeyConstraint("gateway", "id", "payment_method_id", name=op.f("pk_card_changes")),
    )
    op.create_index("ix_card_changes_customer", "card_changes", ["customer_id"])
    op.create_table(
        "card_feeds",
        sa.Column("gateway", sa.Text(), nullable=False),
        sa.Column("cursor", sa.Text(), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.PrimaryKeyConstraint("gateway", name=op.f("pk_card_feeds")),
    )
    op.create_index("ix_payment_methods_token", "payment_methods", ["token", "gateway"])
    op.add_column("payment_methods", sa.Column("closed_at", sa.DateTime(timezone=True), nullable=True))


def downgrade() -> None:
    op.drop_column("payment_methods", "closed_at")
    op.drop_index("ix_payment_methods_token", "payment_methods")
    for table in ("card_feeds", "card_changes", "card_notices", "links"):
        op.drop_table(table)
