"""What was paid and went back is not given a second time: as credit of a cancellation, a pause or a change."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.messages import Cancel, ChangeTerms, ForceBill, Pause, RefundChoice, When
from domain.paid_back import PaidBack, paid_back
from domain.state import InvoiceReason
from tests.domain.stories import Story, price

END = Cancel(When.NOW, RefundChoice.CREDIT)


def april() -> Story:
    """April, 10.00 EUR, paid on the 1st; it is the 16th: 14 of 30 days are left after today, 15 with it."""
    return Story(now="2026-04-01 10:00").until("2026-04-16 18:00")


def back(
    story: Story, amount: int, *, cycle: int = 1, reason: InvoiceReason = InvoiceReason.CYCLE, note: str = "cn_1"
) -> Story:
    story.state = paid_back(story.state, PaidBack(note, cycle, reason, amount))
    return story


@pytest.mark.parametrize(("returned", "credit"), [(0, 467), (500, 467), (600, 400), (1000, 0), (2400, 0)])
def test_a_cancellation_credits_no_more_than_what_was_kept(returned: int, credit: int) -> None:
    story = april()
    if returned:
        back(story, returned)
    story.does(END)
    assert story.state.credit == credit


def test_a_pause_at_once_and_a_change_count_it_too() -> None:
    assert back(april(), 1000).does(Pause(When.NOW)).state.credit == 0
    story = back(april(), 1000).does(ChangeTerms(price(3000)))
    assert [line.amount for line in story.entries("invoice_issued")[-1].lines] == [1500], "nothing unused was paid"


def test_the_same_note_told_twice_counts_once_and_two_notes_add_up() -> None:
    story = back(back(april(), 600), 600)
    assert story.state.paid_for_period == 400
    assert back(story, 300, note="cn_2").state.paid_for_period == 100


def test_what_did_not_pay_for_the_period_changes_nothing() -> None:
    story = april().until("2026-05-02 10:00")
    for cycle, reason in [(1, InvoiceReason.CYCLE), (2, InvoiceReason.ONE_OFF), (0, InvoiceReason.TRIAL)]:
        back(story, 1000, cycle=cycle, reason=reason, note=f"cn_{cycle}{reason}")
    assert story.state.paid_for_period == 1000


def test_a_period_billed_ahead_and_the_one_that_runs_are_told_apart() -> None:
    ahead = april().does(ForceBill())
    assert back(ahead, 1000, cycle=2).does(END).state.credit == 467, "of May nothing was kept"
    ahead = april().does(ForceBill())
    assert back(ahead, 1000, cycle=1).does(END).state.credit == 1000, "of April nothing was kept"


def test_the_invoice_of_a_change_paid_for_both_periods() -> None:
    """Raised to 30.00 with May billed ahead: 10.00 more for the rest of April, 20.00 for May."""
    story = april().does(ForceBill()).does(ChangeTerms(price(3000)))
    running = story.state.running
    assert running is not None
    assert (running.paid, story.state.paid_for_period) == (2000, 3000)
    back(story, 3000, cycle=2, reason=InvoiceReason.CHANGE)
    assert (story.state.running, story.state.paid_for_period) == (running, 0)
    story = back(april().does(ForceBill()).does(ChangeTerms(price(3000))), 3500, cycle=2, reason=InvoiceReason.CHANGE)
    running = story.state.running
    assert running is not None
    assert (running.paid, story.state.paid_for_period) == (1500, 0)


@given(st.lists(st.integers(1, 1500), max_size=6))
def test_what_went_back_and_the_credit_are_never_more_than_what_was_paid(amounts: list[int]) -> None:
    story, left = april(), 1000
    for number, wanted in enumerate(amounts):
        amount = min(wanted, left)
        if amount:
            back(story, amount, note=f"cn_{number}")
            left -= amount
    story.does(END)
    assert story.state.credit <= left
