"""Invoices as PDF/A by typst: in which language, number format and zone they are set, and what cannot be drawn."""

from __future__ import annotations

import asyncio
import json
import re
import unicodedata
from dataclasses import asdict
from datetime import date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any, Final
from zoneinfo import ZoneInfo

import typst
from babel import Locale, UnknownLocaleError
from babel.dates import format_date
from babel.numbers import format_currency, format_decimal, get_currency_precision

from domain.money import minor_digits
from domain.papers import InvoicePaper, PaperLine
from providers.documents.words import WORDS, Words

STANDARD: Final = "a-2b"
AT_ONCE_MAX: Final = 2
# Each try costs some hundredths of a second and learns of one more run of signs that no font has.
UNDRAWABLE_MAX: Final = 25
NOT_DRAWN: Final = "\u25a1"
NOT_LATIN: Final = "?"

_SOURCE: Final = Path(__file__).with_name("invoice.typ").read_bytes()
_UNDRAWN: Final = re.compile(r'the text `"(.+)"` could not be displayed', re.DOTALL)
_CODE: Final = re.compile(r"\\u\{([0-9a-f]+)\}")
# Joiners and marks that only meant something together with the sign that became a box.
_ATTACHED: Final = re.compile(f"[\u200d\ufe0f\u20e3\u0300-\u036f]*{NOT_DRAWN}[\u200d\ufe0f\u20e3\u0300-\u036f]*")
# What every font here has: up to the end of Latin Extended-A.
_LATIN_END: Final = "\u017f"
# A word without a space would run over the next column; it may break where a zero-width space stands.
_LONG_WORD: Final = re.compile(r"(\S{30})(?=\S)")
_MINUS: Final = "\u2212"
_BREAK: Final = "\u200b"
_CONTROLS: Final = frozenset({"Cc", "Cs", "Co", "Cn"})


class Press:
    """Sets documents in threads, a few at once: a page is work of some hundredths of a second on one core."""

    def __init__(self) -> None:
        self._turn = asyncio.Semaphore(AT_ONCE_MAX)

    async def invoice(self, paper: InvoicePaper) -> bytes:
        """The invoice as a file; the same paper is the same bytes. Signs that no font has are drawn as boxes."""
        async with self._turn:
            return await asyncio.to_thread(set_invoice, paper)


def set_invoice(paper: InvoicePaper) -> bytes:
    """As `Press.invoice`, in this thread."""
    text = json.dumps(_shown(paper), ensure_ascii=False)
    for _ in range(UNDRAWABLE_MAX):
        try:
            return _compile(text)
        except typst.TypstError as error:
            missing = _UNDRAWN.search(str(error))
            if missing is None:
                raise
            lost = _CODE.sub(lambda code: chr(int(code[1], 16)), missing[1])
            text = _ATTACHED.sub(NOT_DRAWN, text.translate({ord(sign): NOT_DRAWN for sign in lost}))
    return _compile("".join(sign if sign <= _LATIN_END else NOT_LATIN for sign in text))


def _compile(text: str) -> bytes:
    # Only the fonts that come with typst: what a machine has installed must not change the bytes.
    made: Any = typst.compile(
        _SOURCE, format="pdf", pdf_standards=STANDARD, ignore_system_fonts=True, sys_inputs={"paper": text}
    )
    return bytes(made)


def _shown(paper: InvoicePaper) -> dict[str, Any]:
    """Every value as the reader is used to it: what the template takes."""
    locale = _locale(paper.language)
    words = WORDS[locale.language]
    seller = paper.seller
    seller_lines = [*seller.address, *([f"{words.tax_id} {seller.tax_id}"] if seller.tax_id else [])]
    facts = [(words.number, paper.number), (words.date, _day(paper.on, locale))]
    facts += [(words.due, _day(paper.on, locale))] if paper.left_to_pay > 0 else []
    facts += [(words.tax_id, paper.buyer_tax_id)] if paper.buyer_tax_id else []
    sums = [(words.credit, _money(-paper.credit_applied, paper, locale))] if paper.credit_applied else []
    for payment in paper.payments:
        said = words.paid.format(date=_day(payment.at.astimezone(ZoneInfo(paper.zone)).date(), locale))
        said += f" ({payment.method})" if payment.method else ""
        sums.append((said, _money(-payment.amount, paper, locale)))
    shown = {
        "title": f"{words.invoice} {paper.number}",
        "on": [paper.on.year, paper.on.month, paper.on.day],
        "lang": locale.language,
        "test": words.test if paper.test_mode else "",
        "words": asdict(words),
        "seller": {"name": seller.name, "lines": [*seller_lines, *([seller.email] if seller.email else [])]},
        "buyer": [*paper.buyer, *_country(paper, locale)],
        "facts": facts,
        "heads": _heads(words),
        "lines": [_line(line, paper, locale) for line in paper.lines],
        "before": _before(paper, words, locale),
        "total": _money(paper.total, paper, locale),
        "sums": sums,
        "balance": _money(paper.left_to_pay, paper, locale),
        "notes": [
            (words.note.format(number=note.number, date=_day(note.on, locale)), _money(-note.amount, paper, locale))
            for note in paper.notes
        ],
        "reasons": _reasons(paper, words),
        "foot": f"{words.invoice} {paper.number} · {_subject(paper, words)}",
        "page": words.page,
    }
    return _drawable(shown)


def _subject(paper: InvoicePaper, words: Words) -> str:
    """What it bills: an order or a subscription."""
    if paper.order is not None:
        return f"{words.order} {paper.order}"
    return f"{words.subscription} {paper.subscription}"


def _country(paper: InvoicePaper, locale: Locale) -> list[str]:
    """By its name in the reader's language."""
    names: dict[str, str] = dict(locale.territories)
    return [names.get(paper.buyer_country, paper.buyer_country)] if paper.buyer_country else []


def _heads(words: Words) -> list[str]:
    return [words.description, words.quantity, words.unit_price, words.amount]


def _before(paper: InvoicePaper, words: Words, locale: Locale) -> list[tuple[str, str]]:
    """What comes before the total: all without tax, then the tax of each rate. Nothing, where no tax is in it."""
    taxed = [each for each in paper.taxes if each.reason is None]
    if not taxed:
        return []
    several = len({each.place for each in taxed}) > 1
    rows = [(words.net, _money(paper.net, paper, locale))]
    for each in taxed:
        rate = f"{format_decimal(Decimal(each.rate).scaleb(-3), locale=locale)}\u00a0%"
        said = words.tax.format(rate=rate, net=_money(each.net, paper, locale))
        rows.append((f"{said} ({each.place})" if several else said, _money(each.tax, paper, locale)))
    return rows


def _reasons(paper: InvoicePaper, words: Words) -> list[str]:
    """Why there is no tax, as the law wants it said."""
    said = {"exempt": words.exempt, "reverse_charge": words.reverse_charge}
    return [said[reason] for reason in dict.fromkeys(each.reason for each in paper.taxes) if reason in said]


def _line(line: PaperLine, paper: InvoicePaper, locale: Locale) -> dict[str, Any]:
    return {
        "description": line.description,
        "period": _period(line.period, paper.zone, locale) if line.period is not None else "",
        "quantity": format_decimal(line.quantity, locale=locale),
        "unit": _money(line.unit_amount, paper, locale),
        "amount": _money(line.amount, paper, locale),
        "discounts": [(name, _money(-amount, paper, locale)) for name, amount in line.discounts],
    }


def _period(period: tuple[datetime, datetime], zone: str, locale: Locale) -> str:
    """First and last day. The end is where the next period begins, so the last day is the one just before."""
    start, end = (instant.astimezone(ZoneInfo(zone)) for instant in period)
    last = max(start, end - timedelta(microseconds=1))
    return f"{_day(start.date(), locale)} \u2013 {_day(last.date(), locale)}"


def _day(day: date, locale: Locale) -> str:
    return format_date(day, "long", locale=locale)


def _money(amount: int, paper: InvoicePaper, locale: Locale) -> str:
    major = Decimal(amount).scaleb(-minor_digits(paper.currency))
    ours = minor_digits(paper.currency) != get_currency_precision(paper.currency)
    # A minus as printers set it: as wide as the figures.
    return format_currency(major, paper.currency, locale=locale, currency_digits=not ours).replace("-", _MINUS)


def _locale(language: str) -> Locale:
    """The customer's own, with its region's formats, where we have the words of its language; else English."""
    try:
        locale = Locale.parse(language.replace("-", "_"))
    except (UnknownLocaleError, ValueError):
        return Locale("en")
    return locale if locale.language in WORDS else Locale("en")


def _drawable(value: Any) -> Any:
    """Without control characters, which have no shape, with one form for each accented letter, with breaks."""
    match value:
        case str():
            composed = unicodedata.normalize("NFC", value)
            shapes = "".join(" " if unicodedata.category(sign) in _CONTROLS else sign for sign in composed)
            return _LONG_WORD.sub(rf"\1{_BREAK}", shapes)
        case dict():
            return {key: _drawable(each) for key, each in value.items()}  # pyright: ignore[reportUnknownVariableType]
        case list() | tuple():
            return [_drawable(each) for each in value]  # pyright: ignore[reportUnknownVariableType]
        case _:
            return value
