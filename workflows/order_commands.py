"""The door to the orders: typed openings and commands for API, console and command line.

Everything here may be repeated: ids come from the caller's identity, and a repetition finds what was done.
"""

from __future__ import annotations

from typing import Any

from temporalio.client import Client, WorkflowFailureError, WorkflowHandle
from temporalio.common import WorkflowIDReusePolicy
from temporalio.exceptions import WorkflowAlreadyStartedError
from temporalio.service import RPCError

from domain.errors import Broken, NotFound, Refused
from domain.order_commands import handle
from domain.order_lines import check_lines
from domain.order_messages import OpenOrder, OrderEnvelope
from domain.order_state import OrderState
from workflows.answers import answered, away, updated
from workflows.inputs import OrderInput
from workflows.order import OrderWorkflow

NOUN = "order"


def order_workflow_id(order_id: str) -> str:
    """The id of an order's workflow."""
    return f"order:{order_id}"


class OrderCommands:
    """Opens, commands and queries orders, with errors of `domain.errors` only."""

    def __init__(self, client: Client, task_queue: str) -> None:
        self._client = client
        self._task_queue = task_queue

    async def open(self, wanted: OpenOrder) -> OrderState:
        """Begin an order, once for each id; the answer is its state in the books. Raises `InvalidInput`."""
        check_lines(wanted.lines, wanted.currency)
        try:
            await self._client.start_workflow(
                OrderWorkflow.run,
                OrderInput(wanted=wanted),
                id=order_workflow_id(wanted.id),
                task_queue=self._task_queue,
                id_reuse_policy=WorkflowIDReusePolicy.REJECT_DUPLICATE,
                static_summary=f"Order {wanted.id}",
            )
        except WorkflowAlreadyStartedError:
            pass  # the same order, repeated
        except RPCError as error:
            raise away(error) from error
        return await self.settled(wanted.id)

    async def send(self, order_id: str, envelope: OrderEnvelope) -> OrderState:
        """Send a command; the answer is the order after it, in the books.

        Raises `NotFound`, `Refused` (with what is allowed now), `InvalidInput`, or `Unavailable` (repeat it with the
        same id).
        """
        try:
            return await self._update(order_id, OrderWorkflow.command, [envelope], envelope.id)
        except NotFound:
            ended = await self._ended(order_id)
            return handle(ended, envelope, ended.ended_at or ended.created_at)

    async def send_if_taken(self, order_id: str, envelope: OrderEnvelope) -> None:
        """Send a command that is right to drop where it makes no sense any more: somebody else has paid, say."""
        try:
            await self.send(order_id, envelope)
        except (Refused, NotFound):
            return

    async def settled(self, order_id: str) -> OrderState:
        """The order once nothing is left to do at this time."""
        try:
            return await self._update(order_id, OrderWorkflow.settled, [], None)
        except NotFound:
            return await self._ended(order_id)

    async def state(self, order_id: str) -> OrderState:
        """The live state, asked of the workflow itself."""
        handle = self._handle(order_id)
        return await answered(lambda: handle.query(OrderWorkflow.state), noun=NOUN)

    async def _ended(self, order_id: str) -> OrderState:
        """How an order whose workflow has ended came out."""
        handle = self._handle(order_id)
        try:
            return await answered(handle.result, noun=NOUN)
        except WorkflowFailureError as error:
            raise Broken(f"the workflow of order {order_id} was ended from outside") from error

    async def _update(self, order_id: str, update: Any, args: list[Any], identity: str | None) -> OrderState:
        return await updated(self._handle(order_id), update, args, identity=identity, noun=NOUN)

    def _handle(self, order_id: str) -> WorkflowHandle[OrderWorkflow, OrderState]:
        return self._client.get_workflow_handle_for(OrderWorkflow.run, order_workflow_id(order_id))
