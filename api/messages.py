"""Messages to customers, as they were sent."""

from __future__ import annotations

from typing import Annotated, Literal

from fastapi import Path, Query

from api.context import ServicesDep
from api.fields import Code, Identifier, Instant, View
from api.paging import Listed, PageQuery, listed
from api.routing import noun
from api.rows import found
from models.queries_billing import MESSAGES, BillingFilter, message, messages

router = noun("messages")
MessageId = Annotated[Identifier, Path(description="Id of the message")]


class MessageView(View):
    """A message. `event_seq` is the line of the subscription's timeline that it tells of."""

    id: str
    customer_id: str
    subscription_id: str | None
    event_seq: int | None
    template: str
    recipient: str
    subject: str
    status: str
    error: str | None
    tries: int
    at: Instant
    sent_at: Instant | None


class MessageDetail(MessageView):
    """A message with its text."""

    body: str


class MessageQuery(PageQuery):
    """Which messages."""

    customer_id: Identifier | None = None
    subscription_id: Identifier | None = None
    status: Literal["pending", "sent", "failed"] | None = None
    template: Code | None = None


@router.get("/messages")
async def list_messages(services: ServicesDep, query: Annotated[MessageQuery, Query()]) -> Listed[MessageView]:
    """List messages, newest first."""
    wanted = BillingFilter(query.customer_id, query.subscription_id, status=query.status)
    async with services.database.session() as session:
        rows = await messages(session, wanted, template=query.template, after=query.after(MESSAGES), limit=query.limit)
        return listed(rows, MESSAGES, MessageView.model_validate)


@router.get("/messages/{message_id}")
async def get_message(message_id: MessageId, services: ServicesDep) -> MessageDetail:
    """Read one message with its text."""
    async with services.database.session() as session:
        return MessageDetail.model_validate(found(await message(session, message_id), "message"))
