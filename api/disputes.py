"""Disputes: what customers dispute at their banks, what became of it, and what followed."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from fastapi import Path, Query
from pydantic import Field

from api.context import ServicesDep
from api.fields import Identifier, Instant, View
from api.paging import Listed, PageQuery, listed
from api.routing import noun
from api.rows import found
from models import Dispute, GatewayEvent
from models.queries_disputes import DISPUTES, dispute, disputes, events_of

router = noun("disputes")
DisputeId = Annotated[Identifier, Path(description="Id of the dispute")]


class DisputeView(View):
    """A dispute. `fee` is what it cost besides the amount; `gateway_id` is the gateway's name for it."""

    id: str
    gateway: str
    gateway_id: str
    charge_id: str = Field(validation_alias="attempt_id")
    invoice_id: str
    subscription_id: str | None
    order_id: str | None
    customer_id: str
    amount: int
    fee: int
    currency: str
    status: str = Field(description="opened, evidence_due, won or lost")
    reason: str
    evidence_due_at: Instant | None
    opened_at: Instant
    closed_at: Instant | None
    consequence: dict[str, Any] = Field(
        description="What followed for the subscription (`opened`, `lost`) and which kinds were `blacklisted`"
    )
    test_mode: bool


class GatewayEventView(View):
    """An event as the gateway sent it. `outcome` says what it led to here."""

    event_id: str
    kind: str
    body: dict[str, Any]
    received_at: Instant
    handled_at: Instant | None
    outcome: str


class DisputeDetail(DisputeView):
    """A dispute with all that was heard of it, in the order it came in."""

    events: list[GatewayEventView] = Field(default_factory=list)


class DisputeQuery(PageQuery):
    """Which disputes."""

    status: Literal["opened", "evidence_due", "won", "lost"] | None = None
    customer_id: Identifier | None = None
    charge_id: Identifier | None = None
    test_mode: bool | None = None


@router.get("/disputes")
async def list_disputes(services: ServicesDep, query: Annotated[DisputeQuery, Query()]) -> Listed[DisputeView]:
    """List disputes, newest first."""
    async with services.database.session() as session:
        rows = await disputes(
            session,
            status=query.status,
            customer_id=query.customer_id,
            charge_id=query.charge_id,
            test_mode=query.test_mode,
            after=query.after(DISPUTES),
            limit=query.limit,
        )
        return listed(rows, DISPUTES, DisputeView.model_validate)


@router.get("/disputes/{dispute_id}")
async def get_dispute(dispute_id: DisputeId, services: ServicesDep) -> DisputeDetail:
    """Read one dispute with the events it was made from."""
    async with services.database.session() as session:
        row: Dispute = found(await dispute(session, dispute_id), "dispute")
        heard: list[GatewayEvent] = list(await events_of(session, dispute_id))
        return DisputeDetail.model_validate(row).model_copy(
            update={"events": [GatewayEventView.model_validate(event) for event in heard]}
        )
