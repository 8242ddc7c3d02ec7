"""Moves to another price: ask each subscription for the ordinary change of its terms, keep the verdicts.

A move decides nothing: each subscription changes by the rules of any change, once, under a command id of the move's.
"""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Protocol

from sqlalchemy import text
from temporalio import activity

from domain.changes import OTHER_PRICE
from domain.errors import Broken, DunlinError, Refused
from domain.ids import derive
from domain.messages import ChangeTerms, Envelope, When
from domain.price_moves import MoveStatus, Pace
from domain.state import State
from models.agreement import terms_of
from models.catalogue import Price, Product
from models.queries_catalogue import price, product
from models.session import Database

AT_ONCE_MAX: Final = 10
NOT_MOVED: Final = frozenset({"refused", "failed"})


@dataclass(frozen=True, slots=True)
class MoveRequest:
    """A move to be made. `move_id` is its identity; `when` None: as each change decides by itself."""

    move_id: str
    from_price_id: str
    to_price_id: str
    when: When | None
    prorate: bool
    keep_anchor: bool
    pace: Pace
    actor: str
    reason: str


@dataclass(frozen=True, slots=True)
class MovePage:
    """The next page of a move: subscriptions after `cursor`."""

    move: MoveRequest
    cursor: str


@dataclass(frozen=True, slots=True)
class MovedPage:
    """Where to go on (None: the end), how many were asked, and how many of them did not move."""

    cursor: str | None
    asked: int
    failed: int


@dataclass(frozen=True, slots=True)
class MoveMark:
    """What became of a move, and why."""

    move_id: str
    status: MoveStatus
    detail: str
    now: datetime


class Door(Protocol):
    """How a subscription is asked (`workflows.commands` is the real one)."""

    async def state(self, subscription_id: str) -> State: ...

    async def send(self, subscription_id: str, envelope: Envelope) -> State: ...


class PriceMoves:
    """Activities of `workflows.price_move`."""

    def __init__(self, database: Database, door: Door) -> None:
        self._database = database
        self._door = door

    @activity.defn(name="move_price_page")
    async def move_price_page(self, page: MovePage) -> MovedPage:
        """Move the next subscriptions and write down each verdict. Safe to repeat: who is moved stays moved, once."""
        move, size = page.move, page.move.pace.page_size
        async with self._database.begin() as connection:
            asked = {"move": move.move_id, "cursor": page.cursor, "price": move.from_price_id, "limit": size}
            found = list((await connection.execute(_FOUND, asked)).scalars())
            # Written before anybody is asked: whom a page that died has moved is found no more, yet gets a verdict.
            await connection.execute(_ASK, {"move": move.move_id, "ids": found})
            ids = list((await connection.execute(_ASKED, asked)).scalars())
        chosen, sold = await self._target(move)
        gate = asyncio.Semaphore(AT_ONCE_MAX)

        async def ask(subscription: str) -> tuple[str, str, str]:
            async with gate:
                verdict, detail = await self._ask(move, subscription, chosen, sold)
                activity.heartbeat()
                return subscription, verdict, detail

        items = await asyncio.gather(*(ask(each) for each in ids))
        async with self._database.begin() as connection:
            for subscription, verdict, detail in items:
                values = {"move": move.move_id, "subscription": subscription, "verdict": verdict, "detail": detail}
                await connection.execute(_ITEM, values)
            rows = (await connection.execute(_COUNT, {"move": move.move_id})).all()
            verdicts = Counter({row.verdict: row.items for row in rows})
            progress = {"move": move.move_id, "seen": verdicts.total(), "verdicts": json.dumps(verdicts)}
            await connection.execute(_PROGRESS, progress)
        failed = sum(verdict in NOT_MOVED for _, verdict, _ in items)
        return MovedPage(found[-1] if len(found) == size else None, len(items), failed)

    @activity.defn(name="mark_price_move")
    async def mark_price_move(self, mark: MoveMark) -> None:
        """Write down that it is paused, goes on, was stopped or is done."""
        over = mark.now if mark.status in {MoveStatus.STOPPED, MoveStatus.DONE} else None
        async with self._database.begin() as connection:
            values = {"move": mark.move_id, "status": mark.status.value, "detail": mark.detail, "over": over}
            await connection.execute(_MARK, values)

    async def _target(self, move: MoveRequest) -> tuple[Price, Product]:
        async with self._database.session() as session:
            chosen = await price(session, move.to_price_id)
            sold = None if chosen is None else await product(session, chosen.product_id)
        if chosen is None or sold is None:
            raise Broken(f"the price {move.to_price_id} of move {move.move_id} is gone")
        return chosen, sold

    async def _ask(self, move: MoveRequest, subscription: str, chosen: Price, sold: Product) -> tuple[str, str]:
        try:
            state = await self._door.state(subscription)
            if state.terms.price_id not in {move.from_price_id, move.to_price_id}:
                return "elsewhere", state.terms.price_id
            if _is_moved(state, move) is None:
                command = ChangeTerms(
                    terms_of(chosen, sold, state.terms.quantity),
                    move.when,
                    move.prorate,
                    move.keep_anchor,
                    only_from=state.terms.price_id,
                )
                envelope = Envelope(derive("cmd", move.move_id, subscription), command, move.actor, move.reason)
                state = await self._door.send(subscription, envelope)
        except Refused as refused:
            if refused.code != OTHER_PRICE:
                return "refused", refused.code
            state = await self._door.state(subscription)  # somebody else was first
        except DunlinError as error:
            return "failed", error.message
        return _is_moved(state, move) or "elsewhere", ""


def _is_moved(state: State, move: MoveRequest) -> str | None:
    """`moved`, `planned` for the period's end, or None. A page that was repeated finds what it did."""
    if state.terms.price_id == move.to_price_id:
        return "moved"
    planned = state.change is not None and state.change.terms.price_id == move.to_price_id
    return "planned" if planned else None


_FOUND = text(
    """
SELECT id FROM subscriptions WHERE id > :cursor AND price_id = :price AND status <> 'canceled' ORDER BY id LIMIT :limit
"""
)
_ASK = text(
    """
INSERT INTO price_move_items (move_id, subscription_id, verdict)
SELECT :move, id, 'asked' FROM unnest(CAST(:ids AS text[])) AS found(id) ON CONFLICT DO NOTHING
"""
)
_ASKED = text(
    """
SELECT subscription_id FROM price_move_items
WHERE move_id = :move AND subscription_id > :cursor AND verdict = 'asked' ORDER BY subscription_id
"""
)
_ITEM = text(
    """
UPDATE price_move_items SET verdict = :verdict, detail = :detail
WHERE move_id = :move AND subscription_id = :subscription AND verdict = 'asked'
"""
)
_COUNT = text("SELECT verdict, count(*) AS items FROM price_move_items WHERE move_id = :move GROUP BY verdict")
_PROGRESS = text("UPDATE price_moves SET seen = :seen, verdicts = CAST(:verdicts AS jsonb) WHERE id = :move")
_MARK = text("UPDATE price_moves SET status = :status, detail = :detail, ended_at = :over WHERE id = :move")
