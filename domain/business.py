"""Rules that the merchant sets: when a refund needs a lead, whom to tell, what a dispute leads to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

APPROVAL_HOURS_DEFAULT = 48
AGENT_RATE_DEFAULT = 20_000


class Consequence(StrEnum):
    """What happens to the subscription of a disputed charge."""

    NONE = "none"
    PAUSE = "pause"
    CANCEL = "cancel"


@dataclass(frozen=True, slots=True)
class RefundRules:
    """`approval_limits`: currency → minor units; a refund above needs a lead within `approval_hours`, or it lapses.

    `notify`: the addresses told when a refund leaves the queue without success.
    """

    notify: tuple[str, ...] = ()
    approval_limits: Mapping[str, int] = field(default_factory=dict[str, int])
    approval_hours: int = APPROVAL_HOURS_DEFAULT


@dataclass(frozen=True, slots=True)
class DiscountRules:
    """What an agent may give one customer: `agent_rate` in thousandths of a percent, `agent_amounts` by currency.

    More takes a lead; an amount in a currency that is not named does, too.
    """

    agent_rate: int = AGENT_RATE_DEFAULT
    agent_amounts: Mapping[str, int] = field(default_factory=dict[str, int])


class Running(StrEnum):
    """What becomes of the running subscriptions of somebody on the blacklist: billed as before, or charged no more."""

    KEEP = "keep"
    STOP = "stop"


@dataclass(frozen=True, slots=True)
class BlacklistRules:
    """By what somebody is known → what becomes of their running subscriptions. A card is never charged."""

    email: Running = Running.KEEP
    phone: Running = Running.KEEP
    address: Running = Running.KEEP

    @property
    def stopping(self) -> tuple[str, ...]:
        """The kinds of marks that stop charges."""
        kinds = {"email": self.email, "phone": self.phone, "address": self.address}
        return tuple(kind for kind, running in kinds.items() if running is Running.STOP)


@dataclass(frozen=True, slots=True)
class DisputeRules:
    """What an opened and a lost dispute do to the subscription, and whether a lost one blacklists the payer."""

    on_opened: Consequence = Consequence.NONE
    on_lost: Consequence = Consequence.CANCEL
    blacklist_on_lost: bool = False
