"""What a merchant's file becomes: each row something that can be applied, or a refusal that names field and rule.

A file that cannot be read as a whole is refused before anything is done with it; a bad row never harms its
neighbours. Rows are numbered as a spreadsheet numbers them: the header is row 1. The apostrophe that our own files
put before what could be a formula is no part of a cell.
"""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from types import MappingProxyType
from typing import Final

from domain import import_items as items
from domain.csv_cells import undefuse
from domain.errors import InvalidInput
from domain.import_cells import Row, Taken
from domain.import_fields import Kind
from domain.import_subscribers import subscriber
from domain.mapping import Plan, hint, shown

FILE_BYTES_MAX: Final = 32 * 1024 * 1024
ROWS_MAX: Final = 200_000
COLUMNS_MAX: Final = 500
HEADER_BYTES_MAX: Final = 64 * 1024
HEADER_ROW: Final = 1
FIRST_ROW: Final = 2

SOURCE_CELL_LENGTH_MAX: Final = 10_000  # the longest note

_READERS: Final[Mapping[Kind, Callable[[Row], Taken]]] = MappingProxyType(
    {
        Kind.SUBSCRIBERS: subscriber,
        Kind.CUSTOMERS: items.person,
        Kind.ADDRESSES: items.place,
        Kind.PAYMENT_METHODS: items.method,
        Kind.NOTES: items.remark,
        Kind.VOUCHERS: items.gift,
    }
)


@dataclass(frozen=True, slots=True)
class Refusal:
    """A row that is not applied: the field, the rule it breaks, and the row as it was (long cells cut)."""

    row: int
    field: str
    reason: str
    source: tuple[str, ...]


def header(text: str, delimiter: str) -> list[str]:
    """The names of the columns. Raises `InvalidInput` for an empty or unreadable file."""
    for _, cells in _records(text, delimiter):
        return [cell.strip() for cell in cells]
    raise InvalidInput("content", "the file is empty")


def check_file(text: str, plan: Plan) -> int:
    """How many rows the file has. Raises `InvalidInput` (field `content` or in `mapping`) if it cannot be read."""
    columns = header(text, plan.delimiter)
    _check_header(columns, plan)
    rows = sum(1 for _ in _records(text, plan.delimiter)) - 1
    if not 1 <= rows <= ROWS_MAX:
        raise InvalidInput("content", f"has 1 to {ROWS_MAX} rows under its header; this one has {rows}")
    return rows


def page(text: str, plan: Plan, first: int, rows_max: int) -> list[Taken | Refusal]:
    """What the rows from number `first` on become, at most `rows_max` of them."""
    return list(islice(_verdicts(text, plan, first), rows_max))


def refuse(taken: Taken, field: str, reason: str) -> Refusal:
    """A refusal for what only the database or the gateway can know."""
    return Refusal(taken.row, field, reason, taken.source)


def _verdicts(text: str, plan: Plan, first: int) -> Iterator[Taken | Refusal]:
    columns = header(text, plan.delimiter)
    seen: dict[str, int] = {}
    for number, record in islice(_records(text, plan.delimiter), 1, None):
        known = _identified(plan, columns, record)
        before = seen.setdefault(known, number) if known else number
        if number < first:
            continue
        try:
            _check_row(columns, record, known, number, before)
            cells = dict(zip(columns, record, strict=True))
            yield _READERS[plan.kind](Row(plan, number, _source(record), cells))
        except InvalidInput as error:
            yield Refusal(number, error.field, error.message, _source(record))


def _identified(plan: Plan, columns: Sequence[str], record: Sequence[str]) -> str:
    """The row's external id as far as it has one; a repetition is refused even if the first row is."""
    if len(columns) != len(record):
        return ""
    try:
        return plan.fields["external_id"].text(dict(zip(columns, record, strict=True)))
    except InvalidInput:
        return ""


def _records(text: str, delimiter: str) -> Iterator[tuple[int, list[str]]]:
    """Each record that is not blank, with its number."""
    # Not splitlines: it also ends lines at characters that may stand in a name.
    reader = csv.reader((f"{line}\n" for line in text.split("\n")), delimiter=delimiter, strict=True)
    number = 0
    try:
        for number, record in enumerate(reader, start=HEADER_ROW):
            if any(cell.strip() for cell in record):
                yield number, [undefuse(cell) for cell in record]
    except csv.Error as error:
        rule = f"row {number + 1} (line {reader.line_num}) is no CSV: {error}"
        raise InvalidInput("content", f"{rule}; is a quote not closed?") from None


def _check_header(columns: Sequence[str], plan: Plan) -> None:
    if len(columns) > COLUMNS_MAX or sum(len(column.encode()) + 3 for column in columns) > HEADER_BYTES_MAX:
        raise InvalidInput("content", f"the header has at most {COLUMNS_MAX} columns and {HEADER_BYTES_MAX} bytes")
    for path, value in plan.fields.items():
        for column in sorted(value.columns):
            if column not in columns:
                raise InvalidInput(f"mapping.{path}", f"the file has no column {column!r}{hint(column, columns)}")
            if columns.count(column) > 1:
                raise InvalidInput("content", f"the column {column!r} is there {columns.count(column)} times")


def _check_row(columns: Sequence[str], record: Sequence[str], known: str, number: int, before: int) -> None:
    """Raises `InvalidInput` for a row that does not fit the header, or whose id an earlier row has."""
    if len(record) != len(columns):
        raise InvalidInput("row", f"has {len(record)} cells, the header has {len(columns)}")
    if before != number:
        raise InvalidInput("external_id", f"{shown(known)} is in row {before} already")


def _source(record: Sequence[str]) -> tuple[str, ...]:
    """The row as it can be kept: PostgreSQL takes no NUL."""
    return tuple(cell[:SOURCE_CELL_LENGTH_MAX].replace("\0", "\N{REPLACEMENT CHARACTER}") for cell in record)
