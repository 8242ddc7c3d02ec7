"""Writing the journal to the books when no money moves."""

from __future__ import annotations

from temporalio import activity

from activities.alive import alive
from activities.books import payer, write_books
from activities.courier import Courier
from activities.payments import StepRequest
from domain.facts import Recorded
from domain.links import NO_LINKS, LinkMaker
from models.session import Database


class Records:
    """Activities that only write."""

    def __init__(self, database: Database, courier: Courier, links: LinkMaker = NO_LINKS) -> None:
        self._links = links
        self._database = database
        self._courier = courier

    @activity.defn(name="record")
    @alive
    async def record(self, request: StepRequest) -> Recorded:
        """Write all entries of the journal; safe to repeat."""
        state = request.state
        async with self._database.begin() as connection:
            to = await payer(connection, state.customer_id, self._links)
            messages = await write_books(connection, state, state.journal, to, request.now)
        await self._courier.dispatch(messages)
        return Recorded(state.seq)
