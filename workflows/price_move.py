"""A move of subscribers to another price: page by page at its rate; people and failures pause it."""

from __future__ import annotations

from dataclasses import dataclass, replace

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from activities.price_moves import MoveMark, MovePage, MoveRequest, PriceMoves
    from domain.errors import Refused
    from domain.price_moves import MoveStatus, check_steer
    from workflows.policies import PAGE_HEARTBEAT, PAGE_RETRY, PAGE_TIMEOUT, PAGES_PER_RUN_MAX, STEP_RETRY, STEP_TIMEOUT
    from workflows.refusals import refuse
    from workflows.trouble import Trouble, persist


@dataclass(frozen=True, slots=True)
class MoveState:
    """All there is to a move. `seen` and `failed` count since it began or was last resumed; `written`: in the books."""

    request: MoveRequest
    cursor: str | None = ""
    status: MoveStatus = MoveStatus.RUNNING
    detail: str = ""
    written: MoveStatus = MoveStatus.RUNNING
    seen: int = 0
    failed: int = 0


@workflow.defn(name="PriceMove")
class PriceMoveWorkflow:
    """Id `price-move:{id}`. Each subscription decides by itself, as of any change of its terms."""

    @workflow.init
    def __init__(self, given: MoveState) -> None:
        self._state = given
        self._trouble = Trouble()

    @workflow.run
    async def run(self, given: MoveState) -> None:  # noqa: ARG002 - taken by `__init__`, before any command
        for _ in range(PAGES_PER_RUN_MAX):
            await self._hear()
            if self._state.status is not MoveStatus.RUNNING:
                break
            await self._page()
        await workflow.wait_condition(workflow.all_handlers_finished)
        if self._state.status in {MoveStatus.RUNNING, MoveStatus.PAUSED}:
            workflow.continue_as_new(self._state)

    @workflow.update
    async def steer(self, status: MoveStatus, detail: str) -> None:
        """Pause, resume (`running`) or stop; answered when the books say so."""
        if self._state.status is not status:
            self._state = replace(self._state, status=status, detail=detail, seen=0, failed=0)
        await workflow.wait_condition(lambda: self._state.written is self._state.status)

    @steer.validator
    def check(self, status: MoveStatus, detail: str) -> None:  # noqa: ARG002 - the update's own arguments
        try:
            check_steer(self._state.status, status)
        except Refused as refused:
            refuse(refused)

    async def _hear(self) -> None:
        """Write down what was decided, and wait while it is paused."""
        while True:
            state = self._state
            if state.written is not state.status:
                await self._write(state)
            elif state.status is MoveStatus.PAUSED:
                await workflow.wait_condition(lambda: self._state.status is not MoveStatus.PAUSED)
            elif state.status is MoveStatus.RUNNING and state.cursor is None:
                self._state = replace(state, status=MoveStatus.DONE, detail="")
            else:
                return

    async def _write(self, state: MoveState) -> None:
        await persist(
            self._trouble,
            PriceMoves.mark_price_move,
            MoveMark(state.request.move_id, state.status, state.detail, workflow.now()),
            start_to_close_timeout=STEP_TIMEOUT,
            retry_policy=STEP_RETRY,
        )
        self._state = replace(self._state, written=state.status)

    async def _page(self) -> None:
        """One page, then as long a wait as the rate asks for; a command ends the wait."""
        move = self._state.request
        page = await persist(
            self._trouble,
            PriceMoves.move_price_page,
            MovePage(move, self._state.cursor or ""),
            start_to_close_timeout=PAGE_TIMEOUT,
            heartbeat_timeout=PAGE_HEARTBEAT,
            retry_policy=PAGE_RETRY,
        )
        state = self._state  # a command may have come meanwhile
        state = replace(state, cursor=page.cursor, seen=state.seen + page.asked, failed=state.failed + page.failed)
        if state.status is MoveStatus.RUNNING and move.pace.is_failing(state.seen, state.failed):
            detail = f"{state.failed} of {state.seen} did not move"
            state = replace(state, status=MoveStatus.PAUSED, detail=detail)
        self._state = state
        if page.cursor is not None and state.status is MoveStatus.RUNNING:
            try:
                await workflow.wait_condition(
                    lambda: self._state.status is not MoveStatus.RUNNING, timeout=move.pace.wait_s(page.asked)
                )
            except TimeoutError:
                return
