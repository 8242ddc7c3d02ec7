"""What a fulfilment provider tells us: an event is believed for its signature, and answered once it is in the books."""

from __future__ import annotations

import json
from datetime import UTC
from typing import Any, ClassVar, Final

import structlog
from fastapi import APIRouter, Request
from pydantic import BaseModel

from api.context import ServicesDep
from api.errors import Unauthorized
from api.routing import PROBLEMS, Edge
from domain.errors import InvalidInput, NotFound
from domain.fulfilment import Heard
from providers.fulfilment.base import BadNotice, Notice
from workflows.commands import ParcelWord

EVENT_BYTES_MAX: Final = 64 * 1024
TEXT_LENGTH_MAX: Final = 200
KIND_PREFIX: Final = "shipment."

_log = structlog.get_logger(__name__)


class SignedRoute(Edge):
    """The signature stands in place of a key, and what an event says in place of an idempotency key."""

    body_bytes_max: ClassVar[int] = EVENT_BYTES_MAX


router = APIRouter(
    tags=["fulfilments"],
    route_class=SignedRoute,
    responses={
        **{status: PROBLEMS[status] for status in (404, 422, 500, 503)},
        401: PROBLEMS[401] | {"description": "Not signed by the provider, changed on its way, or too old"},
    },
)


class ParcelHeard(BaseModel):
    """What came of it: `ignored` (no event that is acted upon), `nothing new`, or the status it has now."""

    event_id: str
    outcome: str


@router.post(
    "/fulfilment-events",
    openapi_extra={
        "requestBody": {
            "required": True,
            "content": {
                "application/json": {
                    "schema": {"type": "object"},
                    "example": {
                        "type": "shipment.shipped",
                        "timestamp": "2027-03-05T14:00:00Z",
                        "data": {
                            "fulfilment_id": "ful_k3jq5xw2m4",
                            "carrier": "DHL",
                            "tracking": "00340434161094042557",
                        },
                    },
                }
            },
        }
    },
)
async def take_fulfilment_event(request: Request, services: ServicesDep) -> ParcelHeard:
    """Take an event that the fulfilment provider has signed (Standard Webhooks, at most five minutes old).

    Needs no key. Any answer but a 2xx means that it is not in the books and is to be sent again; twice and in another
    order it ends the same.
    """
    if services.shipper is None:
        raise NotFound("There is no fulfilment provider here that sends events.")
    try:
        notice = services.shipper.read_event(await request.body(), request.headers)
    except BadNotice as bad:
        _log.warning("bad_signature", provider=services.shipper.name, why=str(bad))
        raise Unauthorized(
            "This is no event signed by the fulfilment provider within the last minutes.", code="bad_signature"
        ) from bad
    if not notice.kind.startswith(KIND_PREFIX) or notice.kind.removeprefix(KIND_PREFIX) not in set(Heard):
        return ParcelHeard(event_id=_shown(notice.event_id), outcome="ignored")
    word = _word(notice, services.shipper.name)
    digest = json.dumps([notice.event_id, word.fulfilment_id, word.what, word.at.isoformat(), word.tracking])
    outcome = await services.commands.fulfilments.hear(word, digest)
    if outcome == "unknown":
        raise InvalidInput("data.fulfilment_id", "there is no such fulfilment", code="unknown_reference")
    return ParcelHeard(event_id=_shown(notice.event_id), outcome=outcome)


def _word(notice: Notice, actor: str) -> ParcelWord:
    if notice.at.tzinfo is None:
        raise InvalidInput("timestamp", "needs an offset")
    return ParcelWord(
        fulfilment_id=_text(notice.data, "fulfilment_id", least=1),
        what=Heard(notice.kind.removeprefix(KIND_PREFIX)),
        at=notice.at.astimezone(UTC).replace(microsecond=0),
        actor=actor,
        carrier=_text(notice.data, "carrier"),
        tracking=_text(notice.data, "tracking"),
    )


def _text(data: Any, name: str, *, least: int = 0) -> str:
    value = data.get(name, "") or ""
    if not isinstance(value, str) or not least <= len(value) <= TEXT_LENGTH_MAX or not value.isprintable():
        raise InvalidInput(f"data.{name}", f"is {least} to {TEXT_LENGTH_MAX} printable characters")
    return value


def _shown(event_id: str) -> str:
    return event_id[:TEXT_LENGTH_MAX]
