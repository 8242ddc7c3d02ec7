"""Why a charge happened, as a chain of sentences from its trigger to what the customer was told."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from pydantic import BaseModel
from sqlalchemy.ext.asyncio import AsyncSession

from api.fields import Instant
from domain.discounts import percent
from domain.errors import Broken
from domain.explain import sentence
from domain.money import Money
from models import Attempt, Invoice, InvoiceLine, OrderEvent, SubscriptionEvent
from models.queries_billing import events_of_invoice, invoice, lines, messages_of
from models.queries_catalogue import price
from models.queries_customers import any_method
from models.queries_orders import order

TRIGGERS: Final = {
    "due": "The cycle was due by the subscription's own calendar.",
    "billing_run": "A billing run called for what was due.",
    "force_bill": "Somebody had the cycle billed by force.",
    "charge_now": "Somebody asked for this amount to be charged now.",
    "link": "The customer paid through a link.",
    "card_update": "The customer's payment methods were changed, so the open invoice was tried at once.",
    "pay": "Payment of this invoice was asked for.",
    "manual": "Somebody asked for collection now.",
    "dunning": "The time of a dunning retry had come.",
    "backup_method": "The method before had declined, so the next one in the customer's order was tried.",
    "change": "The terms were changed in the middle of a period.",
    "order": "Payment of the order was asked for.",
    "basket": "The customer paid a basket.",
}


class Because(BaseModel):
    """One link of the chain."""

    what: str
    text: str
    at: Instant | None = None


async def because(session: AsyncSession, charge: Attempt) -> list[Because]:
    """Trigger, terms, amounts, method, gateway, and what followed, in that order."""
    owed = await invoice(session, charge.invoice_id)
    if owed is None:
        raise Broken(f"charge {charge.id} has no invoice")
    timeline = await events_of_invoice(session, owed)
    told = await messages_of(session, owed, [event.seq for event in timeline])
    return [
        Because(what="trigger", text=TRIGGERS.get(charge.trigger, charge.trigger), at=charge.at),
        await _terms(session, owed, timeline),
        *_amounts(owed, await lines(session, owed.id)),
        await _method(session, charge),
        _gateway(charge),
        *(Because(what="timeline", text=sentence(event.kind, event.data), at=event.at) for event in timeline),
        *(
            Because(what="message", text=f"“{mail.subject}” to {mail.recipient}: {mail.status}.", at=mail.at)
            for mail in told
        ),
    ]


async def _terms(session: AsyncSession, owed: Invoice, timeline: Sequence[SubscriptionEvent | OrderEvent]) -> Because:
    """The terms in force when the invoice was issued: a price point is never edited, so its id tells them all."""
    if owed.order_id is not None:
        sold = await order(session, owed.order_id)
        name = owed.order_id if sold is None else f"{sold.number}, taken by {sold.agent}"
        return Because(what="terms", text=f"What was agreed in order {name}.", at=owed.issued_at)
    issued = next((event for event in timeline if event.kind == "invoice_issued"), None)
    agreed = None if issued is None else await price(session, issued.data["price_id"])
    if issued is None or agreed is None:
        raise Broken("an invoice was charged that its timeline does not know")
    each = Money(agreed.unit_amount, agreed.currency)
    every = agreed.interval_unit if agreed.interval_count == 1 else f"{agreed.interval_count} {agreed.interval_unit}s"
    terms = f"{issued.data['quantity']} times {each} every {every}"
    return Because(
        what="terms", text=f"The terms: {terms} (price {agreed.code}, version {agreed.version}).", at=issued.at
    )


def _amounts(owed: Invoice, parts: Sequence[InvoiceLine]) -> list[Because]:
    def money(minor: int) -> Money:
        return Money(minor, owed.currency)

    said = [
        Because(
            what="line",
            text=f"{part.description}: {part.quantity} times {money(part.unit_amount)} = {money(part.amount)}"
            f"{_off(part, money)}{_taxed(part, money)}.",
        )
        for part in parts
    ]
    total = f"Invoice {owed.number} comes to {money(owed.total)}"
    if owed.credit_applied:
        total += f", less {money(owed.credit_applied)} of credit"
    return [*said, Because(what="invoice", text=f"{total}: {money(owed.amount_due)} to pay.", at=owed.issued_at)]


def _off(part: InvoiceLine, money: Callable[[int], Money]) -> str:
    return "".join(f", less {money(share['amount'])} for {share['name']}" for share in part.discounts)


def _taxed(part: InvoiceLine, money: Callable[[int], Money]) -> str:
    if part.tax_rate is None:
        return ""
    if part.tax_reason is not None:
        return f", without tax ({part.tax_reason.replace('_', ' ')})"
    how = "of which" if part.tax_inclusive else "plus"
    return f", {how} {money(part.tax)} are {percent(part.tax_rate)} tax of {part.tax_place}"


async def _method(session: AsyncSession, charge: Attempt) -> Because:
    if charge.payment_method_id is None:
        return Because(what="method", text="The customer had no payment method to charge.")
    method = await any_method(session, charge.payment_method_id)
    name = "a method" if method is None else f"{method.brand or method.kind} ending in {method.last4}"
    return Because(what="method", text=f"Attempt {charge.number} was made with {name}.")


def _gateway(charge: Attempt) -> Because:
    amount = Money(charge.amount, charge.currency)
    asked = f"{charge.gateway or 'No gateway'} was asked for {amount} under our reference {charge.reference}"
    said = f"{asked}: {charge.status}"
    if charge.code:
        said += f" ({charge.code}, {charge.decline})"
    if charge.gateway_id:
        said += f"; it calls the charge {charge.gateway_id}"
    return Because(what="gateway", text=f"{said}.", at=charge.answered_at)
