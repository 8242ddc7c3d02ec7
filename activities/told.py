"""What an earlier run of the same step has written: it stands, whatever the world says now.

A machine may die after an outcome is in the books and before Temporal knows of it. The step is run again, and by then
the gateway may be up, or a card may have been added. A second outcome would not fit the timeline; so the first is read
back from it. Outcomes that write no line change no books: they may differ.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from domain.declines import DeclineKind
from domain.errors import Broken
from domain.facts import (
    ActionRequired,
    Authorised,
    Charged,
    Declined,
    NoMethod,
    Outcome,
    Parked,
    Released,
    Unknown,
)
from domain.state import State
from domain.terms import DunningTerms


@dataclass(frozen=True, slots=True)
class Told:
    """The first line of the timeline after the state that the step began with."""

    kind: str
    data: dict[str, Any]


async def told(connection: AsyncConnection, state: State) -> Told | None:
    """The line that an earlier run of this step wrote; None if there was none. One statement."""
    row = (await connection.execute(_NEXT, {"subscription": state.id, "seq": state.seq + 1})).one_or_none()
    return Told(row.kind, row.data) if row is not None else None


def outcome_of(line: Told, attempt: int, policy: DunningTerms) -> Outcome:  # noqa: PLR0911 - one for each case
    """The outcome whose first line this is."""
    data = line.data
    match line.kind:
        case "payment_succeeded" | "invoice_settled":
            return Charged(attempt, data["amount"], data["method_id"], data["gateway"], data["gateway_id"])
        case "payment_authorised":
            return Authorised(attempt, data["amount"], data["method_id"], data["gateway"], data["gateway_id"])
        case "authorisation_released":
            return Released(attempt, data["amount"], data["gateway"])
        case "payment_declined":
            return Declined(
                attempt=attempt,
                method_id=data["method_id"],
                code=data["code"],
                decline=DeclineKind(data["decline"]),
                another=data["another"],
                policy=policy,
                gateway=data["gateway"],
            )
        case "no_payment_method":
            return NoMethod(attempt, policy)
        case "gateway_down":
            return Parked(attempt, data["gateway"])
        case "outcome_unknown":
            return Unknown(attempt, data["gateway"])
        case "action_required":
            return ActionRequired(attempt, data["method_id"], data["url"])
        case _:
            raise Broken(f"no outcome of a charge begins with {line.kind}")


_NEXT = text("SELECT kind, data FROM subscription_events WHERE subscription_id = :subscription AND seq = :seq")
