"""Giving money back: asked for by charge or by invoice, seen in the queue, approved, tried, changed, taken out."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Annotated, Any, Final, Literal

from fastapi import Path, Query
from pydantic import ConfigDict, Field, StringConstraints

from api.charges import ChargeId
from api.context import CallerDep, OnceDep, Services, ServicesDep
from api.fields import Body, Identifier, Instant, Minor, Reason, View
from api.idempotency import Once, intend
from api.invoices import InvoiceId
from api.names import routes_of
from api.paging import Listed, PageQuery, listed
from api.routing import noun
from api.rows import found
from api.subscriptions import Advance, target_of
from domain.errors import InvalidInput, Refused
from domain.refund_commands import ALLOWED_IN
from domain.refund_messages import (
    Approve,
    Decline,
    OpenRefund,
    RefundCommand,
    RefundEnvelope,
    RefundMode,
    TakeOut,
    TryNow,
    UseMethod,
)
from domain.refund_state import RefundKind, RefundPhase
from models import Attempt, Refund, RefundTry
from models.queries_billing import charge, invoice
from models.queries_orders import order
from models.queries_refunds import (
    REFUNDS,
    RefundFilter,
    captured_charge_of,
    credit_note_of,
    events,
    refund,
    refunds,
    tries,
)

router = noun("refunds")
RefundId = Annotated[Identifier, Path(description="Id of the refund")]
Why = Annotated[Reason, StringConstraints(min_length=1, pattern=r"\S")]
Status = Literal["awaiting_approval", "pending", "queued", "unknown", "succeeded", "failed", "canceled", "lapsed"]
Amount = Annotated[Minor, Field(ge=1, description="Minor units of the charge's currency; null is all that is left")]

PARKED: Final = "parked"  # the status of a try that waits for the gateway
# What a refund takes in each status; `pending` takes something only while the gateway is down.
_PHASES: Final = {"awaiting_approval": RefundPhase.APPROVAL, "queued": RefundPhase.QUEUED}


class RefundNew(Body):
    """Money of a settled charge, back to the method that paid or to another one of the customer's."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"amount": 500, "reason": "arrived damaged"}]})

    amount: Amount | None = None
    reason: Why
    payment_method_id: Identifier | None = Field(
        default=None, description="Another method at the same gateway; null is the one that paid"
    )


class VoidNew(Body):
    """Undo a charge that is not settled yet, in full."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"reason": "charged by mistake"}]})

    reason: Why


class GiveBackNew(Body):
    """Give back what an invoice's charge took; a part of it only once it is settled."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"reason": "sent back unopened"}]})

    amount: Amount | None = None
    reason: Why


class RefundRemark(Body):
    """Why, for the refund's timeline; may be left out."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"reason": "looked at the order: agreed"}]})

    reason: Reason = ""


class RefundEnd(Body):
    """Why the refund is not to be; it needs a reason."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"reason": "the customer keeps it after all"}]})

    reason: Why


class RefundMethod(Body):
    """The method to give it to: the customer's, in use, at the same gateway."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"payment_method_id": "pm_k3jq5xw2m4"}]})

    payment_method_id: Identifier
    reason: Reason = ""


class RefundView(View):
    """A refund or void. `actor` asked for it; `retries` of the daily ones were made; `attention`: why to look."""

    id: str
    charge_id: str
    invoice_id: str
    subscription_id: str | None
    order_id: str | None
    customer_id: str
    kind: str
    void_first: bool
    amount: int
    currency: str
    gateway: str
    payment_method_id: str | None
    status: str
    reason: str
    actor: str
    retries: int
    next_try_at: Instant | None
    approval_deadline: Instant | None
    approved_by: str | None
    attention: str | None
    requested_at: Instant
    ended_at: Instant | None
    test_mode: bool


class RefundTryView(View):
    """One call of the gateway. `reference` is our key there."""

    number: int
    kind: str
    trigger: str
    reference: str
    payment_method_id: str | None
    status: str
    settlement: str | None
    gateway_id: str | None
    code: str | None
    message: str
    at: Instant
    answered_at: Instant | None


class RefundEventView(View):
    """One line of the refund's timeline, at its own time."""

    seq: int
    at: Instant
    kind: str
    actor: str
    reason: str
    data: dict[str, Any]


class RefundNoteView(View):
    """The credit note that documents it."""

    id: str
    number: str
    amount: int
    currency: str
    disposition: str
    at: Instant
    local_date: str


class RefundDetail(RefundView):
    """A refund with all that happened to it, and the commands it would take now."""

    allowed: list[str]
    tries: list[RefundTryView]
    events: list[RefundEventView]
    credit_note: RefundNoteView | None


class RefundQuery(PageQuery):
    """Which refunds; the queue is `status=queued`."""

    status: Status | None = None
    kind: Literal["void", "refund"] | None = None
    customer_id: Identifier | None = None
    charge_id: Identifier | None = None
    invoice_id: Identifier | None = None
    subscription_id: Identifier | None = None
    mode: Literal["test", "live"] | None = None
    attention: bool | None = None


@router.post("/charges/{charge_id}/refunds", status_code=201)
async def refund_charge(
    charge_id: ChargeId, body: RefundNew, services: ServicesDep, once: OnceDep, caller: CallerDep
) -> RefundDetail:
    """Give back a settled charge, in full or in part. The answer comes after the gateway was called."""
    async with services.database.session() as session:
        row = found(await charge(session, charge_id), "charge")
    wanted = _wanted(once, row, RefundMode.REFUND, body.reason, caller.name, body.amount, body.payment_method_id)
    return await _open(services, wanted)


@router.post("/charges/{charge_id}/void", status_code=201)
async def void_charge(
    charge_id: ChargeId, body: VoidNew, services: ServicesDep, once: OnceDep, caller: CallerDep
) -> RefundDetail:
    """Undo a charge that is not settled yet, in full. The answer comes after the gateway was called."""
    async with services.database.session() as session:
        row = found(await charge(session, charge_id), "charge")
    return await _open(services, _wanted(once, row, RefundMode.VOID, body.reason, caller.name))


@router.post("/invoices/{invoice_id}/give-back", status_code=201)
async def give_back_invoice(
    invoice_id: InvoiceId, body: GiveBackNew, services: ServicesDep, once: OnceDep, caller: CallerDep
) -> RefundDetail:
    """Give back what an invoice's charge took: by a void, and where that fails by a refund."""
    async with services.database.session() as session:
        found(await invoice(session, invoice_id), "invoice")
        row = await captured_charge_of(session, invoice_id)
    if row is None:
        raise Refused("not_captured", "Nothing was captured for this invoice: there is nothing to give back.")
    return await _open(services, _wanted(once, row, RefundMode.VOID_FIRST, body.reason, caller.name, body.amount))


@router.post("/orders/{order_id}/give-back", status_code=201)
async def give_back_order(
    order_id: Annotated[Identifier, Path(description="Id of the order")],
    body: GiveBackNew,
    services: ServicesDep,
    once: OnceDep,
    caller: CallerDep,
) -> RefundDetail:
    """Give back what an order's charge took, all or a part: by a void, and where that fails by a refund."""
    async with services.database.session() as session:
        sold = found(await order(session, order_id), "order")
        row = None if sold.invoice_id is None else await captured_charge_of(session, sold.invoice_id)
    if row is None:
        raise Refused("not_captured", "Nothing was captured for this order: there is nothing to give back.")
    return await _open(services, _wanted(once, row, RefundMode.VOID_FIRST, body.reason, caller.name, body.amount))


@router.get("/refunds")
async def list_refunds(services: ServicesDep, query: Annotated[RefundQuery, Query()]) -> Listed[RefundView]:
    """List refunds and voids, newest first; the queue is `status=queued`."""
    wanted = RefundFilter(**query.model_dump(exclude={"limit", "cursor"}))
    async with services.database.session() as session:
        rows = await refunds(session, wanted, after=query.after(REFUNDS), limit=query.limit)
        return listed(rows, REFUNDS, refund_view)


@router.get("/refunds/{refund_id}")
async def get_refund(refund_id: RefundId, services: ServicesDep) -> RefundDetail:
    """Read one refund with its tries, its timeline and its credit note."""
    return await _detail(services, refund_id)


@router.post("/refunds/{refund_id}/approve")
async def approve_refund(
    refund_id: RefundId, services: ServicesDep, once: OnceDep, caller: CallerDep, body: RefundRemark | None = None
) -> RefundDetail:
    """Agree to a refund above the limit; it is made at once. Never by the one who asked for it."""
    return await _send(services, refund_id, once, Approve(), caller.name, body.reason if body else "")


@router.post("/refunds/{refund_id}/decline")
async def decline_refund(
    refund_id: RefundId, body: RefundEnd, services: ServicesDep, once: OnceDep, caller: CallerDep
) -> RefundDetail:
    """Do not agree: the refund is over, and what it held is free again."""
    return await _send(services, refund_id, once, Decline(), caller.name, body.reason)


@router.post("/refunds/{refund_id}/try-now")
async def try_refund_now(
    refund_id: RefundId, services: ServicesDep, once: OnceDep, caller: CallerDep, body: RefundRemark | None = None
) -> RefundDetail:
    """Try a queued refund at once; the daily retries stay as they were."""
    return await _send(services, refund_id, once, TryNow(), caller.name, body.reason if body else "")


@router.post("/refunds/{refund_id}/use-method")
async def use_refund_method(
    refund_id: RefundId, body: RefundMethod, services: ServicesDep, once: OnceDep, caller: CallerDep
) -> RefundDetail:
    """Give a queued refund to another method of the customer's, at once."""
    return await _send(services, refund_id, once, UseMethod(body.payment_method_id), caller.name, body.reason)


@router.post("/refunds/{refund_id}/take-out")
async def take_refund_out(
    refund_id: RefundId, body: RefundEnd, services: ServicesDep, once: OnceDep, caller: CallerDep
) -> RefundDetail:
    """Stop trying: the refund is over, and what it held is free again."""
    return await _send(services, refund_id, once, TakeOut(), caller.name, body.reason)


@router.post("/refunds/{refund_id}/advance")
async def advance_refund(refund_id: RefundId, body: Advance, services: ServicesDep, once: OnceDep) -> RefundDetail:
    """Move a test-mode refund's clock; the real workflow tries on the way. The answer comes on arrival."""
    await _known(services, refund_id)
    state = await services.commands.refunds.settled(refund_id)
    now = await services.commands.refunds.virtual_now(refund_id)
    meant = target_of(body, now, state.zone)
    target = datetime.fromisoformat(await intend(services.database, once, meant.isoformat()))
    if target != meant and target <= now:  # an interrupted try of this request has arrived already
        return await _detail(services, refund_id)
    by = target - now
    if by <= timedelta(0):
        raise InvalidInput("to", "must be after the refund's own time")
    await services.commands.refunds.advance(refund_id, by)
    return await _detail(services, refund_id)


def refund_view(row: Refund) -> RefundView:
    """A refund as lists show it."""
    values = {name: getattr(row, name) for name in RefundView.model_fields if name != "charge_id"}
    return RefundView(charge_id=row.attempt_id, **values)


def _wanted(
    once: Once,
    row: Attempt,
    mode: RefundMode,
    reason: str,
    actor: str,
    amount: int | None = None,
    payment_method_id: str | None = None,
) -> OpenRefund:
    """`actor` is always the key's own name: who asks for a refund must not be able to approve it under another."""
    return OpenRefund(once.id("re"), row.id, mode, reason, actor, amount, payment_method_id, row.test_mode)


async def _open(services: Services, wanted: OpenRefund) -> RefundDetail:
    await services.commands.refunds.open(wanted)
    return await _detail(services, wanted.id)


async def _send(
    services: Services, refund_id: str, once: Once, command: RefundCommand, actor: str, reason: str
) -> RefundDetail:
    await _known(services, refund_id)
    await services.commands.refunds.send(refund_id, RefundEnvelope(once.id("cmd"), command, actor, reason))
    return await _detail(services, refund_id)


async def _known(services: Services, refund_id: str) -> None:
    async with services.database.session() as session:
        found(await refund(session, refund_id), "refund")


async def _detail(services: Services, refund_id: str) -> RefundDetail:
    async with services.database.session() as session:
        row = found(await refund(session, refund_id), "refund")
        made = await tries(session, refund_id)
        note = await credit_note_of(session, row)
        return RefundDetail(
            **dict(refund_view(row)),
            allowed=_allowed(row, made[-1] if made else None),
            tries=[RefundTryView.model_validate(each) for each in made],
            events=[RefundEventView.model_validate(each) for each in await events(session, refund_id)],
            credit_note=None if note is None else RefundNoteView.model_validate(note),
        )


def _allowed(row: Refund, last: RefundTry | None) -> list[str]:
    """The commands it would take now, as callers know them; what the books say, so also when Temporal is away."""
    phase = _PHASES.get(row.status)
    if row.status == "pending" and last is not None and last.status == PARKED:
        phase = RefundPhase.PARKED
    kinds = () if phase is None else ALLOWED_IN.get(phase, ())
    return routes_of(tuple(kind for kind in kinds if kind != "use_method" or row.kind == RefundKind.REFUND))
