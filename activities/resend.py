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
    """Send message `message_id` again as `id`, made from the wish. `at`: when it was wished.

    To whom is not said: addresses stay out of Temporal's histories.
    """

    id: str
    message_id: str
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
                    "actor": request.actor,
                    "at": request.at,
                },
            )
        await self._courier.dispatch([request.id])
        return request.id


# A customer's goes to the address they have now.
# A test subscription's messages are ahead of the wall clock; what is sent again never stands before what it repeats.
_AGAIN = text(
    """
INSERT INTO messages (
    id, customer_id, subscription_id, order_id, event_seq, refund_id, resend_of, requested_by, document_id, audience,
    template, recipient, subject, body, html, language, template_version, template_trouble, status, at
)
SELECT :id, m.customer_id, m.subscription_id, m.order_id, m.event_seq, m.refund_id, m.id, :actor, m.document_id,
    m.audience, m.template, CASE WHEN m.audience = 'customer' THEN coalesce(c.email, m.recipient) ELSE m.recipient END,
    m.subject, m.body, m.html, m.language, m.template_version, m.template_trouble, 'pending',
    greatest(m.at, CAST(:at AS timestamptz))
FROM messages AS m LEFT JOIN customers AS c ON c.id = m.customer_id WHERE m.id = :of
ON CONFLICT DO NOTHING
"""
)
