"""What every payment gateway is to us: calls by our own reference, answers as values, outages as exceptions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any, Protocol, runtime_checkable

from domain.declines import DeclineKind
from domain.money import Money


class GatewayUnavailable(Exception):
    """The gateway surely did not take the order (refused connection, 503): it may be sent again later."""


class OutcomeUnknown(Exception):
    """The answer was lost (timeout, 500, broken connection): the order may have been carried out. Look it up."""


class OrderRefused(Exception):
    """The gateway will not take this order as it is written (a 4xx): repeating it cannot help, a person must look.

    Never a decline, which is a value. `code` is the gateway's.
    """

    def __init__(self, code: str, message: str) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code


class AnswerStatus(StrEnum):
    """What the gateway says of one order. AUTHORISED: the amount is set aside, and not taken yet."""

    APPROVED = "approved"
    AUTHORISED = "authorised"
    DECLINED = "declined"
    ACTION_REQUIRED = "action_required"
    VOIDED = "voided"
    NOT_FOUND = "not_found"


@dataclass(frozen=True, slots=True)
class Order:
    """One movement of money asked of a gateway.

    `reference` is ours, made from business identity; it is the idempotency key and the look-up key.
    """

    reference: str
    token: str
    amount: Money
    description: str


@dataclass(frozen=True, slots=True)
class Answer:
    """The gateway's word on one reference.

    `code` and `decline` are set when declined, `action_url` when the customer must act.
    """

    status: AnswerStatus
    gateway_id: str | None = None
    code: str | None = None
    decline: DeclineKind | None = None
    message: str = ""
    action_url: str | None = None


@dataclass(frozen=True, slots=True)
class RefundOrder:
    """Money to give back from a settled sale. `reference` is ours; `sale` is the sale's.

    `token`: another method of the customer to give it to, where the gateway allows it (None: the one that paid).
    """

    reference: str
    sale: str
    amount: Money
    token: str | None = None


class GivenStatus(StrEnum):
    """What became of a refund or void. PENDING: taken, the gateway's own answer comes later (look it up)."""

    SUCCEEDED = "succeeded"
    FAILED = "failed"
    PENDING = "pending"
    NOT_FOUND = "not_found"


@dataclass(frozen=True, slots=True)
class Given:
    """The gateway's word on money given back. A failure is a value: `code` and `message` say why.

    Codes we act on: `already_settled` (void: too late), `not_settled` (refund: too early), `already_voided`.
    """

    status: GivenStatus
    gateway_id: str | None = None
    code: str | None = None
    message: str = ""


@dataclass(frozen=True, slots=True)
class SettledLine:
    """One line of a settlement batch. Kind: `sale` or `refund`; the amount is above zero for both."""

    batch_id: str
    kind: str
    gateway_id: str
    reference: str
    amount: Money
    settled_at: datetime


@dataclass(frozen=True, slots=True)
class SettlementPage:
    """Lines in the order of their settlement; `cursor` continues after them, `more` says whether there are more now."""

    lines: tuple[SettledLine, ...]
    cursor: str
    more: bool


@dataclass(frozen=True, slots=True)
class TheirTransaction:
    """A transaction as the gateway has it. Kind: `sale` or `refund`.

    State of a sale: authorised, captured, settled, voided, declined, action_required; of a refund: succeeded,
    settled, failed, pending.
    """

    kind: str
    gateway_id: str
    reference: str
    amount: Money
    state: str
    at: datetime


@dataclass(frozen=True, slots=True)
class TransactionPage:
    """Transactions oldest first; `cursor` continues after them, None at the end."""

    rows: tuple[TheirTransaction, ...]
    cursor: str | None


class BadSignature(Exception):
    """An event that was not signed by the gateway, was changed on its way, or is too old."""


@dataclass(frozen=True, slots=True)
class GatewayNotice:
    """A signed event. Kinds we act on: dispute.opened, dispute.evidence_due, dispute.won, dispute.lost.

    For these `data` holds dispute_id, reference (of the sale), amount, fee, currency, reason, evidence_due_at.
    """

    event_id: str
    kind: str
    at: datetime
    data: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class MethodDetails:
    """What may be shown of a token: never the number."""

    token: str
    kind: str
    brand: str
    last4: str
    exp_month: int | None
    exp_year: int | None
    fingerprint: str


@dataclass(frozen=True, slots=True)
class CardChange:
    """A card that its bank renewed or closed; `id` is the gateway's. `card` is as it is now, under the same token."""

    id: str
    card: MethodDetails
    is_closed: bool
    at: datetime


@dataclass(frozen=True, slots=True)
class CardChangePage:
    """Changes in the order in which they were told; `cursor` continues after them, `more`: there are more now."""

    changes: tuple[CardChange, ...]
    cursor: str
    more: bool


@runtime_checkable
class CardUpdater(Protocol):
    """A gateway that tells of cards that were renewed or closed (an account updater)."""

    async def card_changes(self, cursor: str | None) -> CardChangePage:
        """The next changes after the cursor, None: from the first. Raises `GatewayUnavailable`."""
        ...


@runtime_checkable
class HostedPages(Protocol):
    """A gateway whose own pages a customer's browser is sent to: the card's number is entered there, never here."""

    def card_form(self, return_url: str) -> str:
        """Where a card is entered. The browser comes back to `return_url` with `token` added to its query."""
        ...

    def confirm_page(self, action_url: str, return_url: str) -> str:
        """Where the customer confirms a charge (its `action_url`); the browser comes back to `return_url`."""
        ...


class Gateway(Protocol):
    """Every call is safe to repeat with the same reference.

    Raises `GatewayUnavailable` when the order was surely not taken, `OutcomeUnknown` when it may have been.
    """

    @property
    def name(self) -> str: ...

    @property
    def is_sandbox(self) -> bool: ...

    async def sale(self, order: Order) -> Answer: ...

    async def authorise(self, order: Order) -> Answer:
        """Set the amount aside. A repetition is told the first answer, whatever became of it: look it up."""
        ...

    async def capture(self, authorisation: str, order: Order) -> Answer:
        """Take what was set aside under that reference, under the order's own (which may be the same one).

        Twice is as once. Where there is nothing to take (any more) the answer is what became of it: voided, declined,
        not found.
        """
        ...

    async def release(self, authorisation: str) -> Answer:
        """Give back what was set aside; twice is as once. The answer: voided, or what is so instead."""
        ...

    async def void(self, reference: str) -> Answer: ...

    async def lookup(self, reference: str) -> Answer: ...

    async def describe(self, token: str) -> MethodDetails | None: ...

    async def void_sale(self, sale: str) -> Given:
        """Undo an unsettled sale in full. Twice is as once; look it up with `lookup` of the sale."""
        ...

    async def refund(self, order: RefundOrder) -> Given: ...

    async def find_refund(self, reference: str) -> Given: ...

    async def settlements(self, cursor: str | None) -> SettlementPage: ...

    async def transactions(self, since: datetime, until: datetime, cursor: str | None) -> TransactionPage: ...

    def read_event(self, body: bytes, headers: Mapping[str, str]) -> GatewayNotice:
        """Check an event's signature (Standard Webhooks) and read it. Raises `BadSignature`."""
        ...
