"""All that an order is, in one serialisable value: what its workflow carries.

Instants are aware UTC at whole seconds. Amounts are minor units of `currency`. Nothing personal is in here.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum

from domain.discounts import Discount
from domain.ids import derive
from domain.state import ENTRY_REASON_LENGTH_MAX, SYSTEM, Collecting, Datum, Entry, EntryData, Line
from domain.tax import NO_TAX, STANDARD, TaxTerms
from domain.terms import Terms


class OrderStatus(StrEnum):
    """Where an order stands.

    DRAFT: being put together. OPEN: placed and not paid. PAYING: a charge is under way or its answer is missing.
    AUTHORISED: its money is set aside and not taken. RELEASING: that is being given back. PAID: paid, or placed with
    nothing to pay. CANCELING: subscriptions end and money goes back. The others are final.
    """

    DRAFT = "draft"
    OPEN = "open"
    PAYING = "paying"
    AUTHORISED = "authorised"
    RELEASING = "releasing"
    PAID = "paid"
    CANCELING = "canceling"
    CANCELED = "canceled"
    LAPSED = "lapsed"


class Channel(StrEnum):
    """How an order came: an agent on the telephone, a program, the customer."""

    PHONE = "phone"
    API = "api"
    CUSTOMER = "customer"


class OrderLineKind(StrEnum):
    ONE_TIME = "one_time"
    SUBSCRIPTION = "subscription"


@dataclass(frozen=True, slots=True)
class OrderLine:
    """One thing that is ordered. `amount` is `quantity` times `unit_amount`, always.

    `list_amount` is the catalogue's unit amount; None: the line is not in the catalogue. `reason` says why another one
    was agreed. A subscription line has `terms`, at the agreed unit amount; `start_at` None: it starts when the order is
    paid. `position` counts from 1. `discounts`: what its subscription begins with; one-time lines have none.
    """

    position: int
    kind: OrderLineKind
    description: str
    quantity: int
    unit_amount: int
    list_amount: int | None = None
    reason: str = ""
    product_id: str | None = None
    price_id: str | None = None
    terms: Terms | None = None
    start_at: datetime | None = None
    tax_category: str = STANDARD
    discounts: tuple[Discount, ...] = ()

    @property
    def amount(self) -> int:
        return self.quantity * self.unit_amount


@dataclass(frozen=True, slots=True)
class DueLine:
    """A line of the order's invoice: what an ordered line (`position`) asks for when the order is placed.

    `prepays`: it pays for the first cycle of a subscription, or for its trial.
    """

    position: int
    line: Line
    prepays: bool = False


@dataclass(frozen=True, slots=True)
class Ending:
    """A cancellation under way: who asked, why, and whether the money goes back."""

    actor: str
    reason: str
    give_back: bool
    end_subscriptions: bool


@dataclass(frozen=True, slots=True)
class OrderState:
    """One order.

    `dues` is what its invoice asks for, as of the last edit. `revision` counts edits, from 1. `invoices` counts the
    invoices issued: an edit after a decline voids one and the next try issues another. `collecting` is the open one,
    `invoice_id` the last one. `started`: positions of the subscription lines that have begun.
    """

    id: str
    customer_id: str
    zone: str
    currency: str
    channel: Channel
    agent: str
    created_at: datetime
    status: OrderStatus
    lines: tuple[OrderLine, ...]
    dues: tuple[DueLine, ...]
    test_mode: bool = False
    external_id: str | None = None
    basket_id: str | None = None
    funnel: str = ""
    page: str = ""
    notice_days: int = 0
    revision: int = 1
    invoices: int = 0
    invoice_id: str | None = None
    collecting: Collecting | None = None
    edited_at: datetime | None = None
    placed_at: datetime | None = None
    paid_at: datetime | None = None
    ended_at: datetime | None = None
    started: tuple[int, ...] = ()
    ending: Ending | None = None
    tax: TaxTerms = NO_TAX
    seq: int = 0
    journal: tuple[Entry, ...] = ()
    recent_commands: tuple[str, ...] = ()

    @property
    def total(self) -> int:
        """What is due when it is placed."""
        return sum(due.line.gross for due in self.dues)

    def note(
        self,
        at: datetime,
        kind: str,
        *,
        actor: str = SYSTEM,
        reason: str = "",
        also: EntryData | None = None,
        **data: Datum,
    ) -> OrderState:
        """The same order with one more line in its journal; `also` is data whose names are no words."""
        said = data | also if also else data
        return self.enter(Entry(self.seq + 1, at, kind, actor, reason[:ENTRY_REASON_LENGTH_MAX], said))

    def enter(self, entry: Entry) -> OrderState:
        """The same order with this entry, the next in order, in its journal."""
        return replace(self, seq=entry.seq, journal=(*self.journal, entry))


def order_invoice_id(order: str, sequence: int) -> str:
    """The id of an order's invoice; `sequence` counts from 1."""
    return derive("inv", "order", order, str(sequence))


def order_subscription_id(order: str, position: int) -> str:
    """The id of the subscription that a line of an order starts."""
    return derive("sub", "order", order, str(position))
