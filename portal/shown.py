"""How amounts, days and cards look to the customer: in the number format of their language, in their zone."""

from __future__ import annotations

from datetime import date, datetime, timedelta
from decimal import Decimal
from zoneinfo import ZoneInfo

from babel import Locale, UnknownLocaleError
from babel.dates import format_date
from babel.numbers import format_currency, get_currency_precision

from domain.money import minor_digits
from models import PaymentMethod

_BRANDS = {"visa": "Visa", "mastercard": "Mastercard", "amex": "American Express", "bank": "Bank account"}


def locale_of(language: str) -> Locale:
    """The reader's number format; the words are English."""
    try:
        locale = Locale.parse(language.replace("-", "_"))
    except (UnknownLocaleError, ValueError):
        return Locale("en")
    return locale if locale.language == "en" else Locale("en")


def money(amount: int, currency: str, locale: Locale) -> str:
    major = Decimal(amount).scaleb(-minor_digits(currency))
    ours = minor_digits(currency) != get_currency_precision(currency)
    return format_currency(major, currency, locale=locale, currency_digits=not ours)


def day(moment: date | datetime, zone: str, locale: Locale) -> str:
    local = moment.astimezone(ZoneInfo(zone)).date() if isinstance(moment, datetime) else moment
    return format_date(local, "long", locale=locale)


def period(span: tuple[datetime, datetime] | None, zone: str, locale: Locale) -> str:
    """First and last day; the end is where the next period begins."""
    if span is None:
        return ""
    return f"{day(span[0], zone, locale)} \u2013 {day(max(span[0], span[1] - timedelta(microseconds=1)), zone, locale)}"


def card(method: PaymentMethod) -> str:
    """A method as its owner knows it, never its number."""
    return card_of(method.kind, method.brand, method.last4)


def card_of(kind: str, brand: str, last4: str) -> str:
    name = _BRANDS.get(brand, (brand or kind).replace("_", " ").title())
    return f"{name} ending in {last4}" if last4 else name


def expiry(month: int | None, year: int | None) -> str:
    return "" if month is None or year is None else f"expires {month:02}/{year}"
