"""The secrets of an embedded stack: each made once for a folder, for its owner alone."""

from __future__ import annotations

import base64
import os
import secrets
from pathlib import Path
from typing import Final

_SECRET_BYTES: Final = 32


def webhook_secret(path: Path, given: str | None) -> str:
    """What the gateway signs its events with: given, else kept at `path`, else new; kept there for it to read."""
    return _kept(path, given, "whsec_")


def secret_key(path: Path, given: str | None) -> str:
    """What the API seals second factors with: given, else kept at `path`, else new.

    A given one is not written down. Whoever gives one has a place for it.
    """
    return given or _kept(path, None, "")


def _kept(path: Path, given: str | None, prefix: str) -> str:
    kept = path.read_text().strip() if path.exists() else None
    secret = given or kept or f"{prefix}{base64.b64encode(secrets.token_bytes(_SECRET_BYTES)).decode()}"
    if secret != kept:
        path.unlink(missing_ok=True)
        with os.fdopen(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "w") as file:
            file.write(f"{secret}\n")
    return secret
