"""How customers are taxed: by status, default billing address, and the rates of its place."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import date
from typing import Any, Final

from sqlalchemy import Select, and_, or_, select, text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncSession

from domain.tax import NO_TAX, TaxRate, TaxStatus, TaxTerms, country_of
from models.customers import Address, Customer
from models.discounts import TaxRateRow, TaxRun
from models.paging import KeyPart, Keyset, Page, page

TAX_RATES: Final = Keyset("tax_rates", (TaxRateRow.created_at, TaxRateRow.id))
TAX_RUNS: Final = Keyset("tax_runs", (TaxRun.started_at, TaxRun.id))

_REGION: Final = re.compile(r"[A-Z0-9]{1,3}", re.ASCII)  # as in ISO 3166-2; a region in words names no place
_ONE_AT_A_TIME: Final = text("SELECT pg_advisory_xact_lock(hashtext('dunlin.tax_rates'))")


def place_of(country: str | None, region: str | None) -> str:
    """`US-NY` of an address in New York, `DE` of one in Germany, nothing without an address."""
    code = (region or "").strip().upper()
    return f"{country}-{code}" if country and _REGION.fullmatch(code) else country or ""


async def tax_terms(connection: AsyncConnection | AsyncSession, customer_id: str) -> TaxTerms:
    """How this customer is taxed now and will be, by all that is known."""
    return (await tax_terms_of(connection, [customer_id]))[customer_id]


async def tax_terms_of(
    connection: AsyncConnection | AsyncSession, customer_ids: Sequence[str]
) -> Mapping[str, TaxTerms]:
    """The same for several customers, in two statements."""
    homes = (await connection.execute(_homes(customer_ids))).all()
    places = {row.id: place_of(row.country, row.region) for row in homes}
    wanted = {place for found in places.values() for place in (found, country_of(found)) if place}
    rates = await _rates(connection, wanted)
    return {row.id: _terms(TaxStatus(row.tax_status), places[row.id], rates) for row in homes}


def _homes(customer_ids: Sequence[str]) -> Select[Any, Any, Any, Any]:
    billing = and_(Address.customer_id == Customer.id, Address.kind == "billing", Address.is_default)
    return (
        select(Customer.id, Customer.tax_status, Address.country, Address.region)
        .outerjoin(Address, billing)
        .where(Customer.id.in_(customer_ids))
    )


async def _rates(connection: AsyncConnection | AsyncSession, places: Iterable[str]) -> Sequence[TaxRate]:
    table = TaxRateRow.__table__.c
    wanted = select(*table).where(table.place.in_(sorted(places))).order_by(table.valid_from, table.id)
    return [
        TaxRate(row.id, row.place, row.category, row.rate, row.inclusive, row.valid_from, row.valid_until)
        for row in (await connection.execute(wanted)).all()
    ]


def _terms(status: TaxStatus, place: str, rates: Sequence[TaxRate]) -> TaxTerms:
    here = tuple(rate for rate in rates if rate.place in {place, country_of(place)})
    if status is TaxStatus.TAXABLE and not here:
        return NO_TAX  # the merchant taxes nothing there, so nothing is said of it
    return TaxTerms(status, place, here)


async def one_at_a_time(session: AsyncSession) -> None:
    """Rates are written one after another, so that no two can overlap unseen."""
    await session.execute(_ONE_AT_A_TIME)


async def overlapping(
    session: AsyncSession, place: str, category: str, valid_from: date, valid_until: date | None
) -> TaxRateRow | None:
    """A rate of the same place and category that is valid on one of these days."""
    statement = select(TaxRateRow).where(
        TaxRateRow.place == place,
        TaxRateRow.category == category,
        or_(TaxRateRow.valid_until.is_(None), TaxRateRow.valid_until > valid_from),
    )
    if valid_until is not None:
        statement = statement.where(TaxRateRow.valid_from < valid_until)
    return (await session.scalars(statement.order_by(TaxRateRow.valid_from).limit(1))).one_or_none()


async def tax_rate(session: AsyncSession, rate_id: str, *, lock: bool = False) -> TaxRateRow | None:
    return await session.get(TaxRateRow, rate_id, with_for_update=lock or None)


async def tax_rates(
    session: AsyncSession, *, place: str | None, on: date | None, after: tuple[KeyPart, ...] | None, limit: int
) -> Page[TaxRateRow]:
    statement = select(TaxRateRow)
    if place is not None:
        statement = statement.where(or_(TaxRateRow.place == place, TaxRateRow.place.startswith(f"{place}-")))
    if on is not None:
        still = or_(TaxRateRow.valid_until.is_(None), TaxRateRow.valid_until > on)
        statement = statement.where(TaxRateRow.valid_from <= on, still)
    return await page(session, statement, TAX_RATES, after=after, limit=limit)


async def tax_run(session: AsyncSession, run_id: str) -> TaxRun | None:
    return await session.get(TaxRun, run_id)


async def tax_runs(session: AsyncSession, *, after: tuple[KeyPart, ...] | None, limit: int) -> Page[TaxRun]:
    return await page(session, select(TaxRun), TAX_RUNS, after=after, limit=limit)
