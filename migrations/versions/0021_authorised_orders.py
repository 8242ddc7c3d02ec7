"""Money of an order may be authorised first and captured later: states of orders and charges, and until when."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0021"
down_revision = "0020"
branch_labels = None
depends_on = None

BEFORE = "'draft', 'open', 'paying', 'paid', 'canceling', 'canceled', 'lapsed'"
AFTER = "'draft', 'open', 'paying', 'authorised', 'releasing', 'paid', 'canceling', 'canceled', 'lapsed'"
OPEN_BEFORE = "'pending', 'unknown', 'parked', 'action_required'"
OPEN_AFTER = f"{OPEN_BEFORE}, 'capturing', 'releasing'"


def upgrade() -> None:
    op.add_column("attempts", sa.Column("held_until", sa.DateTime(timezone=True), nullable=True))
    op.add_column("attempts", sa.Column("asked_at", sa.DateTime(timezone=True), nullable=True))
    op.create_index("ix_attempts_asked", "attempts", ["asked_at"], postgresql_where=sa.text("asked_at IS NOT NULL"))
    _states(AFTER, OPEN_AFTER)


def downgrade() -> None:
    _states(BEFORE, OPEN_BEFORE)
    op.drop_index("ix_attempts_asked", table_name="attempts")
    op.drop_column("attempts", "asked_at")
    op.drop_column("attempts", "held_until")


def _states(orders: str, open_charges: str) -> None:
    op.drop_constraint(op.f("ck_orders_status"), "orders", type_="check")
    op.create_check_constraint(op.f("ck_orders_status"), "orders", f"status IN ({orders})")
    op.drop_index("ix_attempts_open", table_name="attempts")
    op.create_index(
        "ix_attempts_open", "attempts", ["status", "id"], postgresql_where=sa.text(f"status IN ({open_charges})")
    )
