"""What an invoice says on paper: plain values, before language and number format are chosen."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime
from typing import Final

# Nothing is owed on these any more.
_CLOSED: Final = frozenset({"paid", "void"})


@dataclass(frozen=True, slots=True)
class Seller:
    """Whose invoices these are: name, address line by line, tax number and mail address; empty where never set."""

    name: str = ""
    address: tuple[str, ...] = ()
    tax_id: str = ""
    email: str = ""


@dataclass(frozen=True, slots=True)
class PaperLine:
    """One line, in minor units. The period is from the first instant to the one where the next begins.

    `discounts`: what each takes off, by name.
    """

    description: str
    quantity: int
    unit_amount: int
    amount: int
    period: tuple[datetime, datetime] | None
    discounts: tuple[tuple[str, int], ...] = ()


@dataclass(frozen=True, slots=True)
class PaperTax:
    """What the lines of one rate add up to; `rate` in thousandths of a percent, `reason` where there is none to pay."""

    place: str
    rate: int
    inclusive: bool
    reason: str | None
    net: int
    tax: int


@dataclass(frozen=True, slots=True)
class PaperPayment:
    """Money that was taken for it; `method` as the customer knows it, `visa 4242`."""

    at: datetime
    method: str
    amount: int


@dataclass(frozen=True, slots=True)
class PaperNote:
    """A credit note that corrects it."""

    number: str
    on: date
    amount: int


@dataclass(frozen=True, slots=True)
class InvoicePaper:
    """All that is on it. Amounts are minor units of `currency`; `zone` is where its periods and payments are dated.

    `buyer_country` (ISO 3166-1) is named in the reader's language, below the buyer. Where something is said of tax,
    `net` and the taxes add up to `total`.
    """

    number: str
    on: date
    language: str
    zone: str
    currency: str
    status: str
    test_mode: bool
    seller: Seller
    buyer: tuple[str, ...]
    buyer_tax_id: str
    subscription: str | None
    order: str | None
    lines: tuple[PaperLine, ...]
    total: int
    credit_applied: int
    amount_due: int
    payments: tuple[PaperPayment, ...]
    notes: tuple[PaperNote, ...]
    taxes: tuple[PaperTax, ...] = ()
    net: int = 0
    buyer_country: str = ""

    @property
    def left_to_pay(self) -> int:
        """What the customer still owes on it."""
        return 0 if self.status in _CLOSED else self.amount_due
