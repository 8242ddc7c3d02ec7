"""A gateway's event: kept, then done what it says. A workflow of its own for each event.

Not one for each dispute: an event that cannot be carried out (its sale is not in our books) holds up no other, and no
history grows. What belongs together is kept in order by the lock of its dispute in the database.
"""

from __future__ import annotations

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from activities.disputes import Disputes, GatewayEventRequest
    from workflows.policies import CONSEQUENCE_TIMEOUT, EVENT_RETRY, EVENT_TIMEOUT
    from workflows.trouble import Trouble, persist


@workflow.defn(name="GatewayEvent")
class GatewayEventWorkflow:
    """Id `gateway-event:{gateway}:{event}`. Its result is what the event led to."""

    def __init__(self) -> None:
        self._trouble = Trouble()

    @workflow.run
    async def run(self, request: GatewayEventRequest) -> str:
        taken = await persist(
            self._trouble, Disputes.take, request, start_to_close_timeout=EVENT_TIMEOUT, retry_policy=EVENT_RETRY
        )
        if taken.follow is not None:
            await persist(
                self._trouble,
                Disputes.follow,
                taken.follow,
                start_to_close_timeout=CONSEQUENCE_TIMEOUT,
                retry_policy=EVENT_RETRY,
            )
        return taken.outcome
