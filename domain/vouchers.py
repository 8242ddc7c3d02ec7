"""What an e-voucher is good for: how much of it may be redeemed, by whom, until when, and which accounts move.

The balance is what the ledger holds on the voucher's account; nothing here keeps it.
"""

from __future__ import annotations

import base64
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from domain.credits import Receiver, check_fits
from domain.errors import Broken, InvalidInput, Refused
from domain.ledger import CREDIT_GIVEN, CREDIT_IN_TRANSIT, VOUCHER_BREAKAGE, Posting, voucher

VOUCHER_MINOR_MAX = 10**12
CODE_SEED_BYTES = 10  # 80 bits: nobody finds a code by trying
_GROUP = 4


class Move(StrEnum):
    """Why a voucher's balance changed."""

    ISSUED = "issued"
    ADJUSTED = "adjusted"
    REDEEMED = "redeemed"
    GIVEN_BACK = "given_back"
    EXPIRED = "expired"


_AGAINST = {
    Move.ISSUED: CREDIT_GIVEN,
    Move.ADJUSTED: CREDIT_GIVEN,
    Move.REDEEMED: CREDIT_IN_TRANSIT,
    Move.GIVEN_BACK: CREDIT_IN_TRANSIT,
    Move.EXPIRED: VOUCHER_BREAKAGE,
}


@dataclass(frozen=True, slots=True)
class Voucher:
    """A voucher as far as it decides what may be done. `balance` in minor units; without `customer_id` anybody's."""

    id: str
    currency: str
    customer_id: str | None
    expires_at: datetime | None
    test_mode: bool
    balance: int


@dataclass(frozen=True, slots=True)
class IssueVoucher:
    """A voucher to be, in minor units. Without `code` it gets one that cannot be guessed; without `customer_id` it is
    for whoever has the code.
    """

    id: str
    amount: int
    currency: str
    at: datetime
    actor: str
    reason: str
    code: str | None = None
    customer_id: str | None = None
    expires_at: datetime | None = None
    test_mode: bool = False


@dataclass(frozen=True, slots=True)
class AdjustVoucher:
    """Add so much (below zero: take off). `id` is the identity of this one change."""

    id: str
    voucher_id: str
    amount: int
    at: datetime
    actor: str
    reason: str


@dataclass(frozen=True, slots=True)
class Moved:
    """It is done, or was done before under the same id."""

    voucher_id: str


def sides(move: Move, voucher_id: str, amount: int, currency: str) -> tuple[Posting, ...]:
    """The postings of a movement. `amount` is signed: what it adds to the balance. What is left on it, we owe."""
    return (Posting(_AGAINST[move], amount, currency), Posting(voucher(voucher_id), -amount, currency))


def check_issue(amount: int, expires_at: datetime | None, at: datetime) -> None:
    """Raises `InvalidInput` for an amount out of bounds or an end in the past."""
    if not 1 <= amount <= VOUCHER_MINOR_MAX:
        raise InvalidInput("amount", f"must be 1 to {VOUCHER_MINOR_MAX}")
    if expires_at is not None and expires_at <= at:
        raise InvalidInput("expires_at", "must be in the future")


def check_adjust(of: Voucher, amount: int, at: datetime) -> None:
    """Whether so much (below zero: less) may be added. Raises `Refused`: never below zero, never after its end."""
    _refuse_expired(of, at)
    if of.balance + amount < 0:
        raise Refused("exceeds_balance", f"{of.balance} {of.currency} (minor units) are left: no more can be taken off")
    if of.balance + amount > VOUCHER_MINOR_MAX:
        raise Refused("balance_too_large", f"a voucher holds at most {VOUCHER_MINOR_MAX} {of.currency} (minor units)")


def redeemable(of: Voucher, receiver: Receiver, asked: int | None, at: datetime) -> int:
    """How much goes to that subscription: what was asked, or all that is left. Raises `Refused`."""
    check_fits(receiver, what="voucher", currency=of.currency, customer_id=of.customer_id, test_mode=of.test_mode)
    _refuse_expired(of, at)
    if of.balance == 0:
        raise Refused("voucher_used_up", "nothing is left on this voucher")
    amount = of.balance if asked is None else asked
    if amount > of.balance:
        raise Refused("exceeds_balance", f"{of.balance} {of.currency} (minor units) are left: redeem that much or less")
    return amount


def is_expired(of: Voucher, at: datetime) -> bool:
    """The instant of its end is not part of its life."""
    return of.expires_at is not None and of.expires_at <= at


def code_from(seed: bytes) -> str:
    """A code such as `ABCD-EFGH-IJKL-MNOP` from `CODE_SEED_BYTES` of chance: letters and 2 to 7, none alike."""
    if len(seed) != CODE_SEED_BYTES:
        raise Broken(f"a code needs {CODE_SEED_BYTES} bytes of chance, not {len(seed)}")
    text = base64.b32encode(seed).decode()
    return "-".join(text[start : start + _GROUP] for start in range(0, len(text), _GROUP))


def code_of(given: str) -> str:
    """A code as it is kept and found: upper and lower case are one."""
    return given.upper()


def _refuse_expired(of: Voucher, at: datetime) -> None:
    if of.expires_at is not None and is_expired(of, at):
        raise Refused("voucher_expired", f"this voucher ended at {of.expires_at.isoformat()}")
