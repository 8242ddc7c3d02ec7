"""What is said about a refund: the wish for it, commands to it, facts back from the gateway, steps to take.

Each command and fact has a literal `kind`, by which it is told apart when it travels as JSON.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Literal

from domain.errors import DunlinError, NotFound, Refused
from domain.facts import Recorded
from domain.refund_state import RefundState
from domain.steps import End, Record, Wait


class RefundMode(StrEnum):
    """How money is wished back. VOID: only before settlement, in full. REFUND: only after it, in full or in part.

    VOID_FIRST: a void where the charge is not settled, and a refund if that fails or settlement was faster.
    """

    VOID = "void"
    REFUND = "refund"
    VOID_FIRST = "void_first"


@dataclass(frozen=True, slots=True)
class OpenRefund:
    """Give money of a charge back. `id` comes from the caller's idempotency key; the same id is the same refund.

    `amount`: minor units of the charge's currency, None for all that is left. `payment_method_id`: another method of
    the customer's to give it to (None: the one that paid). `test_mode`: as the charge's.
    """

    id: str
    attempt_id: str
    mode: RefundMode
    reason: str
    actor: str
    amount: int | None = None
    payment_method_id: str | None = None
    test_mode: bool = False


@dataclass(frozen=True, slots=True)
class RefusedOpening:
    """Why a refund was not opened: the parts of a `Refused`, or of a `NotFound` where there is no such charge."""

    code: str
    message: str
    allowed: tuple[str, ...] = ()

    @classmethod
    def of(cls, error: Refused | NotFound) -> RefusedOpening:
        return cls(error.code, error.message, error.allowed if isinstance(error, Refused) else ())

    def as_error(self) -> DunlinError:
        if self.code == NotFound.code:
            return NotFound(self.message)
        return Refused(self.code, self.message, allowed=self.allowed)


@dataclass(frozen=True, slots=True)
class RefundResult:
    """What came of the wish: the refund, or why there is none. One of the two is set."""

    state: RefundState | None = None
    refusal: RefusedOpening | None = None


# ---------------------------------------------------------------- commands


@dataclass(frozen=True, slots=True)
class Approve:
    """A lead agrees to a refund above the limit; never the one who asked for it."""

    kind: Literal["approve"] = "approve"


@dataclass(frozen=True, slots=True)
class Decline:
    """A lead does not agree: the refund is over, and its amount may be given back in another way."""

    kind: Literal["decline"] = "decline"


@dataclass(frozen=True, slots=True)
class TryNow:
    """Try a queued or parked refund at once; the daily retries stay as they were."""

    kind: Literal["try_now"] = "try_now"


@dataclass(frozen=True, slots=True)
class UseMethod:
    """Give a queued refund to another method of the same customer, now. Not a daily retry."""

    payment_method_id: str
    kind: Literal["use_method"] = "use_method"


@dataclass(frozen=True, slots=True)
class TakeOut:
    """Stop trying: the refund is over, and what it held is free again."""

    kind: Literal["take_out"] = "take_out"


RefundCommand = Approve | Decline | TryNow | UseMethod | TakeOut


@dataclass(frozen=True, slots=True)
class RefundEnvelope:
    """A command with who, why, and its identity (made from the caller's idempotency key)."""

    id: str
    command: RefundCommand
    actor: str
    reason: str = ""


# ---------------------------------------------------------------- facts


@dataclass(frozen=True, slots=True)
class Returned:
    """The gateway gave the money back by this try."""

    number: int
    gateway_id: str | None = None
    kind: Literal["returned"] = "returned"


@dataclass(frozen=True, slots=True)
class ReturnFailed:
    """The gateway did not, for the reason in `code`."""

    number: int
    code: str
    message: str = ""
    kind: Literal["return_failed"] = "return_failed"


@dataclass(frozen=True, slots=True)
class ReturnTaken:
    """The gateway took the order; its own answer comes later and must be asked for."""

    number: int
    gateway_id: str | None = None
    kind: Literal["return_taken"] = "return_taken"


@dataclass(frozen=True, slots=True)
class ReturnUnknown:
    """The answer was lost: the gateway must be asked before anything else is tried."""

    number: int
    kind: Literal["return_unknown"] = "return_unknown"


@dataclass(frozen=True, slots=True)
class ReturnParked:
    """The gateway was down and surely did not take the order: the same try again later."""

    number: int
    kind: Literal["return_parked"] = "return_parked"


@dataclass(frozen=True, slots=True)
class ReturnNeverArrived:
    """The gateway says it never saw this try: it may be sent again under the same key."""

    number: int
    kind: Literal["return_never_arrived"] = "return_never_arrived"


@dataclass(frozen=True, slots=True)
class RefundTimePassed:
    """A moment has come: a daily retry is due, or nobody approved in time."""

    what: Literal["retry", "lapse"]
    kind: Literal["refund_time_passed"] = "refund_time_passed"


ReturnOutcome = Returned | ReturnFailed | ReturnTaken | ReturnUnknown | ReturnParked | ReturnNeverArrived
RefundFact = ReturnOutcome | RefundTimePassed | Recorded

# ---------------------------------------------------------------- steps


@dataclass(frozen=True, slots=True)
class GiveBack:
    """Make the running try: row, gateway, outcome."""


@dataclass(frozen=True, slots=True)
class AskReturn:
    """Look up the try whose outcome is missing."""


@dataclass(frozen=True, slots=True)
class RefundTick:
    """Time alone changes the state: apply the fact, no activity."""

    fact: RefundTimePassed


RefundStep = GiveBack | AskReturn | RefundTick | Record | Wait | End
