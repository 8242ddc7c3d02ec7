"""Reads of merges: a customer as far as it decides whether it may go into another, and the merges there were."""

from __future__ import annotations

from typing import Any, Final

from sqlalchemy import and_, exists, func, or_, select
from sqlalchemy.ext.asyncio import AsyncSession

from domain.merging import MergeStatus, Party
from models.base import Base
from models.billing import Invoice, Subscription
from models.credits import Voucher
from models.customers import Customer, PaymentMethod
from models.logins import CustomerLogin
from models.merges import Merge, MergeMove
from models.paging import KeyPart, Keyset, Page, page
from models.relations import Note, Review
from models.search import CustomValue
from models.tasks import Task

MERGES: Final = Keyset("merges", (Merge.at, Merge.id))
MOVES: Final = Keyset("merge_moves", (MergeMove.what, MergeMove.row_id), newest_first=False)
ALIKE_MAX: Final = 100
UNDER_WAY: Final = (MergeStatus.RUNNING.value, MergeStatus.UNDOING.value)

# What a preview counts; the rest of what moves hangs on these.
_COUNTED: Final[dict[str, type[Base]]] = {
    "subscriptions": Subscription,
    "invoices": Invoice,
    "payment_methods": PaymentMethod,
    "notes": Note,
    "tasks": Task,
    "vouchers": Voucher,
    "reviews": Review,
    "custom_values": CustomValue,
}


async def merge(session: AsyncSession, merge_id: str, *, lock: bool = False) -> Merge | None:
    return await session.get(Merge, merge_id, with_for_update=lock or None)


async def merges(
    session: AsyncSession,
    *,
    customer_id: str | None,
    status: str | None,
    after: tuple[KeyPart, ...] | None,
    limit: int,
) -> Page[Merge]:
    """Newest first. `customer_id`: as master or as loser."""
    statement = select(Merge)
    if customer_id is not None:
        statement = statement.where(or_(Merge.master_id == customer_id, Merge.loser_id == customer_id))
    if status is not None:
        statement = statement.where(Merge.status == status)
    return await page(session, statement, MERGES, after=after, limit=limit)


async def moves(
    session: AsyncSession, merge_id: str, *, after: tuple[KeyPart, ...] | None, limit: int
) -> Page[MergeMove]:
    statement = select(MergeMove).where(MergeMove.merge_id == merge_id)
    return await page(session, statement, MOVES, after=after, limit=limit)


async def party(session: AsyncSession, row: Customer) -> Party:
    """The customer as far as it decides. One statement."""
    login = CustomerLogin.customer_id == row.id
    disabled = and_(
        login,
        CustomerLogin.disabled_at.is_not(None),
        or_(CustomerLogin.disabled_until.is_(None), CustomerLogin.disabled_until > func.now()),
    )
    involved = or_(Merge.master_id == row.id, Merge.loser_id == row.id)
    statement = select(
        select(func.count()).select_from(Customer).where(Customer.parent_id == row.id).scalar_subquery(),
        exists().where(login),
        exists().where(disabled),
        exists().where(involved, Merge.status.in_(UNDER_WAY)),
    )
    children, has_login, is_disabled, busy = (await session.execute(statement)).one()
    return Party(row.id, row.merged_into, row.parent_id, row.payer_id, children, has_login, is_disabled, busy)


async def counts(session: AsyncSession, customer_id: str) -> dict[str, int]:
    """How many rows of each kind the customer has. One statement."""
    statement = select(
        *(
            select(func.count())
            .select_from(model)
            .where(model.__table__.c.customer_id == customer_id)
            .scalar_subquery()
            .label(name)
            for name, model in _COUNTED.items()
        )
    )
    row: Any = (await session.execute(statement)).mappings().one()
    return {name: int(count) for name, count in row.items()}


async def doubled_reviews(session: AsyncSession, master_id: str, loser_id: str) -> list[Review]:
    """The loser's reviews of products that the master has reviewed too."""
    own = select(Review.product_id).where(Review.customer_id == master_id)
    statement = select(Review).where(
        Review.customer_id == loser_id, Review.status == "shown", Review.product_id.in_(own)
    )
    return list((await session.scalars(statement)).all())


async def owner_when_issued(session: AsyncSession, what: str, row_id: str, owner: str) -> str:
    """Whose a row was before any merge that still stands; `owner` where none moved it."""
    statement = (
        select(MergeMove.old_owner)
        .where(MergeMove.what == what, MergeMove.row_id == row_id, MergeMove.undone_at.is_(None))
        .order_by(MergeMove.moved_at)
        .limit(1)
    )
    return await session.scalar(statement) or owner


async def verified_alike(session: AsyncSession, verified_email: str) -> list[Customer]:
    """Everybody who has proved this address (in the form of `domain.blacklist`) and was not merged."""
    statement = (
        select(Customer)
        .where(Customer.verified_email == verified_email, Customer.merged_into.is_(None))
        .order_by(Customer.created_at, Customer.id)
        .limit(ALIKE_MAX)
    )
    return list((await session.scalars(statement)).all())
