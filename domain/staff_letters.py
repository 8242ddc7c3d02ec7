"""What staff may write to customers from a template: which there are, and what fills their blanks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from domain.errors import InvalidInput
from domain.letters import EVENTS

VALUE_LENGTH_MAX: Final = 1000

TEMPLATES: Final[tuple[str, ...]] = tuple(name for name in EVENTS if name.startswith("staff_"))


def accept_values(template: str, values: Mapping[str, str]) -> None:
    """Raises `InvalidInput` for a template that is not there, a blank left empty, or a value that has no blank."""
    if template not in TEMPLATES:
        raise InvalidInput("template", f"is one of {', '.join(TEMPLATES)}", code="unknown_template")
    blanks = frozenset(EVENTS[template].blanks)
    for name in sorted(blanks - {name for name, value in values.items() if value.strip()}):
        raise InvalidInput(f"values.{name}", "this template needs it", code="value_missing")
    for name in sorted(values.keys() - blanks):
        raise InvalidInput(f"values.{name}", "this template has no such blank", code="value_unknown")
