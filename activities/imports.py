"""Applying an uploaded file, a page at a time: take the rows into the books once, start the subscriptions among them.

Rows are taken in one transaction with the counts, so each is counted once however often a page is tried; what was
taken and not started before a crash is found by asking the books, and starting twice is starting once.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final, Protocol

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession
from temporalio import activity

from activities.import_items import Brought, Written, known_items, write_items
from activities.import_rows import known, read_starts, write_subscribers, write_verdicts
from domain.errors import InvalidInput, Unavailable
from domain.import_cells import Taken
from domain.import_fields import Kind
from domain.import_items import Method
from domain.import_subscribers import Subscriber
from domain.imports import FIRST_ROW, Refusal, page, refuse
from domain.mapping import Plan, read_mapping
from domain.messages import Start
from domain.state import State
from models.queries_tax import tax_terms_of
from models.session import Database
from providers.gateways.base import Gateway, MethodDetails

PAGE_ROWS_MAX: Final = 1_000
BATCH_ROWS_MAX: Final = 100
AT_ONCE_MAX: Final = 20
BOOKS_POLL_S: Final = 0.2
BOOKS_POLLS_MAX: Final = 1_500


@dataclass(frozen=True, slots=True)
class ImportRequest:
    """The import to apply, by id, from a row on; its file and mapping are in the database."""

    import_id: str
    first_row: int = FIRST_ROW


@dataclass(frozen=True, slots=True)
class ImportProgress:
    """Where to go on; None: the import has ended."""

    next_row: int | None


class Starter(Protocol):
    """How a subscription is started (`workflows.commands` is the real one)."""

    async def start(self, start: Start, *, wait: bool = True) -> State | None: ...


class Imports:
    """Activities of imports. `gateways` by name."""

    def __init__(self, database: Database, gateways: Mapping[str, Gateway], starter: Starter) -> None:
        self._database = database
        self._gateways = gateways
        self._starter = starter

    @activity.defn(name="import_page")
    async def import_page(self, request: ImportRequest) -> ImportProgress:
        """Apply the next page of rows; answers when all its subscriptions are in the books. Safe to repeat."""
        async with self._database.begin() as connection:
            file = (await connection.execute(_FILE, {"import": request.import_id})).one()
        try:
            plan = read_mapping(file.mapping, Kind(file.kind))
            # In a thread: the largest file takes a second to go through.
            rows = await asyncio.to_thread(page, file.content.decode(), plan, request.first_row, PAGE_ROWS_MAX)
        except InvalidInput as error:
            return await self._end(request.import_id, "failed", f"{error.field}: {error.message}")
        for start in range(0, len(rows), BATCH_ROWS_MAX):
            batch = rows[start : start + BATCH_ROWS_MAX]
            await self._take(request.import_id, file.actor, batch)
            await self._start(request.import_id, plan, batch)
        await self._in_the_books(request.import_id, plan, rows)
        if len(rows) < PAGE_ROWS_MAX:
            return await self._end(request.import_id, "done", None)
        return ImportProgress(rows[-1].row + 1)

    async def _take(self, import_id: str, actor: str, batch: Sequence[Taken | Refusal]) -> None:
        """Write all but the subscriptions themselves, with the counts. Rows taken before are left alone."""
        async with self._database.session() as session:
            taken_to = await session.scalar(_NEXT_ROW, {"import": import_id})
            batch = [row for row in batch if row.row >= taken_to]
            if not batch:
                return
            before = await _known(session, _taken(batch))
        fresh = [row for row in _taken(batch) if row.external_id not in before]
        methods, unknown = await self._describe(fresh)
        refused = [row for row in batch if isinstance(row, Refusal)] + unknown
        async with self._database.session() as session:
            if await session.scalar(_NEXT_ROW, {"import": import_id}) != taken_to:
                return  # another try of this page, thought dead, has taken them
            written = await _write(session, _without(fresh, unknown), Brought(actor, methods))
            refused += written.refused
            known_rows = len(before) + written.known
            await write_verdicts(
                await session.connection(),
                import_id,
                next_row=batch[-1].row + 1,
                applied=len(batch) - known_rows - len(refused),
                known=known_rows,
                refused=refused,
            )

    async def _start(self, import_id: str, plan: Plan, batch: Sequence[Taken | Refusal]) -> None:
        gate = asyncio.Semaphore(AT_ONCE_MAX)

        async def start(one: Start) -> None:
            async with gate:
                await self._starter.start(one, wait=False)
                activity.heartbeat()

        await asyncio.gather(*(start(one) for one in await self._wanted(import_id, plan, batch)))

    async def _wanted(self, import_id: str, plan: Plan, rows: Sequence[Taken | Refusal]) -> list[Start]:
        subscribers = _subscribers(rows)
        if not subscribers:
            return []
        async with self._database.begin() as connection:
            starts = await read_starts(
                connection, import_id, subscribers, test_mode=plan.test_mode, trigger=plan.trigger
            )
            terms = await tax_terms_of(connection, sorted({start.customer_id for start in starts}))
        return [replace(start, tax=terms[start.customer_id]) for start in starts]

    async def _in_the_books(self, import_id: str, plan: Plan, rows: Sequence[Taken | Refusal]) -> None:
        """Wait until what was started is running and can be read. Raises `Unavailable`: the page is tried again."""
        missing = {start.external_id or "" for start in await self._wanted(import_id, plan, rows)}
        for _ in range(BOOKS_POLLS_MAX):
            if not missing:
                return
            activity.heartbeat()
            await asyncio.sleep(BOOKS_POLL_S)
            async with self._database.begin() as connection:
                missing -= await known(connection, missing)
        raise Unavailable(f"{len(missing)} subscriptions, such as {min(missing)}, are not in the books yet")

    async def _describe(self, rows: Sequence[Taken]) -> tuple[dict[str, MethodDetails], list[Refusal]]:
        """What the gateway says of each token, by external id; a token it does not know refuses the row."""
        gate = asyncio.Semaphore(AT_ONCE_MAX)

        async def describe(row: Subscriber | Method) -> MethodDetails | Refusal:
            section = "payment_method." if isinstance(row, Subscriber) else ""
            gateway = self._gateways.get(row.gateway)
            if gateway is None:
                return refuse(row, f"{section}gateway", f"is one of {', '.join(sorted(self._gateways))}")
            async with gate:
                details = await gateway.describe(row.token)
                activity.heartbeat()
            if details is None:
                return refuse(row, f"{section}token", f"the gateway {row.gateway} knows no such token")
            return details

        asked = [row for row in rows if isinstance(row, Subscriber | Method) and row.token]
        answers = await asyncio.gather(*(describe(row) for row in asked))
        told = dict(zip((row.external_id for row in asked), answers, strict=True))
        methods = {key: answer for key, answer in told.items() if isinstance(answer, MethodDetails)}
        return methods, [answer for answer in answers if isinstance(answer, Refusal)]

    async def _end(self, import_id: str, status: str, error: str | None) -> ImportProgress:
        async with self._database.begin() as connection:
            await connection.execute(_ENDED, {"import": import_id, "status": status, "error": error})
        return ImportProgress(None)


async def _known(session: AsyncSession, rows: Sequence[Taken]) -> frozenset[str]:
    """The external ids of those rows that were applied before."""
    if rows and not isinstance(rows[0], Subscriber):
        return await known_items(session, rows)
    return await known(await session.connection(), (row.external_id for row in rows))


async def _write(session: AsyncSession, rows: Sequence[Taken], by: Brought) -> Written:
    """All rows of a file are of one kind."""
    if rows and not isinstance(rows[0], Subscriber):
        return await write_items(session, rows, by)
    return Written(0, await write_subscribers(await session.connection(), _subscribers(rows), by.methods))


def _taken(rows: Sequence[Taken | Refusal]) -> list[Taken]:
    return [row for row in rows if isinstance(row, Taken)]


def _subscribers(rows: Sequence[Taken | Refusal]) -> list[Subscriber]:
    return [row for row in rows if isinstance(row, Subscriber)]


def _without(rows: Sequence[Taken], refused: Sequence[Refusal]) -> list[Taken]:
    numbers = {row.row for row in refused}
    return [row for row in rows if row.row not in numbers]


_FILE = text("SELECT kind, actor, content, mapping FROM imports WHERE id = :import")

# Locked: two tries of one page take turns.
_NEXT_ROW = text("SELECT next_row FROM imports WHERE id = :import FOR UPDATE")

_ENDED = text("UPDATE imports SET status = :status, error = :error, ended_at = now() WHERE id = :import")
