"""The sandbox gateway's own books: every transaction with its state, every call as it came in, one file.

A transaction's state:

    authorised ──capture──▶ captured ──(settlement, later)──▶ settled
        │                      │
        └───────void───────────┴──▶ voided ◀──cancel── action_required ──complete──▶ captured / declined
    declined
"""

from __future__ import annotations

import json
import secrets
import sqlite3
import time
from collections.abc import Generator, Iterable
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from local.gateway.cards import Token

CALLS_KEPT_MAX: Final = 100_000
_TRIM_EVERY_CALLS: Final = 1_000
MONEY_TAKEN: Final = ("captured", "settled")

_SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS transactions (
    seq INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, idempotency_key TEXT NOT NULL UNIQUE,
    reference TEXT NOT NULL, token TEXT NOT NULL, amount INTEGER NOT NULL, currency TEXT NOT NULL,
    description TEXT NOT NULL, capture INTEGER NOT NULL, state TEXT NOT NULL, code TEXT,
    action_id TEXT UNIQUE, captured_amount INTEGER NOT NULL DEFAULT 0, capture_reference TEXT,
    voided_amount INTEGER NOT NULL DEFAULT 0, created_ms INTEGER NOT NULL, updated_ms INTEGER NOT NULL);
CREATE INDEX IF NOT EXISTS transactions_reference ON transactions (reference);
CREATE INDEX IF NOT EXISTS transactions_capture_reference ON transactions (capture_reference)
    WHERE capture_reference IS NOT NULL;
CREATE INDEX IF NOT EXISTS transactions_created ON transactions (created_ms);
CREATE TABLE IF NOT EXISTS tokens (
    token TEXT PRIMARY KEY, kind TEXT NOT NULL, brand TEXT NOT NULL, last4 TEXT NOT NULL,
    exp_month INTEGER, exp_year INTEGER, fingerprint TEXT NOT NULL, outcome TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS scripts (token TEXT PRIMARY KEY, script TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS calls (
    id INTEGER PRIMARY KEY AUTOINCREMENT, at_ms INTEGER NOT NULL, call TEXT NOT NULL, token TEXT, reference TEXT,
    idempotency_key TEXT, amount INTEGER, currency TEXT, outcome TEXT NOT NULL);
"""
_COLUMNS: Final = (
    "id, idempotency_key, reference, token, amount, currency, description, capture, state, code, action_id,"
    " captured_amount, capture_reference, voided_amount, created_ms, updated_ms"
)


@dataclass(slots=True)
class Transaction:
    """One charge as the books hold it. Amounts are minor units, times milliseconds since 1970."""

    id: str
    idempotency_key: str
    reference: str
    token: str
    amount: int
    currency: str
    description: str
    capture: int
    state: str
    code: str | None
    action_id: str | None
    captured_amount: int
    capture_reference: str | None
    voided_amount: int
    created_ms: int
    updated_ms: int


@dataclass(slots=True)
class Script:
    """What the next new charges of one token lead to; `then` None gives the token its own ways back."""

    outcomes: list[str]
    then: str | None
    hang_seconds: float


@dataclass(frozen=True, slots=True)
class Call:
    """One call as it was received, and what was done with it."""

    call: str
    outcome: str
    token: str | None = None
    reference: str | None = None
    idempotency_key: str | None = None
    amount: int | None = None
    currency: str | None = None


class Books:
    """SQLite under WAL: each call to the gateway is one commit, and survives a kill of the process."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._db: Final = sqlite3.connect(path, isolation_level=None)
        self._db.execute("PRAGMA journal_mode=WAL")
        self._db.execute("PRAGMA synchronous=NORMAL")
        self._tables: Final[list[str]] = []
        self.keep(_SCHEMA, ("transactions", "tokens", "scripts", "calls"))
        if "voided_amount" not in {row[1] for row in self._db.execute("PRAGMA table_info(transactions)")}:
            # Books that were begun before voids were counted.
            self._db.execute("ALTER TABLE transactions ADD COLUMN voided_amount INTEGER NOT NULL DEFAULT 0")
        self._scripts: Final = {
            token: Script(**json.loads(script))
            for token, script in self._db.execute("SELECT token, script FROM scripts")
        }

    def keep(self, schema: str, tables: Iterable[str]) -> sqlite3.Connection:
        """Make tables where there are none, to be emptied with the rest; gives the connection, for their reader."""
        self._db.executescript(schema)
        self._tables.extend(tables)
        return self._db

    @property
    def connection(self) -> sqlite3.Connection:
        """For reading over all the tables."""
        return self._db

    def close(self) -> None:
        self._db.close()

    @contextmanager
    def one_commit(self) -> Generator[None]:
        """What is written inside is kept together, or not at all."""
        self._db.execute("BEGIN")
        try:
            yield
        except BaseException:
            self._db.execute("ROLLBACK")
            raise
        self._db.execute("COMMIT")

    # Transactions

    def by_key(self, idempotency_key: str) -> Transaction | None:
        return self._one("idempotency_key = ?", idempotency_key)

    def by_action(self, action_id: str) -> Transaction | None:
        return self._one("action_id = ?", action_id)

    def by_reference(self, reference: str) -> list[Transaction]:
        """All charges made, or captured, under the merchant's reference; the newest first."""
        # Two indexed look-ups: an OR over a partial index would read the whole table.
        rows = self._db.execute(
            f"SELECT {_COLUMNS}, seq FROM transactions WHERE reference = ?1 "  # noqa: S608 - own constants
            f"UNION SELECT {_COLUMNS}, seq FROM transactions WHERE capture_reference = ?1 "
            "AND capture_reference IS NOT NULL ORDER BY seq DESC",
            (reference,),
        )
        return [Transaction(*row[:-1]) for row in rows]

    def find(self, name: str) -> Transaction | None:
        """By the gateway's id, or by the merchant's reference (its newest charge)."""
        found = self._one("id = ?", name)
        return found or next(iter(self.by_reference(name)), None)

    def add(self, transaction: Transaction) -> None:
        self._db.execute(
            f"INSERT INTO transactions ({_COLUMNS}) VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?)",  # noqa: S608 - as above
            (
                transaction.id,
                transaction.idempotency_key,
                transaction.reference,
                transaction.token,
                transaction.amount,
                transaction.currency,
                transaction.description,
                transaction.capture,
                transaction.state,
                transaction.code,
                transaction.action_id,
                transaction.captured_amount,
                transaction.capture_reference,
                transaction.voided_amount,
                transaction.created_ms,
                transaction.updated_ms,
            ),
        )

    def change(self, transaction: Transaction) -> None:
        """Write the new state of a transaction."""
        self._db.execute(
            "UPDATE transactions SET amount = ?, state = ?, code = ?, captured_amount = ?, capture_reference = ?,"
            " voided_amount = ?, updated_ms = ? WHERE id = ?",
            (
                transaction.amount,
                transaction.state,
                transaction.code,
                transaction.captured_amount,
                transaction.capture_reference,
                transaction.voided_amount,
                now_ms(),
                transaction.id,
            ),
        )

    def drop(self, transaction: Transaction) -> None:
        """Forget a transaction, as books that went wrong do."""
        self._db.execute("DELETE FROM transactions WHERE id = ?", (transaction.id,))

    def totals(self) -> list[dict[str, Any]]:
        """Per currency and state: how many, how much asked, how much captured."""
        rows = self._db.execute(
            "SELECT currency, state, count(*), sum(amount), sum(captured_amount) FROM transactions"
            " GROUP BY currency, state ORDER BY currency, state"
        )
        return [
            {"currency": row[0], "state": row[1], "count": row[2], "amount": row[3], "captured": row[4]} for row in rows
        ]

    # Tokens and their scripts

    def add_token(self, token: Token) -> None:
        self._db.execute("INSERT INTO tokens VALUES (?,?,?,?,?,?,?,?)", tuple(asdict(token).values()))

    def token(self, token: str) -> Token | None:
        row = self._db.execute("SELECT * FROM tokens WHERE token = ?", (token,)).fetchone()
        return Token(*row) if row else None

    def script(self, token: str) -> Script | None:
        return self._scripts.get(token)

    def set_script(self, token: str, script: Script | None) -> None:
        """Keep a token's script, or forget it; part of the open transaction, if there is one."""
        if script is None:
            self._scripts.pop(token, None)
            self._db.execute("DELETE FROM scripts WHERE token = ?", (token,))
            return
        self._scripts[token] = script
        self._db.execute("INSERT OR REPLACE INTO scripts VALUES (?, ?)", (token, json.dumps(asdict(script))))

    # Calls

    def log(self, call: Call) -> None:
        """Note a call; the oldest fall away beyond `CALLS_KEPT_MAX`."""
        inserted = self._db.execute(
            "INSERT INTO calls (at_ms, call, token, reference, idempotency_key, amount, currency, outcome)"
            " VALUES (?,?,?,?,?,?,?,?)",
            (
                now_ms(),
                call.call,
                call.token,
                call.reference,
                call.idempotency_key,
                call.amount,
                call.currency,
                call.outcome,
            ),
        ).lastrowid
        if inserted and inserted % _TRIM_EVERY_CALLS == 0:
            self._db.execute("DELETE FROM calls WHERE id <= ?", (inserted - CALLS_KEPT_MAX,))

    def calls(self, token: str | None, reference: str | None, after: int, limit: int) -> list[dict[str, Any]]:
        """The calls received, oldest first, after the given id."""
        rows = self._db.execute(
            "SELECT id, at_ms, call, token, reference, idempotency_key, amount, currency, outcome FROM calls"
            " WHERE id > ?1 AND (?2 IS NULL OR token = ?2) AND (?3 IS NULL OR reference = ?3)"
            " ORDER BY id LIMIT ?4",
            (after, token, reference, limit),
        )
        names = ("id", "at_ms", "call", "token", "reference", "idempotency_key", "amount", "currency", "outcome")
        return [dict(zip(names, row, strict=True)) for row in rows]

    def reset(self) -> None:
        """Forget everything: an empty gateway."""
        with self.one_commit():
            for table in self._tables:
                self._db.execute(f"DELETE FROM {table}")  # noqa: S608 - own constants
        self._scripts.clear()

    def _one(self, where: str, value: str) -> Transaction | None:
        row = self._db.execute(
            f"SELECT {_COLUMNS} FROM transactions WHERE {where}",  # noqa: S608 - own constants
            (value,),
        ).fetchone()
        return Transaction(*row) if row else None


def now_ms() -> int:
    """The gateway's own clock: it knows nothing of virtual time."""
    return time.time_ns() // 1_000_000


def new_id(prefix: str) -> str:
    return f"{prefix}_{secrets.token_hex(10)}"
