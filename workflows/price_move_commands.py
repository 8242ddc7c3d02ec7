"""The door to moves to another price: begun once for each id, paused, resumed and stopped."""

from __future__ import annotations

from temporalio.client import Client
from temporalio.common import WorkflowIDReusePolicy
from temporalio.exceptions import WorkflowAlreadyStartedError
from temporalio.service import RPCError

from activities.price_moves import MoveRequest
from domain.price_moves import MoveStatus
from workflows.answers import away, updated
from workflows.price_move import MoveState, PriceMoveWorkflow


class PriceMoveCommands:
    """What people may ask of a move, with errors of `domain.errors` only."""

    def __init__(self, client: Client, task_queue: str) -> None:
        self._client = client
        self._task_queue = task_queue

    async def start(self, request: MoveRequest) -> None:
        """Begin it, once for each id, however often it is called."""
        try:
            await self._client.start_workflow(
                PriceMoveWorkflow.run,
                MoveState(request),
                id=_workflow_id(request.move_id),
                task_queue=self._task_queue,
                id_reuse_policy=WorkflowIDReusePolicy.REJECT_DUPLICATE,
                static_summary=f"Move to price {request.to_price_id}",
            )
        except WorkflowAlreadyStartedError:
            return
        except RPCError as error:
            raise away(error) from error

    async def steer(self, move_id: str, status: MoveStatus, detail: str, command_id: str) -> None:
        """Pause, resume or stop; returns when the books say so. Raises `Refused`; `NotFound`: it is over."""
        handle = self._client.get_workflow_handle_for(PriceMoveWorkflow.run, _workflow_id(move_id))
        await updated(handle, PriceMoveWorkflow.steer, [status, detail], identity=command_id, noun="move")


def _workflow_id(move_id: str) -> str:
    return f"price-move:{move_id}"
