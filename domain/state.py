"""All that a subscription is, in one serialisable value: what its workflow carries from run to run.

Instants are aware UTC at whole seconds. Amounts are minor units of `terms.currency`. Nothing personal is in
here: names and addresses stay in the database.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum

from domain.calendar import Anchor, Period
from domain.discounts import Discount, DiscountShare
from domain.ids import derive
from domain.messages import Prepaid
from domain.tax import NO_TAX, STANDARD, TaxShare, TaxTerms, Treatment
from domain.terms import DunningTerms, Terms, Trigger

RECENT_COMMANDS_MAX = 20
ENTRY_REASON_LENGTH_MAX = 500

SYSTEM = "system"

Datum = str | int | bool | None
EntryData = dict[str, Datum]


class Status(StrEnum):
    SCHEDULED = "scheduled"
    TRIALING = "trialing"
    ACTIVE = "active"
    OVERDUE = "overdue"
    PAUSED = "paused"
    CANCELED = "canceled"


class Access(StrEnum):
    """Whether the customer may use what is sold. GRACE: still, although a payment failed."""

    NONE = "none"
    ACTIVE = "active"
    GRACE = "grace"
    STOPPED = "stopped"


class Phase(StrEnum):
    """Where the collection of an invoice stands.

    CHARGE: try now. PARKED: the gateway is down, the same attempt again at `not_before`. UNKNOWN: the answer
    was lost, ask. ACTION: the customer must confirm. DUNNING: wait for the next retry. EXHAUSTED: no retry
    is left; a new card or a person goes on. HELD: an order's money is set aside; a command, or time, goes on.
    """

    CHARGE = "charge"
    PARKED = "parked"
    UNKNOWN = "unknown"
    ACTION = "action"
    DUNNING = "dunning"
    EXHAUSTED = "exhausted"
    HELD = "held"


class Act(StrEnum):
    """What is asked of the gateway for an invoice.

    SALE: all of it at once, as every rebill. AUTHORISE: set it aside. CAPTURE: take what was set aside. RELEASE: give
    that back.
    """

    SALE = "sale"
    AUTHORISE = "authorise"
    CAPTURE = "capture"
    RELEASE = "release"


class InvoiceReason(StrEnum):
    """Why an invoice exists; unique per subscription and cycle, or the invoice of an order."""

    CYCLE = "cycle"
    TRIAL = "trial"
    CHANGE = "change"
    ONE_OFF = "one_off"
    ORDER = "order"


class LineKind(StrEnum):
    CYCLE = "cycle"
    STUB = "stub"
    TRIAL = "trial"
    SETUP_FEE = "setup_fee"
    PRORATION_CREDIT = "proration_credit"
    PRORATION_CHARGE = "proration_charge"
    ONE_OFF = "one_off"
    ITEM = "item"


@dataclass(frozen=True, slots=True)
class Line:
    """One invoice line. `amount` is `quantity` times `unit_amount`; credits are negative.

    `discounts`, `treatment` and `tax` are what `domain.pricing` makes of it; a credit comes with the treatment of what
    it gives back. `tax` is on top of what is left after discounts, or contained in it (`treatment.inclusive`).
    """

    kind: LineKind
    description: str
    quantity: int
    unit_amount: int
    period: Period | None = None
    tax_category: str = STANDARD
    discounts: tuple[DiscountShare, ...] = ()
    treatment: Treatment | None = None
    tax: int = 0

    @property
    def amount(self) -> int:
        return self.quantity * self.unit_amount

    @property
    def discount(self) -> int:
        """What all discounts take off, above zero."""
        return sum(share.amount for share in self.discounts)

    @property
    def discounted(self) -> int:
        """What is left of the amount, with the tax it contains and without the tax on top of it."""
        return self.amount - self.discount

    @property
    def contains_tax(self) -> bool:
        return self.treatment is not None and self.treatment.inclusive

    @property
    def net(self) -> int:
        """Without any tax."""
        return self.discounted - self.tax if self.contains_tax else self.discounted

    @property
    def gross(self) -> int:
        """With all tax: what the customer is asked for."""
        return self.net + self.tax


@dataclass(frozen=True, slots=True)
class Dunning:
    """Dunning under way: the pinned policy and how far it got. `used` counts automatic retries only."""

    policy: DunningTerms
    started_at: datetime
    used: int
    retry_at: datetime | None


@dataclass(frozen=True, slots=True)
class Collecting:
    """The one invoice being collected now.

    `attempt` is the number of the next (or running) attempt, never reused. `tried` are methods that declined
    softly in this round; `refused` declined hard and are never tried again for this invoice.
    `pays_for_period` is the part of it that pays for the period billed last (it caps later credits),
    `pays_for_running` the part for the one that runs before it. `total` and `taxes` are those of the invoice.
    `held_until`: when an authorisation runs out, pinned when it is made; it stays after that, until it is paid again.
    """

    invoice_id: str
    cycle: int
    reason: InvoiceReason
    sequence: int
    pays_for_period: int
    amount_due: int
    issued_at: datetime
    phase: Phase = Phase.CHARGE
    attempt: int = 1
    trigger: str = "due"
    manual: bool = False
    use_method: str | None = None
    tried: tuple[str, ...] = ()
    refused: tuple[str, ...] = ()
    not_before: datetime | None = None
    parked: int = 0
    lookups: int = 0
    action_deadline: datetime | None = None
    dunning: Dunning | None = None
    pays_for_running: int = 0
    total: int = 0
    taxes: tuple[TaxShare, ...] = ()
    act: Act = Act.SALE
    held_until: datetime | None = None


@dataclass(frozen=True, slots=True)
class Billed:
    """A period that was billed: what it costs by its own terms, and what was paid for it, less credits given.

    Amounts in minor units, after discounts and without tax on top. `part_of` is the whole period it is a part of (None:
    it is whole). `discounts` go on to reduce it where it changes; `treatment` is how it was taxed.
    """

    period: Period
    part_of: Period | None
    price: int
    paid: int
    discounts: tuple[Discount, ...] = ()
    treatment: Treatment | None = None


@dataclass(frozen=True, slots=True)
class PeriodPrice:
    """What the period billed last costs where discounts or tax have a part in it (see `Billed`)."""

    price: int
    discounts: tuple[Discount, ...]
    treatment: Treatment | None


@dataclass(frozen=True, slots=True)
class Pausing:
    """A pause asked for: it begins at `begins_at` (period end or at once), ends at `resumes_at` if set."""

    begins_at: datetime
    resumes_at: datetime | None


@dataclass(frozen=True, slots=True)
class Cancelling:
    """A cancellation asked for, when it takes effect, and whether the unused time then becomes credit."""

    at: datetime
    reason: str
    actor: str
    credit_unused: bool = False


@dataclass(frozen=True, slots=True)
class Hold:
    """Operations stopped this subscription: nothing is billed until released or expired."""

    owner: str
    reason: str
    expires_at: datetime


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of the timeline, not yet in the books. `seq` counts from 1 over the subscription's life."""

    seq: int
    at: datetime
    kind: str
    actor: str
    reason: str
    data: EntryData
    lines: tuple[Line, ...] = ()


@dataclass(frozen=True, slots=True)
class Change:
    """Terms that take effect when the next cycle opens."""

    terms: Terms
    keep_anchor: bool


@dataclass(frozen=True, slots=True)
class State:
    """One subscription.

    `cycle` is the number of the next cycle to be opened (from 1, never reused); `index` is the boundary of
    `anchor` at which it falls due. `stub` is a partial first period before an aligned anchor.
    `period` is what was billed last; `part_of`, the whole period it is a part of (None: it is whole).
    `paid_for_period` caps credits. `running` is the period before it, where `period` was billed ahead of its time
    and the one before still ran. `triggered_at`: an outside trigger has called for all that is due until then;
    `triggered_by` is the billing run that called. `discounts` and `tax` are pinned here and decide every later invoice;
    `period_price` says what the period billed last costs by them (None: what the terms say).
    `prepaid` until it has begun: what an order has paid of it.
    """

    id: str
    customer_id: str
    zone: str
    test_mode: bool
    trigger: Trigger
    terms: Terms
    started_at: datetime
    status: Status
    access: Access
    external_id: str | None = None
    notice_days: int = 0
    bill_from: datetime | None = None
    anchor: Anchor | None = None
    index: int = 0
    cycle: int = 1
    stub: Period | None = None
    period: Period | None = None
    part_of: Period | None = None
    paid_for_period: int = 0
    running: Billed | None = None
    trial_end: datetime | None = None
    skip_cycles: int = 0
    force: bool = False
    triggered_at: datetime | None = None
    triggered_by: str | None = None
    noticed_cycle: int = 0
    change: Change | None = None
    pause: Pausing | None = None
    cancel: Cancelling | None = None
    hold: Hold | None = None
    credit: int = 0
    pending_lines: tuple[Line, ...] = ()
    collecting: Collecting | None = None
    grace_until: datetime | None = None
    setup_fee_billed: bool = False
    changes: int = 0
    ended_at: datetime | None = None
    seq: int = 0
    journal: tuple[Entry, ...] = ()
    recent_commands: tuple[str, ...] = ()
    discounts: tuple[Discount, ...] = ()
    tax: TaxTerms = NO_TAX
    period_price: PeriodPrice | None = None
    order_id: str | None = None
    prepaid: Prepaid | None = None

    @property
    def currency(self) -> str:
        return self.terms.currency

    def note(
        self,
        at: datetime,
        kind: str,
        *,
        actor: str = SYSTEM,
        reason: str = "",
        also: EntryData | None = None,
        **data: Datum,
    ) -> State:
        """The same state with one more line in its journal; `also` is data whose names are no words."""
        said = data | also if also else data
        return self.enter(Entry(self.seq + 1, at, kind, actor, reason[:ENTRY_REASON_LENGTH_MAX], said))

    def enter(self, entry: Entry) -> State:
        """The same state with this entry, the next in order, in its journal."""
        return replace(self, seq=entry.seq, journal=(*self.journal, entry))


def invoice_id(subscription: str, cycle: int, reason: InvoiceReason, sequence: int) -> str:
    """An invoice's id from what it is for. `sequence` tells apart several changes within one cycle."""
    return derive("inv", subscription, str(cycle), reason.value, str(sequence))
