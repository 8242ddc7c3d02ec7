"""The nightly reading of what gateways settled, and the daily comparison of their books with ours."""

from __future__ import annotations

from dataclasses import replace

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from activities.gateway_runs import GatewayRun, GatewayRunRequest, OpenRequest, StepRequest
    from activities.reconciliation import Reconciliations
    from activities.settlement import Settlements
    from workflows.policies import PAGE_RETRY, PAGE_TIMEOUT, PAGES_PER_RUN_MAX, STEP_HEARTBEAT
    from workflows.trouble import Trouble, persist


@workflow.defn(name="Settlement")
class SettlementWorkflow:
    """Id `settlement:{run id}`; one that a Schedule starts has its id from the Schedule."""

    def __init__(self) -> None:
        self._trouble = Trouble()

    @workflow.run
    async def run(self, request: GatewayRunRequest) -> None:
        runs = request.runs or await persist(
            self._trouble,
            Settlements.open_settlement,
            _opening(request),
            start_to_close_timeout=PAGE_TIMEOUT,
            retry_policy=PAGE_RETRY,
        )
        for _ in range(PAGES_PER_RUN_MAX):
            if not runs:
                return
            after = await persist(
                self._trouble,
                Settlements.settle_page,
                StepRequest(runs[0], workflow.now()),
                start_to_close_timeout=PAGE_TIMEOUT,
                heartbeat_timeout=STEP_HEARTBEAT,
                retry_policy=PAGE_RETRY,
            )
            runs = _left(runs, after)
        _go_on(request, runs)


@workflow.defn(name="Reconciliation")
class ReconciliationWorkflow:
    """Id `reconciliation:{run id}`; one that a Schedule starts has its id from the Schedule."""

    def __init__(self) -> None:
        self._trouble = Trouble()

    @workflow.run
    async def run(self, request: GatewayRunRequest) -> None:
        runs = request.runs or await persist(
            self._trouble,
            Reconciliations.open_reconciliation,
            _opening(request),
            start_to_close_timeout=PAGE_TIMEOUT,
            retry_policy=PAGE_RETRY,
        )
        for _ in range(PAGES_PER_RUN_MAX):
            if not runs:
                return
            after = await persist(
                self._trouble,
                Reconciliations.reconcile_page,
                StepRequest(runs[0], workflow.now()),
                start_to_close_timeout=PAGE_TIMEOUT,
                heartbeat_timeout=STEP_HEARTBEAT,
                retry_policy=PAGE_RETRY,
            )
            runs = _left(runs, after)
        _go_on(request, runs)


def _opening(request: GatewayRunRequest) -> OpenRequest:
    """What a Schedule starts has no run id: the workflow's own, which the Schedule makes unique."""
    named = request if request.run_id else replace(request, run_id=workflow.info().workflow_id)
    return OpenRequest(named, workflow.now())


def _left(runs: tuple[GatewayRun, ...], after: GatewayRun | None) -> tuple[GatewayRun, ...]:
    """The runs still to be done: this one further on, or the next gateway's."""
    return runs[1:] if after is None else (after, *runs[1:])


def _go_on(request: GatewayRunRequest, runs: tuple[GatewayRun, ...]) -> None:
    if runs:
        workflow.continue_as_new(replace(request, runs=runs))
