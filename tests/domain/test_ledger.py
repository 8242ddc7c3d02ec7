"""Double entry: which accounts each line of the timeline moves, and that nothing is left over."""

import pytest

from domain.errors import Broken
from domain.ledger import Posting, cash, postings
from domain.messages import Cancel, ChangeTerms, ChargeNow, GrantCredit, RefundChoice, When
from domain.state import Datum, Entry
from tests.domain.stories import Bank, Story, at, price


def moved(kind: str, **data: Datum) -> list[tuple[str, int]]:
    made = postings(Entry(1, at("2026-01-15 10:00"), kind, "system", "", {"currency": "EUR", **data}))
    assert sum(posting.amount for posting in made) == 0
    assert {posting.currency for posting in made} <= {"EUR"}
    return [(posting.account, posting.amount) for posting in made]


@pytest.mark.parametrize(
    ("kind", "data", "expected"),
    [
        ("invoice_issued", {"total": 1000, "credit_applied": 0}, [("receivable", 1000), ("revenue", -1000)]),
        (
            "invoice_issued",
            {"total": 1000, "credit_applied": 300},
            [("receivable", 1000), ("revenue", -1000), ("customer_credit", 300), ("receivable", -300)],
        ),
        ("invoice_issued", {"total": -400, "credit_applied": 0}, [("customer_credit", -400), ("revenue", 400)]),
        ("invoice_issued", {"total": 0, "credit_applied": 0}, []),
        (
            "payment_succeeded",
            {"amount": 700, "gateway": "sandbox"},
            [("cash:sandbox", 700), ("receivable", -700)],
        ),
        ("credit_granted", {"amount": 50, "source": "agent"}, [("credit_given", 50), ("customer_credit", -50)]),
        ("credit_granted", {"amount": 50, "source": "unused"}, [("revenue", 50), ("customer_credit", -50)]),
        ("credit_granted", {"amount": 50, "source": "voucher"}, [("credit_in_transit", 50), ("customer_credit", -50)]),
        (
            "credit_granted",
            {"amount": 50, "source": "credit_note"},
            [("credit_in_transit", 50), ("customer_credit", -50)],
        ),
        ("invoice_written_off", {"amount": 700}, [("bad_debt", 700), ("receivable", -700)]),
        ("invoice_voided", {"amount": 700}, [("revenue", 700), ("receivable", -700)]),
        ("invoice_settled", {"amount": 0}, []),
        ("paused", {}, []),
    ],
)
def test_what_an_entry_moves(kind: str, data: dict[str, Datum], expected: list[tuple[str, int]]) -> None:
    assert moved(kind, **data) == expected


def test_the_cash_lies_at_the_gateway() -> None:
    assert cash("sandbox") == "cash:sandbox"
    assert Posting("revenue", 1, "EUR").amount == 1


@pytest.mark.parametrize("amount", ["700", None, True])
def test_an_amount_that_is_none_is_a_bug(amount: Datum) -> None:
    with pytest.raises(Broken, match="amount is not an amount"):
        moved("invoice_written_off", amount=amount)


def test_the_books_of_a_year() -> None:
    story = Story(now="2026-01-15 10:00").does(GrantCredit(300, "EUR")).until("2026-04-16 12:00")
    story.does(ChangeTerms(price(3000))).until("2026-06-01 00:00").does(ChargeNow(500, "EUR", "Cup"))
    story.until("2026-06-15 12:00").does(Cancel(When.NOW, RefundChoice.CREDIT))
    assert dict(story.balances) == {
        "receivable": 0, "revenue": -9533, "cash:sandbox": 12133, "customer_credit": -2900, "credit_given": 300,
    }  # fmt: skip


def test_what_is_lost_is_a_loss() -> None:
    story = Story(now="2026-01-15 10:00", bank=Bank(["soft"])).does(Cancel(When.NOW))
    assert {account: balance for account, balance in story.balances.items() if balance} == {
        "bad_debt": 1000,
        "revenue": -1000,
    }
