"""A subscription's whole life: asks `domain.lifecycle` what is next, does it, remembers, and waits.

Runs are short: after a few steps a run continues as new, so that waking up costs the same in the first year and in the
tenth. Commands are Updates; they wait while a step is under way and are decided after it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from typing import Any, assert_never

from temporalio import workflow
from temporalio.common import SearchAttributeKey, SearchAttributePair, SearchAttributeUpdate, TypedSearchAttributes
from temporalio.exceptions import ActivityError, ApplicationError

with workflow.unsafe.imports_passed_through():
    from activities.payments import Payments, StepRequest
    from activities.records import Records
    from domain.commands import handle
    from domain.errors import DunlinError
    from domain.explain import attention
    from domain.facts import Fact, Recorded
    from domain.lifecycle import apply, begin, next_step
    from domain.messages import Envelope
    from domain.money import Money
    from domain.paid_back import PaidBack, paid_back
    from domain.plan import due_at
    from domain.state import State
    from domain.steps import AskGateway, Charge, End, Record, Tick, Wait
    from workflows.inputs import SubscriptionInput
    from workflows.journey import Journey
    from workflows.policies import (
        STEP_HEARTBEAT,
        STEP_RETRY,
        STEP_TIMEOUT,
        STEPS_PER_RUN_MAX,
        TRAVEL_EVENTS_MAX,
        TROUBLE_RETRY_AFTER,
    )
    from workflows.refusals import refuse
    from workflows.trouble import Trouble

STATUS = SearchAttributeKey.for_keyword("DunlinStatus")
CUSTOMER = SearchAttributeKey.for_keyword("DunlinCustomer")
PRODUCT = SearchAttributeKey.for_keyword("DunlinProduct")
NEXT_DUE = SearchAttributeKey.for_datetime("DunlinNextDue")
DUNNING = SearchAttributeKey.for_keyword("DunlinDunning")

NOT_DUNNING = "none"


def found_by(state: State) -> dict[SearchAttributeKey[Any], Any]:
    """By what operators find a subscription in Temporal."""
    collecting = state.collecting
    dunning = collecting.dunning if collecting is not None else None
    attributes: dict[SearchAttributeKey[Any], Any] = {
        STATUS: state.status.value,
        CUSTOMER: state.customer_id,
        PRODUCT: state.terms.product_id,
        DUNNING: dunning.policy.name if dunning is not None else NOT_DUNNING,
    }
    due = due_at(state)
    return attributes if due is None else attributes | {NEXT_DUE: due}


def search_attributes(state: State) -> TypedSearchAttributes:
    """The same, as a start or a continue-as-new takes them."""
    return TypedSearchAttributes([SearchAttributePair(key, value) for key, value in found_by(state).items()])


@workflow.defn(name="Subscription")
class SubscriptionWorkflow:
    """Id `subscription:{id}`. One owner of the state, one clock."""

    @workflow.init
    def __init__(self, given: SubscriptionInput) -> None:
        if given.state is not None:
            self._state = given.state
        elif given.start is not None:
            self._state = begin(given.start, self._now())
        else:
            raise ApplicationError("a subscription needs a start or a state", non_retryable=True)
        self._turn = asyncio.Lock()  # commands follow one another, each decided on what the one before it left
        self._steps = 0  # taken in this run
        self._shown = found_by(self._state)  # what operators find it by
        self._quiet = False  # the loop has nothing more to do now
        self._woken = False  # a command changed the state
        self._journey = Journey()
        self._trouble = Trouble()

    @workflow.run
    async def run(self, given: SubscriptionInput) -> None:  # noqa: ARG002 - taken by __init__
        while True:
            now = self._now()
            step = next_step(self._state, now)
            match step:
                case Tick():
                    self._state = apply(self._state, step.fact, now)
                case Charge():
                    await self._act(Payments.charge, StepRequest(self._state, now))
                case AskGateway():
                    await self._act(Payments.ask_gateway, StepRequest(self._state, now, step.give_up))
                case Record():
                    await self._act(Records.record, StepRequest(self._state, now))
                case Wait():
                    await self._wait(step)
                case End():
                    if await self._may_leave():
                        return
                case _:
                    assert_never(step)

    @workflow.update
    async def command(self, envelope: Envelope) -> State:
        """Decide a command, act on it, and answer with the state once it is in the books."""
        async with self._turn:
            await workflow.wait_condition(self._is_settled)
            self._decide(envelope)
            await workflow.wait_condition(lambda: self._quiet)
            return self._state

    @command.validator
    def _refuse_early(self, envelope: Envelope) -> None:
        """What can be refused at once leaves no trace in the history."""
        if self._is_settled() and not self._turn.locked():
            _decided(self._state, envelope, self._now())

    @workflow.update
    async def settled(self) -> State:
        """Answers when nothing is left to do at this time."""
        await workflow.wait_condition(self._is_settled)
        return self._state

    @workflow.update
    async def depart(self, by: timedelta | None = None) -> State:
        """The clock is about to be moved: stay in this run until `arrive` (see `workflows.time_travel`)."""
        await workflow.wait_condition(self._is_settled)
        self._journey.begin(workflow.now(), by)
        self._woken = by is not None  # the timer that is set may be for what lies beyond
        return self._state

    @workflow.update
    async def arrive(self) -> State:
        """The clock has been moved: answers when all that fell due on the way is done."""
        self._journey.arrive()
        self._woken = True
        await workflow.wait_condition(self._is_settled)
        return self._state

    @workflow.signal
    def paid_back(self, told: PaidBack) -> None:
        """Money of an invoice went back. It has its own timeline; here it only counts as paid no more."""
        self._state = paid_back(self._state, told)

    @workflow.query
    def state(self) -> State:
        return self._state

    def _is_settled(self) -> bool:
        """Nothing is under way and nothing is due: what fell due before a command came goes first."""
        return self._quiet and isinstance(next_step(self._state, self._now()), Wait)

    def _decide(self, envelope: Envelope) -> None:
        self._state = _decided(self._state, envelope, self._now())
        self._quiet = False
        self._woken = True

    async def _act(self, method: Callable[[Any, StepRequest], Awaitable[Fact]], request: StepRequest) -> None:
        """Run a step's activity and take its outcome. It has written the whole journal to the books."""
        self._quiet = False
        try:
            # Not a local activity: its input must be in the history before money moves (decision 11).
            fact: Fact = await workflow.execute_activity_method(
                method,
                request,
                start_to_close_timeout=STEP_TIMEOUT,
                heartbeat_timeout=STEP_HEARTBEAT,
                retry_policy=STEP_RETRY,
            )
        except ActivityError as error:
            await self._show_trouble(error)
            return
        self._trouble.clear()
        self._steps += 1
        self._state = apply(self._state, fact, request.now)
        self._state = apply(self._state, Recorded(self._state.seq), request.now)

    async def _show_trouble(self, error: ActivityError) -> None:
        """Our own machinery failed: say so where operators look, and try the same step again by the clock."""
        self._trouble.show(error, subscription=self._state.id)
        await workflow.sleep(TROUBLE_RETRY_AFTER)

    async def _wait(self, step: Wait) -> None:
        """Until the next due time or a command; after some steps in a run of its own, so that waking stays cheap."""
        self._woken = False
        self._quiet = True
        if self._is_long():
            if await self._may_leave():
                workflow.continue_as_new(
                    SubscriptionInput(state=self._state), search_attributes=search_attributes(self._state)
                )
            return
        self._show(step)
        timeout = self._journey.timer(step.until, workflow.now())
        try:
            await workflow.wait_condition(lambda: self._woken, timeout=timeout, timeout_summary=step.why)
        except TimeoutError:
            return

    async def _may_leave(self) -> bool:
        """Whether this run may end: all who asked have their answers, and nobody has changed anything meanwhile."""
        self._woken = False
        self._quiet = True
        await workflow.wait_condition(lambda: self._woken or workflow.all_handlers_finished())
        return not self._woken and workflow.all_handlers_finished()

    def _is_long(self) -> bool:
        """Whether this run has done its share. While its clock is moved a run goes on as long as it can."""
        if self._journey.under_way:
            return workflow.info().get_current_history_length() >= TRAVEL_EVENTS_MAX
        return self._steps >= STEPS_PER_RUN_MAX or workflow.info().is_continue_as_new_suggested()

    def _show(self, step: Wait) -> None:
        """Bring what operators see up to date: words in the UI, and the attributes by which lists are filtered."""
        workflow.set_current_details(self._in_words(step))
        if self._journey.under_way:
            return
        found = found_by(self._state)
        changed: list[SearchAttributeUpdate[Any]] = [
            key.value_set(value) for key, value in found.items() if self._shown.get(key) != value
        ]
        changed += [key.value_unset() for key in self._shown if key not in found]
        if changed:
            workflow.upsert_search_attributes(changed)  # pyright: ignore[reportUnknownMemberType] - the SDK leaves a type open
        self._shown = found

    def _in_words(self, step: Wait) -> str:
        """Where the subscription stands, for Temporal's UI."""
        state = self._state
        when = step.until.isoformat() if step.until is not None else "when a command comes"
        every = f"{state.terms.interval.count} {state.terms.interval.unit.value}"
        lines = [
            f"**{state.status.value}**, access {state.access.value}",
            f"Next: {step.why}, {when}",
            f"Terms: {state.terms.product_name}, {state.terms.price} every {every}",
        ]
        if state.credit:
            lines.append(f"Credit: {Money(state.credit, state.currency)}")
        note = attention(state)
        if note is not None:
            lines.append(f"Attention: {note}")
        return "\n\n".join(lines)

    @staticmethod
    def _now() -> datetime:
        """The subscription's own time, at whole seconds: in test mode it runs ahead of the wall clock."""
        return workflow.now().replace(microsecond=0)


def _decided(state: State, envelope: Envelope, now: datetime) -> State:
    try:
        return handle(state, envelope, now)
    except DunlinError as error:
        refuse(error)
