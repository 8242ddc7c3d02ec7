"""Rows of files of customers and of what is theirs: addresses, tokens of payment methods, notes, vouchers.

`owner` is the external id of the customer that a row belongs to, or our id of them.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from domain.calendar import whole_second
from domain.errors import InvalidInput
from domain.ids import derive
from domain.import_cells import (
    CODE,
    EMAIL,
    LANGUAGE,
    NOTICE_DAYS_MAX,
    PHONE,
    POSTAL_CODE,
    REASON_LENGTH_MAX,
    TOKEN,
    Row,
    Taken,
    country,
    currency,
    flag,
    identity,
    instant,
    line,
    matching,
    one_of,
    required,
    whole,
    zone,
)
from domain.mapping import shown
from domain.money import parse_major
from domain.vouchers import VOUCHER_MINOR_MAX

NOTE_LENGTH_MAX: Final = 10_000
TAGS_MAX: Final = 50
TAX_STATUSES: Final = ("taxable", "exempt", "reverse_charge")

_TAG: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9 ._:-]{0,63}")
_MINOR: Final = re.compile(r"\d{1,16}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Person(Taken):
    """A customer to be."""

    email: str
    currency: str
    time_zone: str
    title: str
    first_name: str
    last_name: str
    company: str
    phone: str
    gender: str
    language: str
    tax_status: str
    tax_id: str
    agent: str
    notice_days: int
    tags: tuple[str, ...]

    @property
    def id(self) -> str:
        return derive("cus", "external", self.external_id)


@dataclass(frozen=True, slots=True)
class Owned(Taken):
    """Something of a customer."""

    owner: str


@dataclass(frozen=True, slots=True)
class Place(Owned):
    """An address. The first of its kind is the default, and one that says so."""

    kind: str
    is_default: bool
    line1: str
    line2: str
    city: str
    region: str
    postal_code: str
    country: str

    @property
    def id(self) -> str:
        return derive("adr", "external", self.external_id)


@dataclass(frozen=True, slots=True)
class Method(Owned):
    """A gateway's token of a card or an account."""

    gateway: str
    token: str

    @property
    def id(self) -> str:
        return derive("pm", "external", self.external_id)


@dataclass(frozen=True, slots=True)
class Remark(Owned):
    """A note. Without `author` and `created_at` it is whoever brought the file, now."""

    visibility: str
    text: str
    author: str
    created_at: datetime | None

    @property
    def id(self) -> str:
        return derive("note", "external", self.external_id)


@dataclass(frozen=True, slots=True)
class Gift(Owned):
    """A voucher worth `amount` minor units now; without `owner` anybody's, without `code` it gets one."""

    code: str
    currency: str
    amount: int
    expires_at: datetime | None
    reason: str
    test_mode: bool

    @property
    def id(self) -> str:
        return derive("vch", "external", self.external_id)


def person(row: Row) -> Person:
    return Person(
        *_identity(row),
        email=row.get("email", lambda text: matching(text, EMAIL, "an email address")),
        currency=row.get("currency", currency),
        time_zone=row.get("time_zone", lambda text: zone(text or "UTC")),
        title=row.line("title"),
        first_name=row.line("first_name"),
        last_name=row.line("last_name"),
        company=row.line("company"),
        phone=row.get("phone", lambda text: matching(text, PHONE, "a telephone number")),
        gender=row.line("gender"),
        language=row.get("language", lambda text: matching(text or "en", LANGUAGE, "a language such as en")),
        tax_status=row.get("tax_status", lambda text: one_of(text or TAX_STATUSES[0], TAX_STATUSES)),
        tax_id=row.line("tax_id"),
        agent=row.line("agent"),
        notice_days=row.get("notice_days", lambda text: whole(text or "0", 0, NOTICE_DAYS_MAX)),
        tags=row.get("tags", _tags),
    )


def place(row: Row) -> Place:
    return Place(
        *_identity(row),
        owner=row.get("customer", identity),
        kind=row.get("kind", lambda text: one_of(text, ("billing", "shipping"))),
        is_default=row.get("is_default", flag),
        line1=row.get("line1", lambda text: required(line(text))),
        line2=row.line("line2"),
        city=row.get("city", lambda text: required(line(text))),
        region=row.line("region"),
        postal_code=row.get("postal_code", lambda text: matching(text, POSTAL_CODE, "a post code")),
        country=row.get("country", country),
    )


def method(row: Row) -> Method:
    return Method(
        *_identity(row),
        owner=row.get("customer", identity),
        gateway=row.get("gateway", lambda text: matching(text, CODE, "a gateway's name")),
        token=row.get("token", lambda text: required(matching(text, TOKEN, "a token without spaces"))),
    )


def remark(row: Row) -> Remark:
    return Remark(
        *_identity(row),
        owner=row.get("customer", identity),
        visibility=row.get("visibility", lambda text: one_of(text or "internal", ("internal", "public"))),
        text=row.get("text", _lines),
        author=row.line("author"),
        created_at=row.get("created_at", instant),
    )


def gift(row: Row) -> Gift:
    of = row.get("currency", currency)
    expires_at = row.get("expires_at", instant)
    path = "amount.minor" if "amount.minor" in row.plan.fields else "amount.value"
    return Gift(
        *_identity(row),
        owner=row.get("customer", lambda text: identity(text) if text else ""),
        code=row.get("code", lambda text: matching(text, CODE, "a code such as SPRING-26") if text else ""),
        currency=of,
        amount=row.get(path, lambda text: _worth(text, of, minor=path == "amount.minor")),
        expires_at=whole_second(expires_at) if expires_at is not None else None,
        reason=row.get("reason", lambda text: line(text, REASON_LENGTH_MAX)),
        test_mode=row.get("test_mode", flag),
    )


def _identity(row: Row) -> tuple[int, tuple[str, ...], str]:
    return row.number, row.source, row.get("external_id", identity)


def _tags(text: str) -> tuple[str, ...]:
    """Between commas, each once."""
    tags = tuple(dict.fromkeys(filter(None, (each.strip() for each in text.split(",")))))
    if len(tags) > TAGS_MAX:
        raise InvalidInput("tags", f"a customer has at most {TAGS_MAX} tags; this one has {len(tags)}")
    return tuple(matching(each, _TAG, "a tag of at most 64 letters, digits, spaces and . _ : -") for each in tags)


def _lines(text: str) -> str:
    """Lines of text: of control characters only the line feed and the tab."""
    text = required(text.replace("\r\n", "\n"))
    if len(text) > NOTE_LENGTH_MAX:
        raise InvalidInput("text", f"has at most {NOTE_LENGTH_MAX} characters; this one has {len(text)}")
    if any(unicodedata.category(character) in {"Cc", "Cs"} and character not in "\n\t" for character in text):
        raise InvalidInput("text", "is text; of control characters only line feeds and tabs")
    return text


def _worth(text: str, of: str, *, minor: bool) -> int:
    if minor and not _MINOR.fullmatch(text):
        raise InvalidInput("amount", f"{shown(text)} is not a whole number of minor units")
    amount = int(text) if minor else parse_major(text, of).minor
    if not 1 <= amount <= VOUCHER_MINOR_MAX:
        raise InvalidInput("amount", f"a voucher is worth 1 to {VOUCHER_MINOR_MAX} minor units; this one has {amount}")
    return amount
