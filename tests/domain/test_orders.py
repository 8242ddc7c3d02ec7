"""Orders in imagined time: taken, edited, declined, paid, cancelled, lapsed. `OrderStory` checks the rest."""

from __future__ import annotations

from dataclasses import replace
from datetime import date, timedelta

import pytest

from domain.declines import DeclineKind
from domain.discounts import Discount, DiscountSource
from domain.errors import Broken, InvalidInput
from domain.facts import Authorised, Charged, Declined, NoMethod, Recorded, Released
from domain.messages import Prepaid
from domain.order_commands import ATTEMPTS_MAX, allowed, handle
from domain.order_holds import hold, release, released, run_out
from domain.order_lines import dues_of
from domain.order_messages import (
    CancelOrder,
    CaptureOrder,
    OpenOrder,
    OrderEnvelope,
    Pay,
    Place,
    ReleaseOrder,
    SetBuyer,
    SetLines,
    Started,
    StartLine,
)
from domain.order_state import (
    Channel,
    Ending,
    OrderStatus,
    order_invoice_id,
    order_subscription_id,
)
from domain.orders import apply, attention, begin_order, collecting_of, next_step, start_of
from domain.state import ENTRY_REASON_LENGTH_MAX, RECENT_COMMANDS_MAX, InvoiceReason, Phase
from domain.steps import Record, Wait
from domain.tax import NO_TAX, TaxRate, TaxShare, TaxStatus, TaxTerms
from domain.terms import DEFAULT_DUNNING
from tests.domain.order_stories import OrderStory, item, lines, plan
from tests.domain.stories import Bank, at, price

NOW = at("2026-03-02 10:00")
GERMANY = TaxTerms(TaxStatus.TAXABLE, "DE", (TaxRate("de", "DE", "standard", 19_000, False, date(2020, 1, 1)),))
KNOWN = ("set_lines", "place", "pay", "cancel_order")
FIRST, SECOND = order_invoice_id("ord_1", 1), order_invoice_id("ord_1", 2)


def may(story: OrderStory) -> tuple[str, ...]:
    return tuple(kind for kind in allowed(story.state) if kind in KNOWN)


# ---------------------------------------------------------------- taken


def test_an_order_begins_as_a_draft_with_all_that_was_said() -> None:
    opening = OpenOrder(
        "ord_9", "cus_9", "America/New_York", "EUR", Channel.CUSTOMER, "web", lines(item(1500, 2), item(700)),
        test_mode=True, external_id="shop-7", basket_id="bsk_1", funnel="autumn", page="script 7", notice_days=3,
        request_id="req_9", tax=GERMANY,
    )  # fmt: skip
    state = begin_order(opening, NOW.replace(microsecond=999_999))
    assert (state.id, state.customer_id, state.zone, state.currency) == ("ord_9", "cus_9", "America/New_York", "EUR")
    assert (state.channel, state.agent, state.created_at) == (Channel.CUSTOMER, "web", NOW)
    assert (state.status, state.revision, state.invoices) == (OrderStatus.DRAFT, 1, 0)
    assert (state.test_mode, state.external_id, state.basket_id) == (True, "shop-7", "bsk_1")
    assert (state.funnel, state.page, state.notice_days, state.tax) == ("autumn", "script 7", 3, GERMANY)
    assert (state.lines, state.recent_commands) == (opening.lines, ("req_9",))
    assert state.total == 3570 + 833
    (entry,) = state.journal
    assert (entry.seq, entry.at, entry.kind, entry.actor, entry.reason) == (1, NOW, "order_created", "web", "")
    assert entry.data == {"channel": "customer", "lines": 2, "total": 4403, "currency": "EUR"}
    assert begin_order(replace(opening, request_id=None), NOW).recent_commands == ()


def test_what_a_basket_has_promised_stands_whatever_its_lines_cost_today() -> None:
    promised = dues_of(lines(item(900)), "EUR", "UTC", NO_TAX, NOW)
    story = OrderStory(item(1500), dues=promised).does(Pay(total=900))
    assert story.told("payment_succeeded") == ["2026-03-02 10:00 payment_succeeded 900 from visa"]
    assert OrderStory(item(0), dues=()).does(Place()).told("order_paid", "invoice_issued") == [
        "2026-03-02 10:00 order_paid 0"
    ]


def test_lines_that_break_a_rule_make_no_order() -> None:
    with pytest.raises(InvalidInput) as refused:
        OrderStory(item(), item(quantity=0))
    assert refused.value.field == "lines.1.quantity"
    with pytest.raises(InvalidInput) as refused:
        OrderStory(plan(price(currency="USD")))
    assert (refused.value.field, refused.value.code) == ("lines.0.price_id", "currency_mismatch")


# ---------------------------------------------------------------- paid


def test_one_charge_takes_all_and_then_the_subscriptions_begin() -> None:
    story = OrderStory(plan(price(1900, setup_fee=500)), item(1500, 2), plan(price(700)), notice_days=4, test_mode=True)
    assert story.state.total == 1900 + 500 + 3000 + 700
    story.does(Pay())
    assert story.told() == [
        "2026-03-02 10:00 order_created 3: 6100",
        "2026-03-02 10:00 payment_asked",
        "2026-03-02 10:00 invoice_issued 1: 6100",
        "2026-03-02 10:00 payment_succeeded 6100 from visa",
        "2026-03-02 10:00 order_paid 6100",
        "2026-03-02 10:00 subscription_started 1",
        "2026-03-02 10:00 subscription_started 3",
    ]
    assert story.bank.keys == [(FIRST, 1, "visa")]
    assert (story.state.status, story.state.paid_at, story.state.collecting) == (OrderStatus.PAID, story.now, None)
    first, second = story.starts.values()
    assert (first.id, second.id) == (order_subscription_id("ord_1", 1), order_subscription_id("ord_1", 3))
    assert (first.prepaid, second.prepaid) == (Prepaid(FIRST, 1900), Prepaid(FIRST, 700))
    assert (first.customer_id, first.zone, first.actor, first.order_id) == ("cus_1", "Europe/Berlin", "anna", "ord_1")
    assert (first.start_at, first.test_mode, first.notice_days, first.tax) == (story.now, True, 4, NO_TAX)
    assert (first.terms, second.terms) == (price(1900, setup_fee=500), price(700))
    assert story.last("subscription_started") == {"position": 3, "subscription_id": second.id}


def test_its_entries_say_all_that_the_books_need() -> None:
    story = OrderStory(item(1000), tax=GERMANY).does(Pay("visa"), actor="bea", reason="by phone")
    asked, issued = story.entry("payment_asked"), story.entry("invoice_issued")
    assert (asked.actor, asked.reason, asked.data) == ("bea", "by phone", {"method_id": "visa"})
    assert (issued.actor, issued.reason) == ("system", "")
    assert issued.data == {
        "invoice_id": FIRST, "reason": "order", "cycle": 0, "sequence": 1, "trigger": "order", "currency": "EUR",
        "subtotal": 1000, "discount": 0, "tax": 190, "tax:DE": 190, "total": 1190, "credit_applied": 0,
        "amount_due": 1190, "period_start": None, "period_end": None,
    }  # fmt: skip
    assert story.last("payment_succeeded") == {
        "invoice_id": FIRST, "cycle": 0, "attempt": 1, "amount": 1190, "currency": "EUR", "method_id": "visa",
        "gateway": "sandbox", "gateway_id": "gw_1", "recovered": False,
    }  # fmt: skip
    assert story.last("order_paid") == {"amount": 1190, "currency": "EUR", "invoice_id": FIRST}
    assert story.balances == {"receivable": 0, "revenue": -1000, "tax:DE": -190, "cash:sandbox": 1190}


def test_what_is_collected_knows_its_invoice() -> None:
    story = OrderStory(item(1000), tax=GERMANY).does(Place())
    collecting = collecting_of(story.state)
    assert (collecting.invoice_id, collecting.cycle, collecting.reason) == (FIRST, 0, InvoiceReason.ORDER)
    assert (collecting.sequence, collecting.pays_for_period, collecting.amount_due) == (1, 0, 1190)
    assert (collecting.issued_at, collecting.phase, collecting.trigger) == (NOW, Phase.EXHAUSTED, "order")
    assert (collecting.total, collecting.taxes) == (1190, (TaxShare("DE", 190),))
    with pytest.raises(Broken):
        collecting_of(OrderStory().state)


def test_a_placed_order_waits_and_is_paid_by_a_link_later() -> None:
    story = OrderStory(plan()).does(Place(), actor="bea", reason="pays by link")
    placed = story.entry("order_placed")
    assert (placed.actor, placed.reason, placed.data) == ("bea", "pays by link", {})
    assert (story.state.status, story.state.placed_at, story.bank.keys) == (OrderStatus.OPEN, NOW, [])
    assert may(story) == ("set_lines", "pay", "cancel_order")
    assert story.refused(Place()).code == "already_placed"
    story.until("2026-03-10 12:00").does(Pay(trigger="link"), actor="customer")
    assert story.told("invoice_issued", "order_paid", "subscription_started") == [
        "2026-03-02 10:00 invoice_issued 1: 1000",
        "2026-03-10 12:00 order_paid 1000",
        "2026-03-10 12:00 subscription_started 1",
    ]
    assert story.bank.triggers == ["link"]
    (start,) = story.starts.values()
    assert start.start_at == story.now, "it starts when it is paid"
    assert story.state.placed_at == NOW


def test_the_first_try_is_made_with_the_method_and_for_the_reason_that_were_said() -> None:
    bank = Bank(["soft", "paid"], methods=("visa", "master"))
    story = OrderStory(bank=bank).does(Pay("master", trigger="basket"))
    assert story.told("payment_declined") == [
        "2026-03-02 10:00 payment_declined 1500 from master: insufficient_funds"
    ], "the one that was named, and no other in its place"
    assert (bank.triggers, story.state.status) == (["basket"], OrderStatus.OPEN)
    assert story.last("invoice_issued")["trigger"] == "basket"


def test_a_later_start_and_a_free_trial_are_not_due_and_begin_all_the_same() -> None:
    later = NOW + timedelta(days=10)
    story = OrderStory(plan(price(900), start_at=later), plan(price(800, trial_days=14)))
    assert (story.state.dues, story.state.total) == ((), 0)
    story.does(Pay())
    assert story.told("invoice_issued", "order_paid") == ["2026-03-02 10:00 order_paid 0"]
    assert story.last("order_paid") == {"amount": 0, "currency": "EUR", "invoice_id": None}
    first, second = story.starts.values()
    assert (first.start_at, first.prepaid) == (later, None)
    assert (second.start_at, second.prepaid) == (NOW, None)
    assert story.bank.keys == []
    assert story.state.paid_at == story.state.placed_at == NOW


def test_a_start_that_has_passed_when_it_is_paid_is_then() -> None:
    story = OrderStory(item(), plan(start_at=NOW + timedelta(days=2))).does(Place()).until("2026-03-09 10:00")
    (start,) = story.does(Pay()).starts.values()
    assert (start.start_at, start.prepaid) == (story.now, None)


def test_what_costs_nothing_has_an_invoice_and_no_charge() -> None:
    story = OrderStory(item(0), plan(price(0))).does(Place())
    assert story.kinds[1:] == [
        "order_placed",
        "invoice_issued",
        "invoice_settled",
        "order_paid",
        "subscription_started",
    ]
    assert story.last("invoice_settled") == {"invoice_id": FIRST, "cycle": 0, "amount": 0, "currency": "EUR"}
    assert (story.state.invoice_id, story.state.invoices, story.state.collecting) == (FIRST, 1, None)
    (start,) = story.starts.values()
    assert start.prepaid == Prepaid(FIRST, 0)
    assert story.bank.keys == []


def test_a_paid_trial_is_prepaid_and_caps_no_credit() -> None:
    story = OrderStory(plan(price(1900, trial_days=14, trial_amount=100)), tax=GERMANY).does(Pay())
    assert story.told("order_paid") == ["2026-03-02 10:00 order_paid 119"]
    (start,) = story.starts.values()
    assert start.prepaid is not None
    assert (start.prepaid.invoice_id, start.prepaid.amount) == (FIRST, 0)
    assert start.prepaid.treatment is not None
    assert (start.prepaid.treatment.place, start.prepaid.treatment.rate) == ("DE", 19_000)
    assert start.tax == GERMANY


def test_a_subscription_begins_only_of_its_own_line_and_only_once_it_is_paid() -> None:
    draft = OrderStory(plan(), item()).state
    with pytest.raises(Broken):
        start_of(draft, 1)
    with pytest.raises(Broken):
        start_of(replace(draft, paid_at=NOW), 2)


def test_lines_start_one_after_the_other() -> None:
    story = OrderStory(plan(), item(), plan())
    state = replace(story.state, status=OrderStatus.PAID, placed_at=NOW, paid_at=NOW)
    assert next_step(state, NOW) == StartLine(1)
    state = apply(state, Started(1, "sub_a"), NOW)
    assert (state.started, next_step(state, NOW)) == ((1,), StartLine(3))
    state = apply(state, Started(3, "sub_b"), NOW)
    assert state.started == (1, 3)
    assert next_step(state, NOW) == Record()
    state = apply(state, Recorded(state.seq), NOW)
    assert next_step(state, NOW) == Wait(NOW + timedelta(days=400), "paid; it may be cancelled until then")


def test_what_is_in_the_books_leaves_the_journal_and_what_came_since_stays() -> None:
    state = OrderStory().state
    for kind in ("a", "b", "c"):
        state = state.note(NOW, kind)
    assert [entry.kind for entry in apply(state, Recorded(state.seq - 1), NOW).journal] == ["c"]


def test_a_paid_order_is_closed_after_400_days() -> None:
    story = OrderStory().does(Pay())
    assert story.due == "2027-04-06 11:00"
    assert not story.until("2027-04-06 10:59").is_closed
    assert story.until("2027-04-06 11:00").is_closed
    assert story.state.status is OrderStatus.PAID


# ---------------------------------------------------------------- declined, lost, down, asked


def test_a_decline_leaves_it_open_for_another_method() -> None:
    bank = Bank(["hard", "soft", "paid"], methods=())
    story = OrderStory(plan(), bank=bank).does(Pay("visa"))
    assert (story.state.status, story.due) == (OrderStatus.OPEN, "2026-04-01 11:00")
    assert story.last("payment_declined") == {
        "invoice_id": FIRST, "cycle": 0, "attempt": 1, "amount": 1000, "currency": "EUR", "method_id": "visa",
        "gateway": "sandbox", "code": "stolen_card", "decline": "hard", "another": False,
    }  # fmt: skip
    collecting = collecting_of(story.state)
    assert (collecting.phase, collecting.attempt, collecting.refused) == (Phase.EXHAUSTED, 2, ("visa",))
    refused = story.refused(Pay("visa"))
    assert refused.code == "method_refused"
    story.does(Pay("master"))
    assert collecting_of(story.state).refused == ("visa",), "a soft decline refuses nothing for good"
    assert collecting_of(story.state).tried == ("master",)
    story.does(Pay("master", trigger="link"))
    assert story.told("payment_declined", "order_paid", "invoice_issued") == [
        "2026-03-02 10:00 invoice_issued 1: 1000",
        "2026-03-02 10:00 payment_declined 1000 from visa: stolen_card",
        "2026-03-02 10:00 payment_declined 1000 from master: insufficient_funds",
        "2026-03-02 10:00 order_paid 1000",
    ]
    assert [key[1:] for key in bank.keys] == [(1, "visa"), (2, "master"), (3, "master")], "each try has its number"
    assert bank.triggers == ["order", "order", "link"]


def test_by_the_customers_order_of_use_the_next_method_follows_a_decline() -> None:
    bank = Bank(["soft", "hard", "paid"], methods=("visa", "master", "amex"))
    story = OrderStory(bank=bank).does(Pay())
    assert [key[1:] for key in bank.keys] == [(1, "visa"), (2, "master"), (3, "amex")]
    assert bank.triggers == ["order", "backup_method", "backup_method"]
    assert story.told("order_paid") == ["2026-03-02 10:00 order_paid 1500"]


def test_a_new_try_forgets_which_methods_had_no_money_and_not_which_were_refused() -> None:
    bank = Bank(["soft", "hard", "soft"], methods=("visa", "master"))
    story = OrderStory(bank=bank).does(Pay())
    assert story.state.status is OrderStatus.OPEN
    story.does(Pay())
    assert [method for _, _, method in bank.keys] == ["visa", "master", "visa"]
    assert collecting_of(story.state).manual
    assert story.state.status is OrderStatus.OPEN


def test_without_a_method_it_stays_open() -> None:
    story = OrderStory(bank=Bank(methods=())).does(Pay())
    assert story.last("no_payment_method") == {"invoice_id": FIRST, "attempt": 1}
    assert (story.state.status, collecting_of(story.state).attempt) == (OrderStatus.OPEN, 2)
    assert story.does(Pay("visa")).state.status is OrderStatus.PAID


def test_a_lost_answer_is_asked_for_and_nothing_else_is_tried_before() -> None:
    bank = Bank(["lost", "lost", "lost", "lost", "paid"])
    story = OrderStory(bank=bank).does(Pay())
    assert (story.state.status, story.due) == (OrderStatus.PAYING, "2026-03-02 10:00")
    assert (may(story), attention(story.state)) == ((), None)
    assert story.refused(Pay("master")).code == "payment_under_way"
    assert story.refused(CancelOrder()).code == "outcome_open"
    assert story.refused(SetLines(lines(item()))).code == "payment_under_way"
    assert story.refused(Place()).code == "payment_under_way"
    story.until("2026-03-02 10:13")
    assert attention(story.state) == "the outcome of the charge is still unknown"
    story.until("2026-03-02 11:13")
    assert story.told("outcome_unknown", "order_paid") == [
        "2026-03-02 10:00 outcome_unknown",
        "2026-03-02 11:12 order_paid 1500",
    ]
    assert bank.keys == [(FIRST, 1, "visa")], "it was sent once"
    assert attention(story.state) is None


def test_an_outage_is_waited_out_with_the_same_attempt() -> None:
    bank = Bank(["down"] * 5 + ["paid"])
    story = OrderStory(bank=bank).does(Pay()).until("2026-03-02 11:20")
    assert (story.state.status, may(story)) == (OrderStatus.PAYING, ("cancel_order",))
    assert attention(story.state) is None
    assert story.refused(Pay()).code == "payment_under_way"
    story.until("2026-03-02 12:21")
    assert story.told("gateway_down", "order_paid") == [
        "2026-03-02 10:00 gateway_down",
        "2026-03-02 12:21 order_paid 1500",
    ]
    assert {key[1] for key in bank.keys} == {1}


def test_a_long_outage_wants_a_person_and_may_be_cancelled() -> None:
    story = OrderStory(bank=Bank(["down"])).does(Pay()).until("2026-03-02 14:00")
    assert attention(story.state) == "the gateway has been down for long"
    story.does(CancelOrder())
    assert story.told("invoice_voided", "order_canceled") == [
        "2026-03-02 14:00 invoice_voided 1500",
        "2026-03-02 14:00 order_canceled",
    ]
    calls = story.bank.calls
    story.until("2026-03-20 00:00")
    assert story.bank.calls == calls, "nothing is charged once it is cancelled"


def test_what_never_arrived_is_sent_again_under_its_number() -> None:
    bank = Bank(["lost", "never", "paid"])
    story = OrderStory(bank=bank).does(Pay()).until("2026-03-02 10:05")
    assert story.told("order_paid") == ["2026-03-02 10:01 order_paid 1500"]
    assert [key[1] for key in bank.keys] == [1, 1]


def test_the_customer_confirms_with_the_bank() -> None:
    story = OrderStory(bank=Bank(["action", "action", "paid"])).does(Pay())
    assert story.last("action_required")["url"] == "https://bank.example/confirm"
    assert (story.state.status, may(story)) == (OrderStatus.PAYING, ())
    assert story.refused(CancelOrder()).code == "outcome_open"
    assert story.until("2026-03-02 10:05").state.status is OrderStatus.PAID


def test_nobody_confirms_and_the_order_is_open_again_after_a_day() -> None:
    story = OrderStory(bank=Bank(["action"])).does(Pay()).until("2026-03-03 10:00")
    assert story.told("payment_declined") == [
        "2026-03-03 10:00 payment_declined 1500 from visa: authentication_expired"
    ]
    assert story.state.status is OrderStatus.OPEN


def test_an_outcome_of_another_attempt_changes_nothing() -> None:
    story = OrderStory(bank=Bank(["soft"])).does(Pay())
    assert apply(story.state, Charged(1, 1500, "visa"), story.now) == story.state
    assert (
        apply(story.state, Declined(3, "visa", "x", DeclineKind.SOFT, False, DEFAULT_DUNNING), story.now) == story.state
    )
    paid = OrderStory().does(Pay())
    assert apply(paid.state, Charged(1, 1500, "visa"), paid.now) == paid.state
    assert apply(paid.state, NoMethod(1, DEFAULT_DUNNING), paid.now) == paid.state


def test_an_order_is_tried_so_often_and_no_more() -> None:
    story = OrderStory(bank=Bank(["soft"])).does(Pay())
    for _ in range(ATTEMPTS_MAX - 1):
        story.does(Pay())
    assert story.bank.calls == ATTEMPTS_MAX == 25
    assert may(story) == ("set_lines", "cancel_order")
    refused = story.refused(Pay())
    assert (refused.code, "pay" in refused.allowed) == ("too_many_tries", False)
    assert str(ATTEMPTS_MAX) in refused.message


# ---------------------------------------------------------------- set aside


def test_what_is_set_aside_and_given_back_is_told_with_its_charge() -> None:
    state = OrderStory(item(1000)).does(Place()).state
    until = (NOW + timedelta(days=7)).isoformat()
    held = hold(state, collecting_of(state), Authorised(1, 1000, "visa", "sandbox", "gw_1"), NOW)
    assert (held.journal[-1].kind, held.journal[-1].data) == (
        "payment_authorised",
        {
            "invoice_id": FIRST, "cycle": 0, "attempt": 1, "amount": 1000, "currency": "EUR", "method_id": "visa",
            "gateway": "sandbox", "gateway_id": "gw_1", "until": until,
        },
    )  # fmt: skip
    assert (held.status, collecting_of(held).phase) == (OrderStatus.AUTHORISED, Phase.HELD)
    late = run_out(held, collecting_of(held), NOW)
    assert (late.journal[-1].kind, late.journal[-1].data) == (
        "authorisation_expired",
        {"invoice_id": FIRST, "until": until},
    )
    assert collecting_of(late).held_until == collecting_of(held).held_until, "it is known that it ran out"
    assert collecting_of(release(held, collecting_of(held))).held_until is None
    back = released(late, collecting_of(late), Released(1, 1000, "sandbox"), NOW)
    assert (back.journal[-1].kind, back.journal[-1].data) == (
        "authorisation_released",
        {"invoice_id": FIRST, "attempt": 1, "amount": 1000, "currency": "EUR", "gateway": "sandbox"},
    )
    assert (back.status, collecting_of(back).attempt) == (OrderStatus.OPEN, 2)


def test_a_cancellation_of_what_is_set_aside_gives_all_of_it_back_whatever_was_wished() -> None:
    state = OrderStory(item(1000)).does(Place()).state
    held = hold(state, collecting_of(state), Authorised(1, 1000, "visa", "sandbox", "gw_1"), NOW)
    wish = OrderEnvelope("cmd", CancelOrder(give_back=False, end_subscriptions=False), "bea", "no more")
    asked = handle(held, wish, NOW)
    entry = asked.journal[-1]
    assert (entry.kind, entry.actor, entry.reason, entry.data) == (
        "cancel_asked",
        "bea",
        "no more",
        {"give_back": True},
    )
    assert asked.ending == Ending("bea", "no more", give_back=True, end_subscriptions=True)
    assert asked.status is OrderStatus.RELEASING
    over = apply(asked, Released(1, 1000, "sandbox"), NOW)
    assert (over.status, over.ending, over.collecting, over.ended_at) == (OrderStatus.CANCELED, None, None, NOW)
    assert [(each.kind, each.actor, each.reason) for each in over.journal[-2:]] == [
        ("invoice_voided", "system", ""),
        ("order_canceled", "bea", "no more"),
    ]


@pytest.mark.parametrize(("command", "kind"), [(CaptureOrder(), "capture_asked"), (ReleaseOrder(), "release_asked")])
def test_who_asked_for_what_is_set_aside_is_told(command: CaptureOrder | ReleaseOrder, kind: str) -> None:
    state = OrderStory(item(1000)).does(Place()).state
    held = hold(state, collecting_of(state), Authorised(1, 1000, "visa", "sandbox", "gw_1"), NOW)
    entry = handle(held, OrderEnvelope("cmd", command, "bea", "it is packed"), NOW).journal[-1]
    assert (entry.kind, entry.actor, entry.reason, entry.data) == (kind, "bea", "it is packed", {})


# ---------------------------------------------------------------- edited


def test_an_edit_of_a_draft_makes_a_new_revision() -> None:
    story = OrderStory(item(1500), tax=GERMANY).does(SetLines(lines(item(1000), item(500))), actor="bea", reason="two")
    changed = story.entry("lines_changed")
    assert (changed.actor, changed.reason) == ("bea", "two")
    assert changed.data == {"lines": 2, "total": 1785, "currency": "EUR", "revision": 2}
    assert [line.unit_amount for line in story.state.lines] == [1000, 500]
    assert (story.state.status, story.state.total, len(story.state.dues)) == (OrderStatus.DRAFT, 1785, 2)
    assert story.told("invoice_voided") == []


def test_whoever_looked_at_another_revision_is_told() -> None:
    story = OrderStory().does(SetLines(lines(item(1000)), revision=1))
    refused = story.refused(SetLines(lines(item(9)), revision=1))
    assert refused.code == "changed_meanwhile"
    assert "revision 2, not 1" in refused.message
    assert story.state.total == 1000
    assert story.does(SetLines(lines(item(9)), revision=2)).state.revision == 3
    assert story.does(SetLines(lines(item(8)))).state.revision == 4, "without one, the last edit counts"


def test_an_edit_that_breaks_a_rule_changes_nothing() -> None:
    story = OrderStory(item(1500)).does(Place())
    before = story.state
    assert story.invalid(SetLines(())).field == "lines"
    assert story.invalid(SetLines(lines(item(), item(-1)))).field == "lines.1.unit_amount"
    assert story.invalid(SetLines(lines(plan(price(currency="USD"))))).code == "currency_mismatch"
    assert story.state == before


def test_an_edit_after_a_decline_voids_the_invoice_and_the_next_try_issues_another() -> None:
    bank = Bank(["hard", "paid"])
    story = OrderStory(item(1500), bank=bank, tax=GERMANY).does(Pay(), SetLines(lines(item(1000))))
    assert story.last("invoice_voided") == {
        "invoice_id": FIRST, "cycle": 0, "amount": 1785, "currency": "EUR", "tax": 285, "tax:DE": 285,
    }  # fmt: skip
    state = story.state
    assert (state.status, state.placed_at, state.invoice_id, state.collecting) == (OrderStatus.DRAFT, None, None, None)
    assert may(story) == ("set_lines", "place", "pay", "cancel_order")
    story.until("2026-03-03 10:00").does(Pay("visa", total=1190))
    assert story.told("invoice_issued", "invoice_voided", "order_paid") == [
        "2026-03-02 10:00 invoice_issued 1: 1785",
        "2026-03-02 10:00 invoice_voided 1785",
        "2026-03-03 10:00 invoice_issued 2: 1190",
        "2026-03-03 10:00 order_paid 1190",
    ]
    assert bank.keys == [(FIRST, 1, "visa"), (SECOND, 1, "visa")], "another invoice, another key"
    assert (story.state.invoice_id, story.state.placed_at) == (SECOND, story.now)
    assert story.balances["revenue"] == -1000


def test_a_void_without_tax_says_nothing_of_tax() -> None:
    story = OrderStory().does(Place(), CancelOrder())
    assert story.last("invoice_voided") == {"invoice_id": FIRST, "cycle": 0, "amount": 1500, "currency": "EUR"}


def test_an_edit_keeps_the_coupon_of_a_subscription_that_stays_in_its_place() -> None:
    code = Discount("red_1", "Spring", DiscountSource.COUPON, NOW, rate=50_000, coupon_id="cpn")
    own = Discount("dis_1", "Regular", DiscountSource.CUSTOMER, NOW, amount=100)
    story = OrderStory(plan(discounts=(code, own)))
    assert story.state.total == 400
    story.does(SetLines(lines(plan(), item(200))))
    assert [one.id for one in story.state.lines[0].discounts] == ["red_1"], "what the customer has is given anew"
    assert story.state.total == 700
    story.does(SetLines(lines(plan(price(product_id="other")), item(200))))
    assert story.state.lines[0].discounts == ()
    (start,) = OrderStory(plan(discounts=(code, own))).does(Pay()).starts.values()
    assert start.discounts == (code, own)
    assert start.prepaid == Prepaid(FIRST, 400)


def test_who_pays_is_charged_what_they_were_shown_or_nothing() -> None:
    story = OrderStory(item(1500))
    story.does(SetLines(lines(item(1600))))
    refused = story.refused(Pay(total=1500))
    assert refused.code == "price_changed"
    assert "pay" in refused.allowed
    assert story.bank.keys == []
    assert story.does(Pay(total=1600)).state.status is OrderStatus.PAID


def test_a_command_that_comes_twice_is_taken_once() -> None:
    story = OrderStory(bank=Bank(["soft"])).does(Pay(), key="press")
    before = story.state
    story.does(Pay(), key="press")
    assert (story.state, story.bank.calls) == (before, 1)
    story.does(CancelOrder(), key="req_1")
    assert story.state == before, "the request that opened it is known, too"


def test_it_remembers_the_last_commands() -> None:
    story = OrderStory()
    for number in range(RECENT_COMMANDS_MAX + 1):
        story.does(SetLines(lines(item(number))), key=f"edit_{number}")
    assert story.state.recent_commands == tuple(f"edit_{number}" for number in range(1, RECENT_COMMANDS_MAX + 1))


def test_a_reason_is_kept_up_to_its_length() -> None:
    story = OrderStory().does(CancelOrder(), reason="x" * 600)
    assert story.entry("order_canceled").reason == "x" * ENTRY_REASON_LENGTH_MAX


# ---------------------------------------------------------------- under another customer


def test_an_order_follows_its_customer_at_any_time_and_stays_as_it_was_promised() -> None:
    story = OrderStory(plan(), bank=Bank(["lost", "lost", "paid"])).does(Pay())
    story.does(SetBuyer("cus_2", 5, GERMANY), actor="lena", reason="merged")
    entry = story.entry("customer_set")
    assert (entry.actor, entry.reason, entry.data) == ("lena", "merged", {"before": "cus_1", "after": "cus_2"})
    assert (story.state.customer_id, story.state.notice_days, story.state.tax) == ("cus_2", 5, GERMANY)
    assert story.state.total == 1000
    before = story.state.seq
    story.does(SetBuyer("cus_2", 9))
    assert (story.state.seq, story.state.notice_days) == (before, 5)
    story.until("2026-03-02 11:00")
    (start,) = story.starts.values()
    assert (start.customer_id, start.notice_days, start.tax) == ("cus_2", 5, GERMANY)
    story.does(SetBuyer("cus_3", 0))
    assert story.state.customer_id == "cus_3", "a paid one, too"


# ---------------------------------------------------------------- cancelled and lapsed


def test_a_draft_is_cancelled_and_closed_after_30_days() -> None:
    story = OrderStory().does(CancelOrder(), actor="bea", reason="changed her mind")
    canceled = story.entry("order_canceled")
    assert (canceled.actor, canceled.reason, canceled.data) == ("bea", "changed her mind", {})
    assert (story.state.status, story.state.ended_at) == (OrderStatus.CANCELED, NOW)
    assert story.told("invoice_voided") == []
    assert (may(story), story.due) == ((), "2026-04-01 11:00")
    for command in (Pay(), Place(), SetLines(lines(item())), CancelOrder()):
        assert story.refused(command).code == "order_canceled"
    assert story.until("2026-04-01 11:00").is_closed


def test_an_order_says_what_it_waits_for() -> None:
    assert next_step(OrderStory().state, NOW) == Wait(NOW + timedelta(days=30), "not paid yet; it lapses then")
    down = OrderStory(bank=Bank(["down"])).does(Pay()).state
    assert next_step(down, NOW) == Wait(
        NOW + timedelta(minutes=1), "the gateway is asked, or the charge is tried again"
    )
    step = next_step(OrderStory().does(CancelOrder()).state, NOW)
    assert step == Wait(NOW + timedelta(days=30), "canceled; it is closed then")


def test_nobody_pays_for_30_days_and_it_lapses() -> None:
    draft = OrderStory()
    assert draft.due == "2026-04-01 11:00", "30 times 24 hours; the clocks went forward"
    draft.until("2026-04-01 10:59")
    assert draft.state.status is OrderStatus.DRAFT
    draft.until("2026-04-01 11:00")
    assert draft.kinds == ["order_created", "order_lapsed"]
    assert (draft.state.status, draft.state.ended_at) == (OrderStatus.LAPSED, draft.now)
    assert (may(draft), draft.due) == ((), "2026-05-01 11:00")
    assert draft.refused(Pay()).code == "order_lapsed"
    assert draft.refused(CancelOrder()).code == "order_lapsed"
    assert draft.until("2026-05-01 11:00").is_closed


def test_a_placed_one_lapses_30_days_after_it_was_placed_and_its_invoice_is_void() -> None:
    story = OrderStory(item(1500), tax=GERMANY).until("2026-03-20 10:00").does(Place())
    assert story.due == "2026-04-19 11:00"
    story.until("2026-04-19 11:00")
    assert story.told("invoice_voided", "order_lapsed") == [
        "2026-04-19 11:00 invoice_voided 1785",
        "2026-04-19 11:00 order_lapsed",
    ]
    assert story.last("invoice_voided")["tax:DE"] == 285
    assert not any(story.balances.values())


def test_an_edit_begins_the_30_days_anew() -> None:
    story = OrderStory().until("2026-03-30 10:00").does(Place()).until("2026-04-10 10:00")
    story.does(SetLines(lines(item(700))))
    assert (story.state.status, story.due) == (OrderStatus.DRAFT, "2026-05-10 10:00"), "made 39 days ago, and alive"
    story.until("2026-05-10 09:59")
    assert story.state.status is OrderStatus.DRAFT
    story.does(Place()).until("2026-05-20 10:00")
    assert (story.state.status, story.due) == (OrderStatus.OPEN, "2026-06-09 09:59")


def test_an_order_that_is_being_paid_does_not_lapse() -> None:
    story = OrderStory(bank=Bank(["down"])).until("2026-04-01 10:00").does(Pay()).until("2026-05-20 10:00")
    assert story.state.status is OrderStatus.PAYING
    story.bank.says("soft")
    story.until("2026-05-20 12:00")
    assert story.state.status is OrderStatus.LAPSED, "its time was over meanwhile"
