"""The sandbox gateway's account updater: cards that their bank renewed or closed, and the list that merchants read."""

from __future__ import annotations

from dataclasses import asdict, replace
from typing import Any, Final

from local.gateway.bank import Bank, Refusal
from local.gateway.books import Books, Call, new_id, now_ms
from local.gateway.cards import Token
from local.gateway.schemas import RenewedCard

_SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS card_updates (
    seq INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL UNIQUE, kind TEXT NOT NULL, at_ms INTEGER NOT NULL,
    token TEXT NOT NULL, method TEXT NOT NULL, brand TEXT NOT NULL, last4 TEXT NOT NULL, exp_month INTEGER,
    exp_year INTEGER, fingerprint TEXT NOT NULL, outcome TEXT NOT NULL);
"""
_CLOSED: Final = "hard:account_closed"
_COLUMNS: Final = "token, method, brand, last4, exp_month, exp_year, fingerprint, outcome"


class CardLife:
    """What became of cards after their tokens were given out. The bank charges them as they are now."""

    def __init__(self, books: Books, bank: Bank) -> None:
        self._db: Final = books.keep(_SCHEMA, ("card_updates",))
        self._bank: Final = bank
        for row in self._db.execute(f"SELECT {_COLUMNS} FROM card_updates ORDER BY seq"):  # noqa: S608 - own constant
            bank.changed[row[0]] = Token(*row)

    def renew(self, token: str, new: RenewedCard) -> dict[str, Any]:
        """The bank sent a new card for the same account: the token goes on, with another end and maybe number."""
        known = self._known(token)
        last4 = new.last4 or known.last4
        changed = replace(known, exp_month=new.exp_month, exp_year=new.exp_year, last4=last4)
        return self._write("renewed", changed)

    def close(self, token: str) -> dict[str, Any]:
        """The account is closed: every charge from now on is declined with `account_closed`."""
        self._bank.books.set_script(token, None)
        return self._write("closed", replace(self._known(token), outcome=_CLOSED))

    def page(self, after: int, limit: int) -> tuple[list[dict[str, Any]], int, bool]:
        """Changes in the order in which they were told, the cursor behind them, and whether there are more."""
        rows = self._db.execute(
            f"SELECT seq, id, kind, at_ms, {_COLUMNS} FROM card_updates WHERE seq > ? ORDER BY seq LIMIT ?",  # noqa: S608 - own constant
            (after, limit + 1),
        ).fetchall()
        shown = [_shown(row) for row in rows[:limit]]
        return shown, rows[:limit][-1][0] if rows else after, len(rows) > limit

    def _known(self, token: str) -> Token:
        known = self._bank.token(token)
        if known is None:
            raise Refusal(404, "not_found", "no such token")
        return known

    def _write(self, kind: str, token: Token) -> dict[str, Any]:
        seq = self._db.execute(
            "INSERT INTO card_updates (id, kind, at_ms, token, method, brand, last4, exp_month, exp_year, fingerprint,"
            " outcome) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (new_id("cu"), kind, now_ms(), *asdict(token).values()),
        ).lastrowid
        self._bank.changed[token.token] = token
        self._bank.books.log(Call("card_update", kind, token.token))
        (shown,), _, _ = self.page((seq or 1) - 1, 1)
        return shown


def _shown(row: tuple[Any, ...]) -> dict[str, Any]:
    _, identity, kind, at_ms, token, method, brand, last4, exp_month, exp_year, fingerprint, _ = row
    card = {
        "token": token,
        "kind": method,
        "brand": brand,
        "last4": last4,
        "exp_month": exp_month,
        "exp_year": exp_year,
        "fingerprint": fingerprint,
    }
    return {"id": identity, "kind": kind, "card": card, "at_ms": at_ms}
