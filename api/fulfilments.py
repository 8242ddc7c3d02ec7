"""Fulfilments: what is to be shipped for paid cycles and orders, how that goes, and what people do about it."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from fastapi import Path, Query
from pydantic import ConfigDict, Field, StringConstraints

from api.context import CallerDep, OnceDep, Services, ServicesDep
from api.fields import Body, Identifier, Instant, Line, Name, Reason, View
from api.idempotency import Once
from api.keys import Caller
from api.names import routes_of
from api.paging import Listed, PageQuery, listed
from api.routing import noun
from api.rows import found
from domain.fulfilment import Command, Standing, Withdrawal, allowed
from domain.fulfilment import Fulfilment as Decided
from domain.fulfilment import Status as DecidedStatus
from models import Fulfilment
from models.queries_fulfilment import (
    FULFILMENTS,
    FulfilmentFilter,
    fulfilment,
    fulfilments,
    history,
    payment_of,
    replaced_by,
)
from workflows.commands import FulfilmentOrder

router = noun("fulfilments")
FulfilmentId = Annotated[Identifier, Path(description="Id of the fulfilment")]
Status = Literal["pending", "sending", "handed_off", "shipped", "delivered", "returned", "canceled", "stopped"]
Why = Annotated[Reason, StringConstraints(min_length=1, pattern=r"\S")]


class ShipNew(Body):
    """Who carries it, and under which number."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"carrier": "DHL", "tracking": "00340434161094042557"}]})

    carrier: Name
    tracking: Line = ""
    reason: Reason = ""


class FulfilmentRemark(Body):
    """Why, for its history; may be left out."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"reason": "the customer says it is there"}]})

    reason: Reason = ""


class FulfilmentWhy(Body):
    """It needs a reason."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"reason": "arrived damaged"}]})

    reason: Why


class FulfilmentView(View):
    """A delivery. `withdrawal`: what was handed off is asked back. `attention`: why a person should look.

    `reason`: why it was stopped, canceled or sent back. `replaces_id`: what it is sent in place of.
    """

    id: str
    customer_id: str
    subscription_id: str | None
    cycle: int | None
    order_id: str | None
    invoice_id: str
    product_id: str
    price_id: str | None
    description: str
    quantity: int
    status: str
    withdrawal: str
    reason: str
    recipient: str
    address: dict[str, str] | None = Field(description="As it was handed off; null before that")
    provider: str | None
    provider_reference: str | None
    batch_id: str | None
    attention: str | None
    carrier: str
    tracking: str
    replaces_id: str | None
    at: Instant = Field(description="When it was paid, by the subscription's own time")
    handed_off_at: Instant | None
    shipped_at: Instant | None
    delivered_at: Instant | None
    returned_at: Instant | None
    test_mode: bool


class FulfilmentEventView(View):
    """One line of its history: who, when, why."""

    seq: int
    at: Instant
    kind: str
    actor: str
    reason: str
    data: dict[str, Any]


class FulfilmentDetail(FulfilmentView):
    """A delivery with its history, how its payment stands, and the commands that it takes now."""

    payment: str = Field(description="good, open, returning, voided, refunded or disputed; only good ones ship")
    allowed: list[str]
    replaced_by: str | None
    events: list[FulfilmentEventView]


class FulfilmentQuery(PageQuery):
    """Which fulfilments; `since` counts, `until` does not."""

    status: Status | None = None
    customer_id: Identifier | None = None
    subscription_id: Identifier | None = None
    order_id: Identifier | None = None
    invoice_id: Identifier | None = None
    batch_id: Identifier | None = None
    since: Instant | None = None
    until: Instant | None = None
    attention: bool | None = None
    test_mode: bool | None = None


@router.get("/fulfilments")
async def list_fulfilments(services: ServicesDep, query: Annotated[FulfilmentQuery, Query()]) -> Listed[FulfilmentView]:
    """List fulfilments, newest first."""
    wanted = FulfilmentFilter(**query.model_dump(exclude={"limit", "cursor"}))
    async with services.database.session() as session:
        rows = await fulfilments(session, wanted, after=query.after(FULFILMENTS), limit=query.limit)
        return listed(rows, FULFILMENTS, FulfilmentView.model_validate)


@router.get("/fulfilments/{fulfilment_id}")
async def get_fulfilment(fulfilment_id: FulfilmentId, services: ServicesDep) -> FulfilmentDetail:
    """Read one fulfilment with its history."""
    async with services.database.session() as session:
        row = found(await fulfilment(session, fulfilment_id), "fulfilment")
        payment = await payment_of(session, row.invoice_id)
        return FulfilmentDetail(
            **FulfilmentView.model_validate(row).model_dump(),
            payment=payment.value,
            allowed=_allowed(row, payment),
            replaced_by=await replaced_by(session, row.id),
            events=[FulfilmentEventView.model_validate(each) for each in await history(session, row.id)],
        )


@router.post("/fulfilments/{fulfilment_id}/hand-off")
async def hand_off_fulfilment(
    fulfilment_id: FulfilmentId,
    services: ServicesDep,
    once: OnceDep,
    caller: CallerDep,
    body: FulfilmentRemark | None = None,
) -> FulfilmentDetail:
    """Try to hand it off now, say after an address was added."""
    reason = body.reason if body else ""
    return await _give(services, fulfilment_id, Command.HAND_OFF, once, caller, reason)


@router.post("/fulfilments/{fulfilment_id}/ship")
async def ship_fulfilment(
    fulfilment_id: FulfilmentId, body: ShipNew, services: ServicesDep, once: OnceDep, caller: CallerDep
) -> FulfilmentDetail:
    """It was shipped by hand; the customer is told."""
    return await _give(services, fulfilment_id, Command.SHIP, once, caller, body.reason, body.carrier, body.tracking)


@router.post("/fulfilments/{fulfilment_id}/deliver")
async def deliver_fulfilment(
    fulfilment_id: FulfilmentId,
    services: ServicesDep,
    once: OnceDep,
    caller: CallerDep,
    body: FulfilmentRemark | None = None,
) -> FulfilmentDetail:
    """It has arrived."""
    reason = body.reason if body else ""
    return await _give(services, fulfilment_id, Command.DELIVER, once, caller, reason)


@router.post("/fulfilments/{fulfilment_id}/return")
async def return_fulfilment(
    fulfilment_id: FulfilmentId, body: FulfilmentWhy, services: ServicesDep, once: OnceDep, caller: CallerDep
) -> FulfilmentDetail:
    """It came back. Money is given back by a command of its own."""
    return await _give(services, fulfilment_id, Command.RETURN, once, caller, body.reason)


@router.post("/fulfilments/{fulfilment_id}/reship")
async def reship_fulfilment(
    fulfilment_id: FulfilmentId, body: FulfilmentWhy, services: ServicesDep, once: OnceDep, caller: CallerDep
) -> FulfilmentDetail:
    """Send the same again, once; the answer is the new fulfilment, which names the one it replaces."""
    return await _give(services, fulfilment_id, Command.RESHIP, once, caller, body.reason)


@router.post("/fulfilments/{fulfilment_id}/cancel")
async def cancel_fulfilment(
    fulfilment_id: FulfilmentId, body: FulfilmentWhy, services: ServicesDep, once: OnceDep, caller: CallerDep
) -> FulfilmentDetail:
    """Do not ship it; a provider that has it already is asked for it back."""
    return await _give(services, fulfilment_id, Command.CANCEL, once, caller, body.reason)


async def _give(
    services: Services,
    fulfilment_id: str,
    command: Command,
    once: Once,
    caller: Caller,
    reason: str,
    carrier: str = "",
    tracking: str = "",
) -> FulfilmentDetail:
    order = FulfilmentOrder(once.id("cmd"), fulfilment_id, command, caller.name, reason, carrier, tracking)
    return await get_fulfilment(await services.commands.fulfilments.give(order), services)


def _allowed(row: Fulfilment, payment: Standing) -> list[str]:
    decided = Decided(DecidedStatus(row.status), Withdrawal(row.withdrawal), replaced=row.replaced)
    return routes_of(tuple(each.value for each in allowed(decided, payment)))
