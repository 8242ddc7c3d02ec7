"""The daily look at cards that come to their end, and the nightly reading of what gateways tell of cards."""

from __future__ import annotations

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from activities.card_life import CardLife, ExpiryPage, UpdatesPage
    from domain.calendar import whole_second
    from workflows.policies import PAGE_RETRY, PAGE_TIMEOUT, PAGES_PER_RUN_MAX, STEP_HEARTBEAT
    from workflows.trouble import Trouble, persist


@workflow.defn(name="CardExpiry")
class CardExpiryWorkflow:
    """Started by the Schedule `card-expiry`: page by page over the cards that are charged first."""

    def __init__(self) -> None:
        self._trouble = Trouble()

    @workflow.run
    async def run(self, page: ExpiryPage | None = None) -> None:
        page = page or ExpiryPage(whole_second(workflow.now()))
        for _ in range(PAGES_PER_RUN_MAX):
            after = await persist(
                self._trouble,
                CardLife.notify_of_expiry,
                page,
                start_to_close_timeout=PAGE_TIMEOUT,
                heartbeat_timeout=STEP_HEARTBEAT,
                retry_policy=PAGE_RETRY,
            )
            if after is None:
                return
            page = after
        workflow.continue_as_new(page)


@workflow.defn(name="CardUpdates")
class CardUpdatesWorkflow:
    """Started by the Schedule `card-updates`: page by page, gateway after gateway."""

    def __init__(self) -> None:
        self._trouble = Trouble()

    @workflow.run
    async def run(self, page: UpdatesPage | None = None) -> None:
        page = page or UpdatesPage(whole_second(workflow.now()))
        for _ in range(PAGES_PER_RUN_MAX):
            after = await persist(
                self._trouble,
                CardLife.read_card_updates,
                page,
                start_to_close_timeout=PAGE_TIMEOUT,
                heartbeat_timeout=STEP_HEARTBEAT,
                retry_policy=PAGE_RETRY,
            )
            if after is None:
                return
            page = after
        workflow.continue_as_new(page)
