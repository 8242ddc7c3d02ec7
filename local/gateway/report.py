"""What the sandbox gateway's books say when they are compared: the report of sales and refunds, and the money."""

from __future__ import annotations

import sqlite3
from typing import Any, Final

_ROW: Final = ("kind", "id", "reference", "amount", "currency", "state", "token", "created_ms")
_ROWS: Final = """
SELECT * FROM (
    SELECT 'sale' AS kind, id, coalesce(capture_reference, reference) AS reference,
        CASE WHEN captured_amount > 0 THEN captured_amount WHEN voided_amount > 0 THEN voided_amount ELSE amount END
        AS amount, currency, state, token, created_ms, seq FROM transactions
    UNION ALL
    SELECT 'refund', id, reference, amount, currency, state, token, created_ms, seq FROM refunds)
"""
_MONEY: Final = ("captured", "voided", "refunded", "disputed", "won_back", "fees")


def page(
    db: sqlite3.Connection, since_ms: int, until_ms: int, after: tuple[int, str, int], limit: int
) -> tuple[list[dict[str, Any]], tuple[int, str, int] | None]:
    """Sales and refunds made in [since, until) by the gateway's clock, oldest first; and where to go on, or None.

    The amount of a sale is what was captured, or before that and without that what was asked.
    """
    rows = db.execute(
        f"{_ROWS} WHERE created_ms >= ?1 AND created_ms < ?2 AND created_ms >= ?3"
        " AND (created_ms, kind, seq) > (?3, ?4, ?5) ORDER BY created_ms, kind, seq LIMIT ?6",
        (since_ms, until_ms, *after, limit + 1),
    ).fetchall()
    shown = rows[:limit]
    last = (shown[-1][7], shown[-1][0], shown[-1][8]) if len(rows) > limit else None
    return [dict(zip(_ROW, row[:-1], strict=True)) for row in shown], last


def cash(db: sqlite3.Connection) -> dict[str, dict[str, int]]:
    """Per currency, in minor units: captured, voided, refunded, disputed, won_back, fees, and what is left, `net`."""
    found: dict[str, dict[str, int]] = {}
    rows = db.execute(
        """
        SELECT currency, 'captured', sum(captured_amount + voided_amount) FROM transactions GROUP BY currency
        UNION ALL SELECT currency, 'voided', sum(voided_amount) FROM transactions GROUP BY currency
        UNION ALL SELECT currency, 'refunded', sum(amount) FROM refunds
            WHERE state IN ('succeeded', 'settled') GROUP BY currency
        UNION ALL SELECT currency, 'disputed', sum(amount) FROM disputes GROUP BY currency
        UNION ALL SELECT currency, 'won_back', sum(amount) FROM disputes WHERE status = 'won' GROUP BY currency
        UNION ALL SELECT currency, 'fees', sum(fee) FROM disputes WHERE status = 'lost' GROUP BY currency
        """
    )
    for currency, what, minor in rows:
        found.setdefault(currency, dict.fromkeys(_MONEY, 0))[what] = minor
    for money in found.values():
        money["net"] = money["captured"] - money["voided"] - money["refunded"] - money["disputed"]
        money["net"] += money["won_back"] - money["fees"]
    return dict(sorted(found.items()))
