"""Addresses of a customer: several of each kind, one default of each kind."""

from __future__ import annotations

from typing import Annotated, Literal

from fastapi import Path, Response
from pydantic import ConfigDict, StringConstraints
from sqlalchemy import Update, update

from api.context import CallerDep, OnceDep, Services, ServicesDep
from api.customers import CustomerId
from api.fields import Body, Country, Identifier, Instant, Line, Name, View
from api.keys import Caller
from api.notices import tell_tax
from api.paging import Listed
from api.routing import noun
from api.rows import add_once, found
from domain.errors import Refused
from models import Address
from models.queries_customers import address, addresses, customer

ADDRESSES_MAX = 50

router = noun("addresses")
AddressId = Annotated[Identifier, Path(description="Id of the address")]
Kind = Literal["billing", "shipping"]


class AddressNew(Body):
    """An address. The first of its kind becomes the default."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "kind": "billing",
                    "line1": "Unter den Linden 1",
                    "city": "Berlin",
                    "postal_code": "10117",
                    "country": "DE",
                }
            ]
        }
    )

    kind: Kind
    line1: Name
    line2: Line = ""
    city: Name
    region: Line = ""
    postal_code: Annotated[str, StringConstraints(max_length=16, pattern=r"^[A-Za-z0-9 -]*$")] = ""
    country: Country
    is_default: bool = False


class AddressView(View):
    """An address as it stands."""

    id: str
    customer_id: str
    kind: str
    line1: str
    line2: str
    city: str
    region: str
    postal_code: str
    country: str
    is_default: bool
    created_at: Instant


@router.post("/customers/{customer_id}/addresses", status_code=201)
async def create_address(
    customer_id: CustomerId, body: AddressNew, services: ServicesDep, once: OnceDep, caller: CallerDep
) -> AddressView:
    """Add an address. Another default for bills is where the customer is taxed from now on."""
    async with services.database.session() as session:
        found(await customer(session, customer_id, lock=True), "customer")
        row = Address(id=once.id("adr"), customer_id=customer_id, **body.model_dump())
        before = [each for each in await addresses(session, customer_id) if each.id != row.id]
        if len(before) >= ADDRESSES_MAX:
            raise Refused("too_many", f"A customer has at most {ADDRESSES_MAX} addresses.")
        row.is_default = body.is_default or not any(each.kind == body.kind for each in before)
        if row.is_default:
            await session.execute(_no_default(customer_id, body.kind))
        view = AddressView.model_validate(await add_once(session, row))
    await _tell(services, view, caller)
    return view


@router.get("/customers/{customer_id}/addresses")
async def list_addresses(customer_id: CustomerId, services: ServicesDep) -> Listed[AddressView]:
    """All addresses of a customer, oldest first."""
    async with services.database.session() as session:
        found(await customer(session, customer_id), "customer")
        return Listed(items=[AddressView.model_validate(row) for row in await addresses(session, customer_id)])


@router.post("/customers/{customer_id}/addresses/{address_id}/make-default")
async def make_address_default(
    customer_id: CustomerId, address_id: AddressId, services: ServicesDep, caller: CallerDep
) -> AddressView:
    """Make an address the default of its kind; that for bills is where the customer is taxed."""
    async with services.database.session() as session:
        found(await customer(session, customer_id, lock=True), "customer")
        row = found(await address(session, customer_id, address_id), "address")
        await session.execute(_no_default(customer_id, row.kind))
        await session.refresh(row)
        row.is_default = True
        await session.flush()
        view = AddressView.model_validate(row)
    await _tell(services, view, caller)
    return view


@router.delete("/customers/{customer_id}/addresses/{address_id}", status_code=204)
async def remove_address(
    customer_id: CustomerId, address_id: AddressId, services: ServicesDep, caller: CallerDep
) -> Response:
    """Remove an address."""
    async with services.database.session() as session:
        row = found(await address(session, customer_id, address_id), "address")
        view = AddressView.model_validate(row)
        await session.delete(row)
    await _tell(services, view, caller)
    return Response(status_code=204)


async def _tell(services: Services, changed: AddressView, caller: Caller) -> None:
    """The default address for bills is where a customer is taxed."""
    if changed.kind == "billing" and changed.is_default:
        await tell_tax(services, changed.customer_id, caller.name)


def _no_default(customer_id: str, kind: str) -> Update:
    return (
        update(Address)
        .where(Address.customer_id == customer_id, Address.kind == kind, Address.is_default)
        .values(is_default=False)
    )
