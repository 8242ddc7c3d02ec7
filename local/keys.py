"""The API key of an embedded stack: made when first asked for, kept in its folder for its owner alone."""

from __future__ import annotations

import contextlib
import os

from api.errors import Unauthorized
from api.keys import authenticate, create_key
from local.stack import Stack
from models.session import Database


async def api_key(stack: Stack) -> str:
    """A working key; the one kept in `api-key`, unless it was revoked or belongs to another database."""
    path = stack.folder / "api-key"
    database = Database.connect(stack.database_url, application_name="dunlin-local", pool_max=1)
    try:
        if path.exists():
            kept = path.read_text().strip()
            with contextlib.suppress(Unauthorized):
                await authenticate(database, f"Bearer {kept}")
                return kept
        key = await create_key(database, "local")
    finally:
        await database.close()
    path.unlink(missing_ok=True)
    with os.fdopen(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "w") as file:
        file.write(f"{key}\n")
    return key
