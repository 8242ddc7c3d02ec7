"""An invoice paid by its link: saved cards and others, all that can come back, never twice, and dunning that ends."""

from __future__ import annotations

import asyncio
import re
from dataclasses import replace
from datetime import timedelta

import pytest

from tests.api.conftest import Caller
from tests.portal.browser import Browser
from tests.stack_fixtures import Shop, at

pytestmark = [pytest.mark.stack, pytest.mark.timeout(120)]

VISA = "tok_ok_visa"
GOOD_CARD = "4242 4242 4242 4242"
ANOTHER_GOOD_CARD = "5555555555554444"
STOLEN_CARD = "4000000000002016"
CONFIRMED_CARD = "4000000000003006"
LOST_ANSWER_CARD = "4000000000003014"


async def overdue(
    shop: Shop, *tokens: str, outcome: str = "soft:insufficient_funds", product_name: str = "Box"
) -> tuple[str, str, str]:
    """A customer in dunning since the 4th of November: subscription, customer, open invoice."""
    customer = await shop.customer(*(tokens or (VISA,)))
    terms = replace(await shop.terms(), product_name=product_name)
    state = await shop.start(customer, terms, start_at=at("2027-10-04", 14))
    await shop.until(state.id, at("2027-10-04", 15))
    for card in await shop.rows("SELECT token FROM payment_methods WHERE customer_id = :id", id=customer):
        await shop.script(card["token"], then=outcome)
    await shop.until(state.id, at("2027-11-04", 20))
    (invoice,) = [row for row in await shop.invoices(state.id) if row["status"] == "open"]
    return state.id, customer, invoice["id"]


async def link_of(agent: Caller, invoice: str) -> str:
    return (await agent.made(f"/v1/invoices/{invoice}/payment-link", {}))["url"]


async def test_dunning_ends_through_the_link_and_the_anchor_is_kept(
    shop: Shop, agent: Caller, browser: Browser
) -> None:
    sub, customer, invoice = await overdue(shop)
    page = await browser.open(await link_of(agent, invoice))
    assert page.status == 200
    assert "There is not enough money on the account. It was tried with Visa ending in 4242." in page.text
    assert "Left to pay $10.00" in page.text
    form = await browser.follow(page, "Pay with another card")
    confirm = await browser.enter_card(form, ANOTHER_GOOD_CARD)
    assert "Mastercard ending in 4444, expires 12/2031" in confirm.text
    assert (await shop.subscription(sub))["status"] == "overdue", "nothing is done before the customer says so"
    paid = await browser.press(confirm)
    assert "Paid. Thank you. We received $10.00" in paid.text
    state = await shop.commands.state(sub)
    assert (state.status, state.access, state.collecting) == ("active", "active", None)
    await shop.until(sub, at("2027-12-05", 9))
    assert await shop.story(sub, "payment_succeeded", "dunning_ended") == [
        "2027-10-04 14:00 payment_succeeded",
        "2027-11-04 20:00 payment_succeeded",
        "2027-11-04 20:00 dunning_ended",
        "2027-12-04 14:00 payment_succeeded",
    ]
    (asked,) = [event for event in await shop.events(sub) if event["kind"] == "collection_asked"]
    assert (asked["actor"], asked["reason"], asked["data"]["trigger"]) == ("customer", "payment link", "link")
    cards = await shop.rows("SELECT last4 FROM payment_methods WHERE customer_id = :id ORDER BY position", id=customer)
    assert [card["last4"] for card in cards] == ["4444", "4242"], "after a decline the new card goes first"
    await shop.audit(sub)


async def test_the_letters_of_dunning_carry_the_link(shop: Shop, agent: Caller, browser: Browser) -> None:
    sub, customer, invoice = await overdue(shop)
    letters = await shop.rows(
        "SELECT template, body, html FROM messages WHERE customer_id = :id ORDER BY at", id=customer
    )
    receipt, failed = letters
    assert "/link/" not in receipt["body"]
    (url,) = re.findall(r"https?://\S+/link/\S+", failed["body"])
    assert f'href="{url}"' in failed["html"]
    sent = await agent.made(f"/v1/invoices/{invoice}/send", {})
    (mailed,) = re.findall(r"https?://\S+/link/\S+", sent["body"])
    assert mailed != url
    form = await browser.follow(await browser.open(url), "Pay with another card")
    assert "Paid. Thank you." in (await browser.press(await browser.enter_card(form, GOOD_CARD))).text
    assert "Paid. Thank you." in (await browser.open(mailed)).text
    paid = await agent.made(f"/v1/invoices/{invoice}/send", {})
    assert "/link/" not in paid["body"], "what is paid asks for nothing"
    made = (await agent.get(f"/v1/customers/{customer}/links")).json()["items"]
    assert [(row["kind"], row["subject_id"], row["created_by"]) for row in made] == [
        ("pay_invoice", invoice, "letter")
    ] * 2
    await shop.audit(sub)


async def test_a_saved_card_pays_and_the_page_says_so_ever_after(shop: Shop, agent: Caller, browser: Browser) -> None:
    sub, customer, invoice = await overdue(shop)
    await shop.script(await shop.token(customer), then="approve")
    url = await link_of(agent, invoice)
    paid = await browser.press(await browser.open(url))
    assert "We received $10.00" in paid.text
    assert "by Visa ending in 4242" in paid.text
    assert paid.forms == []
    again = await browser.open(url)
    assert (again.status, again.text) == (200, paid.text)
    await shop.audit(sub)


async def test_two_browsers_two_presses_and_the_back_button_charge_once(
    shop: Shop, agent: Caller, browser: Browser, other_browser: Browser
) -> None:
    sub, customer, invoice = await overdue(shop, VISA, "tok_ok_mastercard")
    cards = await shop.rows("SELECT id, token FROM payment_methods WHERE customer_id = :id", id=customer)
    for card in cards:
        await shop.script(card["token"], then="approve")
    urls = [await link_of(agent, invoice) for _ in range(2)]
    one, two = await browser.open(urls[0]), await other_browser.open(urls[1])
    before = len(await shop.attempts(sub))
    presses = [browser.press(one, method=cards[0]["id"]) for _ in range(3)]
    presses += [other_browser.press(two, method=cards[1]["id"]) for _ in range(3)]
    ended = await asyncio.gather(*presses)
    assert all("Paid. Thank you." in page.text for page in ended)
    back = await browser.press(one, method=cards[1]["id"])
    assert "Paid. Thank you." in back.text
    assert len(await shop.attempts(sub)) == before + 1
    await shop.audit(sub)


async def test_a_press_that_was_declined_is_not_repeated_by_the_back_button(
    shop: Shop, agent: Caller, browser: Browser
) -> None:
    sub, _, invoice = await overdue(shop)
    url = await link_of(agent, invoice)
    first = await browser.open(url)
    declined = await browser.press(first)
    assert "The payment did not go through." in declined.text
    before = len(await shop.attempts(sub))
    await browser.press(first)
    assert len(await shop.attempts(sub)) == before
    await browser.press(declined)
    assert len(await shop.attempts(sub)) == before + 1, "a new page is a new wish"
    state = await shop.commands.state(sub)
    assert state.collecting is not None
    assert state.collecting.dunning is not None
    assert state.collecting.dunning.used == 0, "tries by link use up no retry"
    await shop.audit(sub)


async def test_a_card_refused_for_good_is_offered_no_more(shop: Shop, agent: Caller, browser: Browser) -> None:
    sub, customer, invoice = await overdue(shop, outcome="hard:stolen_card")
    page = await browser.open(await link_of(agent, invoice))
    assert "stolen" not in page.text.lower()
    assert "The bank does not allow payments with this card." in page.text
    assert page.forms == []
    (card,) = await shop.rows("SELECT id FROM payment_methods WHERE customer_id = :id", id=customer)
    path = page.url
    forced = await browser.send("POST", f"{path}/pay", {"method": card["id"], "seen": "1"}, {})
    assert forced.status == 422
    stolen = await browser.enter_card(await browser.follow(page, "Pay with another card"), STOLEN_CARD)
    declined = await browser.press(stolen)
    assert "The payment did not go through." in declined.text
    good = await browser.enter_card(await browser.follow(declined, "Pay with another card"), GOOD_CARD)
    assert "Paid. Thank you." in (await browser.press(good)).text
    await shop.audit(sub)


async def test_the_bank_asks_and_the_page_waits_for_its_answer(shop: Shop, agent: Caller, browser: Browser) -> None:
    sub, _, invoice = await overdue(shop)
    url = await link_of(agent, invoice)
    form = await browser.follow(await browser.open(url), "Pay with another card")
    asked = await browser.press(await browser.enter_card(form, CONFIRMED_CARD))
    assert "Please confirm the payment." in asked.text
    assert asked.forms == [], "nothing else is tried meanwhile"
    bank = await browser.follow(asked, "Go to your bank")
    back = await browser.press(bank, outcome="approve")
    assert back.url == f"{url}?back=1"
    assert "Please confirm the payment." in back.text, "our own gateway is asked in a moment"
    assert '<meta http-equiv="refresh"' in back.html
    now = await shop.commands.virtual_now(sub)
    await shop.until(sub, now + timedelta(minutes=3))
    assert "Paid. Thank you." in (await browser.open(url)).text
    await shop.audit(sub)


async def test_a_lost_answer_is_being_checked_and_cannot_be_paid_again(
    shop: Shop, agent: Caller, browser: Browser
) -> None:
    sub, customer, invoice = await overdue(shop)
    token = await shop.token(customer)
    await shop.script(token, "error_after", then="approve")
    url = await link_of(agent, invoice)
    page = await browser.open(url)
    checking = await browser.press(page)
    assert "We are checking with the bank." in checking.text
    assert checking.forms == []
    attempts = await shop.attempts(sub)
    await browser.send("POST", f"{url}/pay", page.form.fields | {"seen": str(len(attempts))}, {})
    assert len(await shop.attempts(sub)) == len(attempts)
    now = await shop.commands.virtual_now(sub)
    await shop.until(sub, now + timedelta(minutes=3))
    assert "Paid. Thank you." in (await browser.open(url)).text
    await shop.audit(sub)


async def test_a_gateway_that_is_down_takes_nothing_and_says_so(shop: Shop, agent: Caller, browser: Browser) -> None:
    sub, customer, invoice = await overdue(shop)
    await shop.script(await shop.token(customer), "down", then="approve")
    url = await link_of(agent, invoice)
    parked = await browser.press(await browser.open(url))
    assert "The payment company cannot be reached. Nothing was charged." in parked.text
    assert "Paid. Thank you." in (await browser.press(parked)).text
    await shop.audit(sub)


async def test_a_child_pays_by_the_parent_whose_cards_it_never_sees(
    shop: Shop, agent: Caller, browser: Browser
) -> None:
    sub, customer, invoice = await overdue(shop)
    parent = await shop.customer("tok_ok_amex")
    (await agent.put(f"/v1/customers/{customer}/parent", {"parent_id": parent, "pays": "parent"})).raise_for_status()
    url = await link_of(agent, invoice)
    page = await browser.open(url)
    assert "It is charged to the account that pays for you." in page.text
    assert "ending in" not in page.text
    assert "Pay with another card" not in page.links
    own = await browser.send("GET", f"{url}/card?token=tok_ok_visa_child", None, {})
    assert "This card cannot be used" in own.text
    paid = await browser.press(page)
    assert "Paid. Thank you." in paid.text
    assert "ending in" not in paid.text
    assert (await shop.commands.state(sub)).status == "active"


async def test_who_tries_card_after_card_gets_no_further(shop: Shop, agent: Caller, browser: Browser) -> None:
    sub, _, invoice = await overdue(shop)
    page = await browser.open(await link_of(agent, invoice))
    for _ in range(10):
        page = await browser.press(page)
    assert "There were too many tries." in page.text
    assert page.forms == []
    before = len(await shop.attempts(sub))
    (card,) = await shop.rows("SELECT payment_method_id FROM attempts WHERE invoice_id = :id LIMIT 1", id=invoice)
    await browser.send("POST", f"{page.url}/pay", {"method": card["payment_method_id"], "seen": str(before)}, {})
    assert len(await shop.attempts(sub)) == before


async def test_a_closed_invoice_has_no_link_and_its_old_one_offers_nothing(
    shop: Shop, agent: Caller, browser: Browser
) -> None:
    sub, _, invoice = await overdue(shop)
    url = await link_of(agent, invoice)
    await agent.post(f"/v1/subscriptions/{sub}/cancel", {"when": "now"})
    page = await browser.open(url)
    assert "Nothing to pay." in page.text
    assert (page.forms, page.links) == ([], {})
    refused = await agent.post(f"/v1/invoices/{invoice}/payment-link", {})
    assert (refused.status_code, refused.json()["code"]) == (409, "not_open")


async def test_what_is_reserved_for_an_order_is_not_asked_for_again(
    shop: Shop, agent: Caller, browser: Browser
) -> None:
    buyer = await shop.customer(VISA)
    order = {"customer_id": buyer, "currency": "USD", "lines": [{"description": "Vase", "unit_amount": 4000}]}
    held = await agent.made("/v1/orders", order | {"pay": {"capture": "later"}, "test_mode": True})
    assert held["status"] == "authorised"
    url = await link_of(agent, held["invoice"]["id"])
    page = await browser.open(url)
    assert "The amount is reserved." in page.text
    assert page.forms == []
    await browser.send("POST", f"{url}/pay", {"method": held["charges"][0]["payment_method_id"], "seen": "1"}, {})
    assert [
        row["status"] for row in await shop.rows("SELECT status FROM attempts WHERE customer_id = :id", id=buyer)
    ] == ["authorised"]
    captured = await agent.post(f"/v1/orders/{held['id']}/capture")
    assert captured.json()["status"] == "paid", captured.text
    assert "Paid. Thank you." in (await browser.open(url)).text
