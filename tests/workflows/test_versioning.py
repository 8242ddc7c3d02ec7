"""Two versions of the worker on the real server: what runs moves to the one that is made current, and money goes on."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator

import pytest
from temporalio.api.common.v1 import WorkflowExecution
from temporalio.api.deployment.v1 import WorkerDeploymentVersion
from temporalio.api.workflowservice.v1 import (
    DescribeWorkerDeploymentRequest,
    DescribeWorkflowExecutionRequest,
    SetWorkerDeploymentCurrentVersionRequest,
)
from temporalio.service import RPCError

from local.stack import ROOT, WORKER_READY_LINE, Stack
from local.supervisor import Spec
from tests.stack_fixtures import Shop, at
from worker import DEPLOYMENT
from workflows.commands import Commands, workflow_id

pytestmark = [pytest.mark.stack, pytest.mark.timeout(180)]

QUEUE = "versioned"
NAMESPACE = "default"


class Fleet:
    """Workers of named versions on a task queue of their own, beside the one that all tests share."""

    def __init__(self, shop: Shop) -> None:
        self.shop = shop
        self.service = shop.client.workflow_service

    async def start(self, build: str) -> None:
        settings = self.shop.stack.settings.model_copy(
            update={"temporal_task_queue": QUEUE, "worker_versioning": True, "build_id": build}
        )
        run = [sys.executable, "worker.py"]
        await self.shop.stack.processes.start(Spec(build, run, WORKER_READY_LINE, settings.environment(), ROOT))

    async def make_current(self, build: str) -> None:
        """What an operator does after a deploy (`temporal worker deployment set-current-version`)."""

        async def known() -> bool:
            try:
                said = await self.service.describe_worker_deployment(
                    DescribeWorkerDeploymentRequest(namespace=NAMESPACE, deployment_name=DEPLOYMENT)
                )
            except RPCError:
                return False
            builds = [each.deployment_version.build_id for each in said.worker_deployment_info.version_summaries]
            return build in builds

        await self.shop.eventually(known, f"the server knows {build}")
        await self.service.set_worker_deployment_current_version(
            SetWorkerDeploymentCurrentVersionRequest(
                namespace=NAMESPACE, deployment_name=DEPLOYMENT, build_id=build, identity="test"
            )
        )

    async def version_of(self, subscription: str) -> str:
        said = await self.service.describe_workflow_execution(
            DescribeWorkflowExecutionRequest(
                namespace=NAMESPACE, execution=WorkflowExecution(workflow_id=workflow_id(subscription))
            )
        )
        version: WorkerDeploymentVersion = said.workflow_execution_info.versioning_info.deployment_version
        return version.build_id


@pytest.fixture
async def fleet(stack: Stack, shop: Shop) -> AsyncIterator[Fleet]:
    shared = shop.commands
    shop.commands = Commands(shop.client, QUEUE)
    yield Fleet(shop)
    shop.commands = shared
    for build in ("v1", "v2"):
        await stack.stop(build)


async def test_running_subscriptions_move_to_the_version_made_current(shop: Shop, fleet: Fleet) -> None:
    await fleet.start("v1")
    await fleet.make_current("v1")
    customer = await shop.customer("tok_ok_visa")
    sub = (await shop.start(customer, await shop.terms(), start_at=at("2027-03-05", 9))).id
    await shop.until(sub, at("2027-03-06", 9))
    assert await fleet.version_of(sub) == "v1"

    await fleet.start("v2")
    await shop.until(sub, at("2027-04-06", 9))
    assert await fleet.version_of(sub) == "v1", "a version that is not current gets no work"

    await fleet.make_current("v2")
    await shop.stack.stop("v1")
    await shop.until(sub, at("2027-05-06", 9))
    assert await fleet.version_of(sub) == "v2"
    assert [row["status"] for row in await shop.invoices(sub)] == ["paid"] * 3
    await shop.audit(sub)  # standalone activities are routed as well: every receipt has arrived
