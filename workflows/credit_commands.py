"""The door to vouchers and credit notes: what the API asks of them, with errors of `domain.errors` only.

Everything here may be repeated under the same id: a repetition finds what was done.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from temporalio.client import ActivityFailureError, Client, WorkflowFailureError
from temporalio.common import ActivityIDConflictPolicy, WorkflowIDReusePolicy
from temporalio.exceptions import WorkflowAlreadyStartedError

from domain.credits import Granted, Refusal, Transfer
from domain.errors import Broken
from domain.vouchers import AdjustVoucher, IssueVoucher, Moved
from workflows.answers import answered
from workflows.credit import CreditWorkflow
from workflows.policies import BOOKS_GIVEN_UP_AFTER, BOOKS_RETRY, STEP_TIMEOUT

T = TypeVar("T")


class CreditCommands:
    """Issues, adjusts and redeems vouchers, and credits invoices."""

    def __init__(self, client: Client, task_queue: str) -> None:
        self._client = client
        self._task_queue = task_queue

    async def issue(self, request: IssueVoucher) -> None:
        """Issue a voucher. Raises `InvalidInput` for an end in the past or a code that is taken."""
        await self._write("issue_voucher", request, f"voucher:{request.id}")

    async def adjust(self, request: AdjustVoucher) -> None:
        """Change a voucher's balance. Raises `Refused` below zero and after its end."""
        await self._write("adjust_voucher", request, f"voucher-adjust:{request.id}")

    async def transfer(self, transfer: Transfer) -> None:
        """Bring money to a subscription's credit; returns when it is there. Raises `Refused`: it is where it was."""

        async def run() -> Granted | Refusal:
            identity = f"credit:{transfer.id}"
            try:
                handle = await self._client.start_workflow(
                    CreditWorkflow.run,
                    transfer,
                    id=identity,
                    task_queue=self._task_queue,
                    id_reuse_policy=WorkflowIDReusePolicy.REJECT_DUPLICATE,
                    static_summary=f"Credit for {transfer.subscription_id}",
                )
            except WorkflowAlreadyStartedError:
                handle = self._client.get_workflow_handle_for(CreditWorkflow.run, identity)
            return await handle.result()

        _raise_refusal(await _finished(run))

    async def _write(self, activity: str, request: Any, identity: str) -> None:
        async def run() -> Moved | Refusal:
            result_type: Any = Moved | Refusal
            handle = await self._client.start_activity(
                activity,
                request,
                id=identity,
                task_queue=self._task_queue,
                result_type=result_type,
                start_to_close_timeout=STEP_TIMEOUT,
                schedule_to_close_timeout=BOOKS_GIVEN_UP_AFTER,
                retry_policy=BOOKS_RETRY,
                id_conflict_policy=ActivityIDConflictPolicy.USE_EXISTING,
            )
            return await handle.result()

        _raise_refusal(await _finished(run))


async def _finished(run: Callable[[], Awaitable[T]]) -> T:
    """What it came to. Business ends as a value, so a failure is a fault of ours."""
    try:
        return await answered(run, noun="transfer")
    except (ActivityFailureError, WorkflowFailureError) as error:
        raise Broken(f"it failed: {error.cause}") from error


def _raise_refusal(answer: Moved | Granted | Refusal) -> None:
    if isinstance(answer, Refusal):
        raise answer.error()
