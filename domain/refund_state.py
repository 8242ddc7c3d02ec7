"""All that a refund is, in one serialisable value: what its workflow carries.

Instants are aware UTC at whole seconds, in the refund's own time. Amounts are minor units of `currency`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum

from domain.state import ENTRY_REASON_LENGTH_MAX, SYSTEM, Datum, Entry


class RefundKind(StrEnum):
    """Which of the two the gateway is asked for."""

    VOID = "void"
    REFUND = "refund"


class RefundPhase(StrEnum):
    """Where a refund stands.

    APPROVAL: a lead must agree. TRY: call the gateway now. PARKED: the gateway is down, the same try again at
    `not_before`. UNKNOWN: the answer was lost, ask. TAKEN: the gateway has it and answers later, ask. QUEUED: it failed
    and is tried again at `retry_at`. The others are final.
    """

    APPROVAL = "approval"
    TRY = "try"
    PARKED = "parked"
    UNKNOWN = "unknown"
    TAKEN = "taken"
    QUEUED = "queued"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELED = "canceled"
    LAPSED = "lapsed"


FINAL = frozenset({RefundPhase.SUCCEEDED, RefundPhase.FAILED, RefundPhase.CANCELED, RefundPhase.LAPSED})


@dataclass(frozen=True, slots=True)
class RefundState:
    """A refund. `sale` is our reference of the charge at the gateway.

    `number` is that of the next (or running) try, never reused; `trigger` says why it is made: request, retry (a daily
    one) or manual. `retries` counts daily retries begun. `payment_method_id`: where the money goes, None for the method
    that paid. `ahead_s`: how far a test refund's clock was ahead of the wall clock when it was opened.
    """

    id: str
    attempt_id: str
    invoice_id: str
    subscription_id: str | None
    customer_id: str
    zone: str
    gateway: str
    sale: str
    amount: int
    currency: str
    kind: RefundKind
    void_first: bool
    reason: str
    actor: str
    requested_at: datetime
    phase: RefundPhase
    test_mode: bool = False
    ahead_s: int = 0
    payment_method_id: str | None = None
    number: int = 1
    trigger: str = "request"
    retries: int = 0
    first_failed_at: datetime | None = None
    retry_at: datetime | None = None
    not_before: datetime | None = None
    parked: int = 0
    lookups: int = 0
    last_code: str | None = None
    approval_deadline: datetime | None = None
    approved_by: str | None = None
    ended_at: datetime | None = None
    seq: int = 0
    journal: tuple[Entry, ...] = ()
    recent_commands: tuple[str, ...] = ()
    order_id: str | None = None

    @property
    def status(self) -> str:
        """As lists show it (see `models.refunds.Refund`)."""
        match self.phase:
            case RefundPhase.APPROVAL:
                return "awaiting_approval"
            case RefundPhase.TRY | RefundPhase.PARKED | RefundPhase.TAKEN:
                return "pending"
            case _:
                return self.phase.value

    def note(self, at: datetime, kind: str, *, actor: str = SYSTEM, reason: str = "", **data: Datum) -> RefundState:
        """The same refund with one more line in its journal."""
        entry = Entry(self.seq + 1, at, kind, actor, reason[:ENTRY_REASON_LENGTH_MAX], data)
        return replace(self, seq=entry.seq, journal=(*self.journal, entry))
