"""What counts as the same email, phone number, card or address, and whom a blacklist keeps from ordering.

Everything is compared in one written form, made here for entries and customers alike:

* email: without surrounding space, in small letters; at providers that ignore it, without `+…` before the @; at
  Gmail also without dots, and `googlemail.com` is `gmail.com`. Elsewhere dots and `+…` may be other mailboxes: kept;
* phone: `+` and the digits, country code first. `00` in front is `+`, a `(0)` after the country code is dropped. A
  number without a country code is nobody's: it cannot be told which country it is of;
* fingerprint: as the gateway gives it for a card;
* address: both lines, postal code (the city where there is none) and country; without case, accents and punctuation,
  spaces folded.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, TypeVar

from domain.errors import InvalidInput

T = TypeVar("T")

VALUE_LENGTH_MAX: Final = 500
PHONE_DIGITS_MIN: Final = 7
PHONE_DIGITS_MAX: Final = 15  # ITU-T E.164, country code included

_GMAIL: Final = frozenset({"gmail.com", "googlemail.com"})
# Providers that deliver `name+anything@` to `name@`, by their own help pages.
_PLUS_IGNORED: Final = _GMAIL | {
    "outlook.com", "hotmail.com", "live.com", "icloud.com", "me.com", "fastmail.com", "proton.me", "protonmail.com",
    "pm.me",
}  # fmt: skip
_TRUNK_ZERO: Final = re.compile(r"^((?:\+|00)[0-9 ./-]+)\(0\)", re.ASCII)
_PHONE: Final = re.compile(r"[+0-9 ()./-]+", re.ASCII)


class MarkKind(StrEnum):
    """By what a payer is recognised."""

    EMAIL = "email"
    PHONE = "phone"
    FINGERPRINT = "fingerprint"
    ADDRESS = "address"


@dataclass(frozen=True, slots=True, order=True)
class Mark:
    """One sign of a payer, in the one written form of its kind."""

    kind: MarkKind
    value: str


@dataclass(frozen=True, slots=True)
class Place:
    """An address as far as it tells whose it is. `country` is an ISO 3166-1 code."""

    line1: str
    line2: str
    postal_code: str
    city: str
    country: str


def email_mark(email: str) -> Mark:
    """Raises `InvalidInput` for what is no email address."""
    local, at, domain = _caseless(email).strip().rpartition("@")
    if not (at and local and domain) or any(character.isspace() for character in local + domain):
        raise InvalidInput("value", "is not an email address")
    if domain in _PLUS_IGNORED:
        local = local.partition("+")[0] or local
    if domain in _GMAIL:
        local, domain = local.replace(".", "") or local, "gmail.com"
    return Mark(MarkKind.EMAIL, f"{local}@{domain}")


def phone_mark(phone: str) -> Mark:
    """Raises `InvalidInput` for a number without its country code."""
    written = phone.strip()
    if not written.startswith(("+", "00")) or not _PHONE.fullmatch(written):
        raise InvalidInput("value", "is a phone number with its country code, such as +49 30 901820")
    digits = re.sub(r"[^0-9]", "", _TRUNK_ZERO.sub(r"\1", written))
    if not written.startswith("+"):
        digits = digits.removeprefix("00")
    if not PHONE_DIGITS_MIN <= len(digits) <= PHONE_DIGITS_MAX or digits.startswith("0"):
        raise InvalidInput("value", f"has {PHONE_DIGITS_MIN} to {PHONE_DIGITS_MAX} digits and a country code")
    return Mark(MarkKind.PHONE, f"+{digits}")


def fingerprint_mark(fingerprint: str) -> Mark:
    """Raises `InvalidInput` for an empty one."""
    if not fingerprint.strip():
        raise InvalidInput("value", "is the fingerprint that the gateway gives of a card")
    return Mark(MarkKind.FINGERPRINT, fingerprint.strip())


def address_mark(place: Place) -> Mark:
    """Raises `InvalidInput` where there is too little to recognise an address by."""
    lines, area = _folded(f"{place.line1} {place.line2}"), _folded(place.postal_code) or _folded(place.city)
    if not lines or not area:
        raise InvalidInput("address", "needs a first line, and a postal code or a city")
    return Mark(MarkKind.ADDRESS, f"{lines}|{area}|{place.country.casefold()}")


def marks(
    *, email: str = "", phone: str = "", fingerprints: Iterable[str] = (), places: Iterable[Place] = ()
) -> frozenset[Mark]:
    """All signs of a payer that can be compared; what cannot (a phone number without country code) is left out."""
    return frozenset(
        (
            *_readable(email_mark, [email]),
            *_readable(phone_mark, [phone]),
            *_readable(fingerprint_mark, fingerprints),
            *_readable(address_mark, places),
        )
    )


def _readable(make: Callable[[T], Mark], values: Iterable[T]) -> Iterator[Mark]:
    for value in values:
        try:
            yield make(value)
        except InvalidInput:
            continue  # nobody can be recognised by it


def _caseless(text: str) -> str:
    """Equal for texts that differ in case or width only (Unicode, compatibility caseless match, D146)."""
    once = unicodedata.normalize("NFKD", unicodedata.normalize("NFD", text).casefold()).casefold()
    return unicodedata.normalize("NFKC", once)


def _folded(text: str) -> str:
    """Small letters without accents; whatever is no letter or digit is one space."""
    plain = unicodedata.normalize("NFKD", text.casefold())
    letters = (character for character in plain if not unicodedata.combining(character))
    return " ".join("".join(each if each.isalnum() else " " for each in letters).split())
