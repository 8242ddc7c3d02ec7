"""What the logs keep of a request: the line of a command, and whether something of one customer was shown.

Asked in one place (`api.routing`), for every route: no route can forget it, and none writes a line of its own. A log
holds ids and names of callers, never what was sent or shown. What cannot be logged is not answered.
"""

from __future__ import annotations

import json
import re
from typing import Any, Final, cast

from fastapi import Request
from fastapi.responses import Response
from sqlalchemy import Insert, insert

from api.keys import Caller
from models.logs import AccessLine, ActivityLine

OK_BELOW: Final = 300
CREATED: Final = 201
OWNER: Final = "customer_id"
CUSTOMER_PREFIX: Final = "cus_"

_ID: Final = re.compile(r"[A-Za-z0-9_-]{1,64}")


def of_command(
    request: Request, caller: Caller, command: str, response: Response, *, key: str | None, replayed: bool
) -> Insert:
    """The line of a command, whatever became of it."""
    body = _object(response)
    return insert(ActivityLine).values(
        caller_id=caller.key_id,
        actor=caller.name,
        role=caller.role.value,
        command=command,
        customer_id=_named(request) or _owner(body),
        subject_id=_subject(request),
        created_id=_identity(body.get("id")) if response.status_code == CREATED else None,
        idempotency_key=key,
        status=response.status_code,
        replayed=replayed,
    )


def of_reading(request: Request, caller: Caller, command: str, response: Response) -> Insert | None:
    """The line of a look at one customer, or of a file that was taken; None where nobody was looked at.

    A list shows a customer where it was asked for theirs, or where all it found is of one customer.
    """
    if response.status_code >= OK_BELOW:
        return None
    is_file = not hasattr(response, "body")  # streamed: it may hold anybody
    body = {} if is_file else _object(response)
    customer = _named(request) or _asked(request) or _owner(body) or _only_owner(body)
    if customer is None and not is_file:
        return None
    return insert(AccessLine).values(
        kind="file" if is_file else "customer",
        caller_id=caller.key_id,
        actor=caller.name,
        role=caller.role.value,
        what=command,
        customer_id=customer,
        subject_id=_subject(request),
    )


def _named(request: Request) -> str | None:
    """The customer in the path."""
    return _identity(request.path_params.get(OWNER))


def _asked(request: Request) -> str | None:
    """The customer whose rows a list was asked for."""
    return _identity(request.query_params.get(OWNER))


def _subject(request: Request) -> str | None:
    """What the path names last, besides the customer."""
    named = [value for name, value in request.path_params.items() if name != OWNER]
    return _identity(named[-1]) if named else None


def _owner(body: dict[str, Any]) -> str | None:
    """The customer that a shown object is, or belongs to."""
    itself = _identity(body.get("id"))
    return itself if itself and itself.startswith(CUSTOMER_PREFIX) else _identity(body.get(OWNER))


def _only_owner(body: dict[str, Any]) -> str | None:
    items = body.get("items")
    if not isinstance(items, list) or not items:
        return None
    owners = {_owner(row) for row in cast("list[dict[str, Any]]", items)}
    return owners.pop() if len(owners) == 1 else None


def _identity(value: Any) -> str | None:
    """What is shaped like an id; anything else in its place is nothing to keep."""
    return value if isinstance(value, str) and _ID.fullmatch(value) else None


def _object(response: Response) -> dict[str, Any]:
    """The answer's JSON object; empty for any other answer, a refusal's problem document included."""
    if response.status_code >= OK_BELOW or not response.body or response.media_type != "application/json":
        return {}
    said = json.loads(bytes(response.body))
    return cast("dict[str, Any]", said) if isinstance(said, dict) else {}
