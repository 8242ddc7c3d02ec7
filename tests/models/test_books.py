"""What the database itself keeps true, whoever writes."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import pytest
from alembic import command
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError, IntegrityError

from models.session import Database, alembic_config, revision_of, revision_of_code
from settings import Settings
from tests.conftest import Server

ROOT = Path(__file__).resolve().parents[2]

CUSTOMER = "INSERT INTO customers (id, email, currency, invoice_prefix) VALUES ('cus', 'a@example.com', 'EUR', 'A')"
ENTRY = (
    "INSERT INTO ledger_entries (id, at, kind, customer_id, description, test_mode) "
    "VALUES ('led', now(), 'payment_succeeded', 'cus', '', false)"
)
POSTINGS = "INSERT INTO ledger_postings (entry_id, position, account, currency, amount) VALUES "
EVENT = (
    "INSERT INTO subscription_events (subscription_id, seq, at, kind, actor, reason, data) "
    "VALUES ('sub', 1, now(), 'created', 'me', '', '{}')"
)
SUBSCRIPTION = """
INSERT INTO products (id, code, name) VALUES ('prod', 'p', 'P');
INSERT INTO prices (id, product_id, code, currency, unit_amount, interval_count, interval_unit)
VALUES ('price', 'prod', 'm', 'EUR', 100, 1, 'month');
INSERT INTO subscriptions (id, customer_id, product_id, price_id, status, access, currency, amount, quantity, cycle,
    test_mode, trigger, event_seq, virtual_now)
VALUES ('sub', 'cus', 'prod', 'price', 'active', 'active', 'EUR', 100, 1, 1, false, 'timer', 1, now())
"""
CHANGE = "INSERT INTO customer_changes (customer_id, actor, field) VALUES ('cus', 'me', 'phone')"


async def run(database: Database, *statements: str) -> None:
    """All in one transaction."""
    async with database.begin() as connection:
        for statement in statements:
            for part in statement.split(";"):
                await connection.execute(text(part))


async def balanced(database: Database) -> None:
    await run(database, CUSTOMER, ENTRY, POSTINGS + "('led', 1, 'cash', 'EUR', 5), ('led', 2, 'revenue', 'EUR', -5)")


@pytest.mark.parametrize("table", ["ledger_entries", "ledger_postings", "subscription_events", "customer_changes"])
@pytest.mark.parametrize("change", ["UPDATE {} SET {} = {}", "DELETE FROM {}", "TRUNCATE {} CASCADE"])
async def test_the_books_only_grow(fresh_database: Database, table: str, change: str) -> None:
    await balanced(fresh_database)
    await run(fresh_database, SUBSCRIPTION, EVENT, CHANGE)
    column = {"ledger_postings": "account", "subscription_events": "kind", "customer_changes": "field"}
    column_name = column.get(table, "kind")
    with pytest.raises(DBAPIError, match="never changed or removed"):
        await run(fresh_database, change.format(table, column_name, column_name))


@pytest.mark.parametrize(
    ("table", "column"),
    [
        ("refund_events", "kind"),
        ("credit_notes", "reason"),
        ("settlement_lines", "kind"),
        ("voucher_movements", "kind"),
        ("business_policy_changes", "actor"),
    ],
)
@pytest.mark.parametrize("change", ["UPDATE {} SET {} = {}", "DELETE FROM {}", "TRUNCATE {}"])
async def test_what_documents_money_back_only_grows(database: Database, table: str, column: str, change: str) -> None:
    """The rule is for the statement, so it holds for an empty table too."""
    with pytest.raises(DBAPIError, match="never changed or removed"):
        await run(database, change.format(table, column, column))


@pytest.mark.parametrize(
    "postings",
    [
        "('led', 1, 'cash', 'EUR', 5), ('led', 2, 'revenue', 'EUR', -4)",
        "('led', 1, 'cash', 'EUR', 5), ('led', 2, 'revenue', 'USD', -5)",
        "('led', 1, 'cash', 'EUR', 5)",
    ],
)
async def test_an_entry_that_does_not_add_up_is_refused(fresh_database: Database, postings: str) -> None:
    with pytest.raises(IntegrityError, match="do not sum to zero"):
        await run(fresh_database, CUSTOMER, ENTRY, POSTINGS + postings)


async def test_an_entry_without_postings_is_refused(fresh_database: Database) -> None:
    with pytest.raises(IntegrityError, match="no postings"):
        await run(fresh_database, CUSTOMER, ENTRY)


async def test_nothing_is_added_to_an_entry_later(fresh_database: Database) -> None:
    await balanced(fresh_database)
    with pytest.raises(IntegrityError, match="do not sum to zero"):
        await run(fresh_database, POSTINGS + "('led', 3, 'cash', 'EUR', 1)")


async def test_the_migrations_make_the_tables_of_the_code(postgres_server: Server) -> None:
    url = await postgres_server.new_database()
    await asyncio.to_thread(command.check, alembic_config(url))


async def test_the_migrations_can_be_taken_back_and_made_again(postgres_server: Server) -> None:
    config = alembic_config(await postgres_server.new_database())
    for move, target in ((command.downgrade, "base"), (command.upgrade, "head")):
        await asyncio.to_thread(move, config, target)
    await asyncio.to_thread(command.check, config)


async def test_two_processes_may_migrate_at_once(postgres_server: Server) -> None:
    url = await postgres_server.new_database(template=None)
    environment = Settings(database_url=url).environment()
    command_line = (sys.executable, str(ROOT / "cli.py"), "migrate")
    both = [await asyncio.create_subprocess_exec(*command_line, cwd=ROOT, env=environment) for _ in range(2)]
    assert [await process.wait() for process in both] == [0, 0]


async def test_a_database_knows_whether_it_is_migrated(postgres_server: Server, fresh_database: Database) -> None:
    assert await revision_of(fresh_database) == revision_of_code()
    empty = Database.connect(await postgres_server.new_database(template=None), application_name="tests", pool_max=1)
    assert await revision_of(empty) is None
    await empty.close()


INVOICE = """
INSERT INTO invoices (id, number, customer_id, subscription_id, cycle, reason, sequence, currency, total,
    credit_applied, amount_due, status, issued_at, local_date, test_mode)
VALUES ('inv', 'A-1', 'cus', 'sub', 1, 'cycle', 0, 'EUR', 1000, 0, 1000, 'paid', now(), '2027-01-01', false);
INSERT INTO attempts (id, invoice_id, subscription_id, customer_id, number, reference, trigger, amount, currency,
    status, at, test_mode)
VALUES ('att', 'inv', 'sub', 'cus', 1, 'charge:sub:1:1', 'due', 1000, 'EUR', 'approved', now(), false)
"""


@pytest.mark.parametrize("amount", [-1, 1001])
@pytest.mark.parametrize(
    ("change", "rule"),
    [
        ("UPDATE attempts SET returned = {}", "ck_attempts_returned"),
        ("UPDATE invoices SET credited = {}", "ck_invoices_credited"),
    ],
)
async def test_no_more_is_given_back_than_was_taken(
    fresh_database: Database, change: str, rule: str, amount: int
) -> None:
    await run(fresh_database, CUSTOMER, SUBSCRIPTION, INVOICE, change.format(1000))
    with pytest.raises(IntegrityError, match=rule):
        await run(fresh_database, change.format(amount))
