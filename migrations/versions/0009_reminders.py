"""Reminders of tasks; letters to staff that are about no customer."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("tasks", sa.Column("remind_at", sa.DateTime(timezone=True), nullable=True))
    op.add_column("tasks", sa.Column("reminded_at", sa.DateTime(timezone=True), nullable=True))
    op.alter_column("messages", "customer_id", existing_type=sa.Text(), nullable=True)


def downgrade() -> None:
    op.alter_column("messages", "customer_id", existing_type=sa.Text(), nullable=False)
    op.drop_column("tasks", "reminded_at")
    op.drop_column("tasks", "remind_at")
