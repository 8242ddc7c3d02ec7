"""What is appended only may go with its customer, where nothing was ever billed: never from the books and the logs."""

from __future__ import annotations

from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

# A transaction says that it removes a customer; it can then delete from these three tables, and still change nothing.
REFUSE_CHANGE = """
CREATE OR REPLACE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'DELETE' AND TG_TABLE_NAME IN ('customer_changes', 'note_versions', 'point_movements')
        AND current_setting('dunlin.removes_customer', true) = 'yes' THEN
        RETURN NULL;
    END IF;
    RAISE EXCEPTION 'rows of % are never changed or removed; write a new one that corrects', TG_TABLE_NAME
        USING ERRCODE = 'restrict_violation';
END
$$
"""

REFUSE_CHANGE_BEFORE = """
CREATE OR REPLACE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'rows of % are never changed or removed; write a new one that corrects', TG_TABLE_NAME
        USING ERRCODE = 'restrict_violation';
END
$$
"""


def upgrade() -> None:
    op.execute(REFUSE_CHANGE)


def downgrade() -> None:
    op.execute(REFUSE_CHANGE_BEFORE)
