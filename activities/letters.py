"""From lines of a timeline to letters as they will be sent: rows of messages, written with what the lines tell."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from domain.ids import derive
from domain.letters import LetterSet, Reader
from domain.state import Entry, State
from domain.telling import Telling, tellings
from providers.letters.desk import Letter, compose


def known_as(brand: str, last4: str) -> str:
    """A payment method as its owner knows it, in no language: `visa •••• 4242`."""
    return f"{brand} •••• {last4}".strip() if last4 else brand


def rows_for(
    state: State, entries: Sequence[Entry], reader: Reader, letters: LetterSet, methods: Sequence[tuple[str, str]]
) -> list[dict[str, Any]]:
    """The messages that these entries of one step become. `methods`: id and name, in order of use."""
    if not reader.email:
        return []
    return [_row(state, telling, reader, letters, methods) for telling in tellings(entries)]


def columns_of(letter: Letter) -> dict[str, Any]:
    """What a row of messages keeps of a letter."""
    return {
        "template": letter.template,
        "subject": letter.subject,
        "body": letter.text,
        "html": letter.html,
        "language": letter.language,
        "template_version": letter.version,
        "template_trouble": letter.trouble,
    }


def _row(
    state: State, telling: Telling, reader: Reader, letters: LetterSet, methods: Sequence[tuple[str, str]]
) -> dict[str, Any]:
    entry = telling.entry
    paid_by = dict(methods).get(str(entry.data.get("method_id")))
    facts = {
        **entry.data,
        "product": state.terms.product_name,
        "subscription": state.id,
        "method": paid_by or next((name for _, name in methods), ""),
        "access_stopped": "access_stopped" in telling.also,
    }
    return {
        "id": derive("msg", state.id, str(entry.seq)),
        "event_seq": entry.seq,
        "recipient": reader.email,
        "at": entry.at.isoformat(),
        **columns_of(compose(letters, telling.template, facts, reader)),
    }
