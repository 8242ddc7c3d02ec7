"""Messages to customers and to staff, as they were sent; each can be sent again."""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal

from fastapi import Path, Query
from fastapi.responses import Response
from pydantic import Field

from api.context import CallerDep, OnceDep, Services, ServicesDep
from api.fields import Code, Identifier, Instant, View
from api.paging import Listed, PageQuery, listed
from api.routing import noun
from api.rows import found
from domain.errors import NotFound, Refused
from models import Document
from models.queries_billing import MESSAGES, BillingFilter, message, messages
from models.queries_customers import customer
from models.queries_inbound import received

PENDING: Final = "pending"
CUSTOMER: Final = "customer"
SENT: Final = "sent"
_PDF: Final[dict[int | str, dict[str, Any]]] = {
    200: {"content": {"application/pdf": {"schema": {"type": "string", "format": "binary"}}}, "description": "PDF/A"}
}

router = noun("messages")
MessageId = Annotated[Identifier, Path(description="Id of the message")]


class MessageView(View):
    """A message. `event_seq` is the line of the subscription's timeline that it tells of.

    One that was sent again names the message it repeats (`resend_of`) and who wished it (`requested_by`).
    """

    id: str
    customer_id: str | None = Field(description="null: to staff, about no customer")
    subscription_id: str | None
    order_id: str | None
    event_seq: int | None
    refund_id: str | None
    resend_of: str | None
    requested_by: str | None
    document_id: str | None = Field(description="The file that went with it; read it at `/v1/messages/{id}/file`")
    direction: str = Field(description="`sent` or `received`")
    sender: str | None = Field(description="Of a received one: the address it says it is from")
    reply_to: str | None = Field(description="Of a received one: the message it answers")
    language: str | None
    template_version: int | None = Field(description="Of `template` in `language`; 0 came with Dunlin")
    template_trouble: str | None = Field(description="Why the built-in words stood in for the merchant's own")
    audience: str
    template: str
    recipient: str
    subject: str
    status: str
    error: str | None
    tries: int
    at: Instant
    sent_at: Instant | None


class ReceivedPart(View):
    """What a received mail is, and by what it was put where it is: the message it answers, its address, a person."""

    kind: str = Field(description="`mail`, `auto_reply` or `bounce`")
    matched_by: str | None = Field(description="`message`, `address`, `person`; null: it is nobody's yet")
    why: str


class MessageDetail(MessageView):
    """A message with its words. `html` goes beside the text; show it in a frame that runs nothing."""

    body: str
    html: str | None
    received: ReceivedPart | None = Field(default=None, description="Of a received one: why it is on this page")


class MessageQuery(PageQuery):
    """Which messages."""

    customer_id: Identifier | None = None
    subscription_id: Identifier | None = None
    refund_id: Identifier | None = None
    status: Literal["pending", "sent", "refused", "overtaken", "bounced", "received"] | None = None
    template: Code | None = None
    audience: Literal["customer", "staff"] | None = None
    direction: Literal["sent", "received"] | None = None


@router.get("/messages")
async def list_messages(services: ServicesDep, query: Annotated[MessageQuery, Query()]) -> Listed[MessageView]:
    """List messages, newest first."""
    wanted = BillingFilter(query.customer_id, query.subscription_id, status=query.status)
    async with services.database.session() as session:
        rows = await messages(
            session,
            wanted,
            template=query.template,
            refund_id=query.refund_id,
            audience=query.audience,
            direction=query.direction,
            after=query.after(MESSAGES),
            limit=query.limit,
        )
        return listed(rows, MESSAGES, MessageView.model_validate)


@router.get("/messages/{message_id}")
async def get_message(message_id: MessageId, services: ServicesDep) -> MessageDetail:
    """Read one message with its text."""
    return await _detail(services, message_id)


@router.get("/messages/{message_id}/file", response_class=Response, responses=_PDF)
async def get_message_file(message_id: MessageId, services: ServicesDep) -> Response:
    """Read the file that went with a message, byte for byte as it was sent."""
    async with services.database.session() as session:
        row = found(await message(session, message_id), "message")
        kept = await session.get(Document, row.document_id) if row.document_id is not None else None
    if kept is None:
        raise NotFound("No file went with this message.")
    headers = {"Content-Disposition": f'attachment; filename="{kept.name}"'}
    return Response(kept.content, media_type="application/pdf", headers=headers)


@router.post("/messages/{message_id}/resend", status_code=201)
async def resend_message(
    message_id: MessageId, services: ServicesDep, once: OnceDep, caller: CallerDep
) -> MessageDetail:
    """Send a message again, as a new one: a customer's to the address they have now. One on its way is refused."""
    new_id = once.id("msg")
    async with services.database.session() as session:
        row = found(await message(session, message_id), "message")
        reader = None
        if row.customer_id is not None:
            reader = found(await customer(session, row.customer_id), "customer")
    if row.direction != SENT:
        raise Refused("not_sent", "This message was received; there is nothing of ours to send again.")
    if row.status == PENDING:
        raise Refused("not_sent_yet", "This message is still on its way: it is tried for three days by itself.")
    recipient = reader.email if reader is not None and row.audience == CUSTOMER else row.recipient
    if not recipient:
        raise Refused("no_address", "This customer has no email address; give one and send the message again.")
    await services.commands.messages.resend(new_id, message_id, actor=caller.name)
    return await _detail(services, new_id)


async def _detail(services: Services, message_id: str) -> MessageDetail:
    async with services.database.session() as session:
        view = MessageDetail.model_validate(found(await message(session, message_id), "message"))
        if view.direction == SENT:
            return view
        kept = await received(session, message_id)
        return view.model_copy(update={"received": ReceivedPart.model_validate(kept) if kept else None})
