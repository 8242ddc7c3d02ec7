"""The gateway is down, breaks, hangs, or wants the customer: the money moves once, and everybody knows where it is."""

from __future__ import annotations

from datetime import timedelta

import pytest

from domain.errors import Refused
from domain.messages import Cancel, ForceBill, PlaceHold, When
from tests.stack_fixtures import Shop, at

pytestmark = [pytest.mark.stack, pytest.mark.timeout(120)]

VISA = "tok_ok_visa"


async def renewing(shop: Shop) -> tuple[str, str]:
    """A subscription that has paid once and is due again on the 5th of April; and its card's token."""
    customer = await shop.customer(VISA)
    sub = (await shop.start(customer, await shop.terms(), start_at=at("2027-03-05", 9))).id
    await shop.until(sub, at("2027-03-05", 10))
    return sub, await shop.token(customer)


async def test_a_gateway_that_is_down_uses_up_no_attempt(shop: Shop) -> None:
    sub, token = await renewing(shop)
    await shop.script(token, *["down"] * 7)
    await shop.until(sub, at("2027-04-05", 12, 50))
    assert (await shop.subscription(sub))["attention"] == "the gateway has been down for long"
    state = await shop.until(sub, at("2027-04-05", 14))
    assert (state.status, state.access, state.collecting) == ("active", "active", None)
    # After 1, 5, 15 minutes, then every hour.
    assert (await shop.calls(token))[1:] == [*["charge down"] * 7, "charge approve"]
    assert [line[11:] for line in (await shop.story(sub))[-3:]] == [
        "09:00 invoice_issued", "09:00 gateway_down", "13:21 payment_succeeded",
    ]  # fmt: skip
    assert [(row["number"], row["status"]) for row in await shop.attempts(sub)] == [(1, "approved")] * 2
    assert (await shop.subscription(sub))["attention"] is None
    await shop.audit(sub)


@pytest.mark.parametrize(
    ("outcome", "calls"),
    [
        ("error_after", ["charge error_after", "lookup captured"]),
        ("hang", ["charge hang", "lookup captured"]),
        ("error_before", ["charge error_before", "lookup not_found", "charge approve"]),
        ("hang_before", ["charge hang_before", "lookup not_found", "charge approve"]),
    ],
)
async def test_a_lost_answer_is_looked_up_before_anything_is_sent(shop: Shop, outcome: str, calls: list[str]) -> None:
    sub, token = await renewing(shop)
    await shop.script(token, outcome, hang_seconds=3)
    await shop.until(sub, at("2027-04-05", 9, 10))
    assert await shop.kinds(sub) == [
        "created", "started", "invoice_issued", "payment_succeeded", "access_started",
        "invoice_issued", "outcome_unknown", "payment_succeeded",
    ]  # fmt: skip
    assert await shop.calls(reference=f"charge:{sub}:2:1") == calls
    await shop.audit(sub)


async def test_while_the_outcome_is_open_nothing_else_is_tried_or_ended(shop: Shop) -> None:
    sub, token = await renewing(shop)
    await shop.script(token, "error_after")
    await shop.until(sub, at("2027-04-05", 9) - timedelta(seconds=5))
    await shop.commands.advance(sub, timedelta(seconds=10))
    await shop.outage(down=True)
    try:
        await shop.until(sub, at("2027-04-05", 9, 5))
        assert (await shop.subscription(sub))["attention"] is None
        with pytest.raises(Refused) as refused:
            await shop.send(sub, ForceBill())
        assert refused.value.code == "outcome_open"
        await shop.until(sub, at("2027-04-06", 9))
        assert (await shop.subscription(sub))["attention"] == "the outcome of a charge is still unknown"
        state = await shop.send(sub, Cancel(When.NOW), reason="had enough")
        assert state.status == "active", "the gateway may hold money: the end waits for its answer"
    finally:
        await shop.outage(down=False)
    state = await shop.until(sub, at("2027-04-08", 9))
    assert state.status == "canceled"
    assert [row["status"] for row in await shop.invoices(sub)] == ["paid", "paid"]
    await shop.audit(sub)


async def test_a_hold_during_an_open_outcome_is_written_and_the_answer_still_counts(shop: Shop) -> None:
    sub, token = await renewing(shop)
    await shop.script(token, "error_after")
    await shop.until(sub, at("2027-04-05", 9))
    state = await shop.commands.state(sub)
    assert state.collecting is not None
    assert state.collecting.not_before is not None
    # It expires at the very second at which the gateway is asked.
    await shop.send(sub, PlaceHold("ops", state.collecting.not_before), reason="looking")
    await shop.until(sub, at("2027-04-05", 10))
    assert (await shop.kinds(sub))[-4:] == ["outcome_unknown", "hold_placed", "payment_succeeded", "hold_expired"]
    await shop.audit(sub)


async def action_of(shop: Shop, sub: str) -> str:
    attempts = await shop.attempts(sub)
    assert attempts[-1]["status"] == "action_required"
    return str(attempts[-1]["action_url"])


async def test_the_customer_confirms_and_the_charge_goes_through(shop: Shop) -> None:
    sub, token = await renewing(shop)
    await shop.script(token, "action")
    await shop.until(sub, at("2027-04-05", 11))
    state = await shop.commands.state(sub)
    assert (state.status, state.access) == ("active", "active")
    page = await shop.http.post(await action_of(shop, sub), data={"outcome": "approve"})
    assert page.is_success
    await shop.until(sub, at("2027-04-06", 8))
    assert (await shop.kinds(sub))[-3:] == ["invoice_issued", "action_required", "payment_succeeded"]
    assert [row["status"] for row in await shop.attempts(sub)] == ["approved", "approved"]
    await shop.audit(sub)


async def test_the_customer_declines_and_dunning_begins(shop: Shop) -> None:
    sub, token = await renewing(shop)
    await shop.script(token, "action")
    await shop.until(sub, at("2027-04-05", 11))
    await shop.http.post(await action_of(shop, sub), data={"outcome": "decline"})
    state = await shop.until(sub, at("2027-04-06", 8))
    assert state.status == "overdue"
    assert (await shop.attempts(sub))[-1]["code"] == "authentication_failed"
    await shop.until(sub, at("2027-04-30", 8))
    assert (await shop.commands.state(sub)).status == "active", "the next retry went through"
    await shop.audit(sub)


async def test_the_customers_time_is_over_after_a_day_and_the_order_is_withdrawn(shop: Shop) -> None:
    sub, token = await renewing(shop)
    await shop.script(token, "action", then="soft:do_not_honor")
    await shop.until(sub, at("2027-04-05", 11))
    url = await action_of(shop, sub)
    await shop.until(sub, at("2027-04-06", 10))
    assert await shop.story(sub, "action_required", "payment_declined") == [
        "2027-04-05 09:00 action_required",
        "2027-04-06 09:00 payment_declined",
    ]
    assert (await shop.attempts(sub))[-1]["code"] == "authentication_expired"
    late = await shop.http.post(url, data={"outcome": "approve"})
    assert late.status_code == 409, "too late: the gateway was told to forget it"
    await shop.audit(sub)
