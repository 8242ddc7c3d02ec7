"""How secrets rest that must be readable again: sealed with the key of this installation, for one purpose each."""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
from dataclasses import dataclass, field
from typing import Final

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from domain.errors import Refused

KEY_BYTES: Final = 32
_NONCE_BYTES: Final = 12


@dataclass(frozen=True, slots=True)
class Vault:
    """AES-256-GCM under `DUNLIN_SECRET_KEY`. Without a key nothing is sealed: `Refused` with `not_configured`."""

    key: bytes | None = field(default=None, repr=False)

    @classmethod
    def from_setting(cls, written: str) -> Vault:
        """From base64 of 32 bytes, as `settings` has checked it."""
        return cls(base64.b64decode(written))

    def seal(self, secret: str, *, purpose: str) -> str:
        """The sealed form. `purpose` (such as `totp:per_…`) is bound to it: moved elsewhere it does not open."""
        nonce = secrets.token_bytes(_NONCE_BYTES)
        sealed = AESGCM(self._key("seal")).encrypt(nonce, secret.encode(), purpose.encode())
        return base64.b64encode(nonce + sealed).decode()

    def open(self, sealed: str, *, purpose: str) -> str:
        """What was sealed for this purpose. Raises `InvalidTag` where the key, the purpose or the bytes are others."""
        raw = base64.b64decode(sealed)
        nonce, rest = raw[:_NONCE_BYTES], raw[_NONCE_BYTES:]
        return AESGCM(self._key("seal")).decrypt(nonce, rest, purpose.encode()).decode()

    def fingerprint(self, content: bytes) -> str:
        """A digest that only this installation can make: of a body with a password, a plain one could be guessed."""
        return hmac.new(self._key("fingerprint"), content, hashlib.sha256).hexdigest()

    def _key(self, use: str) -> bytes:
        """A key for each use, so that none says anything of another."""
        if self.key is None:
            raise Refused("not_configured", "DUNLIN_SECRET_KEY is not set: nothing secret can be kept here.")
        return hmac.new(self.key, use.encode(), hashlib.sha256).digest()
