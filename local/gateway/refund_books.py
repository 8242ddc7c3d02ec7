"""The sandbox gateway's books of refunds, and what the next refunds, voids and captures were scripted to lead to.

A refund's state:

    pending ──finish──▶ succeeded ──(settlement, later)──▶ settled
       └───────────────▶ failed
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field, fields
from typing import Any, Final

from local.gateway.books import Books

_SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS refunds (
    seq INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, idempotency_key TEXT NOT NULL UNIQUE, body TEXT NOT NULL,
    reference TEXT NOT NULL, charge_id TEXT NOT NULL, token TEXT NOT NULL, amount INTEGER NOT NULL,
    currency TEXT NOT NULL, state TEXT NOT NULL, code TEXT, then_outcome TEXT, answer TEXT NOT NULL,
    created_ms INTEGER NOT NULL, updated_ms INTEGER NOT NULL);
CREATE INDEX IF NOT EXISTS refunds_reference ON refunds (reference);
CREATE INDEX IF NOT EXISTS refunds_charge ON refunds (charge_id);
CREATE INDEX IF NOT EXISTS refunds_created ON refunds (created_ms);
CREATE TABLE IF NOT EXISTS returns_scripts (name TEXT PRIMARY KEY, script TEXT NOT NULL);
"""
_TABLES: Final = ("refunds", "returns_scripts")
MONEY_GIVEN: Final = ("succeeded", "settled")


@dataclass(slots=True)
class Refund:
    """Money given back, or about to be. `body` is what was asked, `answer` what was said to it first, both as JSON.

    `then_outcome`: what a pending one will lead to when it is looked up; None: only a control call finishes it.
    """

    id: str
    idempotency_key: str
    body: str
    reference: str
    charge_id: str
    token: str
    amount: int
    currency: str
    state: str
    code: str | None
    then_outcome: str | None
    answer: str
    created_ms: int
    updated_ms: int


_COLUMNS: Final = ", ".join(each.name for each in fields(Refund))
_PLACES: Final = ", ".join(f":{each.name}" for each in fields(Refund))


@dataclass(slots=True)
class ReturnsScript:
    """What the next refunds, voids and captures of one sale, or of all sales of one token, lead to."""

    refunds: list[str]
    refunds_then: str | None
    voids: list[str]
    voids_then: str | None
    hang_seconds: float
    captures: list[str] = field(default_factory=list[str])
    captures_then: str | None = None

    def next(self, kind: str) -> str | None:
        """The next outcome for `refunds`, `voids` or `captures`; None: nothing is scripted."""
        listed, then = self._of(kind)
        return listed[0] if listed else then

    def use(self, kind: str) -> None:
        listed, _ = self._of(kind)
        if listed:
            listed.pop(0)

    def _of(self, kind: str) -> tuple[list[str], str | None]:
        match kind:
            case "refunds":
                return self.refunds, self.refunds_then
            case "voids":
                return self.voids, self.voids_then
            case _:
                return self.captures, self.captures_then


class RefundBooks:
    """Refunds over the connection of the books; a part of whatever commit is open."""

    def __init__(self, books: Books) -> None:
        self._db: Final = books.keep(_SCHEMA, _TABLES)

    def by_key(self, idempotency_key: str) -> Refund | None:
        return self._one("idempotency_key = ?", idempotency_key)

    def find(self, name: str) -> Refund | None:
        """By the gateway's id, or by the merchant's reference (its newest)."""
        return self._one("id = ?", name) or self._one("reference = ?", name)

    def add(self, refund: Refund) -> None:
        self._db.execute(
            f"INSERT INTO refunds ({_COLUMNS}) VALUES ({_PLACES})",  # noqa: S608 - own constants
            asdict(refund),
        )

    def change(self, refund: Refund, at_ms: int) -> None:
        """Write the new state of a refund."""
        self._db.execute(
            "UPDATE refunds SET amount = ?, state = ?, code = ?, then_outcome = ?, updated_ms = ? WHERE id = ?",
            (refund.amount, refund.state, refund.code, refund.then_outcome, at_ms, refund.id),
        )

    def drop(self, refund: Refund) -> None:
        self._db.execute("DELETE FROM refunds WHERE id = ?", (refund.id,))

    def reserved(self, charge_id: str) -> int:
        """What was given back of a charge or will be, in minor units: pending refunds count."""
        row = self._db.execute(
            "SELECT coalesce(sum(amount), 0) FROM refunds WHERE charge_id = ? AND state <> 'failed'", (charge_id,)
        ).fetchone()
        return row[0]

    # Scripts

    def script(self, name: str) -> ReturnsScript | None:
        row = self._db.execute("SELECT script FROM returns_scripts WHERE name = ?", (name,)).fetchone()
        return ReturnsScript(**json.loads(row[0])) if row else None

    def set_script(self, name: str, script: ReturnsScript | None) -> None:
        """Keep a script, or forget it."""
        if script is None:
            self._db.execute("DELETE FROM returns_scripts WHERE name = ?", (name,))
            return
        self._db.execute("INSERT OR REPLACE INTO returns_scripts VALUES (?, ?)", (name, json.dumps(asdict(script))))

    def _one(self, where: str, value: str) -> Refund | None:
        row: tuple[Any, ...] | None = self._db.execute(
            f"SELECT {_COLUMNS} FROM refunds WHERE {where} ORDER BY seq DESC LIMIT 1",  # noqa: S608 - own constants
            (value,),
        ).fetchone()
        return Refund(*row) if row else None
