"""A billing run: page by page through what is due, until nothing is left."""

from __future__ import annotations

from dataclasses import replace

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from activities.runs import PageRequest, RunRequest, Runs
    from workflows.policies import PAGE_HEARTBEAT, PAGE_RETRY, PAGE_TIMEOUT, PAGES_PER_RUN_MAX
    from workflows.trouble import Trouble, persist

SCHEDULED = "scheduled"


@workflow.defn(name="BillingRun")
class BillingRunWorkflow:
    """Id `billing-run:{id}`. A scheduled run takes its id from the workflow's, which the Schedule makes unique."""

    def __init__(self) -> None:
        self._trouble = Trouble()

    @workflow.run
    async def run(self, request: RunRequest) -> dict[str, int]:
        if not request.run_id:
            request = replace(request, run_id=workflow.info().workflow_id)
        cursor: str | None = request.cursor
        for _ in range(PAGES_PER_RUN_MAX):
            if cursor is None:
                break
            page = await persist(
                self._trouble,
                Runs.bill_page,
                PageRequest(request, cursor, workflow.now()),
                start_to_close_timeout=PAGE_TIMEOUT,
                heartbeat_timeout=PAGE_HEARTBEAT,
                retry_policy=PAGE_RETRY,
            )
            cursor = page.cursor
        if cursor is not None:
            workflow.continue_as_new(replace(request, cursor=cursor))
        return await persist(
            self._trouble,
            Runs.end_run,
            PageRequest(request, "", workflow.now()),
            start_to_close_timeout=PAGE_TIMEOUT,
            retry_policy=PAGE_RETRY,
        )
