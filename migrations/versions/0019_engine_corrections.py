"""Never more given back than was taken, kept by the tables themselves: the rule was in the code's tables alone."""

from __future__ import annotations

from alembic import op

revision = "0019"
down_revision = "0018"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_check_constraint(op.f("ck_attempts_returned"), "attempts", "returned BETWEEN 0 AND amount")
    op.create_check_constraint(op.f("ck_invoices_credited"), "invoices", "credited BETWEEN 0 AND greatest(total, 0)")


def downgrade() -> None:
    op.drop_constraint(op.f("ck_invoices_credited"), "invoices")
    op.drop_constraint(op.f("ck_attempts_returned"), "attempts")
