"""Which values a custom field takes, and what becomes of those it does not take any more: kept, and said so."""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from enum import StrEnum
from typing import Final

from domain.errors import InvalidInput

TEXT_LENGTH_MAX: Final = 500
NUMBER_MAX: Final = 1_000_000_000_000_000  # a fraction keeps its digits in JSON up to here
CHOICES_MAX: Final = 100
FIELDS_MAX: Final = 100  # of one subject, archived ones included

_DATE: Final = re.compile(r"\d{4}-\d{2}-\d{2}", re.ASCII)

Value = str | int | float | bool


class FieldType(StrEnum):
    """What kind of value a field holds."""

    TEXT = "text"
    NUMBER = "number"
    DATE = "date"
    CHOICE = "choice"
    YES_NO = "yes_no"


@dataclass(frozen=True, slots=True)
class Definition:
    """A custom field as an admin defined it. `choices` is for that type alone."""

    key: str
    type: FieldType
    choices: tuple[str, ...] = ()
    required: bool = False
    archived: bool = False


def check_definition(definition: Definition) -> None:
    """Raises `InvalidInput` where type and choices do not go together."""
    if definition.type is not FieldType.CHOICE:
        if definition.choices:
            raise InvalidInput("choices", "only a field of the type choice has choices")
        return
    if not 1 <= len(definition.choices) <= CHOICES_MAX:
        raise InvalidInput("choices", f"a field of the type choice has 1 to {CHOICES_MAX} choices")
    if len(set(definition.choices)) < len(definition.choices):
        raise InvalidInput("choices", "names a choice twice")


def broken_rule(definition: Definition, value: object) -> str | None:
    """What is wrong with a value for this field, in words; None where it fits. Nothing is guessed: "5" is no number."""
    match definition.type:
        case FieldType.TEXT:
            return None if isinstance(value, str) and _is_line(value) else _TEXT_RULE
        case FieldType.NUMBER:
            return None if _is_number(value) else f"must be a number of at most {NUMBER_MAX:,}"
        case FieldType.DATE:
            return None if isinstance(value, str) and _is_date(value) else "must be a date, such as 2027-01-31"
        case FieldType.CHOICE:
            fits = isinstance(value, str) and value in definition.choices
            return None if fits else f"must be one of {', '.join(definition.choices)}"
        case FieldType.YES_NO:
            return None if isinstance(value, bool) else "must be true or false"


_TEXT_RULE: Final = f"must be one line of 1 to {TEXT_LENGTH_MAX} characters"


def changed_values(
    definitions: Mapping[str, Definition], before: Mapping[str, Value], wanted: Mapping[str, object]
) -> dict[str, Value | None]:
    """What is to be written: key → new value, or None to remove it; keys whose value stays are not in it.

    A value that no longer fits stays until it is replaced. Raises `InvalidInput` for an unknown or archived field, for
    a value that does not fit, and where a required field would have none.
    """
    changed: dict[str, Value | None] = {}
    for key, value in wanted.items():
        definition = definitions.get(key)
        if definition is None or definition.archived:
            raise InvalidInput(f"values.{key}", "there is no such custom field", code="unknown_custom_field")
        new = None if value is None else _fitting(definition, value)
        if not _is_same(before.get(key), new):
            changed[key] = new
    _check_required(definitions, before, changed)
    return changed


def _fitting(definition: Definition, value: object) -> Value:
    rule = broken_rule(definition, value)
    if rule is not None or not isinstance(value, str | int | float):
        raise InvalidInput(f"values.{definition.key}", rule or _TEXT_RULE, code="does_not_fit")
    return value


def _check_required(
    definitions: Mapping[str, Definition], before: Mapping[str, Value], changed: Mapping[str, Value | None]
) -> None:
    for key, definition in definitions.items():
        if definition.required and not definition.archived and changed.get(key, before.get(key)) is None:
            raise InvalidInput(f"values.{key}", "is required: give it a value too", code="required")


def _is_same(old: Value | None, new: Value | None) -> bool:
    """True and 1 are equal in Python, and not to people."""
    return old == new and isinstance(old, bool) == isinstance(new, bool)


def _is_line(text: str) -> bool:
    printable = all(unicodedata.category(each) not in {"Cc", "Cs", "Zl", "Zp"} for each in text)
    return printable and 1 <= len(text) <= TEXT_LENGTH_MAX and not text.isspace()


def _is_number(value: object) -> bool:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return math.isfinite(value) and abs(value) <= NUMBER_MAX


def _is_date(text: str) -> bool:
    if not _DATE.fullmatch(text):
        return False
    try:
        date.fromisoformat(text)
    except ValueError:
        return False
    return True
