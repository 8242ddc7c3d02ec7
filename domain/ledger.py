"""Double entry: which accounts each line of the timeline moves. Debit is positive, credit negative.

Accounts: `receivable` what customers owe; `revenue` what was invoiced; `cash:<gateway>` what a gateway collected
for us and has yet to pay out; `customer_credit` what we owe customers; `credit_given` credit granted without a
sale; `bad_debt` what was written off.
"""

from __future__ import annotations

from dataclasses import dataclass

from domain.errors import Broken
from domain.state import Entry, EntryData

RECEIVABLE = "receivable"
REVENUE = "revenue"
CUSTOMER_CREDIT = "customer_credit"
CREDIT_GIVEN = "credit_given"
BAD_DEBT = "bad_debt"


def cash(gateway: str) -> str:
    """The account of the money that lies at this gateway."""
    return f"cash:{gateway}"


@dataclass(frozen=True, slots=True)
class Posting:
    """One side of an entry, in minor units."""

    account: str
    amount: int
    currency: str


def postings(entry: Entry) -> tuple[Posting, ...]:
    """The postings of a timeline entry: none where no money moved; their sum is always zero."""
    data = entry.data
    match entry.kind:
        case "invoice_issued":
            total, credit = _amount(data, "total"), _amount(data, "credit_applied")
            # A negative total is owed to the customer at once, as credit on account.
            owed = RECEIVABLE if total > 0 else CUSTOMER_CREDIT
            sides = [(owed, total), (REVENUE, -total), (CUSTOMER_CREDIT, credit), (RECEIVABLE, -credit)]
        case "payment_succeeded":
            amount = _amount(data, "amount")
            sides = [(cash(str(data["gateway"])), amount), (RECEIVABLE, -amount)]
        case "credit_granted":
            amount = _amount(data, "amount")
            given = REVENUE if data.get("source") == "unused" else CREDIT_GIVEN
            sides = [(given, amount), (CUSTOMER_CREDIT, -amount)]
        case "invoice_voided":
            amount = _amount(data, "amount")
            sides = [(REVENUE, amount), (RECEIVABLE, -amount)]
        case "invoice_written_off":
            amount = _amount(data, "amount")
            sides = [(BAD_DEBT, amount), (RECEIVABLE, -amount)]
        case _:
            return ()
    if sum(amount for _, amount in sides):
        raise Broken(f"the postings of {entry.kind} do not sum to zero")
    currency = str(data["currency"])
    return tuple(Posting(account, amount, currency) for account, amount in sides if amount)


def _amount(data: EntryData, name: str) -> int:
    value = data[name]
    if isinstance(value, bool) or not isinstance(value, int):
        raise Broken(f"{name} is not an amount")
    return value
