"""The door to settlement, reconciliation and differences: what the API asks of them, with errors of ours only.

Everything here may be repeated under the same id: a repetition finds what was done.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from temporalio.client import ActivityFailureError, Client
from temporalio.common import ActivityIDConflictPolicy, WorkflowIDReusePolicy
from temporalio.exceptions import WorkflowAlreadyStartedError
from temporalio.service import RPCError

from activities.gateway_runs import GatewayRunRequest
from activities.recheck import Resolved, ResolveRequest
from domain.errors import Broken, NotFound, Refused, Unavailable
from workflows.answers import answered, away
from workflows.policies import BOOKS_GIVEN_UP_AFTER, BOOKS_RETRY, STEP_HEARTBEAT, STEP_TIMEOUT
from workflows.settlement import ReconciliationWorkflow, SettlementWorkflow


class SettlementCommands:
    """Starts runs, and has differences resolved."""

    def __init__(self, client: Client, task_queue: str) -> None:
        self._client = client
        self._task_queue = task_queue

    async def settle(self, run_id: str, gateway: str, source: str, *, from_start: bool) -> None:
        """Read what a gateway settled; once for each id, however often it is called."""
        request = GatewayRunRequest(run_id, gateway, source, from_start=from_start)
        await self._start_once(SettlementWorkflow.run, request, f"settlement:{run_id}", f"Settlement of {gateway}")

    async def reconcile(
        self, run_id: str, gateway: str, source: str, since: datetime, until: datetime, in_flight_s: int
    ) -> None:
        """Compare our books with a gateway's in [since, until); once for each id."""
        request = GatewayRunRequest(run_id, gateway, source, since, until, in_flight_s)
        summary = f"Reconciliation with {gateway}"
        await self._start_once(ReconciliationWorkflow.run, request, f"reconciliation:{run_id}", summary)

    async def resolve(self, difference_id: str, action: str, *, actor: str, reason: str, command_id: str) -> None:
        """Carry out a command on a difference. Raises `NotFound`, `Refused`, `Unavailable`."""
        request = ResolveRequest(difference_id, action, actor, reason, command_id, datetime.now(UTC))

        async def run() -> Resolved:
            handle = await self._client.start_activity(
                "resolve_difference",
                request,
                id=f"difference:{difference_id}:{command_id}",
                task_queue=self._task_queue,
                result_type=Resolved,
                start_to_close_timeout=STEP_TIMEOUT,
                schedule_to_close_timeout=BOOKS_GIVEN_UP_AFTER,
                heartbeat_timeout=STEP_HEARTBEAT,
                retry_policy=BOOKS_RETRY,
                id_conflict_policy=ActivityIDConflictPolicy.USE_EXISTING,
                summary=f"{action} difference {difference_id}",
            )
            return await handle.result()

        try:
            answer = await answered(run, noun="difference")
        except ActivityFailureError as error:
            raise Broken(f"it failed: {error.cause}") from error
        match answer.code:
            case None:
                return
            case NotFound.code:
                raise NotFound(answer.message)
            case Unavailable.code:
                raise Unavailable(answer.message)
            case code:
                raise Refused(code, answer.message, allowed=answer.allowed)

    async def _start_once(self, run: Any, request: GatewayRunRequest, identity: str, summary: str) -> None:
        try:
            await self._client.start_workflow(
                run,
                request,
                id=identity,
                task_queue=self._task_queue,
                id_reuse_policy=WorkflowIDReusePolicy.REJECT_DUPLICATE,
                static_summary=summary,
            )
        except WorkflowAlreadyStartedError:
            return
        except RPCError as error:
            raise away(error) from error
