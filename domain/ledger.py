"""Double entry: which accounts each line of the timeline moves. Debit is positive, credit negative.

Accounts: `receivable` what customers owe; `revenue` what was invoiced; `cash:<gateway>` what a gateway collected
for us and has yet to pay out; `customer_credit` what we owe customers; `credit_given` credit granted without a
sale; `bad_debt` what was written off; `voucher:<id>` what a voucher is still good for; `credit_in_transit` credit on
its way from a voucher or credit note to a subscription; `voucher_breakage` vouchers that expired; `disputed:<gateway>`
what a gateway took back while a dispute is open; `chargeback_loss` and `dispute_fees` what lost disputes cost;
`reconciliation` what was booked because a gateway's books said so.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from domain.errors import Broken
from domain.state import Entry, EntryData

RECEIVABLE = "receivable"
REVENUE = "revenue"
CUSTOMER_CREDIT = "customer_credit"
CREDIT_GIVEN = "credit_given"
BAD_DEBT = "bad_debt"
CREDIT_IN_TRANSIT = "credit_in_transit"
VOUCHER_BREAKAGE = "voucher_breakage"
CHARGEBACK_LOSS = "chargeback_loss"
DISPUTE_FEES = "dispute_fees"
RECONCILIATION = "reconciliation"

# Source of a credit → where it comes from. A voucher or a credit note was taken from before and lies in transit.
_CREDIT_FROM = {"unused": REVENUE, "voucher": CREDIT_IN_TRANSIT, "credit_note": CREDIT_IN_TRANSIT}


def cash(gateway: str) -> str:
    """The account of the money that lies at this gateway."""
    return f"cash:{gateway}"


def disputed(gateway: str) -> str:
    """The account of what this gateway took back while disputes are open."""
    return f"disputed:{gateway}"


def voucher(voucher_id: str) -> str:
    """The account of what this voucher is still good for."""
    return f"voucher:{voucher_id}"


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
            given = _CREDIT_FROM.get(str(data["source"]), CREDIT_GIVEN)
            sides = [(given, amount), (CUSTOMER_CREDIT, -amount)]
        case "invoice_voided":
            amount = _amount(data, "amount")
            sides = [(REVENUE, amount), (RECEIVABLE, -amount)]
        case "invoice_written_off":
            amount = _amount(data, "amount")
            sides = [(BAD_DEBT, amount), (RECEIVABLE, -amount)]
        case _:
            return ()
    currency = str(data["currency"])
    return balanced(entry.kind, [Posting(account, amount, currency) for account, amount in sides])


def balanced(kind: str, sides: Iterable[Posting]) -> tuple[Posting, ...]:
    """The sides that move something. Raises `Broken` unless they sum to zero in each currency."""
    moved = tuple(side for side in sides if side.amount)
    sums: Counter[str] = Counter()
    for side in moved:
        sums[side.currency] += side.amount
    if any(sums.values()):
        raise Broken(f"the postings of {kind} do not sum to zero")
    return moved


def _amount(data: EntryData, name: str) -> int:
    value = data[name]
    if isinstance(value, bool) or not isinstance(value, int):
        raise Broken(f"{name} is not an amount")
    return value
