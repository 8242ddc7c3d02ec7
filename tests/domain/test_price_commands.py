"""Discounts and tax of a subscription: given, taken back, used up, set anew, and what the timeline says of each."""

from __future__ import annotations

from dataclasses import replace
from datetime import date, timedelta

import pytest

from domain.commands import handle
from domain.discounts import DISCOUNTS_MAX, Discount, DiscountSource
from domain.errors import Refused
from domain.messages import AddDiscount, Command, Envelope, RemoveDiscount, SetTax
from domain.price_commands import set_tax_envelope, use_discounts
from domain.tax import NO_TAX, TaxRate, TaxStatus, TaxTerms
from tests.domain.stories import Story, at, can_be_read, price

NOW = at("2026-01-15 10:00")
LATER = NOW + timedelta(days=60)
THREE = Discount("dis_1", "Three", DiscountSource.CUSTOMER, NOW, amount=300)
HALF = Discount("red_1", "Half", DiscountSource.COUPON, NOW, rate=50_000, cycles_left=2, until=LATER, coupon_id="cpn")
GERMANY = TaxTerms(TaxStatus.TAXABLE, "DE", (TaxRate("de", "DE", "standard", 19_000, False, date(2020, 1, 1)),))


def subscribed(*commands: Command) -> Story:
    story = Story(price(1000), now="2026-01-15 10:00")
    for command in commands:
        story.does(command)
    return story


def refusal(story: Story, command: Command) -> str:
    before = story.state
    with pytest.raises(Refused) as refused:
        story.does(command)
    assert story.state == before
    assert can_be_read(refused.value)
    return refused.value.code


def test_a_discount_is_told_with_all_that_it_is() -> None:
    story = subscribed(AddDiscount(HALF))
    (entry,) = story.entries("discount_added")
    assert (entry.actor, entry.reason, entry.at) == ("agent", "asked", NOW)
    assert entry.data == {
        "discount_id": "red_1", "name": "Half", "rate": 50_000, "amount": 0, "currency": "EUR", "cycles": 2,
        "until": LATER.isoformat(), "coupon_id": "cpn",
    }  # fmt: skip
    story.does(AddDiscount(THREE, "EUR"))
    assert story.last("discount_added") == {
        "discount_id": "dis_1", "name": "Three", "rate": 0, "amount": 300, "currency": "EUR", "cycles": None,
        "until": None, "coupon_id": None,
    }  # fmt: skip
    assert story.state.discounts == (HALF, THREE)


def test_what_is_there_already_is_given_once() -> None:
    story = subscribed(AddDiscount(HALF), AddDiscount(replace(HALF, name="again")))
    assert story.state.discounts == (HALF,)
    assert len(story.entries("discount_added")) == 1


@pytest.mark.parametrize(
    ("command", "code"),
    [
        (AddDiscount(THREE), "currency_mismatch"),
        (AddDiscount(THREE, "USD"), "currency_mismatch"),
        (AddDiscount(replace(HALF, id="red_2", until=NOW)), "discount_ended"),
        (AddDiscount(replace(HALF, id="red_2", until=NOW - timedelta(days=1))), "discount_ended"),
        (AddDiscount(replace(HALF, id="red_2", coupon_id=None, products=("other",))), "wrong_product"),
        (AddDiscount(replace(HALF, id="red_2")), "discount_running"),
        (RemoveDiscount("dis_9"), "no_such_discount"),
    ],
)
def test_what_does_not_fit_is_refused(command: Command, code: str) -> None:
    assert refusal(subscribed(AddDiscount(HALF)), command) == code


@pytest.mark.parametrize(
    "discount",
    [
        replace(HALF, id="red_2", coupon_id="other"),
        replace(HALF, id="red_2", coupon_id=None),
        replace(HALF, id="red_2", coupon_id=None, until=NOW + timedelta(seconds=1)),
        replace(HALF, id="red_2", coupon_id=None, products=("other", "prod")),
        replace(THREE, amount=0, rate=1, id="dis_2"),
    ],
)
def test_what_fits_is_taken_a_percent_in_any_currency(discount: Discount) -> None:
    story = subscribed(AddDiscount(HALF), AddDiscount(discount))
    assert story.state.discounts == (HALF, discount)


def test_so_many_at_a_time() -> None:
    story = subscribed(*[AddDiscount(replace(THREE, id=f"dis_{each}"), "EUR") for each in range(DISCOUNTS_MAX)])
    assert len(story.state.discounts) == DISCOUNTS_MAX
    assert refusal(story, AddDiscount(replace(THREE, id="dis_x"), "EUR")) == "too_many_discounts"
    story.does(RemoveDiscount("dis_3")).does(AddDiscount(replace(THREE, id="dis_x"), "EUR"))
    assert [one.id for one in story.state.discounts][-2:] == [f"dis_{DISCOUNTS_MAX - 1}", "dis_x"]


def test_one_that_is_taken_back_reduces_nothing_more_and_may_come_again() -> None:
    story = subscribed(AddDiscount(THREE, "EUR"), AddDiscount(HALF), RemoveDiscount("dis_1"))
    (entry,) = story.entries("discount_ended")
    assert (entry.actor, entry.reason) == ("agent", "asked")
    assert entry.data == {"discount_id": "dis_1", "name": "Three", "why": "removed"}
    assert story.state.discounts == (HALF,)
    assert refusal(story, RemoveDiscount("dis_1")) == "no_such_discount"
    assert story.does(AddDiscount(THREE, "EUR")).state.discounts == (HALF, THREE)


def test_billed_cycles_use_it_up_and_its_time_ends_it() -> None:
    late = Discount("dis_2", "Until spring", DiscountSource.CUSTOMER, NOW, rate=10_000, until=at("2026-03-01 00:00"))
    story = subscribed(AddDiscount(replace(HALF, until=None)), AddDiscount(late), AddDiscount(THREE, "EUR"))
    story.until("2026-02-16 00:00")
    assert [(one.id, one.cycles_left) for one in story.state.discounts] == [
        ("red_1", 1), ("dis_2", None), ("dis_1", None),
    ]  # fmt: skip
    story.until("2026-03-16 00:00")
    assert [one.id for one in story.state.discounts] == ["dis_1"]
    ended = [(entry.data, entry.actor, entry.reason) for entry in story.entries("discount_ended")]
    assert ended == [
        ({"discount_id": "red_1", "name": "Half", "why": "used_up"}, "system", ""),
        ({"discount_id": "dis_2", "name": "Until spring", "why": "ended"}, "system", ""),
    ]


def test_only_what_was_applied_is_used_and_what_ends_at_the_cycle_ends() -> None:
    state = replace(subscribed().state, discounts=(HALF, THREE), journal=())
    after = use_discounts(state, (THREE,), NOW, NOW)
    assert (after.discounts, after.journal) == ((HALF, THREE), ())
    assert use_discounts(state, (HALF,), NOW, NOW).discounts == (replace(HALF, cycles_left=1), THREE)
    assert use_discounts(state, (), LATER, LATER).discounts == (THREE,)
    assert use_discounts(state, (), LATER - timedelta(seconds=1), LATER).discounts == (HALF, THREE)


def test_tax_is_set_once() -> None:
    story = subscribed(SetTax(GERMANY))
    (entry,) = story.entries("tax_set")
    assert (entry.actor, entry.reason) == ("agent", "asked")
    assert entry.data == {"status": "taxable", "place": "DE", "rates": 1}
    assert story.state.tax == GERMANY
    assert len(story.does(SetTax(GERMANY)).entries("tax_set")) == 1
    story.does(SetTax(NO_TAX)).does(SetTax(GERMANY))
    assert len(story.entries("tax_set")) == 3


def test_each_change_of_tax_has_an_identity_of_its_own() -> None:
    state = subscribed().state
    envelope = set_tax_envelope(state, GERMANY, "lena", "moved")
    assert (envelope.command, envelope.actor, envelope.reason) == (SetTax(GERMANY), "lena", "moved")
    assert set_tax_envelope(state, GERMANY, "ann").id == envelope.id, "the same wish at the same moment"
    assert set_tax_envelope(state, GERMANY, "ann").reason == ""
    others = [
        set_tax_envelope(state, NO_TAX, "ann"),
        set_tax_envelope(replace(state, seq=state.seq + 1), GERMANY, "ann"),
        set_tax_envelope(replace(state, id="sub_2"), GERMANY, "ann"),
    ]
    assert len({envelope.id, *(other.id for other in others)}) == 4
    assert handle(state, envelope, NOW).tax == GERMANY
    assert isinstance(envelope, Envelope)
    assert envelope.id.startswith("cmd_")
