"""How facts look to a reader: money and days in their language, number format and zone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date, datetime
from decimal import Decimal
from functools import lru_cache
from typing import Final, cast

from babel import Locale, UnknownLocaleError
from babel.dates import format_date
from babel.numbers import format_currency, format_decimal, get_currency_precision

from domain.calendar import zone_of
from domain.letters import Facts, Field, Shape
from domain.money import minor_digits

# Longer than any value of ours is; so that no value makes a letter longer than a letter may be.
WORD_CHARS_MAX: Final = 500
TEXT_CHARS_MAX: Final = 10_000
URL_CHARS_MAX: Final = 2_000
_HTTP: Final = ("https://", "http://")


@lru_cache(maxsize=200)
def locale_of(language: str, written_in: str) -> Locale:
    """The reader's own, where the words are in their language (`de-AT` for words in `de`); else that of the words."""
    for each in (language, written_in):
        try:
            locale = Locale.parse(each.replace("-", "_"))
        except (UnknownLocaleError, ValueError):
            continue
        if locale.language == written_in.split("-", maxsplit=1)[0]:
            return locale
    return Locale("en")


def shown(facts: Facts, fields: Mapping[str, Field], locale: Locale, zone: str) -> dict[str, object]:
    """Every field as words, empty where it is not known: what a template is filled with."""
    currency = str(facts.get("currency") or "")
    return {name: _shown(each.shape, facts.get(name), currency, locale, zone) for name, each in fields.items()}


def money(amount: int, currency: str, locale: Locale) -> str:
    """With the currency's own digits, as ISO 4217 has them."""
    major = Decimal(amount).scaleb(-minor_digits(currency))
    ours = minor_digits(currency) != get_currency_precision(currency)
    return format_currency(major, currency, locale=locale, currency_digits=not ours)


def day(instant: str, locale: Locale, zone: str) -> str:
    """The day of an ISO instant in this zone; a day that was fixed before is itself."""
    if len(instant) == len("2026-01-31"):
        return format_date(date.fromisoformat(instant), "long", locale=locale)
    return format_date(datetime.fromisoformat(instant).astimezone(zone_of(zone)).date(), "long", locale=locale)


def _shown(shape: Shape, fact: object, currency: str, locale: Locale, zone: str) -> object:  # noqa: PLR0911 - one each
    match shape, fact:
        case Shape.LINES, _:
            return tuple(str(line)[:WORD_CHARS_MAX] for line in cast("Sequence[object]", fact or ()))
        case (_, None | False):
            return ""
        case (_, True):
            return "yes"
        case Shape.MONEY, int() if currency:
            return money(fact, currency, locale)
        case Shape.DATE, str() if fact:
            return day(fact, locale, zone)
        case Shape.NUMBER, int():
            return format_decimal(fact, locale=locale)
        case Shape.URL, _:
            return str(fact)[:URL_CHARS_MAX] if str(fact).startswith(_HTTP) else ""
        case Shape.TEXT, _:
            return str(fact)[:TEXT_CHARS_MAX]
        case _:
            return " ".join(str(fact)[:WORD_CHARS_MAX].split())
