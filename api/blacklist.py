"""The blacklist: from whom no new order or charge is taken, and which commands that stops."""

from __future__ import annotations

from typing import Annotated, Literal

from fastapi import Path, Query, Response
from pydantic import ConfigDict, StringConstraints
from sqlalchemy.ext.asyncio import AsyncSession

from api.context import CallerDep, OnceDep, ServicesDep
from api.fields import Body, Country, Identifier, Instant, Line, Reason, View
from api.paging import Listed, PageQuery, listed
from api.routing import noun
from api.rows import add_once, found, known
from domain.blacklist import (
    VALUE_LENGTH_MAX,
    Mark,
    MarkKind,
    Place,
    address_mark,
    email_mark,
    fingerprint_mark,
    phone_mark,
)
from domain.errors import InvalidInput
from domain.messages import ChargeNow, CollectNow, Command, Restart
from models import BlacklistEntry
from models.blacklisted import refuse_blacklisted, refuse_blacklisted_card
from models.queries_blacklist import BLACKLIST, entries, entry, marks_of
from models.queries_customers import customer, method
from models.queries_subscriptions import subscription
from models.session import database_now

router = noun("blacklist")
EntryId = Annotated[Identifier, Path(description="Id of the entry")]
Kind = Literal["email", "phone", "fingerprint", "address"]
Value = Annotated[Line, StringConstraints(max_length=VALUE_LENGTH_MAX)]


class PlaceBody(Body):
    """An address, as far as it is compared."""

    line1: Line
    line2: Line = ""
    postal_code: Line = ""
    city: Line = ""
    country: Country


class EntryNew(Body):
    """Whom to block: `address` for that kind, `value` for the others."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"kind": "email", "value": "Jo.Doe+1@gmail.com", "reason": "three lost disputes"},
                {
                    "kind": "address",
                    "address": {"line1": "5 High Street", "postal_code": "E1 6AN", "country": "GB"},
                    "reason": "parcels vanish there",
                },
            ]
        }
    )

    kind: Kind
    value: Value | None = None
    address: PlaceBody | None = None
    reason: Annotated[Reason, StringConstraints(min_length=1, pattern=r"\S")]


class EntryView(View):
    """An entry. `value` is the written form that customers are compared with."""

    id: str
    kind: str
    value: str
    reason: str
    actor: str
    at: Instant
    removed_at: Instant | None
    removed_by: str | None


class EntryQuery(PageQuery):
    """Which entries: those in force unless `removed`. `customer_id`: those that this customer is met by."""

    kind: Kind | None = None
    customer_id: Identifier | None = None
    removed: bool = False


@router.post("/blacklist", status_code=201)
async def blacklist_payer(body: EntryNew, services: ServicesDep, once: OnceDep, caller: CallerDep) -> EntryView:
    """Take no new order or charge from whoever has this email, phone number, card or address."""
    mark = _mark(body)
    async with services.database.session() as session:
        row = await add_once(
            session,
            BlacklistEntry(
                id=once.id("blk"), kind=mark.kind.value, value=mark.value, reason=body.reason, actor=caller.name
            ),
        )
        return EntryView.model_validate(row)


@router.get("/blacklist")
async def list_blacklist(services: ServicesDep, query: Annotated[EntryQuery, Query()]) -> Listed[EntryView]:
    """List entries, newest first."""
    async with services.database.session() as session:
        wanted = None
        if query.customer_id is not None:
            payer = known(await customer(session, query.customer_id), "customer_id", "customer")
            wanted = await marks_of(session, payer)
        rows = await entries(
            session,
            kind=query.kind,
            wanted=wanted,
            removed=query.removed,
            after=query.after(BLACKLIST),
            limit=query.limit,
        )
        return listed(rows, BLACKLIST, EntryView.model_validate)


@router.delete("/blacklist/{entry_id}", status_code=204)
async def unlist_payer(entry_id: EntryId, services: ServicesDep, caller: CallerDep) -> Response:
    """Take an entry off. It stays in the list of removed ones, with who did it."""
    async with services.database.session() as session:
        row = found(await entry(session, entry_id, lock=True), "blacklist entry")
        if row.removed_at is None:
            row.removed_at, row.removed_by = await database_now(session), caller.name
    return Response(status_code=204)


async def refuse_blacklisted_command(session: AsyncSession, subscription_id: str, command: Command) -> None:
    """Raises `Refused` for a command that is a new order of a blacklisted customer, or names a blacklisted card.

    An order is a charge besides the cycles, and beginning again. What a running subscription owes is collected from
    cards that are not blacklisted. Raises `InvalidInput` for a method that whoever pays does not have.
    """
    if not isinstance(command, ChargeNow | CollectNow | Restart):
        return
    row = found(await subscription(session, subscription_id), "subscription")
    reader = found(await customer(session, row.customer_id), "customer")
    if not isinstance(command, CollectNow):
        await refuse_blacklisted(session, reader)
    if isinstance(command, Restart) or command.method_id is None:
        return
    card = known(await method(session, reader.payer_id, command.method_id), "payment_method_id", "payment method")
    if card.closed_at is not None:
        raise InvalidInput("payment_method_id", "the bank has closed it; name another one", code="method_closed")
    await refuse_blacklisted_card(session, card.fingerprint)


async def refuse_blacklisted_payment(session: AsyncSession, customer_id: str, method_id: str | None) -> None:
    """Raises `Refused` where the blacklist knows the customer of an order that is to be paid, or the card named."""
    payer = found(await customer(session, customer_id), "customer")
    await refuse_blacklisted(session, payer)
    if method_id is not None:
        card = found(await method(session, payer.payer_id, method_id), "payment method")
        await refuse_blacklisted_card(session, card.fingerprint)


def _mark(body: EntryNew) -> Mark:
    if body.kind == MarkKind.ADDRESS:
        if body.address is None or body.value is not None:
            raise InvalidInput("address", "an entry of this kind has an address and no value")
        return address_mark(Place(**body.address.model_dump()))
    if body.value is None or body.address is not None:
        raise InvalidInput("value", "an entry of this kind has a value and no address")
    match body.kind:
        case "email":
            return email_mark(body.value)
        case "phone":
            return phone_mark(body.value)
        case _:
            return fingerprint_mark(body.value)
