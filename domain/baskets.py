"""An agent's offer to a customer, good until it expires: where it stands, how long it may, what it becomes when paid.

Everything that a payment makes has an id made from the basket's: a second press, another browser and the back button
make the same order again, and pay it once.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

from domain.errors import InvalidInput, Refused
from domain.ids import derive

ID_PREFIX: Final = "bsk"
LIFE: Final = timedelta(days=7)
LIFE_MAX: Final = timedelta(days=90)
# Why a charge was made: the customer pressed the button on a basket's page.
TRIGGER: Final = "basket"


class BasketStanding(StrEnum):
    """OPEN: it can be edited, and paid. TAKEN: somebody has begun to pay; from here on the order has the say."""

    OPEN = "open"
    TAKEN = "taken"
    EXPIRED = "expired"
    WITHDRAWN = "withdrawn"


def standing(
    now: datetime, *, expires_at: datetime, withdrawn_at: datetime | None, order_id: str | None
) -> BasketStanding:
    """Where it stands. The instant of its end is after its end; what is taken neither expires nor is withdrawn."""
    if order_id is not None:
        return BasketStanding.TAKEN
    if withdrawn_at is not None:
        return BasketStanding.WITHDRAWN
    return BasketStanding.EXPIRED if now >= expires_at else BasketStanding.OPEN


def expiry(wanted: datetime | None, now: datetime) -> datetime:
    """A whole second ahead. Raises `InvalidInput`."""
    ends = ((now + LIFE) if wanted is None else wanted).replace(microsecond=0)
    if not now < ends <= now + LIFE_MAX:
        raise InvalidInput("expires_at", f"lies ahead, by at most {LIFE_MAX.days} days")
    return ends


def order_id_of(basket_id: str) -> str:
    """The one order that a basket becomes."""
    return derive("ord", "basket", basket_id)


def press_of(basket_id: str) -> str:
    """The one command by which a basket is first paid."""
    return derive("cmd", "basket", basket_id)


def refuse_unless_open(stands: BasketStanding) -> None:
    """Raises `Refused` for an edit or a link of a basket that can be paid no more."""
    match stands:
        case BasketStanding.OPEN:
            return
        case BasketStanding.TAKEN:
            raise Refused("basket_taken", "The customer has begun to pay this basket: see its order.")
        case BasketStanding.EXPIRED:
            raise Refused("basket_expired", "This basket has expired; make a new one.")
        case BasketStanding.WITHDRAWN:
            raise Refused("basket_withdrawn", "This basket was withdrawn; make a new one.")
