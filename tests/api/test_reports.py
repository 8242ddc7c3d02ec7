"""Reports: the numbers are those of the books, in the asked zone, of the asked customers, as JSON and as a file."""

from __future__ import annotations

import csv
import io
from collections import Counter
from datetime import UTC, datetime
from itertools import count
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import func, insert, select

from models import (
    Attempt,
    Customer,
    Dispute,
    Invoice,
    LedgerEntry,
    LedgerPosting,
    Price,
    Product,
    Refund,
    Subscription,
    SubscriptionEvent,
)
from models.session import Database
from tests.api.conftest import KEYS, Caller
from tests.api.whole_customer import add, customer, entry

MONTH = {"first_day": "2031-01-01", "last_day": "2031-12-31"}
REPORTS = ("customers", "sales", "payments", "refunds", "disputes", "dunning")
RUNS = count(1)


def jan(day: int, hour: int = 12) -> datetime:
    return datetime(2031, 1, day, hour, tzinfo=UTC)


class Books:
    """Facts of one group of customers, told apart from all others by a tag."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.tag = f"report-{next(KEYS)}"
        self.number = count(1)

    def name(self) -> str:
        return f"{self.tag}-{next(self.number)}"

    async def customer(self, **more: Any) -> str:
        return await customer(self.database, self.name(), **({"tags": [self.tag], "created_at": jan(1)} | more))

    async def subscription(self, owner: str, status: str = "active", *, test_mode: bool = False) -> str:
        name = self.name()
        await add(self.database, Product, {"id": f"prod_{name}", "code": name, "name": "Box"})
        price = {"id": f"price_{name}", "product_id": f"prod_{name}", "code": "m", "currency": "EUR"}
        await add(self.database, Price, price | {"unit_amount": 1, "interval_count": 1, "interval_unit": "month"})
        row = {"id": f"sub_{name}", "customer_id": owner, "product_id": f"prod_{name}", "price_id": f"price_{name}"}
        row |= {"status": status, "access": "active", "currency": "EUR", "amount": 1, "quantity": 1, "cycle": 1}
        row |= {"test_mode": test_mode, "trigger": "timer", "event_seq": 1, "virtual_now": jan(1)}
        await add(self.database, Subscription, row)
        return f"sub_{name}"

    async def charge(
        self, owner: str, at: datetime, *, amount: int = 1000, test_mode: bool = False, **more: Any
    ) -> dict[str, Any]:
        """An invoice with one try to collect it."""
        name = self.name()
        facts = {"customer_id": owner, "subscription_id": more.pop("subscription_id", "sub"), "currency": "EUR"}
        facts |= {"test_mode": test_mode}
        invoice = {"id": f"in_{name}", "number": name, "cycle": next(RUNS), "reason": "cycle", "total": amount}
        invoice |= {"credit_applied": 0, "amount_due": amount, "status": more.pop("invoice_status", "paid")}
        await add(self.database, Invoice, facts | invoice | {"issued_at": at, "local_date": "2031-01-01"})
        attempt = {"id": f"ch_{name}", "invoice_id": f"in_{name}", "number": 1, "reference": name, "trigger": "due"}
        attempt |= {"gateway": "sandbox", "amount": amount, "status": "approved", "at": at} | more
        await add(self.database, Attempt, facts | attempt)
        return facts | {"invoice_id": f"in_{name}", "attempt_id": f"ch_{name}", "amount": amount, "gateway": "sandbox"}


@pytest.fixture
def books(database: Database) -> Books:
    return Books(database)


async def report(api: Caller, name: str, **query: Any) -> list[dict[str, Any]]:
    asked = query if name == "lifetime-value" else MONTH | query
    response = await api.get(f"/v1/reports/{name}", **asked)
    assert response.status_code == 200, response.text
    assert response.json()["complete"] is True
    return response.json()["items"]


def lines(rows: list[dict[str, Any]], *columns: str) -> list[tuple[Any, ...]]:
    return [tuple(row[column] for column in columns) for row in rows]


async def test_payments_by_month_and_by_day_begin_where_the_zone_says(api: Caller, books: Books) -> None:
    owner = await books.customer()
    await books.charge(owner, datetime(2031, 1, 31, 22, 59, tzinfo=UTC))
    await books.charge(owner, datetime(2031, 1, 31, 23, 0, tzinfo=UTC), amount=300)
    await books.charge(owner, datetime(2031, 1, 31, 23, 30, tzinfo=UTC), amount=50, status="declined")
    await books.charge(owner, jan(5), amount=7, test_mode=True)
    mine = {"tag": books.tag}
    columns = ("period", "status", "payments", "amount")
    assert lines(await report(api, "payments", **mine, zone="Europe/Berlin"), *columns) == [
        ("2031-01", "approved", 1, 1000),
        ("2031-02", "approved", 1, 300),
        ("2031-02", "declined", 1, 50),
    ]
    assert lines(await report(api, "payments", **mine), *columns) == [
        ("2031-01", "approved", 2, 1300),
        ("2031-01", "declined", 1, 50),
    ]
    first = {"first_day": "2031-02-01", "last_day": "2031-02-01", "by": "day", "zone": "Europe/Berlin"}
    assert lines(await report(api, "payments", **mine, **first), *columns) == [
        ("2031-02-01", "approved", 1, 300),
        ("2031-02-01", "declined", 1, 50),
    ]
    assert lines(await report(api, "payments", **mine, mode="test"), *columns) == [("2031-01", "approved", 1, 7)]


async def test_customers_by_what_they_are_now(api: Caller, books: Books) -> None:
    paying = await books.customer()
    for status in ("canceled", "overdue", "active"):
        await books.subscription(paying, status)
    await books.subscription(await books.customer(), "canceled")
    tester = await books.customer(created_at=datetime(2031, 3, 1, tzinfo=UTC))
    await books.subscription(tester, "active", test_mode=True)
    mine = {"tag": books.tag}
    assert lines(await report(api, "customers", **mine), "period", "status", "customers") == [
        ("2031-01", "active", 1),
        ("2031-01", "canceled", 1),
        ("2031-03", "none", 1),
    ]
    assert ("2031-03", "active", 1) in lines(
        await report(api, "customers", **mine, mode="test"), "period", "status", "customers"
    )


async def test_children_count_as_their_parent(api: Caller, books: Books) -> None:
    parent = await books.customer()
    child = await books.customer(parent_id=parent)
    other = await books.customer()
    await books.subscription(child, "active")
    for owner, amount in ((parent, 1), (child, 20), (other, 300)):
        await books.charge(owner, jan(3), amount=amount)
    mine = {"tag": books.tag}
    by_customer = lines(await report(api, "payments", **mine, per="customer"), "customer", "amount")
    assert sorted(by_customer) == sorted([(parent, 1), (child, 20), (other, 300)])
    by_parent = lines(await report(api, "payments", **mine, per="parent"), "customer", "payments", "amount")
    assert sorted(by_parent) == sorted([(parent, 2, 21), (other, 1, 300)])
    counted = lines(await report(api, "customers", **mine, roll_up=True), "status", "customers")
    assert counted == [("active", 1), ("none", 1)]


async def test_sales_refunds_and_disputes(api: Caller, books: Books, database: Database) -> None:
    owner = await books.customer()
    paid = await books.charge(owner, jan(3))
    back = {"kind": "refund", "actor": "ann", "requested_at": jan(4), "virtual_now": jan(4), "event_seq": 1}
    for number, (status, reason) in enumerate([("succeeded", "broken"), ("failed", "broken"), ("succeeded", "late")]):
        row = paid | back | {"id": f"re_{books.tag}_{number}", "status": status, "reason": reason, "amount": 100}
        await add(database, Refund, row)
    lost = {"id": f"dis_{books.tag}", "gateway_id": books.tag, "status": "lost", "reason": "fraud", "fee": 1500}
    await add(database, Dispute, paid | lost | {"opened_at": jan(5)})
    mine = {"tag": books.tag}
    assert lines(await report(api, "sales", **mine), "period", "reason", "status", "invoices", "total") == [
        ("2031-01", "cycle", "paid", 1, 1000)
    ]
    assert lines(await report(api, "refunds", **mine), "kind", "status", "reason", "refunds", "amount") == [
        ("refund", "failed", "broken", 1, 100),
        ("refund", "succeeded", "broken", 1, 100),
        ("refund", "succeeded", "late", 1, 100),
    ]
    assert lines(await report(api, "disputes", **mine), "status", "reason", "disputes", "amount", "fees") == [
        ("lost", "fraud", 1, 1000, 1500)
    ]


async def test_recovery_is_recovered_of_first_failures(api: Caller, books: Books, database: Database) -> None:
    owner = await books.customer()
    sub = await books.subscription(owner)
    no_funds = {"status": "declined", "code": "insufficient_funds", "subscription_id": sub}
    tries: list[tuple[str, dict[str, Any]]] = [
        ("paid", no_funds),
        ("uncollectible", no_funds),
        ("paid", no_funds),
        ("open", {"status": "no_method", "subscription_id": sub}),
    ]
    for seq, (status, told) in enumerate(tries, start=1):
        failed = await books.charge(owner, jan(3), invoice_status=status, **told)
        began = {"policy": "gentle", "invoice_id": failed["invoice_id"]}
        line = {"subscription_id": sub, "seq": seq, "at": jan(3), "kind": "dunning_started", "data": began}
        await add(database, SubscriptionEvent, line | {"actor": "system", "reason": ""})
        # The card that paid later is not why the first try failed.
        later = {"id": f"{failed['attempt_id']}_2", "reference": f"{failed['attempt_id']}_2", "number": 2}
        later |= {"trigger": "due", "status": "approved", "at": jan(6)}
        facts = {key: failed[key] for key in ("customer_id", "subscription_id", "currency", "test_mode", "invoice_id")}
        await add(database, Attempt, facts | later | {"amount": 1000})
    rows = await report(api, "dunning", tag=books.tag)
    columns = ("policy", "reason", "first_failures", "recovered", "recovery_bp", "amount_failed", "amount_recovered")
    assert lines(rows, *columns) == [
        ("gentle", "insufficient_funds", 3, 2, 6666, 3000, 2000),
        ("gentle", "no_method", 1, 0, 0, 1000, 0),
    ]


async def test_a_segment_is_a_filter_of_every_report(api: Caller, books: Books) -> None:
    inside, outside = await books.customer(company=books.tag), await books.customer()
    await books.charge(inside, jan(3), amount=1)
    await books.charge(outside, jan(3), amount=20)
    tree = {"field": "company", "op": "eq", "value": books.tag}
    segment = await api.made("/v1/segments", {"name": books.tag, "filter": tree})
    both = {"segment": segment["id"], "tag": books.tag}
    assert lines(await report(api, "payments", **both), "payments", "amount") == [(1, 1)]
    assert lines(await report(api, "customers", **both), "customers") == [(1,)]
    unknown = await api.get("/v1/reports/payments", **MONTH, segment="seg_nobody")
    assert (unknown.status_code, unknown.json()["code"]) == (404, "not_found")


async def test_a_file_has_the_lines_of_the_report_and_no_formula(api: Caller, books: Books, database: Database) -> None:
    paid = await books.charge(await books.customer(), jan(3))
    back = {"id": f"re_{books.tag}", "kind": "refund", "actor": "ann", "requested_at": jan(4), "virtual_now": jan(4)}
    evil = '=HYPERLINK("http://evil.example";"now")'
    await add(database, Refund, paid | back | {"event_seq": 1, "status": "succeeded", "reason": evil})
    query = MONTH | {"tag": books.tag}
    response = await api.get("/v1/reports/refunds", **query, format="csv")
    assert (response.status_code, response.headers["Content-Type"]) == (200, "text/csv; charset=utf-8")
    (row,) = csv.DictReader(io.StringIO(response.text, newline=""))
    (item,) = await report(api, "refunds", tag=books.tag)
    assert row == {key: "" if value is None else str(value) for key, value in (item | {"reason": f"'{evil}"}).items()}


@pytest.mark.parametrize("name", [*REPORTS, "lifetime-value"])
async def test_every_report_has_its_file_also_an_empty_one(api: Caller, name: str) -> None:
    query: dict[str, Any] = {} if name == "lifetime-value" else dict(MONTH)
    response = await api.get(f"/v1/reports/{name}", **query, tag="nobody-has-this", format="csv")
    assert response.status_code == 200
    (head,) = csv.reader(io.StringIO(response.text, newline=""))
    assert "customers" in head or "customer" in head
    assert (await api.get(f"/v1/reports/{name}", **query, tag="nobody-has-this")).json() == {
        "items": [],
        "complete": True,
    }


async def test_a_report_is_cut_and_says_so_and_a_file_is_whole(api: Caller, books: Books, database: Database) -> None:
    names = [books.name() for _ in range(1_001)]
    people = [
        {"id": f"cus_{name}", "email": "", "currency": "EUR", "invoice_prefix": name, "tags": [books.tag]}
        for name in names
    ]
    await add(database, Customer, *people)
    async with database.begin() as connection:
        headers = [
            {"id": f"led_{name}", "at": jan(1), "kind": "payment_succeeded", "customer_id": f"cus_{name}"}
            | {"description": "", "test_mode": False}
            for name in names
        ]
        await connection.execute(insert(LedgerEntry), headers)
        sides = [
            {"entry_id": f"led_{name}", "position": place, "account": account, "currency": "EUR", "amount": amount}
            for name in names
            for place, (account, amount) in enumerate([("cash:sandbox", 5), ("receivable", -5)])
        ]
        await connection.execute(insert(LedgerPosting), sides)
    query = {"tag": books.tag, "per": "customer"}
    cut = (await api.get("/v1/reports/lifetime-value", **query)).json()
    assert (len(cut["items"]), cut["complete"]) == (1_000, False)
    file = (await api.get("/v1/reports/lifetime-value", **query, format="csv")).text
    assert [row["value"] for row in csv.DictReader(io.StringIO(file, newline=""))] == ["5"] * 1_001
    total = await report(api, "lifetime-value", tag=books.tag)
    assert lines(total, "customer", "customers", "value") == [(None, 1_001, 5_005)]


BAD: list[tuple[dict[str, Any], str]] = [
    ({"first_day": "2031-02-30"}, "first_day"),
    ({"first_day": "2031-1-1"}, "first_day"),
    ({"first_day": "1925000000"}, "first_day"),
    ({"last_day": "9999-12-31"}, "last_day"),
    ({"last_day": "2030-12-31"}, "last_day"),
    ({"first_day": "2029-01-01", "by": "day"}, "last_day"),
    ({"first_day": "2020-01-01"}, "last_day"),
    ({"zone": "Mars/Olympus"}, "zone"),
    ({"by": "year"}, "by"),
    ({"mode": "both"}, "mode"),
    ({"format": "xlsx"}, "format"),
    ({"surprise": "1"}, "surprise"),
]


@pytest.mark.parametrize(("wrong", "field"), BAD, ids=str)
@pytest.mark.parametrize("name", REPORTS)
async def test_a_bad_question_is_refused(api: Caller, name: str, wrong: dict[str, Any], field: str) -> None:
    response = await api.get(f"/v1/reports/{name}", **(MONTH | wrong))
    assert (response.status_code, response.json()["errors"][0]["field"]) == (422, field)


STEPS = st.sampled_from(["pay", "refund", "void", "dispute", "lose", "win", "fee", "adopt", "credit"])
MOVES = st.lists(
    st.tuples(st.integers(0, 3), STEPS, st.integers(1, 10**9), st.sampled_from(["EUR", "JPY"])), max_size=25
)
SIDES = {
    "pay": ("payment_succeeded", ("cash:sandbox", 1), ("receivable", -1)),
    "refund": ("refund", ("receivable", 1), ("cash:sandbox", -1)),
    "void": ("void", ("receivable", 1), ("cash:other", -1)),
    "dispute": ("dispute_opened", ("disputed:sandbox", 1), ("cash:sandbox", -1)),
    "win": ("dispute_won", ("cash:sandbox", 1), ("disputed:sandbox", -1)),
    "lose": ("dispute_lost", ("chargeback_loss", 1), ("disputed:sandbox", -1)),
    "fee": ("dispute_fee", ("dispute_fees", 1), ("cash:sandbox", -1)),
    "adopt": ("adopted", ("cash:sandbox", 1), ("reconciliation", -1)),
    "credit": ("credit_granted", ("credit_given", 1), ("customer_credit", -1)),
}
WORTH = {"pay": 1, "adopt": 1, "refund": -1, "void": -1, "lose": -1}


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(moves=MOVES)
async def test_lifetime_value_agrees_with_the_ledger_to_the_cent(
    api: Caller, database: Database, moves: list[tuple[int, str, int, str]]
) -> None:
    """Four customers, the last two children of the first: each, each family and all together."""
    tag = f"worth-{next(KEYS)}"
    owners = [await customer(database, f"{tag}-{0}", tags=[tag])]
    for number in range(1, 4):
        owners.append(
            await customer(database, f"{tag}-{number}", tags=[tag], parent_id=owners[0] if number > 1 else None)
        )
    wanted: Counter[tuple[str, str]] = Counter()
    for number, (who, step, amount, currency) in enumerate(moves):
        kind, *sides = SIDES[step]
        posted = [(account, sign * amount) for account, sign in sides]
        await entry(database, f"{tag}-{number}", owners[who], kind, *posted, currency=currency)
        wanted[owners[who], currency] += WORTH.get(step, 0) * amount
    told = {(row["customer"], row["currency"]): row["value"] for row in await value(api, tag, per="customer")}
    assert told == dict(wanted)
    families: Counter[tuple[str, str]] = Counter()
    everybody: Counter[tuple[None, str]] = Counter()
    for (owner, currency), amount in wanted.items():
        families[owners[1] if owner == owners[1] else owners[0], currency] += amount
        everybody[None, currency] += amount
    assert {(row["customer"], row["currency"]): row["value"] for row in await value(api, tag, per="parent")} == families
    total = {(row["customer"], row["currency"]): row["value"] for row in await value(api, tag)}
    assert total == everybody
    assert {currency: amount for (_, currency), amount in total.items()} == await balances(database, owners)
    tagged = {"field": "tags", "op": "has", "value": tag}
    segment = await api.made("/v1/segments", {"name": tag, "filter": tagged})
    assert await report(api, "lifetime-value", segment=segment["id"]) == await value(api, tag), "as a segment, the same"
    page = (await api.get(f"/v1/customers/{owners[0]}/lifetime-value")).json()
    own = {(owners[0], row["currency"]): row["value"] for row in page["own"]}
    assert own == {key: amount for key, amount in wanted.items() if key[0] == owners[0]}
    assert {(owners[0], row["currency"]): row["value"] for row in page["with_children"]} == {
        key: amount for key, amount in families.items() if key[0] == owners[0]
    }


async def value(api: Caller, tag: str, **query: Any) -> list[dict[str, Any]]:
    return await report(api, "lifetime-value", tag=tag, **query)


async def balances(database: Database, owners: list[str]) -> dict[str, int]:
    """What the accounts of money hold, by currency, straight from the ledger."""
    account = LedgerPosting.account
    held = func.sum(LedgerPosting.amount).filter(
        account.like("cash:%") | account.like("disputed:%") | (account == "dispute_fees")
    )
    statement = (
        select(LedgerPosting.currency, func.coalesce(held, 0))
        .join(LedgerEntry, LedgerEntry.id == LedgerPosting.entry_id)
        .where(LedgerEntry.customer_id.in_(owners))
        .group_by(LedgerPosting.currency)
    )
    async with database.session() as session:
        return {currency: int(amount) for currency, amount in await session.execute(statement)}
