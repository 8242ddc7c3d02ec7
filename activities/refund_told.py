"""What an earlier run of the same step of a refund has written: it stands, whatever the gateway says now."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from domain.errors import Broken
from domain.refund_messages import (
    Returned,
    ReturnFailed,
    ReturnNeverArrived,
    ReturnOutcome,
    ReturnParked,
    ReturnTaken,
    ReturnUnknown,
)
from domain.refund_state import RefundState


async def refund_told(connection: AsyncConnection, state: RefundState) -> ReturnOutcome | None:
    """The outcome whose first line follows this state in the timeline; None if there is none. One statement."""
    line = (await connection.execute(_NEXT, {"refund": state.id, "seq": state.seq + 1})).one_or_none()
    return outcome_of(line.kind, line.data) if line is not None else None


def outcome_of(kind: str, data: dict[str, Any]) -> ReturnOutcome:
    """The outcome whose first line this is."""
    number = data["number"]
    if kind == "given_back":
        return Returned(number, data["gateway_id"])
    if kind == "accepted":
        return ReturnTaken(number, data["gateway_id"])
    if kind == "try_failed":
        return ReturnFailed(number, data["code"], data["message"])
    outcome = _SILENT.get(kind)
    if outcome is None:
        raise Broken(f"no outcome of a try begins with {kind}")
    return outcome(number)


_SILENT: Mapping[str, Callable[[int], ReturnOutcome]] = MappingProxyType(
    {
        "answer_overdue": ReturnTaken,
        "outcome_unknown": ReturnUnknown,
        "outcome_overdue": ReturnUnknown,
        "gateway_down": ReturnParked,
        "gateway_still_down": ReturnParked,
        "never_arrived": ReturnNeverArrived,
    }
)
_NEXT = text("SELECT kind, data FROM refund_events WHERE refund_id = :refund AND seq = :seq")
