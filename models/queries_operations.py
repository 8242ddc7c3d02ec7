"""Reads for operators: what waits for a person or has been tried for too long, with its owner and what to do next.

All kinds are one list, the oldest first, read page by page: each kind is asked for what comes after the last one seen.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from types import MappingProxyType
from typing import Any, Final

from sqlalchemy import ColumnElement, Select, and_, func, literal, or_, select, text, tuple_
from sqlalchemy.ext.asyncio import AsyncSession

from domain.ids import derive
from models.billing import Attempt, Message, Subscription
from models.disputes import GatewayEvent
from models.fulfilment import Fulfilment
from models.orders import Order
from models.paging import KeyPart, Keyset
from models.refunds import Refund
from models.session import database_now
from models.settlement import Difference
from models.tasks import Task

TRIES_BEFORE_STUCK: Final = 3
EVENTS_BESIDE_MAX: Final = 1_000  # among which the subject of a task is looked for
# A refund that waits for a lead is shown when so much of its time is left, by its own clock.
APPROVAL_SHOWN_BEFORE: Final = timedelta(hours=24)

_NEXT: Final = {
    "pending": "the gateway is asked by itself; if it stays, look at the subscription's workflow",
    "unknown": "the gateway is asked again by itself; look the reference up there",
    "parked": "sent again when the gateway is back; check the gateway",
    "capturing": "the gateway is asked by itself whether it was captured; look the reference up there",
    "releasing": "the gateway is asked by itself whether it was given back; look the reference up there",
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
GROUP BY t.event, t.language ORDER BY since, t.event, t.language
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
    place: str = ""

    @property
    def key(self) -> tuple[datetime, str, str]:
        """Its place in the list; among those of one kind and time, by `place` where the table orders by another id."""
        return self.since, self.kind, self.place or self.id


# The columns stand for the kinds of their values: the list is made of many tables.
STUCK: Final = Keyset("stuck", (Task.opened_at, Task.kind, Task.id), newest_first=False)
_EVENT_ID: Final = GatewayEvent.gateway + ":" + GatewayEvent.event_id


@dataclass(frozen=True, slots=True)
class _Part:
    """Which of a kind: at most `limit` after that place, or those with these ids. `before`: what is old enough."""

    before: ColumnElement[Any]
    limit: int
    after: tuple[KeyPart, ...] | None = None
    ids: tuple[str, ...] | None = None

    def of(self, statement: Select[Any], kind: str, at: Any, identity: Any) -> Select[Any]:
        if self.ids is not None:
            statement = statement.where(identity.in_(self.ids))
        if self.after is not None:
            seen_at, seen_kind, seen = self.after
            if kind == seen_kind:
                statement = statement.where(tuple_(at, identity) > tuple_(literal(seen_at, at.type), literal(seen)))
            else:
                statement = statement.where(at >= seen_at if str(seen_kind) < kind else at > seen_at)
        return statement.order_by(at, identity).limit(self.limit)

    def has(self, each: Stuck) -> bool:
        """The same, of one that was read."""
        return (self.after is None or each.key > self.after) and (self.ids is None or each.id in self.ids)


async def stuck(
    session: AsyncSession, *, after: tuple[KeyPart, ...] | None = None, limit: int, older_than_minutes: int
) -> list[Stuck]:
    """At most `limit`, the oldest first. Ages are by the database's clock, when the row was written."""
    part = _Part(func.now() - timedelta(minutes=older_than_minutes), limit, after)
    found = [each for kind in _KINDS.values() for each in await kind(session, part)]
    found = await _with_owners(session, sorted(found, key=lambda each: each.key)[:limit])
    found += await _overdue_tasks(session, part)
    return sorted(found, key=lambda each: each.key)[:limit]


async def now_of(session: AsyncSession) -> datetime:
    """By which ages are told: the clock of the rows."""
    return await database_now(session)


async def _subscriptions(session: AsyncSession, part: _Part) -> list[Stuck]:
    waits = select(Subscription).where(Subscription.attention.is_not(None))
    rows = await session.scalars(part.of(waits, "subscription", Subscription.updated_at, Subscription.id))
    return [
        Stuck("subscription", s.id, s.id, s.customer_id, s.attention or "", s.updated_at, "see its allowed commands")
        for s in rows
    ]


async def _charges(session: AsyncSession, part: _Part) -> list[Stuck]:
    asked = func.coalesce(Attempt.asked_at, Attempt.recorded_at)  # a capture may be asked for days after the charge
    waits = select(Attempt).where(Attempt.status.in_(tuple(_NEXT)), asked < part.before)
    rows = await session.scalars(part.of(waits, "charge", Attempt.recorded_at, Attempt.id))
    return [
        Stuck("charge", a.id, a.subscription_id, a.customer_id, a.status, a.recorded_at, _NEXT[a.status]) for a in rows
    ]


async def _messages(session: AsyncSession, part: _Part) -> list[Stuck]:
    tried = and_(Message.status == "pending", Message.tries >= TRIES_BEFORE_STUCK)
    waits = select(Message).where(or_(Message.status.in_(("refused", "bounced")), tried))
    rows = await session.scalars(part.of(waits, "message", Message.recorded_at, Message.id))
    return [
        Stuck("message", m.id, m.subscription_id, m.customer_id, m.error or m.status, m.recorded_at, "check mail")
        for m in rows
    ]


async def _templates(session: AsyncSession, part: _Part) -> list[Stuck]:
    """Templates in force that failed when it counted: letters went out with the built-in words meanwhile.

    There are as many as there are letters and languages at most, so all are read.
    """
    found = [
        Stuck(
            "message_template",
            f"{row.event}/{row.language}",
            None,
            None,
            f"{row.letters} letter(s) went out with the built-in words: {row.trouble}",
            row.since,
            "write a new version, or go back to the built-in words",
        )
        for row in await session.execute(_FAILING)
    ]
    return [each for each in found if part.has(each)]


async def _refunds(session: AsyncSession, part: _Part) -> list[Stuck]:
    """What a person should look at, what has been open with the gateway for long, what is about to lapse.

    A failed one is over; it stays here for as long as its task is open.
    """
    # Two reads, each by an index: no plan serves an OR over two tables without reading every refund there ever was.
    time_left = Refund.approval_deadline - func.greatest(Refund.virtual_now, func.now())
    waits = or_(
        and_(Refund.status.in_(("pending", "queued", "unknown")), Refund.attention.is_not(None)),
        and_(Refund.status.in_(("pending", "unknown")), Refund.updated_at < part.before),
        and_(Refund.status == "awaiting_approval", time_left < APPROVAL_SHOWN_BEFORE),
    )
    # Words and not parameters: only then can the planner tell that the index of open refunds holds them all.
    under_way = text("refunds.status IN ('pending', 'queued', 'unknown', 'awaiting_approval')")
    with_task = (
        select(Refund)
        .join(Task, and_(Task.subject_kind == "refund", Task.subject_id == Refund.id))
        .where(Task.status == "open", Refund.status == "failed")
        .distinct()
    )
    rows = [
        *await session.scalars(part.of(select(Refund).where(under_way, waits), "refund", Refund.updated_at, Refund.id)),
        *await session.scalars(part.of(with_task, "refund", Refund.updated_at, Refund.id)),
    ]
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


async def _differences(session: AsyncSession, part: _Part) -> list[Stuck]:
    waits = select(Difference).where(Difference.status == "open")
    rows = await session.scalars(part.of(waits, "difference", Difference.found_at, Difference.id))
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


async def _gateway_events(session: AsyncSession, part: _Part) -> list[Stuck]:
    """Their ids are made of what the table knows them by, so ids can only be looked for among them."""
    waits = select(GatewayEvent).where(GatewayEvent.handled_at.is_(None), GatewayEvent.received_at < part.before)
    own = part if part.ids is None else _Part(part.before, EVENTS_BESIDE_MAX)
    rows = await session.scalars(own.of(waits, "gateway_event", GatewayEvent.received_at, _EVENT_ID))
    found = [
        Stuck(
            "gateway_event",
            derive("gev", e.gateway, e.event_id),
            None,
            None,
            f"{e.kind} {e.event_id} of {e.gateway} is not handled",
            e.received_at,
            f"look at the workflow gateway-event:{e.gateway}:{e.event_id}; it goes on by itself when its cause is gone",
            place=f"{e.gateway}:{e.event_id}",
        )
        for e in rows
    ]
    return [each for each in found if part.ids is None or each.id in part.ids]


async def _fulfilments(session: AsyncSession, part: _Part) -> list[Stuck]:
    """What says why it waits: no address, a provider that refuses or is long away."""
    waits = select(Fulfilment).where(Fulfilment.attention.is_not(None))
    rows = await session.scalars(part.of(waits, "fulfilment", Fulfilment.recorded_at, Fulfilment.id))
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


async def _orders(session: AsyncSession, part: _Part) -> list[Stuck]:
    """What says why it waits: a charge without an answer, an authorisation that ran out."""
    waits = select(Order).where(Order.attention.is_not(None))
    rows = await session.scalars(part.of(waits, "order", Order.updated_at, Order.id))
    return [
        Stuck("order", o.id, None, o.customer_id, o.attention or o.status, o.updated_at, "see its allowed commands")
        for o in rows
    ]


_KINDS: Final[Mapping[str, Callable[[AsyncSession, _Part], Awaitable[list[Stuck]]]]] = MappingProxyType(
    {
        "subscription": _subscriptions,
        "charge": _charges,
        "message": _messages,
        "message_template": _templates,
        "refund": _refunds,
        "difference": _differences,
        "gateway_event": _gateway_events,
        "fulfilment": _fulfilments,
        "order": _orders,
    }
)


async def _overdue_tasks(session: AsyncSession, part: _Part) -> list[Stuck]:
    """But for those that stand beside what they are about, wherever in the list that is."""
    kept: list[Stuck] = []
    while True:
        waits = select(Task).where(Task.status == "open", Task.deadline < func.now())
        rows = (await session.scalars(part.of(waits, "task", Task.opened_at, Task.id))).all()
        beside = await _beside(session, rows, part.before)
        kept += [_overdue(task) for task in rows if task.id not in beside]
        if len(rows) < part.limit or len(kept) >= part.limit:
            return kept[: part.limit]
        part = replace(part, after=(rows[-1].opened_at, "task", rows[-1].id))


def _overdue(task: Task) -> Stuck:
    why = f"overdue: {task.title}"
    return Stuck("task", task.id, None, task.customer_id, why, task.opened_at, task.next_action, task.assignee, task.id)


async def _beside(session: AsyncSession, tasks: Sequence[Task], before: ColumnElement[Any]) -> set[str | None]:
    """Those of the tasks that are told of with their subjects."""
    subjects: dict[str, set[str]] = {}
    for task in tasks:
        if task.subject_kind is not None and task.subject_id is not None:
            subjects.setdefault(task.subject_kind, set()).add(task.subject_id)
    found: list[Stuck] = []
    for kind, ids in subjects.items():
        if kind in _KINDS:
            found += await _KINDS[kind](session, _Part(before, len(ids), ids=tuple(ids)))
    return {each.task_id for each in await _with_owners(session, found)}


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
