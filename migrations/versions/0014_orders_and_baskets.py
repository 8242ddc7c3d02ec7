"""Orders of one-time and subscription lines, and baskets that are paid through a link."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None

# What belongs to a subscription or to an order, never to both.
_OF_ONE = "(subscription_id IS NULL) <> (order_id IS NULL)"
_BILLED = ("invoices", "attempts", "refunds", "disputes")


def upgrade() -> None:
    op.add_column("prices", sa.Column("one_time", sa.Boolean(), server_default="false", nullable=False))
    for table in _BILLED:
        op.add_column(table, sa.Column("order_id", sa.String(length=64), nullable=True))
        op.alter_column(table, "subscription_id", existing_type=sa.String(length=64), nullable=True)
        op.create_check_constraint(op.f(f"ck_{table}_of_one"), table, _OF_ONE)
    op.create_unique_constraint(op.f("uq_invoices_order_id_sequence"), "invoices", ["order_id", "sequence"])
    op.add_column("messages", sa.Column("order_id", sa.String(length=64), nullable=True))
    # Numbers grow and are never given twice; a number is lost only where a machine dies in the middle of a write.
    op.execute("CREATE SEQUENCE order_numbers START WITH 10001")
    _create_orders()
    _create_baskets()


def _create_orders() -> None:
    op.create_table(
        "orders",
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("number", sa.Text(), nullable=False),
        sa.Column("external_id", sa.Text(), nullable=True),
        sa.Column("customer_id", sa.String(length=64), nullable=False),
        sa.Column("basket_id", sa.String(length=64), nullable=True),
        sa.Column("channel", sa.Text(), nullable=False),
        sa.Column("funnel", sa.Text(), server_default="", nullable=False),
        sa.Column("page", sa.Text(), server_default="", nullable=False),
        sa.Column("agent", sa.Text(), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("currency", sa.String(length=3), nullable=False),
        sa.Column("total", sa.BigInteger(), nullable=False),
        sa.Column("revision", sa.Integer(), nullable=False),
        sa.Column("invoice_id", sa.String(length=64), nullable=True),
        sa.Column("attention", sa.Text(), nullable=True),
        sa.Column("test_mode", sa.Boolean(), nullable=False),
        sa.Column("event_seq", sa.Integer(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("placed_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("paid_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("ended_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("recorded_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.ForeignKeyConstraint(["customer_id"], ["customers.id"], name=op.f("fk_orders_customer_id_customers")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_orders")),
        sa.UniqueConstraint("number", name=op.f("uq_orders_number")),
        sa.UniqueConstraint("external_id", name=op.f("uq_orders_external_id")),
        sa.UniqueConstraint("basket_id", name=op.f("uq_orders_basket_id")),
        sa.CheckConstraint("channel IN ('phone', 'api', 'customer')", name=op.f("ck_orders_channel")),
        sa.CheckConstraint(
            "status IN ('draft', 'open', 'paying', 'paid', 'canceling', 'canceled', 'lapsed')",
            name=op.f("ck_orders_status"),
        ),
        sa.CheckConstraint("total >= 0", name=op.f("ck_orders_total")),
    )
    op.create_index("ix_orders_created", "orders", ["created_at", "id"])
    op.create_index("ix_orders_customer", "orders", ["customer_id", "created_at", "id"])
    op.create_index("ix_orders_attention", "orders", ["id"], postgresql_where=sa.text("attention IS NOT NULL"))
    op.create_table(
        "order_lines",
        sa.Column("order_id", sa.String(length=64), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("description", sa.Text(), nullable=False),
        sa.Column("product_id", sa.String(length=64), nullable=True),
        sa.Column("price_id", sa.String(length=64), nullable=True),
        sa.Column("quantity", sa.Integer(), nullable=False),
        sa.Column("unit_amount", sa.BigInteger(), nullable=False),
        sa.Column("amount", sa.BigInteger(), nullable=False),
        sa.Column("list_amount", sa.BigInteger(), nullable=True),
        sa.Column("reason", sa.Text(), server_default="", nullable=False),
        sa.Column("due_now", sa.BigInteger(), nullable=False),
        sa.Column("start_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("subscription_id", sa.String(length=64), nullable=True),
        sa.ForeignKeyConstraint(["order_id"], ["orders.id"], name=op.f("fk_order_lines_order_id_orders")),
        sa.ForeignKeyConstraint(["product_id"], ["products.id"], name=op.f("fk_order_lines_product_id_products")),
        sa.ForeignKeyConstraint(["price_id"], ["prices.id"], name=op.f("fk_order_lines_price_id_prices")),
        sa.PrimaryKeyConstraint("order_id", "position", name=op.f("pk_order_lines")),
        sa.CheckConstraint("amount = quantity * unit_amount", name=op.f("ck_order_lines_adds_up")),
        sa.CheckConstraint("kind IN ('one_time', 'subscription')", name=op.f("ck_order_lines_kind")),
    )
    op.create_index(
        "ix_order_lines_subscription",
        "order_lines",
        ["subscription_id"],
        postgresql_where=sa.text("subscription_id IS NOT NULL"),
    )
    op.create_table(
        "order_events",
        sa.Column("order_id", sa.String(length=64), nullable=False),
        sa.Column("seq", sa.Integer(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("actor", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("data", JSONB(), nullable=False),
        sa.Column("recorded_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.ForeignKeyConstraint(["order_id"], ["orders.id"], name=op.f("fk_order_events_order_id_orders")),
        sa.PrimaryKeyConstraint("order_id", "seq", name=op.f("pk_order_events")),
    )
    op.create_table(
        "order_custom_values",
        sa.Column("order_id", sa.String(length=64), nullable=False),
        sa.Column("field_id", sa.String(length=64), nullable=False),
        sa.Column("value", JSONB(), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.ForeignKeyConstraint(["order_id"], ["orders.id"], name=op.f("fk_order_custom_values_order_id_orders")),
        sa.ForeignKeyConstraint(
            ["field_id"], ["custom_fields.id"], name=op.f("fk_order_custom_values_field_id_custom_fields")
        ),
        sa.PrimaryKeyConstraint("order_id", "field_id", name=op.f("pk_order_custom_values")),
    )
    op.create_index("ix_order_custom_values_field", "order_custom_values", ["field_id"])


def _create_baskets() -> None:
    op.create_table(
        "baskets",
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("customer_id", sa.String(length=64), nullable=True),
        sa.Column("agent", sa.Text(), nullable=False),
        sa.Column("currency", sa.String(length=3), nullable=False),
        sa.Column("lines", JSONB(), nullable=False),
        sa.Column("total", sa.BigInteger(), nullable=False),
        sa.Column("note", sa.Text(), server_default="", nullable=False),
        sa.Column("funnel", sa.Text(), server_default="", nullable=False),
        sa.Column("page", sa.Text(), server_default="", nullable=False),
        sa.Column("revision", sa.Integer(), server_default="1", nullable=False),
        sa.Column("order_id", sa.String(length=64), nullable=True),
        sa.Column("test_mode", sa.Boolean(), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("withdrawn_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.ForeignKeyConstraint(["customer_id"], ["customers.id"], name=op.f("fk_baskets_customer_id_customers")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_baskets")),
        sa.CheckConstraint("total >= 0", name=op.f("ck_baskets_total")),
    )
    op.create_index("ix_baskets_created", "baskets", ["created_at", "id"])
    op.create_index("ix_baskets_customer", "baskets", ["customer_id", "created_at", "id"])


def downgrade() -> None:
    for table in ("baskets", "order_custom_values", "order_events", "order_lines", "orders"):
        op.drop_table(table)
    op.execute("DROP SEQUENCE order_numbers")
    op.drop_column("messages", "order_id")
    op.drop_constraint(op.f("uq_invoices_order_id_sequence"), "invoices", type_="unique")
    for table in reversed(_BILLED):
        op.drop_constraint(op.f(f"ck_{table}_of_one"), table, type_="check")
        op.alter_column(table, "subscription_id", existing_type=sa.String(length=64), nullable=False)
        op.drop_column(table, "order_id")
    op.drop_column("prices", "one_time")
