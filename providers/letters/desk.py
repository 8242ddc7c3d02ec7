"""How a letter is made: the template nearest to the reader's language, filled, framed, with its style inlined.

A merchant's template that fails does not hold up what it tells: the built-in one stands in, and the letter says so.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

import css_inline
from markupsafe import Markup, escape

from domain.errors import Broken, InvalidInput
from domain.letters import (
    BUILT_IN,
    EVENTS,
    SUBJECT_LENGTH_MAX,
    Event,
    Facts,
    LetterSet,
    Reader,
    Template,
    languages,
)
from domain.papers import Seller
from providers.letters.sandbox import check, fill
from providers.letters.shown import locale_of, shown

_WORDS: Final = Path(__file__).with_name("words")
_FRAME_HTML: Final = Path(__file__).with_name("frame.html").read_text()
_LINK: Final = re.compile(r"https?://[^\s<>\"]+")


@dataclass(frozen=True, slots=True)
class Letter:
    """A message as it will be sent. `version` of the template in `language`; 0 came with Dunlin.

    `trouble`: why the merchant's own template was not used.
    """

    template: str
    language: str
    version: int
    subject: str
    text: str
    html: str
    trouble: str | None = None


@dataclass(frozen=True, slots=True)
class _Frame:
    """One language's words around every letter."""

    customer: str
    foot: str
    subscription: str


def _read() -> tuple[dict[str, _Frame], dict[tuple[str, str], Template]]:
    frames: dict[str, _Frame] = {}
    templates: dict[tuple[str, str], Template] = {}
    for path in sorted(_WORDS.glob("*.toml")):
        words: dict[str, Any] = tomllib.loads(path.read_text())
        frames[path.stem] = _Frame(**words.pop("frame"))
        for event, parts in words.items():
            templates[event, path.stem] = Template(parts["subject"], parts["text"], parts.get("html"))
    return frames, templates


_FRAMES, _TEMPLATES = _read()
BUILT_IN_TEMPLATES: Final[Mapping[tuple[str, str], Template]] = MappingProxyType(_TEMPLATES)
"""By event and language."""

_INLINER: Final = css_inline.CSSInliner(load_remote_stylesheets=False, keep_style_tags=False)


def compose(letters: LetterSet, event_name: str, facts: Facts, reader: Reader) -> Letter:
    """The letter for these facts to this reader. Raises `Broken` for an event that is not there."""
    event = _event(event_name)
    trouble: str | None = None
    for language, template in _candidates(letters, event_name, reader.language):
        try:
            return _written(letters.seller, event, template, language, facts, reader, trouble)
        except Exception as error:
            if template.version == BUILT_IN:
                raise
            # Whatever it is: what the letter tells has happened, and must be told.
            trouble = trouble or f"{language}, version {template.version}: {error}"[:500]
    raise Broken(f"there are no words for {event_name}")


def chosen(letters: LetterSet, event_name: str, language: str) -> tuple[str, Template]:
    """The template that a reader of this language gets, and the language that it is written in."""
    return next(_candidates(letters, event_name, language))


def accept(event_name: str, language: str, template: Template, seller: Seller) -> Letter:
    """A template that may be kept, filled with sample data. Raises `InvalidInput` naming the part and the line."""
    event = _event(event_name)
    for part, source, html in (
        ("subject", template.subject, False),
        ("text", template.text, False),
        ("html", template.html or "", True),
    ):
        check(part, source, event.all_fields, html=html)
    try:
        letter = _written(seller, event, template, language, event.sample, sample_reader(language), None)
    except Exception as error:
        raise InvalidInput("template", f"does not work with sample data: {error}", code="template_fails") from error
    if not letter.subject:
        raise InvalidInput("subject", "is empty with sample data", code="template_empty")
    if letter.text.startswith("\n"):
        raise InvalidInput("text", "is empty with sample data", code="template_empty")
    return letter


def sample_reader(language: str) -> Reader:
    """To whom a template is shown that is written for nobody in particular."""
    facts = EVENTS["receipt"].sample
    return Reader(
        name=str(facts["name"]),
        email="ada@example.com",
        language=language,
        zone="Europe/Berlin",
        first_name=str(facts["first_name"]),
        last_name=str(facts["last_name"]),
        company=str(facts["company"]),
    )


def _event(name: str) -> Event:
    if name not in EVENTS:
        raise Broken(f"there is no letter {name}")
    return EVENTS[name]


def _candidates(letters: LetterSet, event: str, language: str) -> Iterator[tuple[str, Template]]:
    for each in languages(language):
        for source in (letters.templates, BUILT_IN_TEMPLATES):
            if (event, each) in source:
                yield each, source[event, each]


def _written(
    seller: Seller,
    event: Event,
    template: Template,
    language: str,
    facts: Facts,
    reader: Reader,
    trouble: str | None,
) -> Letter:
    frame = _FRAMES.get(language) or _FRAMES.get(language.split("-", maxsplit=1)[0]) or _FRAMES["en"]
    known: dict[str, object] = {
        **facts,
        "name": reader.name or frame.customer,
        "first_name": reader.first_name,
        "last_name": reader.last_name,
        "company": reader.company,
        "seller_name": seller.name,
        "seller_address": seller.address,
        "seller_email": seller.email,
    }
    values = shown(known, event.all_fields, locale_of(reader.language, language), reader.zone)
    subject = " ".join(fill(template.subject, values, html=False).split())[:SUBJECT_LENGTH_MAX]
    text = fill(template.text, values, html=False).strip()
    content = _paragraphs(text) if template.html is None else fill(template.html, values, html=True)
    about = frame.subscription.format(subscription=values["subscription"]) if values.get("subscription") else ""
    return Letter(
        event.name,
        language,
        template.version,
        subject,
        _text_frame(text, seller, about, frame),
        _html_frame(content, seller, subject, language, about, frame),
        trouble,
    )


def _text_frame(text: str, seller: Seller, about: str, frame: _Frame) -> str:
    foot = " ".join(part for part in (about, frame.foot) if part)
    merchant = "\n".join(part for part in (seller.name, ", ".join(seller.address)) if part)
    return f"{text}\n\n{foot}\n" + (f"\n-- \n{merchant}\n" if merchant else "")


def _html_frame(content: str, seller: Seller, subject: str, language: str, about: str, frame: _Frame) -> str:
    top, bottom = _framed(language, seller, frame.foot)
    # The frame's style is inlined once; the letter's own parts are small.
    return (
        top.replace("\ue000", str(escape(subject)), 1)
        + _inlined(content)
        + bottom.replace("\ue001", str(escape(about)), 1)
    )


@lru_cache(maxsize=200)
def _framed(language: str, seller: Seller, foot: str) -> tuple[str, str]:
    """What stands around a letter, with its style inlined; the subject and what it is about are put in later."""
    values = {
        "lang": language,
        "seller_name": seller.name,
        "seller_address": ", ".join(seller.address),
        "foot": foot,
    }
    whole = _INLINER.inline(fill(_FRAME_HTML, values, html=True))
    top, _, bottom = whole.partition("\ue002")
    return top, bottom


_STYLE: Final = Path(__file__).with_name("letter.css").read_text()


def _inlined(content: str) -> str:
    """A letter's own part with the style of letters on each of its elements."""
    return _INLINER.inline_fragment(content, _STYLE)


def _paragraphs(text: str) -> Markup:
    """Text as HTML shows it: paragraphs, line breaks, addresses that can be followed."""
    parts = (part for part in re.split(r"\n{2,}", text) if part.strip())
    linked = (_LINK.sub(lambda url: f'<a href="{url[0]}">{url[0]}</a>', str(escape(part))) for part in parts)
    return Markup("\n").join(Markup("<p>{}</p>").format(Markup(part.replace("\n", "<br>\n"))) for part in linked)  # noqa: S704 - escaped above
