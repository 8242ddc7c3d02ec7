"""What a gateway's word on a dispute changes: its status, its dates and the money that moves.

    opened < evidence_due < won | lost

A dispute only goes forward, so events may come twice and in any order: the same events end in the same dispute and
the same money. Its status and its money are fixed by the first final word; a later word to the contrary is a conflict
for a person.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, Final

from domain.business import Consequence, DisputeRules
from domain.errors import InvalidInput
from domain.ledger import CHARGEBACK_LOSS, DISPUTE_FEES, Posting, balanced, cash, disputed
from domain.money import MINOR_MAX, is_currency

KIND_PREFIX: Final = "dispute."
TEXT_LENGTH_MAX: Final = 255
REASON_LENGTH_MAX: Final = 500


class DisputeStatus(StrEnum):
    """How far a dispute has come. The last two are final."""

    OPENED = "opened"
    EVIDENCE_DUE = "evidence_due"
    WON = "won"
    LOST = "lost"

    @property
    def is_final(self) -> bool:
        return self in {DisputeStatus.WON, DisputeStatus.LOST}


_ORDER: Final = (DisputeStatus.OPENED, DisputeStatus.EVIDENCE_DUE)


class Step(StrEnum):
    """A movement of money that a dispute makes once."""

    OPENED = "opened"
    WON = "won"
    LOST = "lost"
    FEE = "fee"


@dataclass(frozen=True, slots=True)
class DisputeEvent:
    """What a gateway says of a dispute at one moment. `reference` is ours, of the disputed sale; amounts minor units.

    `fee` is what the gateway takes if the dispute is lost.
    """

    status: DisputeStatus
    at: datetime
    dispute: str
    reference: str
    amount: int
    currency: str
    fee: int = 0
    reason: str = ""
    evidence_due_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Dispute:
    """A dispute as all that was heard of it makes it. `fee` is what it cost us, known once it is lost."""

    status: DisputeStatus
    reference: str
    amount: int
    currency: str
    fee: int
    reason: str
    opened_at: datetime
    evidence_due_at: datetime | None = None
    closed_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Folded:
    """A dispute after an event, the money that moves now, and why the event cannot be true (then nothing changes)."""

    dispute: Dispute
    steps: tuple[Step, ...] = ()
    conflict: str | None = None


def read_event(kind: str, at: datetime, data: Mapping[str, Any]) -> DisputeEvent | None:
    """The event in a gateway's words, None where it is not about a dispute.

    Raises `InvalidInput`, naming the part of `data` that cannot be read.
    """
    if not kind.startswith(KIND_PREFIX):
        return None
    word = kind.removeprefix(KIND_PREFIX)
    if word not in set(DisputeStatus):
        return None
    if at.tzinfo is None:
        raise InvalidInput("timestamp", "needs an offset")
    currency = _text(data, "currency")
    if not is_currency(currency):
        raise InvalidInput("currency", "is not an active ISO 4217 code")
    return DisputeEvent(
        status=DisputeStatus(word),
        at=_whole(at),
        dispute=_text(data, "dispute_id"),
        reference=_text(data, "reference"),
        amount=_minor(data, "amount", least=1),
        currency=currency,
        fee=_minor(data, "fee", least=0, default=0),
        reason=str(data.get("reason") or "")[:REASON_LENGTH_MAX],
        evidence_due_at=_moment(data, "evidence_due_at"),
    )


def fold(known: Dispute | None, event: DisputeEvent) -> Folded:
    """The dispute after this event, whatever was heard before it."""
    if known is None:
        known = Dispute(
            DisputeStatus.OPENED, event.reference, event.amount, event.currency, 0, event.reason, opened_at=event.at
        )
        return Folded(_followed(known, event), _steps(None, event.status, event.fee))
    conflict = _conflict(known, event)
    if conflict is not None:
        return Folded(known, conflict=conflict)
    return Folded(_followed(known, event), _steps(known.status, event.status, event.fee))


def postings(step: Step, gateway: str, *, amount: int, fee: int, currency: str) -> tuple[Posting, ...]:
    """The two sides of a step, in minor units."""
    match step:
        case Step.OPENED:
            debit, credit, moved = disputed(gateway), cash(gateway), amount
        case Step.WON:
            debit, credit, moved = cash(gateway), disputed(gateway), amount
        case Step.LOST:
            debit, credit, moved = CHARGEBACK_LOSS, disputed(gateway), amount
        case Step.FEE:
            debit, credit, moved = DISPUTE_FEES, cash(gateway), fee
    return balanced(f"dispute {step}", [Posting(debit, moved, currency), Posting(credit, -moved, currency)])


def consequences(before: Dispute | None, after: Dispute, rules: DisputeRules) -> dict[DisputeStatus, Consequence]:
    """What follows for the subscription, by what it follows from: asked for once, as the dispute gets there.

    A dispute that we first hear of when it is over was never open to us.
    """
    due: dict[DisputeStatus, Consequence] = {}
    if before is None and not after.status.is_final:
        due[DisputeStatus.OPENED] = rules.on_opened
    if after.status is DisputeStatus.LOST and (before is None or not before.status.is_final):
        due[DisputeStatus.LOST] = rules.on_lost
    return {status: consequence for status, consequence in due.items() if consequence is not Consequence.NONE}


def _followed(known: Dispute, event: DisputeEvent) -> Dispute:
    """Every field by a rule that does not ask in which order the events came."""
    deadlines = [moment for moment in (known.evidence_due_at, event.evidence_due_at) if moment is not None]
    says_why = event.reason and (event.status is DisputeStatus.OPENED or not known.reason)
    after = replace(
        known,
        opened_at=min(known.opened_at, event.at),
        evidence_due_at=max(deadlines, default=None),
        reason=event.reason if says_why else known.reason,
    )
    if known.status.is_final:
        return after
    if event.status.is_final:
        fee = event.fee if event.status is DisputeStatus.LOST else 0
        return replace(after, status=event.status, fee=fee, closed_at=event.at)
    return replace(after, status=max(known.status, event.status, key=_ORDER.index))


def _steps(before: DisputeStatus | None, now: DisputeStatus, fee: int) -> tuple[Step, ...]:
    """The money that an event moves: what every status on the way to it moves, less what was moved before."""
    steps: list[Step] = [] if before is not None else [Step.OPENED]
    if now is DisputeStatus.WON and now is not before:
        steps.append(Step.WON)
    if now is DisputeStatus.LOST and now is not before:
        steps += [Step.LOST, Step.FEE] if fee else [Step.LOST]
    return tuple(steps)


def _conflict(known: Dispute, event: DisputeEvent) -> str | None:
    if event.reference != known.reference:
        return f"it was about the sale {known.reference}, now it is about {event.reference}"
    if (event.amount, event.currency) != (known.amount, known.currency):
        return f"it was {known.amount} {known.currency}, now it is {event.amount} {event.currency} (minor units)"
    if known.status.is_final and event.status.is_final and event.status is not known.status:
        return f"it was {known.status}, now it is {event.status}"
    return None


def _text(data: Mapping[str, Any], name: str) -> str:
    value = data.get(name)
    if not isinstance(value, str) or not 1 <= len(value) <= TEXT_LENGTH_MAX or not value.isprintable():
        raise InvalidInput(name, f"is 1 to {TEXT_LENGTH_MAX} printable characters")
    return value


def _minor(data: Mapping[str, Any], name: str, *, least: int, default: int | None = None) -> int:
    value = data.get(name)
    if value is None and default is not None:
        return default
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= MINOR_MAX:
        raise InvalidInput(name, f"is a whole number of minor units from {least} to {MINOR_MAX}")
    return value


def _moment(data: Mapping[str, Any], name: str) -> datetime | None:
    value = data.get(name)
    if value is None:
        return None
    try:
        moment = datetime.fromisoformat(value)
    except (TypeError, ValueError):
        raise InvalidInput(name, "is an RFC 3339 time with offset") from None
    if moment.tzinfo is None:
        raise InvalidInput(name, "is an RFC 3339 time with offset")
    return _whole(moment)


def _whole(moment: datetime) -> datetime:
    return moment.astimezone(UTC).replace(microsecond=0)
