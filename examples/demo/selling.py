"""The third part of the story: selling, by telephone, by a link, with a coupon, in boxes."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Final

from examples.demo import shown
from examples.demo.chapters import chapter, wait_for
from examples.demo.scene import Scene
from examples.demo.servers import Browser, Json, Problem

INVOICES: Final = Path("invoices")


@chapter("An order by telephone: a thing and a subscription, one charge", "Bianca")
async def telephone(s: Scene) -> None:
    price = s.world.prices["coffee"]["id"]
    cup = {"description": "Engraved cup", "unit_amount": 2500}
    lines = [cup, {"price_id": price}]
    wanted = {"customer_id": s.who.id, "channel": "phone", "funnel": "autumn catalogue", "test_mode": True}
    order = await s.api.post("/v1/orders", wanted | {"lines": lines})
    s.tell(f"An agent takes order {order['number']}: {shown.amount(order['total'], 'EUR')}, a cup and the first box.")
    edited = {"lines": [cup | {"quantity": 2}, {"price_id": price}], "revision": order["revision"]}
    order = await s.api.post(f"/v1/orders/{order['id']}/lines", edited)
    s.expect("two cups and the first month", 6900, order["total"])
    await s.card_will("soft:insufficient_funds")
    first, second = s.who.methods
    order = await s.api.post(f"/v1/orders/{order['id']}/pay", {"payment_method_id": first, "total": 6900})
    s.expect("her first card is declined", ("open", "declined"), (order["status"], order["payment"]["state"]))
    s.expect("nothing begins before it is paid", [], order["subscriptions"])
    s.expect("the answer names her cards", [first, second], [each["id"] for each in order["payment"]["methods"]])
    order = await s.api.post(f"/v1/orders/{order['id']}/pay", {"payment_method_id": second, "total": 6900})
    for event in order["events"]:
        s.tell(event["text"])
    paid = [charge["amount"] for charge in order["charges"] if charge["status"] == "approved"]
    s.expect("one charge for all of it", [6900], paid)
    s.expect("paid, and the subscription runs", ("paid", "active"), await _standing(s, order))
    s.expect("it cannot be paid again", "already_paid", await _refused(s, f"/v1/orders/{order['id']}/pay"))


@chapter("A basket sent as a link: the price seen is the price paid, once", "Dario")
async def basket(s: Scene) -> None:
    offer = {"price_id": s.world.prices["coffee"]["id"], "unit_amount": 1700, "reason": "a year of coffee"}
    lines = [offer, {"description": "Gift wrap", "unit_amount": 300}]
    wanted = {"customer_id": s.who.id, "note": "As we agreed", "lines": lines, "test_mode": True}
    made = await s.api.post("/v1/baskets", wanted)
    s.tell(f"An agent offers the box at 17.00 instead of 19.00, and sends {made['url'][:42]}…")
    browsers = [Browser(), Browser()]
    try:
        pages = [await browser.open(made["url"]) for browser in browsers]
        s.expect("the page names what is to pay", [True, True], ["€20.00" in page.text for page in pages])
        s.tell("Dario has it open on the telephone and on a computer, and presses on both.")
        said = await asyncio.gather(*(browser.press(page) for browser, page in zip(browsers, pages, strict=True)))
        for text in dict.fromkeys(said):
            s.tell(f"The page: {shown.short(text)}")
    finally:
        for browser in browsers:
            await browser.aclose()
    bought = await s.api.get(f"/v1/baskets/{made['id']}")
    order = await s.api.get(f"/v1/orders/{bought['order_id']}")
    s.expect(
        "one order, one charge", [2000], [each["amount"] for each in order["charges"] if each["status"] == "approved"]
    )
    s.expect("and its box renews at the price agreed", [1700], [each["amount"] for each in order["subscriptions"]])


@chapter("A coupon for three months, and a limit that holds", "Milan")
async def coupon(s: Scene) -> None:
    size = {"name": "Welcome: 50 % off", "percent": "50", "cycles": 3, "limit_total": 1}
    made = await s.api.post("/v1/coupons", size)
    await s.api.post(f"/v1/coupons/{made['id']}/promotion-codes", {"code": "WELCOME50"})
    await s.subscribe("studio", "2 Jan 09:00", promotion_code="welcome50")
    s.tell("Milan gives the code WELCOME50; it was there once, for him.")
    await s.until("3 Feb")
    s.expect("used up", "coupon_used_up", await _refused_code(s))
    foreseen = [item["data"]["amount_due"] for item in await s.forecast(3) if item["kind"] == "invoice_issued"]
    s.expect("the forecast knows when it ends", [600, 1200, 1200], foreseen)
    await s.until("3 May")
    await s.expect_paid("2 Jan 6.00", "2 Feb 6.00", "2 Mar 6.00", "2 Apr 12.00", "2 May 12.00")


@chapter("A box each month; one gets lost and is sent again", "Ingrid")
async def boxes(s: Scene) -> None:
    await s.subscribe("box", "12 Mar 09:00")
    await s.until("13 Apr")
    march, april = await _parcels(s, 2)
    for parcel, tracking in ((march, "SE-0001"), (april, "SE-0002")):
        await s.api.post(f"/v1/fulfilments/{parcel['id']}/ship", {"carrier": "PostNord", "tracking": tracking})
    await s.api.post(f"/v1/fulfilments/{march['id']}/deliver", {})
    s.tell("The boxes of March and April go out with PostNord. March arrives; April does not.")
    lost = {"reason": "lost on the way"}
    await s.api.post(f"/v1/fulfilments/{april['id']}/reship", lost)
    parcels = await _parcels(s, 3)
    s.expect(
        "one more parcel, in place of April's", [april["id"]], [p["replaces_id"] for p in parcels if p["replaces_id"]]
    )
    await s.card_will("soft:insufficient_funds")
    await s.until("12 May 10:00")
    s.expect("what is not paid does not ship", 3, len(await _parcels(s, 3)))
    await s.until("14 May")
    s.expect("paid a day later, it ships", 4, len(await _parcels(s, 4)))
    invoice = (await s.api.all("/v1/invoices", subscription_id=s.subscription))[0]
    path = s.world.papers / f"{invoice['number']}.pdf"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(await s.api.file(f"/v1/invoices/{invoice['id']}/pdf"))
    s.expect("the invoice is a PDF", b"%PDF-", path.read_bytes()[:5])
    s.expect("the price contains Swedish VAT", (2400, 480), (invoice["total"], invoice["tax"]))
    s.tell(f"Her last invoice: {path}")


async def _standing(s: Scene, order: Json) -> tuple[str, str]:
    (subscription,) = order["subscriptions"]
    s.subscription = subscription["id"]
    return order["status"], (await s.detail())["status"]


async def _refused(s: Scene, path: str) -> str:
    try:
        await s.api.post(path, {})
    except Problem as problem:
        s.tell(f"A second payment is refused: {problem.status} {problem.code}.")
        return problem.code
    return ""


async def _refused_code(s: Scene) -> str:
    """Somebody else tries the same code."""
    try:
        await s.api.post(f"/v1/subscriptions/{s.subscription}/discounts", {"promotion_code": "WELCOME50"})
    except Problem as problem:
        s.tell(f"The same code once more is refused: {problem.status} {problem.code}.")
        return problem.code
    return "taken"


async def _parcels(s: Scene, count: int) -> list[Json]:
    """The subscription's parcels, the oldest first, as soon as there are so many."""

    async def there() -> list[Json] | None:
        found = await s.api.all("/v1/fulfilments", subscription_id=s.subscription)
        return sorted(found, key=lambda parcel: (parcel["cycle"], parcel["at"])) if len(found) >= count else None

    return await wait_for(there)
