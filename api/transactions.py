"""Transactions: charges, refunds and voids of all customers as one list, each with its whole story."""

from __future__ import annotations

from typing import Annotated, Literal

from fastapi import Path, Query
from pydantic import Field, StringConstraints

from api.context import ServicesDep
from api.fields import Code, Currency, Identifier, Instant, Minor, View
from api.paging import Listed, PageQuery, listed
from api.routing import noun
from api.rows import found
from domain.errors import InvalidInput, NotFound
from models.queries_billing import invoice
from models.queries_transactions import (
    TRANSACTIONS,
    Transaction,
    TransactionFilter,
    transaction,
    transactions,
)

RETURNS_MAX = 100  # a charge is given back in a few parts; each is a row of the list, too

router = noun("transactions")
TransactionId = Annotated[Identifier, Path(description="Id of a charge, refund or void")]
Status = Literal[
    "pending", "approved", "declined", "action_required", "unknown", "parked", "no_method", "canceled",
    "awaiting_approval", "queued", "succeeded", "failed", "lapsed",
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
    subscription_id: str
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

    `again`: the command that bills it anew: payment of its invoice while that is open, else a charge by itself.
    """

    returns: list[TransactionView] = Field(description="Refunds and voids of the charge, newest first")
    again: str
    links: dict[str, str]


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
        return TransactionDetail(
            **TransactionView.model_validate(row).model_dump(),
            returns=[TransactionView.model_validate(each) for each in returns.rows],
            again=f"/v1/invoices/{owed.id}/pay" if payable else f"/v1/subscriptions/{row.subscription_id}/charge",
            links=_links(row, charge_id),
        )


def _links(row: Transaction, charge_id: str) -> dict[str, str]:
    links = {
        "charge": f"/v1/charges/{charge_id}",
        "why": f"/v1/charges/{charge_id}/why",
        "invoice": f"/v1/invoices/{row.invoice_id}",
        "customer": f"/v1/customers/{row.customer_id}",
    }
    return links | ({} if row.charge_id is None else {"refund": f"/v1/refunds/{row.id}"})
