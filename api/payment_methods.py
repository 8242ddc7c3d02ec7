"""Payment methods of a customer: gateway tokens in their order of use. A card number never comes here."""

from __future__ import annotations

from typing import Annotated

from fastapi import Path, Response
from pydantic import ConfigDict, Field

from api.context import CallerDep, OnceDep, Services, ServicesDep
from api.customers import CustomerId
from api.fields import Body, Code, Identifier, Instant, Token, View
from api.notices import collect_open
from api.paging import Listed
from api.routing import noun
from api.rows import add_once, found
from domain.errors import InvalidInput
from models import PaymentMethod
from models.queries_customers import customer, method, methods
from models.session import database_now
from models.wallet import METHODS_MAX, admit, number

router = noun("payment methods")
MethodId = Annotated[Identifier, Path(description="Id of the payment method")]


class MethodNew(Body):
    """A token from the gateway's own form."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"token": "tok_visa", "make_default": True}]})

    token: Token
    gateway: Code | None = Field(default=None, description="Where the token is kept; the default gateway unless said")
    make_default: bool = False


class Order(Body):
    """All methods of the customer in their new order of use; the first becomes the default."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"order": ["pm_aaaaaaaaaaaaaaaaaaaaaaaa", "pm_bbbbbbbbbbbbbbbbbbbbbbbb"]}]}
    )

    order: Annotated[list[Identifier], Field(min_length=1, max_length=METHODS_MAX)]


class MethodView(View):
    """What may be shown of a method. `position` 0 is the default."""

    id: str
    gateway: str
    kind: str
    brand: str
    last4: str
    exp_month: int | None
    exp_year: int | None
    position: int
    closed_at: Instant | None = Field(description="Since when its gateway calls it closed; it is charged no more")
    created_at: Instant


@router.post("/customers/{customer_id}/payment-methods", status_code=201)
async def create_method(
    customer_id: CustomerId, body: MethodNew, services: ServicesDep, once: OnceDep, caller: CallerDep
) -> MethodView:
    """Add a method. Open invoices of the customer are tried with it at once."""
    view = await add_method(services, customer_id, once.id("pm"), body.token, body.gateway, first=body.make_default)
    await collect_open(services, customer_id, view.id, once, caller.name)
    return view


async def add_method(
    services: Services,
    customer_id: str,
    method_id: str,
    token: str,
    gateway_name: str | None,
    *,
    first: bool = False,
    reuse: bool = False,
) -> MethodView:
    """The method of this token, written once under this id. Nothing is tried with it.

    `reuse`: where the customer has brought the same token before, that method is it.
    """
    gateway = services.gateway(gateway_name)
    details = await gateway.describe(token)
    if details is None:
        raise InvalidInput("token", f"the gateway {gateway.name} knows no such token", code="unknown_token")
    async with services.database.session() as session:
        payer = found(await customer(session, customer_id, lock=True), "customer")
        before = [each for each in await methods(session, customer_id) if each.id != method_id]
        same = [each for each in before if (each.gateway, each.token) == (gateway.name, details.token)]
        if reuse and same:
            return MethodView.model_validate(same[0])
        await admit(session, payer, details.fingerprint, before)
        row = await add_once(
            session,
            PaymentMethod(
                id=method_id,
                customer_id=customer_id,
                gateway=gateway.name,
                token=details.token,
                kind=details.kind,
                brand=details.brand,
                last4=details.last4,
                exp_month=details.exp_month,
                exp_year=details.exp_year,
                fingerprint=details.fingerprint,
            ),
        )
        number([row, *before] if first else [*before, row])
        await session.flush()
        return MethodView.model_validate(row)


@router.get("/customers/{customer_id}/payment-methods")
async def list_methods(customer_id: CustomerId, services: ServicesDep) -> Listed[MethodView]:
    """All working methods in their order of use."""
    async with services.database.session() as session:
        found(await customer(session, customer_id), "customer")
        return Listed(items=[MethodView.model_validate(row) for row in await methods(session, customer_id)])


@router.post("/customers/{customer_id}/payment-methods/reorder")
async def reorder_methods(customer_id: CustomerId, body: Order, services: ServicesDep) -> Listed[MethodView]:
    """Set the order of use; every working method is named once."""
    async with services.database.session() as session:
        found(await customer(session, customer_id, lock=True), "customer")
        rows = {row.id: row for row in await methods(session, customer_id)}
        if len(body.order) != len(rows) or set(body.order) != set(rows):
            raise InvalidInput("order", "names every working method of the customer once")
        ordered = [rows[each] for each in body.order]
        number(ordered)
        await session.flush()
        return Listed(items=[MethodView.model_validate(row) for row in ordered])


@router.post("/customers/{customer_id}/payment-methods/{method_id}/make-default")
async def make_method_default(
    customer_id: CustomerId, method_id: MethodId, services: ServicesDep, once: OnceDep, caller: CallerDep
) -> MethodView:
    """Put a method first. Open invoices of the customer are tried with it at once."""
    async with services.database.session() as session:
        found(await customer(session, customer_id, lock=True), "customer")
        row = found(await method(session, customer_id, method_id), "payment method")
        number([row, *(each for each in await methods(session, customer_id) if each.id != method_id)])
        await session.flush()
        view = MethodView.model_validate(row)
    await collect_open(services, customer_id, method_id, once, caller.name)
    return view


@router.delete("/customers/{customer_id}/payment-methods/{method_id}", status_code=204)
async def remove_method(customer_id: CustomerId, method_id: MethodId, services: ServicesDep) -> Response:
    """Remove a method: it is charged no more. Its past charges stay as they are."""
    async with services.database.session() as session:
        found(await customer(session, customer_id, lock=True), "customer")
        row = found(await method(session, customer_id, method_id), "payment method")
        row.removed_at = await database_now(session)
        await session.flush()
        number(await methods(session, customer_id))
    return Response(status_code=204)
