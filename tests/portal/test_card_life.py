"""Cards come to their end, are renewed and closed: who is told, once each, and how a new card comes by the letter."""

from __future__ import annotations

import asyncio
import re
from datetime import UTC, datetime
from typing import Any

import pytest

from domain.messages import Cancel, When
from tests.api.conftest import Caller
from tests.portal.browser import Browser
from tests.portal.test_pay import ANOTHER_GOOD_CARD
from tests.portal.test_renew import ENTER, cards
from tests.stack_fixtures import NUMBERS, Shop, at
from workflows.card_life import CardExpiryWorkflow, CardUpdatesWorkflow

pytestmark = [pytest.mark.stack, pytest.mark.timeout(120)]

VISA = "tok_ok_visa"


async def look(shop: Shop, workflow: Any = CardExpiryWorkflow) -> None:
    """What the Schedule starts, under an id of its own, to its end."""
    queue = shop.stack.settings.temporal_task_queue
    await shop.client.execute_workflow(workflow.run, id=f"card-life-test:{next(NUMBERS)}", task_queue=queue)


async def subscriber(shop: Shop, *tokens: str, month: int, year: int, **more: Any) -> tuple[str, str]:
    """Somebody whose first card ends with that month, with a subscription in test mode since the 4th of October."""
    customer = await shop.customer(*(tokens or (VISA,)))
    await expires(shop, customer, month, year)
    given: dict[str, Any] = {"start_at": at("2027-10-04", 14)} | more
    state = await shop.start(customer, await shop.terms(), **given)
    return state.id, customer


async def expires(shop: Shop, customer: str, month: int, year: int) -> None:
    await shop.execute(
        "UPDATE payment_methods SET exp_month = :month, exp_year = :year WHERE id ="
        " (SELECT id FROM payment_methods WHERE customer_id = :id ORDER BY position LIMIT 1)",
        month=month,
        year=year,
        id=customer,
    )


async def told(shop: Shop, customer: str, template: str = "card_expires") -> list[dict[str, Any]]:
    return await shop.rows(
        "SELECT id, subject, body, at, status FROM messages WHERE customer_id = :id AND template = :template"
        " ORDER BY at",
        id=customer,
        template=template,
    )


def link_in(letter: dict[str, Any]) -> str:
    found = re.search(r"https?://\S+/link/\S+", letter["body"])
    assert found is not None, letter["body"]
    return found[0]


async def test_told_thirty_and_seven_days_before_once_each_and_renewed_by_the_letter(
    shop: Shop, browser: Browser
) -> None:
    sub, customer = await subscriber(shop, month=12, year=2027)
    await shop.until(sub, at("2027-11-30", 10))
    await look(shop)
    assert await told(shop, customer) == [], "31 days are too early"
    await shop.until(sub, at("2027-12-01", 10))
    await look(shop)
    await look(shop)
    await shop.until(sub, at("2027-12-23", 10))
    await look(shop)
    (first,) = await told(shop, customer)
    assert first["subject"] == "Your card visa •••• 4242 expires on December 31, 2027"
    await shop.until(sub, at("2027-12-24", 10))
    await look(shop)
    await look(shop)
    _, second = await told(shop, customer)
    assert link_in(first) != link_in(second)
    page = await browser.open(link_in(second))
    assert "The new card takes the place of Visa ending in 4242, expires 12/2027" in page.text
    await browser.press(await browser.enter_card(await browser.follow(page, ENTER), ANOTHER_GOOD_CARD))
    assert [card["last4"] for card in await cards(shop, customer)] == ["4444"]
    await look(shop)
    await shop.until(sub, at("2028-01-05", 10))
    await look(shop)
    assert len(await told(shop, customer)) == 2
    assert (await shop.commands.state(sub)).status == "active"
    await shop.audit(sub)


async def test_after_an_outage_the_nearest_notice_is_told_alone(shop: Shop) -> None:
    sub, customer = await subscriber(shop, month=12, year=2027)
    await shop.until(sub, at("2027-12-28", 10))
    await look(shop)
    rows = await shop.rows("SELECT days, expires FROM card_notices WHERE customer_id = :id", id=customer)
    assert rows == [{"days": 7, "expires": "2027-12"}]
    assert len(await told(shop, customer)) == 1


async def test_many_looks_at_once_tell_once(shop: Shop) -> None:
    sub, customer = await subscriber(shop, month=12, year=2027)
    await shop.until(sub, at("2027-12-10", 10))
    await asyncio.gather(*(look(shop) for _ in range(5)))
    assert len(await told(shop, customer)) == 1

    async def arrived() -> bool:
        return [mail for mail in await shop.mails(customer) if "expires on" in mail] != []

    await shop.eventually(arrived, "the notice arrives")
    assert len([mail for mail in await shop.mails(customer) if "expires on" in mail]) == 1


async def test_only_the_card_that_pays_for_what_runs(shop: Shop) -> None:
    """Not a backup, not a card that was replaced, not where everything is cancelled, and by which clock."""
    backup, with_backup = await subscriber(shop, VISA, VISA, month=12, year=2030)
    await shop.execute(
        "UPDATE payment_methods SET exp_month = 12, exp_year = 2027 WHERE customer_id = :id AND exp_year IS NULL",
        id=with_backup,
    )
    replaced, with_removed = await subscriber(shop, VISA, VISA, month=12, year=2027)
    await shop.execute(
        "UPDATE payment_methods SET removed_at = now() WHERE customer_id = :id AND exp_year = 2027", id=with_removed
    )
    over, cancelled = await subscriber(shop, month=12, year=2027)
    for sub in (backup, replaced, over):
        await shop.until(sub, at("2027-12-10", 10))
    await shop.send(over, Cancel(When.NOW))
    # One real subscription, and the wall's clock counts, however far one in test mode has gone.
    test, both = await subscriber(shop, month=12, year=2027)
    await shop.until(test, at("2027-12-10", 10))
    await shop.start(both, await shop.terms(), test_mode=False)
    now = datetime.now(UTC)
    _, real = await subscriber(shop, month=now.month, year=now.year, test_mode=False, start_at=None)
    await look(shop)
    for nobody in (with_backup, with_removed, cancelled, both):
        assert await told(shop, nobody) == [], nobody
    assert len(await told(shop, real)) == 1


async def test_a_renewed_card_is_known_by_its_new_end_once(shop: Shop, agent: Caller) -> None:
    sub, customer = await subscriber(shop, month=12, year=2027)
    token = await shop.token(customer)
    control = f"{shop.stack.gateway_url}/control/tokens/{token}"
    renewed = await shop.http.post(f"{control}/renew", json={"exp_month": 11, "exp_year": 2031, "last4": "1881"})
    assert renewed.status_code == 201
    await look(shop, CardUpdatesWorkflow)
    await look(shop, CardUpdatesWorkflow)
    (card,) = await cards(shop, customer)
    assert (card["last4"], card["exp_month"], card["exp_year"]) == ("1881", 11, 2031)
    changes = (await agent.get(f"/v1/customers/{customer}/changes")).json()["items"]
    assert [(each["actor"], each["old"], each["new"]) for each in changes] == [
        ("account updater", "visa 4242, 12/2027", "visa 1881, 11/2031")
    ]
    await shop.until(sub, at("2027-12-10", 10))
    await look(shop)
    assert await told(shop, customer) == []
    await shop.audit(sub)


async def test_a_closed_card_is_charged_no_more_and_its_owner_is_asked(
    shop: Shop, agent: Caller, browser: Browser
) -> None:
    sub, customer = await subscriber(shop, month=12, year=2030)
    await shop.until(sub, at("2027-10-05", 10))
    token = await shop.token(customer)
    (await shop.http.post(f"{shop.stack.gateway_url}/control/tokens/{token}/close")).raise_for_status()
    await look(shop, CardUpdatesWorkflow)
    await look(shop, CardUpdatesWorkflow)
    (letter,) = await told(shop, customer, "card_closed")
    assert letter["subject"] == "Your card visa •••• 4242 is closed"
    (method,) = (await agent.get(f"/v1/customers/{customer}/payment-methods")).json()["items"]
    assert method["closed_at"] is not None
    charged = len(await shop.calls(token))
    await shop.until(sub, at("2027-11-04", 20))
    assert (await shop.commands.state(sub)).status == "overdue"
    assert len(await shop.calls(token)) == charged, "a closed card is not charged"
    page = await browser.open(link_in(letter))
    done = await browser.press(await browser.enter_card(await browser.follow(page, ENTER), ANOTHER_GOOD_CARD))
    assert "Done. Thank you." in done.text
    assert (await shop.commands.state(sub)).status == "active"
    await shop.audit(sub)


async def test_a_gateway_that_is_down_is_read_later_and_nothing_is_missed(shop: Shop, agent: Caller) -> None:
    _, customer = await subscriber(shop, month=12, year=2027)
    token = await shop.token(customer)
    url = f"{shop.stack.gateway_url}/control/tokens/{token}/renew"
    (await shop.http.post(url, json={"exp_month": 5, "exp_year": 2032})).raise_for_status()
    await shop.outage(down=True)
    triggered = await agent.post("/v1/schedules/card-updates/trigger")
    assert triggered.status_code == 202
    await shop.outage(down=False)

    async def known() -> bool:
        return [card["exp_year"] for card in await cards(shop, customer)] == [2032]

    await shop.eventually(known, "the renewed card is known", within_s=60)
