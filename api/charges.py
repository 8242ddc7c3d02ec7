"""Charges: every try to collect an invoice, and why it happened."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Literal

from fastapi import Path, Query
from pydantic import BaseModel, Field
from sqlalchemy.ext.asyncio import AsyncSession

from api.context import ServicesDep
from api.fields import Code, Identifier, Instant, View
from api.paging import Listed, PageQuery, listed
from api.routing import noun
from api.rows import found
from api.why import Because, because
from models import Attempt
from models.queries_billing import CHARGES, BillingFilter, charge, charges
from models.queries_refunds import refundable

router = noun("charges")
ChargeId = Annotated[Identifier, Path(description="Id of the charge")]
Status = Literal[
    "pending", "approved", "declined", "action_required", "unknown", "parked", "no_method", "canceled",
    "authorised", "capturing", "releasing", "released",
]  # fmt: skip


class ChargeView(View):
    """One try. `reference` is our key at the gateway, `gateway_id` its own name for the charge.

    `returned` was given back or is held for that; `refundable` may still be given back. `payer_id`: the parent on whose
    method it was made. `held_until`: when its authorisation runs out, or would have.
    """

    id: str
    invoice_id: str
    subscription_id: str | None
    order_id: str | None
    customer_id: str
    payer_id: str | None
    number: int
    reference: str
    trigger: str
    payment_method_id: str | None
    gateway: str | None
    gateway_id: str | None
    amount: int
    currency: str
    status: str
    settlement: str | None
    settled_at: Instant | None
    batch_id: str | None
    returned: int
    refundable: int
    code: str | None
    decline: str | None
    message: str
    action_url: str | None
    at: Instant
    answered_at: Instant | None
    held_until: Instant | None
    test_mode: bool


class ChargeQuery(PageQuery):
    """Which charges; `since` counts, `until` does not. A customer's are also those they paid for a child."""

    customer_id: Identifier | None = None
    subscription_id: Identifier | None = None
    invoice_id: Identifier | None = None
    status: Status | None = None
    gateway: Code | None = None
    pending: bool | None = Field(default=None, description="Outcome not known yet, or not settled")
    since: Instant | None = None
    until: Instant | None = None
    test_mode: bool | None = None


class Why(BaseModel):
    """A charge and the chain of reasons behind it, in plain language."""

    charge: ChargeView
    because: list[Because]


@router.get("/charges")
async def list_charges(services: ServicesDep, query: Annotated[ChargeQuery, Query()]) -> Listed[ChargeView]:
    """List charges over all customers, newest first."""
    wanted = BillingFilter(query.customer_id, query.subscription_id, query.invoice_id, query.status, query.test_mode)
    async with services.database.session() as session:
        rows = await charges(
            session,
            wanted,
            gateway=query.gateway,
            pending=query.pending,
            since=query.since,
            until=query.until,
            after=query.after(CHARGES),
            limit=query.limit,
        )
        left = await refundable(session, [row.id for row in rows.rows])
        return listed(rows, CHARGES, lambda row: _view(row, left))


@router.get("/charges/{charge_id}")
async def get_charge(charge_id: ChargeId, services: ServicesDep) -> ChargeView:
    """Read one charge."""
    async with services.database.session() as session:
        return (await charge_views(session, [found(await charge(session, charge_id), "charge")]))[0]


@router.get("/charges/{charge_id}/why")
async def explain_charge(charge_id: ChargeId, services: ServicesDep) -> Why:
    """Why this charge happened: trigger, terms, amounts, what the gateway said, what the customer was told."""
    async with services.database.session() as session:
        row = found(await charge(session, charge_id), "charge")
        return Why(charge=(await charge_views(session, [row]))[0], because=await because(session, row))


async def charge_views(session: AsyncSession, rows: Sequence[Attempt]) -> list[ChargeView]:
    """Charges as they are shown, with what may still be given back of each."""
    left = await refundable(session, [row.id for row in rows])
    return [_view(row, left) for row in rows]


def _view(row: Attempt, left: Mapping[str, int]) -> ChargeView:
    values = {name: getattr(row, name) for name in ChargeView.model_fields if name != "refundable"}
    return ChargeView(refundable=left.get(row.id, 0), **values)
