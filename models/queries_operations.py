"""Reads for operators: what waits for a person or has been tried for too long."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import and_, func, or_, select
from sqlalchemy.ext.asyncio import AsyncSession

from models.billing import Attempt, Message, Subscription

TRIES_BEFORE_STUCK: Final = 3

_NEXT: Final = {
    "pending": "the gateway is asked by itself; if it stays, look at the subscription's workflow",
    "unknown": "the gateway is asked again by itself; look the reference up there",
    "parked": "sent again when the gateway is back; check the gateway",
}


@dataclass(frozen=True, slots=True)
class Stuck:
    """One thing that does not move by itself, or not fast enough."""

    kind: str
    id: str
    subscription_id: str | None
    customer_id: str
    why: str
    since: datetime
    next_action: str


async def stuck(session: AsyncSession, *, limit: int, older_than_minutes: int) -> list[Stuck]:
    """Oldest first; at most `limit` of each kind. Ages are by the database's clock, when the row was written."""
    before = func.now() - timedelta(minutes=older_than_minutes)
    marked = await session.scalars(
        select(Subscription)
        .where(Subscription.attention.is_not(None))
        .order_by(Subscription.updated_at, Subscription.id)
        .limit(limit)
    )
    open_attempts = await session.scalars(
        select(Attempt)
        .where(Attempt.status.in_(tuple(_NEXT)), Attempt.recorded_at < before)
        .order_by(Attempt.recorded_at, Attempt.id)
        .limit(limit)
    )
    unsent = await session.scalars(
        select(Message)
        .where(or_(Message.status == "refused", and_(Message.status == "pending", Message.tries >= TRIES_BEFORE_STUCK)))
        .order_by(Message.recorded_at, Message.id)
        .limit(limit)
    )
    found = [
        *(
            Stuck(
                "subscription", s.id, s.id, s.customer_id, s.attention or "", s.updated_at, "see its allowed commands"
            )
            for s in marked
        ),
        *(
            Stuck("charge", a.id, a.subscription_id, a.customer_id, a.status, a.recorded_at, _NEXT[a.status])
            for a in open_attempts
        ),
        *(
            Stuck("message", m.id, m.subscription_id, m.customer_id, m.error or m.status, m.recorded_at, "check mail")
            for m in unsent
        ),
    ]
    return sorted(found, key=lambda each: (each.since, each.id))
