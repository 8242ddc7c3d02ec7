"""What a workflow shows while a step of it fails for our own reasons: words in Temporal's UI, and two attributes."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any, Final, TypeVar

from temporalio import workflow
from temporalio.common import RetryPolicy, SearchAttributeKey, SearchAttributeUpdate
from temporalio.exceptions import ActivityError, RetryState

with workflow.unsafe.imports_passed_through():
    from workflows.policies import TROUBLE_RETRY_AFTER

Asked = TypeVar("Asked")
Result = TypeVar("Result")
TROUBLE: Final = SearchAttributeKey.for_keyword("DunlinTrouble")
TROUBLE_SINCE: Final = SearchAttributeKey.for_datetime("DunlinTroubleSince")
TROUBLE_LENGTH_MAX: Final = 200  # a server on PostgreSQL keeps 255 characters of a keyword
_TRIED_OFTEN: Final = frozenset({RetryState.MAXIMUM_ATTEMPTS_REACHED, RetryState.TIMEOUT})


class Trouble:
    """One for each run; `show` and `clear` cost a history event only where something changes."""

    def __init__(self) -> None:
        self._shown: str | None = None

    def show(self, error: ActivityError, **who: str) -> None:
        """Say what fails, and since when; `who` goes to the log."""
        trouble = str(error.cause or error)
        workflow.logger.error("step failed", extra={**who, "trouble": trouble})
        workflow.set_current_details(f"**Stuck**: {trouble}\n\nThe step is tried again every {TROUBLE_RETRY_AFTER}.")
        found = trouble[:TROUBLE_LENGTH_MAX]
        if found == self._shown:
            return
        changed: list[SearchAttributeUpdate[Any]] = [TROUBLE.value_set(found)]
        if self._shown is None:
            changed.append(TROUBLE_SINCE.value_set(workflow.now()))
        _upsert(changed)
        self._shown = found

    def clear(self) -> None:
        """The step went through."""
        if self._shown is not None:
            _upsert([TROUBLE.value_unset(), TROUBLE_SINCE.value_unset()])
            self._shown = None


async def persist(
    trouble: Trouble,
    method: Callable[[Any, Asked], Awaitable[Result]],
    asked: Asked,
    *,
    start_to_close_timeout: timedelta,
    retry_policy: RetryPolicy,
    heartbeat_timeout: timedelta | None = None,
) -> Result:
    """The outcome of an activity that is tried until it goes through; while it fails, operators see it.

    The policy says after how many quick tries they do. What may not be repeated is raised.
    """
    while True:
        try:
            result: Result = await workflow.execute_activity_method(
                method,
                asked,
                start_to_close_timeout=start_to_close_timeout,
                heartbeat_timeout=heartbeat_timeout,
                retry_policy=retry_policy,
            )
        except ActivityError as error:
            if error.retry_state not in _TRIED_OFTEN:
                raise
            trouble.show(error, workflow=workflow.info().workflow_id)
            await workflow.sleep(TROUBLE_RETRY_AFTER)
        else:
            trouble.clear()
            return result


def _upsert(changed: list[SearchAttributeUpdate[Any]]) -> None:
    workflow.upsert_search_attributes(changed)  # pyright: ignore[reportUnknownMemberType] - the SDK leaves a type open
