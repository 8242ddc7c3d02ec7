"""Credit on account: what customers have, and how money on its way there is shown."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from datetime import datetime
from typing import Annotated

from fastapi import Query
from pydantic import BaseModel, Field, StringConstraints

from api.context import Services, ServicesDep
from api.customers import CustomerId
from api.fields import Instant, Reason, View
from api.ledger import Mode
from api.paging import Listed, PageQuery, listed
from api.routing import noun
from api.rows import found, known
from domain.calendar import whole_second
from domain.errors import NotFound, Refused
from models.queries_credits import MOVEMENTS, CreditBalance, credit_balances, credit_movements, transfer
from models.queries_customers import customer
from models.queries_subscriptions import subscription

router = noun("credits")
Why = Annotated[Reason, StringConstraints(min_length=1, pattern=r"\S")]


class TransferView(View):
    """Money that went into a subscription's credit. `source` is `voucher` or `credit_note`, `source_id` which one."""

    id: str
    source: str
    source_id: str
    subscription_id: str
    customer_id: str
    amount: int
    currency: str
    status: str
    actor: str
    at: Instant
    ended_at: Instant | None


class SubscriptionCredit(BaseModel):
    """What one subscription has; its next rebills use it up before any card."""

    subscription_id: str | None
    amount: int


class CreditView(BaseModel):
    """All credit of a customer in one currency, in minor units."""

    currency: str
    amount: int
    subscriptions: list[SubscriptionCredit]


class CreditMovementView(View):
    """One change; `amount` is what it added."""

    id: str
    at: Instant
    kind: str
    description: str
    subscription_id: str | None
    invoice_id: str | None
    currency: str
    amount: int


class CustomerCredits(BaseModel):
    """The balances of ledger account `customer_credit`, and what led to them, newest first."""

    customer_id: str
    mode: Mode
    balances: list[CreditView]
    movements: Listed[CreditMovementView]


class CreditsQuery(PageQuery):
    """Of which books."""

    mode: Mode = Field(default="live", description="Test-mode money has books of its own")


@router.get("/customers/{customer_id}/credits")
async def read_credits(
    customer_id: CustomerId, services: ServicesDep, query: Annotated[CreditsQuery, Query()]
) -> CustomerCredits:
    """What a customer has on account, per currency and subscription, with every movement."""
    test_mode = query.mode == "test"
    async with services.database.session() as session:
        found(await customer(session, customer_id), "customer")
        held = await credit_balances(session, customer_id, test_mode=test_mode)
        rows = await credit_movements(
            session, customer_id, test_mode=test_mode, after=query.after(MOVEMENTS), limit=query.limit
        )
        return CustomerCredits(
            customer_id=customer_id,
            mode=query.mode,
            balances=_by_currency(held),
            movements=listed(rows, MOVEMENTS, CreditMovementView.model_validate),
        )


async def clock_of(services: Services, subscription_id: str) -> datetime:
    """The own time of a subscription named in the body. Raises `Refused` where it was closed for good."""
    async with services.database.session() as session:
        known(await subscription(session, subscription_id), "subscription_id", "subscription")
    try:
        return whole_second(await services.commands.virtual_now(subscription_id))
    except NotFound as closed:
        raise Refused("subscription_closed", "this subscription was closed for good and takes no credit") from closed


async def transfer_view(services: Services, transfer_id: str) -> TransferView:
    async with services.database.session() as session:
        return TransferView.model_validate(found(await transfer(session, transfer_id), "transfer"))


def _by_currency(held: Sequence[CreditBalance]) -> list[CreditView]:
    parts: dict[str, list[SubscriptionCredit]] = defaultdict(list)
    for each in held:
        parts[each.currency].append(SubscriptionCredit(subscription_id=each.subscription_id, amount=each.amount))
    return [
        CreditView(currency=currency, amount=sum(part.amount for part in of), subscriptions=of)
        for currency, of in parts.items()
    ]
