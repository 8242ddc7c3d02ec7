"""Mail that customers write: handed in raw, once, put on their page or listed for a person."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Final

from fastapi import Query, Request
from fastapi.responses import Response
from pydantic import ConfigDict, Field

from api.context import CallerDep, ServicesDep
from api.fields import Body, Identifier, View
from api.messages import MessageDetail, MessageId, MessageView
from api.paging import Listed, PageQuery, listed
from api.routing import Route, noun
from api.rows import found, known
from domain.errors import NotFound, Refused
from domain.inbound import RAW_BYTES_MAX
from models import Message
from models.queries_billing import MESSAGES, message
from models.queries_customers import customer
from models.queries_inbound import by_person, receive, received, unplaced
from providers.inbound.mail import read

RECEIVED: Final = "received"
_RAW: Final[dict[str, Any]] = {
    "requestBody": {
        "required": True,
        "content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}},
        "description": f"The mail as it came, at most {RAW_BYTES_MAX} bytes",
    }
}
_MAIL: Final[dict[int | str, dict[str, Any]]] = {
    200: {
        "content": {"message/rfc822": {"schema": {"type": "string", "format": "binary"}}},
        "description": "As it came",
    }
}


class MailRoute(Route):
    """For a mail in a body."""

    body_bytes_max: ClassVar[int] = RAW_BYTES_MAX


router = noun("inbound-mail", route_class=MailRoute)


class ReceivedView(View):
    """A mail that came in. `why` says why it is where it is; without a customer it waits for a person."""

    id: str
    new: bool = Field(description="False: it was here already")
    customer_id: str | None
    kind: str = Field(description="`mail`, `auto_reply` or `bounce`")
    matched_by: str | None = Field(
        description="`message`: it answers one of ours; `address`; `person`; null: nobody's yet"
    )
    why: str
    reply_to: str | None


class AssignBody(Body):
    """Whose mail it is."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"customer_id": "cus_4XWZ2K7Q"}]})

    customer_id: Identifier


@router.post("/inbound-mail", status_code=201, openapi_extra=_RAW)
async def hand_in_mail(request: Request, services: ServicesDep) -> ReceivedView:
    """Hand in a mail as a mail server has it (RFC 5322). The same mail again, by its Message-ID, is kept once."""
    raw = await request.body()
    mail = read(raw)
    async with services.database.session() as session:
        new = await receive(session, mail, raw)
        return await _shown(session, mail.identity, new=new)


@router.get("/inbound-mail/unplaced")
async def list_unplaced_mail(services: ServicesDep, query: Annotated[PageQuery, Query()]) -> Listed[MessageView]:
    """Mail of which nothing says whose it is, newest first; a person puts it where it belongs."""
    async with services.database.session() as session:
        rows = await unplaced(session, after=query.after(MESSAGES), limit=query.limit)
        return listed(rows, MESSAGES, MessageView.model_validate)


@router.get("/inbound-mail/{message_id}/raw", response_class=Response, responses=_MAIL)
async def get_raw_mail(message_id: MessageId, services: ServicesDep) -> Response:
    """The mail byte for byte as it came, attachments included. It was written by a stranger: open it with care."""
    async with services.database.session() as session:
        kept = found(await received(session, message_id), "received mail")
    headers = {"Content-Disposition": f'attachment; filename="{message_id}.eml"', "X-Content-Type-Options": "nosniff"}
    return Response(kept.raw, media_type="message/rfc822", headers=headers)


@router.post("/inbound-mail/{message_id}/assign")
async def assign_mail(
    message_id: MessageId, body: AssignBody, services: ServicesDep, caller: CallerDep
) -> MessageDetail:
    """Put a received mail on a customer's page: one that nobody's was, or one that is on the wrong page."""
    async with services.database.session() as session:
        row: Message = found(await message(session, message_id), "message")
        if row.direction != RECEIVED:
            raise Refused("not_received", "This message was sent by us: it is on the page of whom it went to.")
        kept = found(await received(session, message_id), "received mail")
        known(await customer(session, body.customer_id), "customer_id", "customer")
        where = by_person(caller.name)
        row.customer_id, row.subscription_id = body.customer_id, None
        kept.matched_by, kept.why = where.matched_by, where.why
        await session.flush()
        return MessageDetail.model_validate(row)


async def _shown(session: Any, message_id: str, *, new: bool) -> ReceivedView:
    row, kept = await message(session, message_id), await received(session, message_id)
    if row is None or kept is None:
        raise NotFound("There is no such received mail.")
    return ReceivedView(
        id=row.id,
        new=new,
        customer_id=row.customer_id,
        kind=kept.kind,
        matched_by=kept.matched_by,
        why=kept.why,
        reply_to=row.reply_to,
    )
