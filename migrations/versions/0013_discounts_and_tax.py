"""Coupons, promotion codes, discounts of customers, rates of tax; what invoices and credit notes say of them."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None

_NO_TAXES = sa.text("'{}'::jsonb")
_NONE = sa.text("'[]'::jsonb")


def upgrade() -> None:
    _on_invoices()
    _discounts()
    _tax()


def _on_invoices() -> None:
    op.add_column("invoices", sa.Column("subtotal", sa.BigInteger(), server_default="0", nullable=False))
    op.add_column("invoices", sa.Column("discount", sa.BigInteger(), server_default="0", nullable=False))
    op.add_column("invoices", sa.Column("tax", sa.BigInteger(), server_default="0", nullable=False))
    op.add_column("invoices", sa.Column("taxes", JSONB(), server_default=_NO_TAXES, nullable=False))
    op.execute("UPDATE invoices SET subtotal = total")
    op.add_column("invoice_lines", sa.Column("tax_category", sa.Text(), server_default="standard", nullable=False))
    op.add_column("invoice_lines", sa.Column("discount", sa.BigInteger(), server_default="0", nullable=False))
    op.add_column("invoice_lines", sa.Column("discounts", JSONB(), server_default=_NONE, nullable=False))
    op.add_column("invoice_lines", sa.Column("tax", sa.BigInteger(), server_default="0", nullable=False))
    op.add_column("invoice_lines", sa.Column("tax_place", sa.Text(), nullable=True))
    op.add_column("invoice_lines", sa.Column("tax_rate", sa.Integer(), nullable=True))
    op.add_column("invoice_lines", sa.Column("tax_inclusive", sa.Boolean(), server_default="false", nullable=False))
    op.add_column("invoice_lines", sa.Column("tax_reason", sa.Text(), nullable=True))
    op.create_check_constraint("discount", "invoice_lines", "discount BETWEEN 0 AND greatest(amount, 0)")
    for table in ("credit_notes", "credit_transfers"):
        op.add_column(table, sa.Column("taxes", JSONB(), server_default=_NO_TAXES, nullable=False))


def _discounts() -> None:
    op.create_table(
        "coupons",
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("rate", sa.Integer(), nullable=False),
        sa.Column("amount", sa.BigInteger(), nullable=False),
        sa.Column("currency", sa.String(length=3), nullable=True),
        sa.Column("cycles", sa.Integer(), nullable=True),
        sa.Column("products", JSONB(), server_default=_NONE, nullable=False),
        sa.Column("valid_from", sa.DateTime(timezone=True), nullable=True),
        sa.Column("valid_until", sa.DateTime(timezone=True), nullable=True),
        sa.Column("limit_total", sa.Integer(), nullable=True),
        sa.Column("limit_per_customer", sa.Integer(), nullable=True),
        sa.Column("redeemed", sa.Integer(), server_default="0", nullable=False),
        sa.Column("actor", sa.Text(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.func.now(), nullable=False),
        sa.Column("archived_at", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_coupons")),
        sa.CheckConstraint("(rate = 0) <> (amount = 0)", name=op.f("ck_coupons_size")),
        sa.CheckConstraint(
            "redeemed >= 0 AND redeemed <= coalesce(limit_total, redeemed)", name=op.f("ck_coupons_redeemed")
        ),
    )
    op.create_index("ix_coupons_created", "coupons", ["created_at", "id"])
    op.create_table(
        "promotion_codes",
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("coupon_id", sa.String(length=64), nullable=False),
        sa.Column("code", sa.Text(), nullable=False),
        sa.Column("valid_until", sa.DateTime(timezone=True), nullable=True),
        sa.Column("limit_total", sa.Integer(), nullable=True),
        sa.Column("redeemed", sa.Integer(), server_default="0", nullable=False),
        sa.Column("actor", sa.Text(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.func.now(), nullable=False),
        sa.Column("archived_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(["coupon_id"], ["coupons.id"], name=op.f("fk_promotion_codes_coupon_id_coupons")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_promotion_codes")),
        sa.UniqueConstraint("code", name=op.f("uq_promotion_codes_code")),
        sa.CheckConstraint(
            "redeemed >= 0 AND redeemed <= coalesce(limit_total, redeemed)", name=op.f("ck_promotion_codes_redeemed")
        ),
    )
    op.create_index("ix_promotion_codes_coupon", "promotion_codes", ["coupon_id", "created_at", "id"])
    op.create_table(
        "redemptions",
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("coupon_id", sa.String(length=64), nullable=False),
        sa.Column("promotion_code_id", sa.String(length=64), nullable=True),
        sa.Column("customer_id", sa.String(length=64), nullable=False),
        sa.Column("subscription_id", sa.String(length=64), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("actor", sa.Text(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), server_default=sa.func.now(), nullable=False),
        sa.Column("ended_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(["coupon_id"], ["coupons.id"], name=op.f("fk_redemptions_coupon_id_coupons")),
        sa.ForeignKeyConstraint(
            ["promotion_code_id"],
            ["promotion_codes.id"],
            name=op.f("fk_redemptions_promotion_code_id_promotion_codes"),
        ),
        sa.ForeignKeyConstraint(["customer_id"], ["customers.id"], name=op.f("fk_redemptions_customer_id_customers")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_redemptions")),
        sa.CheckConstraint("status IN ('reserved', 'applied', 'given_back')", name=op.f("ck_redemptions_status")),
    )
    op.create_index("ix_redemptions_coupon", "redemptions", ["coupon_id", "at", "id"])
    op.create_index("ix_redemptions_customer", "redemptions", ["customer_id", "coupon_id"])
    op.create_table(
        "customer_discounts",
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("customer_id", sa.String(length=64), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("rate", sa.Integer(), nullable=False),
        sa.Column("amount", sa.BigInteger(), nullable=False),
        sa.Column("currency", sa.String(length=3), nullable=True),
        sa.Column("cycles", sa.Integer(), nullable=True),
        sa.Column("until", sa.DateTime(timezone=True), nullable=True),
        sa.Column("products", JSONB(), server_default=_NONE, nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("actor", sa.Text(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.func.now(), nullable=False),
        sa.Column("ended_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("ended_by", sa.Text(), nullable=True),
        sa.ForeignKeyConstraint(
            ["customer_id"], ["customers.id"], name=op.f("fk_customer_discounts_customer_id_customers")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_customer_discounts")),
        sa.CheckConstraint("(rate = 0) <> (amount = 0)", name=op.f("ck_customer_discounts_size")),
    )
    op.create_index("ix_customer_discounts_customer", "customer_discounts", ["customer_id", "created_at", "id"])


def _tax() -> None:
    op.create_table(
        "tax_rates",
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("place", sa.Text(), nullable=False),
        sa.Column("category", sa.Text(), nullable=False),
        sa.Column("rate", sa.Integer(), nullable=False),
        sa.Column("inclusive", sa.Boolean(), nullable=False),
        sa.Column("valid_from", sa.Date(), nullable=False),
        sa.Column("valid_until", sa.Date(), nullable=True),
        sa.Column("actor", sa.Text(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.func.now(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_tax_rates")),
        sa.CheckConstraint("rate BETWEEN 0 AND 100000", name=op.f("ck_tax_rates_rate")),
        sa.CheckConstraint("valid_until > valid_from", name=op.f("ck_tax_rates_validity")),
    )
    op.create_index("ix_tax_rates_place", "tax_rates", ["place", "category", "valid_from"])
    op.create_table(
        "tax_runs",
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("country", sa.Text(), nullable=False),
        sa.Column("per_minute", sa.Integer(), nullable=False),
        sa.Column("actor", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("cursor", sa.Text(), server_default="", nullable=False),
        sa.Column("seen", sa.Integer(), server_default="0", nullable=False),
        sa.Column("failed", sa.Integer(), server_default="0", nullable=False),
        sa.Column("detail", sa.Text(), server_default="", nullable=False),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("ended_at", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_tax_runs")),
        sa.CheckConstraint("status IN ('running', 'done')", name=op.f("ck_tax_runs_status")),
    )
    op.create_index("ix_tax_runs_started", "tax_runs", ["started_at", "id"])


def downgrade() -> None:
    for table in ("tax_runs", "tax_rates", "customer_discounts", "redemptions", "promotion_codes", "coupons"):
        op.drop_table(table)
    for table in ("credit_transfers", "credit_notes"):
        op.drop_column(table, "taxes")
    op.drop_constraint("ck_invoice_lines_discount", "invoice_lines")
    names = "tax_reason tax_inclusive tax_rate tax_place tax discounts discount tax_category"
    for name in names.split():
        op.drop_column("invoice_lines", name)
    for name in ("taxes", "tax", "discount", "subtotal"):
        op.drop_column("invoices", name)
