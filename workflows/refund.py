"""A refund's whole life: opens it, asks `domain.refunds` what is next, does it, and waits; ends when it is over.

Commands are Updates; they wait while a step is under way and are decided after it, as a subscription's are.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from typing import Any, assert_never

from temporalio import workflow
from temporalio.exceptions import ActivityError, ApplicationError

with workflow.unsafe.imports_passed_through():
    from activities.refunds import OpenRequest, RefundRequest, Refunds
    from domain.errors import DunlinError
    from domain.facts import Recorded
    from domain.money import Money
    from domain.refund_commands import handle
    from domain.refund_messages import (
        AskReturn,
        GiveBack,
        OpenRefund,
        RefundEnvelope,
        RefundFact,
        RefundResult,
        RefundTick,
        RefusedOpening,
    )
    from domain.refund_state import RefundState
    from domain.refunds import apply, attention, next_step
    from domain.steps import End, Record, Wait
    from workflows.inputs import RefundInput
    from workflows.journey import Journey
    from workflows.policies import STEP_HEARTBEAT, STEP_RETRY, STEP_TIMEOUT, TROUBLE_RETRY_AFTER
    from workflows.refusals import refuse
    from workflows.trouble import Trouble


@workflow.defn(name="Refund")
class RefundWorkflow:
    """Id `refund:{id}`. One owner of the state, one clock."""

    @workflow.init
    def __init__(self, given: RefundInput) -> None:
        self._state = given.state
        self._refusal: RefusedOpening | None = None
        self._turn = asyncio.Lock()  # commands follow one another, each decided on what the one before it left
        self._quiet = False  # the loop has nothing more to do now
        self._woken = False  # a command changed the state
        self._journey = Journey()
        self._trouble = Trouble()

    @workflow.run
    async def run(self, given: RefundInput) -> RefundResult:
        """Answers how it ended: with the refund, or with why none was opened."""
        if self._state is None:
            await self._open(given.wanted)
        while self._state is not None:
            now = self._now(self._state)
            step = next_step(self._state, now)
            match step:
                case RefundTick():
                    self._state = apply(self._state, step.fact, now)
                case GiveBack():
                    await self._act(Refunds.give_back, self._state, now)
                case AskReturn():
                    await self._act(Refunds.ask_return, self._state, now)
                case Record():
                    await self._act(Refunds.record_refund, self._state, now)
                case Wait():
                    await self._wait(self._state, step)
                case End():
                    self._quiet = True
                    await workflow.wait_condition(workflow.all_handlers_finished)
                    return RefundResult(state=self._state)
                case _:
                    assert_never(step)
        await workflow.wait_condition(workflow.all_handlers_finished)
        return RefundResult(refusal=self._refusal)

    @workflow.update
    async def command(self, envelope: RefundEnvelope) -> RefundState:
        """Decide a command, act on it, and answer with the refund once it is in the books."""
        async with self._turn:
            self._decide(await self._settled(), envelope)
            return await self._settled()

    @workflow.update
    async def settled(self) -> RefundState:
        """Answers when nothing is left to do at this time; raises the refusal where none was opened."""
        return await self._settled()

    @workflow.update
    async def depart(self, by: timedelta) -> RefundState:
        """The clock is about to be moved by so much."""
        state = await self._settled()
        self._journey.begin(self._now(state), by)
        self._woken = True  # the timer that is set may be for what lies beyond
        return state

    @workflow.update
    async def arrive(self) -> RefundState:
        """The clock has been moved: answers when all that fell due on the way is done."""
        self._journey.arrive()
        self._woken = True
        return await self._settled()

    @workflow.query
    def state(self) -> RefundState | None:
        """None before it is opened."""
        return self._state

    async def _settled(self) -> RefundState:
        await workflow.wait_condition(lambda: self._refusal is not None or self._is_settled())
        if self._refusal is not None:
            refuse(self._refusal.as_error())
        if self._state is None:
            raise ApplicationError("a refund is settled without a state", non_retryable=True)
        return self._state

    def _is_settled(self) -> bool:
        """Nothing is under way and nothing is due: what fell due before a command came goes first."""
        state = self._state
        if state is None or not self._quiet:
            return False
        return isinstance(next_step(state, self._now(state)), Wait | End)

    def _decide(self, state: RefundState, envelope: RefundEnvelope) -> None:
        try:
            self._state = handle(state, envelope, self._now(state))
        except DunlinError as error:
            refuse(error)
        self._quiet = False
        self._woken = True

    async def _open(self, wanted: OpenRefund | None) -> None:
        """Check and reserve. A refusal is an answer; trouble of our own is tried again by the clock."""
        if wanted is None:
            raise ApplicationError("a refund needs a wish or a state", non_retryable=True)
        now = workflow.now().replace(microsecond=0)
        while self._state is None and self._refusal is None:
            try:
                result = await workflow.execute_activity_method(
                    Refunds.open_refund,
                    OpenRequest(wanted, now),
                    start_to_close_timeout=STEP_TIMEOUT,
                    heartbeat_timeout=STEP_HEARTBEAT,
                    retry_policy=STEP_RETRY,
                )
            except ActivityError as error:
                await self._show_trouble(wanted.id, error)
            else:
                self._trouble.clear()
                self._state, self._refusal = result.state, result.refusal

    async def _act(
        self, method: Callable[[Any, RefundRequest], Awaitable[RefundFact]], state: RefundState, now: datetime
    ) -> None:
        """Run a step's activity and take its outcome. It has written the whole journal to the books."""
        self._quiet = False
        try:
            # Not a local activity: its input must be in the history before money moves (decision 11).
            fact: RefundFact = await workflow.execute_activity_method(
                method,
                RefundRequest(state, now),
                start_to_close_timeout=STEP_TIMEOUT,
                heartbeat_timeout=STEP_HEARTBEAT,
                retry_policy=STEP_RETRY,
            )
        except ActivityError as error:
            await self._show_trouble(state.id, error)
            return
        self._trouble.clear()
        state = apply(state, fact, now)
        self._state = apply(state, Recorded(state.seq), now)

    async def _show_trouble(self, refund_id: str, error: ActivityError) -> None:
        """Our own machinery failed: say so where operators look, and try the same step again by the clock."""
        self._trouble.show(error, refund=refund_id)
        await workflow.sleep(TROUBLE_RETRY_AFTER)

    async def _wait(self, state: RefundState, step: Wait) -> None:
        """Until the next due time or a command. A long story goes on in a new run, unless its clock may be moved."""
        self._woken = False
        self._quiet = True
        # While a clock is moved a run must not end (decision 5); a test refund's may be moved at any time.
        if workflow.info().is_continue_as_new_suggested() and not state.test_mode:
            await workflow.wait_condition(lambda: self._woken or workflow.all_handlers_finished())
            if not self._woken:
                workflow.continue_as_new(RefundInput(state=state))
            return
        workflow.set_current_details(_in_words(state, step))
        timeout = self._journey.timer(step.until, self._now(state))
        try:
            await workflow.wait_condition(lambda: self._woken, timeout=timeout, timeout_summary=step.why)
        except TimeoutError:
            return

    @staticmethod
    def _now(state: RefundState) -> datetime:
        """The refund's own time, at whole seconds: in test mode as far ahead as its subscription's was."""
        return workflow.now().replace(microsecond=0) + timedelta(seconds=state.ahead_s)


def _in_words(state: RefundState, step: Wait) -> str:
    """Where the refund stands, for Temporal's UI."""
    when = step.until.isoformat() if step.until is not None else "when a command comes"
    lines = [
        f"**{state.status}**: {Money(state.amount, state.currency)} of {state.sale} by {state.kind.value}",
        f"Next: {step.why}, {when}",
    ]
    note = attention(state)
    return "\n\n".join([*lines, f"Attention: {note}"] if note is not None else lines)
