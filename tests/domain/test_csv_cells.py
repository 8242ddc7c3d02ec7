"""Cells of a CSV file: no formula gets through, and every text comes back as it was."""

from __future__ import annotations

import csv
import io
from datetime import UTC, date, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.csv_cells import Cell, csv_line, defuse, undefuse

FORMULAS = [
    '=HYPERLINK("http://evil.example","click")',
    "+49 30 1234567",
    "-2+3+cmd|' /C calc'!A0",
    "@SUM(1+1)",
    "\t=1+1",
    "\r=1+1",
    "\n=1+1",
    "  =1+1",
    "\ufeff=1+1",
    "\u200f=1+1",
    "\uff1d1+1",
    "'=1+1",
    "''=1+1",
]


@pytest.mark.parametrize("formula", FORMULAS, ids=ascii)
def test_a_formula_becomes_text(formula: str) -> None:
    assert defuse(formula) == "'" + formula


@pytest.mark.parametrize("text", ["Ada", "O'Neil", "'t Hart", "a=b", "ada@example.com", "2-3", "", " ", "5%", "日本"])
def test_other_text_stays_as_it_is(text: str) -> None:
    assert defuse(text) == text


@pytest.mark.parametrize(
    ("cell", "text"),
    [
        (None, ""),
        (True, "true"),
        (False, "false"),
        (0, "0"),
        (-1250, "-1250"),
        (date(2028, 2, 29), "2028-02-29"),
        (datetime(2028, 2, 29, 9, tzinfo=UTC), "2028-02-29T09:00:00+00:00"),
    ],
)
def test_values_have_one_way_to_be_written(cell: Cell, text: str) -> None:
    assert defuse(cell) == text


@given(st.text())
def test_every_text_comes_back(text: str) -> None:
    assert undefuse(defuse(text)) == text


@given(st.lists(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0")), min_size=1))
def test_a_line_is_read_back_cell_by_cell(cells: list[str]) -> None:
    line = csv_line(cells)
    assert line.endswith("\r\n")
    (read,) = csv.reader(io.StringIO(line, newline=""))
    assert [undefuse(cell) for cell in read] == cells
