"""Files that were sent, byte for byte."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "documents",
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("invoice_id", sa.String(length=64), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("content", sa.LargeBinary(), nullable=False),
        sa.Column("recorded_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.ForeignKeyConstraint(["invoice_id"], ["invoices.id"], name="fk_documents_invoice_id"),
        sa.PrimaryKeyConstraint("id", name="pk_documents"),
    )
    op.create_index("ix_documents_invoice", "documents", ["invoice_id"])
    op.add_column("messages", sa.Column("document_id", sa.String(length=64), nullable=True))
    op.create_foreign_key("fk_messages_document_id", "messages", "documents", ["document_id"], ["id"])


def downgrade() -> None:
    op.drop_constraint("fk_messages_document_id", "messages", type_="foreignkey")
    op.drop_column("messages", "document_id")
    op.drop_table("documents")
