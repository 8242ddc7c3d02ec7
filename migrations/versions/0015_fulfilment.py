"""What is to be shipped for a paid order or cycle, and how that goes."""

from __future__ import annotations

from datetime import datetime

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None

STATUSES = "'pending', 'sending', 'handed_off', 'shipped', 'delivered', 'returned', 'canceled', 'stopped'"


def upgrade() -> None:
    op.add_column("products", sa.Column("physical", sa.Boolean(), server_default="false", nullable=False))
    op.create_table(
        "fulfilment_batches",
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("actor", sa.Text(), nullable=False),
        sa.Column("test_mode", sa.Boolean(), nullable=False),
        sa.Column("fulfilments", sa.Integer(), server_default="0", nullable=False),
        sa.Column("left_out", sa.Integer(), server_default="0", nullable=False),
        _recorded("created_at"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_fulfilment_batches")),
    )
    op.create_index("ix_fulfilment_batches_created", "fulfilment_batches", ["created_at", "id"])
    op.create_table(
        "fulfilments",
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("customer_id", sa.String(length=64), nullable=False),
        sa.Column("subscription_id", sa.String(length=64), nullable=True),
        sa.Column("cycle", sa.Integer(), nullable=True),
        sa.Column("order_id", sa.String(length=64), nullable=True),
        sa.Column("invoice_id", sa.String(length=64), nullable=False),
        sa.Column("product_id", sa.String(length=64), nullable=False),
        sa.Column("price_id", sa.String(length=64), nullable=True),
        sa.Column("description", sa.Text(), nullable=False),
        sa.Column("quantity", sa.Integer(), nullable=False),
        sa.Column("test_mode", sa.Boolean(), nullable=False),
        sa.Column("status", sa.Text(), server_default="pending", nullable=False),
        sa.Column("withdrawal", sa.Text(), server_default="none", nullable=False),
        sa.Column("reason", sa.Text(), server_default="", nullable=False),
        sa.Column("recipient", sa.Text(), server_default="", nullable=False),
        sa.Column("address", JSONB(), nullable=True),
        sa.Column("provider", sa.Text(), nullable=True),
        sa.Column("provider_reference", sa.Text(), nullable=True),
        sa.Column("batch_id", sa.String(length=64), nullable=True),
        sa.Column("tries", sa.Integer(), server_default="0", nullable=False),
        sa.Column("attention", sa.Text(), nullable=True),
        sa.Column("carrier", sa.Text(), server_default="", nullable=False),
        sa.Column("tracking", sa.Text(), server_default="", nullable=False),
        sa.Column("tracked_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("replaces_id", sa.String(length=64), nullable=True),
        sa.Column("replaced", sa.Boolean(), server_default="false", nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("handed_off_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("shipped_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("delivered_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("returned_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("event_seq", sa.Integer(), server_default="1", nullable=False),
        _recorded("recorded_at"),
        _recorded("updated_at"),
        sa.ForeignKeyConstraint(["customer_id"], ["customers.id"], name=op.f("fk_fulfilments_customer_id_customers")),
        sa.ForeignKeyConstraint(["invoice_id"], ["invoices.id"], name=op.f("fk_fulfilments_invoice_id_invoices")),
        sa.ForeignKeyConstraint(["product_id"], ["products.id"], name=op.f("fk_fulfilments_product_id_products")),
        sa.ForeignKeyConstraint(["price_id"], ["prices.id"], name=op.f("fk_fulfilments_price_id_prices")),
        sa.ForeignKeyConstraint(
            ["batch_id"], ["fulfilment_batches.id"], name=op.f("fk_fulfilments_batch_id_fulfilment_batches")
        ),
        sa.ForeignKeyConstraint(
            ["replaces_id"], ["fulfilments.id"], name=op.f("fk_fulfilments_replaces_id_fulfilments")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_fulfilments")),
        sa.UniqueConstraint("replaces_id", name=op.f("uq_fulfilments_replaces_id")),
        sa.CheckConstraint(f"status IN ({STATUSES})", name=op.f("ck_fulfilments_status")),
        sa.CheckConstraint(
            "withdrawal IN ('none', 'due', 'done', 'by_hand', 'refused')", name=op.f("ck_fulfilments_withdrawal")
        ),
        sa.CheckConstraint("quantity >= 1", name=op.f("ck_fulfilments_quantity")),
    )
    op.create_index("ix_fulfilments_at", "fulfilments", ["at", "id"])
    op.create_index("ix_fulfilments_customer", "fulfilments", ["customer_id", "at", "id"])
    op.create_index("ix_fulfilments_status", "fulfilments", ["status", "at", "id"])
    op.create_index("ix_fulfilments_invoice", "fulfilments", ["invoice_id"])
    for name, column in (("subscription", "subscription_id"), ("order", "order_id"), ("batch", "batch_id")):
        op.create_index(
            f"ix_fulfilments_{name}", "fulfilments", [column], postgresql_where=sa.text(f"{column} IS NOT NULL")
        )
    op.create_index(
        "ix_fulfilments_attention",
        "fulfilments",
        ["updated_at", "id"],
        postgresql_where=sa.text("attention IS NOT NULL"),
    )
    op.create_table(
        "fulfilment_events",
        sa.Column("fulfilment_id", sa.String(length=64), nullable=False),
        sa.Column("seq", sa.Integer(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("actor", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), server_default="", nullable=False),
        sa.Column("data", JSONB(), server_default=sa.text("'{}'::jsonb"), nullable=False),
        sa.Column("command_id", sa.String(length=64), nullable=True),
        _recorded("recorded_at"),
        sa.ForeignKeyConstraint(
            ["fulfilment_id"], ["fulfilments.id"], name=op.f("fk_fulfilment_events_fulfilment_id_fulfilments")
        ),
        sa.PrimaryKeyConstraint("fulfilment_id", "seq", name=op.f("pk_fulfilment_events")),
        sa.UniqueConstraint("fulfilment_id", "command_id", name=op.f("uq_fulfilment_events_fulfilment_id_command_id")),
    )
    op.execute(
        "CREATE TRIGGER fulfilment_events_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON fulfilment_events "
        "FOR EACH STATEMENT EXECUTE FUNCTION refuse_change()"
    )


def _recorded(name: str) -> sa.Column[datetime]:
    return sa.Column(name, sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False)


def downgrade() -> None:
    op.drop_table("fulfilment_events")
    op.drop_table("fulfilments")
    op.drop_table("fulfilment_batches")
    op.drop_column("products", "physical")
