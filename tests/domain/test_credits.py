"""What a credit note may correct, and how a refusal travels."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.credits import PaidInvoice, Receiver, Refusal, check_creditable, credit_sides
from domain.errors import DunlinError, InvalidInput, Refused
from domain.messages import GrantCredit
from tests.domain.stories import Story

INVOICE = PaidInvoice("INV-1", "cus", "EUR", "paid", 1000, 300, test_mode=False)
ANN = Receiver("sub", "cus", "EUR", test_mode=False)


def refusal(invoice: PaidInvoice, amount: int, receiver: Receiver = ANN) -> Refused:
    with pytest.raises(Refused) as refused:
        check_creditable(invoice, receiver, amount)
    return refused.value


def test_never_above_the_invoice_refunds_and_earlier_notes_counted() -> None:
    check_creditable(INVOICE, ANN, 700)
    over = refusal(INVOICE, 701)
    assert over.code == "credit_exceeds_invoice"
    assert "700 EUR" in over.message
    assert refusal(replace(INVOICE, total=-400, credited=0), 1).code == "credit_exceeds_invoice"


@pytest.mark.parametrize("status", ["open", "uncollectible", "void"])
def test_only_what_was_paid_and_else_what_to_do_instead(status: str) -> None:
    refused = refusal(replace(INVOICE, status=status), 1)
    assert refused.code == f"invoice_{status}"
    assert ("wait for the payment" if status == "open" else "as a gift") in refused.message


def test_it_goes_to_the_same_customer_currency_and_books() -> None:
    assert refusal(INVOICE, 1, replace(ANN, customer_id="bob")).code == "other_customer"
    assert refusal(INVOICE, 1, replace(ANN, currency="USD")).code == "currency_mismatch"
    assert refusal(INVOICE, 1, replace(ANN, test_mode=True)).code == "other_mode"


def test_a_note_takes_from_revenue_and_back() -> None:
    books: Counter[str] = Counter()
    for amount in (250, 100, -100):
        for side in credit_sides(amount, "EUR"):
            books[side.account] += side.amount
    assert books == {"revenue": 250, "credit_in_transit": -250}


@given(st.lists(st.integers(1, 600), max_size=20))
def test_over_many_notes_never_above_the_invoice(amounts: list[int]) -> None:
    invoice = replace(INVOICE, credited=0)
    for amount in amounts:
        if invoice.credited + amount <= 1000:
            check_creditable(invoice, ANN, amount)
            invoice = replace(invoice, credited=invoice.credited + amount)
        else:
            assert str(1000 - invoice.credited) in refusal(invoice, amount).message


@pytest.mark.parametrize(
    "error",
    [
        Refused("not_while_canceled", "it is over", allowed=("restart",)),
        InvalidInput("amount", "must be 1 to 5"),
        InvalidInput("currency", "is billed in EUR", code="currency_mismatch"),
    ],
)
def test_a_refusal_travels_as_a_value(error: DunlinError) -> None:
    again = Refusal.of(error).error()
    assert (type(again), again.code, again.message) == (type(error), error.code, error.message)
    for part in ("allowed", "field"):
        assert getattr(again, part, None) == getattr(error, part, None)


def test_a_credit_says_which_transfer_brought_it() -> None:
    story = Story(now="2026-01-15 10:00").does(GrantCredit(300, "EUR", "voucher", "ctr_1"))
    assert story.last("credit_granted") == {
        "amount": 300, "currency": "EUR", "source": "voucher", "balance": 300, "transfer_id": "ctr_1",
    }  # fmt: skip
    assert story.balances["credit_in_transit"] == 300
    assert story.balances["credit_given"] == 0


def test_credit_is_used_up_before_any_card_over_several_rebills() -> None:
    """25.00 of credit and 10.00 a month: nothing, nothing, half from the card, then all of it."""
    story = Story(now="2026-01-15 10:00").does(GrantCredit(2500, "EUR")).until("2026-05-16 00:00")
    issued = [entry.data for entry in story.entries("invoice_issued")]
    assert [(data["credit_applied"], data["amount_due"]) for data in issued[-4:]] == [
        (1000, 0), (1000, 0), (500, 500), (0, 1000),
    ]  # fmt: skip
    assert story.state.credit == story.balances["customer_credit"] == 0
