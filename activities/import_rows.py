"""What applying a batch of imported rows writes: products, prices, customers, addresses, methods, counts, refusals.

Every row has an id made from what it is, so a repetition adds nothing, and what is there already stays as it is.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from domain.ids import derive
from domain.import_subscribers import Subscriber
from domain.imports import Refusal, refuse
from domain.messages import Start
from domain.terms import Terms, Trigger
from models.customers import invoice_prefix_of
from providers.gateways.base import MethodDetails


@dataclass(frozen=True, slots=True)
class Product:
    """A product as the terms of a subscription name it."""

    id: str
    name: str
    sells: bool
    physical: bool = False


@dataclass(frozen=True, slots=True)
class Payer:
    """The customer of an imported subscription; one that was there before keeps its own notice days."""

    id: str
    notice_days: int


def price_id(product: Product, subscriber: Subscriber) -> str:
    return derive("price", product.id, subscriber.price_code)


async def known(connection: AsyncConnection, external_ids: Iterable[str]) -> frozenset[str]:
    """Those of the ids that are subscriptions in the books."""
    found = await connection.scalars(_KNOWN, {"ids": list(external_ids)})
    return frozenset(found)


async def write_subscribers(
    connection: AsyncConnection, rows: Sequence[Subscriber], methods: Mapping[str, MethodDetails]
) -> list[Refusal]:
    """All that subscribers need before their subscriptions can start. The rows that cannot have it are refused."""
    refused = await _write_catalogue(connection, rows)
    numbers = {row.row for row in refused}
    return refused + await _write_customers(connection, [row for row in rows if row.row not in numbers], methods)


async def _write_catalogue(connection: AsyncConnection, rows: Sequence[Subscriber]) -> list[Refusal]:
    """Products and price points that are not there yet. The rows that cannot have theirs are refused."""
    names = {row.product_code: row.product_name for row in rows}
    fresh = [{"id": derive("prod", "code", code), "code": code, "name": name} for code, name in sorted(names.items())]
    await connection.execute(_PRODUCTS, {"rows": _json(fresh)})
    products = await read_products(connection, rows)
    refused = [
        refuse(row, "product.code", f"the product {row.product_code} sells no more")
        for row in rows
        if not products[row.product_code].sells
    ]
    selling = {row.external_id: row for row in rows if products[row.product_code].sells}
    prices = {price_id(products[row.product_code], row): row for row in selling.values()}
    await connection.execute(
        _PRICES, {"rows": _json(_price(products[row.product_code], row) for row in prices.values())}
    )
    there = frozenset(await connection.scalars(_PRICES_THERE, {"ids": list(prices)}))
    return refused + [
        refuse(row, "product.code", f"the product has another price under the code {row.price_code}")
        for row in selling.values()
        if price_id(products[row.product_code], row) not in there
    ]


async def _write_customers(
    connection: AsyncConnection, rows: Sequence[Subscriber], methods: Mapping[str, MethodDetails]
) -> list[Refusal]:
    """Customers with address and payment method. One that is there keeps its details, address and other methods."""
    # Sorted: two imports with the same customers take their locks in one order.
    customers = {row.customer.id: row.customer for row in sorted(rows, key=lambda row: row.customer.id)}
    fresh = [
        {**asdict(customer), "id": identity, "gender": customer.gender or None, "prefix": invoice_prefix_of(identity)}
        for identity, customer in customers.items()
    ]
    await connection.execute(_CUSTOMERS, {"rows": _json(fresh)})
    payers = await read_payers(connection, rows)
    placed = [(payers[row.customer.external_id].id, row) for row in rows if row.customer.external_id in payers]
    addresses = {
        payer: {**asdict(row.address), "id": derive("adr", payer, "billing"), "customer_id": payer}
        for payer, row in placed
        if row.address is not None
    }
    await connection.execute(_ADDRESSES, {"rows": _json(addresses.values())})
    kept = [
        _method(payer, row.gateway, methods[row.external_id]) for payer, row in placed if row.external_id in methods
    ]
    await connection.execute(_METHODS, {"rows": _json(kept)})
    return [
        refuse(row, "customer.external_id", "the customer once imported under it has another external_id now")
        for row in rows
        if row.customer.external_id not in payers
    ]


async def write_verdicts(
    connection: AsyncConnection, import_id: str, *, next_row: int, applied: int, known: int, refused: Sequence[Refusal]
) -> None:
    """The refused rows, the counts, and how far the import has come."""
    lines = [
        {"row": row.row, "field": row.field, "reason": row.reason, "source": row.source}
        for row in sorted(refused, key=lambda row: row.row)
    ]
    await connection.execute(_REFUSED, {"import": import_id, "rows": _json(lines)})
    counts = {"applied": applied, "known": known, "refused": len(refused)}
    await connection.execute(_COUNTED, {"import": import_id, "next_row": next_row, **counts})


async def read_starts(
    connection: AsyncConnection, import_id: str, rows: Sequence[Subscriber], *, test_mode: bool, trigger: Trigger
) -> list[Start]:
    """The subscriptions to start for these rows: those neither refused nor in the books."""
    span = {"import": import_id, "first": rows[0].row, "last": rows[-1].row}
    refused = frozenset(await connection.scalars(_REFUSED_ROWS, span))
    running = await known(connection, (row.external_id for row in rows))
    wanted = [row for row in rows if row.row not in refused and row.external_id not in running]
    products = await read_products(connection, wanted)
    payers = await read_payers(connection, wanted)
    actor = f"import {import_id}"
    return [
        _start(
            row,
            products[row.product_code],
            payers[row.customer.external_id],
            actor=actor,
            test_mode=test_mode,
            trigger=trigger,
        )
        for row in wanted
    ]


async def read_products(connection: AsyncConnection, rows: Iterable[Subscriber]) -> dict[str, Product]:
    found = await connection.execute(_PRODUCTS_THERE, {"codes": sorted({row.product_code for row in rows})})
    return {row.code: Product(row.id, row.name, row.archived_at is None, row.physical) for row in found}


async def read_payers(connection: AsyncConnection, rows: Iterable[Subscriber]) -> dict[str, Payer]:
    found = await connection.execute(_PAYERS, {"ids": [row.customer.external_id for row in rows]})
    return {row.external_id: Payer(row.id, row.notice_days) for row in found}


def _start(row: Subscriber, product: Product, payer: Payer, *, actor: str, test_mode: bool, trigger: Trigger) -> Start:
    terms = Terms(
        price_id=price_id(product, row),
        product_id=product.id,
        product_name=product.name,
        unit_amount=row.amount.minor,
        currency=row.amount.currency,
        quantity=1,
        interval=row.interval,
        physical=product.physical,
    )
    return Start(
        id=row.id,
        customer_id=payer.id,
        zone=row.customer.zone,
        terms=terms,
        actor=actor,
        start_at=row.start_at,
        bill_from=row.cut_over,
        external_id=row.external_id,
        test_mode=test_mode,
        trigger=trigger,
        notice_days=payer.notice_days,
    )


def _price(product: Product, row: Subscriber) -> dict[str, Any]:
    return {
        "id": price_id(product, row),
        "product_id": product.id,
        "code": row.price_code,
        "currency": row.amount.currency,
        "unit_amount": row.amount.minor,
        "interval_count": row.interval.count,
        "interval_unit": row.interval.unit.value,
    }


def _method(payer: str, gateway: str, details: MethodDetails) -> dict[str, Any]:
    return {
        **asdict(details),
        "id": derive("pm", payer, gateway, details.token),
        "customer_id": payer,
        "gateway": gateway,
    }


def _json(rows: Iterable[Any]) -> str:
    return json.dumps(list(rows), ensure_ascii=False, separators=(",", ":"))


_KNOWN = text("SELECT external_id FROM subscriptions WHERE external_id = ANY(:ids)")

_PRODUCTS = text(
    """
INSERT INTO products (id, code, name)
SELECT id, code, name FROM jsonb_to_recordset(CAST(:rows AS jsonb)) AS r(id text, code text, name text)
ON CONFLICT DO NOTHING
"""
)

_PRODUCTS_THERE = text("SELECT id, code, name, archived_at, physical FROM products WHERE code = ANY(:codes)")

_PRICES = text(
    """
INSERT INTO prices (id, product_id, code, currency, unit_amount, interval_count, interval_unit)
SELECT id, product_id, code, currency, unit_amount, interval_count, interval_unit
FROM jsonb_to_recordset(CAST(:rows AS jsonb)) AS r(
    id text, product_id text, code text, currency text, unit_amount bigint, interval_count int, interval_unit text
)
ORDER BY id
ON CONFLICT DO NOTHING
"""
)

_PRICES_THERE = text("SELECT id FROM prices WHERE id = ANY(:ids)")

_CUSTOMERS = text(
    """
INSERT INTO customers (
    id, external_id, title, first_name, last_name, company, email, phone, gender, language, time_zone, currency,
    notice_days, invoice_prefix
)
SELECT id, external_id, title, first_name, last_name, company, email, phone, gender, language, zone, currency,
    notice_days, prefix
FROM jsonb_to_recordset(CAST(:rows AS jsonb)) AS r(
    id text, external_id text, title text, first_name text, last_name text, company text, email text, phone text,
    gender text, language text, zone text, currency text, notice_days int, prefix text
)
ON CONFLICT DO NOTHING
"""
)

_PAYERS = text("SELECT id, external_id, notice_days FROM customers WHERE external_id = ANY(:ids)")

# A customer with a default address keeps it.
_ADDRESSES = text(
    """
INSERT INTO addresses (id, customer_id, kind, is_default, line1, line2, city, region, postal_code, country)
SELECT id, customer_id, 'billing', true, line1, line2, city, region, postal_code, country
FROM jsonb_to_recordset(CAST(:rows AS jsonb)) AS r(
    id text, customer_id text, line1 text, line2 text, city text, region text, postal_code text, country text
)
ON CONFLICT DO NOTHING
"""
)

# Behind the methods that the customer has.
_METHODS = text(
    """
INSERT INTO payment_methods (
    id, customer_id, gateway, token, kind, brand, last4, exp_month, exp_year, fingerprint, position
)
SELECT id, customer_id, gateway, token, kind, brand, last4, exp_month, exp_year, fingerprint, coalesce((
    SELECT max(m.position) + 1 FROM payment_methods AS m WHERE m.customer_id = r.customer_id AND m.removed_at IS NULL
), 0)
FROM jsonb_to_recordset(CAST(:rows AS jsonb)) AS r(
    id text, customer_id text, gateway text, token text, kind text, brand text, last4 text, exp_month int,
    exp_year int, fingerprint text
)
ON CONFLICT DO NOTHING
"""
)

_REFUSED = text(
    """
INSERT INTO import_rows (import_id, "row", field, reason, source)
SELECT :import, "row", field, reason, source
FROM jsonb_to_recordset(CAST(:rows AS jsonb)) AS r("row" int, field text, reason text, source jsonb)
ON CONFLICT DO NOTHING
"""
)

_REFUSED_ROWS = text('SELECT "row" FROM import_rows WHERE import_id = :import AND "row" BETWEEN :first AND :last')

_COUNTED = text(
    """
UPDATE imports SET status = 'running', next_row = :next_row, applied = applied + :applied, known = known + :known,
    refused = refused + :refused
WHERE id = :import
"""
)
