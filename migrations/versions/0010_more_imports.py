"""Imports know who brought them."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("imports", sa.Column("actor", sa.Text(), nullable=False, server_default=""))


def downgrade() -> None:
    op.drop_column("imports", "actor")
