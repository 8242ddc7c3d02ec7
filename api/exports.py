"""Exports: customers and what is theirs as CSV files that stream; card tokens are for admins only."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Annotated, Any, Final, Literal, cast

from fastapi import Path, Query
from fastapi.responses import StreamingResponse
from pydantic import Field
from sqlalchemy import ColumnElement

from api.context import CallerDep, ServicesDep
from api.fields import Identifier
from api.fields import Query as QueryModel
from api.routing import noun
from api.segments import filter_of
from domain.csv_cells import Cell, csv_line
from domain.roles import Role
from models.queries_exports import columns_of, rows_of
from models.segments import condition
from models.session import Database

TAGS_BETWEEN: Final = ", "

router = noun("exports")
Kind = Literal["customers", "addresses", "payment-methods", "notes", "vouchers", "subscriptions"]


class ExportQuery(QueryModel):
    """Of whom."""

    segment: Identifier | None = Field(default=None, description="Only what belongs to customers of this segment")


_FILE: Final[dict[int | str, dict[str, Any]]] = {
    200: {"content": {"text/csv": {"schema": {"type": "string"}}}, "description": "The file"}
}


@router.get("/exports/{kind}.csv", response_class=StreamingResponse, responses=_FILE)
async def export(
    kind: Annotated[Kind, Path(description="What the file is of")],
    services: ServicesDep,
    caller: CallerDep,
    query: Annotated[ExportQuery, Query()],
) -> StreamingResponse:
    """A file of everything of one kind, as of one moment. The column `token` is empty for all but admins."""
    chosen = None
    if query.segment is not None:
        async with services.database.session() as session:
            chosen = condition(await filter_of(session, query.segment))
    lines = export_lines(services.database, kind, chosen, tokens=caller.role is Role.ADMIN)
    head = await anext(lines)  # what PostgreSQL refuses is refused before the answer begins
    headers = {"Content-Disposition": f'attachment; filename="{kind}.csv"'}
    return StreamingResponse(_chained(head, lines), media_type="text/csv; charset=utf-8", headers=headers)


async def export_lines(
    database: Database, kind: Kind, chosen: ColumnElement[bool] | None, *, tokens: bool
) -> AsyncIterator[str]:
    """The header with the first rows, then some rows at a time; all of it is one transaction, so of one moment."""
    said = csv_line(columns_of(kind))
    async with database.session() as session:
        async for part in rows_of(session, kind, chosen):
            shown = part if tokens else [{**row, "token": None} if "token" in row else row for row in part]
            yield said + "".join(csv_line(_cell(value) for value in row.values()) for row in shown)
            said = ""
        if said:
            yield said


async def _chained(head: str, rest: AsyncIterator[str]) -> AsyncIterator[str]:
    yield head
    async for part in rest:
        yield part


def _cell(value: Any) -> Cell:
    return TAGS_BETWEEN.join(cast("list[str]", value)) if isinstance(value, list) else value
