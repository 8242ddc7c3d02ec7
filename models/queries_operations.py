"""Reads for operators: what waits for a person or has been tried for too long, with its owner and what to do next."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, Final

from sqlalchemy import ColumnElement, and_, func, or_, select, text
from sqlalchemy.ext.asyncio import AsyncSession

from domain.ids import derive
from models.billing import Attempt, Message, Subscription
from models.disputes import GatewayEvent
from models.fulfilment import Fulfilment
from models.refunds import Refund
from models.session import database_now
from models.settlement import Difference
from models.tasks import Task

TRIES_BEFORE_STUCK: Final = 3
# A refund that waits for a lead is shown when so much of its time is left, by its own clock.
APPROVAL_SHOWN_BEFORE: Final = timedelta(hours=24)

_NEXT: Final = {
    "pending": "the gateway is asked by itself; if it stays, look at the subscription's workflow",
    "unknown": "the gateway is asked again by itself; look the reference up there",
    "parked": "sent again when the gateway is back; check the gateway",
}
_NEXT_OF_REFUND: Final = {
    "awaiting_approval": "a lead approves or declines it before it lapses",
    "pending": "the gateway is asked by itself; try it now, or take it out",
    "unknown": "the gateway is asked again by itself; look the refund's reference up there",
    "queued": "tried again by itself; try it now, use another method, or take it out",
}


# The trouble names language and version of the template that failed; a newer version ends it.
_FAILING: Final = text(
    """
SELECT t.event, t.language, count(*) AS letters, min(m.template_trouble) AS trouble, min(m.recorded_at) AS since
FROM (
    SELECT DISTINCT ON (event, language) event, language, version, subject FROM letter_templates
    ORDER BY event, language, version DESC
) AS t
JOIN messages AS m ON m.template = t.event AND m.template_trouble IS NOT NULL
    AND starts_with(m.template_trouble, concat(t.language, ', version ', t.version, ':'))
WHERE t.subject IS NOT NULL
GROUP BY t.event, t.language ORDER BY since, t.event, t.language LIMIT :limit
"""
)


@dataclass(frozen=True, slots=True)
class Stuck:
    """One thing that does not move by itself, or not fast enough. `owner` and `task_id` are of its open task."""

    kind: str
    id: str
    subscription_id: str | None
    customer_id: str | None
    why: str
    since: datetime
    next_action: str
    owner: str | None = None
    task_id: str | None = None


async def stuck(session: AsyncSession, *, limit: int, older_than_minutes: int) -> list[Stuck]:
    """Oldest first; at most `limit` of each kind. Ages are by the database's clock, when the row was written."""
    before = func.now() - timedelta(minutes=older_than_minutes)
    found = [
        *await _subscriptions(session, limit),
        *await _charges(session, limit, before),
        *await _messages(session, limit),
        *await _templates(session, limit),
        *await _refunds(session, limit, before),
        *await _differences(session, limit),
        *await _gateway_events(session, limit, before),
        *await _fulfilments(session, limit),
    ]
    found = await _with_owners(session, found)
    seen = {each.task_id for each in found}
    found += [task for task in await _overdue_tasks(session, limit) if task.id not in seen]
    return sorted(found, key=lambda each: (each.since, each.id))


async def now_of(session: AsyncSession) -> datetime:
    """By which ages are told: the clock of the rows."""
    return await database_now(session)


async def _subscriptions(session: AsyncSession, limit: int) -> list[Stuck]:
    rows = await session.scalars(
        select(Subscription)
        .where(Subscription.attention.is_not(None))
        .order_by(Subscription.updated_at, Subscription.id)
        .limit(limit)
    )
    return [
        Stuck("subscription", s.id, s.id, s.customer_id, s.attention or "", s.updated_at, "see its allowed commands")
        for s in rows
    ]


async def _charges(session: AsyncSession, limit: int, before: ColumnElement[Any]) -> list[Stuck]:
    rows = await session.scalars(
        select(Attempt)
        .where(Attempt.status.in_(tuple(_NEXT)), Attempt.recorded_at < before)
        .order_by(Attempt.recorded_at, Attempt.id)
        .limit(limit)
    )
    return [
        Stuck("charge", a.id, a.subscription_id, a.customer_id, a.status, a.recorded_at, _NEXT[a.status]) for a in rows
    ]


async def _messages(session: AsyncSession, limit: int) -> list[Stuck]:
    rows = await session.scalars(
        select(Message)
        .where(
            or_(
                Message.status.in_(("refused", "bounced")),
                and_(Message.status == "pending", Message.tries >= TRIES_BEFORE_STUCK),
            )
        )
        .order_by(Message.recorded_at, Message.id)
        .limit(limit)
    )
    return [
        Stuck("message", m.id, m.subscription_id, m.customer_id, m.error or m.status, m.recorded_at, "check mail")
        for m in rows
    ]


async def _templates(session: AsyncSession, limit: int) -> list[Stuck]:
    """Templates in force that failed when it counted: letters went out with the built-in words meanwhile."""
    rows = await session.execute(_FAILING, {"limit": limit})
    return [
        Stuck(
            "message_template",
            f"{row.event}/{row.language}",
            None,
            None,
            f"{row.letters} letter(s) went out with the built-in words: {row.trouble}",
            row.since,
            "write a new version, or go back to the built-in words",
        )
        for row in rows
    ]


async def _refunds(session: AsyncSession, limit: int, before: ColumnElement[Any]) -> list[Stuck]:
    """What a person should look at, what has been open with the gateway for long, what is about to lapse.

    A failed one is over; it stays here for as long as its task is open.
    """
    # Two reads, each by an index: no plan serves an OR over two tables without reading every refund there ever was.
    time_left = Refund.approval_deadline - func.greatest(Refund.virtual_now, func.now())
    waits = or_(
        and_(Refund.status.in_(("pending", "queued", "unknown")), Refund.attention.is_not(None)),
        and_(Refund.status.in_(("pending", "unknown")), Refund.updated_at < before),
        and_(Refund.status == "awaiting_approval", time_left < APPROVAL_SHOWN_BEFORE),
    )
    # Words and not parameters: only then can the planner tell that the index of open refunds holds them all.
    under_way = text("refunds.status IN ('pending', 'queued', 'unknown', 'awaiting_approval')")
    oldest_first = (Refund.updated_at, Refund.id)
    moving = await session.scalars(select(Refund).where(under_way, waits).order_by(*oldest_first).limit(limit))
    over = await session.scalars(
        select(Refund)
        .join(Task, and_(Task.subject_kind == "refund", Task.subject_id == Refund.id))
        .where(Task.status == "open", Refund.status == "failed")
        .distinct()
        .order_by(*oldest_first)
        .limit(limit)
    )
    rows = sorted([*moving, *over], key=lambda refund: (refund.updated_at, refund.id))[:limit]
    return [
        Stuck(
            "refund",
            r.id,
            r.subscription_id,
            r.customer_id,
            r.attention or r.status,
            r.updated_at,
            _NEXT_OF_REFUND.get(r.status, "see its task"),
        )
        for r in rows
    ]


async def _differences(session: AsyncSession, limit: int) -> list[Stuck]:
    rows = await session.scalars(
        select(Difference).where(Difference.status == "open").order_by(Difference.found_at, Difference.id).limit(limit)
    )
    return [
        Stuck(
            "difference",
            d.id,
            None,
            d.customer_id,
            f"{d.kind.replace('_', ' ')}: {d.reference} at {d.gateway}",
            d.found_at,
            "resolve it: recheck, adopt or dismiss",
        )
        for d in rows
    ]


async def _gateway_events(session: AsyncSession, limit: int, before: ColumnElement[Any]) -> list[Stuck]:
    rows = await session.scalars(
        select(GatewayEvent)
        .where(GatewayEvent.handled_at.is_(None), GatewayEvent.received_at < before)
        .order_by(GatewayEvent.received_at, GatewayEvent.event_id)
        .limit(limit)
    )
    return [
        Stuck(
            "gateway_event",
            derive("gev", e.gateway, e.event_id),
            None,
            None,
            f"{e.kind} {e.event_id} of {e.gateway} is not handled",
            e.received_at,
            f"look at the workflow gateway-event:{e.gateway}:{e.event_id}; it goes on by itself when its cause is gone",
        )
        for e in rows
    ]


async def _fulfilments(session: AsyncSession, limit: int) -> list[Stuck]:
    """What says why it waits: no address, a provider that refuses or is long away."""
    rows = await session.scalars(
        select(Fulfilment)
        .where(Fulfilment.attention.is_not(None))
        .order_by(Fulfilment.updated_at, Fulfilment.id)
        .limit(limit)
    )
    return [
        Stuck(
            "fulfilment",
            f.id,
            f.subscription_id,
            f.customer_id,
            f.attention or f.status,
            f.recorded_at,
            "mend the cause, then hand it off; it is tried again by itself, too",
        )
        for f in rows
    ]


async def _overdue_tasks(session: AsyncSession, limit: int) -> list[Stuck]:
    rows = await session.scalars(
        select(Task)
        .where(Task.status == "open", Task.deadline < func.now())
        .order_by(Task.deadline, Task.id)
        .limit(limit)
    )
    return [
        Stuck("task", t.id, None, t.customer_id, f"overdue: {t.title}", t.opened_at, t.next_action, t.assignee, t.id)
        for t in rows
    ]


async def _with_owners(session: AsyncSession, found: Sequence[Stuck]) -> list[Stuck]:
    """Each with the open task about it: who has it, and what that person should do next."""
    rows = await session.scalars(
        select(Task)
        .where(Task.subject_id.in_({each.id for each in found}), Task.status == "open")
        .order_by(Task.opened_at.desc(), Task.id)
    )
    tasks = {(task.subject_kind, task.subject_id): task for task in rows}  # the oldest comes last and stays
    return [_owned(each, tasks.get((each.kind, each.id))) for each in found]


def _owned(each: Stuck, task: Task | None) -> Stuck:
    if task is None:
        return each
    return replace(each, owner=task.assignee, task_id=task.id, next_action=task.next_action or each.next_action)
