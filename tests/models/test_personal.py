"""Each column says whether it may hold something of a person, and what may is emptied when they are forgotten."""

from __future__ import annotations

import re

import pytest
from sqlalchemy import JSON, LargeBinary, String
from sqlalchemy.dialects.postgresql import ARRAY

from models import Base
from models.base import ID_LENGTH_MAX
from models.forgetting import DELETED, EMPTIED
from models.personal import BOOKS, IMPERSONAL, PERSONAL, STAFF

# Emptied otherwise: search by its triggers, the blacklist by what the customer is recognised by.
OTHERWISE = {"customer_search", "search_words", "blacklist_entries"}


def wordy() -> set[tuple[str, str]]:
    """Every column that can hold words. Ids and currencies are strings of a fixed length."""
    return {
        (table.name, column.name)
        for table in Base.metadata.tables.values()
        for column in table.columns
        if isinstance(column.type, JSON | LargeBinary | ARRAY)
        or (isinstance(column.type, String) and (column.type.length or 2 * ID_LENGTH_MAX) > ID_LENGTH_MAX)
    }


def listed(*lists: dict[str, str]) -> list[tuple[str, str]]:
    return [(table, name) for each in lists for table, names in each.items() for name in names.split()]


def test_every_column_of_words_says_whether_it_is_personal() -> None:
    told = listed(PERSONAL, BOOKS, STAFF, IMPERSONAL)
    assert wordy() - set(told) == set(), "say in models/personal.py what becomes of it when a customer is forgotten"
    assert set(told) - wordy() == set(), "there is no such column"
    assert len(told) == len(set(told)), "one column, one answer"


@pytest.mark.parametrize("table", sorted(PERSONAL))
def test_what_is_personal_is_emptied(table: str) -> None:
    if table in OTHERWISE or any(each.split()[2] == table for each in DELETED):
        return
    emptied = EMPTIED[table].replace('"', "")
    left = [name for name in PERSONAL[table].split() if re.search(rf"\b{name} = ", emptied) is None]
    assert left == []
