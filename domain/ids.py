"""Names made from what things are: the same business identity gives the same id, everywhere, always."""

from __future__ import annotations

import base64
import hashlib

ID_DIGEST_BYTES = 15


def derive(prefix: str, *parts: str) -> str:
    """An id such as `sub_k3j…` (prefix, 24 letters and digits) made from the parts, never from chance.

    Parts are joined unambiguously: ("a", "bc") and ("ab", "c") differ.
    """
    digest = hashlib.sha256("\x1f".join(parts).encode()).digest()[:ID_DIGEST_BYTES]
    return f"{prefix}_{base64.b32encode(digest).decode().lower()}"
