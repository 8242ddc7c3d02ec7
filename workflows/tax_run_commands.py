"""The door to runs that bring changed tax rates to subscriptions: begun once for each id."""

from __future__ import annotations

from temporalio.client import Client
from temporalio.common import WorkflowIDReusePolicy
from temporalio.exceptions import WorkflowAlreadyStartedError
from temporalio.service import RPCError

from activities.tax_runs import TaxRunRequest
from workflows.answers import away
from workflows.tax_run import TaxRunState, TaxRunWorkflow


class TaxRunCommands:
    """What may be asked of a run, with errors of `domain.errors` only."""

    def __init__(self, client: Client, task_queue: str) -> None:
        self._client = client
        self._task_queue = task_queue

    async def start(self, request: TaxRunRequest) -> None:
        """Begin it, once for each id, however often it is called."""
        try:
            await self._client.start_workflow(
                TaxRunWorkflow.run,
                TaxRunState(request),
                id=f"tax-run:{request.run_id}",
                task_queue=self._task_queue,
                id_reuse_policy=WorkflowIDReusePolicy.REJECT_DUPLICATE,
                static_summary=f"Tax of {request.country}",
            )
        except WorkflowAlreadyStartedError:
            return
        except RPCError as error:
            raise away(error) from error
