"""From lines of a timeline to letters as they will be sent: rows of messages, written with what the lines tell."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from domain.ids import derive
from domain.letters import LetterSet, Reader
from domain.links import ID_PREFIX, Link, LinkKind, LinkMaker, new_link
from domain.state import Entry
from domain.telling import Telling, tellings
from providers.letters.desk import Letter, compose

# Letters about an invoice that is open: they carry the way to pay it.
ASKING_FOR_MONEY: Final = frozenset({"payment_failed", "payment_final_notice", "dunning_exhausted", "access_stopped"})


def known_as(brand: str, last4: str) -> str:
    """A payment method as its owner knows it, in no language: `visa •••• 4242`."""
    return f"{brand} •••• {last4}".strip() if last4 else brand


@dataclass(frozen=True, slots=True)
class LetterSubject:
    """What letters are about: `id` of the subscription or order, what was sold, the subscription they name.

    `invoice_id`: what is open, to be paid by a link.
    """

    id: str
    product: str
    subscription: str | None = None
    invoice_id: str | None = None


def rows_for(
    subject: LetterSubject,
    entries: Sequence[Entry],
    reader: Reader,
    letters: LetterSet,
    methods: Sequence[tuple[str, str]],
    links: LinkMaker,
) -> list[dict[str, Any]]:
    """The messages that these entries of one step become. `methods`: id and name, in order of use.

    `pays` in a row is the link to be kept with it, of a letter that asks for money.
    """
    if not reader.email:
        return []
    return [_row(subject, telling, reader, letters, methods, links) for telling in tellings(entries)]


def _payment_link(subject: LetterSubject, telling: Telling, links: LinkMaker) -> Link | None:
    """By which the open invoice is paid without signing in; made again it is the same."""
    if links.key is None or subject.invoice_id is None or telling.template not in ASKING_FOR_MONEY:
        return None
    link_id = derive(ID_PREFIX, subject.id, str(telling.entry.seq))
    return new_link(link_id, LinkKind.PAY_INVOICE, subject.invoice_id, telling.entry.at)


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
    subject: LetterSubject,
    telling: Telling,
    reader: Reader,
    letters: LetterSet,
    methods: Sequence[tuple[str, str]],
    links: LinkMaker,
) -> dict[str, Any]:
    entry, pays = telling.entry, _payment_link(subject, telling, links)
    paid_by = dict(methods).get(str(entry.data.get("method_id")))
    facts = {
        **entry.data,
        "product": subject.product,
        "subscription": subject.subscription,
        "method": paid_by or next((name for _, name in methods), ""),
        "access_stopped": "access_stopped" in telling.also,
        "payment_link": links.url(pays) if pays is not None else "",
    }
    return {
        "id": derive("msg", subject.id, str(entry.seq)),
        "event_seq": entry.seq,
        "recipient": reader.email,
        "at": entry.at.isoformat(),
        "pays": pays,
        **columns_of(compose(letters, telling.template, facts, reader)),
    }
