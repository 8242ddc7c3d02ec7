"""Search, custom fields, segments."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql
from sqlalchemy.exc import DBAPIError

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

NO_TRIGRAMS = """\
The search needs the extension pg_trgm, and this database does not let us create it. It comes with PostgreSQL (on Debian
in the package postgresql, elsewhere often in postgresql-contrib). Install it, then run as the owner of the database:
CREATE EXTENSION pg_trgm; and migrate again. PostgreSQL says: """

# NFKD takes letters apart from their accents, so that these can be dropped; the letters named one by one have none to
# drop. Marks of direction and joiners are dropped too. lower() once more: some capitals only appear by NFKD.
SEARCH_FOLD = r"""
CREATE FUNCTION search_fold(given text) RETURNS text LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE AS $$
    SELECT replace(replace(replace(translate(lower(regexp_replace(normalize(lower(given), NFKD),
        '[\u0300-\u036f\u200b-\u200f\u202a-\u202e\u2060-\u2069\ufeff]', '', 'g')),
        'øłđıðħ', 'oldidh'), 'ß', 'ss'), 'æ', 'ae'), 'œ', 'oe')
$$
"""

# Runs of letters and runs of digits. What is not ASCII counts as a letter, so that no locale is asked.
SEARCH_WORDS_OF = r"""
CREATE FUNCTION search_words_of(given text) RETURNS text[] LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE AS $$
    SELECT coalesce(array_agg(DISTINCT left(found[1], 64)), '{}')
    FROM regexp_matches(search_fold(given), '[a-z\u0080-\U0010ffff]+|[0-9]+', 'g') AS found
$$
"""

# Digits backwards; "(0)" and "00" in front are ways to write a number, no part of it.
SEARCH_PHONE = r"""
CREATE FUNCTION search_phone(given text) RETURNS text LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE AS $$
    SELECT reverse(regexp_replace(regexp_replace(replace(given, '(0)', ''), '[^0-9]', '', 'g'), '^0+', ''))
$$
"""

SEARCH_REFRESH = """
CREATE FUNCTION search_refresh(ids text[]) RETURNS void LANGUAGE plpgsql AS $$
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

# A rare name must not stay behind among the words when nobody bears it any more.
SEARCH_FORGET = """
CREATE FUNCTION search_forget(before text[]) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    DELETE FROM search_words AS w WHERE w.word = ANY (before)
        AND NOT EXISTS (SELECT FROM customer_search AS s WHERE s.words @> ARRAY[w.word]);
END
$$
"""

CUSTOMERS_TOUCHED = """
CREATE FUNCTION search_customers_made() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM search_refresh(array_agg(id::text)) FROM touched HAVING count(*) > 0;
    RETURN NULL;
END
$$
"""

CUSTOMER_CHANGED = """
CREATE FUNCTION search_customer_changed() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM search_refresh(ARRAY[NEW.id::text]);
    RETURN NULL;
END
$$
"""

VALUES_TOUCHED = """
CREATE FUNCTION search_values_touched() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM search_refresh(array_agg(DISTINCT customer_id::text)) FROM touched HAVING count(*) > 0;
    RETURN NULL;
END
$$
"""

CUSTOMER_GONE = """
CREATE FUNCTION search_customer_gone() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM search_forget(OLD.words);
    RETURN NULL;
END
$$
"""

FOUND_BY = ("first_name", "last_name", "company", "email", "phone", "external_id")
FUNCTIONS = (
    "search_customer_gone()",
    "search_values_touched()",
    "search_customer_changed()",
    "search_customers_made()",
    "search_refresh(text[])",
    "search_forget(text[])",
    "search_phone(text)",
    "search_words_of(text)",
    "search_fold(text)",
)


def upgrade() -> None:
    _create_trigrams()
    for function in (SEARCH_FOLD, SEARCH_WORDS_OF, SEARCH_PHONE):
        op.execute(function)
    _create_tables()
    for function in (SEARCH_FORGET, SEARCH_REFRESH, CUSTOMERS_TOUCHED, CUSTOMER_CHANGED, VALUES_TOUCHED, CUSTOMER_GONE):
        op.execute(function)
    _create_triggers()
    op.execute("SELECT search_refresh(array_agg(id::text)) FROM customers HAVING count(*) > 0")


def _create_trigrams() -> None:
    present = op.get_bind().scalar(sa.text("SELECT count(*) FROM pg_extension WHERE extname = 'pg_trgm'"))
    if present:
        return
    try:
        op.execute("CREATE EXTENSION pg_trgm")
    except DBAPIError as error:
        raise RuntimeError(f"{NO_TRIGRAMS}{error.orig}") from error


def _create_tables() -> None:
    op.create_table(
        "custom_fields",
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("subject", sa.Text(), nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("label", sa.Text(), nullable=False),
        sa.Column("type", sa.Text(), nullable=False),
        sa.Column("choices", postgresql.JSONB(), server_default=sa.text("'[]'::jsonb"), nullable=False),
        sa.Column("required", sa.Boolean(), server_default="false", nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("archived_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint("subject IN ('customer', 'order')", name=op.f("ck_custom_fields_subject")),
        sa.CheckConstraint(
            "type IN ('text', 'number', 'date', 'choice', 'yes_no')", name=op.f("ck_custom_fields_type")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_custom_fields")),
        sa.UniqueConstraint("subject", "key", name=op.f("uq_custom_fields_key")),
    )
    op.create_table(
        "custom_values",
        sa.Column("customer_id", sa.String(length=64), nullable=False),
        sa.Column("field_id", sa.String(length=64), nullable=False),
        sa.Column("value", postgresql.JSONB(), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.ForeignKeyConstraint(
            ["customer_id"], ["customers.id"], name=op.f("fk_custom_values_customer_id"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(["field_id"], ["custom_fields.id"], name=op.f("fk_custom_values_field_id")),
        sa.PrimaryKeyConstraint("customer_id", "field_id", name=op.f("pk_custom_values")),
    )
    op.create_index("ix_custom_values_field", "custom_values", ["field_id"])
    op.create_index("ix_custom_values_text", "custom_values", [sa.text("left(search_fold(value #>> '{}'), 200)")])
    op.create_table(
        "segments",
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("description", sa.Text(), server_default="", nullable=False),
        sa.Column("filter", postgresql.JSONB(), nullable=False),
        sa.Column("created_by", sa.Text(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_segments")),
        sa.UniqueConstraint("name", name=op.f("uq_segments_name")),
    )
    op.create_table(
        "customer_search",
        sa.Column("customer_id", sa.String(length=64), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("phone", sa.Text(), nullable=False),
        sa.Column("words", postgresql.ARRAY(sa.Text()), nullable=False),
        sa.ForeignKeyConstraint(
            ["customer_id"], ["customers.id"], name=op.f("fk_customer_search_customer_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("customer_id", name=op.f("pk_customer_search")),
    )
    op.create_index(
        "ix_customer_search_phone", "customer_search", ["phone"], postgresql_ops={"phone": "text_pattern_ops"}
    )
    op.create_index("ix_customer_search_words", "customer_search", ["words"], postgresql_using="gin")
    op.create_table("search_words", sa.Column("word", sa.Text(), nullable=False))
    op.create_index("ix_search_words_word", "search_words", ["word"], postgresql_ops={"word": "text_pattern_ops"})
    op.create_index(
        "ix_search_words_similar",
        "search_words",
        ["word"],
        postgresql_using="gin",
        postgresql_ops={"word": "gin_trgm_ops"},
    )
    op.create_index(
        "ix_payment_methods_last4",
        "payment_methods",
        ["last4"],
        postgresql_where=sa.text("removed_at IS NULL AND last4 <> ''"),
    )


def _create_triggers() -> None:
    op.execute(
        "CREATE TRIGGER customers_search_made AFTER INSERT ON customers REFERENCING NEW TABLE AS touched "
        "FOR EACH STATEMENT EXECUTE FUNCTION search_customers_made()"
    )
    # Only where something changed that is searched: a renewal moves invoice_seq and must not pay for this.
    op.execute(
        f"CREATE TRIGGER customers_search_changed AFTER UPDATE OF {', '.join(FOUND_BY)} ON customers "
        f"FOR EACH ROW WHEN (({', '.join(f'OLD.{name}' for name in FOUND_BY)}) IS DISTINCT FROM "
        f"({', '.join(f'NEW.{name}' for name in FOUND_BY)})) EXECUTE FUNCTION search_customer_changed()"
    )
    for event, table in (("INSERT", "NEW"), ("UPDATE", "NEW"), ("DELETE", "OLD")):
        op.execute(
            f"CREATE TRIGGER custom_values_search_{event.lower()} AFTER {event} ON custom_values "
            f"REFERENCING {table} TABLE AS touched FOR EACH STATEMENT EXECUTE FUNCTION search_values_touched()"
        )
    op.execute(
        "CREATE TRIGGER customer_search_gone AFTER DELETE ON customer_search "
        "FOR EACH ROW EXECUTE FUNCTION search_customer_gone()"
    )


def downgrade() -> None:
    op.execute("DROP TRIGGER customers_search_changed ON customers")
    op.execute("DROP TRIGGER customers_search_made ON customers")
    op.drop_index("ix_payment_methods_last4", table_name="payment_methods")
    for table in ("search_words", "customer_search", "segments", "custom_values", "custom_fields"):
        op.drop_table(table)
    for function in FUNCTIONS:
        op.execute(f"DROP FUNCTION {function}")
    # The extension stays: others may use it by now.
