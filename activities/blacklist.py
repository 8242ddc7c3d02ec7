"""Entries that a lost dispute puts on the blacklist, in the transaction of the dispute."""

from __future__ import annotations

from collections.abc import Iterable

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from domain.blacklist import Mark
from domain.ids import derive


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


_ADD = text(
    """
INSERT INTO blacklist_entries (id, kind, value, reason, actor) VALUES (:id, :kind, :value, :reason, :actor)
ON CONFLICT DO NOTHING
"""
)
