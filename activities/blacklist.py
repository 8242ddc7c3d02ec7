"""The blacklist as billing meets it: entries of a lost dispute, and whose running subscriptions are charged no more."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from sqlalchemy import exists, or_, select, text, tuple_
from sqlalchemy.ext.asyncio import AsyncConnection

from domain.blacklist import Mark, Place, marks
from domain.ids import derive
from models.customers import Address, Customer
from models.disputes import BlacklistEntry


async def blacklist(
    connection: AsyncConnection, wanted: Iterable[Mark], *, cause: str, actor: str, reason: str
) -> None:
    """One entry for each mark that has none in force. `cause` is the id of what led to it: it is written once.

    An entry that a person has taken off since stays off, however often this is repeated.
    """
    for mark in sorted(wanted):
        await connection.execute(
            _ADD,
            {
                "id": derive("blk", cause, mark.kind, mark.value),
                "kind": mark.kind.value,
                "value": mark.value,
                "reason": reason,
                "actor": actor,
            },
        )


async def is_stopped(connection: AsyncConnection, customer_ids: Sequence[str], kinds: Sequence[str]) -> bool:
    """Whether the blacklist knows one of these customers by a mark of such a kind. Merged ones count as they do."""
    people = await connection.execute(
        select(Customer.email, Customer.phone).where(
            or_(Customer.id.in_(customer_ids), Customer.merged_into.in_(customer_ids))
        )
    )
    homes = await connection.execute(
        select(Address.line1, Address.line2, Address.postal_code, Address.city, Address.country).where(
            Address.customer_id.in_(customer_ids)
        )
    )
    known = marks(places=[Place(*home) for home in homes]).union(
        *(marks(email=person.email, phone=person.phone) for person in people)
    )
    wanted = [(mark.kind.value, mark.value) for mark in sorted(known) if mark.kind in kinds]
    listed = tuple_(BlacklistEntry.kind, BlacklistEntry.value).in_(wanted)
    return bool(await connection.scalar(select(exists().where(BlacklistEntry.removed_at.is_(None), listed))))


_ADD = text(
    """
INSERT INTO blacklist_entries (id, kind, value, reason, actor) VALUES (:id, :kind, :value, :reason, :actor)
ON CONFLICT DO NOTHING
"""
)
