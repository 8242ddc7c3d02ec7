"""What goes with a customer who is removed, what keeps one from being removed, and what stays; table by table."""

from __future__ import annotations

from typing import Final

from sqlalchemy import ColumnElement, delete, exists, or_, select, text
from sqlalchemy.ext.asyncio import AsyncSession

from models.base import Base
from models.billing import Attempt, Invoice, LedgerEntry, Message, Subscription
from models.card_life import CardChange, CardNotice
from models.contact import PhoneCall, StaffLetter
from models.credits import CreditTransfer, Voucher
from models.customers import Address, Customer, CustomerChange, PaymentMethod
from models.discounts import CustomerDiscount, Redemption
from models.letters import ReceivedMail
from models.links import CustomerLink
from models.logins import CustomerLogin, LoginPlace
from models.merges import Merge
from models.orders import Basket, Order
from models.relations import Note, NoteVersion, PointMovement, Review
from models.search import CustomerSearch, CustomValue
from models.tasks import Task

# Deleted with the customer, those that others point to after those that point.
GOES: Final[tuple[type[Base], ...]] = (
    Address,
    CardChange,
    CardNotice,
    CustomerChange,
    CustomerLink,
    CustomerDiscount,
    CustomerLogin,
    CustomerSearch,
    CustomValue,
    LoginPlace,
    Message,
    Note,
    PaymentMethod,
    PhoneCall,
    PointMovement,
    Redemption,
    Review,
    StaffLetter,
    Task,
)
# One row of these, and something was billed, promised or ordered.
BILLED: Final[tuple[type[Base], ...]] = (
    Attempt,
    Basket,
    CreditTransfer,
    Invoice,
    LedgerEntry,
    Order,
    Subscription,
    Voucher,
)
# They hang on a charge or an invoice, so there is none where there is none of those.
IMPLIED: Final = ("credit_notes", "disputes", "fulfilments", "refunds")
# They hold the id and nothing else of the person: what was done stays known, and what a gateway reported.
STAYS: Final = ("access_log", "activity_log", "differences")
# A customer that had a part in a merge is not removed.
HELD: Final = ("merge_moves", "merges")


async def obstacle(session: AsyncSession, customer_id: str) -> str | None:
    """The code of what keeps this customer: `billed`, `has_children`, `was_merged`, `on_its_way`; None for nothing.

    One statement.
    """
    unwritten = select(StaffLetter.id).where(StaffLetter.customer_id == customer_id)
    statement = select(
        or_(
            exists().where(or_(Attempt.customer_id == customer_id, Attempt.payer_id == customer_id)),
            *(exists().where(_owned(table, customer_id)) for table in BILLED if table is not Attempt),
        ).label("billed"),
        exists().where(Customer.parent_id == customer_id).label("has_children"),
        exists().where(or_(Merge.master_id == customer_id, Merge.loser_id == customer_id)).label("was_merged"),
        or_(
            exists().where(Message.customer_id == customer_id, Message.status == "pending"),
            exists().where(PhoneCall.customer_id == customer_id, PhoneCall.status == "pending"),
            unwritten.where(~exists().where(Message.id == StaffLetter.id)).exists(),
        ).label("on_its_way"),
    )
    row = (await session.execute(statement)).mappings().one()
    return next((str(code) for code, holds in row.items() if holds), None)


async def remove(session: AsyncSession, customer: Customer) -> dict[str, int]:
    """Delete the customer with all that goes; table → rows deleted. The caller has locked it and asked `obstacle`."""
    await session.execute(text("SELECT set_config('dunlin.removes_customer', 'yes', true)"))
    notes = select(Note.id).where(Note.customer_id == customer.id)
    gone = {NoteVersion.__tablename__: await _deleted(session, NoteVersion, NoteVersion.note_id.in_(notes))}
    letters = select(Message.id).where(Message.customer_id == customer.id)
    gone[ReceivedMail.__tablename__] = await _deleted(session, ReceivedMail, ReceivedMail.message_id.in_(letters))
    for table in GOES:
        gone[table.__tablename__] = await _deleted(session, table, _owned(table, customer.id))
    await session.delete(customer)
    await session.flush()
    return gone


def _owned(table: type[Base], customer_id: str) -> ColumnElement[bool]:
    return table.__table__.c.customer_id == customer_id


async def _deleted(session: AsyncSession, table: type[Base], which: ColumnElement[bool]) -> int:
    removed = await session.execute(delete(table).where(which).returning(text("1")))
    return len(removed.all())
