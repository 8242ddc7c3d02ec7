"""The one language of filters over customers: a small JSON tree, checked here before anything is asked of a database.

A filter is one of

* `{"all": [filter, …]}`, `{"any": [filter, …]}`, `{"not": filter}`;
* `{"field": name, "op": operation, "value": value}`: a rule over the customer;
* `{"subscription": filter}`: the customer has a subscription, live and not in test mode, that meets all of it; its
  rules name the fields of a subscription.

A field without a value meets no rule but `ne`, and `is_set` with false; `not` turns round whatever its filter says.
"""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from enum import StrEnum
from types import MappingProxyType
from typing import Any, Final

from domain.custom_fields import Definition, FieldType
from domain.errors import InvalidInput

DEPTH_MAX: Final = 8
RULES_MAX: Final = 100
VALUES_MAX: Final = 100
TEXT_LENGTH_MAX: Final = 200
NUMBER_MAX: Final = 10**15
CUSTOM: Final = "custom."


class Kind(StrEnum):
    """What a field holds."""

    TEXT = "text"
    NUMBER = "number"
    INSTANT = "instant"
    DATE = "date"
    YES_NO = "yes_no"
    SET = "set"  # any number of texts


class Op(StrEnum):
    """What is asked of a field."""

    EQ = "eq"
    NE = "ne"
    LT = "lt"
    LE = "le"
    GT = "gt"
    GE = "ge"
    IN = "in"
    CONTAINS = "contains"
    STARTS_WITH = "starts_with"
    HAS = "has"
    HAS_ANY = "has_any"
    HAS_ALL = "has_all"
    IS_SET = "is_set"


_ORDER: Final = (Op.LT, Op.LE, Op.GT, Op.GE)
OPS: Final[Mapping[Kind, tuple[Op, ...]]] = MappingProxyType(
    {
        Kind.TEXT: (Op.EQ, Op.NE, Op.IN, Op.CONTAINS, Op.STARTS_WITH, Op.IS_SET),
        Kind.NUMBER: (Op.EQ, Op.NE, *_ORDER, Op.IN, Op.IS_SET),
        Kind.INSTANT: (*_ORDER, Op.IS_SET),
        Kind.DATE: (Op.EQ, Op.NE, *_ORDER, Op.IS_SET),
        Kind.YES_NO: (Op.EQ, Op.IS_SET),
        Kind.SET: (Op.HAS, Op.HAS_ANY, Op.HAS_ALL, Op.IS_SET),
    }
)
LISTS: Final = frozenset({Op.IN, Op.HAS_ANY, Op.HAS_ALL})

_TEXTS: Final = (
    "id", "external_id", "title", "first_name", "last_name", "company", "email", "phone", "gender", "language",
    "time_zone", "currency", "tax_status", "tax_id", "agent",
)  # fmt: skip
CUSTOMER_FIELDS: Final[Mapping[str, Kind]] = MappingProxyType(
    {
        **dict.fromkeys(_TEXTS, Kind.TEXT),
        "created_at": Kind.INSTANT,
        "notice_days": Kind.NUMBER,
        "tags": Kind.SET,
        "country": Kind.SET,
        "overdue": Kind.NUMBER,
    }
)
SUBSCRIPTION_FIELDS: Final[Mapping[str, Kind]] = MappingProxyType(
    {
        "status": Kind.TEXT,
        "product_id": Kind.TEXT,
        "price_id": Kind.TEXT,
        "currency": Kind.TEXT,
        "amount": Kind.NUMBER,
        "quantity": Kind.NUMBER,
        "cycle": Kind.NUMBER,
        "created_at": Kind.INSTANT,
        "next_due_at": Kind.INSTANT,
    }
)
_CUSTOM_KINDS: Final[Mapping[FieldType, Kind]] = MappingProxyType(
    {
        FieldType.TEXT: Kind.TEXT,
        FieldType.NUMBER: Kind.NUMBER,
        FieldType.DATE: Kind.DATE,
        FieldType.CHOICE: Kind.TEXT,
        FieldType.YES_NO: Kind.YES_NO,
    }
)
_RFC3339: Final = re.compile(r"\d{4}-\d{2}-\d{2}[Tt]\d{2}:\d{2}:\d{2}(\.\d{1,6})?([Zz]|[+-]\d{2}:\d{2})", re.ASCII)
_DATE: Final = re.compile(r"\d{4}-\d{2}-\d{2}", re.ASCII)

Operand = str | int | float | bool | datetime | tuple[str | int | float, ...]


@dataclass(frozen=True, slots=True)
class Rule:
    """One question. `kind` is the field's; a date is its ISO text, a moment is in UTC, a list is a tuple."""

    field: str
    kind: Kind
    op: Op
    value: Operand


@dataclass(frozen=True, slots=True)
class Every:
    """All of these hold; true where there are none."""

    parts: tuple[Filter, ...]


@dataclass(frozen=True, slots=True)
class Some:
    """At least one of these holds; false where there are none."""

    parts: tuple[Filter, ...]


@dataclass(frozen=True, slots=True)
class Not:
    """The opposite of this one."""

    part: Filter


@dataclass(frozen=True, slots=True)
class HasSubscription:
    """One subscription of the customer's meets all of it."""

    part: Filter


Filter = Rule | Every | Some | Not | HasSubscription


def parse(tree: object, custom: Mapping[str, Definition]) -> Filter:
    """The filter of a JSON tree. `custom` has the custom fields of customers by key, archived ones too.

    Raises `InvalidInput` whose field is the path of what is wrong, such as `filter.all.0.op`.
    """
    fields = CUSTOMER_FIELDS | {f"{CUSTOM}{key}": _CUSTOM_KINDS[each.type] for key, each in custom.items()}
    return _Parser(fields).filter(tree, "filter", 1)


class _Parser:
    """One walk over one tree, counting its rules."""

    def __init__(self, fields: Mapping[str, Kind]) -> None:
        self.fields = fields
        self.rules = 0

    def filter(self, tree: object, path: str, depth: int) -> Filter:
        if depth > DEPTH_MAX:
            raise InvalidInput(path, f"is nested deeper than {DEPTH_MAX}")
        given = _mapping(tree, path)
        match sorted(given):
            case ["all"]:
                return Every(self._parts(given["all"], f"{path}.all", depth))
            case ["any"]:
                return Some(self._parts(given["any"], f"{path}.any", depth))
            case ["not"]:
                return Not(self.filter(given["not"], f"{path}.not", depth + 1))
            case ["subscription"]:
                return self._subscription(given["subscription"], f"{path}.subscription", depth)
            case ["field", "op", "value"]:
                return self._rule(given, path)
            case _:
                raise InvalidInput(path, "is all, any, not or subscription, or has just field, op and value")

    def _parts(self, trees: object, path: str, depth: int) -> tuple[Filter, ...]:
        parts = _items(trees)
        if parts is None:
            raise InvalidInput(path, "is a list of filters")
        if len(parts) > RULES_MAX:
            raise InvalidInput(path, f"has at most {RULES_MAX} filters")
        return tuple(self.filter(each, f"{path}.{index}", depth + 1) for index, each in enumerate(parts))

    def _subscription(self, tree: object, path: str, depth: int) -> Filter:
        if self.fields is SUBSCRIPTION_FIELDS:
            raise InvalidInput(path, "a subscription has no subscriptions")
        inner = _Parser(SUBSCRIPTION_FIELDS)
        inner.rules = self.rules
        part = inner.filter(tree, path, depth + 1)
        self.rules = inner.rules
        return HasSubscription(part)

    def _rule(self, given: Mapping[str, Any], path: str) -> Rule:
        self.rules += 1
        if self.rules > RULES_MAX:
            raise InvalidInput(path, f"a filter has at most {RULES_MAX} rules")
        name = given["field"]
        kind = self.fields.get(name) if isinstance(name, str) else None
        if kind is None:
            raise InvalidInput(f"{path}.field", f"is one of {', '.join(sorted(self.fields))}")
        if given["op"] not in OPS[kind]:
            raise InvalidInput(f"{path}.op", f"is one of {', '.join(OPS[kind])} for a field of this kind ({kind})")
        op = Op(given["op"])
        return Rule(name, kind, op, _operand(kind, op, given["value"], f"{path}.value"))


def _mapping(tree: object, path: str) -> Mapping[str, Any]:
    if not isinstance(tree, dict):
        raise InvalidInput(path, "is an object")
    return tree  # pyright: ignore[reportUnknownVariableType] - JSON has only text for keys


def _items(value: object) -> list[Any] | None:
    return value if isinstance(value, list) else None  # pyright: ignore[reportUnknownVariableType] - of anything


def _operand(kind: Kind, op: Op, value: Any, path: str) -> Operand:
    if op is Op.IS_SET:
        return _yes_no(value, path)
    if op not in LISTS:
        return _single(kind, value, path)
    many = _items(value)
    if many is None or not 1 <= len(many) <= VALUES_MAX:
        raise InvalidInput(path, f"is a list of 1 to {VALUES_MAX} values")
    read = _number if kind is Kind.NUMBER else _text
    return tuple(read(each, f"{path}.{index}") for index, each in enumerate(many))


def _single(kind: Kind, value: Any, path: str) -> Operand:
    match kind:
        case Kind.TEXT | Kind.SET:
            return _text(value, path)
        case Kind.NUMBER:
            return _number(value, path)
        case Kind.INSTANT:
            return _instant(value, path)
        case Kind.DATE:
            return _date(value, path)
        case Kind.YES_NO:
            return _yes_no(value, path)


def _text(value: Any, path: str) -> str:
    if not isinstance(value, str) or not 1 <= len(value) <= TEXT_LENGTH_MAX:
        raise InvalidInput(path, f"is a text of 1 to {TEXT_LENGTH_MAX} characters")
    if any(unicodedata.category(each) in {"Cc", "Cs", "Zl", "Zp"} for each in value):
        raise InvalidInput(path, "is one line without control characters")
    return value


def _number(value: Any, path: str) -> int | float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise InvalidInput(path, "is a number")
    if abs(value) > NUMBER_MAX:
        raise InvalidInput(path, f"is at most {NUMBER_MAX:,}")
    return value


def _yes_no(value: Any, path: str) -> bool:
    if not isinstance(value, bool):
        raise InvalidInput(path, "is true or false")
    return value


def _date(value: Any, path: str) -> str:
    if isinstance(value, str) and _DATE.fullmatch(value):
        try:
            return date.fromisoformat(value).isoformat()
        except ValueError:
            pass  # told below, as for any other text
    raise InvalidInput(path, "is a date, such as 2027-01-31")


def _instant(value: Any, path: str) -> datetime:
    if isinstance(value, str) and _RFC3339.fullmatch(value):
        try:
            return datetime.fromisoformat(value.upper()).astimezone(UTC)
        except (ValueError, OverflowError):
            pass  # told below, as for any other text
    raise InvalidInput(path, "is an RFC 3339 time with offset, such as 2027-01-31T09:00:00Z")
