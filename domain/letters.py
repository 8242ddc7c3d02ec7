"""What a letter can say: the events that are told to customers, the fields of each, and which language is taken."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType
from typing import Final

from domain.papers import Seller

LANGUAGE_OF_LAST_RESORT: Final = "en"
SUBJECT_LENGTH_MAX: Final = 200
BUILT_IN: Final = 0  # the version of the words that come with Dunlin

Facts = Mapping[str, object]
"""What is known of an event, before language and number format are chosen: minor units, ISO instants, words."""


class Shape(StrEnum):
    """How a field is shown. MONEY: minor units of the fact `currency`. DATE: a day, or an ISO instant, as a day in the
    reader's zone. LINES: several lines, the only thing that a template may loop over. TEXT: words that may have line
    breaks.
    """

    WORD = "word"
    TEXT = "text"
    NUMBER = "number"
    MONEY = "money"
    DATE = "date"
    URL = "url"
    LINES = "lines"


@dataclass(frozen=True, slots=True)
class Field:
    """One field of an event. `sample` is a fact as the event brings it."""

    shape: Shape
    about: str
    sample: object


@dataclass(frozen=True, slots=True)
class Event:
    """Something that is told. `fields` are its own, besides the common ones; `blanks` are filled by who sends it."""

    name: str
    about: str
    fields: Mapping[str, Field]
    blanks: tuple[str, ...] = ()

    @property
    def sample(self) -> dict[str, object]:
        """Facts of an event that might have been."""
        return {name: each.sample for name, each in {**COMMON, **self.fields}.items()} | {"currency": "EUR"}

    @property
    def all_fields(self) -> Mapping[str, Field]:
        return {**COMMON, **self.fields}


@dataclass(frozen=True, slots=True)
class Reader:
    """Who gets the letter: how to greet and which language, zone and number format to use."""

    name: str
    email: str
    language: str
    zone: str
    first_name: str = ""
    last_name: str = ""
    company: str = ""


@dataclass(frozen=True, slots=True)
class Template:
    """The words of one event in one language. `html` None: made from the text. Version 0 came with Dunlin."""

    subject: str
    text: str
    html: str | None = None
    version: int = BUILT_IN


@dataclass(frozen=True, slots=True)
class LetterSet:
    """What letters are written with at one moment: the merchant's own templates by event and language, and who the
    merchant is.
    """

    templates: Mapping[tuple[str, str], Template] = field(default_factory=dict[tuple[str, str], Template])
    seller: Seller = field(default_factory=Seller)


def languages(wanted: str) -> tuple[str, ...]:
    """From the wanted language to those that stand in for it: `de-AT`, `de`, `en`."""
    parts = wanted.replace("_", "-").split("-")
    chain = ["-".join(parts[:length]) for length in range(len(parts), 0, -1)]
    return tuple(dict.fromkeys([*chain, LANGUAGE_OF_LAST_RESORT]))


def _word(about: str, sample: str) -> Field:
    return Field(Shape.WORD, about, sample)


def _money(about: str, sample: int = 1900) -> Field:
    return Field(Shape.MONEY, about, sample)


def _date(about: str, sample: str = "2026-03-31T09:00:00+00:00") -> Field:
    return Field(Shape.DATE, about, sample)


# Every letter has these. A field that is not known is empty, and `{% if field %}` asks.
COMMON: Final[Mapping[str, Field]] = MappingProxyType(
    {
        "name": _word("First and last name, or the company", "Ada Byron"),
        "first_name": _word("First name", "Ada"),
        "last_name": _word("Last name", "Byron"),
        "company": _word("Company", "Byron & Sons"),
        "seller_name": _word("The merchant's name, from the rule `seller`", "Example Boxes GmbH"),
        "seller_address": Field(Shape.LINES, "Their address", ("Lindenstraße 12", "10969 Berlin", "Germany")),
        "seller_email": _word("Their mail address", "billing@example.com"),
    }
)
_SUBSCRIPTION: Final[Mapping[str, Field]] = MappingProxyType(
    {
        "product": _word("Name of the product", "Coffee box"),
        "subscription": _word("Id of the subscription", "sub_4XWZ2K7Q"),
        "method": _word("The first payment method: brand and last digits", "visa •••• 4242"),
    }
)
_RETRY: Final = {
    "amount": _money("What is to be paid"),
    "retry_at": _date("Day of the next try"),
    "retry": Field(Shape.NUMBER, "Number of that try", 1),
    "retries": Field(Shape.NUMBER, "How many tries there are", 3),
    "grace_until": _date("Until when access goes on; empty where it does not", "2026-04-07T09:00:00+00:00"),
    "access_stopped": _word("`yes` where access has stopped with this very failure", ""),
}
_PAYS: Final = {
    "payment_link": Field(
        Shape.URL, "Where the customer pays it without signing in", "https://pay.example.com/link/aBcD"
    )
}
_RETURN: Final = {"amount": _money("What goes back")}
_AGENT: Final = {"agent": _word("Who sends it", "ann")}
_TOPIC: Final = {"topic": Field(Shape.TEXT, "What it is about", "your order of last Friday")}


def _events() -> dict[str, Event]:
    billing: tuple[tuple[str, str, dict[str, Field]], ...] = (
        (
            "receipt",
            "A payment went through",
            {
                "amount": _money("What was paid"),
                "invoice_id": _word("Id of the invoice", "inv_7K2QX4WZ"),
                "recovered": _word("`yes` where earlier tries had failed", ""),
            },
        ),
        (
            "renewal_notice",
            "A renewal comes, for those who wished to be told",
            {"amount": _money("What will be charged"), "due_at": _date("When")},
        ),
        ("payment_failed", "A try failed, another follows", {**_RETRY, **_PAYS}),
        ("payment_final_notice", "A try failed, the next is the last", {**_RETRY, **_PAYS}),
        (
            "dunning_exhausted",
            "The last try failed",
            {"end_action": _word("What follows: `cancel`, `pause` or `stay_overdue`", "cancel"), **_PAYS},
        ),
        ("access_stopped", "The days of grace are over", _PAYS),
        (
            "action_required",
            "The bank asks the customer to confirm",
            {
                "url": Field(Shape.URL, "Where to confirm", "https://bank.example/confirm/4711"),
                "deadline": _date("Until when"),
            },
        ),
        ("trial_started", "A trial has begun", {"until": _date("Its end")}),
        ("cancel_planned", "It will end, as the customer wished", {"ends_at": _date("When")}),
        ("canceled", "It has ended", {}),
        ("paused", "It is paused", {}),
        ("resumed", "It goes on", {}),
        ("refund_sent", "A refund is on its way", _RETURN),
        ("void_sent", "A charge was taken back before it was settled", _RETURN),
        (
            "shipped",
            "A parcel is on its way",
            {
                "carrier": _word("Who carries it; empty where nobody said", "DHL"),
                "tracking": _word("The tracking number; empty where there is none", "00340434161094042557"),
            },
        ),
    )
    found = {name: Event(name, about, {**_SUBSCRIPTION, **fields}) for name, about, fields in billing}
    found["invoice"] = Event(
        "invoice",
        "An invoice by email, the file with it",
        {
            "number": _word("Number of the invoice", "4XWZ2K7QAB-0012"),
            "date": _date("Its date", "2026-03-31"),
            "total": _money("Its total"),
            "balance": _money("What is left to pay", 1900),
            "subscription": _SUBSCRIPTION["subscription"],
            **_PAYS,
        },
    )
    renew = {
        "method": _word("The card: brand and last digits", "visa •••• 4242"),
        "update_link": Field(Shape.URL, "Where another card is entered", "https://pay.example.com/link/aBcD"),
    }
    found["card_expires"] = Event(
        "card_expires",
        "The card that pays comes to its end",
        {**renew, "expires_on": _date("The last day on which it works", "2026-03-31")},
    )
    found["card_closed"] = Event("card_closed", "The bank has closed the card that pays", renew)
    staff: tuple[tuple[str, str, dict[str, Field]], ...] = (
        (
            "staff_message",
            "A letter in free words",
            {
                "subject": _word("The subject", "Your parcel"),
                "text": Field(Shape.TEXT, "The words", "it is on its way again.\nPlease excuse the delay."),
            },
        ),
        ("staff_missed_call", "We rang and nobody answered", _TOPIC),
        ("staff_payment_method", "Please give us a new payment method", {}),
        ("staff_thanks", "Thank you", _TOPIC),
    )
    for name, about, blanks in staff:
        found[name] = Event(name, about, {**blanks, **_AGENT}, tuple(blanks))
    return found


EVENTS: Final[Mapping[str, Event]] = MappingProxyType(_events())
