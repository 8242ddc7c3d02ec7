"""Reads of the blacklist, and of what a customer is recognised by."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from sqlalchemy import ColumnElement, select, tuple_
from sqlalchemy.ext.asyncio import AsyncSession

from domain.blacklist import Mark, MarkKind, Place, marks
from models.customers import Address, Customer, PaymentMethod
from models.disputes import BlacklistEntry
from models.paging import KeyPart, Keyset, Page, page

BLACKLIST: Final = Keyset("blacklist_entries", (BlacklistEntry.at, BlacklistEntry.id))

_IN_FORCE: Final[ColumnElement[bool]] = BlacklistEntry.removed_at.is_(None)


async def entry(session: AsyncSession, entry_id: str, *, lock: bool = False) -> BlacklistEntry | None:
    return await session.get(BlacklistEntry, entry_id, with_for_update=lock)


async def entries(
    session: AsyncSession,
    *,
    kind: str | None,
    wanted: Iterable[Mark] | None,
    removed: bool,
    after: tuple[KeyPart, ...] | None,
    limit: int,
) -> Page[BlacklistEntry]:
    """Newest first: those in force, or with `removed` those that were; of `wanted` marks only, unless None."""
    statement = select(BlacklistEntry).where(~_IN_FORCE if removed else _IN_FORCE)
    if kind is not None:
        statement = statement.where(BlacklistEntry.kind == kind)
    if wanted is not None:
        statement = statement.where(_one_of(wanted))
    return await page(session, statement, BLACKLIST, after=after, limit=limit)


async def listed_kinds(session: AsyncSession, wanted: Iterable[Mark]) -> tuple[MarkKind, ...]:
    """By which of these marks the blacklist knows somebody."""
    statement = select(BlacklistEntry.kind).where(_IN_FORCE, _one_of(wanted)).distinct().order_by(BlacklistEntry.kind)
    return tuple(MarkKind(kind) for kind in await session.scalars(statement))


async def marks_of(session: AsyncSession, customer: Customer) -> frozenset[Mark]:
    """All that a customer is recognised by: email, phone, addresses and working cards.

    Who was merged into a customer is that customer: a merge washes nobody clean.
    """
    merged = await session.execute(select(Customer.email, Customer.phone).where(Customer.merged_into == customer.id))
    before = [marks(email=row.email, phone=row.phone) for row in merged]
    fingerprints = await session.scalars(
        select(PaymentMethod.fingerprint).where(
            PaymentMethod.customer_id == customer.id, PaymentMethod.removed_at.is_(None)
        )
    )
    addresses = await session.scalars(select(Address).where(Address.customer_id == customer.id))
    places = [Place(row.line1, row.line2, row.postal_code, row.city, row.country) for row in addresses]
    own = marks(email=customer.email, phone=customer.phone, fingerprints=fingerprints, places=places)
    return own.union(*before)


def _one_of(wanted: Iterable[Mark]) -> ColumnElement[bool]:
    pairs = [(mark.kind.value, mark.value) for mark in sorted(wanted)]
    return tuple_(BlacklistEntry.kind, BlacklistEntry.value).in_(pairs)
