"""A task's reminder: a timer that outlives every machine, then one try after another until it is told."""

from __future__ import annotations

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from activities.reminders import ReminderRequest, Reminders
    from workflows.policies import PAGE_RETRY, REMINDER_LOOK_AFTER, REMINDER_LOOKS_MAX, STEP_TIMEOUT
    from workflows.trouble import Trouble, persist


@workflow.defn(name="Reminder")
class ReminderWorkflow:
    """Id `reminder:{task}:{time}`. One that was moved, cleared or closed meanwhile ends without a word."""

    def __init__(self) -> None:
        self._trouble = Trouble()

    @workflow.run
    async def run(self, request: ReminderRequest) -> None:
        # A wait of zero is no timer: what is late, say after an outage, is told at once.
        await workflow.sleep(max((request.at - workflow.now()).total_seconds(), 0))
        for _ in range(REMINDER_LOOKS_MAX):
            known = await persist(
                self._trouble, Reminders.remind, request, start_to_close_timeout=STEP_TIMEOUT, retry_policy=PAGE_RETRY
            )
            if known:
                return
            await workflow.sleep(REMINDER_LOOK_AFTER)  # the request that opens the task is not through yet
