"""The mail sink: takes every message by SMTP, delivers none, and shows them over HTTP.

`python -m local.mailsink --smtp-port 1025 --http-port 8025 --db .data/mail.db`
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import email
import email.policy
import json
import sqlite3
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from email.message import EmailMessage
from email.parser import BytesHeaderParser
from pathlib import Path
from typing import Annotated, Any, ClassVar, Final

import uvicorn
from aiosmtpd.smtp import SMTP, Envelope, Session
from fastapi import FastAPI, HTTPException, Query
from pydantic import BaseModel, ConfigDict, Field

MESSAGES_KEPT_MAX: Final = 50_000
MESSAGE_BYTES_MAX: Final = 5 * 1024 * 1024
PAGE_SIZE_MAX: Final = 1_000
_STOP_S_MAX: Final = 1

_SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS messages (
    id INTEGER PRIMARY KEY AUTOINCREMENT, at_ms INTEGER NOT NULL, sender TEXT NOT NULL, recipients TEXT NOT NULL,
    subject TEXT NOT NULL, message_id TEXT NOT NULL, source BLOB NOT NULL);
CREATE INDEX IF NOT EXISTS messages_message_id ON messages (message_id);
"""


class Refusal(BaseModel):
    """How deliveries fail: `refuse` is the SMTP status, None accepts again; `to` limits it to one address."""

    model_config: ClassVar[ConfigDict] = ConfigDict(strict=True, extra="forbid", frozen=True)

    refuse: Annotated[str, Field(pattern=r"^[45][0-9]{2}$")] | None
    to: Annotated[str, Field(min_length=3, max_length=320)] | None = None
    times: Annotated[int, Field(ge=1, le=1_000_000)] | None = None


class Sink:
    """What came in, kept in one file, and the refusal in force."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._db: Final = sqlite3.connect(path, isolation_level=None)
        self._db.execute("PRAGMA journal_mode=WAL")
        self._db.execute("PRAGMA synchronous=NORMAL")
        self._db.executescript(_SCHEMA)
        self._refusal = Refusal(refuse=None)

    def close(self) -> None:
        self._db.close()

    def control(self, refusal: Refusal) -> None:
        self._refusal = refusal

    # aiosmtpd calls these two by name.

    async def handle_RCPT(  # noqa: N802 - aiosmtpd's name
        self, server: SMTP, session: Session, envelope: Envelope, address: str, rcpt_options: list[str]
    ) -> str:
        del server, session
        status = self._refuse(address)
        if status is not None:
            return f"{status} refused as the sink was told to"
        envelope.rcpt_tos.append(address)
        envelope.rcpt_options.extend(rcpt_options)
        return "250 OK"

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:  # noqa: N802 - as above
        del server, session
        source = envelope.content if isinstance(envelope.content, bytes) else (envelope.content or "").encode()
        message = BytesHeaderParser(policy=email.policy.default).parsebytes(source)
        inserted = self._db.execute(
            "INSERT INTO messages (at_ms, sender, recipients, subject, message_id, source) VALUES (?,?,?,?,?,?)",
            (
                time.time_ns() // 1_000_000,
                envelope.mail_from or "",
                json.dumps(envelope.rcpt_tos),
                str(message.get("Subject", "")),
                str(message.get("Message-ID", "")),
                source,
            ),
        ).lastrowid
        if inserted:
            self._db.execute("DELETE FROM messages WHERE id <= ?", (inserted - MESSAGES_KEPT_MAX,))
        return "250 Message kept"

    def messages(self, to: str | None, subject: str | None, after: int, limit: int) -> list[dict[str, Any]]:
        """Oldest first; `to` is one recipient's whole address, `subject` a part of the subject."""
        rows = self._db.execute(
            "SELECT id, at_ms, sender, recipients, subject, message_id FROM messages WHERE id > ?1"
            " AND (?2 IS NULL OR EXISTS (SELECT 1 FROM json_each(recipients) WHERE lower(value) = lower(?2)))"
            " AND (?3 IS NULL OR instr(lower(subject), lower(?3)) > 0) ORDER BY id LIMIT ?4",
            (after, to, subject, limit),
        )
        return [_summary(row) for row in rows]

    def message(self, number: int) -> dict[str, Any] | None:
        row = self._db.execute(
            "SELECT id, at_ms, sender, recipients, subject, message_id, source FROM messages WHERE id = ?", (number,)
        ).fetchone()
        if row is None:
            return None
        message = email.message_from_bytes(row[6], policy=email.policy.default)
        return _summary(row[:6]) | {
            "headers": [[name, str(value)] for name, value in message.items()],
            "text": _body(message, "plain"),
            "html": _body(message, "html"),
            "source": base64.b64encode(row[6]).decode(),
        }

    def clear(self) -> None:
        self._db.execute("DELETE FROM messages")

    def _refuse(self, address: str) -> str | None:
        refusal = self._refusal
        if refusal.refuse is None or (refusal.to is not None and refusal.to.lower() != address.lower()):
            return None
        if refusal.times is not None:
            left = refusal.times - 1
            self._refusal = refusal.model_copy(update={"times": left}) if left else Refusal(refuse=None)
        return refusal.refuse


def create_app(sink: Sink, smtp_port: int) -> FastAPI:
    """The sink's HTTP side; it starts and stops the SMTP side with itself, on the same loop."""

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncGenerator[None]:
        server = await asyncio.get_running_loop().create_server(
            lambda: SMTP(sink, hostname="localhost", data_size_limit=MESSAGE_BYTES_MAX, enable_SMTPUTF8=True),
            host="127.0.0.1",
            port=smtp_port,
        )
        try:
            yield
        finally:
            server.close()
            await server.wait_closed()

    app = FastAPI(title="Mail sink", version="1", lifespan=lifespan)

    @app.get("/messages")
    async def messages(
        to: str | None = None,
        subject: str | None = None,
        after: Annotated[int, Query(ge=0)] = 0,
        limit: Annotated[int, Query(ge=1, le=PAGE_SIZE_MAX)] = 100,
    ) -> dict[str, Any]:
        page = sink.messages(to, subject, after, limit)
        return {"messages": page, "next_after": page[-1]["id"] if len(page) == limit else None}

    @app.get("/messages/{number}")
    async def message(number: int) -> dict[str, Any]:
        found = sink.message(number)
        if found is None:
            raise HTTPException(404, "no such message")
        return found

    @app.delete("/messages")
    async def clear() -> dict[str, bool]:
        sink.clear()
        return {"cleared": True}

    @app.put("/control")
    async def control(refusal: Refusal) -> Refusal:
        sink.control(refusal)
        return refusal

    return app


def _summary(row: tuple[Any, ...]) -> dict[str, Any]:
    return {
        "id": row[0],
        "at_ms": row[1],
        "from": row[2],
        "to": json.loads(row[3]),
        "subject": row[4],
        "message_id": row[5],
    }


def _body(message: EmailMessage, kind: str) -> str | None:
    part = message.get_body((kind,))
    return part.get_content() if part is not None else None


def serve(smtp_port: int, http_port: int, db: Path) -> None:
    """Serve both sides on loopback until stopped."""
    sink = Sink(db)
    try:
        uvicorn.run(
            create_app(sink, smtp_port),
            host="127.0.0.1",
            port=http_port,
            log_level="warning",
            access_log=False,
            timeout_graceful_shutdown=_STOP_S_MAX,
        )
    finally:
        sink.close()


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m local.mailsink", description=__doc__)
    parser.add_argument("--smtp-port", type=int, default=1025)
    parser.add_argument("--http-port", type=int, default=8025)
    parser.add_argument("--db", type=Path, default=Path(".data/mail.db"))
    options = parser.parse_args()
    serve(options.smtp_port, options.http_port, options.db)


if __name__ == "__main__":
    main()
