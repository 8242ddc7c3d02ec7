"""What staff may write to customers from a template: which there are, and how their blanks are filled."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from domain.errors import InvalidInput

VALUE_LENGTH_MAX: Final = 1000
SUBJECT_LENGTH_MAX: Final = 200

_BLANK: Final = re.compile(r"\{([a-z_]+)\}")
# Filled by us, never by who sends it.
_OURS: Final = frozenset({"name", "agent"})


@dataclass(frozen=True, slots=True)
class Template:
    """`subject` and `body` with blanks in braces."""

    subject: str
    body: str

    @property
    def blanks(self) -> frozenset[str]:
        """The blanks that whoever sends it fills."""
        return frozenset(_BLANK.findall(self.subject + self.body)) - _OURS


@dataclass(frozen=True, slots=True)
class Written:
    """A letter as it will be sent: one line, and text."""

    subject: str
    body: str


_FRAME: Final = "Hello {{name}},\n\n{body}\n\n{{agent}}\nYou can reply to this message.\n"

TEMPLATES: Final[Mapping[str, Template]] = MappingProxyType(
    {
        name: Template(subject, _FRAME.format(body=body))
        for name, subject, body in (
            ("staff_message", "{subject}", "{text}"),
            (
                "staff_missed_call",
                "We tried to reach you",
                "we tried to reach you by telephone about {topic}.\nWhen may we call again?",
            ),
            (
                "staff_payment_method",
                "Please update your payment method",
                "please give us a new payment method, so that nothing you have ordered stops.",
            ),
            (
                "staff_thanks",
                "Thank you",
                "thank you for {topic}. If there is anything else we can do, please tell us.",
            ),
        )
    }
)


def accept_values(template: str, values: Mapping[str, str]) -> None:
    """Raises `InvalidInput` for a template that is not there, a blank left empty, or a value that has no blank."""
    if template not in TEMPLATES:
        raise InvalidInput("template", f"is one of {', '.join(TEMPLATES)}", code="unknown_template")
    blanks = TEMPLATES[template].blanks
    for name in sorted(blanks - {name for name, value in values.items() if value.strip()}):
        raise InvalidInput(f"values.{name}", "this template needs it", code="value_missing")
    for name in sorted(values.keys() - blanks):
        raise InvalidInput(f"values.{name}", "this template has no such blank", code="value_unknown")


def write(template: str, values: Mapping[str, str], *, name: str, agent: str) -> Written:
    """The letter. Every blank is filled once: braces in a value are text, and reach nothing else."""
    chosen = TEMPLATES[template]
    known = {**values, "name": name or "customer", "agent": agent}

    def filled(text: str) -> str:
        return _BLANK.sub(lambda blank: known[blank[1]], text)

    subject = " ".join(filled(chosen.subject).split())[:SUBJECT_LENGTH_MAX]
    return Written(subject, filled(chosen.body))
