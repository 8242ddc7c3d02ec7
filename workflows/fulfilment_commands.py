"""The door to fulfilments: commands of people, words from outside, batches of files, each done once."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from temporalio.client import ActivityFailureError, Client
from temporalio.common import ActivityIDConflictPolicy

from activities.fulfilment_batches import BatchOrder
from activities.fulfilments import FulfilmentOrder, Ordered, ParcelWord
from domain.errors import Broken
from domain.ids import derive
from workflows.answers import ANSWER_TIMEOUT_S, answered
from workflows.policies import BATCH_TIMEOUT, BOOKS_GIVEN_UP_AFTER, BOOKS_RETRY, STEP_TIMEOUT


class FulfilmentCommands:
    """What people and providers may ask of fulfilments, with errors of `domain.errors` only."""

    def __init__(self, client: Client, task_queue: str) -> None:
        self._client = client
        self._task_queue = task_queue

    async def give(self, order: FulfilmentOrder) -> str:
        """Give a command; returns the id of the fulfilment to look at (of a reship, the new one).

        Raises `Refused`, `NotFound`, or `Unavailable` where no worker answers: repeat it with the same id.
        """
        return _accepted(await self._run("command_fulfilment", order, f"fulfilment-command:{order.id}", Ordered))

    async def hear(self, word: ParcelWord, event_id: str) -> str:
        """What came of a word from outside: `unknown`, `nothing new`, or the status it has now."""
        return await self._run("hear_of_parcel", word, f"parcel-event:{derive('word', event_id)}", str)

    async def hear_many(self, words: Sequence[ParcelWord], upload_id: str) -> list[str]:
        """The same for the rows of a file."""
        return await self._run("hear_of_parcels", list(words), f"parcel-events:{upload_id}", list[str], long=True)

    async def hand_off_batch(self, order: BatchOrder) -> str:
        """Hand off what is pending as one file; returns the batch's id. Raises `Refused` or `Unavailable`."""
        return _accepted(
            await self._run("hand_off_batch", order, f"fulfilment-batch:{order.batch_id}", Ordered, long=True)
        )

    async def _run(self, name: str, asked: Any, identity: str, kind: Any, *, long: bool = False) -> Any:
        async def run() -> Any:
            handle = await self._client.start_activity(
                name,
                asked,
                id=identity,
                task_queue=self._task_queue,
                result_type=kind,
                start_to_close_timeout=BATCH_TIMEOUT if long else STEP_TIMEOUT,
                schedule_to_close_timeout=BOOKS_GIVEN_UP_AFTER,
                retry_policy=BOOKS_RETRY,
                id_conflict_policy=ActivityIDConflictPolicy.USE_EXISTING,
            )
            return await handle.result(rpc_timeout=timedelta(seconds=ANSWER_TIMEOUT_S))

        try:
            return await answered(run, noun="fulfilment")
        except ActivityFailureError as error:
            raise Broken(f"{identity} failed: {error.cause}") from error


def _accepted(ordered: Ordered) -> str:
    if ordered.fulfilment_id is None:
        raise ordered.as_error()
    return ordered.fulfilment_id
