"""Exports: everything of one kind in one file, of a segment alone, without formulas, tokens for admins only."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from resource import getpagesize
from typing import Any, cast

import pytest
from sqlalchemy import text

from api.exports import export_lines
from api.keys import create_key
from domain.csv_cells import undefuse
from domain.roles import Role
from models import Address, CustomField, Note, PaymentMethod, Voucher
from models.queries_segments import filter_from
from models.segments import condition
from models.session import Database
from tests.api.conftest import KEYS, Caller
from tests.api.whole_customer import START, add, customer, whole_customer

MANY = 200_000
SOME = 10_000  # at once, on a busy machine
RSS_GROWTH_MAX = 24 * 1024 * 1024  # the file has about 30 MiB as text, and far more as rows
FORMULA = '=HYPERLINK("http://evil.example")'


async def taken(caller: Caller, kind: str, **query: Any) -> list[dict[str, str]]:
    response = await caller.get(f"/v1/exports/{kind}.csv", **query)
    assert response.status_code == 200, response.text
    return list(csv.DictReader(io.StringIO(response.text)))


async def a_customer(database: Database, **more: Any) -> str:
    return await customer(database, f"export-{next(KEYS)}", **more)


async def test_a_formula_is_defused_in_the_file_and_can_be_undone(api: Caller, database: Database) -> None:
    owner = await a_customer(database, company=FORMULA, tags=["vip", "spring"])
    row = next(row for row in await taken(api, "customers") if row["id"] == owner)
    assert row["company"] == f"'{FORMULA}"
    assert undefuse(row["company"]) == FORMULA
    assert row["tags"] == "vip, spring"


async def test_only_an_admin_takes_the_tokens(api: Caller, database: Database) -> None:
    owner = await a_customer(database)
    method = {"id": f"pm_{owner}", "customer_id": owner, "gateway": "sandbox", "token": "tok_42", "kind": "card"}
    await add(database, PaymentMethod, method)
    lead = Caller(api.http, await create_key(database, "a lead", Role.LEAD))
    seen = {
        who: next(row for row in await taken(caller, "payment-methods") if row["customer_id"] == owner)
        for who, caller in (("admin", api), ("lead", lead))
    }
    assert seen["admin"]["token"] == "tok_42"
    assert seen["lead"] == seen["admin"] | {"token": ""}


async def test_a_segment_takes_only_what_belongs_to_its_customers(api: Caller, database: Database) -> None:
    tag = f"tag-{next(KEYS)}"
    inside, outside = await a_customer(database, tags=[tag]), await a_customer(database)
    for owner in (inside, outside, None):
        name = owner or f"nobody-{next(KEYS)}"
        await add(
            database,
            Voucher,
            {
                "id": f"vou_{name}",
                "code": f"V-{name}",
                "customer_id": owner,
                "currency": "EUR",
                "issued": 500,
                "reason": "gift",
                "actor": "ann",
                "test_mode": False,
                "issued_at": START,
            },
        )
    for owner in (inside, outside):
        place = {"id": f"adr_{owner}", "customer_id": owner, "kind": "billing", "line1": "Quay 1"}
        await add(database, Address, place | {"city": "Bremen", "country": "DE"})
        await add(
            database,
            Note,
            {"id": f"note_{owner}", "customer_id": owner, "visibility": "internal", "text": "hi", "author": "ann"},
        )
    wanted = {"field": "tags", "op": "has", "value": tag}
    segment = await api.made("/v1/segments", {"name": tag, "filter": wanted})
    nothing_canceled = {"not": {"subscription": {"field": "status", "op": "eq", "value": "canceled"}}}
    everybody = await api.made("/v1/segments", {"name": f"all {tag}", "filter": nothing_canceled})
    others = await api.made("/v1/segments", {"name": f"not {tag}", "filter": {"not": wanted}})
    for kind in ("addresses", "notes", "vouchers"):
        assert {row["customer_id"] for row in await taken(api, kind, segment=segment["id"])} == {inside}
        found = {row["customer_id"] for row in await taken(api, kind, segment=others["id"])}
        assert outside in found
        assert not found & {inside, ""}
    assert "" not in {row["customer_id"] for row in await taken(api, "vouchers", segment=everybody["id"])}
    assert "" in {row["customer_id"] for row in await taken(api, "vouchers")}
    assert await taken(api, "subscriptions", segment=segment["id"]) == []


async def test_what_cannot_be_exported_is_refused_before_the_file_begins(api: Caller) -> None:
    assert (await api.get("/v1/exports/passwords.csv")).status_code == 422
    assert (await api.get("/v1/exports/customers.csv", segment="seg_none")).status_code == 404


async def test_memory_does_not_grow_with_the_file(fresh_database: Database) -> None:
    for first in range(1, MANY, SOME):
        async with fresh_database.begin() as connection:
            await connection.execute(
                text(
                    "INSERT INTO customers (id, email, currency, invoice_prefix, company) "
                    "SELECT 'cus_' || n, n || '@example.com', 'EUR', n::text, repeat('x', 60) "
                    "FROM generate_series(CAST(:first AS int), :last) n"
                ),
                {"first": first, "last": first + SOME - 1},
            )
    lines = export_lines(fresh_database, "customers", None, tokens=True)
    rows, before, largest = -1, _rss(), 0
    async for part in lines:
        rows += part.count("\r\n")
        largest = max(largest, _rss())
    assert rows == MANY
    assert largest - before < RSS_GROWTH_MAX


def _rss() -> int:
    """The memory that this process has in use, in bytes."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * getpagesize()


# Filters that read the tables which some files are of themselves.
ASKING: dict[str, dict[str, Any]] = {
    "country": {"field": "country", "op": "has", "value": "DE"},
    "overdue": {"field": "overdue", "op": "gt", "value": 0},
    "subscription": {"subscription": {"field": "currency", "op": "eq", "value": "EUR"}},
    "custom": {"not": {"field": "custom.size", "op": "is_set", "value": True}},
}


@pytest.mark.parametrize("asked", ASKING)
async def test_a_filter_asks_for_itself_whatever_the_file_is_of(fresh_database: Database, asked: str) -> None:
    """The one with an address in Germany has one in France too: both are theirs."""
    inside = await whole_customer(fresh_database, "inside", 1)
    outside = await customer(fresh_database, "outside", tags=["x"])
    for owner, country in ((inside, "DE"), (inside, "FR"), (outside, "FR")):
        place = {"id": f"adr_{owner}_{country}", "customer_id": owner, "kind": "shipping", "line1": "Quay 1"}
        await add(fresh_database, Address, place | {"city": "x", "country": country})
    await add(
        fresh_database,
        CustomField,
        {"id": "cf_1", "subject": "customer", "key": "size", "label": "Size", "type": "number", "choices": []},
    )
    async with fresh_database.session() as session:
        wanted = await filter_from(session, ASKING[asked])
    for kind, mine in (("addresses", 3), ("subscriptions", 1), ("customers", 1)):
        lines = export_lines(fresh_database, cast("Any", kind), condition(wanted), tokens=True)
        rows = list(csv.DictReader(io.StringIO("".join([part async for part in lines]))))
        owners = [row.get("customer_id") or row["id"] for row in rows]
        assert owners.count(inside) == mine, kind
        assert (outside in owners) == (asked == "custom" and kind != "subscriptions"), kind
