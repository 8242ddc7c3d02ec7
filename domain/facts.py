"""What happened to a subscription: answers of the world and moments of its plan; facts are never refused.

Each has a literal `kind`, by which it is told apart when it travels as JSON.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from domain.declines import DeclineKind
from domain.terms import DunningTerms


@dataclass(frozen=True, slots=True)
class Charged:
    """The invoice was paid in full by this attempt; amount 0 means nothing had to be charged."""

    attempt: int
    amount: int
    method_id: str | None = None
    gateway: str | None = None
    gateway_id: str | None = None
    kind: Literal["charged"] = "charged"


@dataclass(frozen=True, slots=True)
class Declined:
    """The attempt was declined. `another`: the customer has a method not yet tried in this round.

    `policy` is the dunning policy in force, pinned if dunning starts now.
    """

    attempt: int
    method_id: str
    code: str
    decline: DeclineKind
    another: bool
    policy: DunningTerms
    gateway: str | None = None
    kind: Literal["declined"] = "declined"


@dataclass(frozen=True, slots=True)
class NoMethod:
    """There was nothing to charge: counts as a failed attempt, and the customer is asked for a card."""

    attempt: int
    policy: DunningTerms
    kind: Literal["no_method"] = "no_method"


@dataclass(frozen=True, slots=True)
class Parked:
    """The gateway was down and surely did not take the charge: the same attempt again later."""

    attempt: int
    gateway: str
    kind: Literal["parked"] = "parked"


@dataclass(frozen=True, slots=True)
class Unknown:
    """The answer was lost: the gateway must be asked before anything else is tried."""

    attempt: int
    gateway: str
    kind: Literal["unknown"] = "unknown"


@dataclass(frozen=True, slots=True)
class NeverArrived:
    """The gateway says it never saw this attempt: it may be sent again under the same key."""

    attempt: int
    kind: Literal["never_arrived"] = "never_arrived"


@dataclass(frozen=True, slots=True)
class ActionRequired:
    """The customer must confirm at `url` (3-D Secure)."""

    attempt: int
    method_id: str
    url: str
    gateway: str | None = None
    kind: Literal["action_required"] = "action_required"


@dataclass(frozen=True, slots=True)
class Authorised:
    """The amount is set aside at the gateway, and nothing is taken yet."""

    attempt: int
    amount: int
    method_id: str | None = None
    gateway: str | None = None
    gateway_id: str | None = None
    kind: Literal["authorised"] = "authorised"


@dataclass(frozen=True, slots=True)
class Released:
    """What was set aside is given back, or was gone already: nothing was taken."""

    attempt: int
    amount: int
    gateway: str | None = None
    kind: Literal["released"] = "released"


@dataclass(frozen=True, slots=True)
class Recorded:
    """The journal up to and with `seq` is in the books."""

    seq: int
    kind: Literal["recorded"] = "recorded"


@dataclass(frozen=True, slots=True)
class TimePassed:
    """A moment of the plan has come (see `lifecycle.next_step`)."""

    what: Literal[
        "start",
        "open_cycle",
        "skip_cycle",
        "notice",
        "pause",
        "resume",
        "cancel",
        "hold_expired",
        "grace_ended",
        "retry",
    ]
    kind: Literal["time_passed"] = "time_passed"


Outcome = Charged | Declined | NoMethod | Parked | Unknown | NeverArrived | ActionRequired | Authorised | Released
Fact = Outcome | Recorded | TimePassed
