"""Changed rates reach running subscriptions: page by page at a pace, until the last one knows."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import timedelta

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from activities.tax_runs import TaxPage, TaxRunEnd, TaxRunRequest, TaxRuns
    from workflows.policies import PAGE_HEARTBEAT, PAGE_RETRY, PAGE_TIMEOUT, PAGES_PER_RUN_MAX, STEP_RETRY, STEP_TIMEOUT
    from workflows.trouble import Trouble, persist


@dataclass(frozen=True, slots=True)
class TaxRunState:
    """How far it has come; None: all were asked."""

    request: TaxRunRequest
    cursor: str | None = ""


@workflow.defn(name="TaxRun")
class TaxRunWorkflow:
    """Id `tax-run:{id}`."""

    @workflow.init
    def __init__(self, given: TaxRunState) -> None:
        self._state = given
        self._trouble = Trouble()

    @workflow.run
    async def run(self, given: TaxRunState) -> None:  # noqa: ARG002 - taken by `__init__`
        for _ in range(PAGES_PER_RUN_MAX):
            if self._state.cursor is None:
                await self._end()
                return
            await self._page(self._state.cursor)
        workflow.continue_as_new(self._state)

    async def _page(self, cursor: str) -> None:
        request = self._state.request
        page = await persist(
            self._trouble,
            TaxRuns.tell_tax_page,
            TaxPage(request, cursor),
            start_to_close_timeout=PAGE_TIMEOUT,
            heartbeat_timeout=PAGE_HEARTBEAT,
            retry_policy=PAGE_RETRY,
        )
        self._state = replace(self._state, cursor=page.cursor)
        if page.cursor is not None:
            await workflow.sleep(timedelta(seconds=request.pace.wait_s(page.asked)))

    async def _end(self) -> None:
        await persist(
            self._trouble,
            TaxRuns.end_tax_run,
            TaxRunEnd(self._state.request.run_id, workflow.now()),
            start_to_close_timeout=STEP_TIMEOUT,
            retry_policy=STEP_RETRY,
        )
