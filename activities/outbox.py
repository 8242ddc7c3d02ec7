"""Rows of messages that are not told by a subscription's timeline: confirmations of refunds, notices to staff."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection


@dataclass(frozen=True, slots=True)
class NewMessage:
    """A message to send once. `id` is made from the event it tells. Audience: `customer` or `staff`.

    One to staff need not be about a customer.
    """

    id: str
    customer_id: str | None
    template: str
    recipient: str
    subject: str
    body: str
    at: datetime
    subscription_id: str | None = None
    order_id: str | None = None
    refund_id: str | None = None
    resend_of: str | None = None
    requested_by: str | None = None
    document_id: str | None = None
    audience: str = "customer"
    html: str | None = None
    language: str | None = None
    template_version: int | None = None
    template_trouble: str | None = None


async def put(connection: AsyncConnection, message: NewMessage) -> str:
    """Write its row, once; dispatch it with a `Courier` after the commit. Returns its id."""
    await connection.execute(
        _PUT,
        {
            "id": message.id,
            "customer": message.customer_id,
            "subscription": message.subscription_id,
            "order": message.order_id,
            "refund": message.refund_id,
            "resend_of": message.resend_of,
            "requested_by": message.requested_by,
            "document": message.document_id,
            "audience": message.audience,
            "template": message.template,
            "recipient": message.recipient,
            "subject": message.subject,
            "body": message.body,
            "html": message.html,
            "language": message.language,
            "template_version": message.template_version,
            "template_trouble": message.template_trouble,
            "at": message.at,
        },
    )
    return message.id


_PUT = text(
    """
INSERT INTO messages (
    id, customer_id, subscription_id, order_id, refund_id, resend_of, requested_by, document_id, audience, template,
    recipient, subject, body, html, language, template_version, template_trouble, status, at
) VALUES (
    :id, :customer, :subscription, :order, :refund, :resend_of, :requested_by, :document, :audience, :template,
    :recipient, :subject, :body, :html, :language, :template_version, :template_trouble, 'pending', :at
) ON CONFLICT DO NOTHING
"""
)
