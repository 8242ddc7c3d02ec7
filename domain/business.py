"""Rules that the merchant sets: when a refund needs a lead, whom to tell, what a dispute leads to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

APPROVAL_HOURS_DEFAULT = 48


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
class DisputeRules:
    """What an opened and a lost dispute do to the subscription, and whether a lost one blacklists the payer."""

    on_opened: Consequence = Consequence.NONE
    on_lost: Consequence = Consequence.CANCEL
    blacklist_on_lost: bool = False
