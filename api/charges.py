"""Charges: every try to collect an invoice, and why it happened."""

from __future__ import annotations

from typing import Annotated, Literal

from fastapi import Path, Query
from pydantic import BaseModel

from api.context import ServicesDep
from api.fields import Code, Identifier, Instant, View
from api.paging import Listed, PageQuery, listed
from api.routing import noun
from api.rows import found
from api.why import Because, because
from models.queries_billing import CHARGES, BillingFilter, charge, charges

router = noun("charges")
ChargeId = Annotated[Identifier, Path(description="Id of the charge")]
Status = Literal["pending", "approved", "declined", "action_required", "unknown", "parked", "no_method", "canceled"]


class ChargeView(View):
    """One try. `reference` is our key at the gateway, `gateway_id` its own name for the charge."""

    id: str
    invoice_id: str
    subscription_id: str
    customer_id: str
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
    code: str | None
    decline: str | None
    message: str
    action_url: str | None
    at: Instant
    answered_at: Instant | None
    test_mode: bool


class ChargeQuery(PageQuery):
    """Which charges; `since` counts, `until` does not."""

    customer_id: Identifier | None = None
    subscription_id: Identifier | None = None
    invoice_id: Identifier | None = None
    status: Status | None = None
    gateway: Code | None = None
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
            since=query.since,
            until=query.until,
            after=query.after(CHARGES),
            limit=query.limit,
        )
        return listed(rows, CHARGES, ChargeView.model_validate)


@router.get("/charges/{charge_id}")
async def get_charge(charge_id: ChargeId, services: ServicesDep) -> ChargeView:
    """Read one charge."""
    async with services.database.session() as session:
        return ChargeView.model_validate(found(await charge(session, charge_id), "charge"))


@router.get("/charges/{charge_id}/why")
async def explain_charge(charge_id: ChargeId, services: ServicesDep) -> Why:
    """Why this charge happened: trigger, terms, amounts, what the gateway said, what the customer was told."""
    async with services.database.session() as session:
        row = found(await charge(session, charge_id), "charge")
        return Why(charge=ChargeView.model_validate(row), because=await because(session, row))
