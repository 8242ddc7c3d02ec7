"""Which lines of the timeline are told to the customer, and in which words."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from types import MappingProxyType

from babel import Locale, UnknownLocaleError
from babel.dates import format_date
from babel.numbers import format_currency, get_currency_precision

from domain.calendar import zone_of
from domain.money import minor_digits
from domain.state import Entry, EntryData
from domain.terms import RetryMessage

SUBJECT_LENGTH_MAX = 200


@dataclass(frozen=True, slots=True)
class Reader:
    """Who gets the letter: how to greet and which language, zone and number format to use."""

    name: str
    email: str
    language: str
    zone: str


@dataclass(frozen=True, slots=True)
class Letter:
    """A message as it will be sent."""

    template: str
    subject: str
    body: str


_FRAME = "Hello {{name}},\n\n{body}\n\nSubscription {{subscription}}. You can reply to this message.\n"

# template → (subject, body); the names in braces are fields of the entry, shown in the reader's format.
TEMPLATES: Mapping[str, tuple[str, str]] = MappingProxyType(
    {
        "receipt": (
            "Receipt: {amount} for {product}",
            "we received your payment of {amount} for {product}. Thank you.\nInvoice: {invoice_id}",
        ),
        "renewal_notice": (
            "{product}: {amount} will be charged on {due_at}",
            """your subscription {product} renews on {due_at}. We will charge {amount} to your {method}.
To change it, reply to this message or update your payment method before that day.""",
        ),
        "payment_failed": (
            "Your payment of {amount} for {product} did not go through",
            """we could not collect {amount} for {product}.
We will try again on {retry_at} (try {retry} of {retries}). {grace}
Please check or update your payment method.""",
        ),
        "payment_final_notice": (
            "Last try: {amount} for {product}",
            """we still could not collect {amount} for {product}.
We will try a last time on {retry_at}. {grace}
Please update your payment method before that day.""",
        ),
        "dunning_exhausted": (
            "{product}: we could not collect your payment",
            """we could not collect your payment for {product} and will not try again by ourselves.
What follows: {end_action}. A new payment method puts it right.""",
        ),
        "access_stopped": (
            "{product}: access has stopped",
            "the days of grace for {product} are over and access has stopped. It starts again with your payment.",
        ),
        "action_required": (
            "Please confirm your payment for {product}",
            "your bank asks you to confirm the payment for {product} until {deadline}:\n{url}",
        ),
        "trial_started": ("Your trial of {product} has started", "your trial of {product} runs until {until}."),
        "cancel_planned": (
            "{product} ends on {ends_at}",
            "as you wished, {product} ends on {ends_at}. Until then nothing changes.",
        ),
        "canceled": ("{product} has ended", "your subscription {product} has ended."),
        "refund_sent": (
            "Your refund: {amount} for {product}",
            """we have refunded {amount} for {product} to your {method}.
Banks usually show it on the account within 5 to 10 business days.""",
        ),
        "void_sent": (
            "Your payment of {amount} for {product} was taken back",
            """we have taken back our charge of {amount} for {product} to your {method} before it was settled.
The reserved amount usually disappears from the account within a few business days.""",
        ),
        "paused": ("{product} is paused", "your subscription {product} is paused."),
        "resumed": ("{product} goes on", "your subscription {product} goes on from today."),
    }
)

_BY_KIND: Mapping[str, str] = MappingProxyType(
    {
        "payment_succeeded": "receipt",
        "renewal_notice": "renewal_notice",
        "dunning_exhausted": "dunning_exhausted",
        "access_stopped": "access_stopped",
        "action_required": "action_required",
        "trial_started": "trial_started",
        "cancel_planned": "cancel_planned",
        "canceled": "canceled",
        "paused": "paused",
        "resumed": "resumed",
    }
)

_FAILED: Mapping[str, str | None] = MappingProxyType(
    {
        RetryMessage.REMINDER: "payment_failed",
        RetryMessage.FINAL_NOTICE: "payment_final_notice",
        RetryMessage.NONE: None,
    }
)

_MONEY = frozenset({"amount"})
_DATES = frozenset({"due_at", "retry_at", "until", "ends_at", "deadline", "grace_until"})


def template_for(entry: Entry) -> str | None:
    """The template that tells this entry to the customer; None where nothing is sent."""
    if entry.kind == "retry_planned":
        return _FAILED[RetryMessage(str(entry.data["message"]))]
    return _BY_KIND.get(entry.kind)


def write(entry: Entry, template: str, reader: Reader, *, product: str, subscription: str, method: str) -> Letter:
    """The letter for an entry, with amounts and dates as the reader is used to them."""
    locale = _locale(reader.language)
    shown: dict[str, str] = {name: _shown(name, entry.data, locale, reader.zone) for name in entry.data}
    grace = f"Access goes on until {shown['grace_until']}." if entry.data.get("grace_until") else ""
    shown |= {
        "name": reader.name or "customer",
        "product": product,
        "subscription": subscription,
        "method": method or "payment method",
        "grace": grace,
    }
    subject, body = TEMPLATES[template]
    return Letter(template, subject.format_map(shown)[:SUBJECT_LENGTH_MAX], _FRAME.format(body=body).format_map(shown))


def _shown(name: str, data: EntryData, locale: Locale, zone: str) -> str:
    value, currency = data[name], data.get("currency")
    if name in _MONEY and isinstance(value, int) and isinstance(currency, str):
        major = Decimal(value).scaleb(-minor_digits(currency))
        plain = minor_digits(currency) != get_currency_precision(currency)
        return format_currency(major, currency, locale=locale, currency_digits=not plain)
    if name in _DATES and isinstance(value, str):
        local = datetime.fromisoformat(value).astimezone(zone_of(zone))
        return format_date(local.date(), "long", locale=locale)
    return "" if value is None else str(value)


def _locale(language: str) -> Locale:
    try:
        return Locale.parse(language.replace("-", "_"))
    except (UnknownLocaleError, ValueError):
        return Locale("en")
