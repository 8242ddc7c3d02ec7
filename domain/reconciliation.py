"""Whether our books and a gateway's agree on a transaction, and if not: in what, by how much, and what to do.

A transaction is one sale or refund under our reference. Two sides agree when they have it, in the same amount, when it
moved the same money on both, and when both call it settled once there was time for that to be told.

What is on its way is in nobody's books yet: an attempt that waits for its answer, a charge that is being voided. Such
a side is compared only when it is older than any call takes.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

from domain.errors import Broken

# How long an outcome may be open before the gateway's word on it is a difference.
IN_FLIGHT_MAX: Final = timedelta(hours=1)
# How long one side may call a transaction settled before the other has to.
SETTLEMENT_LAG_MAX: Final = timedelta(days=3)

_MOVES: Final = {"sale": 1, "refund": -1}
_MOVED: Final = frozenset({"captured", "settled", "succeeded"})
_SETTLED: Final = "settled"
# What was refused at once need not be in the books of who refused it.
_REFUSED: Final = "failed"


class Mismatch(StrEnum):
    """How two sides differ; the first that holds."""

    MISSING_HERE = "missing_here"
    MISSING_THERE = "missing_there"
    AMOUNT = "amount"
    STATE = "state"


@dataclass(frozen=True, slots=True)
class Transaction:
    """One transaction as one side has it. `kind`: sale or refund; `amount` in minor units, above zero for both.

    `state`: captured, settled, succeeded moved money; any other moved none. `at` is a wall time, never a virtual one.
    `open_since`: its outcome is on its way since then (None: it is final, or final so far). `taken_at`: when the money
    was asked for, where it had been authorised before. `adopted`: what was booked besides, because the other side said
    so; from then on only the money is compared.
    """

    kind: str
    reference: str
    amount: int
    currency: str
    state: str
    gateway_id: str | None
    at: datetime
    open_since: datetime | None = None
    adopted: int | None = None
    taken_at: datetime | None = None

    @property
    def moved(self) -> int:
        """What it added to the money at the gateway, in minor units; a refund took some."""
        own = _MOVES[self.kind] * self.amount if self.state in _MOVED else 0
        return own + (self.adopted or 0)


@dataclass(frozen=True, slots=True)
class Finding:
    """A difference on one transaction, with both sides as they are."""

    mismatch: Mismatch
    ours: Transaction | None
    theirs: Transaction | None

    @property
    def transaction(self) -> Transaction:
        """The side that has it: ours, where both do."""
        side = self.ours or self.theirs
        if side is None:
            raise Broken("a difference of two sides that are both missing")
        return side

    @property
    def owed(self) -> int:
        """What our books lack to have what the gateway says, in minor units."""
        theirs = self.theirs.moved if self.theirs else 0
        return theirs - (self.ours.moved if self.ours else 0)


def compare(
    ours: Iterable[Transaction], theirs: Iterable[Transaction], *, now: datetime, in_flight: timedelta = IN_FLIGHT_MAX
) -> tuple[Finding, ...]:
    """All differences, by reference. Nothing is left out on either side, and equal sides give none.

    A reference may stand more than once on a side: a second one that moved money has no partner and is a difference.
    """
    here, there = _by_reference(ours), _by_reference(theirs)
    found: list[Finding] = []
    for key in sorted({*here, *there}):
        found += _compare(here[key], there[key], now, in_flight)
    return tuple(found)


def advice(finding: Finding) -> str:
    """What a person should do next, in a sentence."""
    match finding.mismatch:
        case Mismatch.MISSING_HERE:
            return "Find out at the gateway what this is. Adopt it to book what the gateway says, or dismiss it."
        case Mismatch.MISSING_THERE:
            return "Ask the gateway what became of it. Adopt to take it out of our money, or dismiss it."
        case Mismatch.AMOUNT:
            return "Ask the gateway which amount is right. Adopt to book the difference, or dismiss it."
        case Mismatch.STATE:
            return "Recheck once both sides had time. Adopt to book what the gateway says, or dismiss it."


def _by_reference(side: Iterable[Transaction]) -> defaultdict[tuple[str, str], list[Transaction]]:
    grouped: defaultdict[tuple[str, str], list[Transaction]] = defaultdict(list)
    for each in side:
        grouped[each.reference, each.kind].append(each)
    return grouped


def _compare(
    ours: Sequence[Transaction], theirs: Sequence[Transaction], now: datetime, in_flight: timedelta
) -> list[Finding]:
    """The differences of one reference."""
    partners, alone_here, alone_there = _pair(ours, theirs)
    found = [_missing(Mismatch.MISSING_THERE, each, now, in_flight) for each in alone_here]
    found += [_missing(Mismatch.MISSING_HERE, each, now, in_flight) for each in alone_there]
    found += [_differ(one, other, now, in_flight) for one, other in partners]
    return [each for each in found if each is not None]


def _pair(
    ours: Sequence[Transaction], theirs: Sequence[Transaction]
) -> tuple[list[tuple[Transaction, Transaction]], list[Transaction], list[Transaction]]:
    """Partners: first those with the same gateway id, then, where a side does not know it, what moved money first.

    Two ids under one reference are two transactions. What is left on each side has no partner.
    """
    pairs: list[tuple[Transaction, Transaction]] = []
    here, there = sorted(ours, key=_weight), sorted(theirs, key=_weight)
    for fits in (_same, _may_be_same):
        for one in tuple(here):
            partner = next((other for other in there if fits(one, other)), None)
            if partner is not None:
                pairs.append((one, partner))
                here.remove(one)
                there.remove(partner)
    if pairs:
        # A decline beside its successful repetition moved nothing: it is the same story told twice.
        here, there = [each for each in here if each.moved], [each for each in there if each.moved]
    return pairs, here, there


def _same(one: Transaction, other: Transaction) -> bool:
    return one.gateway_id is not None and one.gateway_id == other.gateway_id


def _may_be_same(one: Transaction, other: Transaction) -> bool:
    return one.gateway_id is None or other.gateway_id is None


def _weight(each: Transaction) -> tuple[bool, int, str]:
    return (not each.moved, each.amount, each.gateway_id or "")


def _missing(mismatch: Mismatch, alone: Transaction, now: datetime, in_flight: timedelta) -> Finding | None:
    """What was never answered need not be there; what is on its way may be on its way there too."""
    answered = alone.open_since is None and alone.adopted is None and alone.state != _REFUSED
    expected = alone.moved or answered
    if not expected or _in_flight(alone, now, in_flight):
        return None
    here = mismatch is Mismatch.MISSING_THERE
    return Finding(mismatch, alone if here else None, None if here else alone)


def _differ(ours: Transaction, theirs: Transaction, now: datetime, in_flight: timedelta) -> Finding | None:
    if _in_flight(ours, now, in_flight) or _in_flight(theirs, now, in_flight):
        return None
    if (ours.adopted, theirs.adopted) != (None, None):
        return None if ours.moved == theirs.moved else Finding(Mismatch.STATE, ours, theirs)
    if (ours.amount, ours.currency) != (theirs.amount, theirs.currency):
        return Finding(Mismatch.AMOUNT, ours, theirs)
    told = ours.state == _SETTLED, theirs.state == _SETTLED
    last = max(ours.at, theirs.at, *(each.taken_at for each in (ours, theirs) if each.taken_at is not None))
    untold = told[0] != told[1] and last < now - SETTLEMENT_LAG_MAX
    if ours.moved != theirs.moved or untold:
        return Finding(Mismatch.STATE, ours, theirs)
    return None


def _in_flight(side: Transaction, now: datetime, in_flight: timedelta) -> bool:
    return side.open_since is not None and side.open_since > now - in_flight
