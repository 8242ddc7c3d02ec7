"""A subscription that an order began: its first cycle, or its trial, is paid already and never billed again."""

from __future__ import annotations

from dataclasses import replace

import pytest

from domain.discounts import Discount, DiscountSource
from domain.messages import Cancel, ChangeTerms, Prepaid, RefundChoice, When
from domain.state import Access, Entry, Status
from domain.tax import Treatment
from tests.domain.stories import Bank, Story, at, price

PAID = Prepaid("inv_order", 1000)
BEGUN = "2026-03-05 10:00"
ONCE = Discount("once", "Half off", DiscountSource.COUPON, at("2026-01-01 00:00"), rate=50_000, cycles_left=2)


def begun(story: Story) -> Entry:
    (entry,) = story.entries("cycle_prepaid")
    return entry


def test_the_first_cycle_is_the_orders_and_the_second_is_its_own() -> None:
    story = Story(price(1000, setup_fee=300), now=BEGUN, prepaid=PAID)
    assert (story.state.status, story.state.access, story.state.prepaid) == (Status.ACTIVE, Access.ACTIVE, None)
    assert begun(story).data == {
        "cycle": 1,
        "amount": 1000,
        "currency": "EUR",
        "invoice_id": "inv_order",
        "order_id": "ord_1",
    }
    assert (begun(story).actor, begun(story).reason) == ("system", "")
    assert story.told("invoice_issued", "payment_succeeded") == []
    assert (story.state.paid_for_period, story.state.period_price) == (1000, None)
    story.until("2026-05-06 10:00")
    assert story.told("invoice_issued") == [
        "2026-04-05 10:00 invoice_issued cycle 2: 1000, due 1000",
        "2026-05-05 10:00 invoice_issued cycle 3: 1000, due 1000",
    ], "the set-up fee was the order's too"


@pytest.mark.parametrize(
    ("physical", "invoice", "ships"), [(True, "inv_order", True), (True, None, None), (False, "inv_order", None)]
)
def test_what_is_physical_ships_where_an_invoice_was_paid(
    physical: bool, invoice: str | None, ships: bool | None
) -> None:
    story = Story(price(physical=physical), now=BEGUN, prepaid=Prepaid(invoice, 1000))
    assert begun(story).data.get("ships") is ships


def test_the_orders_payment_is_the_first_of_a_discounts_cycles() -> None:
    story = Story(now=BEGUN, prepaid=replace(PAID, amount=500), discounts=(ONCE,))
    assert [one.cycles_left for one in story.state.discounts] == [1]
    held = story.state.period_price
    assert held is not None
    assert (held.price, [one.id for one in held.discounts]) == (500, ["once"])
    story.until("2026-05-06 10:00")
    assert [entry.data["total"] for entry in story.entries("invoice_issued")] == [500, 1000]


def test_how_it_was_taxed_stays_with_the_period() -> None:
    how = Treatment("DE", "standard", 19_000)
    story = Story(now=BEGUN, prepaid=replace(PAID, treatment=how))
    assert story.state.period_price is not None
    assert story.state.period_price.treatment == how


def test_a_paid_trial_is_cycle_0_and_the_first_cycle_follows_it() -> None:
    terms = price(1000, trial_days=7, trial_amount=100, physical=True)
    story = Story(terms, now=BEGUN, prepaid=replace(PAID, amount=100))
    assert (story.state.status, story.state.access, story.state.prepaid) == (Status.TRIALING, Access.ACTIVE, None)
    assert (begun(story).data["cycle"], begun(story).data["amount"], begun(story).data["ships"]) == (0, 100, True)
    story.until("2026-03-12 11:00")
    assert story.told("invoice_issued") == ["2026-03-12 10:00 invoice_issued cycle 1: 1000, due 1000"]


def test_no_more_comes_back_than_the_order_paid() -> None:
    story = Story(now=BEGUN, prepaid=replace(PAID, amount=400), bank=Bank())
    story.does(Cancel(When.NOW, RefundChoice.CREDIT))
    assert 0 < story.state.credit <= 400
    story = Story(now=BEGUN, prepaid=PAID)
    story.does(ChangeTerms(price(2000), When.NOW))
    (change,) = story.entries("invoice_issued")
    assert change.data["total"] == 1000, "the dearer price less what was paid, on the first day"
