"""Transactions: charges, refunds and voids of all customers as one list, each with its whole story."""

from __future__ import annotations

from typing import Annotated, Literal

from fastapi import Path, Query
from pydantic import ConfigDict, Field, StringConstraints

from api.blacklist import refuse_blacklisted_command
from api.context import CallerDep, OnceDep, ServicesDep
from api.disputes import DisputeView
from api.fields import Body, Code, Currency, Identifier, Instant, Minor, Reason, View
from api.paging import Listed, PageQuery, listed
from api.routing import noun
from api.rows import found
from api.why import Because, because
from domain.errors import InvalidInput, NotFound, Refused
from domain.messages import ChargeNow, Envelope
from domain.money import Money
from models import Invoice
from models.queries_billing import charge, events_of_invoice, invoice
from models.queries_disputes import disputes
from models.queries_refunds import events
from models.queries_transactions import (
    TRANSACTIONS,
    Transaction,
    TransactionFilter,
    billed_again,
    transaction,
    transactions,
)

OUTCOME_OPEN = frozenset({"pending", "unknown", "parked", "action_required", "authorised", "capturing", "releasing"})
ON_HOLD = frozenset({"authorised", "capturing", "releasing"})
CHARGE = "charge"
RETURNS_MAX = 100  # a charge is given back in a few parts; each is a row of the list, too

router = noun("transactions")
TransactionId = Annotated[Identifier, Path(description="Id of a charge, refund or void")]
Status = Literal[
    "pending", "approved", "declined", "action_required", "unknown", "parked", "no_method", "canceled",
    "authorised", "capturing", "releasing", "released", "awaiting_approval", "queued", "succeeded", "failed", "lapsed",
]  # fmt: skip


class TransactionView(View):
    """A charge, refund or void. `charge_id`: of a refund or void, the charge it takes back.

    `brand` and `last4` are of the card it was made with, null where there was none.
    """

    id: str
    kind: str
    charge_id: str | None
    customer_id: str
    invoice_id: str
    subscription_id: str | None
    order_id: str | None
    amount: int
    currency: str
    status: str
    settlement: str | None
    gateway: str | None
    payment_method_id: str | None
    brand: str | None
    last4: str | None
    at: Instant
    test_mode: bool


class TransactionDetail(TransactionView):
    """A transaction with what was given back of its charge, and where its story is told.

    `again`: the command that bills it anew: payment of its invoice while that is open, else a charge by itself; of what
    is authorised, the one that captures it.
    """

    story: list[Because] = Field(
        description="Why the charge happened and what followed, link by link; a refund's or void's own timeline last"
    )
    returns: list[TransactionView] = Field(description="Refunds and voids of the charge, newest first")
    disputes: list[DisputeView] = Field(description="Disputes of the charge, newest first")
    again: str
    links: dict[str, str]


class BillAgainNew(Body):
    """Take the money of a past charge by a new one. Declined, it is void at once: nobody is dunned for it."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"payment_method_id": "pm_k3jq5xw2m4", "reason": "the other card declined"}]}
    )

    payment_method_id: Identifier | None = Field(default=None, description="With which method; null is the default one")
    amount: Annotated[Minor, Field(ge=1)] | None = Field(default=None, description="null is the amount of the past one")
    description: Annotated[str, StringConstraints(max_length=200)] = Field(
        default="", description="Stands on the invoice"
    )
    reason: Annotated[Reason, StringConstraints(max_length=300)] = ""


class TransactionQuery(PageQuery):
    """Which transactions; `since` counts, `until` does not. A customer's are also those they paid for a child."""

    kind: Literal["charge", "refund", "void"] | None = None
    status: Status | None = None
    settlement: Literal["pending", "settled", "voided"] | None = None
    gateway: Code | None = None
    customer_id: Identifier | None = None
    currency: Currency | None = None
    amount_min: Minor | None = None
    amount_max: Minor | None = None
    since: Instant | None = None
    until: Instant | None = None
    card_last4: Annotated[str, StringConstraints(pattern=r"^[0-9]{4}$")] | None = None
    card_brand: Code | None = None
    mode: Literal["test", "live"] | None = None


@router.get("/transactions")
async def list_transactions(
    services: ServicesDep, query: Annotated[TransactionQuery, Query()]
) -> Listed[TransactionView]:
    """List charges, refunds and voids over all customers, newest first."""
    if query.amount_min is not None and query.amount_max is not None and query.amount_min > query.amount_max:
        raise InvalidInput("amount_min", "must not be above amount_max")
    wanted = TransactionFilter(
        kind=query.kind,
        status=query.status,
        settlement=query.settlement,
        gateway=query.gateway,
        customer_id=query.customer_id,
        currency=query.currency,
        amount_min=query.amount_min,
        amount_max=query.amount_max,
        since=query.since,
        until=query.until,
        last4=query.card_last4,
        brand=query.card_brand,
        test_mode=None if query.mode is None else query.mode == "test",
    )
    async with services.database.session() as session:
        rows = await transactions(session, wanted, after=query.after(TRANSACTIONS), limit=query.limit)
        return listed(rows, TRANSACTIONS, TransactionView.model_validate)


@router.get("/transactions/{transaction_id}")
async def get_transaction(transaction_id: TransactionId, services: ServicesDep) -> TransactionDetail:
    """Read one transaction with its whole story."""
    async with services.database.session() as session:
        row = await transaction(session, transaction_id)
        if row is None:
            raise NotFound("There is no such transaction.")
        charge_id = row.charge_id or row.id
        owed = found(await invoice(session, row.invoice_id), "invoice")
        wanted = TransactionFilter(charge_id=charge_id)
        returns = await transactions(session, wanted, after=None, limit=RETURNS_MAX)
        payable = owed.status == "open"
        tried = found(await charge(session, charge_id), "charge")
        # A charge that was adopted from a gateway's books may have no timeline.
        known = await events_of_invoice(session, owed)
        story = await because(session, tried) if known else []
        if row.charge_id is not None:
            story += [
                Because(what=row.kind, text=_told(event.kind, event.actor, event.reason), at=event.at)
                for event in await events(session, row.id)
            ]
        disputed = await disputes(
            session, status=None, customer_id=None, charge_id=charge_id, test_mode=None, after=None, limit=RETURNS_MAX
        )
        return TransactionDetail(
            **TransactionView.model_validate(row).model_dump(),
            story=story,
            disputes=[DisputeView.model_validate(each) for each in disputed.rows],
            returns=[TransactionView.model_validate(each) for each in returns.rows],
            again=f"/v1/invoices/{owed.id}/pay" if payable and row.status not in ON_HOLD else _anew(row, charge_id),
            links=_links(row, charge_id),
        )


@router.post("/transactions/{transaction_id}/bill-again", status_code=201)
async def bill_again(
    transaction_id: TransactionId, body: BillAgainNew, services: ServicesDep, once: OnceDep, caller: CallerDep
) -> TransactionDetail:
    """Bill a past charge again, declined or paid, as a charge by itself; once for each key. The answer is the new one.

    Refused while its own outcome is open, and while its invoice is: that is paid instead.
    """
    async with services.database.session() as session:
        row = await transaction(session, transaction_id)
        if row is None:
            raise NotFound("There is no such transaction.")
        owed = found(await invoice(session, row.invoice_id), "invoice")
    if row.kind != CHARGE:
        raise Refused("not_a_charge", "Only a charge can be billed again; money that went back is not taken back.")
    if row.status in OUTCOME_OPEN:
        raise Refused("outcome_open", f"This charge is {row.status}: what became of it comes first.")
    if owed.status == "open":
        raise Refused("invoice_open", f"Its invoice is still open: pay that one, /v1/invoices/{owed.id}/pay.")
    command = ChargeNow(
        body.amount or before_tax(owed, row.amount),
        row.currency,
        body.description.strip() or f"Invoice {owed.number}, billed again",
        body.payment_method_id,
    )
    if row.subscription_id is None:
        raise Refused("billed_by_order", "An order is not billed twice: take a new one.")
    async with services.database.session() as session:
        await refuse_blacklisted_command(session, row.subscription_id, command)
    reason = f"{row.id} is billed again" + (f": {body.reason}" if body.reason else "")
    await services.commands.send(row.subscription_id, Envelope(once.id("cmd"), command, caller.name, reason))
    async with services.database.session() as session:
        new = await billed_again(session, row.subscription_id, caller.name, reason)
    if new is None:
        raise Refused("no_payment_method", "There was no such method to charge; nothing was taken.")
    return await get_transaction(new, services)


def before_tax(owed: Invoice, amount: int) -> int:
    """What to charge by hand so that as much is asked as then: tax is put on top of it anew, by the rates of today."""
    if not owed.tax:
        return amount
    return Money(owed.subtotal - owed.discount, owed.currency).fraction(amount, owed.total).minor


def _told(kind: str, actor: str, reason: str) -> str:
    """A line of a refund's timeline in words."""
    words = f"{kind.replace('_', ' ').capitalize()} by {actor}"
    return f"{words}: {reason}." if reason else f"{words}."


def _anew(row: Transaction, charge_id: str) -> str:
    """What is paid is not taken again: of a subscription another charge, of an order another order.

    What an order has authorised is captured.
    """
    if row.order_id is not None and row.status in ON_HOLD:
        return f"/v1/orders/{row.order_id}/capture"
    return "/v1/orders" if row.subscription_id is None else f"/v1/transactions/{charge_id}/bill-again"


def _links(row: Transaction, charge_id: str) -> dict[str, str]:
    links = {
        "charge": f"/v1/charges/{charge_id}",
        "why": f"/v1/charges/{charge_id}/why",
        "invoice": f"/v1/invoices/{row.invoice_id}",
        "customer": f"/v1/customers/{row.customer_id}",
    }
    return links | ({} if row.charge_id is None else {"refund": f"/v1/refunds/{row.id}"})
