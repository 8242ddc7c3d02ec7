"""Segments: saved filters over customers, and the tags that many of them ask for."""

from __future__ import annotations

from typing import Annotated, Any, Final

from fastapi import Path, Query, Response
from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy.ext.asyncio import AsyncSession

from api.context import CallerDep, OnceDep, ServicesDep
from api.customers import TAGS_MAX, CustomerId, CustomerView, Tag
from api.fields import Body, Identifier, Instant, Name, Reason, View
from api.paging import Listed, PageQuery, listed
from api.routing import noun
from api.rows import add_once, found, replace_fields
from domain.errors import InvalidInput, Refused
from domain.segments import Filter
from models import CustomerChange, Segment
from models.queries_customers import CUSTOMERS, customer
from models.queries_segments import (
    COUNT_MAX,
    SEGMENTS,
    count_members,
    filter_from,
    members,
    segment,
    segments,
)

SAMPLE: Final = 10

router = noun("segments")
SegmentId = Annotated[Identifier, Path(description="Id of the segment")]
Tree = Annotated[dict[str, Any], Field(description="A filter; docs/segments.md describes the language")]

_EXAMPLE: Final[dict[str, Any]] = {
    "all": [
        {"field": "tags", "op": "has", "value": "vip"},
        {"field": "country", "op": "has_any", "value": ["DE", "AT"]},
        {"subscription": {"field": "status", "op": "eq", "value": "past_due"}},
        {"not": {"field": "company", "op": "is_set", "value": True}},
    ]
}


class SegmentNew(Body):
    """A segment to be."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"name": "Late VIPs", "filter": _EXAMPLE}]})

    name: Name
    description: Reason = ""
    filter: Tree


class SegmentPatch(Body):
    """What to change."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"description": "for the spring letter"}]})

    name: Name | None = None
    description: Reason | None = None
    filter: Tree | None = None


class FilterBody(Body):
    """A filter to try, without saving it."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"filter": _EXAMPLE}]})

    filter: Tree


class SegmentView(View):
    """A segment as it was saved."""

    id: str
    name: str
    description: str
    filter: dict[str, Any]
    created_by: str
    created_at: Instant
    updated_at: Instant


class CountView(BaseModel):
    """How many customers. `at_least`: there are more, and they were not counted."""

    count: int
    at_least: bool


class PreviewView(CountView):
    """How many customers a filter finds, and the newest of them."""

    sample: list[CustomerView]


class TagsBody(Body):
    """All tags, as they are from now on."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"tags": ["vip", "spring-2027"]}]})

    tags: Annotated[list[Tag], Field(max_length=TAGS_MAX)]


@router.post("/segments", status_code=201)
async def create_segment(body: SegmentNew, services: ServicesDep, once: OnceDep, caller: CallerDep) -> SegmentView:
    """Save a filter under a name."""
    async with services.database.session() as session:
        await filter_from(session, body.filter)
        row = await add_once(session, Segment(id=once.id("seg"), created_by=caller.name, **body.model_dump()))
        return SegmentView.model_validate(row)


@router.post("/segments/preview")
async def preview_segment(body: FilterBody, services: ServicesDep) -> PreviewView:
    """Try a filter: how many customers, and the newest of them. Nothing is saved."""
    async with services.database.session() as session:
        wanted = await filter_from(session, body.filter)
        newest = await members(session, wanted, after=None, limit=SAMPLE)
        count = await count_members(session, wanted)
        sample = [CustomerView.model_validate(row) for row in newest.rows]
        return PreviewView(count=min(count, COUNT_MAX), at_least=count > COUNT_MAX, sample=sample)


@router.get("/segments")
async def list_segments(services: ServicesDep, query: Annotated[PageQuery, Query()]) -> Listed[SegmentView]:
    """List segments, newest first."""
    async with services.database.session() as session:
        rows = await segments(session, after=query.after(SEGMENTS), limit=query.limit)
        return listed(rows, SEGMENTS, SegmentView.model_validate)


@router.get("/segments/{segment_id}")
async def get_segment(segment_id: SegmentId, services: ServicesDep) -> SegmentView:
    """Read one segment."""
    async with services.database.session() as session:
        return SegmentView.model_validate(found(await segment(session, segment_id), "segment"))


@router.patch("/segments/{segment_id}")
async def change_segment(segment_id: SegmentId, body: SegmentPatch, services: ServicesDep) -> SegmentView:
    """Change some fields of a segment."""
    async with services.database.session() as session:
        row = found(await segment(session, segment_id, lock=True), "segment")
        if body.filter is not None:
            await filter_from(session, body.filter)
        if replace_fields(row, body.model_dump(exclude_none=True)):
            await session.flush()
            await session.refresh(row)
        return SegmentView.model_validate(row)


@router.delete("/segments/{segment_id}", status_code=204)
async def remove_segment(segment_id: SegmentId, services: ServicesDep) -> Response:
    """Remove a segment. Its customers stay as they are."""
    async with services.database.session() as session:
        await session.delete(found(await segment(session, segment_id, lock=True), "segment"))
    return Response(status_code=204)


@router.get("/segments/{segment_id}/customers")
async def list_segment_customers(
    segment_id: SegmentId, services: ServicesDep, query: Annotated[PageQuery, Query()]
) -> Listed[CustomerView]:
    """The customers of a segment as they are now, newest first."""
    async with services.database.session() as session:
        wanted = await filter_of(session, segment_id)
        rows = await members(session, wanted, after=query.after(CUSTOMERS), limit=query.limit)
        return listed(rows, CUSTOMERS, CustomerView.model_validate)


@router.get("/segments/{segment_id}/count")
async def count_segment(segment_id: SegmentId, services: ServicesDep) -> CountView:
    """How many customers a segment has now."""
    async with services.database.session() as session:
        count = await count_members(session, await filter_of(session, segment_id))
        return CountView(count=min(count, COUNT_MAX), at_least=count > COUNT_MAX)


@router.put("/customers/{customer_id}/tags")
async def set_tags(customer_id: CustomerId, body: TagsBody, services: ServicesDep, caller: CallerDep) -> CustomerView:
    """Set all tags of a customer; one that is named twice is kept once. The change is logged."""
    tags = list(dict.fromkeys(body.tags))
    async with services.database.session() as session:
        row = found(await customer(session, customer_id, lock=True), "customer")
        for field, (old, new) in replace_fields(row, {"tags": tags}).items():
            change = CustomerChange(customer_id=row.id, actor=caller.name, field=field)
            change.old, change.new = ", ".join(old), ", ".join(new)
            session.add(change)
            await session.flush()
            await session.refresh(row)
        return CustomerView.model_validate(row)


async def filter_of(session: AsyncSession, segment_id: str) -> Filter:
    """The filter of a saved segment, for whatever reads its customers.

    Raises `NotFound`, and `Refused` where a custom field that it asks for has another type by now.
    """
    row = found(await segment(session, segment_id), "segment")
    try:
        return await filter_from(session, row.filter)
    except InvalidInput as error:
        detail = (
            f"The segment does not fit the custom fields any more ({error.field} {error.message}): change it first."
        )
        raise Refused("segment_does_not_fit", detail) from error
