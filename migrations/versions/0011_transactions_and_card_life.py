"""One list of transactions, and moves of subscribers to another price."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_index("ix_payment_methods_card", "payment_methods", ["last4", "customer_id"])
    op.create_table(
        "price_moves",
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("from_price_id", sa.String(length=64), nullable=False),
        sa.Column("to_price_id", sa.String(length=64), nullable=False),
        sa.Column("at", sa.Text(), nullable=True),
        sa.Column("prorate", sa.Boolean(), nullable=False),
        sa.Column("keep_anchor", sa.Boolean(), nullable=False),
        sa.Column("per_minute", sa.Integer(), nullable=False),
        sa.Column("failures_percent_max", sa.Integer(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("actor", sa.Text(), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("detail", sa.Text(), server_default="", nullable=False),
        sa.Column("seen", sa.Integer(), server_default="0", nullable=False),
        sa.Column("verdicts", JSONB(), server_default=sa.text("'{}'::jsonb"), nullable=False),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("ended_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(["from_price_id"], ["prices.id"], name=op.f("fk_price_moves_from_price_id_prices")),
        sa.ForeignKeyConstraint(["to_price_id"], ["prices.id"], name=op.f("fk_price_moves_to_price_id_prices")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_price_moves")),
        sa.CheckConstraint("status IN ('running', 'paused', 'stopped', 'done')", name=op.f("ck_price_moves_status")),
    )
    op.create_index("ix_price_moves_started", "price_moves", ["started_at", "id"])
    op.create_table(
        "price_move_items",
        sa.Column("move_id", sa.String(length=64), nullable=False),
        sa.Column("subscription_id", sa.String(length=64), nullable=False),
        sa.Column("verdict", sa.Text(), nullable=False),
        sa.Column("detail", sa.Text(), server_default="", nullable=False),
        sa.ForeignKeyConstraint(["move_id"], ["price_moves.id"], name=op.f("fk_price_move_items_move_id_price_moves")),
        sa.PrimaryKeyConstraint("move_id", "subscription_id", name=op.f("pk_price_move_items")),
    )


def downgrade() -> None:
    op.drop_table("price_move_items")
    op.drop_table("price_moves")
    op.drop_index("ix_payment_methods_card", "payment_methods")
