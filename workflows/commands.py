"""The one door to the workflows: typed starts, updates and queries for API, console and command line.

Everything here may be repeated: ids come from the caller's identity, and a repetition finds what was done.
"""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

from temporalio.client import Client, WorkflowHandle
from temporalio.common import WorkflowIDReusePolicy
from temporalio.exceptions import WorkflowAlreadyStartedError
from temporalio.service import RPCError, RPCStatusCode

from activities.disputes import GatewayEventRequest
from activities.imports import ImportRequest
from activities.runs import BillingSegment, RunRequest
from domain.errors import InvalidInput, NotFound, Refused, Unavailable
from domain.lifecycle import begin
from domain.messages import Envelope, Start
from domain.paid_back import PaidBack
from domain.plan import CATCH_UP_AFTER
from domain.state import State
from workflows.answers import answered, away, updated
from workflows.billing_run import BillingRunWorkflow
from workflows.credit_commands import CreditCommands
from workflows.dispute import GatewayEventWorkflow
from workflows.fulfilment_commands import BatchOrder, FulfilmentCommands, FulfilmentOrder, ParcelWord
from workflows.import_file import ImportWorkflow
from workflows.inputs import SubscriptionInput
from workflows.merge_commands import MergeCommands, MergeRequest, UndoMerge
from workflows.message_commands import MessageCommands
from workflows.order_commands import OrderCommands
from workflows.price_move_commands import MoveRequest, PriceMoveCommands
from workflows.refund_commands import RefundCommands
from workflows.reminder_commands import ReminderCommands
from workflows.schedules import ScheduleInfo, Schedules
from workflows.settlement_commands import SettlementCommands
from workflows.sight import InTrouble, in_trouble
from workflows.subscription import SubscriptionWorkflow, search_attributes
from workflows.tax_run_commands import TaxRunCommands, TaxRunRequest
from workflows.time_travel import TimeTravel

__all__ = [
    "BatchOrder",
    "BillingSegment",
    "Commands",
    "FulfilmentOrder",
    "MergeRequest",
    "MoveRequest",
    "ParcelWord",
    "TaxRunRequest",
    "UndoMerge",
    "workflow_id",
]

ADVANCE_TIMEOUT_S = 600
ADVANCE_MAX = timedelta(days=366 * 20)


def workflow_id(subscription_id: str) -> str:
    """The id of a subscription's workflow."""
    return f"subscription:{subscription_id}"


class Commands:
    """Starts, updates and queries of our workflows, with errors of `domain.errors` only."""

    def __init__(self, client: Client, task_queue: str) -> None:
        self._client = client
        self._task_queue = task_queue
        self._travel = TimeTravel(client)
        self._advancing: set[str] = set()
        self._schedules = Schedules(client, task_queue)
        self.refunds = RefundCommands(client, task_queue, self._travel)
        self.messages = MessageCommands(client, task_queue)
        self.orders = OrderCommands(client, task_queue)
        self.reminders = ReminderCommands(client, task_queue)
        self.merges = MergeCommands(client, task_queue)
        self.price_moves = PriceMoveCommands(client, task_queue)
        self.tax_runs = TaxRunCommands(client, task_queue)
        self.credits = CreditCommands(client, task_queue)
        self.settlement = SettlementCommands(client, task_queue)
        self.fulfilments = FulfilmentCommands(client, task_queue)

    async def start(self, start: Start, *, wait: bool = True) -> State | None:
        """Begin a subscription, once for each id. With `wait` the answer is its state in the books.

        Raises `InvalidInput` for a start in the past that is no take-over.
        """
        now = datetime.now(UTC)
        # What an order has sold begins when it was paid, however late the machines come to it.
        free = start.bill_from is not None or start.order_id is not None
        if start.start_at is not None and not free and start.start_at < now - CATCH_UP_AFTER:
            raise InvalidInput("start_at", "must not be in the past, unless bill_from says from when on to bill")
        client = self._travel.client if start.test_mode else self._client
        try:
            await client.start_workflow(
                SubscriptionWorkflow.run,
                SubscriptionInput(start=start),
                id=workflow_id(start.id),
                task_queue=self._task_queue,
                id_reuse_policy=WorkflowIDReusePolicy.REJECT_DUPLICATE,
                search_attributes=search_attributes(begin(start, now)),
                static_summary=f"Subscription {start.id}",
            )
        except WorkflowAlreadyStartedError:
            pass  # the same start, repeated
        except RPCError as error:
            raise away(error) from error
        return await self.settled(start.id) if wait else None

    async def send(self, subscription_id: str, envelope: Envelope) -> State:
        """Send a command; the answer is the state after it, in the books.

        Raises `NotFound`, `Refused`, `InvalidInput`, or `Unavailable` (repeat it with the same id).
        """
        return await self._update(subscription_id, SubscriptionWorkflow.command, [envelope], envelope.id)

    async def paid_back(self, subscription_id: str, told: PaidBack) -> None:
        """Tell a subscription, before its next command, that money of its invoice went back; one that is closed not."""
        try:
            await self._handle(subscription_id).signal(SubscriptionWorkflow.paid_back, told)
        except RPCError as error:
            if error.status is not RPCStatusCode.NOT_FOUND:
                raise away(error) from error

    async def send_if_taken(self, subscription_id: str, envelope: Envelope) -> None:
        """Send a command that is right to drop where it makes no sense any more.

        Between the look and the command a subscription may have ended or an invoice been paid: then there is nothing
        left to do.
        """
        try:
            await self.send(subscription_id, envelope)
        except (Refused, NotFound):
            return

    async def settled(self, subscription_id: str) -> State:
        """The state once nothing is left to do at the subscription's own time."""
        return await self._update(subscription_id, SubscriptionWorkflow.settled, [], None)

    async def state(self, subscription_id: str) -> State:
        """The live state, asked of the workflow itself."""
        handle = self._handle(subscription_id)
        return await answered(lambda: handle.query(SubscriptionWorkflow.state))

    async def virtual_now(self, subscription_id: str) -> datetime:
        """The subscription's own time: the wall clock, or ahead of it in test mode."""
        handle = self._handle(subscription_id)
        return await answered(lambda: self._travel.now(handle))

    async def advance(self, subscription_id: str, by: timedelta) -> State:
        """Move a test-mode subscription through time; answers when it has arrived and all is in the books."""
        if not timedelta(0) < by <= ADVANCE_MAX:
            raise InvalidInput("advance", f"must be more than nothing and at most {ADVANCE_MAX.days} days")
        state = await self.state(subscription_id)
        if not state.test_mode:
            raise Refused("not_in_test_mode", "only a subscription started with test_mode can be moved through time")
        if subscription_id in self._advancing:
            raise Refused("advance_under_way", "an advance of this subscription is under way; wait for its answer")
        self._advancing.add(subscription_id)
        handle = self._handle(subscription_id)
        try:
            async with asyncio.timeout(ADVANCE_TIMEOUT_S):
                while by > timedelta(0):
                    leg = min(by, self._travel.leg(state.terms.interval))
                    await self._update(subscription_id, SubscriptionWorkflow.depart, [leg], None)
                    await self._travel.advance(handle, leg)
                    state = await self._update(subscription_id, SubscriptionWorkflow.arrive, [], None)
                    by -= leg
        except TimeoutError as error:
            raise Unavailable("the advance takes longer than expected; its subscription goes on") from error
        finally:
            self._advancing.discard(subscription_id)
        return state

    async def start_billing_run(self, run_id: str, segment: BillingSegment, source: str) -> None:
        """Bill what is due in a segment; once for each id, however often it is called."""
        await self._start_once(
            BillingRunWorkflow.run,
            RunRequest(run_id, segment, source),
            f"billing-run:{run_id}",
            f"Billing run {run_id}",
        )

    async def start_import(self, import_id: str) -> None:
        """Apply an uploaded file; a crash goes on where it was."""
        await self._start_once(
            ImportWorkflow.run, ImportRequest(import_id), f"import:{import_id}", f"Import {import_id}"
        )

    async def take_gateway_event(self, event: GatewayEventRequest) -> None:
        """Keep an event and do what it says; sent again, it is looked at again, and what is done stays done."""
        await self._start_once(
            GatewayEventWorkflow.run,
            event,
            f"gateway-event:{event.gateway}:{event.event_id}",
            f"{event.kind} of {event.gateway}",
            reuse=WorkflowIDReusePolicy.ALLOW_DUPLICATE,
        )

    async def schedules(self) -> list[ScheduleInfo]:
        """Our Temporal Schedules, with their last and next times."""
        return await answered(self._schedules.all)

    async def trigger_schedule(self, schedule_id: str) -> None:
        await answered(lambda: self._schedules.trigger(schedule_id))

    async def pause_schedule(self, schedule_id: str, note: str) -> None:
        await answered(lambda: self._schedules.pause(schedule_id, note))

    async def resume_schedule(self, schedule_id: str, note: str) -> None:
        await answered(lambda: self._schedules.resume(schedule_id, note))

    async def in_trouble(self, limit: int) -> list[InTrouble]:
        """Workflows with a step that fails for our own reasons."""
        return await in_trouble(self._client, limit)

    async def alive(self) -> bool:
        """Whether Temporal answers."""
        return await self._client.service_client.check_health(timeout=timedelta(seconds=2))

    async def _update(self, subscription_id: str, update: Any, args: list[Any], identity: str | None) -> State:
        return await updated(self._handle(subscription_id), update, args, identity=identity)

    async def _start_once(
        self,
        run: Any,
        request: Any,
        identity: str,
        summary: str,
        *,
        reuse: WorkflowIDReusePolicy = WorkflowIDReusePolicy.REJECT_DUPLICATE,
    ) -> None:
        """Start it unless it is running, or with the usual `reuse` was ever started."""
        try:
            await self._client.start_workflow(
                run,
                request,
                id=identity,
                task_queue=self._task_queue,
                id_reuse_policy=reuse,
                static_summary=summary,
            )
        except WorkflowAlreadyStartedError:
            return
        except RPCError as error:
            raise away(error) from error

    def _handle(self, subscription_id: str) -> WorkflowHandle[SubscriptionWorkflow, None]:
        return self._client.get_workflow_handle_for(SubscriptionWorkflow.run, workflow_id(subscription_id))
