"""The Temporal Schedules of this installation: what runs by the clock, seen, triggered and paused through the API."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from types import MappingProxyType
from typing import Any, Final

from temporalio.client import (
    Client,
    Schedule,
    ScheduleActionStartWorkflow,
    ScheduleAlreadyRunningError,
    ScheduleIntervalSpec,
    ScheduleOverlapPolicy,
    SchedulePolicy,
    ScheduleSpec,
    ScheduleState,
)

from activities.gateway_runs import GatewayRunRequest
from activities.runs import BillingSegment, RunRequest
from domain.errors import NotFound
from workflows.billing_run import SCHEDULED, BillingRunWorkflow
from workflows.card_life import CardExpiryWorkflow, CardUpdatesWorkflow
from workflows.credit import VoucherExpiryWorkflow
from workflows.settlement import ReconciliationWorkflow, SettlementWorkflow

CATCH_UP_EVERY: Final = timedelta(hours=1)
CATCH_UP_OVERDUE_BY: Final = timedelta(minutes=15)
DAILY: Final = timedelta(days=1)
# By UTC. Gateways close their day at midnight; what they settled is read before the books are compared.
SETTLEMENT_AT: Final = timedelta(hours=2)
RECONCILIATION_AT: Final = timedelta(hours=5)
VOUCHER_EXPIRY_AT: Final = timedelta(hours=1)
# What was renewed is known before anybody is told that a card comes to its end.
CARD_UPDATES_AT: Final = timedelta(hours=3)
CARD_EXPIRY_AT: Final = timedelta(hours=8)
CATCH_UP_WINDOW: Final = timedelta(hours=12)


@dataclass(frozen=True, slots=True)
class _Plan:
    """A schedule we keep: which workflow it starts under which id and with what, when, and whether it starts paused.

    `at`: how long after midnight UTC, for one that runs once a day.
    """

    workflow: Any
    request: Any
    id: str
    every: timedelta
    paused: bool
    note: str
    at: timedelta = timedelta(0)


PLANS: Final = MappingProxyType(
    {
        "catch-up": _Plan(
            BillingRunWorkflow.run,
            RunRequest(
                "", BillingSegment(trigger="timer", overdue_by_s=int(CATCH_UP_OVERDUE_BY.total_seconds())), SCHEDULED
            ),
            "billing-run:catch-up",
            CATCH_UP_EVERY,
            paused=False,
            note="asks every subscription whose cycle has been due for a while; a healthy system has none",
        ),
        "billing": _Plan(
            BillingRunWorkflow.run,
            RunRequest("", BillingSegment(trigger="external"), SCHEDULED),
            "billing-run:billing",
            DAILY,
            paused=True,
            note="bills what waits for an outside trigger; resume it to let Temporal be that trigger",
        ),
        "settlement": _Plan(
            SettlementWorkflow.run,
            GatewayRunRequest(source=SCHEDULED),
            "settlement:nightly",
            DAILY,
            paused=False,
            note="reads what the gateways settled, and marks charges and refunds",
            at=SETTLEMENT_AT,
        ),
        "reconciliation": _Plan(
            ReconciliationWorkflow.run,
            GatewayRunRequest(source=SCHEDULED),
            "reconciliation:daily",
            DAILY,
            paused=False,
            note="compares our books with the gateways'; each difference is a task",
            at=RECONCILIATION_AT,
        ),
        "card-updates": _Plan(
            CardUpdatesWorkflow.run,
            None,
            "card-updates:nightly",
            DAILY,
            paused=False,
            note="reads which cards were renewed or closed, where a gateway tells",
            at=CARD_UPDATES_AT,
        ),
        "card-expiry": _Plan(
            CardExpiryWorkflow.run,
            None,
            "card-expiry:daily",
            DAILY,
            paused=False,
            note="tells customers 30 and 7 days before the card that pays their subscription comes to its end",
            at=CARD_EXPIRY_AT,
        ),
        "voucher-expiry": _Plan(
            VoucherExpiryWorkflow.run,
            None,
            "voucher-expiry:nightly",
            DAILY,
            paused=False,
            note="takes off what is left on vouchers whose end has come",
            at=VOUCHER_EXPIRY_AT,
        ),
    }
)


@dataclass(frozen=True, slots=True)
class ScheduleInfo:
    """A schedule as people see it."""

    id: str
    note: str
    paused: bool
    every_s: int
    last_at: datetime | None
    next_at: datetime | None
    runs: int


class Schedules:
    """Creates, lists and steers our schedules."""

    def __init__(self, client: Client, task_queue: str) -> None:
        self._client = client
        self._task_queue = task_queue

    async def ensure(self) -> None:
        """Create what is missing; what is there keeps its state (a schedule paused by a person stays paused)."""
        for identity, plan in PLANS.items():
            schedule = Schedule(
                action=ScheduleActionStartWorkflow(
                    plan.workflow,
                    args=[] if plan.request is None else [plan.request],
                    id=plan.id,
                    task_queue=self._task_queue,
                ),
                spec=ScheduleSpec(intervals=[ScheduleIntervalSpec(every=plan.every, offset=plan.at)]),
                policy=SchedulePolicy(overlap=ScheduleOverlapPolicy.SKIP, catchup_window=CATCH_UP_WINDOW),
                state=ScheduleState(note=plan.note, paused=plan.paused),
            )
            try:
                await self._client.create_schedule(identity, schedule)
            except ScheduleAlreadyRunningError:
                continue

    async def all(self) -> list[ScheduleInfo]:
        return [await self._info(identity) for identity in PLANS]

    async def trigger(self, identity: str) -> None:
        await self._client.get_schedule_handle(_known(identity)).trigger(overlap=ScheduleOverlapPolicy.ALLOW_ALL)

    async def pause(self, identity: str, note: str) -> None:
        await self._client.get_schedule_handle(_known(identity)).pause(note=note)

    async def resume(self, identity: str, note: str) -> None:
        await self._client.get_schedule_handle(_known(identity)).unpause(note=note)

    async def _info(self, identity: str) -> ScheduleInfo:
        said = await self._client.get_schedule_handle(identity).describe()
        recent, upcoming = said.info.recent_actions, said.info.next_action_times
        return ScheduleInfo(
            id=identity,
            note=said.schedule.state.note or PLANS[identity].note,
            paused=said.schedule.state.paused,
            every_s=int(PLANS[identity].every.total_seconds()),
            last_at=recent[-1].started_at if recent else None,
            next_at=upcoming[0] if upcoming else None,
            runs=said.info.num_actions,
        )


def _known(identity: str) -> str:
    if identity not in PLANS:
        raise NotFound(f"there is no schedule {identity}; there are {', '.join(PLANS)}")
    return identity
