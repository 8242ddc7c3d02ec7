"""A parcel from payment to hand-off, and back where its payment is lost: looked at until nothing is left to do."""

from __future__ import annotations

from datetime import timedelta

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from activities.fulfilments import Fulfilments
    from workflows.policies import FULFILMENT_TIMEOUT, LOOKS_PER_RUN_MAX, PAGE_RETRY, STEP_HEARTBEAT
    from workflows.trouble import Trouble, persist


@workflow.defn(name="Fulfilment")
class FulfilmentWorkflow:
    """Id `fulfilment:{id}`. What is next is in the parcel's row; one that is over is started anew where it changes."""

    def __init__(self) -> None:
        self._trouble = Trouble()
        self._look = False

    @workflow.run
    async def run(self, fulfilment_id: str) -> None:
        for _ in range(LOOKS_PER_RUN_MAX):
            self._look = False
            seen = await persist(
                self._trouble,
                Fulfilments.see_to,
                fulfilment_id,
                start_to_close_timeout=FULFILMENT_TIMEOUT,
                retry_policy=PAGE_RETRY,
                heartbeat_timeout=STEP_HEARTBEAT,
            )
            if seen.again_after_s is None and not self._look:
                return
            if seen.again_after_s and not self._look:
                try:
                    await workflow.wait_condition(lambda: self._look, timeout=timedelta(seconds=seen.again_after_s))
                except TimeoutError:
                    continue
        workflow.continue_as_new(fulfilment_id)

    @workflow.signal
    def look(self) -> None:
        """Its row was changed: look at it now."""
        self._look = True
