"""Credit notes: what corrects a final invoice, which itself never changes."""

from __future__ import annotations

from typing import Annotated, Literal

from fastapi import Path, Query
from pydantic import ConfigDict, Field

from api.account_credit import Why, clock_of
from api.context import CallerDep, OnceDep, ServicesDep
from api.fields import Body, Identifier, Instant, Minor, Name, View
from api.paging import Listed, PageQuery, listed
from api.routing import noun
from api.rows import found
from domain.credits import FromInvoice, Transfer
from domain.errors import InvalidInput
from models.queries_billing import invoice
from models.queries_credits import CREDIT_NOTES, credit_note, credit_notes

router = noun("credit notes")
NoteId = Annotated[Identifier, Path(description="Id of the credit note")]
Disposition = Literal["refund", "void", "credit"]


class CreditNoteNew(Body):
    """What of a paid invoice is credited, why, and to which subscription: null is the invoice's own, if it has one."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"amount": 500, "reason": "delivered late"}]})

    amount: Annotated[Minor, Field(ge=1)]
    reason: Why
    subscription_id: Identifier | None = None
    actor: Name | None = Field(default=None, description="Who, where the API key acts for somebody")


class CreditNoteView(View):
    """A credit note. Its money went back (`refund`, `void`) or is on account (`credit`).

    `number` is gapless within the customer's series; `local_date` is its date in the customer's zone.
    """

    id: str
    number: str
    invoice_id: str
    customer_id: str
    refund_id: str | None
    amount: int
    taxes: dict[str, int] = Field(description="What of it is tax, by place")
    currency: str
    disposition: str
    reason: str
    actor: str
    at: Instant
    local_date: str
    test_mode: bool


class CreditNoteQuery(PageQuery):
    """Which credit notes."""

    customer_id: Identifier | None = None
    invoice_id: Identifier | None = None
    disposition: Disposition | None = None
    test_mode: bool | None = None


@router.post("/invoices/{invoice_id}/credit-notes", status_code=201)
async def credit_invoice(
    invoice_id: Annotated[Identifier, Path(description="Id of the invoice")],
    body: CreditNoteNew,
    services: ServicesDep,
    once: OnceDep,
    caller: CallerDep,
) -> CreditNoteView:
    """Credit a paid invoice in part or in full: the money becomes credit, which the next rebills use up first."""
    async with services.database.session() as session:
        row = found(await invoice(session, invoice_id), "invoice")
    subscription_id = body.subscription_id or row.subscription_id
    if subscription_id is None:
        raise InvalidInput("subscription_id", "an order's invoice has none of its own: say which one gets the credit")
    note_id = once.id("cn")
    transfer = Transfer(
        id=once.id("ctr"),
        subscription_id=subscription_id,
        source=FromInvoice(invoice_id, note_id, body.amount),
        at=await clock_of(services, subscription_id),
        actor=caller.acting(body.actor),
        reason=body.reason,
    )
    await services.commands.credits.transfer(transfer)
    async with services.database.session() as session:
        return CreditNoteView.model_validate(found(await credit_note(session, note_id), "credit note"))


@router.get("/credit-notes")
async def list_credit_notes(
    services: ServicesDep, query: Annotated[CreditNoteQuery, Query()]
) -> Listed[CreditNoteView]:
    """List credit notes, newest first."""
    async with services.database.session() as session:
        rows = await credit_notes(
            session,
            customer_id=query.customer_id,
            invoice_id=query.invoice_id,
            disposition=query.disposition,
            test_mode=query.test_mode,
            after=query.after(CREDIT_NOTES),
            limit=query.limit,
        )
        return listed(rows, CREDIT_NOTES, CreditNoteView.model_validate)


@router.get("/credit-notes/{note_id}")
async def get_credit_note(note_id: NoteId, services: ServicesDep) -> CreditNoteView:
    """Read one credit note."""
    async with services.database.session() as session:
        return CreditNoteView.model_validate(found(await credit_note(session, note_id), "credit note"))
