"""After a forced bill two paid periods are there, one that runs and one ahead: both are given back, and both change."""

from datetime import timedelta

from hypothesis import given
from hypothesis import strategies as st

from domain.calendar import Period
from domain.messages import Cancel, ChangeDate, ChangeTerms, ForceBill, Pause, RefundChoice, Resume, When
from domain.money import Money
from domain.proration import Basis, unused_fraction
from domain.state import Billed, Status
from tests.domain.stories import BERLIN, YEAR, Bank, Story, at, price

END = Cancel(When.NOW, RefundChoice.CREDIT)
APRIL = Period(at("2026-04-01 10:00"), at("2026-05-01 10:00"))


def ahead(answers: tuple[str, ...] = ("paid",)) -> Story:
    """April, 10.00 EUR, paid on the 1st; May forced on the 16th."""
    story = Story(now="2026-04-01 10:00").until("2026-04-16 18:00")
    story.bank.says(*answers)
    return story.does(ForceBill())


def lines(story: Story) -> list[tuple[str, int]]:
    """Of the invoice issued last."""
    return [(line.kind.value, line.amount) for line in story.entries("invoice_issued")[-1].lines]


# --- giving back


def test_both_periods_are_given_back_while_the_first_still_runs() -> None:
    story = ahead().until("2026-04-20 12:00").does(END)
    assert story.last("credit_granted")["amount"] == 333 + 1000  # 21 to 30 April, and all of May
    assert story.state.running is None


def test_once_the_period_ahead_runs_it_alone_is_given_back() -> None:
    story = ahead().until("2026-05-03 12:00").does(END)
    assert story.last("credit_granted")["amount"] == 903  # 4 to 31 May


def test_what_was_billed_ahead_and_not_paid_is_not_given_back() -> None:
    story = ahead(("soft",)).until("2026-04-20 12:00").does(END)
    assert story.last("credit_granted")["amount"] == 333
    assert story.last("invoice_written_off")["amount"] == 1000


def test_the_running_period_is_worth_what_it_cost_by_its_own_terms() -> None:
    """A smaller price waits for May; May is forced by it, April was paid by the old one."""
    story = Story(now="2026-04-01 10:00").does(ChangeTerms(price(400))).until("2026-04-16 18:00").does(ForceBill())
    story.until("2026-04-20 12:00").does(END)
    assert story.last("credit_granted")["amount"] == 333 + 400


def test_a_pause_gives_both_back_once() -> None:
    story = ahead().until("2026-04-20 12:00").does(Pause(When.NOW))
    assert story.state.credit == 1333
    story.does(Resume())
    assert story.told("invoice_issued")[-1] == "2026-04-20 12:00 invoice_issued cycle 3: 1000, due 0"
    assert story.state.running is None
    story.does(END)
    assert story.last("credit_granted")["amount"] == 967  # 29 of the 30 days that were billed anew


def test_a_period_ahead_after_free_days_begins_later() -> None:
    """May's bill is moved to the 11th and forced: the days from 1 to 10 May were never paid."""
    story = Story(now="2026-04-01 10:00").does(ChangeDate(at("2026-05-11 10:00"))).until("2026-04-16 18:00")
    story.does(ForceBill()).until("2026-05-05 12:00").does(END)
    assert story.last("credit_granted")["amount"] == 1000


def test_a_cycle_that_is_billed_when_due_has_nothing_running_before_it() -> None:
    story = Story(now="2026-04-01 10:00").until("2026-05-02 10:00")
    assert story.state.running is None
    assert ahead().until("2026-06-01 11:00").state.running is None


# --- changing


def test_a_dearer_price_is_paid_for_the_rest_of_the_running_period_and_for_the_one_ahead() -> None:
    story = ahead().does(ChangeTerms(price(3000)))
    both = [("proration_credit", -500), ("proration_credit", -1000)]
    assert lines(story) == [*both, ("proration_charge", 1500), ("proration_charge", 3000)]
    assert [line.period for line in story.entries("invoice_issued")[-1].lines] == [
        Period(story.now, APRIL.end), Period(APRIL.end, at("2026-06-01 10:00")),
    ] * 2  # fmt: skip
    assert story.due == "2026-06-01 10:00"
    assert story.state.running == Billed(APRIL, None, 3000, 2000)
    assert story.state.paid_for_period == 3000
    story.until("2026-04-20 12:00").does(END)
    assert story.last("credit_granted")["amount"] == 1000 + 3000


def test_a_switch_to_a_year_begins_now_and_gives_both_back() -> None:
    story = ahead().until("2026-04-20 12:00").does(ChangeTerms(price(9600, interval=YEAR)))
    assert lines(story) == [("proration_credit", -367), ("proration_credit", -1000), ("cycle", 9600)]
    assert story.due == "2027-04-20 12:00"
    assert (story.state.running, story.state.paid_for_period) == (None, 9600)


def test_a_change_that_was_not_paid_is_not_given_back() -> None:
    story = ahead()
    story.bank.says("soft")
    story.does(ChangeTerms(price(3000)))
    assert story.state.running == Billed(APRIL, None, 3000, 500)
    story.until("2026-04-16 20:00").does(END)
    assert story.last("credit_granted")["amount"] == 500  # what is left of April's payment; May's went into the change


def test_without_proration_a_change_moves_no_money() -> None:
    story = ahead().does(ChangeTerms(price(3000), prorate=False))
    assert len(story.invoices) == 2
    story.until("2026-04-20 12:00").does(END)
    assert story.last("credit_granted")["amount"] == 1000 + 1000  # never more than was paid


# --- whatever the days


@given(
    amount=st.sampled_from([0, 1, 999, 1000, 3100]),
    basis=st.sampled_from(Basis),
    forced=st.integers(1, 29),
    later=st.integers(0, 60),
)
def test_never_more_is_given_back_than_was_paid_for_the_unused_time(
    amount: int, basis: Basis, forced: int, later: int
) -> None:
    story = Story(price(amount, basis=basis), now="2026-04-01 10:00")
    story.until_instant(APRIL.start + timedelta(days=forced)).does(ForceBill())
    may = story.state.period
    assert may is not None
    story.until_instant(min(story.now + timedelta(days=later), may.end - timedelta(hours=1))).does(END)
    paid = Money(amount, "EUR")
    worth = [
        paid.fraction(*unused_fraction(span, story.now, BERLIN, basis, day_is_consumed=True)).minor
        for span in (APRIL, may)
        if story.now < span.end
    ]
    assert story.state.credit == sum(worth)
    assert sum(worth) <= 2 * amount


@given(
    answers=st.lists(st.sampled_from(["paid", "paid", "soft"]), min_size=1, max_size=6),
    changes=st.lists(st.tuples(st.integers(0, 9), st.sampled_from([0, 400, 1000, 5000]), st.booleans()), max_size=4),
)
def test_whatever_changed_meanwhile_no_more_is_given_back_than_came_in(
    answers: list[str], changes: list[tuple[int, int, bool]]
) -> None:
    story = Story(now="2026-04-01 10:00", bank=Bank(["paid"])).until("2026-04-03 10:00").does(ForceBill())
    story.bank.says(*answers)
    for days, amount, prorate in changes:
        story.until_instant(story.now + timedelta(days=days))
        if story.state.collecting is None and story.state.status is Status.ACTIVE:  # dunning may have ended it
            story.does(ChangeTerms(price(amount), When.NOW, prorate))
    if story.state.status is not Status.CANCELED:
        story.does(END)
    came_in = sum(int(entry.data["amount"] or 0) for entry in story.entries("payment_succeeded"))
    assert story.state.credit <= came_in
