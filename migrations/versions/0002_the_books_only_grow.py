"""The books only grow, and every entry adds up: rules the database keeps whoever writes."""

from __future__ import annotations

from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

APPEND_ONLY = ("ledger_entries", "ledger_postings", "subscription_events", "customer_changes")

REFUSE_CHANGE = """
CREATE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'rows of % are never changed or removed; write a new one that corrects', TG_TABLE_NAME
        USING ERRCODE = 'restrict_violation';
END
$$
"""

# Deferred to the commit, when all postings are there. An entry has a few postings, found by its primary key.
CHECK_ENTRY = """
CREATE FUNCTION check_ledger_entry() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    wanted text;
    currencies integer;
    wrong text;
BEGIN
    IF TG_TABLE_NAME = 'ledger_entries' THEN wanted := NEW.id; ELSE wanted := NEW.entry_id; END IF;
    SELECT count(*), string_agg(currency, ', ') FILTER (WHERE balance <> 0) INTO currencies, wrong
        FROM (
            SELECT currency, sum(amount) AS balance FROM ledger_postings WHERE entry_id = wanted GROUP BY currency
        ) AS balances;
    IF currencies = 0 THEN
        RAISE EXCEPTION 'ledger entry % has no postings', wanted USING ERRCODE = 'check_violation';
    ELSIF wrong IS NOT NULL THEN
        RAISE EXCEPTION 'postings of ledger entry % do not sum to zero in %', wanted, wrong
            USING ERRCODE = 'check_violation';
    END IF;
    RETURN NULL;
END
$$
"""


def upgrade() -> None:
    op.execute(REFUSE_CHANGE)
    for table in APPEND_ONLY:
        op.execute(
            f"CREATE TRIGGER {table}_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON {table} "
            "FOR EACH STATEMENT EXECUTE FUNCTION refuse_change()"
        )
    op.execute(CHECK_ENTRY)
    # On the header, because an entry without postings has none to fire on; on the postings, because a later
    # transaction may try to add one to an entry that already adds up.
    op.execute(
        "CREATE CONSTRAINT TRIGGER ledger_entries_add_up AFTER INSERT ON ledger_entries "
        "DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION check_ledger_entry()"
    )
    op.execute(
        "CREATE CONSTRAINT TRIGGER ledger_postings_add_up AFTER INSERT ON ledger_postings "
        "DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION check_ledger_entry()"
    )


def downgrade() -> None:
    op.execute("DROP TRIGGER ledger_postings_add_up ON ledger_postings")
    op.execute("DROP TRIGGER ledger_entries_add_up ON ledger_entries")
    op.execute("DROP FUNCTION check_ledger_entry()")
    for table in reversed(APPEND_ONLY):
        op.execute(f"DROP TRIGGER {table}_append_only ON {table}")
    op.execute("DROP FUNCTION refuse_change()")
