"""From a message's row to the customer: rows are dispatched in batches and sent by an activity of their own.

A row is written in the transaction of what it tells. Its dispatch follows at once; when a machine dies in between, the
step is repeated, finds the row, and dispatches it again under the same id.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Protocol

from sqlalchemy import Row, text
from temporalio import activity
from temporalio.client import Client
from temporalio.common import ActivityIDConflictPolicy, ActivityIDReusePolicy, RetryPolicy
from temporalio.exceptions import ActivityAlreadyStartedError

from domain.fulfilment import is_fulfilment
from domain.ids import derive
from domain.telling import overtaking
from models.session import Database
from providers.notifiers.base import AddressRefused, Attachment, Email, Notifier, NotifierUnavailable, Outgoing

BATCH_MAX = 50  # steps, most of which have one message
PACE_S = 0.1
SEND_TIMEOUT = timedelta(minutes=2)
SEND_GIVEN_UP_AFTER = timedelta(days=3)
SEND_RETRY = RetryPolicy(initial_interval=timedelta(seconds=2), maximum_interval=timedelta(minutes=30))


class Courier(Protocol):
    """Sees to it that messages are sent and parcels handed off."""

    async def dispatch(self, messages: Sequence[str]) -> None:
        """Returns when the sending of these (ids of messages, and of fulfilments) is sure to be tried."""
        ...


class TemporalCourier:
    """Starts `send_messages` for batches: what comes in while one start is under way goes with the next.

    So one message is on its way at once. Where several steps dispatch side by side, starts are `PACE_S` apart: a
    thousand renewals a minute do not need a thousand starts.
    """

    def __init__(self, client: Client, task_queue: str) -> None:
        self._client = client
        self._task_queue = task_queue
        self._waiting: list[tuple[Sequence[str], asyncio.Future[None]]] = []
        self._running: asyncio.Task[None] | None = None
        self._next_start = 0.0  # by the loop's clock; in the past unless the last batch was of several steps

    async def dispatch(self, messages: Sequence[str]) -> None:
        for parcel in (each for each in messages if is_fulfilment(each)):
            await self._see_to(parcel)
        messages = [each for each in messages if not is_fulfilment(each)]
        if not messages:
            return
        loop = asyncio.get_running_loop()
        started: asyncio.Future[None] = loop.create_future()
        self._waiting.append((messages, started))
        if self._running is None or self._running.done():
            self._running = loop.create_task(self._drain())
        await started

    async def _see_to(self, fulfilment: str) -> None:
        """Wake its workflow, or start it: one looks at a parcel at a time, and does what its row says is next."""
        await self._client.start_workflow(
            "Fulfilment",
            fulfilment,
            id=f"fulfilment:{fulfilment}",
            task_queue=self._task_queue,
            start_signal="look",
            static_summary=f"Fulfilment {fulfilment}",
        )

    async def _drain(self) -> None:
        clock = asyncio.get_running_loop().time
        while self._waiting:
            if len(self._waiting) < BATCH_MAX:
                await asyncio.sleep(self._next_start - clock())
            batch, self._waiting = self._waiting[:BATCH_MAX], self._waiting[BATCH_MAX:]
            self._next_start = clock() + PACE_S if len(batch) > 1 or self._waiting else 0.0
            try:
                await self._start([message for messages, _ in batch for message in messages])
            except Exception as error:  # noqa: BLE001 - handed to each that waits, who retries
                for _, started in batch:
                    if not started.done():
                        started.set_exception(error)
            else:
                for _, started in batch:
                    if not started.done():
                        started.set_result(None)

    async def _start(self, ids: list[str]) -> None:
        try:
            await self._client.start_activity(
                "send_messages",
                ids,
                id=derive("send", *ids),
                task_queue=self._task_queue,
                start_to_close_timeout=SEND_TIMEOUT,
                schedule_to_close_timeout=SEND_GIVEN_UP_AFTER,
                retry_policy=SEND_RETRY,
                id_reuse_policy=ActivityIDReusePolicy.REJECT_DUPLICATE,
                id_conflict_policy=ActivityIDConflictPolicy.USE_EXISTING,
                summary=f"{len(ids)} message(s)",
            )
        except ActivityAlreadyStartedError:
            return  # this very batch was dispatched before


@dataclass(frozen=True, slots=True)
class SendLimits:
    """How long a try takes at most. `lease` keeps other tries away; after `until` no further letter is begun, so that
    the last one, which takes at most `letter`, ends and is written down within the lease.
    """

    lease: timedelta = SEND_TIMEOUT
    until: timedelta = timedelta(seconds=75)
    letter: timedelta = timedelta(seconds=30)
    write_down_every: timedelta = timedelta(seconds=1)


SEND_LIMITS = SendLimits()


@dataclass(frozen=True, slots=True)
class _Result:
    """What became of a letter; `trouble` is what a further try may mend."""

    id: str
    status: str
    error: str | None = None
    trouble: Exception | None = None


class Messages:
    """The activity that hands messages to the notifier."""

    def __init__(
        self, database: Database, notifier: Notifier, sender: str, *, limits: SendLimits = SEND_LIMITS
    ) -> None:
        self._database = database
        self._notifier = notifier
        self._sender = sender
        self._limits = limits

    @activity.defn(name="send_messages")
    async def send_messages(self, ids: list[str]) -> int:
        """Send those not sent yet; returns how many. Raises when some have to be tried again.

        A message that the server refuses for good is marked so; none holds up another. One that is not true any more,
        because a later letter says so, is marked `overtaken` and never sent. What is left when time is up
        goes with the next try. A repeat after a lost record carries the same Message-ID.
        """
        async with self._database.begin() as connection:
            claimed = (await connection.execute(_CLAIM, {"ids": ids, "lease": self._limits.lease, **_PAIRS})).all()
        left = deque(row for row in claimed if row.ours)
        troubles: list[Exception] = []
        if len(left) < len(claimed):
            troubles.append(NotifierUnavailable("some messages are being sent by another try"))
        sent, results = 0, list[_Result]()
        clock = asyncio.get_running_loop().time
        until, write_down_at = clock() + self._limits.until.total_seconds(), clock()
        try:
            async with self._notifier.session() as way_out:
                while left and clock() < until:
                    result = await self._send(way_out, left.popleft())
                    results.append(result)
                    sent += result.status == "sent"
                    if result.trouble is not None:
                        troubles.append(result.trouble)
                    if clock() >= write_down_at:
                        await self._write_down(results)
                        results = []
                        write_down_at = clock() + self._limits.write_down_every.total_seconds()
        finally:
            await self._write_down(results, released=[row.id for row in left])
        if left:
            troubles.append(NotifierUnavailable(f"{len(left)} message(s) go with the next try: the server is slow"))
        if troubles:
            raise troubles[0]
        return sent

    async def _send(self, way_out: Outgoing, row: Row[Any]) -> _Result:
        files = (Attachment(row.name, "application", "pdf", row.content),) if row.content is not None else ()
        email = Email(row.id, self._sender, row.recipient, row.subject, row.body, row.html, attachments=files)
        try:
            async with asyncio.timeout(self._limits.letter.total_seconds()):
                await way_out.send(email)
        except AddressRefused as refused:
            return _Result(row.id, "refused", str(refused))
        except TimeoutError:
            away = NotifierUnavailable("the mail server takes too long")
            return _Result(row.id, "pending", str(away), away)
        except Exception as error:  # noqa: BLE001 - raised once the others had their turn
            return _Result(row.id, "pending", str(error) or repr(error), error)
        return _Result(row.id, "sent")

    async def _write_down(self, results: Sequence[_Result], *, released: Sequence[str] = ()) -> None:
        """The results, and the claims given back of those whose turn did not come."""
        if not results and not released:
            return
        columns = {
            "ids": [result.id for result in results],
            "statuses": [result.status for result in results],
            "errors": [result.error for result in results],
        }
        async with self._database.begin() as connection:
            await connection.execute(_SENT, columns)
            if released:
                await connection.execute(_RELEASE, {"ids": list(released)})


_PAIRS = {"old": [old for old, _ in overtaking()], "new": [new for _, new in overtaking()]}
# A lease keeps two tries, say after a crash, from sending the same message side by side.
_CLAIM = text(
    """
WITH late AS (
    SELECT m.id, min(later.id) AS by
    FROM messages AS m
    JOIN unnest(CAST(:old AS text[]), CAST(:new AS text[])) AS pair(old, new) ON pair.old = m.template
    JOIN messages AS later ON later.customer_id = m.customer_id AND later.subscription_id = m.subscription_id
        AND later.at >= m.at AND later.event_seq > m.event_seq AND later.template = pair.new
        AND later.resend_of IS NULL
    JOIN subscription_events AS was ON was.subscription_id = m.subscription_id AND was.seq = m.event_seq
    JOIN subscription_events AS has ON has.subscription_id = m.subscription_id AND has.seq = later.event_seq
    WHERE m.id = ANY(:ids) AND m.status = 'pending' AND m.resend_of IS NULL
    AND coalesce(was.data ->> 'invoice_id' = has.data ->> 'invoice_id', true)
    GROUP BY m.id
),
dropped AS (
    UPDATE messages SET status = 'overtaken', error = 'no longer true: ' || late.by FROM late
    WHERE messages.id = late.id AND status = 'pending' AND (claimed_until IS NULL OR claimed_until < now())
),
claimed AS (
    UPDATE messages SET claimed_until = now() + :lease
    WHERE id = ANY(:ids) AND status = 'pending' AND (claimed_until IS NULL OR claimed_until < now())
    AND id NOT IN (SELECT id FROM late)
    RETURNING id
)
SELECT m.id, m.recipient, m.subject, m.body, m.html, d.name, d.content, m.id IN (SELECT id FROM claimed) AS ours
FROM messages AS m LEFT JOIN documents AS d ON d.id = m.document_id
WHERE m.id = ANY(:ids) AND m.status = 'pending' AND m.id NOT IN (SELECT id FROM late) ORDER BY m.at, m.id
"""
)
_SENT = text(
    """
UPDATE messages SET status = r.status, error = r.error, tries = messages.tries + 1, claimed_until = NULL,
    sent_at = CASE WHEN r.status = 'sent' THEN now() END
FROM unnest(CAST(:ids AS text[]), CAST(:statuses AS text[]), CAST(:errors AS text[])) AS r(id, status, error)
WHERE messages.id = r.id
"""
)
_RELEASE = text("UPDATE messages SET claimed_until = NULL WHERE id = ANY(:ids) AND status = 'pending'")
