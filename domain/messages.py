"""What people and programs may ask of a subscription: its commands, how they travel, and how one begins.

A command may be refused. It has a literal `kind`, by which it is told apart when it travels as JSON. What
happened is in `domain.facts`, what is to be done in `domain.steps`.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Literal

from domain.discounts import Discount
from domain.tax import NO_TAX, TaxTerms, Treatment
from domain.terms import Terms, Trigger


class When(StrEnum):
    """At once, or when the paid period ends."""

    NOW = "now"
    PERIOD_END = "period_end"


class RefundChoice(StrEnum):
    """What a cancellation gives back for the unused part: nothing, or credit on account."""

    NONE = "none"
    CREDIT = "credit"


@dataclass(frozen=True, slots=True)
class Skip:
    """Leave out the next `cycles` cycles; 0 takes earlier skips back."""

    cycles: int
    kind: Literal["skip"] = "skip"


@dataclass(frozen=True, slots=True)
class ExtendTrial:
    """Move the trial's end by so many days."""

    days: int
    kind: Literal["extend_trial"] = "extend_trial"


@dataclass(frozen=True, slots=True)
class RestartTrial:
    """Begin the trial again, now, with its full length or `days`."""

    days: int | None = None
    kind: Literal["restart_trial"] = "restart_trial"


@dataclass(frozen=True, slots=True)
class EndTrial:
    """End the trial now and bill the first cycle."""

    kind: Literal["end_trial"] = "end_trial"


@dataclass(frozen=True, slots=True)
class StopTrial:
    """End the trial now without billing: the subscription is cancelled."""

    kind: Literal["stop_trial"] = "stop_trial"


@dataclass(frozen=True, slots=True)
class ChangeTerms:
    """Other price, option or quantity. `when` None: a smaller price waits for the period's end, others are now.

    `prorate`: credit then charge; `keep_anchor`: another interval keeps the billing day. `only_from`: the price that
    it is to change from; where it has another by now, it is refused.
    """

    terms: Terms
    when: When | None = None
    prorate: bool = True
    keep_anchor: bool = False
    only_from: str | None = None
    kind: Literal["change_terms"] = "change_terms"


@dataclass(frozen=True, slots=True)
class ChangeDate:
    """The next billing date becomes `next_due`, and its local day the anchor from then on."""

    next_due: datetime
    prorate: bool = False
    kind: Literal["change_date"] = "change_date"


@dataclass(frozen=True, slots=True)
class ForceBill:
    """Bill the next cycle now, or, in dunning, try the open invoice now. Its due time will not bill it again."""

    kind: Literal["force_bill"] = "force_bill"


@dataclass(frozen=True, slots=True)
class ChargeNow:
    """A charge by hand for something beside the plan: minor units, what for, and with which method (None: the default).

    It succeeds or fails at once: a decline voids its invoice and starts no dunning.
    """

    amount: int
    currency: str
    description: str
    method_id: str | None = None
    kind: Literal["charge_now"] = "charge_now"


@dataclass(frozen=True, slots=True)
class Pause:
    """Stop access and billing, until a time or until resumed."""

    when: When = When.PERIOD_END
    resume_at: datetime | None = None
    kind: Literal["pause"] = "pause"


@dataclass(frozen=True, slots=True)
class Resume:
    """End a pause: a new period starts today. A pause not yet begun is taken back."""

    kind: Literal["resume"] = "resume"


@dataclass(frozen=True, slots=True)
class Cancel:
    """End the subscription now or at the period's end."""

    when: When = When.PERIOD_END
    refund: RefundChoice = RefundChoice.NONE
    kind: Literal["cancel"] = "cancel"


@dataclass(frozen=True, slots=True)
class UndoCancel:
    """Take a cancellation back before it takes effect."""

    kind: Literal["undo_cancel"] = "undo_cancel"


@dataclass(frozen=True, slots=True)
class Restart:
    """Begin a cancelled subscription again, as the same one; a new period starts now."""

    kind: Literal["restart"] = "restart"


@dataclass(frozen=True, slots=True)
class GrantCredit:
    """An amount (minor units) that the next rebills use up before any card.

    `source`: an agent's gift, or what the transfer `transfer_id` brings from a voucher or a credit note.
    """

    amount: int
    currency: str
    source: Literal["agent", "voucher", "credit_note"] = "agent"
    transfer_id: str | None = None
    kind: Literal["grant_credit"] = "grant_credit"


@dataclass(frozen=True, slots=True)
class PlaceHold:
    """Operations stop this subscription; commands still work, nothing is billed until release or expiry."""

    owner: str
    expires_at: datetime
    kind: Literal["place_hold"] = "place_hold"


@dataclass(frozen=True, slots=True)
class ReleaseHold:
    """End a hold; what came due meanwhile is caught up by the policy."""

    kind: Literal["release_hold"] = "release_hold"


@dataclass(frozen=True, slots=True)
class CollectNow:
    """Try the open invoice now, with this method or the customer's order. Not counted as a dunning retry.

    `trigger` says why: a new card, a payment through a link, an agent.
    """

    method_id: str | None = None
    trigger: str = "manual"
    kind: Literal["collect_now"] = "collect_now"


@dataclass(frozen=True, slots=True)
class BillDue:
    """From a billing run: bill what is due, never early. Idempotent by its very nature."""

    run_id: str
    kind: Literal["bill_due"] = "bill_due"


@dataclass(frozen=True, slots=True)
class SetNotice:
    """The customer wants a notice so many days before a renewal; 0 turns it off."""

    days: int
    kind: Literal["set_notice"] = "set_notice"


@dataclass(frozen=True, slots=True)
class AddDiscount:
    """One more discount from the next invoice on; `currency` is that of its amount, where it is one."""

    discount: Discount
    currency: str | None = None
    kind: Literal["add_discount"] = "add_discount"


@dataclass(frozen=True, slots=True)
class RemoveDiscount:
    """Take a discount back before it ends by itself."""

    discount_id: str
    kind: Literal["remove_discount"] = "remove_discount"


@dataclass(frozen=True, slots=True)
class SetTax:
    """How the customer is taxed from the next invoice on: status, place, and the rates known for it."""

    tax: TaxTerms
    kind: Literal["set_tax"] = "set_tax"


@dataclass(frozen=True, slots=True)
class SetCustomer:
    """It goes on under another customer, into whom its own was merged, or back. `notice_days`: as that one wants it."""

    customer_id: str
    notice_days: int
    kind: Literal["set_customer"] = "set_customer"


Command = (
    Skip
    | ExtendTrial
    | RestartTrial
    | EndTrial
    | StopTrial
    | ChangeTerms
    | ChangeDate
    | ForceBill
    | ChargeNow
    | Pause
    | Resume
    | Cancel
    | UndoCancel
    | Restart
    | GrantCredit
    | PlaceHold
    | ReleaseHold
    | CollectNow
    | BillDue
    | SetNotice
    | AddDiscount
    | RemoveDiscount
    | SetTax
    | SetCustomer
)


@dataclass(frozen=True, slots=True)
class Envelope:
    """A command with who, why, and its identity (the caller's idempotency key).

    `expected_cycle`, when given, refuses a command meant for a cycle that has passed in the meantime.
    """

    id: str
    command: Command
    actor: str
    reason: str = ""
    expected_cycle: int | None = None


@dataclass(frozen=True, slots=True)
class Prepaid:
    """What the first cycle, or the paid trial, was paid with: the order's invoice (None: it was for nothing).

    `amount`: the part of it that pays for the first period, before tax is put on top, in minor units; it caps later
    credits. `treatment`: how it was taxed.
    """

    invoice_id: str | None
    amount: int
    treatment: Treatment | None = None


@dataclass(frozen=True, slots=True)
class Start:
    """Begin a subscription. `start_at` None means now; `bill_from` is an import's cut-over: no period that
    began before it is billed. Times are aware UTC. `request_id` is the identity of the request that asked for it.
    `order_id`: the order it was sold by, which has paid for its beginning where `prepaid` says so.
    """

    id: str
    customer_id: str
    zone: str
    terms: Terms
    actor: str
    start_at: datetime | None = None
    bill_from: datetime | None = None
    external_id: str | None = None
    test_mode: bool = False
    trigger: Trigger = Trigger.TIMER
    notice_days: int = 0
    request_id: str | None = None
    discounts: tuple[Discount, ...] = ()
    tax: TaxTerms = NO_TAX
    order_id: str | None = None
    prepaid: Prepaid | None = None
