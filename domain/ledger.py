"""Double entry: which accounts each line of the timeline moves. Debit is positive, credit negative.

Accounts: `receivable` what customers owe; `revenue` what was invoiced, without tax; `cash:<gateway>` what a gateway
collected for us and has yet to pay out; `customer_credit` what we owe customers; `credit_given` credit granted
without a sale; `bad_debt` what was written off; `tax:<place>` tax owed to the authorities of a place; `voucher:<id>`
what a voucher is still good for; `credit_in_transit` credit on its way from a voucher or credit note to a
subscription; `voucher_breakage` vouchers that expired; `disputed:<gateway>` what a gateway took back while a dispute
is open; `chargeback_loss` and `dispute_fees` what lost disputes cost; `reconciliation` what was booked because a
gateway's books said so.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from domain.errors import Broken
from domain.state import Entry, EntryData
from domain.tax import TaxShare

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
BETWEEN_CUSTOMERS = "between_customers"

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


def tax(place: str) -> str:
    """The account of the tax owed to the authorities of this place."""
    return f"tax:{place}"


def with_taxes(taxes: Iterable[TaxShare]) -> EntryData:
    """What is tax of an entry's amount, as its data says it: all of it, and by account."""
    shares = tuple(taxes)
    data: EntryData = {"tax": sum(share.amount for share in shares)}
    return data | {tax(share.place): share.amount for share in shares}


def taxes_in(data: EntryData) -> tuple[TaxShare, ...]:
    """The other way round."""
    family = tax("")
    return tuple(TaxShare(name.removeprefix(family), _amount(data, name)) for name in data if name.startswith(family))


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
            sides = [(owed, total), *_split(REVENUE, total, data, -1), (CUSTOMER_CREDIT, credit), (RECEIVABLE, -credit)]
        case "payment_succeeded":
            amount = _amount(data, "amount")
            sides = [(cash(str(data["gateway"])), amount), (RECEIVABLE, -amount)]
        case "credit_granted":
            amount = _amount(data, "amount")
            given = _CREDIT_FROM.get(str(data["source"]), CREDIT_GIVEN)
            sides = [*_split(given, amount, data), (CUSTOMER_CREDIT, -amount)]
        case "invoice_voided":
            amount = _amount(data, "amount")
            sides = [*_split(REVENUE, amount, data), (RECEIVABLE, -amount)]
        case "invoice_written_off":
            amount = _amount(data, "amount")
            sides = [*_split(BAD_DEBT, amount, data), (RECEIVABLE, -amount)]
        case _:
            return ()
    currency = str(data["currency"])
    return balanced(entry.kind, [Posting(account, amount, currency) for account, amount in sides])


def parted(account: str, amount: int, taxes: Iterable[TaxShare], sign: int = 1) -> list[tuple[str, int]]:
    """`sign` times an amount: the tax in it on the accounts of its places, the rest on `account`."""
    sides = [(tax(share.place), sign * share.amount) for share in taxes]
    return [(account, sign * amount - sum(side for _, side in sides)), *sides]


def _split(account: str, amount: int, data: EntryData, sign: int = 1) -> list[tuple[str, int]]:
    """The sides of an entry's amount by what its data says of tax."""
    return parted(account, amount, taxes_in(data), sign)


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
