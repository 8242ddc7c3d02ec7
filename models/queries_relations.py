"""Reads of notes, loyalty points and reviews."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from models.billing import Subscription
from models.paging import KeyPart, Keyset, Page, page
from models.relations import Note, NoteVersion, PointMovement, Review

NOTES: Final = Keyset("notes", (Note.created_at, Note.id))
POINTS: Final = Keyset("point_movements", (PointMovement.seq,))
REVIEWS: Final = Keyset("reviews", (Review.created_at, Review.id))


async def note(session: AsyncSession, customer_id: str, note_id: str, *, lock: bool = False) -> Note | None:
    statement = select(Note).where(Note.id == note_id, Note.customer_id == customer_id)
    return (await session.scalars(statement.with_for_update() if lock else statement)).one_or_none()


async def notes(
    session: AsyncSession,
    customer_id: str,
    *,
    visibility: str | None,
    removed: bool,
    after: tuple[KeyPart, ...] | None,
    limit: int,
) -> Page[Note]:
    gone = Note.removed_at.is_not(None)
    statement = select(Note).where(Note.customer_id == customer_id, gone if removed else ~gone)
    if visibility is not None:
        statement = statement.where(Note.visibility == visibility)
    return await page(session, statement, NOTES, after=after, limit=limit)


async def note_versions(session: AsyncSession, note_id: str) -> Sequence[NoteVersion]:
    """Newest first."""
    statement = select(NoteVersion).where(NoteVersion.note_id == note_id).order_by(NoteVersion.version.desc())
    return (await session.scalars(statement)).all()


async def last_points(session: AsyncSession, customer_id: str) -> PointMovement | None:
    """The newest movement, whose `balance` is what the customer has."""
    statement = (
        select(PointMovement)
        .where(PointMovement.customer_id == customer_id)
        .order_by(PointMovement.seq.desc())
        .limit(1)
    )
    return (await session.scalars(statement)).one_or_none()


async def points(
    session: AsyncSession, customer_id: str, *, after: tuple[KeyPart, ...] | None, limit: int
) -> Page[PointMovement]:
    statement = select(PointMovement).where(PointMovement.customer_id == customer_id)
    return await page(session, statement, POINTS, after=after, limit=limit)


async def review(session: AsyncSession, review_id: str, *, lock: bool = False) -> Review | None:
    return await session.get(Review, review_id, with_for_update=lock or None)


async def reviews(
    session: AsyncSession,
    *,
    customer_id: str | None,
    product_id: str | None,
    status: str | None,
    after: tuple[KeyPart, ...] | None,
    limit: int,
) -> Page[Review]:
    statement = select(Review)
    same = {Review.customer_id: customer_id, Review.product_id: product_id, Review.status: status}
    for column, value in same.items():
        if value is not None:
            statement = statement.where(column == value)
    return await page(session, statement, REVIEWS, after=after, limit=limit)


async def has_had(session: AsyncSession, customer_id: str, product_id: str) -> bool:
    """Whether a subscription of the customer, running or ended, is to that product."""
    statement = (
        select(Subscription.id)
        .where(Subscription.customer_id == customer_id, Subscription.product_id == product_id)
        .limit(1)
    )
    return await session.scalar(statement) is not None
