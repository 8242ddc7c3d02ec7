"""A batch: what is to be shipped is handed off as one file, once; what cannot go says why."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from sqlalchemy import text
from temporalio import activity

from activities.fulfilments import Ordered
from activities.parcels import Line, halt, has_address, hold, pin, save
from domain.errors import Refused
from domain.fulfilment import Send, Stop, Wait, next_step, sending, taken
from models.session import Database
from providers.fulfilment.base import FulfilmentProvider

BATCH_MAX: Final = 500


@dataclass(frozen=True, slots=True)
class BatchOrder:
    """A batch to be made. `batch_id` is its identity."""

    batch_id: str
    actor: str
    test_mode: bool = False
    limit: int = BATCH_MAX


class FulfilmentBatches:
    """The activity of batches. `delay`: as of `Fulfilments`."""

    def __init__(self, database: Database, provider: FulfilmentProvider, *, delay: timedelta = timedelta(0)) -> None:
        self._database = database
        self._provider = provider
        self._delay = delay

    @activity.defn(name="hand_off_batch")
    async def hand_off_batch(self, order: BatchOrder) -> Ordered:
        """Hand off the oldest that wait, all in one transaction; safe to repeat."""
        if not self._provider.by_batch:
            refusal = Refused("handed_off_one_by_one", "Parcels are handed off to the provider as they are paid.")
            return Ordered.refused(refusal)
        async with self._database.begin() as connection:
            made = await connection.scalar(
                _BATCH, {"id": order.batch_id, "actor": order.actor, "test_mode": order.test_mode}
            )
            if made is None:
                return Ordered(order.batch_id)
            waiting = await connection.execute(
                _WAITING, {"test_mode": order.test_mode, "delay": self._delay, "limit": order.limit}
            )
            ids, sent = waiting.scalars().all(), 0
            for identity in ids:
                held = await hold(connection, identity)
                if held is None:
                    continue
                ready = await has_address(connection, held)
                match next_step(held.fulfilment, held.payment, is_due=True, has_address=ready, by_itself=True):
                    case Send():
                        await pin(connection, held, self._provider.name, order.batch_id)
                        line = Line("handed_off", order.actor, data={"batch_id": order.batch_id})
                        await save(connection, held, taken(sending(held.fulfilment)), line)
                        sent += 1
                    case Stop():
                        await halt(connection, held)
                    case Wait() as wait if wait.attention and held.row.attention is None:
                        line = Line("waits", reason=wait.why)
                        await save(connection, held, held.fulfilment, line, attention=wait.why)
                    case _:
                        pass
                activity.heartbeat()
            await connection.execute(_COUNT, {"id": order.batch_id, "sent": sent, "left_out": len(ids) - sent})
        return Ordered(order.batch_id)


_BATCH = text(
    """
INSERT INTO fulfilment_batches (id, actor, test_mode) VALUES (:id, :actor, :test_mode)
ON CONFLICT DO NOTHING RETURNING id
"""
)
# Two batches at once share nothing: what one holds, the other passes over.
_WAITING = text(
    """
SELECT id FROM fulfilments
WHERE status = 'pending' AND test_mode = :test_mode AND recorded_at + :delay <= now()
ORDER BY at, id LIMIT :limit FOR UPDATE SKIP LOCKED
"""
)
_COUNT = text("UPDATE fulfilment_batches SET fulfilments = :sent, left_out = :left_out WHERE id = :id")
