"""Differences between our books and a gateway's: both sides, and the commands that end one."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from fastapi import Path, Query
from pydantic import BaseModel, ConfigDict, Field

from api.context import CallerDep, OnceDep, ServicesDep
from api.fields import Body, Identifier, Instant, Reason
from api.names import DIFFERENCE_ACTIONS
from api.paging import Listed, PageQuery, listed
from api.routing import noun
from api.rows import found
from domain.errors import InvalidInput
from models import Difference
from models.queries_settlement import DIFFERENCES, DifferenceFilter, difference, differences

router = noun("differences")
DifferenceId = Annotated[Identifier, Path(description="Id of the difference")]
Status = Literal["open", "fixed", "gone", "dismissed"]
Kind = Literal["missing_here", "missing_there", "amount", "state"]


class DifferenceView(BaseModel):
    """One transaction on which the books disagree. `ours` and `theirs` are the two sides; null where it is missing."""

    id: str
    gateway: str
    reference: str
    gateway_id: str | None
    kind: Kind
    currency: str
    ours: dict[str, Any] | None
    theirs: dict[str, Any] | None
    owed: int = Field(description="Minor units that our books lack to have what the gateway says, as it was found")
    adopted: int | None = Field(description="Minor units that were booked to have what the gateway says")
    customer_id: str | None
    run_id: str
    status: Status
    resolution: str | None
    reason: str
    closed_by: str | None
    found_at: Instant
    closed_at: Instant | None
    allowed: list[str] = Field(description="The actions that it takes now")


class DifferenceQuery(PageQuery):
    """Which differences."""

    status: Status | None = None
    kind: Kind | None = None
    gateway: Identifier | None = None
    reference: Annotated[str | None, Field(min_length=1, max_length=200, pattern=r"^[!-~]+$")] = None
    customer_id: Identifier | None = None


class Resolution(Body):
    """What to do: `recheck` asks the gateway now, `adopt` books what it says, `dismiss` closes it with a reason."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"action": "recheck"}, {"action": "dismiss", "reason": "a test of the gateway's own"}]
        }
    )

    action: Literal["recheck", "adopt", "dismiss"]
    reason: Reason = ""


@router.get("/differences")
async def list_differences(services: ServicesDep, query: Annotated[DifferenceQuery, Query()]) -> Listed[DifferenceView]:
    """List differences, newest first."""
    wanted = DifferenceFilter(query.status, query.kind, query.gateway, query.reference, query.customer_id)
    async with services.database.session() as session:
        rows = await differences(session, wanted, after=query.after(DIFFERENCES), limit=query.limit)
        return listed(rows, DIFFERENCES, _shown)


@router.get("/differences/{difference_id}")
async def get_difference(difference_id: DifferenceId, services: ServicesDep) -> DifferenceView:
    """Read one difference with both sides."""
    async with services.database.session() as session:
        return _shown(found(await difference(session, difference_id), "difference"))


@router.post("/differences/{difference_id}/resolve")
async def resolve_difference(
    difference_id: DifferenceId, body: Resolution, services: ServicesDep, once: OnceDep, caller: CallerDep
) -> DifferenceView:
    """Recheck, adopt or dismiss. A recheck that finds both sides equal closes it; else it stays open, as it is now."""
    if body.action == "dismiss" and not body.reason.strip():
        raise InvalidInput("reason", "is needed to dismiss a difference")
    await services.commands.settlement.resolve(
        difference_id, body.action, actor=caller.name, reason=body.reason, command_id=once.id("cmd")
    )
    return await get_difference(difference_id, services)


def _shown(row: Difference) -> DifferenceView:
    rest = DifferenceView.model_fields.keys() - {"owed", "allowed"}
    same: dict[str, Any] = {name: getattr(row, name) for name in rest}
    sides: dict[str, Any] = {"ours": row.ours or None, "theirs": row.theirs or None}
    owed = row.theirs.get("moved", 0) - row.ours.get("moved", 0)
    allowed = list(DIFFERENCE_ACTIONS) if row.status == "open" else []
    return DifferenceView(**(same | sides), owed=owed, allowed=allowed)
