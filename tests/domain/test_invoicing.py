"""What an invoice says: lines, credit, what is left to collect; one at a time."""

import pytest

from domain.errors import Broken
from domain.ids import derive
from domain.invoicing import credit_unused, cycle_line, grant, last_billed, open_invoice
from domain.messages import ChangeDate, ChangeTerms, GrantCredit, When
from domain.state import InvoiceReason, Line, LineKind, State
from tests.domain.stories import Bank, Story, at, price


def ready() -> State:
    return Story(now="2026-01-15 10:00").state


def issue(state: State, *amounts: int, credit: bool = True) -> State:
    lines = tuple(Line(LineKind.CYCLE, "Tea", 1, amount) for amount in amounts)
    return open_invoice(
        state, at("2026-02-15 10:00"), InvoiceReason.CYCLE, lines, cycle=2, trigger="due", pays_for_period=0, span=None,
        use_credit=credit,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("amounts", "credit", "applied", "due", "left"),
    [
        ((1000,), 0, 0, 1000, 0),
        ((1000,), 300, 300, 700, 0),
        ((1000,), 1000, 1000, 0, 0),
        ((1000,), 1300, 1000, 0, 300),
        ((1000, -400), 100, 100, 500, 0),
        ((1000, -1000), 300, 0, 0, 300),
        ((1000, -1400), 300, 0, 0, 700),  # what is below nothing is owed to the customer
        ((), 300, 0, 0, 300),
    ],
)
def test_credit_covers_an_invoice_and_never_more(
    amounts: tuple[int, ...], credit: int, applied: int, due: int, left: int
) -> None:
    state = ready()
    if credit:
        state = grant(state, at("2026-01-15 10:00"), credit, source="agent", actor="agent", reason="")
    state = issue(state, *amounts)
    data = state.journal[-1].data
    assert (data["total"], data["credit_applied"], data["amount_due"]) == (sum(amounts), applied, due)
    assert state.credit == left
    assert state.collecting is not None
    assert state.collecting.amount_due == due


def test_an_invoice_that_leaves_credit_alone() -> None:
    state = grant(ready(), at("2026-01-15 10:00"), 300, source="agent", actor="agent", reason="")
    state = issue(state, 1000, credit=False)
    assert (state.credit, state.journal[-1].data["amount_due"]) == (300, 1000)


def test_one_invoice_is_open_at_a_time() -> None:
    with pytest.raises(Broken, match="still being collected"):
        issue(issue(ready(), 1000), 1000)


def test_an_invoice_is_named_by_what_it_is_for() -> None:
    entry = Story(now="2026-01-15 10:00").entries("invoice_issued")[0]
    assert entry.data["invoice_id"] == derive("inv", "sub_1", "1", "cycle", "0")
    assert entry.data["period_start"] == at("2026-01-15 10:00").isoformat()
    assert entry.data["period_end"] == at("2026-02-15 10:00").isoformat()
    assert (entry.data["sequence"], entry.data["trigger"], entry.data["currency"]) == (0, "due", "EUR")
    assert entry.actor == "system"
    without = issue(ready(), 1000).journal[-1].data
    assert (without["period_start"], without["period_end"]) == (None, None)


def test_quantity_times_unit_price_is_the_line() -> None:
    (line,) = Story(price(333, quantity=3), now="2026-01-15 10:00").entries("invoice_issued")[0].lines
    assert (line.quantity, line.unit_amount, line.amount, line.description) == (3, 333, 999, "Tea")


def test_a_negative_invoice_is_credit_and_asks_no_card() -> None:
    story = Story(now="2026-04-01 10:00").does(GrantCredit(100, "EUR")).until("2026-04-16 18:00")
    story.does(ChangeTerms(price(0), When.NOW))
    assert (story.last("invoice_issued")["total"], story.last("invoice_issued")["amount_due"]) == (-500, 0)
    assert story.state.credit == 600
    assert len(story.bank.keys) == 1
    assert story.told("invoice_settled") == ["2026-04-16 18:00 invoice_settled"]


def test_a_next_invoice_may_be_negative_too() -> None:
    story = Story(price(1000), now="2026-04-01 10:00").does(ChangeTerms(price(100), When.PERIOD_END))
    story.does(ChangeDate(at("2026-04-06 10:00"), prorate=True)).until("2026-04-06 11:00")
    assert story.last("invoice_issued")["total"] == 100 - 833
    assert story.state.credit == 733


def test_a_cycle_without_an_anchor_is_a_bug() -> None:
    story = Story(now="2026-01-15 10:00", start_at=at("2026-02-01 10:00"))
    with pytest.raises(Broken, match="needs an anchor"):
        cycle_line(story.state)
    assert last_billed(story.state) is None


def test_the_unused_part_is_given_back_once() -> None:
    story = Story(now="2026-04-01 10:00").until("2026-04-16 18:00")
    once = credit_unused(story.state, story.now, actor="agent", reason="kind")
    assert (once.credit, once.paid_for_period) == (467, 0)
    assert credit_unused(once, story.now, actor="agent", reason="kind") == once
    assert (once.journal[-1].actor, once.journal[-1].reason) == ("agent", "kind")


def test_nothing_is_given_back_after_the_period_or_before_any() -> None:
    over = at("2026-05-01 10:00")
    story = Story(now="2026-04-01 10:00")
    assert credit_unused(story.state, over, actor="agent", reason="") == story.state
    new = Story(now="2026-01-15 10:00", start_at=at("2026-02-01 10:00"))
    assert credit_unused(new.state, new.now, actor="agent", reason="") == new.state


def test_nothing_is_given_back_for_what_was_not_paid() -> None:
    story = Story(now="2026-04-01 10:00", bank=Bank(["soft"]))
    assert credit_unused(story.state, story.now, actor="agent", reason="").credit == 0
