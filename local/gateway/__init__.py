"""The sandbox gateway: plays a foreign payment company in its own process, with its own database and books.

It knows nothing of the rest of this code and imports none of it: what it says over HTTP is all there is.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

import uvicorn

from local.gateway.app import create_app
from local.gateway.books import Books
from local.gateway.events import Target

# A scripted hang must not hold up a stop.
_STOP_S_MAX: Final = 1
# As payment companies do, longer than any client keeps a connection: who closes first decides who loses an answer.
_KEEP_ALIVE_S: Final = 75


def serve(port: int, db: Path, target: Target, settle_every_s: float | None) -> None:
    """Serve on loopback until stopped; events go to the target, batches close every so many seconds, if any."""
    books = Books(db)
    try:
        uvicorn.run(
            create_app(books, target, settle_every_s),
            host="127.0.0.1",
            port=port,
            log_level="warning",
            access_log=False,
            timeout_graceful_shutdown=_STOP_S_MAX,
            timeout_keep_alive=_KEEP_ALIVE_S,
        )
    finally:
        books.close()
