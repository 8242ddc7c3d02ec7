"""What the code says of its tables, as PostgreSQL understands it: Alembic compares neither checks nor conditions."""

from __future__ import annotations

from sqlalchemy import CheckConstraint, Connection, Index, text
from sqlalchemy.dialects import postgresql
from sqlalchemy.schema import AddConstraint, CreateIndex

from models import Base
from models.session import Database

TWIN = "twin_of_it"
CHECKS = """
SELECT c.relname || '.' || k.conname, pg_get_constraintdef(k.oid)
FROM pg_constraint AS k JOIN pg_class AS c ON c.oid = k.conrelid WHERE k.contype = 'c' AND c.relname = ANY(:tables)
"""
INDEXES = "SELECT tablename || '.' || indexname, indexdef FROM pg_indexes WHERE tablename = ANY(:tables)"


def made(connection: Connection, statement: str) -> dict[str, str]:
    rows = connection.execute(text(statement), {"tables": list(Base.metadata.tables)})
    return {name: definition for name, definition in rows}  # noqa: C416 - a row is no pair to the type checker


def said(connection: Connection, item: CheckConstraint | Index, reading: str) -> str:
    """How PostgreSQL reads it: it is made once more under another name, for as long as this takes."""
    ddl = AddConstraint(item) if isinstance(item, CheckConstraint) else CreateIndex(item)
    name = str(postgresql.dialect().identifier_preparer.format_constraint(item))
    statement = str(ddl.compile(dialect=postgresql.dialect())).replace(f" {name} ", f" {TWIN} ", 1)
    with connection.begin_nested() as twin:
        connection.exec_driver_sql(statement)
        (found,) = [text for key, text in made(connection, reading).items() if key.endswith(f".{TWIN}")]
        twin.rollback()
    return found.replace(TWIN, name)


def differences(connection: Connection) -> list[str]:
    found: list[str] = []
    for reading, kind in ((CHECKS, CheckConstraint), (INDEXES, Index)):
        there = made(connection, reading)
        for table in Base.metadata.tables.values():
            items = table.constraints if kind is CheckConstraint else table.indexes
            for item in items:
                if not isinstance(item, (CheckConstraint, Index)):
                    continue
                key = f"{table.name}.{postgresql.dialect().identifier_preparer.format_constraint(item)}"
                wanted = said(connection, item, reading)
                if there.get(key) != wanted:
                    found.append(f"{key}: the code says {wanted}, the tables say {there.get(key, 'nothing')}")
    return sorted(found)


async def test_checks_and_indexes_are_those_of_the_code(fresh_database: Database) -> None:
    async with fresh_database.begin() as connection:
        assert await connection.run_sync(differences) == []
