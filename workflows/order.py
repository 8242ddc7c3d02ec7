"""An order's whole life: asks `domain.orders` what is next, does it, and waits; ends when it is closed.

Commands are Updates; they wait while a step is under way and are decided after it, as a subscription's are. So of two
that pay at once the second finds the order paid.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Any, assert_never

from temporalio import workflow
from temporalio.exceptions import ActivityError

with workflow.unsafe.imports_passed_through():
    from activities.orders import OrderRequest, OrderSteps
    from domain.errors import DunlinError
    from domain.facts import Recorded
    from domain.money import Money
    from domain.order_commands import handle
    from domain.order_messages import OrderEnvelope, OrderFact, OrderTick, StartLine, Undo
    from domain.order_state import OrderState
    from domain.orders import apply, attention, begin_order, next_step
    from domain.steps import AskGateway, Charge, End, Record, Wait
    from workflows.inputs import OrderInput
    from workflows.policies import STEP_HEARTBEAT, STEP_RETRY, STEP_TIMEOUT, TROUBLE_RETRY_AFTER
    from workflows.refusals import refuse
    from workflows.trouble import Trouble


@workflow.defn(name="Order")
class OrderWorkflow:
    """Id `order:{id}`. One owner of the state, one clock."""

    @workflow.init
    def __init__(self, given: OrderInput) -> None:
        if given.state is not None:
            self._state = given.state
        else:
            self._state = begin_order(given.opening(), self._now())
        self._turn = asyncio.Lock()  # commands follow one another, each decided on what the one before it left
        self._quiet = False  # the loop has nothing more to do now
        self._woken = False  # a command changed the state
        self._trouble = Trouble()

    @workflow.run
    async def run(self, given: OrderInput) -> OrderState:  # noqa: ARG002 - taken by __init__
        """Answers how it ended."""
        while True:
            now = self._now()
            step = next_step(self._state, now)
            match step:
                case OrderTick():
                    self._state = apply(self._state, step.fact, now)
                case Charge():
                    await self._act(OrderSteps.charge_order, OrderRequest(self._state, now))
                case AskGateway():
                    await self._act(OrderSteps.ask_about_order, OrderRequest(self._state, now, step.give_up))
                case StartLine():
                    request = OrderRequest(self._state, now, position=step.position)
                    await self._act(OrderSteps.start_order_line, request)
                case Undo():
                    await self._act(OrderSteps.undo_order, OrderRequest(self._state, now))
                case Record():
                    await self._act(OrderSteps.record_order, OrderRequest(self._state, now))
                case Wait():
                    await self._wait(step)
                case End():
                    self._quiet = True
                    await workflow.wait_condition(workflow.all_handlers_finished)
                    return self._state
                case _:
                    assert_never(step)

    @workflow.update
    async def command(self, envelope: OrderEnvelope) -> OrderState:
        """Decide a command, act on it, and answer with the order once it is in the books."""
        async with self._turn:
            await workflow.wait_condition(self._is_settled)
            try:
                self._state = handle(self._state, envelope, self._now())
            except DunlinError as error:
                refuse(error)
            self._quiet = False
            self._woken = True
            await workflow.wait_condition(lambda: self._quiet)
            return self._state

    @workflow.update
    async def settled(self) -> OrderState:
        """Answers when nothing is left to do at this time."""
        await workflow.wait_condition(self._is_settled)
        return self._state

    @workflow.query
    def state(self) -> OrderState:
        return self._state

    def _is_settled(self) -> bool:
        """Nothing is under way and nothing is due: what fell due before a command came goes first."""
        return self._quiet and isinstance(next_step(self._state, self._now()), Wait | End)

    async def _act(self, method: Callable[[Any, OrderRequest], Awaitable[OrderFact]], request: OrderRequest) -> None:
        """Run a step's activity and take its outcome. It has written the whole journal to the books."""
        self._quiet = False
        try:
            # Not a local activity: its input must be in the history before money moves (decision 11).
            fact: OrderFact = await workflow.execute_activity_method(
                method,
                request,
                start_to_close_timeout=STEP_TIMEOUT,
                heartbeat_timeout=STEP_HEARTBEAT,
                retry_policy=STEP_RETRY,
            )
        except ActivityError as error:
            self._trouble.show(error, order=self._state.id)
            await workflow.sleep(TROUBLE_RETRY_AFTER)
            return
        self._trouble.clear()
        self._state = apply(self._state, fact, request.now)
        self._state = apply(self._state, Recorded(self._state.seq), request.now)

    async def _wait(self, step: Wait) -> None:
        """Until the next due time or a command; a long story goes on in a new run."""
        self._woken = False
        self._quiet = True
        if workflow.info().is_continue_as_new_suggested():
            await workflow.wait_condition(lambda: self._woken or workflow.all_handlers_finished())
            if not self._woken:
                workflow.continue_as_new(OrderInput(state=self._state))
            return
        workflow.set_current_details(_in_words(self._state, step))
        timeout = step.until - self._now() if step.until is not None else None
        try:
            await workflow.wait_condition(lambda: self._woken, timeout=timeout, timeout_summary=step.why)
        except TimeoutError:
            return

    @staticmethod
    def _now() -> datetime:
        return workflow.now().replace(microsecond=0)


def _in_words(state: OrderState, step: Wait) -> str:
    """Where the order stands, for Temporal's UI."""
    when = step.until.isoformat() if step.until is not None else "when a command comes"
    lines = [
        f"**{state.status.value}**: {len(state.lines)} lines, {Money(state.total, state.currency)} due when placed",
        f"Next: {step.why}, {when}",
    ]
    note = attention(state)
    return "\n\n".join([*lines, f"Attention: {note}"] if note is not None else lines)
