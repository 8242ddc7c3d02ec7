"""Running subscriptions of somebody on the blacklist: the merchant's rule, at the next charge."""

from __future__ import annotations

import json

import pytest

from tests.stack_fixtures import NUMBERS, Shop, at

pytestmark = [pytest.mark.stack, pytest.mark.timeout(180)]

VISA = "tok_ok_visa"


async def rule(shop: Shop, **running: str) -> None:
    await shop.execute(
        "INSERT INTO business_policies (key, value, updated_by) VALUES ('blacklist', CAST(:value AS jsonb), 'lena')"
        " ON CONFLICT (key) DO UPDATE SET value = excluded.value",
        value=json.dumps(running),
    )


async def test_a_running_subscription_is_charged_no_more_where_the_rule_says_so(shop: Shop) -> None:
    number = next(NUMBERS)
    customer = await shop.customer(VISA, email=f"Jo.Black{number}+x@gmail.com")
    sub = (await shop.start(customer, await shop.terms(), start_at=at("2027-03-05", 9))).id
    await shop.until(sub, at("2027-03-05", 10))
    entry = f"blk_{number}"
    await shop.execute(
        "INSERT INTO blacklist_entries (id, kind, value, reason, actor) VALUES (:id, 'email', :value, 'fraud', 'lena')",
        id=entry,
        value=f"joblack{number}@gmail.com",
    )
    try:
        await shop.until(sub, at("2027-04-05", 10))
        assert [row["status"] for row in await shop.invoices(sub)] == ["paid", "paid"], "by default it goes on"
        await rule(shop, phone="stop", address="stop")
        await shop.until(sub, at("2027-05-05", 10))
        assert [row["status"] for row in await shop.invoices(sub)] == ["paid"] * 3, "known by the email only"
        await rule(shop, email="stop")
        charged = len(await shop.attempts(sub))
        await shop.until(sub, at("2027-06-05", 10))
        assert "no_payment_method" in await shop.kinds(sub)
        assert (await shop.subscription(sub))["status"] == "overdue"
        assert len(await shop.attempts(sub)) == charged, "nothing was sent to the gateway"
        await shop.execute("UPDATE blacklist_entries SET removed_at = now() WHERE id = :id", id=entry)
        await shop.until(sub, at("2027-06-07", 10))
        assert (await shop.subscription(sub))["status"] == "active", "taken off, the next try is made"
    finally:
        await rule(shop)
