"""Disputes at the sandbox gateway: when the money is taken back, given again, and what the fee is.

opened ──▶ evidence_due ──▶ won     the amount leaves at `opened` and comes back at `won`
   └───────────┴──────────▶ lost    the fee leaves at `lost`
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from datetime import UTC, datetime
from typing import Any, Final

from local.gateway.bank import Refusal
from local.gateway.books import MONEY_TAKEN, Books, new_id, now_ms
from local.gateway.events import Events
from local.gateway.schemas import NewDispute

_SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS disputes (
    seq INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, charge_id TEXT NOT NULL, reference TEXT NOT NULL,
    amount INTEGER NOT NULL, fee INTEGER NOT NULL, currency TEXT NOT NULL, reason TEXT NOT NULL,
    evidence_due_ms INTEGER NOT NULL, status TEXT NOT NULL, created_ms INTEGER NOT NULL);
CREATE INDEX IF NOT EXISTS disputes_charge ON disputes (charge_id);
"""
_TABLES: Final = ("disputes",)
EVIDENCE_MS: Final = 7 * 24 * 3600 * 1000
_BEFORE: Final = {"evidence_due": {"opened"}, "won": {"opened", "evidence_due"}, "lost": {"opened", "evidence_due"}}


@dataclass(slots=True)
class Dispute:
    """A customer's bank took a charge back. Amount and fee in minor units, times in milliseconds since 1970."""

    id: str
    charge_id: str
    reference: str
    amount: int
    fee: int
    currency: str
    reason: str
    evidence_due_ms: int
    status: str
    created_ms: int

    def told(self) -> dict[str, Any]:
        """What its events say of it."""
        return {
            "dispute_id": self.id,
            "reference": self.reference,
            "amount": self.amount,
            "fee": self.fee,
            "currency": self.currency,
            "reason": self.reason,
            "evidence_due_at": iso(self.evidence_due_ms),
        }


_COLUMNS: Final = ", ".join(field.name for field in fields(Dispute))
_PLACES: Final = ", ".join(f":{field.name}" for field in fields(Dispute))


class DisputeBooks:
    """Disputes over the connection of the books."""

    def __init__(self, books: Books) -> None:
        self._db: Final = books.keep(_SCHEMA, _TABLES)

    def add(self, dispute: Dispute) -> None:
        self._db.execute(
            f"INSERT INTO disputes ({_COLUMNS}) VALUES ({_PLACES})",  # noqa: S608 - own constants
            asdict(dispute),
        )

    def find(self, dispute_id: str) -> Dispute | None:
        row = self._db.execute(
            f"SELECT {_COLUMNS} FROM disputes WHERE id = ?",  # noqa: S608 - own constants
            (dispute_id,),
        ).fetchone()
        return Dispute(*row) if row else None

    def set_status(self, dispute: Dispute, status: str) -> None:
        dispute.status = status
        self._db.execute("UPDATE disputes SET status = ? WHERE id = ?", (status, dispute.id))

    def taken(self, charge_id: str) -> int:
        """What disputes took of a charge and did not give back, in minor units."""
        row = self._db.execute(
            "SELECT coalesce(sum(amount), 0) FROM disputes WHERE charge_id = ? AND status <> 'won'", (charge_id,)
        ).fetchone()
        return row[0]


class Disputes:
    """The rules of disputes; each step is one commit with the event that tells of it."""

    def __init__(self, books: Books, disputes: DisputeBooks, events: Events) -> None:
        self._books: Final = books
        self._disputes: Final = disputes
        self._events: Final = events

    def open(self, asked: NewDispute) -> dict[str, Any]:
        """Take money of a charge back. Never more than was captured and not disputed already."""
        charge = self._books.find(asked.charge)
        if charge is None:
            raise Refusal(404, "not_found", "no such charge", field="charge")
        left = charge.captured_amount - self._disputes.taken(charge.id) if charge.state in MONEY_TAKEN else 0
        amount = asked.amount or left
        if not 0 < amount <= left:
            raise Refusal(409, "exceeds_captured", f"{left} of this charge can be disputed", field="amount")
        now = now_ms()
        due = now + EVIDENCE_MS if asked.evidence_due_at is None else int(asked.evidence_due_at.timestamp() * 1000)
        dispute = Dispute(
            id=new_id("dp"),
            charge_id=charge.id,
            reference=charge.capture_reference or charge.reference,
            amount=amount,
            fee=asked.fee,
            currency=charge.currency,
            reason=asked.reason,
            evidence_due_ms=due,
            status="opened",
            created_ms=now,
        )
        with self._books.one_commit():
            self._disputes.add(dispute)
            event = self._events.emit("dispute.opened", dispute.told())
        return _shown(dispute, event)

    def move(self, dispute_id: str, status: str) -> dict[str, Any]:
        """Go on to `evidence_due`, `won` or `lost`."""
        dispute = self._disputes.find(dispute_id)
        if dispute is None:
            raise Refusal(404, "not_found", "no such dispute")
        if dispute.status not in _BEFORE[status]:
            raise Refusal(409, "wrong_state", f"a dispute that is {dispute.status} cannot become {status}")
        with self._books.one_commit():
            self._disputes.set_status(dispute, status)
            event = self._events.emit(f"dispute.{status}", dispute.told())
        return _shown(dispute, event)


def iso(milliseconds: int) -> str:
    return datetime.fromtimestamp(milliseconds / 1000, UTC).isoformat()


def _shown(dispute: Dispute, event: str) -> dict[str, Any]:
    return dispute.told() | {"id": dispute.id, "status": dispute.status, "event": event}
