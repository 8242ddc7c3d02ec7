"""From the wish to write to a customer to a message on its way: composed where it is sent, once."""

from __future__ import annotations

from sqlalchemy import text
from temporalio import activity

from activities.courier import Courier
from activities.letters import columns_of
from activities.outbox import NewMessage, put
from domain.errors import Broken
from domain.letters import Reader
from models.queries_letters import letter_set
from models.session import Database
from providers.letters.desk import compose


class StaffLetters:
    """The activity behind the door `workflows.message_commands`. Its input is an id: no word of a letter travels."""

    def __init__(self, database: Database, courier: Courier) -> None:
        self._database = database
        self._courier = courier

    @activity.defn(name="write_staff_letter")
    async def write_staff_letter(self, letter_id: str) -> str:
        """Write the message's row once and see to its sending; returns its id. Safe to repeat at any point."""
        async with self._database.begin() as connection:
            row = (await connection.execute(_WISH, {"id": letter_id})).one_or_none()
            if row is None:
                raise Broken(f"letter {letter_id} is missing")
            name = " ".join(part for part in (row.first_name, row.last_name) if part) or row.company
            reader = Reader(name, row.email, row.language, row.time_zone, row.first_name, row.last_name, row.company)
            facts = {**row.values, "agent": row.actor}
            letter = compose(await letter_set(connection), row.template, facts, reader)
            message = NewMessage(
                id=row.id,
                customer_id=row.customer_id,
                recipient=row.email,
                at=row.at.replace(microsecond=0),
                **columns_of(letter),
            )
            await put(connection, message)
        await self._courier.dispatch([letter_id])
        return letter_id


_WISH = text(
    """
SELECT l.id, l.customer_id, l.template, l."values", l.actor, l.at, c.email, c.first_name, c.last_name, c.company,
    c.language, c.time_zone
FROM staff_letters AS l JOIN customers AS c ON c.id = l.customer_id WHERE l.id = :id
"""
)
