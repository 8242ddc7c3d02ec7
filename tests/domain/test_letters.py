"""What the letters of each event can say: their fields, how each is shown, and what a template is tried with."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterable, Mapping
from datetime import datetime
from pathlib import Path
from types import ModuleType

import pytest

from domain import letters
from domain.letters import COMMON, Event, Field, LetterSet, Reader, Shape, Template, languages
from domain.papers import Seller

TOLD = (Path(__file__).parents[2] / "docs" / "messages.md").read_text()
WORD, TEXT, NUMBER, MONEY, DATE, URL, LINES = "word", "text", "number", "money", "date", "url", "lines"
INSTANT = "2026-03-31T09:00:00+00:00"
LINK = "https://pay.example.com/link/aBcD"
# Field → how it is shown, and what it says in a letter that might have been: the same wherever it stands.
FIELDS: dict[str, tuple[str, object]] = {
    "name": (WORD, "Ada Byron"),
    "first_name": (WORD, "Ada"),
    "last_name": (WORD, "Byron"),
    "company": (WORD, "Byron & Sons"),
    "seller_name": (WORD, "Example Boxes GmbH"),
    "seller_address": (LINES, ("Lindenstraße 12", "10969 Berlin", "Germany")),
    "seller_email": (WORD, "billing@example.com"),
    "product": (WORD, "Coffee box"),
    "subscription": (WORD, "sub_4XWZ2K7Q"),
    "method": (WORD, "visa •••• 4242"),
    "amount": (MONEY, 1900),
    "total": (MONEY, 1900),
    "balance": (MONEY, 1900),
    "invoice_id": (WORD, "inv_7K2QX4WZ"),
    "number": (WORD, "4XWZ2K7QAB-0012"),
    "recovered": (WORD, ""),
    "access_stopped": (WORD, ""),
    "retry": (NUMBER, 1),
    "retries": (NUMBER, 3),
    "end_action": (WORD, "cancel"),
    "due_at": (DATE, INSTANT),
    "retry_at": (DATE, INSTANT),
    "deadline": (DATE, INSTANT),
    "until": (DATE, INSTANT),
    "ends_at": (DATE, INSTANT),
    "grace_until": (DATE, "2026-04-07T09:00:00+00:00"),
    "date": (DATE, "2026-03-31"),
    "expires_on": (DATE, "2026-03-31"),
    "url": (URL, "https://bank.example/confirm/4711"),
    "payment_link": (URL, LINK),
    "update_link": (URL, LINK),
    "carrier": (WORD, "DHL"),
    "tracking": (WORD, "00340434161094042557"),
    "agent": (WORD, "ann"),
    "topic": (TEXT, "your order of last Friday"),
    "subject": (WORD, "Your parcel"),
    "text": (TEXT, "it is on its way again.\nPlease excuse the delay."),
}
BLANKS = {
    "staff_message": ("subject", "text"),
    "staff_missed_call": ("topic",),
    "staff_payment_method": (),
    "staff_thanks": ("topic",),
}


def fresh() -> ModuleType:
    """The module, read anew: its tables are made while it is read, so this is what runs what makes them."""
    spec = importlib.util.spec_from_file_location(letters.__name__, str(letters.__file__))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(name="events")
def _events() -> Mapping[str, Event]:
    return fresh().EVENTS


def fields_of(events: Iterable[Event]) -> list[tuple[str, Field]]:
    return [(name, each) for event in events for name, each in event.all_fields.items()]


def test_the_page_of_messages_tells_every_event_and_field(events: Mapping[str, Event]) -> None:
    for name, event in events.items():
        assert event.name == name
        told = ", ".join(f"`{field}`" for field in event.fields)
        assert f"| `{name}` | {event.about} | {told} |\n" in TOLD
    assert [line.split("`")[1] for line in TOLD.splitlines() if line.startswith("| `") and " | `" in line] == [*events]


def test_every_field_is_shown_in_one_way_wherever_it_stands(events: Mapping[str, Event]) -> None:
    found = fields_of(events.values())
    assert {name: (str(each.shape), each.sample) for name, each in found} == FIELDS
    for name, each in found:
        assert (each.shape, each.sample) == FIELDS[name], name
        assert each.about[0].isupper() or each.about[0] == "`", name
        assert not each.about.isupper(), name


def test_every_letter_has_the_common_fields_and_its_sample_has_all(events: Mapping[str, Event]) -> None:
    for event in events.values():
        assert list(event.all_fields) == [*COMMON, *event.fields]
        assert event.sample == {name: FIELDS[name][1] for name in event.all_fields} | {"currency": "EUR"}


def test_samples_are_facts_as_an_event_brings_them(events: Mapping[str, Event]) -> None:
    for name, each in fields_of(events.values()):
        match str(each.shape):
            case "money" | "number":
                assert isinstance(each.sample, int), name
            case "date":
                datetime.fromisoformat(str(each.sample))
            case "url":
                assert str(each.sample).startswith("https://"), name
            case "lines":
                assert isinstance(each.sample, tuple), name
            case _:
                assert isinstance(each.sample, str), name


def test_only_letters_of_staff_have_blanks_and_say_who_sends_them(events: Mapping[str, Event]) -> None:
    assert {name: event.blanks for name, event in events.items() if "agent" in event.fields} == BLANKS
    assert [name for name, event in events.items() if event.blanks and name not in BLANKS] == []


def test_whoever_must_pay_is_given_a_link(events: Mapping[str, Event]) -> None:
    assert [name for name, event in events.items() if "payment_link" in event.fields] == [
        "payment_failed", "payment_final_notice", "dunning_exhausted", "access_stopped", "invoice",
    ]  # fmt: skip
    assert [name for name, event in events.items() if "update_link" in event.fields] == ["card_expires", "card_closed"]


@pytest.mark.parametrize(
    ("wanted", "chain"),
    [
        ("de-AT", ("de-AT", "de", "en")),
        ("de_AT", ("de-AT", "de", "en")),
        ("zh-Hant-TW", ("zh-Hant-TW", "zh-Hant", "zh", "en")),
        ("en-GB", ("en-GB", "en")),
        ("en", ("en",)),
        ("fr", ("fr", "en")),
    ],
)
def test_languages_stand_in_for_one_another(wanted: str, chain: tuple[str, ...]) -> None:
    assert languages(wanted) == chain


def test_what_nobody_has_set_is_built_in() -> None:
    assert LetterSet() == LetterSet({}, Seller())
    assert (Template("s", "t").html, Template("s", "t").version) == (None, letters.BUILT_IN)
    assert Reader("Ada", "ada@example.com", "en", "UTC").first_name == ""
    assert {shape.value for shape in Shape} == {WORD, TEXT, NUMBER, MONEY, DATE, URL, LINES}
