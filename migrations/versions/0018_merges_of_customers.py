"""Merges of two customers, what moved, and how to take it back."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0018"
down_revision = "0017"
branch_labels = None
depends_on = None

# A merged customer is found no more; the one it went into is found by the words of both.
SEARCH_REFRESH = """
CREATE OR REPLACE FUNCTION search_refresh(ids text[]) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    before text[];
BEGIN
    SELECT array_agg(DISTINCT held.word) INTO before
        FROM customer_search AS s, unnest(s.words) AS held(word) WHERE s.customer_id = ANY (ids);
    DELETE FROM customer_search AS s USING customers AS c
        WHERE c.id = s.customer_id AND c.id = ANY (ids) AND c.merged_into IS NOT NULL;
    INSERT INTO customer_search (customer_id, name, phone, words)
        SELECT c.id, search_fold(concat_ws(' ', nullif(c.first_name, ''), nullif(c.last_name, ''),
                nullif(c.company, ''))),
            search_phone(c.phone),
            search_words_of(concat_ws(' ', c.first_name, c.last_name, c.company, c.email, c.external_id,
                (SELECT string_agg(v.value #>> '{}', ' ') FROM custom_values AS v WHERE v.customer_id = c.id),
                (SELECT string_agg(concat_ws(' ', m.first_name, m.last_name, m.company, m.email, m.external_id), ' ')
                    FROM customers AS m WHERE m.merged_into = c.id)))
        FROM customers AS c WHERE c.id = ANY (ids) AND c.merged_into IS NULL
        ON CONFLICT (customer_id) DO UPDATE
            SET name = excluded.name, phone = excluded.phone, words = excluded.words;
    INSERT INTO search_words (word)
        SELECT DISTINCT held.word FROM customer_search AS s, unnest(s.words) AS held(word)
        WHERE s.customer_id = ANY (ids) AND held.word !~ '^[0-9]'
            AND NOT EXISTS (SELECT FROM search_words AS w WHERE w.word = held.word);
    IF before IS NOT NULL THEN
        PERFORM search_forget(array_agg(lost.word)) FROM unnest(before) AS lost(word)
            WHERE NOT EXISTS (
                SELECT FROM customer_search AS s WHERE s.customer_id = ANY (ids) AND lost.word = ANY (s.words)
            ) HAVING count(*) > 0;
    END IF;
END
$$
"""
CUSTOMER_CHANGED = """
CREATE OR REPLACE FUNCTION search_customer_changed() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM search_refresh(array_remove(ARRAY[NEW.id::text, NEW.merged_into::text, OLD.merged_into::text], NULL));
    RETURN NULL;
END
$$
"""
CUSTOMER_CHANGED_BEFORE = """
CREATE OR REPLACE FUNCTION search_customer_changed() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM search_refresh(ARRAY[NEW.id::text]);
    RETURN NULL;
END
$$
"""
SEARCH_REFRESH_BEFORE = """
CREATE OR REPLACE FUNCTION search_refresh(ids text[]) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    before text[];
BEGIN
    SELECT array_agg(DISTINCT held.word) INTO before
        FROM customer_search AS s, unnest(s.words) AS held(word) WHERE s.customer_id = ANY (ids);
    INSERT INTO customer_search (customer_id, name, phone, words)
        SELECT c.id, search_fold(concat_ws(' ', nullif(c.first_name, ''), nullif(c.last_name, ''),
                nullif(c.company, ''))),
            search_phone(c.phone),
            search_words_of(concat_ws(' ', c.first_name, c.last_name, c.company, c.email, c.external_id,
                (SELECT string_agg(v.value #>> '{}', ' ') FROM custom_values AS v WHERE v.customer_id = c.id)))
        FROM customers AS c WHERE c.id = ANY (ids)
        ON CONFLICT (customer_id) DO UPDATE
            SET name = excluded.name, phone = excluded.phone, words = excluded.words;
    INSERT INTO search_words (word)
        SELECT DISTINCT held.word FROM customer_search AS s, unnest(s.words) AS held(word)
        WHERE s.customer_id = ANY (ids) AND held.word !~ '^[0-9]'
            AND NOT EXISTS (SELECT FROM search_words AS w WHERE w.word = held.word);
    IF before IS NOT NULL THEN
        PERFORM search_forget(array_agg(lost.word)) FROM unnest(before) AS lost(word)
            WHERE NOT EXISTS (
                SELECT FROM customer_search AS s WHERE s.customer_id = ANY (ids) AND lost.word = ANY (s.words)
            ) HAVING count(*) > 0;
    END IF;
END
$$
"""
FOUND_BY = ("first_name", "last_name", "company", "email", "phone", "external_id")


def upgrade() -> None:
    op.add_column("customers", sa.Column("guest", sa.Boolean(), server_default="false", nullable=False))
    op.add_column("customers", sa.Column("verified_email", sa.Text(), nullable=True))
    op.add_column("customers", sa.Column("verified_at", sa.DateTime(timezone=True), nullable=True))
    op.add_column("customers", sa.Column("verified_by", sa.Text(), nullable=True))
    op.add_column("customers", sa.Column("merged_into", sa.String(length=64), nullable=True))
    op.create_foreign_key(op.f("fk_customers_merged_into"), "customers", "customers", ["merged_into"], ["id"])
    op.create_check_constraint(op.f("ck_customers_merged_into"), "customers", "merged_into <> id")
    op.create_index(
        "ix_customers_merged", "customers", ["merged_into"], postgresql_where=sa.text("merged_into IS NOT NULL")
    )
    op.create_index(
        "ix_customers_verified",
        "customers",
        ["verified_email"],
        postgresql_where=sa.text("verified_email IS NOT NULL"),
    )
    op.create_table(
        "merges",
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("master_id", sa.String(length=64), nullable=False),
        sa.Column("loser_id", sa.String(length=64), nullable=False),
        sa.Column("source", sa.Text(), server_default="person", nullable=False),
        sa.Column("status", sa.Text(), server_default="running", nullable=False),
        sa.Column("actor", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), server_default="", nullable=False),
        sa.Column("moved", postgresql.JSONB(), server_default=sa.text("'{}'::jsonb"), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("done_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("undo_until", sa.DateTime(timezone=True), nullable=True),
        sa.Column("undone_by", sa.Text(), nullable=True),
        sa.Column("undo_reason", sa.Text(), server_default="", nullable=False),
        sa.Column("undone_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint("master_id <> loser_id", name=op.f("ck_merges_two")),
        sa.CheckConstraint(
            "status IN ('running', 'done', 'undoing', 'undone', 'final')", name=op.f("ck_merges_status")
        ),
        sa.CheckConstraint("source IN ('person', 'guest')", name=op.f("ck_merges_source")),
        sa.ForeignKeyConstraint(["master_id"], ["customers.id"], name=op.f("fk_merges_master_id")),
        sa.ForeignKeyConstraint(["loser_id"], ["customers.id"], name=op.f("fk_merges_loser_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_merges")),
    )
    op.create_index("ix_merges_at", "merges", ["at", "id"])
    op.create_index("ix_merges_master", "merges", ["master_id", "at"])
    op.create_index(
        "uq_merges_loser", "merges", ["loser_id"], unique=True, postgresql_where=sa.text("status <> 'undone'")
    )
    op.create_table(
        "merge_moves",
        sa.Column("merge_id", sa.String(length=64), nullable=False),
        sa.Column("what", sa.Text(), nullable=False),
        sa.Column("row_id", sa.String(length=64), nullable=False),
        sa.Column("old_owner", sa.String(length=64), nullable=False),
        sa.Column("detail", postgresql.JSONB(), server_default=sa.text("'{}'::jsonb"), nullable=False),
        sa.Column("moved_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("undone_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(["merge_id"], ["merges.id"], name=op.f("fk_merge_moves_merge_id")),
        sa.PrimaryKeyConstraint("merge_id", "what", "row_id", name=op.f("pk_merge_moves")),
    )
    op.create_index("ix_merge_moves_row", "merge_moves", ["what", "row_id"])
    op.create_index("ix_merge_moves_owner", "merge_moves", ["old_owner", "what"])
    op.create_index(
        "ix_merge_moves_left",
        "merge_moves",
        ["merge_id", "what", "row_id"],
        postgresql_where=sa.text("undone_at IS NULL"),
    )
    op.execute(SEARCH_REFRESH)
    op.execute(CUSTOMER_CHANGED)
    _search_trigger((*FOUND_BY, "merged_into"))


def _search_trigger(found_by: tuple[str, ...]) -> None:
    op.execute("DROP TRIGGER customers_search_changed ON customers")
    op.execute(
        f"CREATE TRIGGER customers_search_changed AFTER UPDATE OF {', '.join(found_by)} ON customers "
        f"FOR EACH ROW WHEN (({', '.join(f'OLD.{name}' for name in found_by)}) IS DISTINCT FROM "
        f"({', '.join(f'NEW.{name}' for name in found_by)})) EXECUTE FUNCTION search_customer_changed()"
    )


def downgrade() -> None:
    _search_trigger(FOUND_BY)
    op.execute(CUSTOMER_CHANGED_BEFORE)
    op.execute(SEARCH_REFRESH_BEFORE)
    op.drop_table("merge_moves")
    op.drop_table("merges")
    op.drop_index("ix_customers_verified", "customers")
    op.drop_index("ix_customers_merged", "customers")
    op.drop_constraint(op.f("ck_customers_merged_into"), "customers", type_="check")
    op.drop_constraint(op.f("fk_customers_merged_into"), "customers", type_="foreignkey")
    for column in ("merged_into", "verified_by", "verified_at", "verified_email", "guest"):
        op.drop_column("customers", column)
