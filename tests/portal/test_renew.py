"""Another card by link: it goes first or takes a card's place, pays what is open, and the link is used once."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tests.api.conftest import Caller
from tests.portal.browser import Browser
from tests.portal.test_pay import ANOTHER_GOOD_CARD, GOOD_CARD, STOLEN_CARD, overdue
from tests.stack_fixtures import Shop, at

pytestmark = [pytest.mark.stack, pytest.mark.timeout(120)]

ENTER = "Enter the new card"


async def cards(shop: Shop, customer: str) -> list[dict[str, Any]]:
    return await shop.rows(
        "SELECT id, last4, brand, exp_month, exp_year FROM payment_methods"
        " WHERE customer_id = :id AND removed_at IS NULL ORDER BY position",
        id=customer,
    )


async def link_of(agent: Caller, customer: str, method: str | None = None) -> dict[str, Any]:
    return await agent.made(f"/v1/customers/{customer}/card-update-link", {"payment_method_id": method})


async def test_a_new_card_goes_first_and_pays_what_is_open_at_once(shop: Shop, agent: Caller, browser: Browser) -> None:
    sub, customer, _ = await overdue(shop)
    link = await link_of(agent, customer)
    page = await browser.open(link["url"])
    assert "At present your payments are made with Visa ending in 4242" in page.text
    confirm = await browser.enter_card(await browser.follow(page, ENTER), ANOTHER_GOOD_CARD)
    assert "Mastercard ending in 4444, expires 12/2031" in confirm.text
    assert [card["last4"] for card in await cards(shop, customer)] == ["4242"]
    done = await browser.press(confirm)
    assert "Done. Thank you. Your payments are made with Mastercard ending in 4444" in done.text
    assert "not paid yet" not in done.text
    assert [card["last4"] for card in await cards(shop, customer)] == ["4444", "4242"]
    state = await shop.commands.state(sub)
    assert (state.status, state.access, state.collecting) == ("active", "active", None)
    await shop.until(sub, at("2027-12-05", 9))
    assert await shop.story(sub, "payment_succeeded") == [
        "2027-10-04 14:00 payment_succeeded",
        "2027-11-04 20:00 payment_succeeded",
        "2027-12-04 14:00 payment_succeeded",
    ]
    (change,) = (await agent.get(f"/v1/customers/{customer}/changes")).json()["items"]
    assert (change["field"], change["new"], change["actor"]) == (
        "payment_method", "mastercard 4444, 12/2031", "customer, card update link",
    )  # fmt: skip
    await shop.audit(sub)


async def test_a_card_takes_the_place_of_the_one_that_is_named(shop: Shop, agent: Caller, browser: Browser) -> None:
    customer = await shop.customer("tok_ok_visa", "tok_ok_amex", "tok_ok_visa")
    first, second, third = await cards(shop, customer)
    page = await browser.open((await link_of(agent, customer, second["id"]))["url"])
    assert "The new card takes the place of" in page.text
    await browser.press(await browser.enter_card(await browser.follow(page, ENTER), ANOTHER_GOOD_CARD))
    kept = await cards(shop, customer)
    assert [card["id"] for card in (kept[0], kept[2])] == [first["id"], third["id"]]
    assert kept[1]["last4"] == "4444"


async def test_a_used_link_does_nothing_more(
    shop: Shop, agent: Caller, browser: Browser, other_browser: Browser
) -> None:
    customer = await shop.customer("tok_ok_visa")
    link = await link_of(agent, customer)
    confirms = [
        await each.enter_card(await each.follow(await each.open(link["url"]), ENTER), number)
        for each, number in ((browser, ANOTHER_GOOD_CARD), (other_browser, GOOD_CARD))
    ]
    pages = await asyncio.gather(
        browser.press(confirms[0]), other_browser.press(confirms[1]), browser.press(confirms[0])
    )
    assert all("Done. Thank you." in page.text for page in pages)
    assert len(await cards(shop, customer)) == 2, "of two cards at once one is kept"
    again = await browser.open(link["url"])
    assert ENTER not in again.links
    late = await browser.send("GET", f"{link['url']}/card?token=tok_ok_amex_late", None, {})
    assert late.status == 303
    listed = (await agent.get(f"/v1/customers/{customer}/links")).json()["items"]
    assert [(row["kind"], row["standing"]) for row in listed] == [("update_card", "used")]


async def test_a_new_card_that_is_declined_leaves_a_way_on(shop: Shop, agent: Caller, browser: Browser) -> None:
    sub, customer, _ = await overdue(shop)
    page = await browser.open((await link_of(agent, customer))["url"])
    form = await browser.follow(page, ENTER)
    done = await browser.press(await browser.enter_card(form, STOLEN_CARD))
    assert "is not paid yet." in done.text
    pay = await browser.follow(done, "See why, and pay it")
    assert "The bank does not allow payments with this card." in pay.text
    good = await browser.enter_card(await browser.follow(pay, "Pay with another card"), GOOD_CARD)
    assert "Paid. Thank you." in (await browser.press(good)).text
    assert "not paid yet" not in (await browser.open(done.url)).text
    await shop.audit(sub)


async def test_the_same_card_entered_again_is_renewed_in_its_place(shop: Shop, agent: Caller, browser: Browser) -> None:
    customer = await shop.customer()
    for year in ("2030", "2033"):
        page = await browser.open((await link_of(agent, customer))["url"])
        await browser.press(await browser.enter_card(await browser.follow(page, ENTER), GOOD_CARD, year=year))
    assert [(card["last4"], card["exp_year"]) for card in await cards(shop, customer)] == [("4242", 2033)]


async def test_a_blacklisted_card_is_not_taken_and_the_reason_stays_with_us(
    shop: Shop, agent: Caller, browser: Browser
) -> None:
    customer = await shop.customer("tok_ok_visa")
    page = await browser.open((await link_of(agent, customer))["url"])
    confirm = await browser.enter_card(await browser.follow(page, ENTER), "4111111111111111")
    token = confirm.form.fields["token"]
    details = (await shop.http.get(f"{shop.stack.gateway_url}/v1/tokens/{token}")).json()
    await agent.made("/v1/blacklist", {"kind": "fingerprint", "value": details["fingerprint"], "reason": "disputes"})
    refused = await browser.press(confirm)
    assert (refused.status, "This card cannot be used" in refused.text) == (409, True)
    assert "blacklist" not in refused.text.lower()
    assert len(await cards(shop, customer)) == 1
    listed = (await agent.get(f"/v1/customers/{customer}/links")).json()["items"]
    assert [row["standing"] for row in listed] == ["open"], "the customer may try another card"


async def test_a_link_for_another_customers_card_is_not_made(shop: Shop, agent: Caller) -> None:
    customer, other = await shop.customer("tok_ok_visa"), await shop.customer("tok_ok_visa")
    (theirs,) = await cards(shop, other)
    refused = await agent.post(f"/v1/customers/{customer}/card-update-link", {"payment_method_id": theirs["id"]})
    assert refused.status_code == 404
