"""The steps of a merge and of its undoing: each one transaction, or a page of rows, and safe to repeat.

Opening closes the loser: from then on its id only points to the master. Then its subscriptions are told, and what is
theirs moves page by page. Undoing goes the other way round and opens the loser last.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Protocol

from sqlalchemy import text
from temporalio import activity

from activities.alive import alive
from activities.merge_orders import MergedOrders, OrderDoor, hand_over
from activities.merge_rows import FAMILY, FIRST, MOVERS
from activities.merge_specials import put_apart, put_together
from domain.credits import Refusal
from domain.errors import Broken, NotFound
from domain.ids import derive
from domain.merging import MergeStatus, objection, undo_objection
from domain.messages import Envelope, SetCustomer
from domain.price_commands import set_tax_envelope
from domain.state import SYSTEM, State
from models.customers import Customer
from models.merges import Merge
from models.queries_merges import merge, party
from models.queries_tax import tax_terms
from models.queries_ties import locked
from models.session import Database

ROWS_PER_PAGE: Final = 500
SUBSCRIPTIONS_PER_PAGE: Final = 20
FAMILY_MAX: Final = 10_000  # children of one parent, and customers merged into one, are fewer
SUBSCRIPTIONS: Final = "subscriptions.customer_id"


@dataclass(frozen=True, slots=True)
class MergeRequest:
    """Who is to go into whom. `source`: a person, or a guest's verified address."""

    merge_id: str
    master_id: str
    loser_id: str
    actor: str
    reason: str = ""
    source: str = "person"


@dataclass(frozen=True, slots=True)
class OpenMerge:
    request: MergeRequest
    now: datetime


@dataclass(frozen=True, slots=True)
class MergeMark:
    """What a merge became, and until when it may be undone."""

    merge_id: str
    status: MergeStatus
    now: datetime
    undo_until: datetime | None = None


@dataclass(frozen=True, slots=True)
class UndoMerge:
    """A wish to undo it; `id` is its identity."""

    id: str
    merge_id: str
    actor: str
    reason: str


@dataclass(frozen=True, slots=True)
class UndoStep:
    wish: UndoMerge
    now: datetime


@dataclass(frozen=True, slots=True)
class MovePage:
    """The next rows of a merge, there or back."""

    request: MergeRequest
    now: datetime


class Door(Protocol):
    """How a subscription and an order are asked (`workflows.commands` is the real one)."""

    @property
    def orders(self) -> OrderDoor: ...

    async def send(self, subscription_id: str, envelope: Envelope) -> State: ...


class Merges:
    """Activities of `workflows.merge`."""

    def __init__(self, database: Database, door: Door) -> None:
        self._database = database
        self._door = door
        self._orders = MergedOrders(database, door)

    @activity.defn(name="open_merge")
    @alive
    async def open_merge(self, asked: OpenMerge) -> Refusal | None:
        """Close the loser and begin the merge, or say why not. Both customers are locked in the order of their ids."""
        wish = asked.request
        async with self._database.session() as session:
            rows = await locked(session, wish.master_id, wish.loser_id)
            if await merge(session, wish.merge_id) is not None:
                return None  # an earlier run of this step
            if len(rows) < 2:  # noqa: PLR2004 - two customers
                return Refusal("not_found", "There is no such customer any more.")
            master, loser = rows[wish.master_id], rows[wish.loser_id]
            against = objection(await party(session, master), await party(session, loser))
            if against is not None:
                return Refusal(against.code, against.message)
            session.add(
                Merge(
                    id=wish.merge_id,
                    master_id=master.id,
                    loser_id=loser.id,
                    source=wish.source,
                    status=MergeStatus.RUNNING.value,
                    actor=wish.actor,
                    reason=wish.reason,
                    at=asked.now,
                )
            )
            await session.flush()
            await put_together(session, wish.merge_id, master, loser, wish.actor)
            for mover in (*FAMILY, *FIRST):
                await session.execute(mover.there, _values(wish) | {"limit": FAMILY_MAX})
        return None

    @activity.defn(name="move_merge_rows")
    @alive
    async def move_merge_rows(self, page: MovePage) -> bool:
        """Move the next rows to the master; whether there were any. The orders come first, then the subscriptions,
        those they have started too: what all of these write from then on is the master's already.
        """
        request = page.request
        told = await self._orders.there(request.merge_id, request.master_id, request.loser_id)
        told = await self._tell_subscriptions(page) or told
        return await self._rows(page, back=False) or told

    @activity.defn(name="move_merge_back")
    @alive
    async def move_merge_back(self, page: MovePage) -> bool:
        """Move the next rows back to the loser; whether there were any."""
        request = page.request
        told = await self._orders.back(request.merge_id, request.master_id, request.loser_id, page.now)
        told = await self._tell_back(page) or told
        return await self._rows(page, back=True) or told

    @activity.defn(name="mark_merge")
    @alive
    async def mark_merge(self, mark: MergeMark) -> None:
        """Write down that it is done, and how much moved, or that its time is over."""
        done = mark.status is MergeStatus.DONE
        async with self._database.begin() as connection:
            await connection.execute(
                _MARK,
                {
                    "merge": mark.merge_id,
                    "status": mark.status.value,
                    "done_at": mark.now if done else None,
                    "until": mark.undo_until,
                },
            )

    @activity.defn(name="open_undo")
    @alive
    async def open_undo(self, step: UndoStep) -> Refusal | None:
        """Begin to undo it, or say why not."""
        asked = step.wish
        async with self._database.session() as session:
            known = await merge(session, asked.merge_id)
            if known is None:
                raise Broken(f"merge {asked.merge_id} is missing")
            master = (await locked(session, known.master_id, known.loser_id))[known.master_id]
            row = await merge(session, asked.merge_id, lock=True)
            if row is None:
                raise Broken(f"merge {asked.merge_id} is missing")
            await session.refresh(row)
            if row.status == MergeStatus.UNDOING and (row.undone_by, row.undo_reason) == (asked.actor, asked.reason):
                return None  # an earlier run of this step
            against = undo_objection(MergeStatus(row.status), row.undo_until, step.now, await party(session, master))
            if against is not None:
                return Refusal(against.code, against.message)
            row.status, row.undone_by, row.undo_reason = MergeStatus.UNDOING.value, asked.actor, asked.reason
            values = {"merge": row.id, "master": row.master_id, "loser": row.loser_id, "limit": FAMILY_MAX}
            for mover in FIRST:
                await session.execute(mover.back, values)
        return None

    @activity.defn(name="close_undo")
    @alive
    async def close_undo(self, step: UndoStep) -> None:
        """Open the loser again, with what it had by itself."""
        asked = step.wish
        async with self._database.session() as session:
            row = await merge(session, asked.merge_id)
            if row is None:
                raise Broken(f"merge {asked.merge_id} is missing")
            rows = await locked(session, row.master_id, row.loser_id)
            await session.refresh(row)
            if row.status != MergeStatus.UNDOING:
                return
            values = {"merge": row.id, "master": row.master_id, "loser": row.loser_id, "limit": FAMILY_MAX}
            for mover in FAMILY:
                await session.execute(mover.back, values)
            await put_apart(session, row.id, rows[row.master_id], rows[row.loser_id], asked.actor)
            row.status, row.undone_at = MergeStatus.UNDONE.value, step.now

    async def _rows(self, page: MovePage, *, back: bool) -> bool:
        values, some = _values(page.request) | {"limit": ROWS_PER_PAGE}, False
        for mover in reversed(MOVERS) if back else MOVERS:
            async with self._database.begin() as connection:
                statement = mover.back if back else mover.there
                moved = await connection.execute(statement, values)
            some = some or moved.rowcount > 0
        return some

    async def _tell_subscriptions(self, page: MovePage) -> bool:
        request = page.request
        async with self._database.begin() as connection:
            # Written before any is told: whom a page that died has told is found no more, yet is known to have moved.
            some = {"limit": SUBSCRIPTIONS_PER_PAGE, "what": SUBSCRIPTIONS}
            ids = list((await connection.execute(_INTEND, _values(request) | some)).scalars())
        for subscription in ids:
            if not await self._tell(request, subscription, request.master_id, f"{request.loser_id} was merged"):
                async with self._database.begin() as connection:  # it ended long ago and has no workflow any more
                    await connection.execute(_OWN, {"id": subscription, "owner": request.master_id})
        return bool(ids)

    async def _tell_back(self, page: MovePage) -> bool:
        request = page.request
        values = {"merge": request.merge_id, "what": SUBSCRIPTIONS}
        async with self._database.begin() as connection:
            asked = values | {"limit": SUBSCRIPTIONS_PER_PAGE}
            ids = list((await connection.execute(_LEFT, asked)).scalars())
        for subscription in ids:
            heard = await self._tell(request, subscription, request.loser_id, "the merge was undone")
            async with self._database.begin() as connection:
                if not heard:
                    await connection.execute(_OWN, {"id": subscription, "owner": request.loser_id})
                parties = (request.merge_id, request.master_id, request.loser_id)
                await hand_over(connection, parties, page.now, subscription_id=subscription)
                await connection.execute(_UNDONE, values | {"row": subscription})
        return bool(ids)

    async def _tell(self, request: MergeRequest, subscription: str, customer_id: str, why: str) -> bool:
        """Ask the subscription to go on under that customer; False where its workflow is over for good.

        What is due or under way goes first, a charge in flight too. Safe to repeat: it is there, or goes there.
        """
        async with self._database.session() as session:
            owner = await session.get(Customer, customer_id)
            if owner is None:
                raise Broken(f"customer {customer_id} is missing")
            terms = await tax_terms(session, customer_id)
        command = SetCustomer(customer_id, owner.notice_days)
        identity = derive("cmd", request.merge_id, subscription, customer_id)
        try:
            state = await self._door.send(subscription, Envelope(identity, command, SYSTEM, why))
            if state.tax != terms:  # taxed as the new owner is, from the next invoice on
                await self._door.send(subscription, set_tax_envelope(state, terms, SYSTEM, why))
        except NotFound:
            return False
        return True


def _values(request: MergeRequest) -> dict[str, Any]:
    return {"merge": request.merge_id, "master": request.master_id, "loser": request.loser_id}


_INTEND = text(
    """
WITH picked AS (SELECT id FROM subscriptions WHERE customer_id = CAST(:loser AS text) ORDER BY id LIMIT :limit)
INSERT INTO merge_moves (merge_id, what, row_id, old_owner) SELECT :merge, :what, id, CAST(:loser AS text) FROM picked
ON CONFLICT (merge_id, what, row_id) DO UPDATE SET undone_at = NULL
RETURNING row_id
"""
)
_LEFT = text(
    """
SELECT row_id FROM merge_moves WHERE merge_id = :merge AND what = :what AND undone_at IS NULL
ORDER BY row_id LIMIT :limit
"""
)
_UNDONE = text("UPDATE merge_moves SET undone_at = now() WHERE merge_id = :merge AND what = :what AND row_id = :row")
_OWN = text("UPDATE subscriptions SET customer_id = :owner WHERE id = :id")
_MARK = text(
    """
UPDATE merges SET status = :status, done_at = coalesce(:done_at, done_at), undo_until = coalesce(:until, undo_until),
    moved = coalesce((
        SELECT jsonb_object_agg(what, rows) FROM (
            SELECT what, count(*) AS rows FROM merge_moves WHERE merge_id = :merge GROUP BY what
        ) AS counted
    ), '{}'::jsonb)
WHERE id = :merge AND status IN ('running', 'done')
"""
)
