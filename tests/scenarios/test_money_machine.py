"""Captures, settlement, voids, refunds, credit notes and disputes in any order, through HTTP, beside a model of them.

After each step no more is given back than was captured, the trial balance is zero, and our books hold what the
gateway's own hold.
"""

from __future__ import annotations

import asyncio
import os
from concurrent.futures import ThreadPoolExecutor
from typing import Any, ClassVar, Final
from uuid import uuid4

import httpx
import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from api.keys import create_key
from tests.money_desk import MoneyDesk, Sale
from tests.stack_fixtures import NUMBERS, Shop

SALES_MAX: Final = 4
AMOUNTS: Final = st.integers(100, 900)
PICK: Final = st.integers(0, SALES_MAX - 1)
# In hundredths of what is left; above 100 is more than may be.
SHARES: Final = st.sampled_from([1, 30, 50, 99, 100, 101, 150])
# As for the properties of the domain: `deep` goes on for minutes and takes other orders each time.
DEEP: Final = os.environ.get("DUNLIN_TEST_DEPTH") == "deep"

pytestmark = [pytest.mark.stack, pytest.mark.timeout(7200 if DEEP else 600)]


class MoneyMachine(RuleBasedStateMachine):
    """One subscription with some charges; every rule says what must be allowed and what must not."""

    desk: ClassVar[MoneyDesk]
    apart: ClassVar[int]  # what the model expects in both books, over all examples
    known: ClassVar[list[Sale]]

    def __init__(self) -> None:
        super().__init__()
        self.sales: list[Sale] = []

    @initialize(amount=AMOUNTS)
    def begin(self, amount: int) -> None:
        self.subscription = self.desk.subscription()
        self._capture(amount)

    @precondition(lambda self: len(self.sales) < SALES_MAX)
    @rule(amount=AMOUNTS)
    def capture(self, amount: int) -> None:
        self._capture(amount)

    @rule(twice=st.booleans(), pieces=st.sampled_from([1, 3]))
    def settle(self, twice: bool, pieces: int) -> None:
        self.desk.settle(self.sales, twice=twice, pieces=pieces)
        for sale in self.sales:
            sale.settled = sale.settled or not sale.voided

    @rule(pick=PICK)
    def void(self, pick: int) -> None:
        sale = self._sale(pick)
        answer = self._twice(f"/charges/{sale.charge}/void", {"reason": "by mistake"})
        if sale.settled or sale.voided or sale.disputed or sale.left < sale.amount:
            return self._refused(answer)
        wanted = "failed" if sale.overtaken else "succeeded"
        assert (answer.status_code, answer.json()["status"]) == (201, wanted), answer.text
        if not sale.overtaken:
            sale.voided = True
            sale.held = sale.given = sale.amount
        return None

    @rule(pick=PICK, share=SHARES, fails=st.booleans())
    def refund(self, pick: int, share: int, fails: bool) -> None:
        sale = self._sale(pick)
        amount = max(sale.left * share // 100, 1)
        self._script(sale, refunds=["fail:busy"] if fails else [])
        answer = self._twice(f"/charges/{sale.charge}/refunds", {"amount": amount, "reason": "asked"})
        if not sale.settled or sale.voided or sale.disputed or amount > sale.left:
            return self._refused(answer)
        return self._opened(sale, answer, amount, fails=fails)

    @rule(pick=PICK, overtaken=st.booleans(), fails=st.booleans())
    def give_back(self, pick: int, overtaken: bool, fails: bool) -> None:
        """From the order: a void, and a refund where settlement was faster."""
        sale = self._sale(pick)
        self._script(sale, voids=["settles_first"] if overtaken else [], refunds=["fail:busy"] if fails else [])
        answer = self._twice(f"/invoices/{sale.invoice}/give-back", {"reason": "sent back"})
        in_full = sale.left == sale.amount
        if sale.voided or sale.disputed or sale.left == 0 or not (sale.settled or in_full):
            return self._refused(answer)
        refunds = sale.settled or sale.overtaken or overtaken
        if not sale.settled:
            sale.overtaken, sale.voided = refunds, not refunds
        return self._opened(sale, answer, sale.left, fails=fails and refunds)

    @precondition(lambda self: any(sale.queued for sale in self.sales))
    @rule(again=st.booleans())
    def decide_queued(self, again: bool) -> None:
        """A refund in the queue is tried by hand, or taken out: then what it held is free again."""
        sale = next(each for each in self.sales if each.queued)
        refund, amount = next(iter(sale.queued.items()))
        self._script(sale)
        answer = self._twice(f"/refunds/{refund}/{'try-now' if again else 'take-out'}", {"reason": "decided"})
        assert answer.status_code == 200, answer.text
        # What the bank disputes is not given back, also where the wish is older than the dispute.
        if again and sale.disputed:
            assert answer.json()["status"] in {"queued", "failed"}, answer.text
            if answer.json()["status"] == "queued":
                return
        wanted = ("failed" if sale.disputed else "succeeded") if again else "canceled"
        assert answer.json()["status"] == wanted, answer.text
        del sale.queued[refund]
        if wanted == "succeeded":
            sale.given += amount
        else:
            sale.held -= amount

    @rule(pick=PICK, shares=st.tuples(SHARES, SHARES))
    def two_agents_at_once(self, pick: int, shares: tuple[int, int]) -> None:
        """Both press at the same moment: together they never get more than there is."""
        sale = self._sale(pick)
        amounts = [max(sale.left * share // 100, 1) for share in shares]
        self._script(sale)
        before = sale.left

        def press(amount: int) -> tuple[int, httpx.Response]:
            body = {"amount": amount, "reason": "at once"}
            return amount, self.desk.post(f"/charges/{sale.charge}/refunds", body)

        with ThreadPoolExecutor(2) as agents:
            answers = list(agents.map(press, amounts))
        allowed = sale.settled and not sale.voided and not sale.disputed
        got = [amount for amount, answer in answers if answer.status_code == 201]
        assert sum(got) <= (before if allowed else 0), answers
        assert bool(got) == (allowed and min(amounts) <= before), answers
        for amount, answer in answers:
            if answer.status_code == 201:
                self._opened(sale, answer, amount, fails=False)
            else:
                self._refused(answer)

    @rule(pick=PICK, share=SHARES)
    def credit_note(self, pick: int, share: int) -> None:
        sale = self._sale(pick)
        amount = max(sale.left * share // 100, 1)
        answer = self._twice(f"/invoices/{sale.invoice}/credit-notes", {"amount": amount, "reason": "late"})
        if amount > sale.left:
            return self._refused(answer)
        assert answer.status_code == 201, answer.text
        sale.noted += amount
        return None

    @rule(pick=PICK, share=st.sampled_from([40, 100]))
    def dispute(self, pick: int, share: int) -> None:
        sale = self._sale(pick)
        taken = sum(amount for status, amount in sale.disputes.values() if status != "won")
        amount = max((sale.amount - taken) * share // 100, 1)
        answer = self.desk.control("POST", "disputes", {"charge": sale.reference, "amount": amount})
        if sale.voided or amount > sale.amount - taken:
            assert answer.status_code == 409, answer.text
            return
        name = answer.raise_for_status().json()["id"]
        sale.disputes[name] = ("opened", amount)
        self.desk.until(lambda: self.desk.dispute_is(name, sale, "opened"), f"{name} is opened")

    @precondition(lambda self: any(sale.disputed for sale in self.sales))
    @rule(status=st.sampled_from(["evidence_due", "won", "lost"]))
    def dispute_goes_on(self, status: str) -> None:
        for sale in self.sales:
            for name, (was, amount) in sale.disputes.items():
                if was not in {"won", "lost", status}:
                    self.desk.control("POST", f"disputes/{name}/{status}").raise_for_status()
                    sale.disputes[name] = (status, amount)
                    self.desk.until(lambda: self.desk.dispute_is(name, sale, status), f"{name} is {status}")  # noqa: B023
                    return

    @invariant()
    def the_books_agree(self) -> None:
        wanted = self.apart + sum(sale.cash for sale in self.sales)
        assert (self.desk.our_cash(), self.desk.their_cash()) == (wanted, wanted)
        for sale in self.sales:
            charge = self.desk.read(f"/charges/{sale.charge}")
            invoice = self.desk.read(f"/invoices/{sale.invoice}")
            assert charge["refundable"] == sale.left >= 0
            assert charge["returned"] == sale.held <= sale.amount
            assert invoice["credited"] == sale.held + sale.noted <= invoice["total"] == sale.amount
            noted = sum(note["amount"] for note in invoice["credit_notes"])
            assert noted == sale.given + sale.noted

    def teardown(self) -> None:
        type(self).apart += sum(sale.cash for sale in self.sales)
        self.known.extend(self.sales)

    def _capture(self, amount: int) -> None:
        self.sales.append(self.desk.sale(self.subscription, amount))

    def _sale(self, pick: int) -> Sale:
        return self.sales[pick % len(self.sales)]

    def _script(self, sale: Sale, **outcomes: Any) -> None:
        self.desk.control("PUT", f"returns/{sale.reference}/script", outcomes).raise_for_status()

    def _twice(self, path: str, body: dict[str, Any]) -> httpx.Response:
        """Every wish is sent twice under one key: the second answer is the first one."""
        key = uuid4().hex
        first, again = (self.desk.post(path, body, key) for _ in range(2))
        assert (first.status_code, first.json()) == (again.status_code, again.json())
        return first

    @staticmethod
    def _refused(answer: httpx.Response) -> None:
        assert answer.status_code == 409, answer.text
        assert answer.json()["code"], answer.text

    @staticmethod
    def _opened(sale: Sale, answer: httpx.Response, amount: int, *, fails: bool) -> None:
        told = answer.json()
        wanted = (201, amount, "queued" if fails else "succeeded")
        assert (answer.status_code, told.get("amount"), told.get("status")) == wanted, answer.text
        sale.held += amount
        if fails:
            sale.queued[told["id"]] = amount
        else:
            sale.given += amount


async def test_whatever_the_order_nothing_is_given_twice_and_the_books_agree(shop: Shop) -> None:
    desk = MoneyDesk(shop.stack.api_url, shop.stack.gateway_url, await create_key(shop.database, f"m{next(NUMBERS)}"))
    rules = desk.read("/rules/disputes")
    told_twice = {"twice": True}
    try:
        # The subscription goes on whatever the bank decides, and every event of the gateway comes twice.
        assert desk.api.put("/rules/disputes", json=rules | {"on_lost": "none"}).is_success
        desk.control("PUT", "webhooks", told_twice).raise_for_status()
        MoneyMachine.desk, MoneyMachine.apart, MoneyMachine.known = desk, desk.their_cash(), []
        assert desk.our_cash() == MoneyMachine.apart
        quick = settings(
            max_examples=40 if DEEP else 6,
            stateful_step_count=30 if DEEP else 14,
            derandomize=not DEEP,
            deadline=None,
            database=None,
            phases=(Phase.generate,),  # the stack remembers: a failure is told as it was found
            suppress_health_check=(HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much),
        )
        await asyncio.to_thread(run_state_machine_as_test, MoneyMachine, settings=quick)
        assert desk.differences(MoneyMachine.known) == []
    finally:
        desk.control("PUT", "webhooks", {}).raise_for_status()
        desk.api.put("/rules/disputes", json=rules)
        desk.close()
