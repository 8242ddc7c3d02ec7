"""How amounts, dates and sentences are shown to the reader of the story."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from datetime import datetime
from typing import Final
from zoneinfo import ZoneInfo

from examples.demo.servers import Json

_SHORT: Final = 90
_NO_CENTS: Final = frozenset({"JPY"})
_INSTANT: Final = re.compile(r"\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}(?:\.\d+)?(?:Z|[+-]\d{2}:\d{2})")
_OUTCOMES: Final = {
    "error_after": "charged, but answers 500",
    "hang": "charged, but no answer",
    "outage": "down, 503",
    "action": "the customer must confirm",
}


def amount(minor: int, currency: str, *, code: bool = True) -> str:
    """Minor units as people write them: 2400 EUR is 24.00 EUR, 1500 JPY is 1500 JPY."""
    figures = str(minor) if currency in _NO_CENTS else f"{minor / 100:.2f}"
    return f"{figures} {currency}" if code else figures


def short(text: str) -> str:
    """The beginning of a text, at most a line of it."""
    return text if len(text) <= _SHORT else f"{text[:_SHORT].rsplit(' ', 1)[0]} …"


def moment(text: str, zone: ZoneInfo) -> datetime:
    """An instant of the API in the customer's zone."""
    return datetime.fromisoformat(text).astimezone(zone)


def day(at: datetime) -> str:
    """`24 Jan`: within the one year of the story."""
    return f"{at.day} {at:%b}"


def sentence(text: str, zone: ZoneInfo, names: dict[str, str]) -> str:
    """A sentence of the timeline with ids as names and instants in the customer's zone."""
    for identifier, name in names.items():
        text = text.replace(identifier, name)

    def local(found: re.Match[str]) -> str:
        at = moment(found[0], zone)
        return f"{day(at)} {at:%H:%M}"

    return _INSTANT.sub(local, text)


def said(calls: Iterable[Json]) -> str:
    """The gateway's log in a few words: `soft:do_not_honor`, `3 times down, 503, approve`, `look-up: captured`."""
    counted = Counter(_call(call["call"], call["outcome"]) for call in calls)
    return ", ".join(words if times == 1 else f"{times} times {words}" for words, times in counted.items())


def _call(call: str, outcome: str) -> str:
    words = _OUTCOMES.get(outcome, outcome)
    return words if call == "charge" else f"{call.replace('lookup', 'look-up')}: {words}"
