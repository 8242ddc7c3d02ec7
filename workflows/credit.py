"""Money from a voucher or a credit note into a subscription's credit: taken, then handed over or given back."""

from __future__ import annotations

from datetime import datetime

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from activities.credits import Credits, HandOver
    from activities.vouchers import EXPIRED_AT_ONCE_MAX, Vouchers
    from domain.calendar import whole_second
    from domain.credits import Granted, Refusal, Transfer
    from workflows.policies import (
        PAGE_RETRY,
        PAGE_TIMEOUT,
        PAGES_PER_RUN_MAX,
        STEP_HEARTBEAT,
        STEP_TIMEOUT,
        TRANSFER_RETRY,
    )
    from workflows.trouble import Trouble, persist


@workflow.defn(name="Credit")
class CreditWorkflow:
    """Id `credit:{transfer id}`. What is in transit is tried until it has arrived or is back."""

    def __init__(self) -> None:
        self._trouble = Trouble()

    @workflow.run
    async def run(self, transfer: Transfer) -> Granted | Refusal:
        taken = await persist(
            self._trouble,
            Credits.take_credit,
            transfer,
            start_to_close_timeout=STEP_TIMEOUT,
            retry_policy=TRANSFER_RETRY,
        )
        if isinstance(taken, Refusal):
            return taken
        return await persist(
            self._trouble,
            Credits.hand_over_credit,
            HandOver(transfer, taken, self._now(transfer)),
            start_to_close_timeout=STEP_TIMEOUT,
            heartbeat_timeout=STEP_HEARTBEAT,
            retry_policy=TRANSFER_RETRY,
        )

    @staticmethod
    def _now(transfer: Transfer) -> datetime:
        """The subscription's own time: in test mode it is ahead of the wall clock by as much as at the beginning."""
        return whole_second(transfer.at + (workflow.now() - workflow.info().start_time))


@workflow.defn(name="VoucherExpiry")
class VoucherExpiryWorkflow:
    """Started by the Schedule `voucher-expiry`: page by page, until no voucher is left whose end has come."""

    def __init__(self) -> None:
        self._trouble = Trouble()

    @workflow.run
    async def run(self, until: datetime | None = None) -> None:
        now = until or whole_second(workflow.now())
        for _ in range(PAGES_PER_RUN_MAX):
            ended = await persist(
                self._trouble,
                Vouchers.expire_vouchers,
                now,
                start_to_close_timeout=PAGE_TIMEOUT,
                retry_policy=PAGE_RETRY,
            )
            if ended < EXPIRED_AT_ONCE_MAX:
                return
        workflow.continue_as_new(now)
