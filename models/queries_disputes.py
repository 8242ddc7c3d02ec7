"""Reads of disputes and of the events they were made from."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from models.disputes import Dispute, GatewayEvent
from models.paging import KeyPart, Keyset, Page, page

DISPUTES: Final = Keyset("disputes", (Dispute.opened_at, Dispute.id))
EVENTS_SHOWN_MAX: Final = 100


async def dispute(session: AsyncSession, dispute_id: str) -> Dispute | None:
    return await session.get(Dispute, dispute_id)


async def disputes(
    session: AsyncSession,
    *,
    status: str | None,
    customer_id: str | None,
    charge_id: str | None,
    test_mode: bool | None,
    after: tuple[KeyPart, ...] | None,
    limit: int,
) -> Page[Dispute]:
    """Newest first; None does not ask."""
    statement = select(Dispute)
    same = {
        Dispute.status: status,
        Dispute.customer_id: customer_id,
        Dispute.attempt_id: charge_id,
        Dispute.test_mode: test_mode,
    }
    for column, value in same.items():
        if value is not None:
            statement = statement.where(column == value)
    return await page(session, statement, DISPUTES, after=after, limit=limit)


async def events_of(session: AsyncSession, dispute_id: str) -> Sequence[GatewayEvent]:
    """What was heard of a dispute, in the order it came in; of very many the first."""
    statement = (
        select(GatewayEvent)
        .where(GatewayEvent.subject_id == dispute_id)
        .order_by(GatewayEvent.received_at, GatewayEvent.event_id)
        .limit(EVENTS_SHOWN_MAX)
    )
    return (await session.scalars(statement)).all()
