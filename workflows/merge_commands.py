"""The door to merges of customers: begun once for each id, undone within their time."""

from __future__ import annotations

from typing import Any

from temporalio.client import Client
from temporalio.common import WorkflowIDReusePolicy
from temporalio.exceptions import WorkflowAlreadyStartedError
from temporalio.service import RPCError

from activities.merges import MergeRequest, UndoMerge
from domain.credits import Refusal
from domain.errors import NotFound, Refused
from workflows.answers import answered, away, updated
from workflows.merge import MergeWorkflow

NOUN = "merge"


class MergeCommands:
    """What people may ask of merges, with errors of `domain.errors` only."""

    def __init__(self, client: Client, task_queue: str) -> None:
        self._client = client
        self._task_queue = task_queue

    async def start(self, request: MergeRequest) -> None:
        """Begin it, once for each id; returns when the loser is closed. Raises `Refused`: nothing was changed then."""
        try:
            await self._client.start_workflow(
                MergeWorkflow.run,
                request,
                id=_workflow_id(request.merge_id),
                task_queue=self._task_queue,
                id_reuse_policy=WorkflowIDReusePolicy.REJECT_DUPLICATE,
                static_summary=f"{request.loser_id} goes into {request.master_id}",
            )
        except WorkflowAlreadyStartedError:
            pass  # the same wish, repeated
        except RPCError as error:
            raise away(error) from error
        try:
            answer = await self._update(request.merge_id, MergeWorkflow.opened, [], "opened")
        except NotFound:  # it is over by now
            handle = self._client.get_workflow_handle_for(MergeWorkflow.run, _workflow_id(request.merge_id))
            answer = await answered(handle.result, noun=NOUN)
        _raise(answer)

    async def moved(self, merge_id: str) -> None:
        """Returns when everything has moved."""
        _raise(await self._update(merge_id, MergeWorkflow.moved, [], None))

    async def undo(self, wish: UndoMerge) -> None:
        """Take it back; returns when the loser is open again. Raises `Refused`, also when its time is over."""
        try:
            answer = await self._update(wish.merge_id, MergeWorkflow.undo, [wish], wish.id)
        except NotFound as error:
            raise Refused("undo_over", "This merge was undone, or its time is over.") from error
        _raise(answer)

    async def _update(self, merge_id: str, update: Any, args: list[Any], identity: str | None) -> Refusal | None:
        handle = self._client.get_workflow_handle_for(MergeWorkflow.run, _workflow_id(merge_id))
        return await updated(handle, update, args, identity=identity, noun=NOUN)


def _workflow_id(merge_id: str) -> str:
    return f"merge:{merge_id}"


def _raise(answer: Refusal | None) -> None:
    if answer is not None:
        raise answer.error()
