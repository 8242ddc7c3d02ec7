"""Vouchers, credit notes and the subscriptions they go to, on a real database: a test is the workflow.

The door decides by `domain.commands` and writes by `activities.books`, as a subscription's workflow does.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime
from itertools import count
from typing import Any, cast

from sqlalchemy import text
from temporalio.testing import ActivityEnvironment

from activities.books import payer, write_books
from activities.credits import Credits, HandOver
from activities.vouchers import Vouchers
from domain.commands import handle
from domain.credits import FromInvoice, FromVoucher, Granted, Refusal, Transfer
from domain.lifecycle import apply, begin, next_step
from domain.links import LinkMaker
from domain.messages import Cancel, Envelope, Start, When
from domain.paid_back import PaidBack, paid_back
from domain.state import State
from domain.steps import Tick
from domain.terms import Terms
from domain.vouchers import AdjustVoucher, IssueVoucher
from models.session import Database
from tests.activities.test_twice import CutDatabase, Scissors
from tests.stack_fixtures import MONTHLY

NOW = datetime(2027, 3, 5, 14, tzinfo=UTC)
NUMBERS = count(1)


class Bench:
    """Everything that a transfer touches."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.states: dict[str, State] = {}
        self.asked = 0
        self._turn = asyncio.Lock()  # commands follow one another, as in the workflow

    # What there is

    async def customer(self) -> str:
        number = next(NUMBERS)
        await self.execute(
            "INSERT INTO customers (id, email, currency, invoice_prefix, time_zone)"
            " VALUES (:id, 'ann@example.com', 'USD', :prefix, 'Europe/Berlin')",
            id=f"cus_{number}",
            prefix=f"P{number}",
        )
        return f"cus_{number}"

    async def subscription(self, customer: str | None = None, *, canceled: bool = False, test_mode: bool = True) -> str:
        """One in its trial, so that nothing has to be charged."""
        customer, number = customer or await self.customer(), next(NUMBERS)
        await self.execute(
            "INSERT INTO products (id, code, name) VALUES (:id, :code, 'Box')", id=f"prod_{number}", code=f"b-{number}"
        )
        await self.execute(
            "INSERT INTO prices (id, product_id, code, currency, unit_amount, interval_count, interval_unit)"
            " VALUES (:id, :product, 'p', 'USD', 1000, 1, 'month')",
            id=f"price_{number}",
            product=f"prod_{number}",
        )
        terms = Terms(f"price_{number}", f"prod_{number}", "Box", 1000, "USD", 1, MONTHLY, trial_days=30)
        start = Start(f"sub_{number}", customer, "Europe/Berlin", terms, "test", start_at=NOW, test_mode=test_mode)
        state = begin(start, NOW)
        while isinstance(step := next_step(state, NOW), Tick):
            state = apply(state, step.fact, NOW)
        if canceled:
            state = handle(state, Envelope(f"end {number}", Cancel(When.NOW), "test"), NOW)
        await self._write(state)
        return start.id

    async def invoice(self, subscription: str, total: int = 1000, status: str = "paid") -> str:
        number = next(NUMBERS)
        state = self.states[subscription]
        await self.execute(
            "INSERT INTO invoices (id, number, customer_id, subscription_id, cycle, reason, currency, total,"
            " credit_applied, amount_due, status, issued_at, local_date, test_mode)"
            " VALUES (:id, :number, :customer, :sub, :cycle, 'cycle', 'USD', :total, 0, :total, :status, :at,"
            " '2027-03-05', :test_mode)",
            id=f"inv_{number}",
            number=f"N-{number}",
            customer=state.customer_id,
            sub=subscription,
            cycle=number,
            total=total,
            status=status,
            at=NOW,
            test_mode=state.test_mode,
        )
        return f"inv_{number}"

    async def voucher(self, amount: int = 5000, **more: Any) -> str:
        request = IssueVoucher(f"vch_{next(NUMBERS)}", amount, "USD", NOW, "ann", "gift", test_mode=True)
        answer = await self.issue(replace(request, **more))
        assert not isinstance(answer, Refusal), answer
        return answer.voucher_id

    # What is done

    async def issue(self, request: IssueVoucher) -> Any:
        return await ActivityEnvironment().run(Vouchers(self.database).issue_voucher, request)

    async def adjust(self, voucher: str, amount: int, *, identity: str | None = None, at: datetime = NOW) -> Any:
        request = AdjustVoucher(identity or f"led_adj_{next(NUMBERS)}", voucher, amount, at, "ann", "why not")
        return await ActivityEnvironment().run(Vouchers(self.database).adjust_voucher, request)

    async def expire(self, now: datetime) -> int:
        return await ActivityEnvironment().run(Vouchers(self.database).expire_vouchers, now)

    def redemption(self, voucher: str, subscription: str, amount: int | None = None, at: datetime = NOW) -> Transfer:
        return Transfer(f"ctr_{next(NUMBERS)}", subscription, FromVoucher(voucher, amount), at, "ann", "voucher")

    def crediting(self, invoice: str, subscription: str, amount: int) -> Transfer:
        number = next(NUMBERS)
        source = FromInvoice(invoice, f"cn_{number}", amount)
        return Transfer(f"ctr_{number}", subscription, source, NOW, "ann", "late")

    async def run(self, transfer: Transfer, scissors: Scissors | None = None) -> Granted | Refusal:
        """A transfer from beginning to end, as its workflow does it."""
        scissors = scissors or Scissors()
        database = cast("Database", CutDatabase(self.database, scissors))
        credits_ = Credits(database, CutDoor(self, scissors))
        taken = await ActivityEnvironment().run(credits_.take_credit, transfer)
        if isinstance(taken, Refusal):
            return taken
        return await ActivityEnvironment().run(credits_.hand_over_credit, HandOver(transfer, taken, NOW))

    async def send(self, subscription: str, envelope: Envelope) -> State:
        self.asked += 1
        async with self._turn:
            await self._write(handle(self.states[subscription], envelope, NOW))
            return self.states[subscription]

    async def _write(self, state: State) -> None:
        async with self.database.begin() as connection:
            to = await payer(connection, state.customer_id, LinkMaker())
            await write_books(connection, state, state.journal, to, NOW)
        self.states[state.id] = replace(state, journal=())

    # What came of it

    async def rows(self, statement: str, **parameters: Any) -> list[Any]:
        async with self.database.begin() as connection:
            return list((await connection.execute(text(statement), parameters)).all())

    async def execute(self, statement: str, **parameters: Any) -> None:
        async with self.database.begin() as connection:
            await connection.execute(text(statement), parameters)

    async def left(self, voucher: str) -> int:
        """What the ledger says is left of a voucher."""
        return -(await self.accounts(voucher))[f"voucher:{voucher}"]

    async def accounts(self, voucher: str | None = None) -> Counter[str]:
        """The accounts of entries about this voucher, or all of them. They always sum to zero."""
        rows = await self.rows(
            "SELECT account, sum(amount)::bigint AS balance FROM ledger_postings JOIN ledger_entries AS e"
            " ON e.id = entry_id WHERE CAST(:voucher AS text) IS NULL OR e.subject_id = :voucher GROUP BY account",
            voucher=voucher,
        )
        balances = Counter({row.account: row.balance for row in rows})
        assert sum(balances.values()) == 0
        return balances

    async def granted(self, transfer: Transfer) -> list[int]:
        rows = await self.rows(
            "SELECT (data ->> 'amount')::bigint AS amount FROM subscription_events"
            " WHERE kind = 'credit_granted' AND data ->> 'transfer_id' = :id",
            id=transfer.id,
        )
        return [row.amount for row in rows]

    async def status(self, transfer: Transfer) -> str:
        return (await self.rows("SELECT status FROM credit_transfers WHERE id = :id", id=transfer.id))[0].status


class CutDoor:
    """The door, cut off before a command or after it was decided."""

    def __init__(self, bench: Bench, scissors: Scissors) -> None:
        self._bench = bench
        self._scissors = scissors

    async def send(self, subscription_id: str, envelope: Envelope) -> State:
        self._scissors.snip()
        state = await self._bench.send(subscription_id, envelope)
        self._scissors.snip()
        return state

    async def paid_back(self, subscription_id: str, told: PaidBack) -> None:
        self._scissors.snip()
        self._bench.states[subscription_id] = paid_back(self._bench.states[subscription_id], told)
        self._scissors.snip()
