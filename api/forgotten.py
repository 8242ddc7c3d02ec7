"""Whom a writing request is about, so that nothing is written to a customer who was made anonymous."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import Any, Final, cast

from fastapi import Request

from domain.errors import Forgotten
from models.forgetting import names_forgotten

# Fields of paths, queries and bodies that name a customer, and what leads to one.
CUSTOMERS: Final = ("customer_id", "master_id", "loser_id", "parent_id")
THEIRS: Final = ("subscription_id", "order_id")


async def refuse_forgotten(request: Request, body: bytes) -> None:
    """Raises `Forgotten` where the request names one who was made anonymous, or a subscription or order of theirs."""
    named: dict[str, Any] = {**_object(body), **request.query_params, **request.path_params}
    customers, theirs = _ids(named, CUSTOMERS), _ids(named, THEIRS)
    if not customers and not theirs:
        return
    async with request.app.state.services.database.session() as session:
        if await names_forgotten(session, customers, theirs):
            raise Forgotten


def _object(body: bytes) -> dict[str, Any]:
    """The body's fields; none where it is no JSON object: the route itself says what is wrong with it."""
    if not any(name.encode() in body for name in (*CUSTOMERS, *THEIRS)):
        return {}
    with suppress(ValueError, RecursionError):
        given: Any = json.loads(body)
        if isinstance(given, dict):
            return cast("dict[str, Any]", given)
    return {}


def _ids(named: dict[str, Any], fields: tuple[str, ...]) -> list[str]:
    given = [named[field] for field in fields if field in named]
    return [value for value in given if isinstance(value, str) and "\x00" not in value and value.isprintable()]
