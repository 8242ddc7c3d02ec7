"""Money on its way into a subscription's credit: what may be taken from where, and what became of it.

It comes from a voucher, or from a paid invoice that a credit note corrects. It is taken first, lies in transit, and is
then granted by the subscription or given back to where it came from.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from domain.errors import DunlinError, InvalidInput, Refused
from domain.ledger import CREDIT_IN_TRANSIT, REVENUE, Posting, parted
from domain.tax import TaxShare

# Status of an invoice that no credit note can correct → what to do instead.
_INSTEAD = {
    "open": "it is not paid yet: wait for the payment, or cancel the subscription, which writes it off",
    "uncollectible": "it was written off, so nothing was paid that could be credited; grant credit as a gift instead",
    "void": "it is void and nobody owes it; grant credit as a gift instead",
}


@dataclass(frozen=True, slots=True)
class FromVoucher:
    """So much (minor units) of a voucher; None: all that is left."""

    voucher_id: str
    amount: int | None = None
    kind: Literal["voucher"] = "voucher"


@dataclass(frozen=True, slots=True)
class FromInvoice:
    """So much (minor units) of a paid invoice, corrected by the credit note of this id."""

    invoice_id: str
    note_id: str
    amount: int
    kind: Literal["credit_note"] = "credit_note"


@dataclass(frozen=True, slots=True)
class Transfer:
    """What is wished. `id` is its identity: the same id is the same money. `at` is the subscription's own time."""

    id: str
    subscription_id: str
    source: FromVoucher | FromInvoice
    at: datetime
    actor: str
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Taken:
    """It is in transit: minor units."""

    amount: int
    currency: str
    kind: Literal["taken"] = "taken"


@dataclass(frozen=True, slots=True)
class Granted:
    """It is in the subscription's credit."""

    transfer_id: str
    kind: Literal["granted"] = "granted"


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why not, as it travels; `field` where a value was wrong."""

    code: str
    message: str
    allowed: tuple[str, ...] = ()
    field: str | None = None
    kind: Literal["refused"] = "refused"

    @classmethod
    def of(cls, error: DunlinError) -> Refusal:
        """The refusal that an error says."""
        allowed = error.allowed if isinstance(error, Refused) else ()
        field = error.field if isinstance(error, InvalidInput) else None
        return cls(error.code, error.message, allowed, field)

    def error(self) -> DunlinError:
        """The error to raise for it."""
        if self.field is not None:
            return InvalidInput(self.field, self.message, code=self.code)
        return Refused(self.code, self.message, allowed=self.allowed)


@dataclass(frozen=True, slots=True)
class Receiver:
    """A subscription as far as it decides what it can be given."""

    id: str
    customer_id: str
    currency: str
    test_mode: bool


@dataclass(frozen=True, slots=True)
class PaidInvoice:
    """An invoice as far as it decides what can be credited. Minor units; `credited` counts refunds as well."""

    number: str
    customer_id: str
    currency: str
    status: str
    total: int
    credited: int
    test_mode: bool

    @property
    def left(self) -> int:
        return max(self.total, 0) - self.credited


def check_fits(receiver: Receiver, *, what: str, currency: str, customer_id: str | None, test_mode: bool) -> None:
    """Whether this may go to that subscription at all. Raises `Refused`."""
    if receiver.currency != currency:
        raise Refused("currency_mismatch", f"the {what} is in {currency}, the subscription in {receiver.currency}")
    if customer_id is not None and customer_id != receiver.customer_id:
        raise Refused("other_customer", f"the {what} belongs to another customer than the subscription")
    if test_mode != receiver.test_mode:
        raise Refused("other_mode", f"test mode and live money have books of their own: the {what} is of the other")


def check_creditable(invoice: PaidInvoice, receiver: Receiver, amount: int) -> None:
    """Whether a credit note of this amount may be written. Raises `Refused`, saying what to do instead."""
    if invoice.status in _INSTEAD:
        raise Refused(
            f"invoice_{invoice.status}",
            f"invoice {invoice.number} is {invoice.status}: {_INSTEAD[invoice.status]}",
        )
    check_fits(
        receiver,
        what="invoice",
        currency=invoice.currency,
        customer_id=invoice.customer_id,
        test_mode=invoice.test_mode,
    )
    if amount > invoice.left:
        raise Refused(
            "credit_exceeds_invoice",
            f"of invoice {invoice.number} {invoice.left} {invoice.currency} (minor units) can still be credited:"
            f" of {invoice.total}, {invoice.credited} are credited or refunded already",
        )


def credit_sides(amount: int, currency: str, taxes: Iterable[TaxShare] = ()) -> tuple[Posting, ...]:
    """What is credited is no revenue any more and on its way to the customer; a negative amount takes it back.

    `taxes` is what of the amount, counted above zero, is tax that is owed no more.
    """
    sides = parted(REVENUE, abs(amount), taxes, -1 if amount < 0 else 1)
    return (
        *(Posting(account, side, currency) for account, side in sides),
        Posting(CREDIT_IN_TRANSIT, -amount, currency),
    )
