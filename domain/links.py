"""Links that customers follow without signing in: what one is for, how it is signed, when it stops working.

A link names one subject (an invoice, a card, a basket) for one purpose. What stands in its address is the link's id and
a code that only this installation can make, of the id, the purpose, the subject and the end. So a link can be neither
made up nor used for something else, and the row that it names can be revoked. Nothing in the address says whose it is.

The code is HMAC-SHA-256, cut to 120 bits, with a key of its own for each purpose.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from types import MappingProxyType
from typing import Final

from domain.errors import Refused
from domain.ids import ID_DIGEST_BYTES

ID_PREFIX: Final = "lnk"
PATH: Final = "/link"
CODE_BYTES: Final = 15
TOKEN_LENGTH: Final = (ID_DIGEST_BYTES + CODE_BYTES) * 4 // 3


class LinkKind(StrEnum):
    """What a link is for."""

    PAY_INVOICE = "pay_invoice"
    UPDATE_CARD = "update_card"
    BASKET = "basket"


class Standing(StrEnum):
    """Whether a link works now."""

    OPEN = "open"
    USED = "used"
    EXPIRED = "expired"
    REVOKED = "revoked"


# How long a link works unless whoever makes it says otherwise.
LIFE: Final[Mapping[LinkKind, timedelta]] = MappingProxyType(
    {
        LinkKind.PAY_INVOICE: timedelta(days=60),
        LinkKind.UPDATE_CARD: timedelta(days=30),
        LinkKind.BASKET: timedelta(days=7),
    }
)


@dataclass(frozen=True, slots=True)
class Link:
    """A link as it was made: `id` is `lnk_` and 24 letters (`domain.ids.derive`), `expires_at` a whole second."""

    id: str
    kind: LinkKind
    subject_id: str
    expires_at: datetime


def new_link(link_id: str, kind: LinkKind, subject_id: str, now: datetime, *, life: timedelta | None = None) -> Link:
    """A link that works from now on for `life`, or as long as its kind does."""
    return Link(link_id, kind, subject_id, (now + (life or LIFE[kind])).replace(microsecond=0))


def standing(link: Link, now: datetime, *, used_at: datetime | None, revoked_at: datetime | None) -> Standing:
    """Whether it works. The instant of its end is after its end."""
    if revoked_at is not None:
        return Standing.REVOKED
    if now >= link.expires_at:
        return Standing.EXPIRED
    return Standing.OPEN if used_at is None else Standing.USED


@dataclass(frozen=True, slots=True)
class LinkMaker:
    """Makes and checks addresses. `address` is where the installation is reached, such as `https://pay.example.com`.

    Without a key nothing is made: `Refused` with `not_configured`.
    """

    key: bytes | None = field(default=None, repr=False)
    address: str = ""

    @classmethod
    def from_setting(cls, secret_key: str, address: str) -> LinkMaker:
        """From base64 of 32 bytes, as `settings` has checked it."""
        return cls(base64.b64decode(secret_key), address.rstrip("/"))

    def token(self, link: Link) -> str:
        """What stands in the address: 40 letters, digits, `-` and `_`."""
        raw = base64.b32decode(link.id.removeprefix(f"{ID_PREFIX}_").upper())
        return base64.urlsafe_b64encode(raw + self._code(link)).decode()

    def url(self, link: Link) -> str:
        """The whole address."""
        return f"{self.address}{PATH}/{self.token(link)}"

    def is_of(self, token: str, link: Link) -> bool:
        """Whether this token was made for this link, as the link stands in our books. Takes the same time for both."""
        return hmac.compare_digest(token.encode(), self.token(link).encode())

    def _code(self, link: Link) -> bytes:
        if self.key is None:
            raise Refused("not_configured", "DUNLIN_SECRET_KEY is not set: no link can be signed here.")
        key = hmac.digest(self.key, f"link:{link.kind}".encode(), hashlib.sha256)
        said = "\x1f".join((link.kind, link.id, link.subject_id, str(int(link.expires_at.timestamp()))))
        return hmac.digest(key, said.encode(), hashlib.sha256)[:CODE_BYTES]


# Where nothing has to be signed: letters then carry no link.
NO_LINKS: Final = LinkMaker()


def link_id_of(token: str) -> str | None:
    """The id that a token names, whether it is right or not; None for what is not even shaped like one."""
    if len(token) != TOKEN_LENGTH or not token.isascii():
        return None
    try:
        raw = base64.b64decode(token, altchars=b"-_", validate=True)
    except binascii.Error:
        return None
    return f"{ID_PREFIX}_{base64.b32encode(raw[:ID_DIGEST_BYTES]).decode().lower()}"
