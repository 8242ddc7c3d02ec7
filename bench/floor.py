"""The floor: a workflow that does nothing but the same timer and one empty activity.

It keeps no state, writes nothing and never continues as new: no workflow that waits and acts can be cheaper.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from temporalio import activity, workflow

with workflow.unsafe.imports_passed_through():
    from workflows.policies import STEP_RETRY, STEP_TIMEOUT

QUEUE: Final = "dunlin-floor"
READY_LINE: Final = "floor ready"
EVERY: Final = timedelta(days=30)


@dataclass(frozen=True, slots=True)
class FloorInput:
    """When the first cycle falls due. `local`: by a local activity, not by an ordinary one as ours are."""

    due: datetime
    local: bool = False


class Empty:
    """An activity that only counts itself."""

    def __init__(self) -> None:
        self.done = 0

    @activity.defn(name="nothing")
    async def nothing(self) -> None:
        self.done += 1


@workflow.defn(name="Floor")
class FloorWorkflow:
    """Timer, activity, and again."""

    @workflow.run
    async def run(self, given: FloorInput) -> None:
        due = given.due
        while True:
            await workflow.sleep(due - workflow.now())
            if given.local:
                await workflow.execute_local_activity_method(
                    Empty.nothing, start_to_close_timeout=STEP_TIMEOUT, retry_policy=STEP_RETRY
                )
            else:
                await workflow.execute_activity_method(
                    Empty.nothing, start_to_close_timeout=STEP_TIMEOUT, retry_policy=STEP_RETRY
                )
            due += EVERY
