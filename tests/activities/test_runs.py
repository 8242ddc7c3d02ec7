"""Pages of billing runs that die after they have asked, and runs that meet: each has its own verdict on everybody."""

from __future__ import annotations

import pytest
from temporalio.testing import ActivityEnvironment

from activities.runs import BillingSegment, PageRequest, RunRequest, Runs
from domain.messages import Envelope
from domain.state import State
from domain.terms import Trigger
from tests.stack_fixtures import NUMBERS, Shop

pytestmark = [pytest.mark.stack, pytest.mark.timeout(120)]


class Dies(Exception):
    """The machine dies here."""


class Door:
    """The real door; after so many answers the machine that asked dies."""

    def __init__(self, shop: Shop, answers_max: int) -> None:
        self._shop = shop
        self._left = answers_max

    async def send(self, subscription_id: str, envelope: Envelope) -> State:
        state = await self._shop.commands.send(subscription_id, envelope)
        self._left -= 1
        if self._left < 0:
            raise Dies
        return state


class Overtaken:
    """The real door; just before the first answer another run has asked everybody."""

    def __init__(self, shop: Shop, other: PageRequest) -> None:
        self._shop = shop
        self._other: PageRequest | None = other

    async def send(self, subscription_id: str, envelope: Envelope) -> State:
        other, self._other = self._other, None
        if other is not None:
            await ActivityEnvironment().run(Runs(self._shop.database, self._shop.commands).bill_page, other)
        return await self._shop.commands.send(subscription_id, envelope)


async def test_a_page_that_died_and_its_end_run_twice(shop: Shop) -> None:
    terms = await shop.terms()
    customers = [await shop.customer("tok_ok_visa") for _ in range(5)]
    subs = [(await shop.start(customer, terms, trigger=Trigger.EXTERNAL)).id for customer in customers]
    now = await shop.commands.virtual_now(subs[0])
    run = RunRequest(f"run-{next(NUMBERS)}", BillingSegment(product_id=terms.product_id))
    page = PageRequest(run, "", now)
    with pytest.raises(Dies):
        await ActivityEnvironment().run(Runs(shop.database, Door(shop, 2)).bill_page, page)
    whole = Runs(shop.database, shop.commands)
    for _ in range(2):
        assert (await ActivityEnvironment().run(whole.bill_page, page)).cursor is None
        assert await ActivityEnvironment().run(whole.end_run, page) == {"billed": 5}
    for sub in subs:
        assert [row["cycle"] for row in await shop.invoices(sub)] == [1]
    await shop.audit(*subs)


async def test_of_two_runs_that_meet_the_one_that_billed_says_so(shop: Shop) -> None:
    terms = await shop.terms()
    customer = await shop.customer("tok_ok_visa")
    sub = (await shop.start(customer, terms, trigger=Trigger.EXTERNAL)).id
    now = await shop.commands.virtual_now(sub)
    segment = BillingSegment(product_id=terms.product_id)
    slow, quick = (PageRequest(RunRequest(f"run-{next(NUMBERS)}", segment), "", now) for _ in range(2))
    await ActivityEnvironment().run(Runs(shop.database, Overtaken(shop, quick)).bill_page, slow)
    runs = Runs(shop.database, shop.commands)
    assert await ActivityEnvironment().run(runs.end_run, quick) == {"billed": 1}
    assert await ActivityEnvironment().run(runs.end_run, slow) == {"not_due": 1}
    (issued,) = [event["data"] for event in await shop.events(sub) if event["kind"] == "invoice_issued"]
    assert (issued["trigger"], issued["run_id"]) == ("billing_run", quick.run.run_id)
    await shop.audit(sub)
