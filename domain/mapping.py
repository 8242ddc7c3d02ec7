"""The mapping language: which columns of a merchant's file make up which field. Read strictly, nothing is guessed.

A value is a text with columns in braces, a choice by what stands in one column, or a list of such:

    email: "{customerID}@example.com"
    interval: {column: Contract, values: {Month-to-month: 1 month, One year: 1 year}}

    external_id: ["{external_id}", "{id}"]

The last is a list: the first of its values that is not empty. Every error names its place, such as
`mapping.customer.email`.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from enum import StrEnum
from typing import Any, Final, TypeVar, cast

from domain.calendar import local_day
from domain.errors import Broken, InvalidInput
from domain.import_fields import FIELDS, Fields, Kind
from domain.terms import Trigger

E = TypeVar("E", bound=StrEnum)

TEXT_LENGTH_MAX: Final = 500
CHOICES_MAX: Final = 1_000
LIST_LENGTH_MAX: Final = 10
SHOWN_LENGTH_MAX: Final = 40
CHOICES_SHOWN_MAX: Final = 20
# A wrong year would bill each subscriber for all the time since, or never.
CUT_OVER_DAYS_AGO_MAX: Final = 31
CUT_OVER_DAYS_AHEAD_MAX: Final = 366
DELIMITERS: Final = (",", ";", "\t", "|")

_TOKEN: Final = re.compile(r"\{\{|\}\}|\{([^{}]+)\}|[^{}]+")
_DATE: Final = re.compile(r"\d{4}-\d{2}-\d{2}", re.ASCII)


class Day(StrEnum):
    """A cut-over that depends on when the file is brought."""

    TODAY = "today"
    TOMORROW = "tomorrow"


@dataclass(frozen=True, slots=True)
class Column:
    """What stands in this column."""

    name: str


@dataclass(frozen=True, slots=True)
class Template:
    """A text with columns in it; `{{` and `}}` stand for the braces themselves."""

    parts: tuple[str | Column, ...]

    @property
    def columns(self) -> frozenset[str]:
        return frozenset(part.name for part in self.parts if isinstance(part, Column))

    def text(self, cells: Mapping[str, str]) -> str:
        """Filled in. Space around each cell and around the whole is no part of it."""
        filled = (part if isinstance(part, str) else cells[part.name].strip() for part in self.parts)
        return "".join(filled).strip()


@dataclass(frozen=True, slots=True)
class Choice:
    """A value for each of the texts that may stand in a column."""

    column: str
    values: Mapping[str, Template]

    @property
    def columns(self) -> frozenset[str]:
        return frozenset({self.column}).union(*(value.columns for value in self.values.values()))

    def text(self, cells: Mapping[str, str]) -> str:
        """Raises `InvalidInput` for a cell that the mapping has no value for."""
        cell = cells[self.column].strip()
        chosen = self.values.get(cell)
        if chosen is None:
            raise InvalidInput(self.column, f"{shown(cell)} stands in {self.column}; {_known(self.values)}")
        return chosen.text(cells)


@dataclass(frozen=True, slots=True)
class First:
    """The first of several values that is not empty; empty where all are."""

    values: tuple[Template | Choice, ...]

    @property
    def columns(self) -> frozenset[str]:
        return frozenset[str]().union(*(value.columns for value in self.values))

    def text(self, cells: Mapping[str, str]) -> str:
        return next(filter(None, (value.text(cells) for value in self.values)), "")


Value = Template | Choice | First


@dataclass(frozen=True, slots=True)
class Plan:
    """A mapping, read: each field's value, and what holds for all rows.

    `cut_over`, of subscribers alone: a date begins at local midnight in each row's zone.
    """

    fields: Mapping[str, Value]
    cut_over: date | datetime | Day | None = None
    kind: Kind = Kind.SUBSCRIBERS
    delimiter: str = ","
    test_mode: bool = False
    trigger: Trigger = Trigger.TIMER

    @property
    def columns(self) -> frozenset[str]:
        return frozenset[str]().union(*(value.columns for value in self.fields.values()))


def shown(text: str) -> str:
    """A value as a message shows it: quoted, and not all of a long one."""
    return repr(text if len(text) <= SHOWN_LENGTH_MAX else f"{text[:SHOWN_LENGTH_MAX]}…")


def read_mapping(data: Mapping[str, Any], kind: Kind = Kind.SUBSCRIBERS) -> Plan:
    """The mapping as the merchant wrote it. Raises `InvalidInput` for what is unknown, missing or malformed."""
    known = FIELDS[kind]
    sections = {path.partition(".")[0] for path in known.of}
    _refuse_unknown(data, sections | known.settings, "mapping")
    fields: dict[str, Value] = {}
    for name in sorted(sections):
        fields.update(_section(name, data, known))
    for one, other in known.either:
        if (one in fields) == (other in fields):
            section, _, key = one.partition(".")
            raise InvalidInput(f"mapping.{section}", f"has either {key} or {other.partition('.')[2]}")
    if "customer.external_id" in known.of:
        fields.setdefault("customer.external_id", fields["external_id"])
    return Plan(
        fields=fields,
        cut_over=_cut_over(_text(data.get("cut_over"), "mapping.cut_over")) if "cut_over" in known.settings else None,
        kind=kind,
        delimiter=_delimiter(data.get("delimiter", ",")),
        test_mode=_flag(data.get("test_mode", False), "mapping.test_mode") if "test_mode" in known.settings else False,
        trigger=_one_of(Trigger, data.get("trigger", Trigger.TIMER.value), "mapping.trigger"),
    )


def own_mapping(kind: Kind) -> Mapping[str, Any]:
    """The mapping of a file that was exported here. Raises `InvalidInput` for a kind whose files need one."""
    if not FIELDS[kind].own:
        raise InvalidInput("mapping", f"is missing; {kind} cannot be read without one")
    return FIELDS[kind].own


def settled_cut_over(plan: Plan, now: datetime) -> str:
    """The cut-over of subscribers as a date or an instant that stays the same from now on.

    Raises `InvalidInput` where it is more than `CUT_OVER_DAYS_AGO_MAX` days ago or too far ahead.
    """
    cut_over = plan.cut_over
    if cut_over is None:
        raise Broken(f"{plan.kind} have no cut-over")
    if isinstance(cut_over, Day):
        zone = plan.fields["zone"]
        today = local_day(now, "UTC" if zone.columns else zone.text({}))
        cut_over = today + timedelta(days=1) if cut_over is Day.TOMORROW else today
    day = cut_over.date() if isinstance(cut_over, datetime) else cut_over
    ahead = (day - now.date()).days
    if not -CUT_OVER_DAYS_AGO_MAX <= ahead <= CUT_OVER_DAYS_AHEAD_MAX:
        rule = f"is at most {CUT_OVER_DAYS_AGO_MAX} days ago and at most {CUT_OVER_DAYS_AHEAD_MAX} days ahead"
        raise InvalidInput("mapping.cut_over", f"{rule}; {day} is not")
    return cut_over.isoformat()


def _section(name: str, data: Mapping[str, Any], known: Fields) -> dict[str, Value]:
    """The fields of one section, or the one field that is no section."""
    place = f"mapping.{name}"
    if name in known.of:
        return {name: _value(data.get(name), place)} if known.of[name] or name in data else {}
    if name in known.sections_optional and name not in data:
        return {}
    section = _keys(data.get(name), place)
    wanted = {path.partition(".")[2]: must for path, must in known.of.items() if path.startswith(f"{name}.")}
    _refuse_unknown(section, wanted, place)
    named = [key for key, must in wanted.items() if must or key in section]
    return {f"{name}.{key}": _value(section.get(key), f"{place}.{key}") for key in named}


def _value(given: Any, place: str) -> Value:
    if isinstance(given, list):
        several = cast("list[Any]", given)
        if not 1 <= len(several) <= LIST_LENGTH_MAX:
            raise InvalidInput(place, f"has 1 to {LIST_LENGTH_MAX} values")
        return First(tuple(_one_value(each, f"{place}.{number}") for number, each in enumerate(several)))
    return _one_value(given, place)


def _one_value(given: Any, place: str) -> Template | Choice:
    if not isinstance(given, Mapping):
        return _template(given, place)
    choice = _keys(given, place)
    _refuse_unknown(choice, {"column", "values"}, place)
    values = _keys(choice.get("values"), f"{place}.values")
    if not 1 <= len(values) <= CHOICES_MAX:
        raise InvalidInput(f"{place}.values", f"has 1 to {CHOICES_MAX} entries")
    column = _text(choice.get("column"), f"{place}.column")
    return Choice(column, {cell.strip(): _template(value, f"{place}.values.{cell}") for cell, value in values.items()})


def _template(given: Any, place: str) -> Template:
    text = str(given) if type(given) is int else _text(given, place, length_min=0)
    tokens = list(_TOKEN.finditer(text))
    if sum(len(token[0]) for token in tokens) != len(text):
        raise InvalidInput(place, "has a brace without its partner; a column is {Name}, a brace itself {{ or }}")
    return Template(tuple(Column(token[1]) if token[1] else _literal(token[0]) for token in tokens))


def _literal(token: str) -> str:
    return token[0] if token in {"{{", "}}"} else token


def _cut_over(text: str) -> date | datetime | Day:
    if text in {Day.TODAY, Day.TOMORROW}:
        return Day(text)
    try:
        if _DATE.fullmatch(text):
            return date.fromisoformat(text)
        instant = datetime.fromisoformat(text)
    except ValueError:
        instant = None
    if instant is None or instant.utcoffset() is None:
        rule = "is today, tomorrow, a date such as 2026-03-01, or an instant with offset such as 2026-03-01T09:00:00Z"
        raise InvalidInput("mapping.cut_over", f"{rule}; {shown(text)} is none")
    return instant.replace(microsecond=0)


def _delimiter(given: Any) -> str:
    if given not in DELIMITERS:
        raise InvalidInput("mapping.delimiter", "is a comma, a semicolon, a tab or a bar")
    return given


def _flag(given: Any, place: str) -> bool:
    if not isinstance(given, bool):
        raise InvalidInput(place, "is true or false")
    return given


def _one_of(choices: type[E], given: Any, place: str) -> E:
    try:
        return choices(given)
    except ValueError:
        raise InvalidInput(place, f"is one of {', '.join(choices)}") from None


def _text(given: Any, place: str, *, length_min: int = 1) -> str:
    if given is None:
        raise InvalidInput(place, "is missing")
    if not isinstance(given, str):
        raise InvalidInput(place, "is a text; put it in quotes")
    if not length_min <= len(given) <= TEXT_LENGTH_MAX:
        raise InvalidInput(place, f"has {length_min} to {TEXT_LENGTH_MAX} characters")
    return given


def _keys(given: Any, place: str) -> Mapping[str, Any]:
    if given is None:
        raise InvalidInput(place, "is missing")
    if not isinstance(given, Mapping) or not all(isinstance(key, str) for key in cast("Mapping[Any, Any]", given)):
        raise InvalidInput(place, "is a list of names with their values, and each name is a text")
    return cast("Mapping[str, Any]", given)


def _refuse_unknown(given: Iterable[str], wanted: Iterable[str], place: str) -> None:
    known = sorted(wanted)
    for key in given:
        if key not in known:
            raise InvalidInput(f"{place}.{key}", f"there is no such key{hint(key, known)}; {_known(known)}")


def hint(name: str, known: Iterable[str]) -> str:
    """The one that was probably meant, or nothing."""
    by_lower = {each.lower(): each for each in known}
    close = difflib.get_close_matches(name.lower(), by_lower, n=1)
    return f" (did you mean {by_lower[close[0]]}?)" if close else ""


def _known(names: Iterable[str]) -> str:
    listed = list(names)
    more = ", …" if len(listed) > CHOICES_SHOWN_MAX else ""
    return f"the mapping knows {', '.join(listed[:CHOICES_SHOWN_MAX])}{more}"
