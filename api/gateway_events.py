"""What gateways tell us: an event is believed for its signature, and answered once it is safe."""

from __future__ import annotations

import json
from typing import Annotated, ClassVar, Final

import structlog
from fastapi import APIRouter, Path, Request
from pydantic import BaseModel

from api.context import ServicesDep
from api.errors import Unauthorized
from api.fields import Code
from api.routing import PROBLEMS, Edge
from domain.errors import InvalidInput, NotFound
from providers.gateways.base import BadSignature, GatewayNotice
from workflows.commands import GatewayEventRequest

EVENT_BYTES_MAX: Final = 64 * 1024
NAME_LENGTH_MAX: Final = 200

_log = structlog.get_logger(__name__)


class SignedRoute(Edge):
    """The signature stands in place of a key, and the event's own id in place of an idempotency key."""

    body_bytes_max: ClassVar[int] = EVENT_BYTES_MAX


router = APIRouter(
    tags=["gateway events"],
    route_class=SignedRoute,
    responses={
        **{status: PROBLEMS[status] for status in (404, 422, 500, 503)},
        401: PROBLEMS[401] | {"description": "Not signed by this gateway, changed on its way, or too old"},
    },
)


class EventTaken(BaseModel):
    """The event is safe; what it says is being done."""

    event_id: str


@router.post(
    "/gateway-events/{gateway}",
    status_code=202,
    openapi_extra={
        "requestBody": {
            "required": True,
            "content": {
                "application/json": {
                    "schema": {"type": "object"},
                    "example": {"type": "dispute.opened", "timestamp": "2027-03-05T14:00:00Z", "data": {}},
                }
            },
        }
    },
)
async def take_gateway_event(
    gateway: Annotated[Code, Path(description="Name of the gateway")], request: Request, services: ServicesDep
) -> EventTaken:
    """Take an event that a gateway has signed (Standard Webhooks, at most five minutes old). Needs no key.

    Gateways know nothing of an `Idempotency-Key`: an event has an id, and the same event again changes nothing. Any
    answer but a 2xx means that the event is not safe here and is to be sent again.
    """
    sender = services.gateways.get(gateway)
    if sender is None:
        raise NotFound("There is no such gateway here.")
    try:
        notice = sender.read_event(await request.body(), request.headers)
    except BadSignature as bad:
        _log.warning("bad_signature", gateway=gateway, why=str(bad))
        raise Unauthorized(
            "This is no event signed by the gateway within the last minutes.", code="bad_signature"
        ) from bad
    _refuse_what_cannot_be_kept(notice)
    await services.commands.take_gateway_event(
        GatewayEventRequest(gateway, notice.event_id, notice.kind, notice.at, dict(notice.data))
    )
    return EventTaken(event_id=notice.event_id)


def _refuse_what_cannot_be_kept(notice: GatewayNotice) -> None:
    """JSON may say more than a database can hold: NUL, half a surrogate pair, numbers without end."""
    for field, name in (("webhook-id", notice.event_id), ("type", notice.kind)):
        if not 1 <= len(name) <= NAME_LENGTH_MAX or not all("!" <= character <= "~" for character in name):
            raise InvalidInput(field, f"is 1 to {NAME_LENGTH_MAX} visible ASCII characters")
    if notice.at.tzinfo is None:
        raise InvalidInput("timestamp", "needs an offset")
    try:
        written = json.dumps(notice.data, ensure_ascii=False, allow_nan=False).encode()
    except ValueError:
        raise InvalidInput("data", "holds text or numbers that cannot be kept") from None
    if b"\\u0000" in written:
        raise InvalidInput("data", "holds a NUL character")
