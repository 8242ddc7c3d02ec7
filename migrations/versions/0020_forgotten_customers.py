"""A forgotten customer is marked, and the tables themselves take nothing personal of one any more."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0020"
down_revision = "0019"
branch_labels = None
depends_on = None

# The lock waits for one who forgets at this moment, and makes that one wait for what is written here.
REFUSE_FORGOTTEN = """
CREATE FUNCTION refuse_forgotten() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    since timestamptz;
BEGIN
    SELECT forgotten_at INTO since FROM customers WHERE id = NEW.customer_id FOR KEY SHARE;
    IF since IS NOT NULL THEN
        RAISE EXCEPTION 'customer % was forgotten', NEW.customer_id USING ERRCODE = 'DL410';
    END IF;
    RETURN NEW;
END
$$
"""
REFUSE_FORGOTTEN_CHANGE = """
CREATE FUNCTION refuse_forgotten_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'customer % was forgotten', OLD.id USING ERRCODE = 'DL410';
END
$$
"""
WRITTEN = ("addresses", "baskets", "custom_values", "customer_logins", "notes", "payment_methods", "reviews")
PERSONAL = (
    "external_id",
    "title",
    "first_name",
    "last_name",
    "company",
    "email",
    "phone",
    "gender",
    "tax_id",
    "agent",
    "tags",
    "verified_email",
    "forgotten_at",
)
# A transaction that removes or forgets a customer deletes from three tables, and empties the history of parcels.
REFUSE_CHANGE = """
CREATE OR REPLACE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF current_setting('dunlin.removes_customer', true) = 'yes' AND (
        TG_OP = 'DELETE' AND TG_TABLE_NAME IN ('customer_changes', 'note_versions', 'point_movements')
        {more}
    ) THEN
        RETURN NULL;
    END IF;
    RAISE EXCEPTION 'rows of % are never changed or removed; write a new one that corrects', TG_TABLE_NAME
        USING ERRCODE = 'restrict_violation';
END
$$
"""


def upgrade() -> None:
    op.add_column("customers", sa.Column("forgotten_at", sa.DateTime(timezone=True), nullable=True))
    op.execute(REFUSE_CHANGE.format(more="OR TG_OP = 'UPDATE' AND TG_TABLE_NAME = 'fulfilment_events'"))
    op.execute(REFUSE_FORGOTTEN)
    op.execute(REFUSE_FORGOTTEN_CHANGE)
    for table in WRITTEN:
        op.execute(
            f"CREATE TRIGGER {table}_forgotten BEFORE INSERT ON {table} "
            "FOR EACH ROW EXECUTE FUNCTION refuse_forgotten()"
        )
    before, after = (", ".join(f"{row}.{name}" for name in PERSONAL) for row in ("OLD", "NEW"))
    op.execute(
        "CREATE TRIGGER customers_forgotten BEFORE UPDATE ON customers FOR EACH ROW "
        f"WHEN (OLD.forgotten_at IS NOT NULL AND ({before}) IS DISTINCT FROM ({after})) "
        "EXECUTE FUNCTION refuse_forgotten_change()"
    )


def downgrade() -> None:
    op.execute("DROP TRIGGER customers_forgotten ON customers")
    for table in WRITTEN:
        op.execute(f"DROP TRIGGER {table}_forgotten ON {table}")
    op.execute("DROP FUNCTION refuse_forgotten_change()")
    op.execute("DROP FUNCTION refuse_forgotten()")
    op.execute(REFUSE_CHANGE.format(more=""))
    op.drop_column("customers", "forgotten_at")
