"""Invoices: numbered, with their lines and every try to collect them."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Final, Literal

from fastapi import Path, Query
from fastapi.responses import Response
from pydantic import BaseModel, Field

from api.blacklist import refuse_blacklisted_command, refuse_blacklisted_payment
from api.charges import ChargeView, charge_views
from api.context import CallerDep, OnceDep, ServicesDep
from api.credit_notes import CreditNoteView
from api.fields import Identifier, Instant, View
from api.messages import MessageDetail
from api.paging import Listed, PageQuery, listed
from api.percents import percent_of
from api.routing import noun
from api.rows import found
from api.subscription_commands import CollectBody
from domain.errors import Refused
from domain.messages import CollectNow, Envelope
from domain.order_messages import OrderEnvelope, Pay
from models import Invoice, InvoiceLine
from models.queries_billing import (
    DUE,
    INVOICES,
    BillingFilter,
    charges_of,
    invoice,
    invoices,
    invoices_due,
    lines,
    message,
)
from models.queries_credits import notes_of_invoice
from models.queries_customers import customer
from models.queries_papers import invoice_paper, rates_of
from models.session import database_now

PAY_TRIGGER: Final = "pay"
_PDF: Final[dict[int | str, dict[str, Any]]] = {
    200: {"content": {"application/pdf": {"schema": {"type": "string", "format": "binary"}}}, "description": "PDF/A"}
}

router = noun("invoices")
InvoiceId = Annotated[Identifier, Path(description="Id of the invoice")]


class InvoiceView(View):
    """An invoice. `local_date` is its date in the customer's zone; `amount_due` is what the credit left to pay."""

    id: str
    number: str
    customer_id: str
    subscription_id: str | None
    order_id: str | None
    cycle: int
    reason: str
    currency: str
    subtotal: int = Field(description="What the lines cost before discounts, with the tax that prices contain")
    discount: int = Field(description="What all discounts take off")
    tax: int = Field(description="Of the total, what is tax")
    taxes: dict[str, int] = Field(description="The same by place")
    total: int
    credit_applied: int
    amount_due: int
    credited: int = Field(description="Of the total, what credit notes correct, refunds under way counted")
    status: str
    issued_at: Instant
    local_date: str
    period_start: Instant | None
    period_end: Instant | None
    paid_at: Instant | None
    test_mode: bool


class ShareView(View):
    """What one discount took of a line."""

    id: str
    name: str
    amount: int


class LineView(View):
    """One line: quantity times unit amount is amount, always. `gross` is what it adds to the total: `net` and `tax`."""

    position: int
    kind: str
    description: str
    quantity: int
    unit_amount: int
    amount: int
    discount: int
    discounts: list[ShareView]
    net: int
    tax_category: str
    tax_place: str | None = Field(description="null: nothing is said of tax")
    tax_percent: str | None
    tax_inclusive: bool = Field(description="The amount contains the tax")
    tax_reason: str | None = Field(description="Why there is none: exempt, reverse_charge, no_rate")
    tax: int
    gross: int
    period_start: Instant | None
    period_end: Instant | None


class RateTotalView(BaseModel):
    """What the lines of one rate add up to."""

    place: str
    percent: str
    inclusive: bool
    reason: str | None
    net: int
    tax: int


class InvoiceDetail(InvoiceView):
    """An invoice with its lines, its charges and the credit notes that correct it."""

    tax_rates: list[RateTotalView] = Field(default_factory=list)
    lines: list[LineView] = Field(default_factory=list)
    charges: list[ChargeView] = Field(default_factory=list)
    credit_notes: list[CreditNoteView] = Field(default_factory=list)


class InvoiceQuery(PageQuery):
    """Which invoices."""

    customer_id: Identifier | None = None
    subscription_id: Identifier | None = None
    status: Literal["open", "paid", "uncollectible", "void"] | None = None
    test_mode: bool | None = None


class DueView(InvoiceView):
    """An open invoice. It is due on its own date: a subscription's is charged at once."""

    due_on: str = Field(description="The day in the customer's zone")
    age_days: int = Field(description="Whole days since it was issued, by the database's clock")


class DueQuery(PageQuery):
    """Whose, and of which books."""

    customer_id: Identifier | None = None
    test_mode: bool = False


@router.get("/invoices")
async def list_invoices(services: ServicesDep, query: Annotated[InvoiceQuery, Query()]) -> Listed[InvoiceView]:
    """List invoices, newest first."""
    wanted = BillingFilter(**query.model_dump(exclude={"limit", "cursor"}))
    async with services.database.session() as session:
        rows = await invoices(session, wanted, after=query.after(INVOICES), limit=query.limit)
        return listed(rows, INVOICES, InvoiceView.model_validate)


@router.get("/invoices/due")
async def list_due_invoices(services: ServicesDep, query: Annotated[DueQuery, Query()]) -> Listed[DueView]:
    """List invoices that wait for their money, the oldest first, each with its age."""
    async with services.database.session() as session:
        rows = await invoices_due(
            session, query.customer_id, test_mode=query.test_mode, after=query.after(DUE), limit=query.limit
        )
        now = await database_now(session)
        return listed(rows, DUE, lambda row: _due(row, now))


@router.get("/invoices/{invoice_id}")
async def get_invoice(invoice_id: InvoiceId, services: ServicesDep) -> InvoiceDetail:
    """Read one invoice with its lines, its charges and its credit notes."""
    return await _detail(services, invoice_id)


@router.get("/invoices/{invoice_id}/pdf", response_class=Response, responses=_PDF)
async def get_invoice_pdf(invoice_id: InvoiceId, services: ServicesDep) -> Response:
    """The invoice as a PDF/A file, in the customer's language, number format and zone."""
    async with services.database.session() as session:
        paper = found(await invoice_paper(session, invoice_id), "invoice")
    content = await services.press.invoice(paper)
    headers = {"Content-Disposition": f'inline; filename="{paper.number}.pdf"'}
    return Response(content, media_type="application/pdf", headers=headers)


@router.post("/invoices/{invoice_id}/send", status_code=201)
async def send_invoice(invoice_id: InvoiceId, services: ServicesDep, once: OnceDep, caller: CallerDep) -> MessageDetail:
    """Send the invoice to the customer by email, as an attached PDF file."""
    letter_id = once.id("msg")
    async with services.database.session() as session:
        row: Invoice = found(await invoice(session, invoice_id), "invoice")
        reader = found(await customer(session, row.customer_id), "customer")
    if not reader.email:
        raise Refused("no_address", "This customer has no email address; give one and send the invoice again.")
    await services.commands.messages.send_invoice(letter_id, invoice_id, actor=caller.name)
    async with services.database.session() as session:
        return MessageDetail.model_validate(found(await message(session, letter_id), "message"))


@router.post("/invoices/{invoice_id}/pay")
async def pay_invoice(
    invoice_id: InvoiceId, services: ServicesDep, once: OnceDep, caller: CallerDep, body: CollectBody | None = None
) -> InvoiceDetail:
    """Try to collect an open invoice now, with this method or the customer's order of use."""
    asked = body or CollectBody()
    async with services.database.session() as session:
        row: Invoice = found(await invoice(session, invoice_id), "invoice")
    if row.status != "open":
        raise Refused("not_open", f"This invoice is {row.status}.")
    actor = caller.acting(asked.actor)
    if row.order_id is not None:
        async with services.database.session() as session:
            await refuse_blacklisted_payment(session, row.customer_id, asked.payment_method_id)
        pay = Pay(asked.payment_method_id, trigger=PAY_TRIGGER)
        await services.commands.orders.send(row.order_id, OrderEnvelope(once.id("cmd"), pay, actor, asked.reason))
    if row.subscription_id is not None:
        command = CollectNow(asked.payment_method_id, PAY_TRIGGER)
        async with services.database.session() as session:
            await refuse_blacklisted_command(session, row.subscription_id, command)
        envelope = Envelope(once.id("cmd"), command, actor, asked.reason, asked.expected_cycle)
        await services.commands.send(row.subscription_id, envelope)
    return await _detail(services, invoice_id)


def _due(row: Invoice, now: datetime) -> DueView:
    age = max((now - row.issued_at).days, 0)  # a test subscription's clock may be ahead
    return DueView(**dict(InvoiceView.model_validate(row)), due_on=row.local_date, age_days=age)


async def _detail(services: ServicesDep, invoice_id: str) -> InvoiceDetail:
    async with services.database.session() as session:
        row = found(await invoice(session, invoice_id), "invoice")
        view = InvoiceView.model_validate(row)
        parts = await lines(session, invoice_id)
        return InvoiceDetail(
            **dict(view),
            tax_rates=[
                RateTotalView(
                    place=each.place,
                    percent=percent_of(each.rate),
                    inclusive=each.inclusive,
                    reason=each.reason,
                    net=each.net,
                    tax=each.tax,
                )
                for each in rates_of(parts)
            ],
            lines=[line_view(line) for line in parts],
            charges=await charge_views(session, await charges_of(session, invoice_id)),
            credit_notes=[CreditNoteView.model_validate(note) for note in await notes_of_invoice(session, invoice_id)],
        )


def line_view(line: InvoiceLine) -> LineView:
    """A line of an invoice as it is shown."""
    names = [name for name in LineView.model_fields if name not in {"tax_percent", "discounts"}]
    return LineView(
        **{name: getattr(line, name) for name in names},
        tax_percent=None if line.tax_rate is None else percent_of(line.tax_rate),
        discounts=[ShareView(**share) for share in line.discounts],
    )
