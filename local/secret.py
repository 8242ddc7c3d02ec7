"""The secret that the embedded gateway signs its events with: made once for a folder, for its owner alone."""

from __future__ import annotations

import base64
import os
import secrets
from pathlib import Path
from typing import Final

_SECRET_BYTES: Final = 32


def webhook_secret(path: Path, given: str | None) -> str:
    """The secret that is given, else the one kept at `path`, else a new one; kept there for the gateway to read."""
    kept = path.read_text().strip() if path.exists() else None
    secret = given or kept or f"whsec_{base64.b64encode(secrets.token_bytes(_SECRET_BYTES)).decode()}"
    if secret != kept:
        path.unlink(missing_ok=True)
        with os.fdopen(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "w") as file:
            file.write(f"{secret}\n")
    return secret
