"""Reads of links, and their one way into the table."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Final

from sqlalchemy import func, literal, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncSession

from domain.links import Link
from models.billing import Attempt, Invoice
from models.links import CustomerLink
from models.paging import KeyPart, Keyset, Page, page

LINKS: Final = Keyset("links", (CustomerLink.created_at, CustomerLink.id))


async def keep_link(
    connection: AsyncConnection | AsyncSession, link: Link, *, customer_id: str | None, actor: str
) -> None:
    """Write its row, once: made again under the same id it stays as it was made first."""
    row = insert(CustomerLink).values(
        id=link.id,
        kind=link.kind.value,
        subject_id=link.subject_id,
        customer_id=customer_id,
        created_by=actor,
        expires_at=link.expires_at,
    )
    await connection.execute(row.on_conflict_do_nothing())


async def link(session: AsyncSession, link_id: str, *, lock: bool = False) -> CustomerLink | None:
    return await session.get(CustomerLink, link_id, with_for_update=lock or None)


async def links(
    session: AsyncSession, customer_id: str, *, after: tuple[KeyPart, ...] | None, limit: int
) -> Page[CustomerLink]:
    """Links of a customer, newest first."""
    statement = select(CustomerLink).where(CustomerLink.customer_id == customer_id)
    return await page(session, statement, LINKS, after=after, limit=limit)


async def tries_by_link(session: AsyncSession, invoice_id: str, trigger: str, *, within: timedelta) -> int:
    """How often an invoice was tried for this reason lately, by the database's clock."""
    statement = select(func.count()).where(
        Attempt.invoice_id == invoice_id,
        Attempt.trigger == trigger,
        Attempt.recorded_at > func.now() - literal(within),
    )
    return int(await session.scalar(statement) or 0)


async def open_invoices(session: AsyncSession, customer_id: str) -> Sequence[Invoice]:
    """A customer's invoices that are not paid yet, oldest first."""
    statement = (
        select(Invoice)
        .where(Invoice.customer_id == customer_id, Invoice.status == "open")
        .order_by(Invoice.issued_at, Invoice.number)
    )
    return (await session.scalars(statement)).all()
