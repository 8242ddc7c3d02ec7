"""What ran before a deploy goes on after it: every recorded history replays, also in the strict sandbox."""

from __future__ import annotations

import json
import re
from datetime import timedelta

import pytest
from temporalio import workflow
from temporalio.client import WorkflowHistory
from temporalio.worker import Replayer, WorkflowRunner
from temporalio.worker.workflow_sandbox import SandboxedWorkflowRunner

from tests.histories.record import FOLDER, SCENARIOS
from worker import RUNNER
from workflows.billing_run import BillingRunWorkflow
from workflows.converter import data_converter
from workflows.dispute import GatewayEventWorkflow
from workflows.inputs import SubscriptionInput
from workflows.merge import MergeWorkflow
from workflows.order import OrderWorkflow
from workflows.refund import RefundWorkflow
from workflows.subscription import SubscriptionWorkflow

# What a scenario is recorded for: without these events its replay proves little.
SEEN = {
    "renewals": ("ActivityTaskCompleted", "TimerFired"),
    "dunning": ("TimerFired", "WorkflowExecutionUpdateCompleted"),
    "gateway_trouble": ("TimerFired", "ActivityTaskCompleted"),
    "commands": ("TimerCanceled", "WorkflowExecutionUpdateCompleted", "WorkflowExecutionContinuedAsNew"),
    "billing_run": ("ActivityTaskCompleted", "WorkflowExecutionCompleted"),
    "dispute": ("WorkflowExecutionUpdateCompleted", "WorkflowExecutionCompleted"),
    "orders": ("ActivityTaskCompleted", "TimerFired", "WorkflowExecutionUpdateCompleted", "WorkflowExecutionCompleted"),
    "holds": ("ActivityTaskCompleted", "TimerFired", "WorkflowExecutionUpdateCompleted"),
    "merge": ("ActivityTaskCompleted", "TimerFired", "WorkflowExecutionUpdateCompleted", "WorkflowExecutionCompleted"),
    "refunds": ("TimerFired", "WorkflowExecutionUpdateCompleted", "WorkflowExecutionCompleted"),
}


def histories(name: str) -> list[WorkflowHistory]:
    runs = json.loads((FOLDER / f"{name}.json").read_text())
    return [WorkflowHistory.from_json(run["workflow"], run["history"]) for run in runs]


def replayer(subscription: type, runner: WorkflowRunner = RUNNER) -> Replayer:
    workflows = [subscription, BillingRunWorkflow, GatewayEventWorkflow, MergeWorkflow, OrderWorkflow, RefundWorkflow]
    return Replayer(workflows=workflows, data_converter=data_converter, workflow_runner=runner)


def _snake(name: str) -> str:
    return re.sub(r"(?<!^)(?=[A-Z])", "_", name).lower()


@pytest.mark.parametrize("name", list(SCENARIOS))
async def test_every_recorded_history_replays(name: str) -> None:
    recorded = histories(name)
    kinds = {str(event.WhichOneof("attributes")) for history in recorded for event in history.events}
    wanted = {f"{_snake(kind)}_event_attributes" for kind in SEEN[name]}
    assert wanted <= kinds
    for history in recorded:
        await replayer(SubscriptionWorkflow).replay_workflow(history)


@pytest.mark.parametrize("name", list(SCENARIOS))
async def test_the_workflows_keep_the_rules_of_the_strict_sandbox(name: str) -> None:
    """The worker passes every module through, which is fast and polices nothing; here nothing unlisted passes."""
    for history in histories(name):
        await replayer(SubscriptionWorkflow).replay_workflow(history)  # pydantic meets the types outside of the sandbox
        await replayer(SubscriptionWorkflow, SandboxedWorkflowRunner()).replay_workflow(history)


@workflow.defn(name="Subscription", sandboxed=False)
class Hesitant(SubscriptionWorkflow):
    """The same, but for a second's pause before each step."""

    @workflow.init
    def __init__(self, given: SubscriptionInput) -> None:
        super().__init__(given)

    @workflow.run
    async def run(self, given: SubscriptionInput) -> None:
        await workflow.sleep(timedelta(seconds=1))
        await super().run(given)


@workflow.defn(name="Subscription", sandboxed=False)
class Tireless(SubscriptionWorkflow):
    """The same, but it never goes on as a new run."""

    @workflow.init
    def __init__(self, given: SubscriptionInput) -> None:
        super().__init__(given)

    @workflow.run
    async def run(self, given: SubscriptionInput) -> None:
        await super().run(given)

    def _is_long(self) -> bool:
        return False


@pytest.mark.parametrize("changed", [Hesitant, Tireless])
async def test_a_changed_workflow_is_caught(changed: type) -> None:
    caught = 0
    for history in histories("commands"):
        try:
            await replayer(changed).replay_workflow(history)
        except workflow.NondeterminismError:
            caught += 1
    assert caught > 0
