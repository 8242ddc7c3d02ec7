"""The timeline in plain words, and where a subscription stands."""

import re
from dataclasses import replace
from pathlib import Path
from typing import get_args, get_type_hints

import pytest

from domain.explain import SENTENCES, WHATS, attention, next_in_words, sentence
from domain.facts import TimePassed
from domain.lifecycle import CANCELED_KEPT, apply, begin
from domain.messages import (
    Cancel,
    ChangeDate,
    ChangeTerms,
    ChargeNow,
    CollectNow,
    EndTrial,
    ExtendTrial,
    ForceBill,
    GrantCredit,
    Pause,
    PlaceHold,
    ReleaseHold,
    Restart,
    Resume,
    SetNotice,
    Skip,
    Start,
    UndoCancel,
    When,
)
from domain.state import EntryData
from domain.terms import DEFAULT_DUNNING, CatchUp, EndAction, Retry, Trigger
from tests.domain.stories import Bank, Story, at, price

DOMAIN = Path(__file__).parents[2] / "domain"


def test_amounts_are_money_in_words() -> None:
    data: EntryData = {"amount": 1999, "currency": "EUR", "gateway": "sandbox", "attempt": 2}
    assert sentence("payment_succeeded", data) == "Paid 19.99 EUR by sandbox (attempt 2)."
    assert sentence("credit_granted", {"amount": 5, "currency": "JPY", "source": "agent", "balance": 12}) == (
        "Credit of 5 JPY granted by an agent; balance 12 JPY."
    )


def test_a_number_that_is_no_money_stays_a_number() -> None:
    told: EntryData = {"total": 1000, "amount_due": 0, "cycle": 100, "reason": "cycle", "currency": "EUR"}
    assert sentence("invoice_issued", told) == "Invoice of 10.00 EUR issued for cycle 100; 0.00 EUR due."
    assert sentence("invoice_written_off", {"amount": 7}) == "Invoice written off: 7."


def test_every_kind_that_is_written_has_its_sentence() -> None:
    """Reads the code: a kind without words would show up as an error on a screen."""
    written: set[str] = set()
    for path in DOMAIN.glob("*.py"):
        text = path.read_text("utf-8")
        if "_mutmut_" in text:
            pytest.skip("the code is being mutated and holds every variant at once")
        if not re.search(r"\b(Order)?State\b", text):
            continue  # it tells another story than a subscription's or an order's
        written |= set(re.findall(r'note\(\s*(?:state,\s*)?now,\s*"(\w+)"', text))
        written |= set(re.findall(r'Entry\([^"]*"(\w+)"', text))
    assert "invoice_issued" in written
    assert len(written) > 35
    assert written - {"payment_succeeded", "invoice_settled"} <= set(SENTENCES)
    assert set(SENTENCES) - {"payment_succeeded", "invoice_settled"} <= written


def test_what_is_next_in_words() -> None:
    story = Story(now="2026-01-15 10:00")
    assert next_in_words(story.state, story.now) == ("cycle 2 is due", at("2026-02-15 10:00"))
    story.does(Pause())
    assert next_in_words(story.state, story.now) == ("the pause begins", at("2026-02-15 10:00"))
    story.until("2026-02-16 00:00")
    assert next_in_words(story.state, story.now) == ("paused until resumed", None)
    story.does(PlaceHold("ops", at("2026-03-01 00:00")))
    assert next_in_words(story.state, story.now) == ("the hold expires", at("2026-03-01 00:00"))
    waiting = Story(now="2026-01-15 10:00", trigger=Trigger.EXTERNAL)
    assert next_in_words(waiting.state, waiting.now) == ("cycle 1 waits for a billing run", None)


def test_what_is_next_on_the_way() -> None:
    now = at("2026-01-15 10:00")
    state = begin(Start("sub_1", "cus_1", "Europe/Berlin", price(), "agent"), now)
    assert next_in_words(state, now) == ("the subscription starts", now)
    state = apply(state, TimePassed("start"), now)
    assert next_in_words(state, now) == ("the cycle is billed", now)
    state = apply(state, TimePassed("open_cycle"), now)
    assert next_in_words(state, now) == ("the charge is tried", now)
    lost = Story(now="2026-01-15 10:00", bank=Bank(["lost"]))
    assert next_in_words(lost.state, at("2026-01-15 10:30")) == (
        "the gateway is asked about the last charge",
        at("2026-01-15 10:30"),
    )
    ended = Story(now="2026-01-15 10:00")
    ended.order(Cancel(When.NOW))
    assert next_in_words(ended.state, ended.now) == ("the timeline is written", ended.now)
    ended.settle()
    assert next_in_words(ended.state, ended.now)[0] == "cancelled; may be restarted until then"
    over = ended.now + CANCELED_KEPT
    assert next_in_words(ended.state, over) == ("the subscription is closed for good", over)


def test_the_words_of_each_wait() -> None:
    story = Story(price(trial_days=7), now="2026-01-15 10:00", start_at=at("2026-01-20 10:00"), notice_days=2)
    assert next_in_words(story.state, story.now)[0] == "the subscription starts"
    story.until("2026-01-21 00:00")
    assert next_in_words(story.state, story.now)[0] == "the customer is told of the next renewal"
    story.bank.says("soft")
    story.until("2026-01-27 12:00")
    assert next_in_words(story.state, story.now)[0] == "dunning retry 1 of 4"
    story.until("2026-02-01 00:00")
    assert next_in_words(story.state, story.now)[0] == "the days of grace end"
    planned = Story(now="2026-01-15 10:00").does(Cancel())
    assert next_in_words(planned.state, planned.now)[0] == "the cancellation takes effect"
    paused = Story(now="2026-01-15 10:00").does(Pause(When.NOW, at("2026-02-01 00:00")))
    assert next_in_words(paused.state, paused.now)[0] == "the pause ends"
    parked = Story(now="2026-01-15 10:00", bank=Bank(["down"]))
    assert next_in_words(parked.state, parked.now)[0] == "the charge is tried"


def test_what_a_person_should_look_at() -> None:
    story = Story(now="2026-01-15 10:00", bank=Bank(["soft"]))
    assert attention(story.state) is None
    story = Story(now="2026-01-15 10:00", bank=Bank(["soft"]))
    story.bank.policy = replace(DEFAULT_DUNNING, end_action=EndAction.STAY_OVERDUE)
    overdue = Story(now="2026-01-15 10:00", bank=story.bank).until("2026-03-01 00:00")
    assert attention(overdue.state) == "overdue, and no retry is left"
    assert next_in_words(overdue.state, overdue.now) == (
        "overdue: no retry is left; a new card or a person goes on",
        None,
    )
    overdue.does(PlaceHold("ops", at("2026-03-05 00:00")))
    assert attention(overdue.state) == "on hold by ops"


def words(story: Story) -> list[str]:
    return [sentence(entry.kind, entry.data) for entry in story.timeline]


@pytest.mark.parametrize(
    ("kind", "data", "text"),
    [
        ("skip_planned", {"cycles": 3, "first": 4}, "Cycles 4 to 6 will be skipped."),
        (
            "cycles_not_billed",
            {"cycles": 2, "first": 9, "why": "access was stopped"},
            "Cycles 9 to 10 not billed: access was stopped.",
        ),
        ("notice_set", {"days": 0}, "No notices are sent before a renewal."),
        ("notice_set", {"days": 1}, "Notices are sent 1 day before a renewal."),
        (
            "dunning_exhausted",
            {"end_action": "cancel"},
            "Dunning used its last attempt: the subscription is cancelled.",
        ),
        ("dunning_exhausted", {"end_action": "pause"}, "Dunning used its last attempt: the subscription is paused."),
        ("collection_asked", {"trigger": "manual"}, "Collection asked for now: by hand."),
        ("collection_asked", {"trigger": "pay"}, "Collection asked for now: the invoice is to be paid."),
        ("collection_asked", {"trigger": "pay_link"}, "Collection asked for now: pay link."),
        (
            "invoice_issued",
            {"total": 5, "amount_due": 5, "reason": "change", "cycle": 2, "currency": "JPY"},
            "Invoice of 5 JPY issued for a change in cycle 2; 5 JPY due.",
        ),
        (
            "credit_granted",
            {"amount": 5, "balance": 9, "source": "unused", "currency": "JPY"},
            "Credit of 5 JPY granted for unused time; balance 9 JPY.",
        ),
    ],
)
def test_fields_read_as_english(kind: str, data: EntryData, text: str) -> None:
    assert sentence(kind, data) == text


def test_no_sentence_shows_a_field_as_a_program_would() -> None:
    bare = {kind for kind, text in SENTENCES.items() if "(s)" in text or re.search(r"\({\w+}\)", text)}
    assert bare == {"payment_declined"}, "soft and hard are what declines are called everywhere"


def test_every_moment_of_the_plan_has_its_words() -> None:
    assert set(WHATS) == set(get_args(get_type_hints(TimePassed)["what"]))


def test_a_life_in_sentences() -> None:
    story = Story(price(trial_days=7, trial_amount=100), now="2026-01-15 10:00", notice_days=1)
    story.until("2026-01-16 10:00").does(ExtendTrial(1)).does(EndTrial()).until("2026-01-20 10:00")
    story.does(Skip(1)).does(Skip(0)).does(GrantCredit(50, "EUR")).does(ChangeTerms(price(400), When.PERIOD_END))
    story.does(ChargeNow(70, "EUR", "Cup")).does(Cancel()).does(UndoCancel()).does(ForceBill())
    assert words(story) == [
        "Created; starts 2026-01-15T09:00:00+00:00.",
        "Trial started; it ends 2026-01-22T09:00:00+00:00.",
        "Invoice of 1.00 EUR issued for the trial; 1.00 EUR due.",
        "Paid 1.00 EUR by sandbox (attempt 1).",
        "Access started.",
        "Trial moved; it ends 2026-01-23T09:00:00+00:00.",
        "Trial ended early.",
        "Trial ended.",
        "Invoice of 10.00 EUR issued for cycle 1; 10.00 EUR due.",
        "Paid 10.00 EUR by sandbox (attempt 1).",
        "Cycle 2 will be skipped.",
        "Planned skips taken back.",
        "Credit of 0.50 EUR granted by an agent; balance 0.50 EUR.",
        "New terms planned for cycle 2: price_400.",
        "Charge of 0.70 EUR asked for: Cup.",
        "Invoice of 0.70 EUR issued for a charge by hand; 0.70 EUR due.",
        "Paid 0.70 EUR by sandbox (attempt 1).",
        "Will be cancelled at 2026-02-16T09:00:00+00:00.",
        "Cancellation taken back.",
        "Cycle 2 billed by force.",
        "New terms: price_400.",
        "Invoice of 4.00 EUR issued for cycle 2; 3.50 EUR due.",
        "Paid 3.50 EUR by sandbox (attempt 1).",
    ]


def test_trouble_in_sentences() -> None:
    policy = replace(DEFAULT_DUNNING, retries=(Retry(1, 9),), grace_days=1, end_action=EndAction.STAY_OVERDUE)
    story = Story(now="2026-01-15 10:00", bank=Bank(["paid"], policy=policy))
    story.bank.says("down", "lost", "action", "soft", "hard")
    story.until("2026-04-20 10:00")
    story.bank.says("paid")
    story.does(CollectNow("master", "card_update"))
    assert words(story)[6:] == [
        "The gateway sandbox is down; the charge is parked.",
        "The answer of sandbox was lost; it is asked what became of attempt 1.",
        "The customer must confirm the payment by 2026-02-16T09:01:30+00:00.",
        "Payment of 10.00 EUR declined: insufficient_funds (soft), attempt 1.",
        "Dunning started by policy default.",
        "Access goes on until 2026-02-16T09:02:00+00:00 although the payment failed.",
        "Retry 1 of 1 planned for 2026-02-16T08:00:00+00:00.",
        "Payment of 10.00 EUR declined: stolen_card (hard), attempt 2.",
        "Dunning used its last attempt: the subscription stays overdue.",
        "Access stopped.",
        "Collection asked for now: there is a new card.",
        "Paid 10.00 EUR by sandbox (attempt 3).",
        "Access started.",
        "Dunning ended: the invoice is paid.",
        "Cycle 3 not billed: access was stopped.",
        "Invoice of 10.00 EUR issued for cycle 4; 10.00 EUR due.",
        "Paid 10.00 EUR by sandbox (attempt 1).",
    ]


def test_stops_and_ends_in_sentences() -> None:
    story = Story(price(catch_up=CatchUp.SKIP), now="2026-01-15 10:00")
    story.does(PlaceHold("ops", at("2026-02-20 10:00"))).does(ReleaseHold()).does(
        PlaceHold("ops", at("2026-02-20 10:00"))
    )
    story.until("2026-02-21 00:00").does(SetNotice(2)).does(Pause()).does(Resume()).does(Pause(When.NOW)).does(Resume())
    story.does(ChangeDate(at("2026-03-01 10:00"))).does(Skip(1)).until("2026-03-02 00:00")
    story.does(Cancel(When.NOW)).does(Restart())
    assert words(story)[5:] == [
        "Put on hold by ops until 2026-02-20T09:00:00+00:00.",
        "Hold released.",
        "Put on hold by ops until 2026-02-20T09:00:00+00:00.",
        "Hold expired.",
        "Cycle 2 not billed: the catch-up policy leaves out what is so late.",
        "Notices are sent 2 days before a renewal.",
        "Pause asked for, to begin when the period ends.",
        "Planned pause taken back.",
        "Pause asked for, to begin at once.",
        "Paused.",
        "Resumed; a new period starts.",
        "Invoice of 10.00 EUR issued for cycle 3; 10.00 EUR due.",
        "Paid 10.00 EUR by sandbox (attempt 1).",
        "Next billing date moved from 2026-03-20T23:00:00+00:00 to 2026-03-01T09:00:00+00:00.",
        "Cycle 4 will be skipped.",
        "Cycle 4 skipped.",
        "Cancelled.",
        "Restarted; a new period starts.",
        "Invoice of 10.00 EUR issued for cycle 5; 10.00 EUR due.",
        "Paid 10.00 EUR by sandbox (attempt 1).",
        "Access started.",
    ]


def test_what_each_kind_of_entry_tells() -> None:
    """Programs read these fields: their names are a promise."""
    fields: dict[str, set[str]] = {}
    bank = Bank(["paid", "down", "lost", "action", "soft", "hard", "paid", "soft"], ("visa", "master"))
    story = Story(now="2026-01-15 10:00", bank=bank, notice_days=1).does(ChargeNow(70, "EUR", "Cup"))
    story.until("2026-05-20 10:00")
    for entry in story.timeline:
        fields.setdefault(entry.kind, set()).update(entry.data)
        missing = {name for name, value in entry.data.items() if value is None}
        assert missing <= {
            "invoice_issued": {"period_start", "period_end", "run_id"},
            "retry_planned": {"grace_until"},
        }.get(entry.kind, set()), entry
    told = {kind: " ".join(sorted(names)) for kind, names in fields.items()}
    money = "amount currency cycle invoice_id"
    paid = "amount attempt currency cycle gateway gateway_id invoice_id method_id recovered"
    assert told["payment_succeeded"] == paid
    assert told["payment_declined"] == (
        "amount another attempt code currency cycle decline gateway invoice_id method_id"
    )
    assert told["invoice_voided"] == money
    assert told["outcome_unknown"] == "attempt gateway invoice_id"
    assert told["action_required"] == "attempt deadline invoice_id method_id url"
    assert told["gateway_down"] == "gateway invoice_id"
    assert told["dunning_started"] == "invoice_id policy"
    assert told["dunning_exhausted"] == "end_action invoice_id"
    assert told["invoice_written_off"] == money
    assert told["renewal_notice"] == "amount currency cycle due_at"
