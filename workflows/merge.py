"""A merge of two customers: opened, moved, open to be undone for its time, and then final."""

from __future__ import annotations

from datetime import datetime

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from activities.merges import MergeMark, MergeRequest, Merges, MovePage, OpenMerge, UndoMerge, UndoStep
    from domain.calendar import whole_second
    from domain.credits import Refusal
    from domain.merging import SWEEPS_AFTER, UNDO_FOR, MergeStatus
    from workflows.policies import PAGE_RETRY, PAGE_TIMEOUT, STEP_HEARTBEAT, STEP_RETRY, STEP_TIMEOUT
    from workflows.trouble import Trouble, persist


@workflow.defn(name="Merge")
class MergeWorkflow:
    """Id `merge:{id}`. Every step may be repeated; what comes late is moved by the sweeps."""

    @workflow.init
    def __init__(self, request: MergeRequest) -> None:
        self._request = request
        self._trouble = Trouble()
        self._opened = False
        self._refusal: Refusal | None = None
        self._moved = False
        self._wish: UndoMerge | None = None
        self._answers: dict[str, Refusal | None] = {}

    @workflow.run
    async def run(self, request: MergeRequest) -> Refusal | None:
        self._refusal = await persist(
            self._trouble,
            Merges.open_merge,
            OpenMerge(request, self._now()),
            start_to_close_timeout=STEP_TIMEOUT,
            heartbeat_timeout=STEP_HEARTBEAT,
            retry_policy=STEP_RETRY,
        )
        self._opened = True
        if self._refusal is None:
            await self._live()
        await workflow.wait_condition(workflow.all_handlers_finished)
        return self._refusal

    @workflow.update
    async def opened(self) -> Refusal | None:
        """Answers when the loser is closed, or says why it is not."""
        await workflow.wait_condition(lambda: self._opened)
        return self._refusal

    @workflow.update
    async def moved(self) -> Refusal | None:
        """Answers when everything has moved, or says why nothing will."""
        await workflow.wait_condition(lambda: self._moved or self._refusal is not None)
        return self._refusal

    @workflow.update
    async def undo(self, wish: UndoMerge) -> Refusal | None:
        """Take it back; answers when the loser is open again, or says why not."""
        await workflow.wait_condition(lambda: self._moved and self._wish is None)
        if wish.id not in self._answers:
            self._wish = wish
            await workflow.wait_condition(lambda: wish.id in self._answers)
        return self._answers[wish.id]

    async def _live(self) -> None:
        """Move; then wait for second thoughts, and for what comes late."""
        await self._move()
        done_at = self._now()
        await self._mark(MergeMark(self._request.merge_id, MergeStatus.DONE, done_at, done_at + UNDO_FOR))
        self._moved = True
        for after in (*SWEEPS_AFTER, UNDO_FOR):
            if await self._undone_before(done_at + after):
                return
            await self._move()
        await self._mark(MergeMark(self._request.merge_id, MergeStatus.FINAL, self._now()))

    async def _undone_before(self, moment: datetime) -> bool:
        """Wait until then, and undo it where somebody asks for that and may; whether it was undone."""
        while (left := moment - workflow.now()).total_seconds() > 0:
            try:
                await workflow.wait_condition(lambda: self._wish is not None, timeout=left)
            except TimeoutError:
                return False
            if await self._undo():
                return True
        return False

    async def _undo(self) -> bool:
        wish = self._wish
        if wish is None:
            return False
        step = UndoStep(wish, self._now())
        refusal = await persist(
            self._trouble,
            Merges.open_undo,
            step,
            start_to_close_timeout=STEP_TIMEOUT,
            heartbeat_timeout=STEP_HEARTBEAT,
            retry_policy=STEP_RETRY,
        )
        if refusal is None:
            while await self._page(back=True):
                pass
            step = UndoStep(wish, self._now())
            await persist(
                self._trouble,
                Merges.close_undo,
                step,
                start_to_close_timeout=STEP_TIMEOUT,
                heartbeat_timeout=STEP_HEARTBEAT,
                retry_policy=STEP_RETRY,
            )
        self._answers[wish.id], self._wish = refusal, None
        return refusal is None

    async def _move(self) -> None:
        while await self._page(back=False):
            pass

    async def _page(self, *, back: bool) -> bool:
        return await persist(
            self._trouble,
            Merges.move_merge_back if back else Merges.move_merge_rows,
            MovePage(self._request, self._now()),
            start_to_close_timeout=PAGE_TIMEOUT,
            heartbeat_timeout=STEP_HEARTBEAT,
            retry_policy=PAGE_RETRY,
        )

    async def _mark(self, mark: MergeMark) -> None:
        await persist(
            self._trouble,
            Merges.mark_merge,
            mark,
            start_to_close_timeout=STEP_TIMEOUT,
            heartbeat_timeout=STEP_HEARTBEAT,
            retry_policy=STEP_RETRY,
        )

    @staticmethod
    def _now() -> datetime:
        return whole_second(workflow.now())
