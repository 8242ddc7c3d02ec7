"""What may stand in the cells of an imported row: each rule in one place, each refusal with the value it refuses."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final, TypeVar

from domain.calendar import Interval, Unit, zone_of
from domain.errors import InvalidInput
from domain.mapping import Plan, shown
from domain.money import Money, is_currency, parse_major
from domain.places import COUNTRIES

T = TypeVar("T")

IDENTITY_LENGTH_MAX: Final = 128
EMAIL_LENGTH_MAX: Final = 254
TOKEN_LENGTH_MAX: Final = 255
LINE_LENGTH_MAX: Final = 200
MONTHS_MAX: Final = 1_200
TIMES_MAX: Final = 1_000
NOTICE_DAYS_MAX: Final = 60
INSTANT_YEAR_MIN: Final = 1970
INSTANT_YEAR_MAX: Final = 2199
REASON_LENGTH_MAX: Final = 500

_IDENTITY: Final = re.compile(rf"[!-~]{{1,{IDENTITY_LENGTH_MAX}}}")
TOKEN: Final = re.compile(rf"([!-~]{{1,{TOKEN_LENGTH_MAX}}})?")
CODE: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_DOMAIN_LABEL: Final = r"[^\W_](?:[\w-]{0,61}[^\W_])?"
EMAIL: Final = re.compile(
    rf"(?=.{{1,{EMAIL_LENGTH_MAX}}}\Z)[\w!#$%&'*+/=?^`{{|}}~-]+(?:\.[\w!#$%&'*+/=?^`{{|}}~-]+)*"
    rf"@(?:{_DOMAIN_LABEL}\.)+{_DOMAIN_LABEL}"
)
PHONE: Final = re.compile(r"(\+?[0-9][0-9 ().\-/]{0,30})?")
LANGUAGE: Final = re.compile(r"[a-z]{2,3}(-[A-Za-z0-9]{2,8}){0,3}", re.ASCII)
POSTAL_CODE: Final = re.compile(r"[A-Za-z0-9 -]{0,16}")
_INTERVAL: Final = re.compile(r"([1-9]\d{0,3}) (day|week|month|year)s?", re.ASCII)
_WHOLE: Final = re.compile(r"\d{1,6}", re.ASCII)
_CONTROL: Final = frozenset({"Cc", "Cs", "Zl", "Zp"})


@dataclass(frozen=True, slots=True)
class Row:
    """The cells of one row, by the names of their columns, read by the plan; `source` is the row as it was."""

    plan: Plan
    number: int
    source: tuple[str, ...]
    cells: Mapping[str, str]

    def get(self, path: str, rule: Callable[[str], T]) -> T:
        """The field, checked. Raises `InvalidInput` naming it; one that is not mapped is an empty text."""
        value = self.plan.fields.get(path)
        try:
            return rule(value.text(self.cells) if value is not None else "")
        except InvalidInput as error:
            raise InvalidInput(path, error.message) from None

    def line(self, path: str) -> str:
        return self.get(path, line)


@dataclass(frozen=True, slots=True)
class Taken:
    """A row that can be applied; `external_id` is its identity, in whatever file it stands."""

    row: int
    source: tuple[str, ...]
    external_id: str


def price(text: str, of: str) -> Money:
    found = parse_major(text, of)
    if found.minor < 0:
        raise InvalidInput("amount", f"a price is not negative; {shown(text)} is")
    return found


def interval(text: str) -> Interval:
    found = _INTERVAL.fullmatch(text)
    if found is None:
        raise InvalidInput("interval", f"{shown(text)} is not an interval such as 1 month or 2 years")
    return Interval(int(found[1]), Unit(found[2]))


def whole(text: str, least: int, most: int) -> int:
    if not _WHOLE.fullmatch(text) or not least <= int(text) <= most:
        raise InvalidInput("number", f"{shown(text)} is not a whole number from {least} to {most}")
    return int(text)


def flag(text: str) -> bool:
    """Empty is no."""
    return one_of(text or "false", ("true", "false")) == "true"


def instant(text: str) -> datetime | None:
    """Empty is none."""
    if not text:
        return None
    try:
        found = datetime.fromisoformat(text)
        moment = found.astimezone(UTC) if found.utcoffset() is not None else None
    except (ValueError, OverflowError):
        moment = None
    if moment is None:
        raise InvalidInput("instant", f"{shown(text)} is not an instant with offset such as 2026-03-01T09:00:00Z")
    if not INSTANT_YEAR_MIN <= moment.year <= INSTANT_YEAR_MAX:
        raise InvalidInput("instant", f"lies in the years {INSTANT_YEAR_MIN} to {INSTANT_YEAR_MAX}; {text} does not")
    return moment


def identity(text: str) -> str:
    return matching(text, _IDENTITY, f"an id of 1 to {IDENTITY_LENGTH_MAX} visible ASCII characters")


def currency(text: str) -> str:
    if not is_currency(text):
        raise InvalidInput("currency", f"{shown(text)} is not an active ISO 4217 code such as EUR")
    return text


def zone(text: str) -> str:
    if not text:
        raise InvalidInput("zone", "must not be empty")
    zone_of(text)
    return text


def country(text: str) -> str:
    if text not in COUNTRIES:
        raise InvalidInput("country", f"{shown(text)} is not an ISO 3166-1 code of two letters such as DE")
    return text


def line(text: str, length_max: int = LINE_LENGTH_MAX) -> str:
    if len(text) > length_max:
        raise InvalidInput("line", f"has at most {length_max} characters; this one has {len(text)}")
    if any(unicodedata.category(character) in _CONTROL for character in text):
        raise InvalidInput("line", f"{shown(text)} is not one line without control characters")
    return text


def one_of(text: str, choices: Sequence[str]) -> str:
    if text not in choices:
        raise InvalidInput("choice", f"{shown(text)} is not one of {', '.join(choices)}")
    return text


def required(text: str) -> str:
    if not text:
        raise InvalidInput("text", "must not be empty")
    return text


def matching(text: str, pattern: re.Pattern[str], rule: str) -> str:
    if not pattern.fullmatch(text):
        raise InvalidInput("text", f"{shown(text)} is not {rule}")
    return text
