"""The sandbox gateway's events: kept in its books, signed by the Standard Webhooks rules, sent until they are taken.

One is sent at a time, in the order in which they happened. An answer of 2xx ends it; anything else is tried again
after 1, 2, 4, … seconds, at most a minute, `DELIVERIES_MAX` times in all.
"""

from __future__ import annotations

import asyncio
import json
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import httpx
from standardwebhooks import Webhook

from local.gateway.books import Books, new_id, now_ms

_SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS events (
    seq INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, kind TEXT NOT NULL, body TEXT NOT NULL, at_ms INTEGER NOT NULL,
    tries INTEGER NOT NULL DEFAULT 0, next_ms INTEGER, held INTEGER NOT NULL DEFAULT 0);
CREATE INDEX IF NOT EXISTS events_next ON events (next_ms) WHERE next_ms IS NOT NULL;
CREATE TABLE IF NOT EXISTS deliveries (
    seq INTEGER PRIMARY KEY, event_id TEXT NOT NULL, at_ms INTEGER NOT NULL, status INTEGER, error TEXT);
CREATE INDEX IF NOT EXISTS deliveries_event ON deliveries (event_id);
"""
_TABLES: Final = ("events", "deliveries")
DELIVERIES_MAX: Final = 12
DELIVERY_S_MAX: Final = 10.0
_WAIT_S_MAX: Final = 60


@dataclass(slots=True)
class Target:
    """Where events go and how they are sent. Without an address and a secret they wait."""

    url: str | None = None
    secret: str | None = None
    twice: bool = False
    hold: bool = False
    bad_signature: bool = False

    def behave(self) -> None:
        """Back to sending each event once, at once, well signed."""
        self.twice = self.hold = self.bad_signature = False


@dataclass(frozen=True, slots=True)
class Event:
    id: str
    body: str
    tries: int


class Events:
    """Events over the connection of the books, and the loop that sends them."""

    def __init__(self, books: Books, target: Target) -> None:
        self._db: Final = books.keep(_SCHEMA, _TABLES)
        self._news: Final = asyncio.Event()
        self.target: Final = target

    def emit(self, kind: str, data: dict[str, Any]) -> str:
        """Keep an event for sending, inside the open commit; gives its id."""
        event_id, now = new_id("evt"), now_ms()
        at = datetime.fromtimestamp(now / 1000, UTC).isoformat()
        body = json.dumps({"type": kind, "timestamp": at, "data": data}, separators=(",", ":"))
        self._db.execute(
            "INSERT INTO events (id, kind, body, at_ms, next_ms, held) VALUES (?, ?, ?, ?, ?, ?)",
            (event_id, kind, body, now, None if self.target.hold else now, int(self.target.hold)),
        )
        self._news.set()
        return event_id

    def find(self, event_id: str) -> Event | None:
        row = self._db.execute("SELECT id, body, tries FROM events WHERE id = ?", (event_id,)).fetchone()
        return Event(*row) if row else None

    def held(self) -> list[str]:
        """The ids of events kept back, in the order in which they happened."""
        return [row[0] for row in self._db.execute("SELECT id FROM events WHERE held = 1 ORDER BY seq")]

    def listed(self, after: int, limit: int) -> list[dict[str, Any]]:
        """Events in the order in which they happened, each with its deliveries."""
        rows = self._db.execute(
            "SELECT seq, id, kind, body, at_ms, next_ms, held FROM events WHERE seq > ? ORDER BY seq LIMIT ?",
            (after, limit),
        ).fetchall()
        return [
            {
                "seq": seq,
                "id": event_id,
                "type": kind,
                "data": json.loads(body)["data"],
                "at_ms": at_ms,
                "next_ms": next_ms,
                "held": bool(held),
                "deliveries": self._deliveries(event_id),
            }
            for seq, event_id, kind, body, at_ms, next_ms, held in rows
        ]

    def retarget(self) -> None:
        """The target changed: look again at what waits."""
        self._news.set()

    async def run(self) -> None:
        """Send what is due, for ever."""
        async with httpx.AsyncClient(timeout=DELIVERY_S_MAX, trust_env=False) as http:
            while True:
                self._news.clear()
                await self._send_due(http)
                with suppress(TimeoutError):
                    await asyncio.wait_for(self._news.wait(), self._wait_s())

    async def deliver(self, event: Event, *, bad_signature: bool = False, age_s: float = 0.0) -> dict[str, Any]:
        """Send one event now, whatever was done with it before; the delivery as it went."""
        async with httpx.AsyncClient(timeout=DELIVERY_S_MAX, trust_env=False) as http:
            return await self._deliver(http, event, bad_signature=bad_signature, age_s=age_s)

    async def _send_due(self, http: httpx.AsyncClient) -> None:
        if self.target.url is None or self.target.secret is None:
            return
        due = self._db.execute(
            "SELECT id, body, tries FROM events WHERE next_ms <= ? ORDER BY seq", (now_ms(),)
        ).fetchall()
        for event in (Event(*row) for row in due):
            bad, times = self.target.bad_signature, 2 if self.target.twice else 1
            went = [await self._deliver(http, event, bad_signature=bad) for _ in range(times)]
            self._note(event, taken=_taken(went[-1]["status"]))

    def _note(self, event: Event, *, taken: bool) -> None:
        tries = event.tries + 1
        wait_ms = min(2**event.tries, _WAIT_S_MAX) * 1000
        next_ms = None if taken or tries >= DELIVERIES_MAX else now_ms() + wait_ms
        self._db.execute("UPDATE events SET tries = ?, next_ms = ? WHERE id = ?", (tries, next_ms, event.id))

    async def _deliver(
        self, http: httpx.AsyncClient, event: Event, *, bad_signature: bool, age_s: float = 0.0
    ) -> dict[str, Any]:
        at, status, error = now_ms(), None, None
        headers = self._signed(event, datetime.now(UTC) - timedelta(seconds=age_s), bad=bad_signature)
        try:
            response = await http.post(self.target.url or "", content=event.body, headers=headers)
            status = response.status_code
        except (httpx.HTTPError, httpx.InvalidURL) as failure:
            error = repr(failure)
        self._db.execute(
            "INSERT INTO deliveries (event_id, at_ms, status, error) VALUES (?, ?, ?, ?)", (event.id, at, status, error)
        )
        self._db.execute("UPDATE events SET held = 0 WHERE id = ?", (event.id,))
        return {"event": event.id, "at_ms": at, "status": status, "error": error}

    def _signed(self, event: Event, at: datetime, *, bad: bool) -> dict[str, str]:
        # A bad signature is a right one of something else.
        text = f"{event.body} " if bad else event.body
        return {
            "content-type": "application/json",
            "webhook-id": event.id,
            "webhook-timestamp": str(int(at.timestamp())),
            "webhook-signature": Webhook(self.target.secret or "").sign(event.id, at, text),
        }

    def _wait_s(self) -> float | None:
        if self.target.url is None or self.target.secret is None:
            return None
        row = self._db.execute("SELECT min(next_ms) FROM events").fetchone()
        return None if row[0] is None else max(0.0, (row[0] - now_ms()) / 1000)

    def _deliveries(self, event_id: str) -> list[dict[str, Any]]:
        rows = self._db.execute(
            "SELECT at_ms, status, error FROM deliveries WHERE event_id = ? ORDER BY seq", (event_id,)
        )
        return [{"at_ms": row[0], "status": row[1], "error": row[2]} for row in rows]


def _taken(status: int | None) -> bool:
    return status is not None and httpx.codes.is_success(status)
