"""A message sent again: the same words under a new id, so both sendings stay in the log."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import text
from temporalio import activity

from activities.courier import Courier
from models.session import Database


@dataclass(frozen=True, slots=True)
class ResendRequest:
    """Send message `message_id` again as `id`, made from the wish, to `recipient`. `at`: when it was wished."""

    id: str
    message_id: str
    recipient: str
    actor: str
    at: datetime


class Resends:
    """The activity behind the door `workflows.message_commands`."""

    def __init__(self, database: Database, courier: Courier) -> None:
        self._database = database
        self._courier = courier

    @activity.defn(name="resend_message")
    async def resend_message(self, request: ResendRequest) -> str:
        """Write the new row once and see to its sending; returns its id. Safe to repeat at any point."""
        async with self._database.begin() as connection:
            await connection.execute(
                _AGAIN,
                {
                    "id": request.id,
                    "of": request.message_id,
                    "recipient": request.recipient,
                    "actor": request.actor,
                    "at": request.at,
                },
            )
        await self._courier.dispatch([request.id])
        return request.id


# A test subscription's messages are ahead of the wall clock; what is sent again never stands before what it repeats.
_AGAIN = text(
    """
INSERT INTO messages (
    id, customer_id, subscription_id, order_id, event_seq, refund_id, resend_of, requested_by, document_id, audience,
    template, recipient, subject, body, html, language, template_version, template_trouble, status, at
)
SELECT :id, customer_id, subscription_id, order_id, event_seq, refund_id, id, :actor, document_id, audience, template,
    :recipient, subject, body, html, language, template_version, template_trouble, 'pending',
    greatest(at, CAST(:at AS timestamptz))
FROM messages WHERE id = :of
ON CONFLICT DO NOTHING
"""
)
