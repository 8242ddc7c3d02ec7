"""What a CSV cell may say: text only, never a formula that the program which opens the file would run."""

from __future__ import annotations

import csv
from collections.abc import Iterable
from datetime import date
from typing import Final

Cell = str | int | date | None

# What a spreadsheet takes for a formula begins with one of these (OWASP, "CSV Injection"), also in full width.
FORMULA_STARTS: Final = tuple("=+-@\t\r\n\uff1d\uff0b\uff0d\uff20")
# A program may skip these before it looks: blanks, marks of direction, the byte order mark.
SKIPPED: Final = " \u00a0\u200b\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\ufeff"
DEFUSER: Final = "'"


def defuse(cell: Cell) -> str:
    """The text of a cell that no spreadsheet runs: what could be a formula begins with an apostrophe.

    A number stays a number, also a negative one; a truth is `true` or `false`; a date is ISO 8601; None is empty.
    """
    match cell:
        case None:
            return ""
        case bool():
            return str(cell).lower()
        case int():
            return str(cell)
        case date():
            return cell.isoformat()
        case str():
            return DEFUSER + cell if _could_run(cell) else cell


def undefuse(cell: str) -> str:
    """The text that `defuse` made this cell of: what is exported can be imported again."""
    return cell.removeprefix(DEFUSER) if cell.startswith(DEFUSER) and _could_run(cell) else cell


def csv_line(cells: Iterable[Cell], delimiter: str = ",") -> str:
    """One line of a CSV file (RFC 4180) of defused cells, with its line end."""
    said = csv.writer(_Said(), delimiter=delimiter)  # it answers what `write` does
    return said.writerow([defuse(cell) for cell in cells])


class _Said:
    """What is written is the answer."""

    def write(self, text: str) -> str:
        return text


def _could_run(text: str) -> bool:
    """Also where it is defused already, or two texts would become one cell."""
    return text.lstrip(SKIPPED + DEFUSER).startswith(FORMULA_STARTS)
