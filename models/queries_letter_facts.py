"""Facts of letters that were sent or might be: what a preview with real data is filled with."""

from __future__ import annotations

from typing import Any, Final

from sqlalchemy import select, text
from sqlalchemy.ext.asyncio import AsyncSession

from domain.ids import derive
from domain.letters import Reader
from domain.links import ID_PREFIX
from domain.telling import lines_of
from models.billing import Message
from models.contact import StaffLetter
from models.customers import Customer
from models.documents import Document
from models.links import CustomerLink
from models.queries_papers import invoice_paper
from models.refunds import RefundEvent

GIVEN_BACK: Final = "given_back"

_ABOUT: Final = text(
    """
SELECT s.id AS subscription, s.customer_id, p.name AS product, s.currency, s.amount * s.quantity AS amount, coalesce((
    SELECT concat_ws(' •••• ', nullif(m.brand, ''), nullif(m.last4, '')) FROM payment_methods AS m
    WHERE m.customer_id = coalesce(CASE c.pays WHEN 'parent' THEN c.parent_id END, c.id) AND m.removed_at IS NULL
    ORDER BY m.position, m.created_at, m.id LIMIT 1
), '') AS method
FROM subscriptions AS s JOIN products AS p ON p.id = s.product_id JOIN customers AS c ON c.id = s.customer_id
WHERE s.id = :subscription
"""
)
_LINE: Final = text(
    """
SELECT e.data, coalesce(concat_ws(' •••• ', nullif(m.brand, ''), nullif(m.last4, '')), '') AS method
FROM subscription_events AS e LEFT JOIN payment_methods AS m ON m.id = e.data ->> 'method_id'
WHERE e.subscription_id = :subscription AND (:seq = 0 OR e.seq = :seq)
AND (CAST(:kind AS text) IS NULL OR e.kind = :kind)
AND (CAST(:notice AS text) IS NULL OR e.data ->> 'message' = :notice)
ORDER BY e.seq DESC LIMIT 1
"""
)
_NEWEST: Final = text("SELECT id FROM subscriptions WHERE customer_id = :customer ORDER BY created_at DESC, id LIMIT 1")


def reader_of(row: Customer, language: str) -> Reader:
    """The customer, in their own form of this language where they have one (`de-AT` for `de`)."""
    own = row.language if row.language == language or row.language.startswith(f"{language}-") else language
    name = " ".join(part for part in (row.first_name, row.last_name) if part) or row.company
    return Reader(name, row.email, own, row.time_zone, row.first_name, row.last_name, row.company)


async def newest_subscription(session: AsyncSession, customer_id: str) -> str | None:
    return await session.scalar(_NEWEST, {"customer": customer_id})


async def facts_of_subscription(session: AsyncSession, subscription_id: str, event: str) -> dict[str, Any] | None:
    """What its last such letter told; where there was none yet, what is known of it. None: no such subscription."""
    about = await _about(session, subscription_id)
    line = lines_of(event)
    if about is None or line is None:
        return about
    return about | await _told(session, subscription_id, 0, *line)


async def facts_of_message(session: AsyncSession, row: Message) -> dict[str, Any]:
    """What this very message told."""
    facts: dict[str, Any] = {}
    if row.subscription_id is not None:
        facts |= await _about(session, row.subscription_id) or {}
    if row.subscription_id is not None and row.event_seq is not None:
        facts |= await _told(session, row.subscription_id, row.event_seq, None, None)
    if row.refund_id is not None:
        told = select(RefundEvent.data).where(RefundEvent.refund_id == row.refund_id, RefundEvent.kind == GIVEN_BACK)
        facts |= await session.scalar(told.limit(1)) or {}
    if row.document_id is not None:
        facts |= await _invoice(session, row.document_id)
    wish = await session.get(StaffLetter, row.id)
    if wish is not None:
        facts |= {**wish.values, "agent": wish.actor}
    return facts


async def link_of_message(session: AsyncSession, row: Message) -> CustomerLink | None:
    """The link that stands in this message: named after the line of the timeline, or after the message."""
    told_by_line = row.subscription_id is not None and row.event_seq is not None
    parts = (str(row.subscription_id), str(row.event_seq)) if told_by_line else (row.id,)
    return await session.get(CustomerLink, derive(ID_PREFIX, *parts))


async def _about(session: AsyncSession, subscription_id: str) -> dict[str, Any] | None:
    row = (await session.execute(_ABOUT, {"subscription": subscription_id})).mappings().one_or_none()
    return None if row is None else dict(row)


async def _told(
    session: AsyncSession, subscription_id: str, seq: int, kind: str | None, notice: str | None
) -> dict[str, Any]:
    wanted = {"subscription": subscription_id, "seq": seq, "kind": kind, "notice": notice}
    row = (await session.execute(_LINE, wanted)).one_or_none()
    if row is None:
        return {}
    return {**row.data, **({"method": row.method} if row.method else {})}


async def _invoice(session: AsyncSession, document_id: str) -> dict[str, Any]:
    kept = await session.scalar(select(Document.invoice_id).where(Document.id == document_id))
    paper = None if kept is None else await invoice_paper(session, kept)
    if paper is None:
        return {}
    return {
        "number": paper.number,
        "date": paper.on.isoformat(),
        "total": paper.total,
        "balance": paper.left_to_pay,
        "currency": paper.currency,
        "subscription": paper.subscription,
    }
