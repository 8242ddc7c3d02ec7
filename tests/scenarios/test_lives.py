"""Whole lives, told by local dates: what the calendar brings, and what people change on the way."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

import pytest

from domain.errors import InvalidInput, Refused
from domain.messages import (
    Cancel,
    ChangeTerms,
    EndTrial,
    ForceBill,
    GrantCredit,
    Pause,
    PlaceHold,
    ReleaseHold,
    Restart,
    Resume,
    Skip,
    When,
)
from domain.terms import CatchUp
from tests.stack_fixtures import DAILY, Shop, at

pytestmark = [pytest.mark.stack, pytest.mark.timeout(120)]

VISA = "tok_ok_visa"


async def test_monthly_from_31_january_over_a_leap_february_and_daylight_saving(shop: Shop) -> None:
    customer = await shop.customer(VISA)
    sub = (await shop.start(customer, await shop.terms(), start_at=at("2028-01-31", 9))).id
    await shop.until(sub, at("2029-02-28", 12))
    assert await shop.story(sub, "invoice_issued") == [
        f"{day} 09:00 invoice_issued"
        for day in (
            "2028-01-31", "2028-02-29", "2028-03-31", "2028-04-30", "2028-05-31", "2028-06-30", "2028-07-31",
            "2028-08-31", "2028-09-30", "2028-10-31", "2028-11-30", "2028-12-31", "2029-01-31", "2029-02-28",
        )
    ]  # fmt: skip
    invoices = await shop.invoices(sub)
    # Nine in the morning in New York is 14:00 UTC in winter and 13:00 UTC in summer.
    assert [invoice["issued_at"].hour for invoice in invoices] == [14, 14, *[13] * 8, 14, 14, 14, 14]
    assert [invoice["period_end"] for invoice in invoices[:-1]] == [invoice["period_start"] for invoice in invoices[1:]]
    assert {(invoice["total"], invoice["status"]) for invoice in invoices} == {(1000, "paid")}
    await shop.audit(sub)


async def test_trial_bill_skip_new_price_pause_cancel_and_restart(shop: Shop) -> None:
    customer = await shop.customer(VISA)
    terms = await shop.terms(1000, trial_days=14, setup_fee=500)
    sub = (await shop.start(customer, terms, start_at=at("2027-02-15", 8), notice_days=3)).id
    await shop.until(sub, at("2027-02-20", 12))
    assert (await shop.commands.state(sub)).status == "trialing"
    await shop.until(sub, at("2027-03-01", 9))
    await shop.send(sub, Skip(1), reason="on holiday")
    await shop.until(sub, at("2027-04-02", 9))
    cheaper = await shop.terms(800)
    await shop.send(sub, ChangeTerms(cheaper))
    await shop.until(sub, at("2027-05-02", 9))
    await shop.send(sub, Pause(When.PERIOD_END, resume_at=at("2027-07-10", 10)))
    await shop.until(sub, at("2027-07-20", 9))
    await shop.send(sub, Cancel(When.PERIOD_END), reason="moving away")
    state = await shop.until(sub, at("2027-08-15", 9))
    assert (state.status, state.access) == ("canceled", "stopped")
    with pytest.raises(Refused) as refused:
        await shop.send(sub, ForceBill())
    assert refused.value.code == "not_while_canceled"
    assert "restart" in refused.value.allowed
    state = await shop.send(sub, Restart())
    assert (state.status, state.access) == ("active", "active")
    await shop.until(sub, at("2027-09-15", 10))
    created, *story = await shop.story(sub)
    assert created.endswith("created")
    assert story == [
        "2027-02-15 08:00 trial_started",
        "2027-02-26 08:00 renewal_notice",
        "2027-03-01 08:00 trial_ended",
        "2027-03-01 08:00 invoice_issued",
        "2027-03-01 08:00 payment_succeeded",
        "2027-03-01 09:00 skip_planned",
        "2027-04-01 08:00 cycle_skipped",
        "2027-04-02 09:00 change_planned",
        "2027-04-28 08:00 renewal_notice",
        "2027-05-01 08:00 terms_changed",
        "2027-05-01 08:00 invoice_issued",
        "2027-05-01 08:00 payment_succeeded",
        "2027-05-02 09:00 pause_asked",
        "2027-06-01 08:00 paused",
        "2027-07-10 10:00 resumed",
        "2027-07-10 10:00 invoice_issued",
        "2027-07-10 10:00 payment_succeeded",
        "2027-07-20 09:00 cancel_planned",
        "2027-08-10 10:00 canceled",
        "2027-08-15 09:00 restarted",
        "2027-08-15 09:00 invoice_issued",
        "2027-08-15 09:00 payment_succeeded",
        "2027-08-15 09:00 access_started",
        "2027-09-12 09:00 renewal_notice",
        "2027-09-15 09:00 invoice_issued",
        "2027-09-15 09:00 payment_succeeded",
    ]
    assert [invoice["total"] for invoice in await shop.invoices(sub)] == [1500, 800, 800, 800, 800]
    await shop.audit(sub)


async def test_a_forced_cycle_is_not_billed_again_when_its_time_comes(shop: Shop) -> None:
    sub = (await shop.start(await shop.customer(VISA), await shop.terms(), start_at=at("2027-03-05", 9))).id
    await shop.until(sub, at("2027-03-20", 12))
    state = await shop.send(sub, ForceBill())
    assert state.cycle == 3
    with pytest.raises(Refused) as refused:
        await shop.send(sub, ForceBill())
    assert refused.value.code == "billed_ahead"
    await shop.until(sub, at("2027-05-06", 9))
    issued = await shop.story(sub, "invoice_issued")
    assert [line[:10] for line in issued] == ["2027-03-05", "2027-03-20", "2027-05-05"]
    await shop.audit(sub)


async def test_credit_is_used_before_the_card(shop: Shop) -> None:
    customer = await shop.customer(VISA)
    sub = (await shop.start(customer, await shop.terms(), start_at=at("2027-03-05", 9))).id
    await shop.until(sub, at("2027-03-06", 9))
    await shop.send(sub, GrantCredit(1300, "USD"))
    with pytest.raises(InvalidInput):
        await shop.send(sub, GrantCredit(1300, "EUR"))
    await shop.until(sub, at("2027-05-06", 9))
    assert [(row["credit_applied"], row["amount_due"]) for row in await shop.invoices(sub)] == [
        (0, 1000), (1000, 0), (300, 700),
    ]  # fmt: skip
    assert await shop.calls(await shop.token(customer)) == ["charge approve"] * 2
    await shop.audit(sub)


async def test_a_hold_stops_billing_and_nothing_is_lost_after_it(shop: Shop) -> None:
    terms = await shop.terms(interval=DAILY, catch_up=CatchUp.BILL_EACH)
    sub = (await shop.start(await shop.customer(VISA), terms, start_at=at("2027-03-05", 9))).id
    await shop.until(sub, at("2027-03-05", 10))
    await shop.send(sub, PlaceHold("ops", at("2027-03-20", 9)), reason="looking into it")
    assert (await shop.subscription(sub))["attention"] == "on hold by ops"
    await shop.until(sub, at("2027-03-08", 10))
    assert len(await shop.invoices(sub)) == 1
    await shop.send(sub, ReleaseHold())
    assert await shop.story(sub, "invoice_issued", "hold_released") == [
        "2027-03-05 09:00 invoice_issued",
        "2027-03-08 10:00 hold_released",
        *["2027-03-08 10:00 invoice_issued"] * 3,
    ]
    assert [invoice["cycle"] for invoice in await shop.invoices(sub)] == [1, 2, 3, 4]
    await shop.audit(sub)


async def test_a_hold_expires_by_itself(shop: Shop) -> None:
    terms = await shop.terms(interval=DAILY, catch_up=CatchUp.SKIP)
    sub = (await shop.start(await shop.customer(VISA), terms, start_at=at("2027-03-05", 9))).id
    await shop.until(sub, at("2027-03-05", 10))
    await shop.send(sub, PlaceHold("ops", at("2027-03-08", 10)), reason="a chargeback")
    await shop.until(sub, at("2027-03-09", 10))
    assert await shop.story(sub, "invoice_issued", "hold_expired", "cycles_not_billed") == [
        "2027-03-05 09:00 invoice_issued",
        "2027-03-08 10:00 hold_expired",
        "2027-03-08 10:00 cycles_not_billed",
        "2027-03-09 09:00 invoice_issued",
    ]
    await shop.audit(sub)


async def test_a_trial_ended_early_is_billed_at_once_and_anchors_there(shop: Shop) -> None:
    terms = await shop.terms(trial_days=30)
    sub = (await shop.start(await shop.customer(VISA), terms, start_at=at("2027-03-01", 9))).id
    await shop.until(sub, at("2027-03-11", 16))
    await shop.send(sub, EndTrial())
    await shop.until(sub, at("2027-05-12", 9))
    issued = await shop.story(sub, "invoice_issued")
    assert issued == [f"2027-{day} 16:00 invoice_issued" for day in ("03-11", "04-11", "05-11")]
    await shop.audit(sub)


async def test_pause_now_gives_the_unused_days_back_as_credit(shop: Shop) -> None:
    sub = (await shop.start(await shop.customer(VISA), await shop.terms(3100), start_at=at("2027-03-01", 9))).id
    await shop.until(sub, at("2027-03-11", 12))
    state = await shop.send(sub, Pause(When.NOW))
    assert (state.status, state.access, state.credit) == ("paused", "stopped", 2000)
    await shop.until(sub, at("2027-04-11", 12))
    state = await shop.send(sub, Resume())
    assert state.credit == 0
    assert [row["amount_due"] for row in await shop.invoices(sub)] == [3100, 1100]
    await shop.audit(sub)


async def test_a_subscription_on_the_wall_clock_bills_when_its_moment_comes(shop: Shop) -> None:
    start = datetime.now(UTC).replace(microsecond=0) + timedelta(seconds=2)
    sub = (await shop.start(await shop.customer(VISA), await shop.terms(), start_at=start, test_mode=False)).id
    assert await shop.invoices(sub) == []

    async def paid() -> bool:
        return [row["status"] for row in await shop.invoices(sub)] == ["paid"]

    await shop.eventually(paid, "the first invoice is paid")
    assert (await shop.invoices(sub))[0]["issued_at"] >= start
    await shop.audit(sub)


async def test_a_journey_that_ends_while_a_charge_is_under_way_goes_no_further(shop: Shop) -> None:
    """The end passes by the wall clock while the gateway thinks; the next month must not be skipped to."""

    async def one(thinking_s: float) -> int:
        customer = await shop.customer(VISA)
        state = await shop.start(customer, await shop.terms())
        await shop.script(await shop.token(customer), "hang", then="approve", hang_seconds=thinking_s)
        assert state.period is not None
        await shop.until(state.id, state.period.end)
        return len(await shop.invoices(state.id))

    assert await asyncio.gather(*(one(0.5 + 0.05 * i) for i in range(14))) == [2] * 14
