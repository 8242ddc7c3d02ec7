"""Which rows go with a customer that is merged, and how each kind is moved and moved back: one statement each.

A statement moves a page of rows and writes down each of them; what is written down is what an undo moves back. Both
may be repeated: what is moved is found no more. Books and logs are not in here: they say for whom they were written,
and are read for the customer and for all that were merged into it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from sqlalchemy import TextClause, text


@dataclass(frozen=True, slots=True)
class Mover:
    """How one kind of row is moved. Parameters: `merge`, `master`, `loser`, `limit`."""

    what: str
    there: TextClause
    back: TextClause


def _mover(
    table: str,
    *,
    key: str = "id",
    column: str = "customer_id",
    only: str = "TRUE",
    forth: str = "",
    detail: str = "'{}'::jsonb",
    home: str = "",
) -> Mover:
    """`only` limits which rows of `t` move, `forth` and `home` set more on the way there and back (with `m.detail`)."""
    what = f"{table}.{column}"
    there = f"""
WITH picked AS (
    SELECT t.* FROM {table} AS t WHERE t.{column} = :loser AND {only} ORDER BY t.{key} LIMIT :limit FOR UPDATE
),
moved AS (
    UPDATE {table} AS t SET {column} = :master{forth} FROM picked WHERE t.{key} = picked.{key} AND t.{column} = :loser
    RETURNING t.{key} AS id, {detail} AS detail
)
INSERT INTO merge_moves AS m (merge_id, what, row_id, old_owner, detail)
SELECT DISTINCT :merge, '{what}', id, :loser, detail FROM moved
ON CONFLICT (merge_id, what, row_id) DO UPDATE SET undone_at = NULL
"""  # noqa: S608 - names of tables and columns, written here
    back = f"""
WITH picked AS (
    SELECT merge_id, row_id, detail FROM merge_moves
    WHERE merge_id = :merge AND what = '{what}' AND undone_at IS NULL ORDER BY row_id LIMIT :limit FOR UPDATE
),
moved AS (
    UPDATE {table} AS t SET {column} = :loser{home} FROM picked AS m
    WHERE t.{key} = m.row_id AND t.{column} = :master
)
UPDATE merge_moves AS m SET undone_at = now() FROM picked
WHERE m.merge_id = picked.merge_id AND m.what = '{what}' AND m.row_id = picked.row_id
"""  # noqa: S608 - the same
    return Mover(what, _typed(there), _typed(back))


def _typed(statement: str) -> TextClause:
    """The customers as text: PostgreSQL would guess another type at each place that names them."""
    for name in (":merge", ":master", ":loser"):
        statement = statement.replace(name, f"CAST({name} AS text)")
    return text(statement)


# A parent's children have a new parent; whoever was merged into the loser before is now the master's. They move in the
# transaction that closes the loser, and back in the one that opens it: a pointer never leads to another pointer.
FAMILY: Final = (_mover("customers", column="parent_id"), _mover("customers", column="merged_into"))
# The master keeps its defaults. They move before the subscriptions are told: by the address a customer is taxed.
FIRST: Final = (
    _mover(
        "addresses",
        forth=""", is_default = picked.is_default AND NOT EXISTS (
            SELECT 1 FROM addresses AS o WHERE o.customer_id = :master AND o.kind = picked.kind AND o.is_default
        )""",
        detail="jsonb_build_object('is_default', picked.is_default)",
        home=""", is_default = (m.detail->>'is_default')::bool AND NOT EXISTS (
            SELECT 1 FROM addresses AS o WHERE o.customer_id = :loser AND o.kind = t.kind AND o.is_default
        )""",
    ),
)
MOVERS: Final[tuple[Mover, ...]] = (
    # After the master's own, in their order. A card that both have is one card: the loser's is as if removed.
    _mover(
        "payment_methods",
        forth=""", position = picked.position + 1 + (
            SELECT coalesce(max(position), -1) FROM payment_methods WHERE customer_id = :master AND removed_at IS NULL
        ), removed_at = CASE WHEN picked.removed_at IS NULL AND EXISTS (
            SELECT 1 FROM payment_methods AS o WHERE o.customer_id = :master AND o.gateway = picked.gateway
            AND o.token = picked.token AND o.removed_at IS NULL
        ) THEN now() ELSE picked.removed_at END""",
        detail="jsonb_build_object('position', picked.position, 'doubled', "
        "picked.removed_at IS NULL AND t.removed_at IS NOT NULL)",
        home=""", position = (m.detail->>'position')::int,
            removed_at = CASE WHEN (m.detail->>'doubled')::bool THEN NULL ELSE t.removed_at END""",
    ),
    # What is known of a card goes with it.
    _mover("card_notices", key="payment_method_id"),
    _mover("card_changes", key="payment_method_id"),
    _mover("links"),
    *FIRST,
    _mover("invoices"),
    _mover("attempts"),
    _mover("attempts", column="payer_id"),
    _mover("refunds"),
    _mover("disputes"),
    _mover("differences"),
    _mover("vouchers"),
    _mover("credit_transfers"),
    _mover("fulfilments"),
    _mover("baskets"),
    _mover("redemptions"),
    _mover("customer_discounts"),
    _mover("notes"),
    _mover("tasks"),
    _mover("tasks", column="subject_id", only="t.subject_kind = 'customer'"),
    _mover("messages"),
    _mover("staff_letters"),
    _mover("phone_calls"),
    # One review of each product, one value in each field: where the master has its own, that one stays.
    _mover(
        "reviews",
        only="NOT EXISTS (SELECT 1 FROM reviews AS o WHERE o.customer_id = :master AND o.product_id = t.product_id)",
    ),
    _mover(
        "custom_values",
        key="field_id",
        only="NOT EXISTS (SELECT 1 FROM custom_values AS o WHERE o.customer_id = :master AND o.field_id = t.field_id)",
    ),
    # One login: the loser's is the master's where that has none.
    _mover(
        "customer_logins",
        key="customer_id",
        only="NOT EXISTS (SELECT 1 FROM customer_logins AS o WHERE o.customer_id = :master)",
        forth=", session_version = picked.session_version + 1",
        home=", session_version = t.session_version + 1",
    ),
)

# A column that names a customer and does not move → why.
STAYS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "ledger_entries.customer_id": "the books say for whom they were written",
        "credit_notes.customer_id": "the books say for whom they were written",
        "customer_changes.customer_id": "a log, append-only",
        "activity_log.customer_id": "a log, append-only",
        "access_log.customer_id": "a log, append-only",
        "point_movements.customer_id": "append-only: the balance moves, by a movement on either side",
        "login_places.customer_id": "digests of devices; the next sign-in makes them anew",
        "customer_search.customer_id": "made anew by the database",
        "merges.master_id": "this is what it tells",
        "merges.loser_id": "this is what it tells",
    }
)
# Told by a command, which writes the row.
TOLD: Final = ("subscriptions.customer_id", "orders.customer_id")
