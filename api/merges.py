"""Two customers made one: what it would do, doing it, and taking it back within its time."""

from __future__ import annotations

from typing import Annotated, Final, Literal

from fastapi import Path, Query
from pydantic import BaseModel, ConfigDict, Field, JsonValue
from sqlalchemy.ext.asyncio import AsyncSession

from api.context import CallerDep, OnceDep, ServicesDep
from api.customers import CustomerView
from api.fields import Body, Identifier, Instant, Reason, View
from api.paging import Listed, PageQuery, listed
from api.routing import noun
from api.rows import found, known
from domain.errors import InvalidInput
from domain.merging import objection
from models import Customer
from models.queries_blacklist import listed_kinds, marks_of
from models.queries_customers import customer
from models.queries_merges import MERGES, MOVES, counts, merge, merges, moves, party
from models.queries_relations import last_points
from workflows.commands import MergeRequest, UndoMerge

router = noun("merges")
MergeId = Annotated[Identifier, Path(description="Id of the merge")]
Status = Literal["running", "done", "undoing", "undone", "final"]

_EXAMPLE: Final[dict[str, JsonValue]] = {"master_id": "cus_k3jq5xw2m4", "loser_id": "cus_p7rt2yv8n6"}


class MergePair(Body):
    """`master_id` keeps its details; what `loser_id` has goes to it, and its id then only points there."""

    model_config = ConfigDict(json_schema_extra={"examples": [_EXAMPLE]})

    master_id: Identifier
    loser_id: Identifier


class MergeNew(MergePair):
    """Who goes into whom, and why."""

    model_config = ConfigDict(json_schema_extra={"examples": [_EXAMPLE | {"reason": "the same person, two addresses"}]})

    reason: Reason = ""


class UndoBody(Body):
    """Why it is taken back."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"reason": "father and son"}]})

    reason: Reason = ""


class Objected(BaseModel):
    """Why this merge would be refused now."""

    code: str
    message: str


class MergePreview(BaseModel):
    """What a merge would do now; nothing is changed.

    `warnings`: `blacklisted` (the one that results is, too), `other_currency` (each keeps its own), `login_closed`
    (both have one, the loser's ends), `other_card_first` (the loser's subscriptions are charged on the master's cards
    first), `other_name` (look again whether they are one).
    """

    master: CustomerView
    loser: CustomerView
    moves: dict[str, int] = Field(description="How many rows of each kind move")
    points: int
    warnings: list[str]
    refused: Objected | None


class MergeView(View):
    """A merge. `moved` counts rows by table and column; they can be listed one by one."""

    id: str
    master_id: str
    loser_id: str
    source: str = Field(description="`person`, or `guest` where a verified address did it")
    status: str
    actor: str
    reason: str
    moved: dict[str, int]
    at: Instant
    done_at: Instant | None
    undo_until: Instant | None
    undone_by: str | None
    undo_reason: str
    undone_at: Instant | None


class MoveView(View):
    """One row that moved."""

    what: str = Field(description="Table and column")
    row_id: str
    old_owner: str
    moved_at: Instant
    undone_at: Instant | None


class MergeQuery(PageQuery):
    """`customer`: as master or as loser."""

    customer: Identifier | None = None
    status: Status | None = None


@router.post("/merges/preview")
async def preview_merge(body: MergePair, services: ServicesDep) -> MergePreview:
    """What a merge would move, what to look at first, and whether a rule forbids it."""
    async with services.database.session() as session:
        master, loser = await _both(session, body)
        against = objection(await party(session, master), await party(session, loser))
        rows, points = await counts(session, loser.id), await last_points(session, loser.id)
        return MergePreview(
            master=CustomerView.model_validate(master),
            loser=CustomerView.model_validate(loser),
            moves=rows,
            points=0 if points is None else points.balance,
            warnings=await _warnings(session, master, loser),
            refused=None if against is None else Objected(code=against.code, message=against.message),
        )


@router.post("/merges", status_code=202)
async def create_merge(body: MergeNew, services: ServicesDep, once: OnceDep, caller: CallerDep) -> MergeView:
    """Merge two customers. The answer comes when the loser is closed; then its rows move."""
    merge_id = once.id("mrg")
    async with services.database.session() as session:
        if await merge(session, merge_id) is None:  # else: this request, repeated
            await _both(session, body)
    wish = MergeRequest(merge_id, body.master_id, body.loser_id, caller.name, body.reason)
    await services.commands.merges.start(wish)
    return await get_merge(merge_id, services)


@router.get("/merges")
async def list_merges(services: ServicesDep, query: Annotated[MergeQuery, Query()]) -> Listed[MergeView]:
    """List merges, newest first."""
    async with services.database.session() as session:
        after = query.after(MERGES)
        rows = await merges(session, customer_id=query.customer, status=query.status, after=after, limit=query.limit)
        return listed(rows, MERGES, MergeView.model_validate)


@router.get("/merges/{merge_id}")
async def get_merge(merge_id: MergeId, services: ServicesDep) -> MergeView:
    """Read one merge."""
    async with services.database.session() as session:
        return MergeView.model_validate(found(await merge(session, merge_id), "merge"))


@router.get("/merges/{merge_id}/moves")
async def list_merge_moves(
    merge_id: MergeId, services: ServicesDep, query: Annotated[PageQuery, Query()]
) -> Listed[MoveView]:
    """Every row that moved, by table."""
    async with services.database.session() as session:
        found(await merge(session, merge_id), "merge")
        rows = await moves(session, merge_id, after=query.after(MOVES), limit=query.limit)
        return listed(rows, MOVES, MoveView.model_validate)


@router.post("/merges/{merge_id}/undo")
async def undo_merge(
    merge_id: MergeId, services: ServicesDep, once: OnceDep, caller: CallerDep, body: UndoBody | None = None
) -> MergeView:
    """Take a merge back: exactly what moved goes back, what came new since stays with the master."""
    async with services.database.session() as session:
        found(await merge(session, merge_id), "merge")
    reason = "" if body is None else body.reason
    await services.commands.merges.undo(UndoMerge(once.id("undo"), merge_id, caller.name, reason))
    return await get_merge(merge_id, services)


async def _both(session: AsyncSession, body: MergePair) -> tuple[Customer, Customer]:
    if body.master_id == body.loser_id:
        raise InvalidInput("loser_id", "is the master itself", code="same_customer")
    master = known(await customer(session, body.master_id), "master_id", "customer")
    return master, known(await customer(session, body.loser_id), "loser_id", "customer")


async def _warnings(session: AsyncSession, master: Customer, loser: Customer) -> list[str]:
    one, other = await party(session, master), await party(session, loser)
    known_by = await listed_kinds(session, await marks_of(session, master) | await marks_of(session, loser))
    holds = {
        "blacklisted": bool(known_by),
        "other_currency": master.currency != loser.currency,
        "login_closed": one.has_login and other.has_login,
        "other_card_first": (await counts(session, loser.id))["subscriptions"] > 0
        and (await counts(session, master.id))["payment_methods"] > 0,
        "other_name": master.last_name.casefold() != loser.last_name.casefold(),
    }
    return [code for code, is_so in holds.items() if is_so]
