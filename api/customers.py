"""Customers: created, found, changed field by field with a log of every change."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Final, Literal

from fastapi import Path, Query
from pydantic import ConfigDict, Field, computed_field
from sqlalchemy.ext.asyncio import AsyncSession

from api.context import CallerDep, OnceDep, ServicesDep
from api.fields import (
    Body,
    Currency,
    Email,
    ExternalId,
    Identifier,
    Instant,
    Language,
    Line,
    NoticeDays,
    Phone,
    View,
    Zone,
)
from api.guests import merge_guests, verify
from api.notices import tell_subscriptions, tell_tax
from api.paging import Listed, PageQuery, listed
from api.routing import noun
from api.rows import add_once, found, known, replace_fields
from domain.errors import InvalidInput
from models import Customer, CustomerChange
from models.customers import invoice_prefix_of
from models.queries_business import seller
from models.queries_catalogue import policy
from models.queries_customers import CHANGES, CUSTOMERS, changes, customer, customers
from models.written import check_other_country, tax_id_written, tel_link

TAGS_MAX: Final = 50

router = noun("customers")
CustomerId = Annotated[Identifier, Path(description="Id of the customer")]
TaxStatus = Literal["taxable", "exempt", "reverse_charge"]
Tag = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9 ._:-]{0,63}$")]


class _Details(Body):
    external_id: ExternalId | None = Field(default=None, description="The customer's id in your own system; unique")
    title: Line = ""
    first_name: Line = ""
    last_name: Line = ""
    company: Line = ""
    phone: Phone = ""
    gender: Line | None = None
    language: Language = "en"
    time_zone: Zone = "UTC"
    tax_status: TaxStatus = "taxable"
    tax_id: Line | None = Field(default=None, description="VAT numbers are checked; reverse charge needs one")
    agent: Line | None = Field(default=None, description="Who looks after this customer")
    notice_days: NoticeDays = 0
    dunning_policy_id: Identifier | None = Field(default=None, description="Comes before the product's policy")
    tags: Annotated[list[Tag], Field(max_length=TAGS_MAX)] = Field(default_factory=list)


class CustomerNew(_Details):
    """A customer to be. `time_zone` is where its days begin and its due times fall."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "email": "ada@example.com",
                    "first_name": "Ada",
                    "last_name": "Byron",
                    "currency": "EUR",
                    "time_zone": "Europe/Berlin",
                    "notice_days": 3,
                }
            ]
        }
    )

    email: Email
    currency: Currency
    guest: bool = Field(default=False, description="Ordered without an account; goes into one with the same address")
    email_verified: bool = Field(default=False, description="You have proof that the address is theirs")


def _without_defaults(schema: dict[str, Any]) -> None:
    for field in schema["properties"].values():
        field.pop("default", None)


class CustomerPatch(_Details):
    """The fields to change; what is not sent stays. The defaults here are never used."""

    model_config = ConfigDict(
        json_schema_extra=lambda schema: (
            _without_defaults(schema),
            schema.update(examples=[{"phone": "+49 30 1234567", "notice_days": 7}]),
        )[1]
    )

    email: Email = ""
    currency: Currency = ""


class CustomerView(View):
    """A customer as it stands."""

    id: str
    external_id: str | None
    title: str
    first_name: str
    last_name: str
    company: str
    email: str
    phone: str
    gender: str | None
    language: str
    time_zone: str
    currency: str
    tax_status: str
    tax_id: str | None
    agent: str | None
    notice_days: int
    dunning_policy_id: str | None
    tags: list[str]
    guest: bool
    verified_at: Instant | None = Field(description="When `email` was proved to be theirs")
    merged_into: str | None = Field(description="Set in the answer to a guest who went into this customer at once")
    forgotten_at: Instant | None = Field(description="When they were made anonymous; nothing is written to them again")
    parent_id: str | None
    pays: str = Field(description="`parent`: charged on the parent's methods; `self`: on its own")
    created_at: Instant
    updated_at: Instant

    @computed_field(description="For a telephone to dial (RFC 3966)")
    @property
    def tel(self) -> str | None:
        return tel_link(self.phone)


class VerifiedEmail(Body):
    """Which address was verified, so that one that was changed meanwhile is not taken for it."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"email": "ada@example.com"}]})

    email: Email


class CustomerQuery(PageQuery):
    """Exact matches; upper and lower case are one in an email."""

    email: Annotated[str | None, Field(max_length=254, pattern=r"^[^\x00]*$")] = None
    external_id: ExternalId | None = None
    tag: Tag | None = None


class ChangeView(View):
    """One changed field."""

    at: Instant
    actor: str
    field: str
    old: str | None
    new: str | None


@router.post("/customers", status_code=201)
async def create_customer(body: CustomerNew, services: ServicesDep, once: OnceDep, caller: CallerDep) -> CustomerView:
    """Create a customer. A guest with a verified address goes at once into the one customer who has verified it too."""
    customer_id = once.id("cus")
    async with services.database.session() as session:
        row = await new_customer(session, customer_id, body)
        if body.email_verified:
            await verify(session, row, caller.name)
        view = CustomerView.model_validate(row)
    if not body.email_verified:
        return view
    return view.model_copy(update={"merged_into": await merge_guests(services, customer_id)})


async def new_customer(session: AsyncSession, customer_id: str, body: CustomerNew) -> Customer:
    """The customer of this request, written once. Raises `InvalidInput`."""
    if body.dunning_policy_id is not None:
        known(await policy(session, body.dunning_policy_id), "dunning_policy_id", "dunning policy")
    fields = body.model_dump(exclude={"email_verified"})
    fields["tax_id"] = await _tax_id(session, body.tax_id, body.tax_status)
    return await add_once(session, Customer(id=customer_id, invoice_prefix=invoice_prefix_of(customer_id), **fields))


@router.get("/customers")
async def list_customers(services: ServicesDep, query: Annotated[CustomerQuery, Query()]) -> Listed[CustomerView]:
    """List customers, newest first, or find one by email, external id or tag."""
    async with services.database.session() as session:
        rows = await customers(
            session,
            email=query.email,
            external_id=query.external_id,
            tag=query.tag,
            after=query.after(CUSTOMERS),
            limit=query.limit,
        )
        return listed(rows, CUSTOMERS, CustomerView.model_validate)


@router.get("/customers/{customer_id}")
async def get_customer(customer_id: CustomerId, services: ServicesDep) -> CustomerView:
    """Read one customer."""
    async with services.database.session() as session:
        return CustomerView.model_validate(found(await customer(session, customer_id), "customer"))


@router.patch("/customers/{customer_id}")
async def change_customer(
    customer_id: CustomerId, body: CustomerPatch, services: ServicesDep, caller: CallerDep
) -> CustomerView:
    """Change some fields; each change is logged. `notice_days` and `tax_status` reach all subscriptions."""
    fields = body.model_dump(exclude_unset=True)
    async with services.database.session() as session:
        row = found(await customer(session, customer_id, lock=True), "customer")
        if body.dunning_policy_id is not None:
            known(await policy(session, body.dunning_policy_id), "dunning_policy_id", "dunning policy")
        if fields.keys() & {"tax_id", "tax_status"}:  # the two go together, however few of them are sent
            tax_id, tax_status = fields.get("tax_id", row.tax_id), fields.get("tax_status", row.tax_status)
            fields["tax_id"] = await _tax_id(session, tax_id, tax_status)
        changed = replace_fields(row, fields)
        session.add_all(
            CustomerChange(customer_id=row.id, actor=caller.name, field=field, old=_shown(old), new=_shown(new))
            for field, (old, new) in changed.items()
        )
        if "email" in changed:
            row.verified_email = row.verified_at = row.verified_by = None
        if changed:
            await session.flush()
            await session.refresh(row)
        view = CustomerView.model_validate(row)
    if "notice_days" in fields:
        await tell_subscriptions(services, customer_id, fields["notice_days"], caller.name)
    if "tax_status" in fields:
        await tell_tax(services, customer_id, caller.name)
    return view


@router.put("/customers/{customer_id}/verified-email")
async def verify_email(
    customer_id: CustomerId, body: VerifiedEmail, services: ServicesDep, caller: CallerDep
) -> CustomerView:
    """Note that the customer's address is theirs: they followed a link sent to it, or an agent made sure.

    A guest then goes into the one customer who has verified it too, and guests who have into this one.
    """
    async with services.database.session() as session:
        row = found(await customer(session, customer_id, lock=True), "customer")
        if row.email.lower() != body.email.lower():
            raise InvalidInput("email", "is not the address the customer has now", code="email_changed")
        if row.verified_email is None:
            await verify(session, row, caller.name)
        view = CustomerView.model_validate(row)
    return view.model_copy(update={"merged_into": await merge_guests(services, customer_id)})


@router.get("/customers/{customer_id}/changes")
async def list_changes(
    customer_id: CustomerId, services: ServicesDep, query: Annotated[PageQuery, Query()]
) -> Listed[ChangeView]:
    """Who changed what, newest first."""
    async with services.database.session() as session:
        found(await customer(session, customer_id), "customer")
        rows = await changes(session, customer_id, after=query.after(CHANGES), limit=query.limit)
        return listed(rows, CHANGES, ChangeView.model_validate)


async def _tax_id(session: AsyncSession, tax_id: str | None, tax_status: str) -> str | None:
    """As it is kept. Raises `InvalidInput` where it is wrong, or with reverse charge of the seller's own country."""
    written = tax_id_written(tax_id or "", tax_status)
    if tax_status == "reverse_charge" and written is not None:
        check_other_country(written, (await seller(session)).tax_id)
    return written


def _shown(value: str | int | list[str] | datetime | None) -> str | None:
    if value is None:
        return None
    return ", ".join(value) if isinstance(value, list) else str(value)
