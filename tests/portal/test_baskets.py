"""A basket bought by its link: at the price that was seen, once, by however many browsers, until it ends."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

import pytest

from domain.baskets import order_id_of
from tests.api.conftest import KEYS, Caller
from tests.portal.browser import Browser, Page
from tests.stack_fixtures import Shop

pytestmark = [pytest.mark.stack, pytest.mark.timeout(120)]

GOOD_CARD = "4242 4242 4242 4242"
CONFIRMED_CARD = "4000000000003006"
ENGRAVING = {"description": "Engraving", "unit_amount": 1500}


async def price(agent: Caller, amount: int = 2000, **more: Any) -> str:
    product = await agent.made("/v1/products", {"code": f"basket-box-{next(KEYS)}", "name": "Box"})
    interval = {} if more.get("one_time") else {"interval": {"count": 1, "unit": "month"}}
    body = {"product_id": product["id"], "code": "m", "currency": "USD", "unit_amount": amount}
    return (await agent.made("/v1/prices", body | interval | more))["id"]


async def basket(agent: Caller, customer: str, *lines: dict[str, Any], **more: Any) -> dict[str, Any]:
    body = {"customer_id": customer, "lines": list(lines) or [ENGRAVING], "test_mode": True}
    return await agent.made("/v1/baskets", body | more)


async def seen(agent: Caller, made: dict[str, Any]) -> dict[str, Any]:
    return (await agent.get(f"/v1/baskets/{made['id']}")).json()


async def order(agent: Caller, made: dict[str, Any]) -> dict[str, Any]:
    return (await agent.get(f"/v1/orders/{(await seen(agent, made))['order_id']}")).json()


async def another_card(browser: Browser, page: Page, number: str = GOOD_CARD) -> Page:
    """As far as the last question."""
    return await browser.enter_card(await browser.follow(page, "Pay with another card"), number)


async def test_the_price_seen_is_the_price_paid_whatever_becomes_of_the_catalogue(
    shop: Shop, agent: Caller, browser: Browser
) -> None:
    customer = await shop.customer("tok_ok_visa")
    monthly = await price(agent, 2000, setup_fee=500)
    special = {"price_id": monthly, "quantity": 2, "unit_amount": 1700, "reason": "loyal since 2020"}
    made = await basket(agent, customer, special, ENGRAVING, note="As agreed on the telephone", funnel="autumn list")
    assert made["total"] == 2 * 1700 + 500 + 1500
    page = await browser.open(made["url"])
    assert page.status == 200
    for words in (
        "As agreed on the telephone",
        "2 \u00d7 Box",
        "instead of $40.00",
        "$34.00 every month, until you cancel",
        "once, with the first payment: $5.00",
        "Engraving",
        "To pay now $54.00",
        "This offer is good until",
    ):
        assert words in page.text
    assert "loyal" not in page.text, "why it was agreed is not the customer's"
    await shop.execute("UPDATE prices SET unit_amount = 9900, setup_fee = 9900 WHERE id = :id", id=monthly)
    paid = await browser.press(page)
    assert "Paid. Thank you. We received $54.00" in paid.text
    bought = await order(agent, made)
    assert (bought["status"], bought["total"], bought["channel"], bought["funnel"]) == (
        "paid",
        5400,
        "customer",
        "autumn list",
    )
    (charge,) = bought["charges"]
    assert [(each["status"], each["amount"]) for each in await shop.charges(charge["reference"])] == [
        ("approved", 5400)
    ]
    assert [each["amount"] for each in bought["subscriptions"]] == [3400], "and so are its later cycles"
    again = await browser.open(made["url"])
    assert (again.status, again.text, again.forms) == (200, paid.text, [])


async def test_two_browsers_at_once_and_the_back_button_buy_once(
    shop: Shop, agent: Caller, browser: Browser, other_browser: Browser
) -> None:
    customer = await shop.customer("tok_ok_visa", "tok_ok_mastercard")
    made = await basket(agent, customer)
    fresh = await agent.made(f"/v1/baskets/{made['id']}/link", {})
    one, two = await browser.open(made["url"]), await other_browser.open(fresh["url"])
    first, second = one.form.choices["method"]
    presses = [browser.press(one, method=first) for _ in range(3)]
    presses += [other_browser.press(two, method=second) for _ in range(3)]
    ended = await asyncio.gather(*presses)
    assert all("Paid. Thank you." in page.text for page in ended)
    back = await browser.press(one, method=second)
    assert "Paid. Thank you." in back.text
    rows = await shop.rows("SELECT id, total FROM orders WHERE basket_id = :id", id=made["id"])
    assert [row["total"] for row in rows] == [1500]
    attempts = await shop.rows(
        "SELECT a.reference FROM attempts a JOIN invoices i ON i.id = a.invoice_id WHERE i.order_id = :id",
        id=rows[0]["id"],
    )
    assert len(attempts) == 1
    assert [each["status"] for each in await shop.charges(attempts[0]["reference"])] == ["approved"]


async def test_an_edit_shows_the_new_price_and_the_old_button_pays_nothing(
    shop: Shop, agent: Caller, browser: Browser
) -> None:
    made = await basket(agent, await shop.customer("tok_ok_visa"))
    old = await browser.open(made["url"])
    card = await another_card(browser, old)
    edited = await agent.post(f"/v1/baskets/{made['id']}/lines", {"lines": [ENGRAVING | {"unit_amount": 1600}]})
    assert (edited.json()["total"], edited.json()["revision"]) == (1600, 2)
    for page in (old, card):
        told = await browser.press(page)
        assert told.status == 409
        assert "The price has changed. Nothing was charged. Please look again" in told.text
        assert "To pay now $16.00" in told.text
    assert (await seen(agent, made))["order"] is None
    assert "We received $16.00" in (await browser.press(told)).text


async def test_an_edit_to_the_same_sum_is_a_change_too(shop: Shop, agent: Caller, browser: Browser) -> None:
    made = await basket(agent, await shop.customer("tok_ok_visa"))
    old = await browser.open(made["url"])
    await agent.post(f"/v1/baskets/{made['id']}/lines", {"lines": [ENGRAVING | {"description": "Embossing"}]})
    assert "The price has changed." in (await browser.press(old)).text


async def test_a_decline_says_why_and_another_card_pays(shop: Shop, agent: Caller, browser: Browser) -> None:
    customer = await shop.customer("tok_soft_insufficient_funds")
    await shop.script(await shop.token(customer), then="soft:insufficient_funds")
    made = await basket(agent, customer, {"price_id": await price(agent)})
    first = await browser.open(made["url"])
    declined = await browser.press(first)
    assert "The payment did not go through. There is not enough money on the account." in declined.text
    assert (await order(agent, made))["subscriptions"] == []
    back = await browser.press(first)
    assert "The payment did not go through." in back.text
    assert len((await order(agent, made))["charges"]) == 1, "the button of the offer was pressed before"
    paid = await browser.press(await another_card(browser, declined))
    assert "Paid. Thank you. We received $20.00" in paid.text
    bought = await order(agent, made)
    assert [charge["status"] for charge in bought["charges"]] == ["approved", "declined"]
    assert len(bought["subscriptions"]) == 1


async def test_the_first_card_ever_comes_from_the_gateways_form(shop: Shop, agent: Caller, browser: Browser) -> None:
    made = await basket(agent, await shop.customer())
    page = await browser.open(made["url"])
    assert page.forms == []
    confirm = await another_card(browser, page)
    assert "$15.00 will be charged to this card." in confirm.text
    assert (await seen(agent, made))["order_id"] is None, "nothing is done before the customer says so"
    assert "Paid. Thank you." in (await browser.press(confirm)).text
    assert "Paid. Thank you." in (await browser.press(confirm)).text, "pressed again"
    assert [charge["status"] for charge in (await order(agent, made))["charges"]] == ["approved"]


async def test_the_bank_asks_for_a_confirmation(shop: Shop, agent: Caller, browser: Browser) -> None:
    made = await basket(agent, await shop.customer())
    asked = await browser.press(await another_card(browser, await browser.open(made["url"]), CONFIRMED_CARD))
    assert "Please confirm the payment." in asked.text
    assert "Go to your bank" in asked.links
    assert (await order(agent, made))["payment"]["state"] == "action_required"


async def test_nothing_due_is_ordered_without_a_charge(shop: Shop, agent: Caller, browser: Browser) -> None:
    made = await basket(agent, await shop.customer("tok_ok_visa"), {"price_id": await price(agent, trial_days=14)})
    page = await browser.open(made["url"])
    assert "the first 14 days cost nothing" in page.text
    done = await browser.press(page)
    assert "Your order is confirmed." in done.text
    assert [each["status"] for each in (await order(agent, made))["subscriptions"]] == ["trialing"]


async def test_expired_withdrawn_and_tampered_say_so_and_sell_nothing(
    shop: Shop, agent: Caller, browser: Browser
) -> None:
    customer = await shop.customer("tok_ok_visa")
    withdrawn, expired, changed = [await basket(agent, customer) for _ in range(3)]
    pages = [await browser.open(each["url"]) for each in (withdrawn, expired)]
    canceled = await agent.post(f"/v1/baskets/{withdrawn['id']}/cancel")
    assert canceled.json()["status"] == "withdrawn"
    await shop.execute("UPDATE baskets SET expires_at = now() - interval '1 second' WHERE id = :id", id=expired["id"])
    for page, words in zip(pages, ("This offer was withdrawn.", "This offer has expired."), strict=True):
        for told in (await browser.open(page.url), await browser.press(page)):
            assert (told.status, words in told.text) == (410, True), told.text
    token = changed["url"]
    wrong = await browser.open(f"{token[:-1]}{'A' if token[-1] != 'A' else 'B'}")
    assert (wrong.status, "This link does not work" in wrong.text) == (404, True)
    for each in (withdrawn, expired, changed):
        assert (await seen(agent, each))["order_id"] is None


async def test_the_link_ends_with_the_basket(shop: Shop, agent: Caller, browser: Browser) -> None:
    customer = await shop.customer("tok_ok_visa")
    ends = (await shop.rows("SELECT now() AS now"))[0]["now"] + timedelta(seconds=3)
    made = await basket(agent, customer, expires_at=ends.isoformat())
    page = await browser.open(made["url"])
    assert page.status == 200

    async def over() -> bool:
        return (await browser.open(made["url"])).status == 410

    await shop.eventually(over, "the link has ended")
    told = await browser.press(page)
    assert (told.status, "This link has expired" in told.text) == (410, True)
    assert (await seen(agent, made))["status"] == "expired"


async def test_a_method_that_is_not_offered_is_not_charged(shop: Shop, agent: Caller, browser: Browser) -> None:
    made = await basket(agent, await shop.customer("tok_ok_visa"))
    other = await shop.customer("tok_ok_visa")
    (theirs,) = await shop.rows("SELECT id FROM payment_methods WHERE customer_id = :id", id=other)
    page = await browser.open(made["url"])
    wrong = [("method", theirs["id"]), ("method", "usual"), ("total", "-1"), ("revision", "x")]
    for name, value in wrong:
        assert (await browser.press(page, None, **{name: value})).status == 422
    assert (await browser.press(page, total="1")).status == 409, "a total of the customer's own making"
    assert (await seen(agent, made))["order_id"] is None


async def test_an_order_that_was_edited_after_a_decline_is_not_sold_at_the_old_price(
    shop: Shop, agent: Caller, browser: Browser
) -> None:
    customer = await shop.customer("tok_soft_insufficient_funds")
    await shop.script(await shop.token(customer), then="soft:insufficient_funds")
    made = await basket(agent, customer)
    first = await browser.open(made["url"])
    await browser.press(first)
    bought = await order(agent, made)
    for command in ("lines", "cancel", "link"):
        refused = await agent.post(
            f"/v1/baskets/{made['id']}/{command}", {"lines": [ENGRAVING]} if command == "lines" else None
        )
        assert (refused.status_code, refused.json()["code"]) == (409, "basket_taken")
    await agent.post(f"/v1/orders/{bought['id']}/lines", {"lines": [ENGRAVING | {"unit_amount": 900}]})
    assert "This offer was changed" in (await browser.press(first)).text
    await agent.post(f"/v1/orders/{bought['id']}/place")
    page = await browser.open(made["url"])
    assert "Left to pay $9.00" in page.text
    assert "Paid. Thank you." in (await browser.press(await another_card(browser, page))).text


async def test_a_press_that_was_cut_off_is_made_up_for_by_the_next(shop: Shop, agent: Caller, browser: Browser) -> None:
    """The server died after it had taken the basket, before the order began."""
    made = await basket(agent, await shop.customer("tok_ok_visa"))
    page = await browser.open(made["url"])
    await shop.execute("UPDATE baskets SET order_id = :o WHERE id = :id", o=order_id_of(made["id"]), id=made["id"])
    assert (await browser.open(made["url"])).text == page.text
    assert "Paid. Thank you. We received $15.00" in (await browser.press(page)).text
    assert [charge["status"] for charge in (await order(agent, made))["charges"]] == ["approved"]


async def test_a_rate_of_tax_that_changed_meanwhile_is_a_change_of_price(
    shop: Shop, agent: Caller, browser: Browser
) -> None:
    customer = await shop.customer("tok_ok_visa")
    made = await basket(agent, customer)
    page = await browser.open(made["url"])
    place = {"kind": "billing", "line1": "1 Main Street", "city": "Lisbon", "postal_code": "1000", "country": "PT"}
    rate = {"place": "PT", "percent": "23", "valid_from": "2020-01-01"}
    await agent.made("/v1/tax-rates", rate)
    await agent.made(f"/v1/customers/{customer}/addresses", place)
    told = await browser.press(page)
    assert (told.status, "Tax in it $3.45" in told.text, "To pay now $18.45" in told.text) == (409, True, True)
    assert "We received $18.45" in (await browser.press(told)).text
