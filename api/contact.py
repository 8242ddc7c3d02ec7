"""Reaching a customer from their page: a letter from a template, and a call placed by the phone switch."""

from __future__ import annotations

from typing import Annotated, Final

from fastapi import Query
from pydantic import AfterValidator, ConfigDict, Field, StringConstraints
from sqlalchemy.ext.asyncio import AsyncSession

from api.context import CallerDep, OnceDep, Services, ServicesDep
from api.customers import CustomerId
from api.fields import Body, Code, Instant, View
from api.messages import MessageDetail
from api.notes import plain
from api.paging import Listed, PageQuery, listed
from api.routing import noun
from api.rows import add_once, found
from domain.errors import InvalidInput, NotFound, Refused
from domain.staff_letters import TEMPLATES, VALUE_LENGTH_MAX, accept_values
from models import PhoneCall, StaffLetter
from models.queries_billing import message
from models.queries_contact import CALLS, phone_call, phone_calls
from models.queries_customers import customer
from models.session import database_now
from models.written import phone_written, tel_link
from providers.phones.base import Call, CallRefused, CallUnknown, SwitchUnreachable

VALUES_MAX: Final = 10
PENDING: Final = "pending"

router = noun("contact")
Value = Annotated[str, StringConstraints(max_length=VALUE_LENGTH_MAX), AfterValidator(plain)]


class LetterBody(Body):
    """A template's name, and what to put into its blanks."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"template": "staff_missed_call", "values": {"topic": "your order of last Friday"}}]
        }
    )

    template: Code = Field(description=f"One of {', '.join(TEMPLATES)}")
    values: Annotated[dict[Code, Value], Field(max_length=VALUES_MAX)] = Field(default_factory=dict)


class CallView(View):
    """A call as far as we know. `unknown`: the switch was asked and its answer is lost; look at the telephone."""

    id: str
    customer_id: str
    number: str
    tel: str | None = Field(description="For a telephone to dial (RFC 3966)")
    status: str
    message: str
    actor: str
    at: Instant
    answered_at: Instant | None


@router.post("/customers/{customer_id}/messages", status_code=201)
async def write_to_customer(
    customer_id: CustomerId, body: LetterBody, services: ServicesDep, once: OnceDep, caller: CallerDep
) -> MessageDetail:
    """Send a letter from a template. It is in the log of messages like any other, and can be sent again."""
    accept_values(body.template, body.values)
    letter_id = once.id("msg")
    async with services.database.session() as session:
        reader = found(await customer(session, customer_id), "customer")
        if not reader.email:
            raise Refused("no_address", "This customer has no email address; give one and write again.")
        wish = StaffLetter(
            id=letter_id,
            customer_id=customer_id,
            template=body.template,
            values=dict(body.values),
            actor=caller.name,
            at=await database_now(session),
        )
        await add_once(session, wish)
    await services.commands.messages.write(letter_id)
    async with services.database.session() as session:
        return MessageDetail.model_validate(found(await message(session, letter_id), "message"))


@router.post("/customers/{customer_id}/call", status_code=201)
async def call_customer(customer_id: CustomerId, services: ServicesDep, once: OnceDep, caller: CallerDep) -> CallView:
    """Have the phone switch ring the caller and put the customer through. Asked once, whatever is repeated."""
    async with services.database.session() as session:
        number = await _number(session, customer_id)
        switch = services.phone
        if switch is None:
            raise Refused("not_configured", f"No phone switch is set up here; dial tel:{number} yourself.")
        known = await phone_call(session, once.id("call"))
        if known is None:
            session.add(PhoneCall(id=once.id("call"), customer_id=customer_id, number=number, actor=caller.name))
    if known is not None:  # the very same request: it was asked, or its asking broke off, and is not asked again
        return await _ended(services, known.id, "unknown" if known.status == PENDING else known.status, known.message)
    try:
        await switch.place(Call(once.id("call"), number, caller.name, customer_id))
    except CallRefused as error:
        return await _ended(services, once.id("call"), "refused", str(error))
    except SwitchUnreachable as error:
        return await _ended(services, once.id("call"), "refused", str(error))
    except CallUnknown as error:
        return await _ended(services, once.id("call"), "unknown", str(error))
    return await _ended(services, once.id("call"), "placed", "")


@router.get("/customers/{customer_id}/calls")
async def list_calls(
    customer_id: CustomerId, services: ServicesDep, query: Annotated[PageQuery, Query()]
) -> Listed[CallView]:
    """The calls that the switch was asked for, newest first."""
    async with services.database.session() as session:
        found(await customer(session, customer_id), "customer")
        rows = await phone_calls(session, customer_id, after=query.after(CALLS), limit=query.limit)
        return listed(rows, CALLS, _view)


async def _number(session: AsyncSession, customer_id: str) -> str:
    row = found(await customer(session, customer_id), "customer")
    try:
        number = phone_written(row.phone)
    except InvalidInput as error:
        raise Refused("no_phone", f"The phone number of this customer {error.message}.") from error
    if not number:
        raise Refused("no_phone", "This customer has no phone number.")
    return number


async def _ended(services: Services, call_id: str, status: str, said: str) -> CallView:
    async with services.database.session() as session:
        row = await phone_call(session, call_id, lock=True)
        if row is None:
            raise NotFound("There is no such call.")
        if row.status == PENDING:
            row.status, row.message, row.answered_at = status, said, await database_now(session)
            await session.flush()
        return _view(row)


def _view(row: PhoneCall) -> CallView:
    return CallView(
        id=row.id,
        customer_id=row.customer_id,
        number=row.number,
        tel=tel_link(row.number),
        status=row.status,
        message=row.message,
        actor=row.actor,
        at=row.at,
        answered_at=row.answered_at,
    )
