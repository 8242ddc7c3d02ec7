"""What a merge does to the two customers themselves: tie, tags, login, points, reviews; and how it is put back.

All in the transaction that closes the loser, or opens it again, with both rows locked. What is changed is written down
as the rows are, in `merge_moves`, with what was there before.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any, Final

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from domain.ids import derive
from domain.state import SYSTEM
from models.customers import Customer, CustomerChange
from models.logins import CustomerLogin
from models.merges import MergeMove
from models.queries_merges import doubled_reviews
from models.queries_relations import last_points
from models.queries_ties import children_count
from models.relations import PointMovement, Review
from models.session import database_now

MERGED: Final = "merged"
TIE: Final = "customers.tie"
TAGS: Final = "customers.tags"
LOGIN: Final = "customer_logins.closed"
POINTS: Final = "point_movements.amount"
REVIEW: Final = "reviews.status"


async def put_together(session: AsyncSession, merge_id: str, master: Customer, loser: Customer, actor: str) -> None:
    """Close the loser: its id points to the master, its tie ends, its points and tags are the master's."""
    await _close_login(session, merge_id, master, loser)
    _note(session, merge_id, TIE, loser, loser.id, parent_id=loser.parent_id, pays=loser.pays)
    loser.parent_id, loser.pays = None, "self"
    added = [tag for tag in loser.tags if tag not in master.tags]
    if added:
        master.tags = [*master.tags, *added]
        _note(session, merge_id, TAGS, loser, master.id, tags=added)
    for review in await doubled_reviews(session, master.id, loser.id):
        before = {"reason": review.status_reason, "by": review.status_by}
        _note(session, merge_id, REVIEW, loser, review.id, **before)
        review.status, review.status_reason, review.status_by = "hidden", MERGED, SYSTEM
    held = await last_points(session, loser.id)
    if held is not None and held.balance:
        await _move_points(session, merge_id, loser, master, held.balance, actor)
        _note(session, merge_id, POINTS, loser, loser.id, amount=held.balance)
    loser.merged_into = master.id
    _log(session, loser, "merged_into", None, master.id, actor)
    _log(session, master, MERGED, None, loser.id, actor)
    await session.flush()


async def put_apart(session: AsyncSession, merge_id: str, master: Customer, loser: Customer, actor: str) -> None:
    """Open the loser again. Points come back as far as the master has them; a tie, where its parent can have it."""
    statement = select(MergeMove).where(MergeMove.merge_id == merge_id, MergeMove.undone_at.is_(None))
    for move in (await session.scalars(statement)).all():
        before = move.detail
        match move.what:
            case "customers.tie":
                await _tie_again(session, loser, before)
            case "customers.tags":
                master.tags = [tag for tag in master.tags if tag not in before["tags"]]
            case "reviews.status":
                await _show_again(session, move)
            case "point_movements.amount":
                held = await last_points(session, master.id)
                amount = min(before["amount"], held.balance if held is not None else 0)
                if amount:
                    await _move_points(session, merge_id, master, loser, amount, actor)
            case "customer_logins.closed":
                await _open_login(session, loser, before)
            case _:
                continue
        move.undone_at = await database_now(session)
    loser.merged_into = None
    _log(session, loser, "merged_into", master.id, None, actor)
    _log(session, master, MERGED, loser.id, None, actor)
    await session.flush()


async def _close_login(session: AsyncSession, merge_id: str, master: Customer, loser: Customer) -> None:
    """Where both have a login, the loser's lets nobody in any more; it alone would move with the rows."""
    login, kept = await session.get(CustomerLogin, loser.id), await session.get(CustomerLogin, master.id)
    if login is None or kept is None:
        return
    _note(
        session,
        merge_id,
        LOGIN,
        loser,
        loser.id,
        disabled_at=login.disabled_at and login.disabled_at.isoformat(),
        disabled_until=login.disabled_until and login.disabled_until.isoformat(),
        disabled_reason=login.disabled_reason,
        disabled_by=login.disabled_by,
    )
    login.disabled_at, login.disabled_until = await database_now(session), None
    login.disabled_reason, login.disabled_by = f"{MERGED} into {master.id}", SYSTEM
    login.session_version += 1


async def _open_login(session: AsyncSession, loser: Customer, before: dict[str, Any]) -> None:
    login = await session.get(CustomerLogin, loser.id)
    if login is None:
        return
    for name in ("disabled_at", "disabled_until"):
        value = before[name]
        setattr(login, name, None if value is None else datetime.fromisoformat(value))
    login.disabled_reason, login.disabled_by = before["disabled_reason"], before["disabled_by"]
    login.session_version += 1


async def _tie_again(session: AsyncSession, loser: Customer, before: dict[str, Any]) -> None:
    parent = None if before["parent_id"] is None else await session.get(Customer, before["parent_id"])
    if parent is None or parent.merged_into is not None or parent.parent_id is not None:
        return
    if await children_count(session, loser.id):
        return
    loser.parent_id, loser.pays = parent.id, before["pays"]


async def _show_again(session: AsyncSession, move: MergeMove) -> None:
    review = await session.get(Review, move.row_id)
    if review is not None and (review.status, review.status_reason) == ("hidden", MERGED):
        review.status, review.status_reason = "shown", move.detail["reason"]
        review.status_by = move.detail["by"]


async def _move_points(
    session: AsyncSession, merge_id: str, giver: Customer, taker: Customer, amount: int, actor: str
) -> None:
    for owner, moved in ((giver, -amount), (taker, amount)):
        before = await last_points(session, owner.id)
        seq, balance = (before.seq, before.balance) if before is not None else (0, 0)
        session.add(
            PointMovement(
                id=derive("pts", merge_id, owner.id, str(seq + 1)),
                customer_id=owner.id,
                seq=seq + 1,
                amount=moved,
                balance=balance + moved,
                reason=f"merge {merge_id}",
                actor=actor,
            )
        )
    await session.flush()


def _note(session: AsyncSession, merge_id: str, what: str, loser: Customer, row_id: str, **before: Any) -> None:
    session.add(MergeMove(merge_id=merge_id, what=what, row_id=row_id, old_owner=loser.id, detail=before))


def _log(session: AsyncSession, row: Customer, field: str, old: str | None, new: str | None, actor: str) -> None:
    session.add(CustomerChange(customer_id=row.id, actor=actor, field=field, old=old, new=new))
