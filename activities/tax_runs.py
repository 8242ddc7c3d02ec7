"""Changed rates on their way to running subscriptions: page by page, each told how its customer is taxed by now."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Protocol

from sqlalchemy import text
from temporalio import activity

from domain.errors import DunlinError, NotFound
from domain.messages import Envelope
from domain.price_commands import set_tax_envelope
from domain.price_moves import Pace
from domain.state import State
from domain.tax import TaxTerms
from models.queries_tax import tax_terms_of
from models.session import Database

AT_ONCE_MAX: Final = 10
DETAIL_LENGTH_MAX: Final = 500


@dataclass(frozen=True, slots=True)
class TaxRunRequest:
    """All customers whose bills go to this country."""

    run_id: str
    country: str
    pace: Pace
    actor: str
    reason: str


@dataclass(frozen=True, slots=True)
class TaxPage:
    """The next page of a run: subscriptions after `cursor`."""

    run: TaxRunRequest
    cursor: str


@dataclass(frozen=True, slots=True)
class ToldPage:
    """Where to go on (None: the end), and how many were asked."""

    cursor: str | None
    asked: int


@dataclass(frozen=True, slots=True)
class TaxRunEnd:
    """The run is through."""

    run_id: str
    now: datetime


class Door(Protocol):
    """How a subscription is asked (`workflows.commands` is the real one)."""

    async def state(self, subscription_id: str) -> State: ...

    async def send(self, subscription_id: str, envelope: Envelope) -> State: ...


class TaxRuns:
    """Activities of `workflows.tax_run`."""

    def __init__(self, database: Database, door: Door) -> None:
        self._database = database
        self._door = door

    @activity.defn(name="tell_tax_page")
    async def tell_tax_page(self, page: TaxPage) -> ToldPage:
        """Tell the next subscriptions. Safe to repeat: who is taxed so already is told nothing."""
        run, size = page.run, page.run.pace.page_size
        async with self._database.begin() as connection:
            asked = {"cursor": page.cursor, "country": run.country, "limit": size}
            rows = (await connection.execute(_FOUND, asked)).all()
            terms = await tax_terms_of(connection, sorted({row.customer_id for row in rows}))
        gate = asyncio.Semaphore(AT_ONCE_MAX)

        async def tell(subscription: str, customer: str) -> str | None:
            async with gate:
                trouble = await self._tell(run, subscription, customer, terms)
                activity.heartbeat()
                return trouble

        troubles = [one for one in await asyncio.gather(*(tell(row.id, row.customer_id) for row in rows)) if one]
        last = rows[-1].id if rows else page.cursor
        async with self._database.begin() as connection:
            progress = {"run": run.run_id, "seen": len(rows), "failed": len(troubles), "cursor": page.cursor}
            detail = troubles[0][:DETAIL_LENGTH_MAX] if troubles else ""
            await connection.execute(_PROGRESS, {**progress, "last": last, "detail": detail})
        return ToldPage(last if len(rows) == size else None, len(rows))

    @activity.defn(name="end_tax_run")
    async def end_tax_run(self, end: TaxRunEnd) -> None:
        """Write down that it is through."""
        async with self._database.begin() as connection:
            await connection.execute(_END, {"run": end.run_id, "now": end.now})

    async def _tell(
        self, run: TaxRunRequest, subscription: str, customer: str, terms: Mapping[str, TaxTerms]
    ) -> str | None:
        """None where it is taxed so by now, or ended for good; else why not."""
        try:
            state = await self._door.state(subscription)
            if state.tax != terms[customer]:
                await self._door.send(subscription, set_tax_envelope(state, terms[customer], run.actor, run.reason))
        except NotFound:
            return None
        except DunlinError as error:
            return f"{subscription}: {error.message}"
        return None


_FOUND = text(
    """
SELECT s.id, s.customer_id FROM subscriptions AS s
JOIN addresses AS a ON a.customer_id = s.customer_id AND a.kind = 'billing' AND a.is_default
WHERE s.id > :cursor AND a.country = :country AND s.status <> 'canceled' ORDER BY s.id LIMIT :limit
"""
)
# A page that is repeated after its progress was written finds that it is written.
_PROGRESS = text(
    """
UPDATE tax_runs SET seen = seen + :seen, failed = failed + :failed, cursor = :last,
    detail = CASE WHEN CAST(:detail AS text) = '' THEN detail ELSE CAST(:detail AS text) END
WHERE id = :run AND cursor = :cursor
"""
)
_END = text("UPDATE tax_runs SET status = 'done', ended_at = :now WHERE id = :run AND status = 'running'")
