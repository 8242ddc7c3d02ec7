"""A page of a billing run that dies after it has asked: run again, it still has a verdict on everybody."""

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
