"""Mail that came in: found once, put where it belongs, and moved by a person where that was not clear."""

from __future__ import annotations

from sqlalchemy import func, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from domain.inbound import MailKind, OurMessage, Place, ReceivedMail, place
from models.billing import Message
from models.customers import Customer
from models.letters import ReceivedMail as ReceivedRow
from models.paging import KeyPart, Page, page
from models.queries_billing import MESSAGES

# More than one already decides nothing.
SAME_ADDRESS_SHOWN_MAX = 3


async def receive(session: AsyncSession, mail: ReceivedMail, raw: bytes) -> bool:
    """Keep a mail once, where it belongs; False where it was there already. A bounce marks what it is about."""
    where = place(mail, await _named(session, mail), await _with_address(session, mail))
    added = await session.scalar(
        insert(Message)
        .values(
            id=mail.identity,
            customer_id=where.customer_id,
            subscription_id=where.reply_to.subscription_id if where.reply_to and where.customer_id else None,
            reply_to=where.reply_to.id if where.reply_to else None,
            audience="staff",
            direction="received",
            template=mail.kind.value,
            sender=mail.sender,
            recipient=mail.recipient,
            subject=mail.subject,
            body=mail.text,
            status="received",
            error=mail.bounced or None,
            at=func.date_trunc("second", func.now()),
        )
        .on_conflict_do_nothing()
        .returning(Message.id)
    )
    if added is None:
        return False
    session.add(
        ReceivedRow(
            message_id=mail.identity,
            rfc_message_id=mail.rfc_message_id,
            kind=mail.kind.value,
            matched_by=where.matched_by,
            why=where.why,
            raw=raw,
        )
    )
    await session.flush()
    if mail.kind is MailKind.BOUNCE and where.reply_to is not None:
        await session.execute(
            update(Message)
            .where(Message.id == where.reply_to.id, Message.status == "sent", Message.direction == "sent")
            .values(status="bounced", error=mail.bounced)
        )
    return True


async def received(session: AsyncSession, message_id: str) -> ReceivedRow | None:
    """What is kept of a received message besides its row among the messages."""
    return await session.get(ReceivedRow, message_id)


def by_person(actor: str) -> Place:
    """Where a person has put a mail."""
    return Place(None, "person", f"put here by {actor}")


async def _named(session: AsyncSession, mail: ReceivedMail) -> list[OurMessage]:
    rows = await session.scalars(select(Message).where(Message.id.in_(mail.answers), Message.direction == "sent"))
    found = {
        row.id: OurMessage(row.id, row.customer_id, row.subscription_id, row.audience == "customer") for row in rows
    }
    return [found[each] for each in mail.answers if each in found]


async def _with_address(session: AsyncSession, mail: ReceivedMail) -> list[str]:
    statement = (
        select(Customer.id)
        .where(func.lower(Customer.email) == mail.sender.lower())
        .order_by(Customer.id)
        .limit(SAME_ADDRESS_SHOWN_MAX)
    )
    return list(await session.scalars(statement))


async def unplaced(session: AsyncSession, *, after: tuple[KeyPart, ...] | None, limit: int) -> Page[Message]:
    """Those that are on nobody's page."""
    statement = select(Message).where(Message.direction == "received", Message.customer_id.is_(None))
    return await page(session, statement, MESSAGES, after=after, limit=limit)
