"""Pages of a list: `limit` rows and an opaque `next_cursor`, which is checked before it is used."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Callable
from datetime import datetime
from typing import Annotated, Any, Final, Generic, TypeVar

from pydantic import BaseModel, Field, StringConstraints

from api.fields import Query
from domain.errors import InvalidInput
from models.paging import KeyPart, Keyset, Page

LIMIT_DEFAULT: Final = 50
LIMIT_MAX: Final = 100
CURSOR_LENGTH_MAX: Final = 400
INTEGER_MAX: Final = 2**63 - 1

Shown = TypeVar("Shown")
Row = TypeVar("Row")


class PageQuery(Query):
    """What every list takes."""

    limit: Annotated[int, Field(ge=1, le=LIMIT_MAX)] = LIMIT_DEFAULT
    cursor: Annotated[
        str | None,
        StringConstraints(max_length=CURSOR_LENGTH_MAX),
        Field(description="`next_cursor` of the page before"),
    ] = None

    def after(self, keyset: Keyset) -> tuple[KeyPart, ...] | None:
        """Where this page begins. Raises `InvalidInput` for a cursor that this list never gave."""
        return None if self.cursor is None else _decode(keyset, self.cursor)


class Listed(BaseModel, Generic[Shown]):
    """One page. `next_cursor` is null on the last one."""

    items: list[Shown]
    next_cursor: str | None = None


def listed(found: Page[Row], keyset: Keyset, show: Callable[[Row], Shown]) -> Listed[Shown]:
    cursor = None if found.next is None else cursor_of(keyset, found.next)
    return Listed(items=[show(row) for row in found.rows], next_cursor=cursor)


def cursor_of(keyset: Keyset, key: tuple[KeyPart, ...]) -> str:
    """Where the list of this order goes on after this key."""
    parts = [part.isoformat() if isinstance(part, datetime) else part for part in key]
    return base64.urlsafe_b64encode(json.dumps([keyset.name, *parts], separators=(",", ":")).encode()).decode()


def _decode(keyset: Keyset, cursor: str) -> tuple[KeyPart, ...]:
    try:
        name, *parts = json.loads(base64.b64decode(cursor, altchars=b"-_", validate=True))
        key = tuple(_part(kind, part) for kind, part in zip(keyset.kinds, parts, strict=True))
    except (ValueError, TypeError, RecursionError, binascii.Error):
        name, key = None, ()
    if name != keyset.name:
        raise InvalidInput("cursor", "is not a cursor of this list")
    return key


def _part(kind: type[Any], part: Any) -> KeyPart:
    if kind is datetime:
        moment = datetime.fromisoformat(part)
        if moment.tzinfo is None:
            raise ValueError
        return moment
    if type(part) is not kind or (kind is str and "\0" in part) or (kind is int and abs(part) > INTEGER_MAX):
        raise ValueError
    return part
