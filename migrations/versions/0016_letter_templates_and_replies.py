"""Templates of letters by event and language, HTML beside the plain text, and mail received."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0016"
down_revision = "0015"
branch_labels = None
depends_on = None

# What an invoice says once it is issued. Its status, its day of payment and what was credited go on.
ISSUED = ("number", "currency", "total", "credit_applied", "amount_due", "issued_at", "local_date")


def upgrade() -> None:
    op.create_table(
        "letter_templates",
        sa.Column("id", sa.BigInteger(), sa.Identity(), nullable=False),
        sa.Column("event", sa.Text(), nullable=False),
        sa.Column("language", sa.Text(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("subject", sa.Text(), nullable=True),
        sa.Column("text", sa.Text(), nullable=True),
        sa.Column("html", sa.Text(), nullable=True),
        sa.Column("actor", sa.Text(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint("(subject IS NULL) = (text IS NULL)", name=op.f("ck_letter_templates_whole")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_letter_templates")),
        sa.UniqueConstraint("event", "language", "version", name=op.f("uq_letter_templates_event_language_version")),
    )
    op.execute(
        "CREATE TRIGGER letter_templates_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON letter_templates "
        "FOR EACH STATEMENT EXECUTE FUNCTION refuse_change()"
    )

    op.add_column("messages", sa.Column("html", sa.Text(), nullable=True))
    op.add_column("messages", sa.Column("language", sa.Text(), nullable=True))
    op.add_column("messages", sa.Column("template_version", sa.Integer(), nullable=True))
    op.add_column("messages", sa.Column("template_trouble", sa.Text(), nullable=True))
    op.add_column("messages", sa.Column("direction", sa.Text(), server_default="sent", nullable=False))
    op.add_column("messages", sa.Column("sender", sa.Text(), nullable=True))
    op.add_column("messages", sa.Column("reply_to", sa.String(64), nullable=True))
    op.create_check_constraint(op.f("ck_messages_direction"), "messages", "direction IN ('sent', 'received')")
    op.create_index(
        "ix_messages_received", "messages", ["at", "id"], postgresql_where=sa.text("direction = 'received'")
    )
    op.create_index(
        "ix_messages_template_trouble",
        "messages",
        ["template", "language", "template_version"],
        postgresql_where=sa.text("template_trouble IS NOT NULL"),
    )

    op.create_table(
        "received_mails",
        sa.Column("message_id", sa.String(64), nullable=False),
        sa.Column("rfc_message_id", sa.Text(), nullable=True),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("matched_by", sa.Text(), nullable=True),
        sa.Column("why", sa.Text(), nullable=False),
        sa.Column("raw", sa.LargeBinary(), nullable=False),
        sa.Column("received_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint("kind IN ('mail', 'auto_reply', 'bounce')", name=op.f("ck_received_mails_kind")),
        sa.CheckConstraint("matched_by IN ('message', 'address', 'person')", name=op.f("ck_received_mails_matched_by")),
        sa.ForeignKeyConstraint(["message_id"], ["messages.id"], name=op.f("fk_received_mails_message_id")),
        sa.PrimaryKeyConstraint("message_id", name=op.f("pk_received_mails")),
    )

    changed = " OR ".join(f"OLD.{column} IS DISTINCT FROM NEW.{column}" for column in ISSUED)
    op.execute(
        "CREATE TRIGGER invoices_stay_as_issued BEFORE UPDATE ON invoices FOR EACH ROW "
        f"WHEN ({changed}) EXECUTE FUNCTION refuse_change()"
    )
    op.execute(
        "CREATE TRIGGER invoice_lines_append_only BEFORE UPDATE OR DELETE ON invoice_lines "
        "FOR EACH STATEMENT EXECUTE FUNCTION refuse_change()"
    )


def downgrade() -> None:
    op.execute("DROP TRIGGER invoice_lines_append_only ON invoice_lines")
    op.execute("DROP TRIGGER invoices_stay_as_issued ON invoices")
    op.drop_table("received_mails")
    op.drop_index("ix_messages_template_trouble", table_name="messages")
    op.drop_index("ix_messages_received", table_name="messages")
    op.drop_constraint(op.f("ck_messages_direction"), "messages", type_="check")
    for column in (
        "reply_to", "sender", "direction", "template_trouble", "template_version", "language", "html",
    ):  # fmt: skip
        op.drop_column("messages", column)
    op.drop_table("letter_templates")
