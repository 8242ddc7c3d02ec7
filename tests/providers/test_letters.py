"""Letters from templates: in which words and formats they are written, and what a template cannot do."""

from __future__ import annotations

import re
from dataclasses import replace
from email import message_from_bytes
from email.policy import default
from typing import Any, cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from domain.errors import InvalidInput
from domain.letters import EVENTS, SUBJECT_LENGTH_MAX, LetterSet, Reader, Template, languages
from domain.papers import Seller
from providers.letters.desk import BUILT_IN_TEMPLATES, accept, compose, sample_reader
from providers.letters.sandbox import OUTPUT_CHARS_MAX
from providers.letters.shown import WORD_CHARS_MAX
from providers.notifiers.base import Email
from providers.notifiers.smtp import compose as as_mail

SELLER = Seller("Kaffee & Co", ("Lindenstraße 12", "10969 Berlin"), "DE136695976", "post@example.com")
NOBODY = LetterSet()
ADA = Reader("Ada Byron", "ada@example.com", "en", "America/New_York", "Ada", "Byron")
PAID = {"amount": 1900, "currency": "EUR", "product": "Coffee box", "subscription": "sub_1", "invoice_id": "inv_1"}


def mine(**templates: Template) -> LetterSet:
    """The merchant's own: `receipt_de` and so on."""
    return LetterSet({tuple(name.rsplit("_", 1)): each for name, each in templates.items()}, SELLER)  # pyright: ignore[reportArgumentType]


@pytest.mark.parametrize("key", sorted(BUILT_IN_TEMPLATES), ids=str)
def test_every_built_in_letter_may_be_kept_and_is_whole(key: tuple[str, str]) -> None:
    """What comes with Dunlin passes its own door: another merchant would start from these words."""
    letter = accept(*key, BUILT_IN_TEMPLATES[key], SELLER)
    assert "{" not in letter.subject + letter.text
    assert letter.text.count("\n\n\n") == 0
    assert re.search(r'<p style="[^"]+">', letter.html), "the style is on the elements themselves"
    assert "<style" not in letter.html
    assert "Kaffee &amp; Co" in letter.html
    assert "Kaffee & Co" in letter.text


def test_english_and_german_have_every_event() -> None:
    for language in ("en", "de"):
        assert {event for event, each in BUILT_IN_TEMPLATES if each == language} == set(EVENTS)


@pytest.mark.parametrize(
    ("language", "zone", "subject"),
    [
        ("en", "UTC", "Coffee box: €19.00 will be charged on April 1, 2026"),
        ("en-GB", "UTC", "Coffee box: €19.00 will be charged on 1 April 2026"),
        ("en-US", "America/New_York", "Coffee box: €19.00 will be charged on March 31, 2026"),
        ("de-DE", "UTC", "Coffee box: 19,00 € werden am 1. April 2026 abgebucht"),
        ("de-AT", "UTC", "Coffee box: € 19,00 werden am 1. April 2026 abgebucht"),
        ("ja-JP", "Asia/Tokyo", "Coffee box: €19.00 will be charged on April 1, 2026"),
        ("not a language", "UTC", "Coffee box: €19.00 will be charged on April 1, 2026"),
    ],
)
def test_amounts_and_days_are_the_readers(language: str, zone: str, subject: str) -> None:
    facts = PAID | {"due_at": "2026-04-01T03:00:00+00:00"}
    letter = compose(NOBODY, "renewal_notice", facts, replace(ADA, language=language, zone=zone))
    assert letter.subject.replace("\xa0", " ") == subject


@pytest.mark.parametrize(
    ("currency", "minor", "shown"), [("JPY", 1900, "¥1,900"), ("KWD", 1900, "KWD1.900"), ("EUR", 1, "€0.01")]
)
def test_amounts_have_their_currencys_digits(currency: str, minor: int, shown: str) -> None:
    letter = compose(NOBODY, "receipt", PAID | {"currency": currency, "amount": minor}, ADA)
    assert letter.subject.replace("\xa0", " ") == f"Receipt: {shown} for Coffee box"


def test_the_nearest_template_is_taken() -> None:
    own = mine(receipt_de=Template("Danke {{ name }}", "Danke", version=3), receipt_en=Template("Ta", "Ta", version=1))
    written = {
        language: compose(own, "receipt", PAID, replace(ADA, language=language))
        for language in ("de-AT", "fr-CA", "en")
    }
    assert {language: (each.language, each.version, each.subject) for language, each in written.items()} == {
        "de-AT": ("de", 3, "Danke Ada Byron"),
        "fr-CA": ("en", 1, "Ta"),
        "en": ("en", 1, "Ta"),
    }
    assert compose(NOBODY, "receipt", PAID, replace(ADA, language="de-CH")).language == "de"
    assert languages("zh-Hant-TW") == ("zh-Hant-TW", "zh-Hant", "zh", "en")


WRONG = [
    ("subject", "{{ amonut }}", "line 1: there is no field `amonut`"),
    ("text", "Hello\n{{ nobody }}", "line 2: there is no field `nobody`"),
    ("text", "\n\n{% if x %}a{% endif %}", "line 3: there is no field `x`"),
    ("text", "Hello {{ name", "line 1:"),
    ("text", "{% if name %}a", "line 1:"),
    ("text", "{{ name.__class__ }}", "line 1: a template may not use this (getattr)"),
    ("text", "{{ name['__class__'] }}", "line 1: a template may not use this (getitem)"),
    ("text", "{{ name|attr('x') }}", "line 1: there is no filter `attr`"),
    ("text", "{{ name()  }}", "line 1: a template may not use this (call)"),
    ("text", "{{ 9 ** 9 }}", "line 1: a template may not use this (pow)"),
    ("text", "{{ 'a' * 999999999 }}", "line 1: a template may not use this (mul)"),
    ("text", "{% for a in name %}{{ a }}{% endfor %}", "line 1: a loop goes over one of seller_address"),
    ("text", "{% for a in range(9) %}{% endfor %}", "line 1: a loop goes over one of"),
    (
        "text",
        "{% for a in seller_address %}\n{% for b in seller_address %}{% endfor %}{% endfor %}",
        "line 2: a loop goes over one of",
    ),
    ("text", "{% include 'x' %}", "line 1: a template may not use this (include)"),
    ("text", "{% set a = 1 %}", "line 1: a template may not use this (assign)"),
    ("text", "{% macro a() %}{% endmacro %}", "line 1: a template may not use this (macro)"),
    ("html", "<p>\n<script>alert(1)</script>", "line 2: <script> is not allowed"),
    ("html", "<p onclick='x'>a</p>", "line 1: the attribute `onclick`"),
    ("html", "<a href='javascript:x'>a</a>", "line 1: `href` begins with"),
    ("html", "{{ name|safe }}", "line 1: there is no filter `safe`"),
    ("html", "{{ nobody }}", "line 1: there is no field `nobody`"),
    ("subject", "{{ recovered }}", "is empty with sample data"),
    ("text", " ", "is empty with sample data"),
]


@pytest.mark.parametrize(("part", "source", "said"), WRONG, ids=[f"{part} {source}" for part, source, _ in WRONG])
def test_what_does_not_work_is_refused_with_its_line(part: str, source: str, said: str) -> None:
    template = replace(Template("Receipt", "Thanks", "<p>Thanks</p>"), **cast("Any", {part: source}))
    with pytest.raises(InvalidInput) as refused:
        accept("receipt", "en", template, SELLER)
    assert refused.value.field == part
    assert refused.value.message.startswith(said)


def test_what_a_template_can_do() -> None:
    line = "{{ loop.index }} {{ line|upper }}{{ ', ' if not loop.last }}"
    source = f"{{% for line in seller_address if line %}}{line}{{% endfor %}}"
    letter = accept("receipt", "en", Template("A", source), SELLER)
    assert letter.text.startswith("1 LINDENSTRASSE 12, 2 10969 BERLIN")


@settings(deadline=None)
@given(text=st.text(min_size=1))
def test_what_is_filled_in_is_text_and_fills_nothing_else(text: str) -> None:
    """Markup, braces and line breaks in a value come out as they are, in both forms and in the subject's one line."""
    value = f"<b>{{{{ agent }}}}{{% if %}}&{text}"
    facts = {"subject": value, "text": value, "agent": "ann"}
    letter = compose(NOBODY, "staff_message", facts, ADA)
    assert len(letter.subject) <= SUBJECT_LENGTH_MAX
    assert letter.subject.splitlines() == [letter.subject]
    assert value.rstrip("\n") in letter.text
    assert "<b>" not in letter.html
    assert "&lt;b&gt;{{ agent }}{% if %}&amp;" in letter.html


def test_an_address_that_no_mail_program_should_open_is_left_out() -> None:
    facts = PAID | {"deadline": "2026-04-01T03:00:00+00:00"}
    assert (
        'href="https://bank.example/a?b=1&amp;c"'
        in compose(NOBODY, "action_required", facts | {"url": "https://bank.example/a?b=1&c"}, ADA).html
    )
    assert "javascript" not in compose(NOBODY, "action_required", facts | {"url": "javascript:alert(1)"}, ADA).html


@pytest.mark.parametrize(
    "broken", [Template("{{ gone }}", "x", version=7), Template("x", "{% if %}", version=7)], ids=["field", "syntax"]
)
def test_a_broken_template_holds_up_no_letter(broken: Template) -> None:
    """As one may be after a field is gone in a later release: the built-in words stand in, and the letter says so."""
    letter = compose(mine(receipt_de=broken), "receipt", PAID, replace(ADA, language="de"))
    assert (letter.language, letter.version) == ("de", 0)
    assert letter.subject.startswith("Zahlungsbeleg: 19,00")
    assert letter.trouble is not None
    assert letter.trouble.startswith("de, version 7: ")


def test_a_letter_that_runs_away_is_cut_off() -> None:
    wordy = Template("x", "{{ product }}" * (OUTPUT_CHARS_MAX // WORD_CHARS_MAX + 1), version=2)
    letter = compose(mine(receipt_en=wordy), "receipt", PAID | {"product": "x" * OUTPUT_CHARS_MAX}, ADA)
    assert letter.trouble is not None
    assert "more than" in letter.trouble
    assert letter.version == 0


def test_both_forms_travel_in_one_mail() -> None:
    letter = compose(NOBODY, "receipt", PAID, ADA)
    mail = as_mail(Email("msg_1", "shop@example.com", "ada@example.com", letter.subject, letter.text, letter.html))
    read = message_from_bytes(mail.as_bytes(), policy=default)
    assert read.get_content_type() == "multipart/alternative"
    assert [part.get_content_type() for part in read.walk()][1:] == ["text/plain", "text/html"]


def test_the_sample_reader_is_the_sample() -> None:
    assert sample_reader("de").name == EVENTS["receipt"].sample["name"]
