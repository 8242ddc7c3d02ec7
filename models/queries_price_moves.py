"""Reads of moves to another price, and of whom one would move."""

from __future__ import annotations

from typing import Final

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from models.billing import Subscription
from models.paging import KeyPart, Keyset, Page, page
from models.price_moves import PriceMove, PriceMoveItem
from models.queries_subscriptions import CANCELED

MOVES: Final = Keyset("price_moves", (PriceMove.started_at, PriceMove.id))
MOVE_ITEMS: Final = Keyset("price_move_items", (PriceMoveItem.subscription_id,), newest_first=False)
SUBSCRIBERS: Final = Keyset("subscribers", (Subscription.id,), newest_first=False)


async def price_move(session: AsyncSession, move_id: str) -> PriceMove | None:
    return await session.get(PriceMove, move_id)


async def price_moves(session: AsyncSession, *, after: tuple[KeyPart, ...] | None, limit: int) -> Page[PriceMove]:
    return await page(session, select(PriceMove), MOVES, after=after, limit=limit)


async def move_items(
    session: AsyncSession, move_id: str, *, verdict: str | None, after: tuple[KeyPart, ...] | None, limit: int
) -> Page[PriceMoveItem]:
    statement = select(PriceMoveItem).where(PriceMoveItem.move_id == move_id)
    if verdict is not None:
        statement = statement.where(PriceMoveItem.verdict == verdict)
    return await page(session, statement, MOVE_ITEMS, after=after, limit=limit)


async def subscribers(
    session: AsyncSession, price_id: str, *, after: tuple[KeyPart, ...] | None, limit: int
) -> Page[Subscription]:
    """Who is billed at this price, as the books know it; the order in which a move asks them."""
    statement = select(Subscription).where(Subscription.price_id == price_id, Subscription.status != CANCELED)
    return await page(session, statement, SUBSCRIBERS, after=after, limit=limit)
