"""What the sandbox gateway settles, and when and in what parts it reports it.

A batch is closed at once and in its books; its report may come late, in pieces, or twice, as payment companies' do.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from local.gateway.books import Books, new_id, now_ms

_SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS settlement_pieces (
    piece INTEGER PRIMARY KEY AUTOINCREMENT, due_ms INTEGER NOT NULL, lines TEXT);
CREATE TABLE IF NOT EXISTS settlement_lines (
    seq INTEGER PRIMARY KEY AUTOINCREMENT, piece INTEGER NOT NULL, batch TEXT NOT NULL, kind TEXT NOT NULL,
    id TEXT NOT NULL, reference TEXT NOT NULL, amount INTEGER NOT NULL, currency TEXT NOT NULL,
    settled_ms INTEGER NOT NULL);
"""
_TABLES: Final = ("settlement_pieces", "settlement_lines")
BATCH_LINES_MAX: Final = 50_000
_LINE: Final = ("batch", "kind", "id", "reference", "amount", "currency", "settled_ms")


@dataclass(frozen=True, slots=True)
class Closing:
    """How to close a batch: what goes in (None: everything made before `until_ms`), and how it is reported."""

    references: Sequence[str] | None = None
    until_ms: int | None = None
    pieces: int = 1
    late_s: float = 0.0
    twice: bool = False


class Settlements:
    """Batches over the connection of the books."""

    def __init__(self, books: Books) -> None:
        self._books: Final = books
        self._db: Final = books.keep(_SCHEMA, _TABLES)

    def close(self, closing: Closing) -> dict[str, Any]:
        """Settle what was captured and given back and is not settled yet; at most `BATCH_LINES_MAX` lines.

        No lines, no batch: `batch` is then None.
        """
        now, batch = now_ms(), new_id("ba")
        with self._books.one_commit():
            lines = self._take(closing, batch, now)
            self._report_later(lines, closing, now)
        return {"batch": batch if lines else None, "lines": len(lines), "closed_ms": now}

    def settle_one(self, transaction_id: str) -> None:
        """Settle one sale in a batch of its own, inside the open commit."""
        now, batch = now_ms(), new_id("ba")
        rows = self._db.execute(f"{_UNSETTLED} WHERE kind = 'sale' AND id = ?", (transaction_id,)).fetchall()
        lines = self._mark(rows, batch, now)
        self._report_later(lines, Closing(), now)

    def report_all(self) -> int:
        """Report every piece that still waits, now; gives their number."""
        return self._db.execute("UPDATE settlement_pieces SET due_ms = 0 WHERE lines IS NOT NULL").rowcount

    def page(self, after: int, limit: int) -> tuple[list[dict[str, Any]], int, bool]:
        """Reported lines after the cursor, of one piece only; the cursor behind them; whether there are more now."""
        with self._books.one_commit():
            self._report_due()
        rows = self._db.execute(
            f"SELECT seq, piece, {', '.join(_LINE)} FROM settlement_lines"  # noqa: S608 - own constants
            " WHERE seq > ? ORDER BY seq LIMIT ?",
            (after, limit + 1),
        ).fetchall()
        shown = [row for row in rows[:limit] if row[1] == rows[0][1]]
        lines = [dict[str, Any](zip(_LINE, row[2:], strict=True)) for row in shown]
        return lines, shown[-1][0] if shown else after, len(rows) > len(shown)

    def _take(self, closing: Closing, batch: str, now: int) -> list[dict[str, Any]]:
        until = closing.until_ms if closing.until_ms is not None else now + 1
        wanted = None if closing.references is None else json.dumps(list(closing.references))
        rows = self._db.execute(
            f"{_UNSETTLED} WHERE created_ms < ?1 AND (?2 IS NULL"  # noqa: S608 - own constants
            " OR reference IN (SELECT value FROM json_each(?2))"
            " OR first_reference IN (SELECT value FROM json_each(?2))) ORDER BY created_ms, kind DESC, seq LIMIT ?3",
            (until, wanted, BATCH_LINES_MAX),
        ).fetchall()
        return self._mark(rows, batch, now)

    def _mark(self, rows: Iterable[tuple[Any, ...]], batch: str, now: int) -> list[dict[str, Any]]:
        lines: list[dict[str, Any]] = []
        for kind, name, reference, amount, currency in (row[:5] for row in rows):
            table = "transactions" if kind == "sale" else "refunds"
            self._db.execute(
                f"UPDATE {table} SET state = 'settled', updated_ms = ? WHERE id = ?",  # noqa: S608 - own constants
                (now, name),
            )
            lines.append(dict(zip(_LINE, (batch, kind, name, reference, amount, currency, now), strict=True)))
        return lines

    def _report_later(self, lines: list[dict[str, Any]], closing: Closing, now: int) -> None:
        """Put the pieces in line, `late_s` apart; `twice` says all of them again, afterwards."""
        if not lines:
            return
        size = -(-len(lines) // closing.pieces)
        pieces = [lines[start : start + size] for start in range(0, len(lines), size)]
        late_ms = int(closing.late_s * 1000)
        for number, piece in enumerate(pieces * 2 if closing.twice else pieces, start=1):
            self._db.execute(
                "INSERT INTO settlement_pieces (due_ms, lines) VALUES (?, ?)",
                (now + number * late_ms, json.dumps(piece)),
            )

    def _report_due(self) -> None:
        # A line gets its place in the report when it is reported: a cursor never passes one that comes late.
        due = self._db.execute(
            "SELECT piece, lines FROM settlement_pieces WHERE lines IS NOT NULL AND due_ms <= ? ORDER BY due_ms, piece",
            (now_ms(),),
        ).fetchall()
        for piece, lines in due:
            self._db.executemany(
                f"INSERT INTO settlement_lines (piece, {', '.join(_LINE)})"  # noqa: S608 - own constants
                f" VALUES ({piece}, {', '.join(f':{name}' for name in _LINE)})",
                json.loads(lines),
            )
            self._db.execute("UPDATE settlement_pieces SET lines = NULL WHERE piece = ?", (piece,))


class Timetable:
    """Batches by the gateway's own clock, `every_s` seconds apart; None: only when it is told to."""

    def __init__(self, settlements: Settlements, every_s: float | None) -> None:
        self._settlements: Final = settlements
        self._changed: Final = asyncio.Event()
        self.every_s: float | None = every_s

    def change(self, every_s: float | None) -> None:
        self.every_s = every_s
        self._changed.set()

    async def run(self) -> None:
        """Close batches, for ever."""
        while True:
            try:
                await asyncio.wait_for(self._changed.wait(), self.every_s)
                self._changed.clear()
            except TimeoutError:
                self._settlements.close(Closing())


# What a batch takes, sales and refunds alike. A sale goes by the reference of its capture, where it has one.
_UNSETTLED: Final = """
SELECT kind, id, reference, amount, currency, created_ms, seq FROM (
    SELECT 'sale' AS kind, id, coalesce(capture_reference, reference) AS reference, reference AS first_reference,
        captured_amount AS amount, currency, created_ms, seq FROM transactions WHERE state = 'captured'
    UNION ALL
    SELECT 'refund', id, reference, reference, amount, currency, created_ms, seq FROM refunds WHERE state = 'succeeded')
"""
