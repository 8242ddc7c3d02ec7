"""Where an invoice stands for the customer who pays it by a link: what its page says, and whether it offers to pay."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from domain.declines import DeclineKind

# Why a charge was made: the customer pressed the button on the page of a link.
TRIGGER: Final = "link"
ACTOR: Final = "customer"
# Of one invoice through links, declined ones included: whoever tries cards one after the other gets no further.
TRIES_PER_DAY_MAX: Final = 10


class Stand(StrEnum):
    """What the page tells. `OPEN`, `DECLINED`: it can be paid now."""

    PAID = "paid"
    CLOSED = "closed"
    OPEN = "open"
    DECLINED = "declined"
    CONFIRM = "confirm"
    CHECKING = "checking"
    PARKED = "parked"
    HELD = "held"


@dataclass(frozen=True, slots=True)
class Tried:
    """One try to collect it, as the books have it."""

    status: str
    method_id: str | None = None
    code: str | None = None
    decline: str | None = None
    action_url: str | None = None


_OF_LAST_TRY: Final = {
    "declined": Stand.DECLINED,
    "action_required": Stand.CONFIRM,
    "pending": Stand.CHECKING,
    "unknown": Stand.CHECKING,
    "parked": Stand.PARKED,
    "authorised": Stand.HELD,
    "capturing": Stand.HELD,
    "releasing": Stand.CHECKING,
}


def stand(invoice_status: str, tries: Sequence[Tried]) -> Stand:
    """By the invoice first, then by its last try. One that was approved and is not in the invoice yet is being checked,
    and never paid again.
    """
    match invoice_status:
        case "paid":
            return Stand.PAID
        case "open" if not tries:
            return Stand.OPEN
        case "open" if tries[-1].status == "approved":
            return Stand.CHECKING
        case "open":
            return _OF_LAST_TRY.get(tries[-1].status, Stand.OPEN)
        case _:
            return Stand.CLOSED


def can_pay(stands: Stand) -> bool:
    """Whether the page offers to pay: not while the gateway may hold money for it. One that is parked took none."""
    return stands in {Stand.OPEN, Stand.DECLINED, Stand.PARKED}


def refused_for_good(tries: Sequence[Tried]) -> frozenset[str]:
    """The methods that this invoice is not tried with any more."""
    hard = (each.method_id for each in tries if each.decline == DeclineKind.HARD)
    return frozenset(method for method in hard if method is not None)
