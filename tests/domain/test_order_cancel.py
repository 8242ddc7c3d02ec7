"""Cancelling: the preview says what then happens, to the invoice, the parcels, the subscriptions and the money."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from domain.fulfilment import Fulfilment, Status, Withdrawal
from domain.order_cancel import Effect, Sale, Sent, effects, stays_in
from domain.order_messages import CancelOrder, EndedSubscription, Pay, Place, StoppedParcel, Undo, Undone
from domain.order_state import Ending, OrderStatus, order_invoice_id, order_subscription_id
from domain.orders import apply, next_step
from tests.domain.order_stories import OrderStory, item, plan
from tests.domain.stories import Bank, at, price

NOW = at("2026-03-02 10:00")
INVOICE, SUBSCRIPTION = order_invoice_id("ord_1", 1), order_subscription_id("ord_1", 1)


def sold(settlement: str = "pending") -> OrderStory:
    """A subscription of 10.00 and an engraving of 15.00, paid."""
    story = OrderStory(plan(), item()).does(Pay())
    story.world.settlement = settlement
    return story


def words(effects_of: tuple[Effect, ...]) -> list[tuple[str, str, int | None]]:
    return [(each.on, each.effect, each.amount) for each in effects_of]


# ---------------------------------------------------------------- the preview, and what then happens


@pytest.mark.parametrize("command", [None, Place(), Pay()])
def test_an_unpaid_order_owes_nothing_any_more(command: Place | Pay | None) -> None:
    story = OrderStory(bank=Bank(["soft"]))
    if command is not None:
        story.does(command)
    told = story.preview()
    story.does(CancelOrder())
    if command is None:
        assert told == ()
        assert story.told("invoice_voided") == []
    else:
        assert [(each.on, each.id, each.effect, each.amount) for each in told] == [("invoice", INVOICE, "void", 1500)]
        assert "15.00" in told[0].text
        assert story.told("invoice_voided") == ["2026-03-02 10:00 invoice_voided 1500"]
    assert story.state.status is OrderStatus.CANCELED
    assert story.world.returned == 0


@pytest.mark.parametrize(
    ("settlement", "effect", "status"), [("pending", "void", "succeeded"), ("settled", "refund", "queued")]
)
def test_the_money_goes_back_and_the_subscriptions_end(settlement: str, effect: str, status: str) -> None:
    story = sold(settlement)
    told = story.preview()
    assert words(told) == [("subscription", "end", None), ("payment", effect, 2500)]
    assert told[0].id == SUBSCRIPTION
    assert "25.00" in told[1].text
    story.until("2026-03-05 12:00").does(CancelOrder(), actor="bea", reason="changed her mind")
    asked = story.entry("cancel_asked")
    assert (asked.actor, asked.reason, asked.data) == ("bea", "changed her mind", {"give_back": True})
    assert story.told()[-4:] == [
        "2026-03-05 12:00 cancel_asked",
        "2026-03-05 12:00 subscription_ended",
        f"2026-03-05 12:00 money_back {status}",
        "2026-03-05 12:00 order_canceled",
    ]
    assert story.last("subscription_ended") == {"subscription_id": SUBSCRIPTION}
    assert story.last("money_back") == {"refund_id": "ref_1", "status": status}
    canceled = story.entry("order_canceled")
    assert (canceled.actor, canceled.reason, canceled.data) == ("bea", "changed her mind", {})
    assert (story.state.status, story.state.ended_at, story.state.ending) == (OrderStatus.CANCELED, story.now, None)
    assert story.world.returned == 2500
    assert story.running == {SUBSCRIPTION: "canceled"}


def test_the_money_may_be_kept_and_the_subscriptions_may_go_on() -> None:
    story = sold()
    told = story.preview(give_back=False, end_subscriptions=False)
    assert words(told) == [("subscription", "stays", None), ("payment", "kept", 0)]
    story.does(CancelOrder(give_back=False, end_subscriptions=False))
    assert story.kinds[-3:] == ["cancel_asked", "money_kept", "order_canceled"]
    assert story.last("cancel_asked") == {"give_back": False}
    assert story.last("money_kept") == {"code": "kept"}
    assert story.running == {SUBSCRIPTION: "active"}
    assert story.world.returned == 0


def test_each_wish_by_itself() -> None:
    kept = sold().does(CancelOrder(give_back=False))
    assert kept.kinds[-4:] == ["cancel_asked", "subscription_ended", "money_kept", "order_canceled"]
    goes_on = sold().does(CancelOrder(end_subscriptions=False))
    assert goes_on.kinds[-3:] == ["cancel_asked", "money_back", "order_canceled"]


def test_a_dispute_keeps_the_money_and_the_rest_is_done() -> None:
    story = sold()
    story.world.disputed = "open"
    told = story.preview()
    assert words(told) == [("subscription", "end", None), ("payment", "kept", 0)]
    assert "(open)" in told[1].text
    story.does(CancelOrder())
    assert story.told("money_kept", "subscription_ended") == [
        "2026-03-02 10:00 subscription_ended",
        "2026-03-02 10:00 money_kept disputed",
    ]


def test_what_went_back_already_goes_back_no_second_time() -> None:
    story = sold()
    story.world.returned = 2500
    assert words(story.preview()) == [("subscription", "end", None), ("payment", "kept", 0)]
    story.does(CancelOrder())
    assert story.last("money_kept") == {"code": "nothing_left"}


def test_a_part_that_went_back_leaves_the_rest() -> None:
    story = sold("settled")
    story.world.returned = 1000
    assert words(story.preview())[1] == ("payment", "refund", 1500)


def test_a_subscription_that_is_over_stays_so() -> None:
    story = sold()
    story.running[SUBSCRIPTION] = "canceled"
    assert words(story.preview())[0] == ("subscription", "stays", None)
    story.does(CancelOrder())
    assert story.last("subscription_kept") == {"subscription_id": SUBSCRIPTION, "code": "already_canceled"}
    assert story.told("subscription_ended") == []


def test_an_order_for_nothing_has_nothing_to_give_back() -> None:
    story = OrderStory(plan(price(trial_days=7))).does(Place())
    assert words(story.preview()) == [("subscription", "end", None), ("payment", "none", None)]
    story.does(CancelOrder())
    assert story.kinds[-3:] == ["cancel_asked", "subscription_ended", "order_canceled"], "and says nothing of money"
    assert [each.effect for each in OrderStory(item(0)).does(Place()).preview()] == ["none"]
    assert OrderStory(item(0)).does(Place(), CancelOrder()).last("money_kept") == {"code": "not_captured"}


PARCELS = {
    "ful_1": Sent("ful_1", Fulfilment(), of_subscription=False),
    "ful_2": Sent("ful_2", Fulfilment(Status.HANDED_OFF), of_subscription=False),
    "ful_3": Sent("ful_3", Fulfilment(Status.SHIPPED), of_subscription=False),
    "ful_4": Sent("ful_4", Fulfilment(), of_subscription=True),
    "ful_5": Sent("ful_5", Fulfilment(Status.SENDING), of_subscription=True),
    "ful_6": Sent("ful_6", Fulfilment(Status.STOPPED, Withdrawal.DONE), of_subscription=True),
}


@pytest.mark.parametrize("give_back", [True, False])
@pytest.mark.parametrize("end_subscriptions", [True, False])
def test_the_preview_of_parcels_is_what_becomes_of_them(give_back: bool, end_subscriptions: bool) -> None:
    story = sold()
    for identity, sent in PARCELS.items():
        story.sends(identity, sent)
    told = {each.id: each for each in story.preview(give_back=give_back, end_subscriptions=end_subscriptions)}
    story.does(CancelOrder(give_back=give_back, end_subscriptions=end_subscriptions))
    for identity, before in PARCELS.items():
        now = story.parcels[identity].fulfilment
        match told[identity].effect:
            case "stop":
                assert now == replace(before.fulfilment, status=Status.STOPPED)
            case "ask_back":
                assert (now.status, now.withdrawal) == (Status.STOPPED, Withdrawal.DUE)
            case "stays":
                assert now == before.fulfilment
            case other:
                raise AssertionError(other)
    all_stop = give_back or end_subscriptions
    assert [told[identity].effect for identity in PARCELS] == [
        "stop", "ask_back", "stays", *(["stop", "ask_back", "stays"] if all_stop else ["stays"] * 3)
    ]  # fmt: skip
    assert [each.on for each in told.values()][: len(PARCELS)] == ["fulfilment"] * len(PARCELS), "parcels first"
    kinds = [kind for kind in story.kinds if kind.startswith("parcel")]
    assert kinds == (
        ["parcel_stopped"] * 2 + ["parcel_stays"] + ["parcel_stopped"] * 3
        if all_stop
        else ["parcel_stopped"] * 2 + ["parcel_stays"]
    )
    assert story.kinds[story.kinds.index("cancel_asked") + 1] == "parcel_stopped", "before any money moves"


def test_a_preview_says_why_a_parcel_stays() -> None:
    def text(sent: Sent, *, goes_on: bool = False) -> str:
        story = sold()
        story.sends(sent.id, sent)
        return story.preview(give_back=not goes_on, end_subscriptions=not goes_on)[0].text

    assert "its subscription goes on" in text(PARCELS["ful_4"], goes_on=True)
    assert "its subscription goes on" in text(PARCELS["ful_5"], goes_on=True)
    handed = replace(PARCELS["ful_4"], fulfilment=Fulfilment(Status.HANDED_OFF))
    assert "its subscription goes on" in text(handed, goes_on=True)
    shipped = replace(PARCELS["ful_4"], fulfilment=Fulfilment(Status.SHIPPED))
    assert "shipped already" in text(shipped, goes_on=True)
    assert "shipped already" in text(PARCELS["ful_3"])
    asked = replace(PARCELS["ful_2"], fulfilment=Fulfilment(Status.HANDED_OFF, Withdrawal.REFUSED))
    assert "handed off already" in text(asked)
    assert "not to ship it" in text(PARCELS["ful_2"])
    assert text(PARCELS["ful_1"]) == "It is not sent."


def test_what_a_preview_says_of_subscriptions_and_money() -> None:
    def texts(story: OrderStory, **choice: bool) -> list[str]:
        return [each.text for each in story.preview(**choice)]

    assert texts(sold())[0].startswith("It ends now.")
    assert texts(sold(), end_subscriptions=False)[0] == "It goes on and bills its next cycles."
    over = sold()
    over.running[SUBSCRIPTION] = "canceled"
    assert texts(over)[0] == "It has ended already."
    assert "voided" in texts(sold())[1]
    assert "refunded" in texts(sold("settled"))[1]
    assert texts(sold(), give_back=False)[1] == "The money is kept."
    back = sold()
    back.world.returned = 2500
    assert "went back already" in texts(back)[1]
    assert texts(OrderStory(item(0)).does(Place())) == ["Nothing was charged for this order."]
    assert "is voided: nothing is owed" in texts(OrderStory().does(Place()))[0]


def test_each_effect_names_what_it_is_about() -> None:
    story = sold()
    for end in (True, False):
        assert [each.id for each in story.preview(end_subscriptions=end)] == [SUBSCRIPTION, None]
    story.running[SUBSCRIPTION] = "canceled"
    assert [each.id for each in story.preview()] == [SUBSCRIPTION, None]


def test_what_is_set_aside_is_released_before_its_invoice_is_voided() -> None:
    told = effects(
        status=OrderStatus.AUTHORISED, currency="EUR", open_invoice=("inv_1", 1500), held=("att_1", 1500), sale=None,
        subscriptions=[], fulfilments=[], give_back=True, end_subscriptions=True,
    )  # fmt: skip
    assert [(each.on, each.id, each.effect, each.amount) for each in told] == [
        ("payment", "att_1", "release", 1500),
        ("invoice", "inv_1", "void", 1500),
    ]
    assert "15.00" in told[0].text


def test_only_a_paid_order_says_something_of_its_payment() -> None:
    def on(status: OrderStatus) -> list[str]:
        told = effects(
            status=status, currency="EUR", open_invoice=None, sale=Sale("settled", 5, None), subscriptions=[],
            fulfilments=[], give_back=True, end_subscriptions=True,
        )  # fmt: skip
        return [each.on for each in told]

    assert [status for status in OrderStatus if on(status)] == [OrderStatus.PAID]


def test_which_parcels_stay_in() -> None:
    asked = [(give, end) for give in (True, False) for end in (True, False)]
    of_order = [stays_in(of_subscription=False, give_back=give, end_subscriptions=end) for give, end in asked]
    first_cycles = [stays_in(of_subscription=True, give_back=give, end_subscriptions=end) for give, end in asked]
    assert of_order == [True] * 4
    assert first_cycles == [True, True, True, False]


# ---------------------------------------------------------------- what is told of it


def test_a_cancellation_that_was_asked_for_waits_to_be_undone() -> None:
    state = replace(sold().state, status=OrderStatus.CANCELING, ending=Ending("bea", "why", True, True))
    assert next_step(state, NOW) == Undo()
    parcels = (StoppedParcel("ful_1", "stopped", "due", True), StoppedParcel("ful_2", "shipped", "none", False))
    ended = (EndedSubscription("sub_1"), EndedSubscription("sub_2", "already_canceled"))
    after = apply(state, Undone(ended, None, None, "disputed", parcels), NOW)
    assert [(entry.kind, entry.data) for entry in after.journal] == [
        ("parcel_stopped", {"fulfilment_id": "ful_1", "status": "stopped", "withdrawal": "due"}),
        ("parcel_stays", {"fulfilment_id": "ful_2", "status": "shipped", "withdrawal": "none"}),
        ("subscription_ended", {"subscription_id": "sub_1"}),
        ("subscription_kept", {"subscription_id": "sub_2", "code": "already_canceled"}),
        ("money_kept", {"code": "disputed"}),
        ("order_canceled", {}),
    ]
    assert {entry.at for entry in after.journal} == {NOW}
    silent = apply(replace(state, ending=None), Undone(), NOW)
    assert [(entry.kind, entry.actor, entry.reason) for entry in silent.journal] == [("order_canceled", "system", "")]


def test_a_cancelled_one_is_closed_30_days_later() -> None:
    story = sold().does(CancelOrder())
    assert story.refused(CancelOrder()).code == "order_canceled"
    assert story.until_instant(NOW + timedelta(days=30)).is_closed


def test_a_paid_order_takes_no_more_than_its_cancellation() -> None:
    story = sold()
    assert story.refused(Pay()).code == story.refused(Place()).code == "already_paid"
