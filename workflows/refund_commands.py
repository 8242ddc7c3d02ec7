"""The door to the refunds: typed openings, commands and queries for API, console and command line.

Everything here may be repeated: ids come from the caller's identity, and a repetition finds what was done, also when
the refund is over and its workflow has ended.
"""

from __future__ import annotations

import asyncio
from datetime import datetime, timedelta
from typing import Any

from temporalio.client import Client, WorkflowFailureError, WorkflowHandle
from temporalio.common import WorkflowIDReusePolicy
from temporalio.exceptions import WorkflowAlreadyStartedError
from temporalio.service import RPCError

from domain.errors import Broken, InvalidInput, NotFound, Refused, Unavailable
from domain.refund_commands import handle
from domain.refund_messages import OpenRefund, RefundEnvelope, RefundResult
from domain.refund_state import RefundState
from domain.refunds import is_over
from workflows.answers import answered, away, updated
from workflows.inputs import RefundInput
from workflows.refund import RefundWorkflow
from workflows.time_travel import TimeTravel

NOUN = "refund"
REFUND_ADVANCE_MAX = timedelta(days=366)
REFUND_ADVANCE_TIMEOUT_S = 300


def refund_workflow_id(refund_id: str) -> str:
    """The id of a refund's workflow."""
    return f"refund:{refund_id}"


class RefundCommands:
    """Opens, commands and queries refunds, with errors of `domain.errors` only."""

    def __init__(self, client: Client, task_queue: str, travel: TimeTravel) -> None:
        self._client = client
        self._task_queue = task_queue
        self._travel = travel

    async def open(self, wanted: OpenRefund) -> RefundState:
        """Give money of a charge back, once for each id; the answer comes after the first call to the gateway.

        Raises `Refused` where a rule forbids it (nothing was reserved then), `NotFound` without such a charge,
        `InvalidInput` for an amount below one, `Unavailable` where the answer takes long (repeat it with the same id).
        """
        if wanted.amount is not None and wanted.amount < 1:
            raise InvalidInput("amount", "must be at least 1, in the smallest unit of the charge's currency")
        client = self._travel.client if wanted.test_mode else self._client
        try:
            await client.start_workflow(
                RefundWorkflow.run,
                RefundInput(wanted=wanted),
                id=refund_workflow_id(wanted.id),
                task_queue=self._task_queue,
                id_reuse_policy=WorkflowIDReusePolicy.REJECT_DUPLICATE,
                static_summary=f"Refund {wanted.id} of charge {wanted.attempt_id}",
            )
        except WorkflowAlreadyStartedError:
            pass  # the same wish, repeated
        except RPCError as error:
            raise away(error) from error
        return await self.settled(wanted.id)

    async def send(self, refund_id: str, envelope: RefundEnvelope) -> RefundState:
        """Send a command; the answer is the refund after it, in the books.

        Raises `NotFound`, `Refused` (with what is allowed now), or `Unavailable` (repeat it with the same id).
        """
        try:
            return await self._update(refund_id, RefundWorkflow.command, [envelope], envelope.id)
        except NotFound:
            ended = await self._ended(refund_id)
            return handle(ended, envelope, ended.ended_at or ended.requested_at)

    async def settled(self, refund_id: str) -> RefundState:
        """The refund once nothing is left to do at its own time. Raises its refusal where none was opened."""
        try:
            return await self._update(refund_id, RefundWorkflow.settled, [], None)
        except NotFound:
            return await self._ended(refund_id)

    async def virtual_now(self, refund_id: str) -> datetime:
        """The refund's own time: the wall clock, or ahead of it in test mode; an ended one's stands still."""
        state = await self.settled(refund_id)
        if state.ended_at is not None:
            return state.ended_at
        now = await answered(lambda: self._travel.now(self._handle(refund_id)), noun=NOUN)
        return now + timedelta(seconds=state.ahead_s)

    async def advance(self, refund_id: str, by: timedelta) -> RefundState:
        """Move a test-mode refund through time; answers when it has arrived, or is over, and all is in the books."""
        if not timedelta(0) < by <= REFUND_ADVANCE_MAX:
            raise InvalidInput("advance", f"must be more than nothing and at most {REFUND_ADVANCE_MAX.days} days")
        state = await self.settled(refund_id)
        if not state.test_mode:
            raise Refused("not_in_test_mode", "only a refund of a test-mode subscription can be moved through time")
        if is_over(state):
            raise Refused("refund_ended", f"this refund is over ({state.status}): nothing of it lies ahead")
        try:
            async with asyncio.timeout(REFUND_ADVANCE_TIMEOUT_S):
                await self._update(refund_id, RefundWorkflow.depart, [by], None)
                await self._travel.advance(self._handle(refund_id), by)
                return await self._update(refund_id, RefundWorkflow.arrive, [], None)
        except TimeoutError as error:
            raise Unavailable("the advance takes longer than expected; its refund goes on") from error
        except NotFound:
            return await self._ended(refund_id)  # it ended on the way

    async def _ended(self, refund_id: str) -> RefundState:
        """How a refund whose workflow has ended came out."""
        handle = self._handle(refund_id)
        try:
            result = await answered(handle.result, noun=NOUN)
        except WorkflowFailureError as error:
            raise Broken(f"the workflow of refund {refund_id} was ended from outside") from error
        if result.refusal is not None:
            raise result.refusal.as_error()
        if result.state is None:
            raise Broken(f"refund {refund_id} ended without a state")
        return result.state

    async def _update(self, refund_id: str, update: Any, args: list[Any], identity: str | None) -> RefundState:
        return await updated(self._handle(refund_id), update, args, identity=identity, noun=NOUN)

    def _handle(self, refund_id: str) -> WorkflowHandle[RefundWorkflow, RefundResult]:
        return self._client.get_workflow_handle_for(RefundWorkflow.run, refund_workflow_id(refund_id))
