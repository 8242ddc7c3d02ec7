"""One box over all customers: whatever is typed in it, the nearest come first."""

from __future__ import annotations

from typing import Annotated, Final, Literal

from fastapi import Query as Parameters
from pydantic import BaseModel, Field, StringConstraints

from api.context import ServicesDep
from api.fields import Query
from api.routing import noun
from domain.search import QUERY_LENGTH_MAX, QUERY_LENGTH_MIN, asked
from models.queries_search import Hit, search

LIMIT_DEFAULT: Final = 20
LIMIT_MAX: Final = 50

router = noun("search")


class SearchQuery(Query):
    """What is looked for."""

    q: Annotated[
        str,
        StringConstraints(min_length=QUERY_LENGTH_MIN, max_length=QUERY_LENGTH_MAX, pattern=r"^[^\x00]*$"),
        Field(
            description="Name, company, email, phone, last four digits of a card, number of an invoice, id of a "
            "customer or subscription (yours or ours), or what stands in a custom field"
        ),
    ]
    limit: Annotated[int, Field(ge=1, le=LIMIT_MAX)] = LIMIT_DEFAULT


class HitView(BaseModel):
    """A customer that was found. `by` names what was met, where it was met exactly."""

    customer_id: str
    first_name: str
    last_name: str
    company: str
    email: str
    phone: str
    external_id: str | None
    match: Literal["exact", "word", "prefix", "similar"]
    by: str | None


class FoundView(BaseModel):
    """The best ones, best first. `more`: there may be others; type more to find them."""

    items: list[HitView]
    more: bool


@router.get("/search")
async def search_customers(services: ServicesDep, query: Annotated[SearchQuery, Parameters()]) -> FoundView:
    """Find customers, typing errors forgiven."""
    wanted = asked(query.q)
    async with services.database.session() as session:
        hits = await search(session, wanted, query.limit)
    return FoundView(items=[_view(hit) for hit in hits], more=len(hits) >= query.limit)


def _view(hit: Hit) -> HitView:
    row = hit.customer
    return HitView(
        customer_id=row.id,
        first_name=row.first_name,
        last_name=row.last_name,
        company=row.company,
        email=row.email,
        phone=row.phone,
        external_id=row.external_id,
        match=hit.match,
        by=hit.by,
    )
