"""The books: every movement of money, and the trial balance, which is zero at all times."""

from __future__ import annotations

from collections import defaultdict
from typing import Annotated, Literal

from fastapi import Query
from pydantic import BaseModel, Field

from api.context import ServicesDep
from api.fields import Identifier, Instant, View
from api.fields import Query as QueryModel
from api.paging import Listed, PageQuery, listed
from api.routing import noun
from models import LedgerEntry, LedgerPosting
from models.queries_billing import ENTRIES, BillingFilter, ledger_entries, postings, trial_balance

router = noun("ledger")
Mode = Literal["live", "test"]


class PostingView(View):
    """One side of an entry: debit above zero, credit below."""

    account: str
    currency: str
    amount: int


class EntryView(BaseModel):
    """A double entry; its postings sum to zero for each currency."""

    id: str
    at: Instant
    kind: str
    description: str
    customer_id: str | None
    subscription_id: str | None
    invoice_id: str | None
    test_mode: bool
    postings: list[PostingView]


class EntryQuery(PageQuery):
    """Which entries."""

    customer_id: Identifier | None = None
    subscription_id: Identifier | None = None
    invoice_id: Identifier | None = None
    mode: Mode | None = None


class BalanceQuery(QueryModel):
    """At which time of the books (null: all of them), and of which books."""

    at: Instant | None = Field(default=None, description="Up to this second, and with it")
    mode: Mode = "live"


class TrialBalance(BaseModel):
    """Every account, and the sum for each currency, which is zero."""

    at: Instant | None
    mode: Mode
    accounts: list[PostingView]
    sums: dict[str, int] = Field(description="Currency → sum of all accounts; zero, or the books are wrong")
    balanced: bool


@router.get("/ledger/trial-balance")
async def read_trial_balance(services: ServicesDep, query: Annotated[BalanceQuery, Query()]) -> TrialBalance:
    """All accounts with their balances. Test-mode subscriptions have books of their own."""
    async with services.database.session() as session:
        balances = await trial_balance(session, at=query.at, test_mode=query.mode == "test")
    sums: dict[str, int] = defaultdict(int)
    for each in balances:
        sums[each.currency] += each.amount
    return TrialBalance(
        at=query.at,
        mode=query.mode,
        accounts=[PostingView.model_validate(each) for each in balances],
        sums=sums,
        balanced=not any(sums.values()),
    )


@router.get("/ledger/entries")
async def list_entries(services: ServicesDep, query: Annotated[EntryQuery, Query()]) -> Listed[EntryView]:
    """List entries with their postings, newest first."""
    test_mode = None if query.mode is None else query.mode == "test"
    wanted = BillingFilter(query.customer_id, query.subscription_id, query.invoice_id, test_mode=test_mode)
    async with services.database.session() as session:
        rows = await ledger_entries(session, wanted, after=query.after(ENTRIES), limit=query.limit)
        sides: dict[str, list[LedgerPosting]] = defaultdict(list)
        for posting in await postings(session, [row.id for row in rows.rows]):
            sides[posting.entry_id].append(posting)
        return listed(rows, ENTRIES, lambda row: _entry(row, sides[row.id]))


def _entry(row: LedgerEntry, sides: list[LedgerPosting]) -> EntryView:
    shown = {name: getattr(row, name) for name in EntryView.model_fields if name != "postings"}
    return EntryView(**shown, postings=[PostingView.model_validate(side) for side in sides])
