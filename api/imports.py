"""Imports: a merchant's CSV with a mapping, its progress, and the refused rows with their reasons."""

from __future__ import annotations

import asyncio
from typing import Annotated, Any, Final, Literal

from fastapi import Path, Query, Response
from pydantic import ConfigDict, Field

from api.context import OnceDep, ServicesDep
from api.csv_cells import csv_line
from api.fields import Body, Identifier, Instant, Name, View
from api.paging import Listed, PageQuery, listed
from api.routing import LargeRoute, noun
from api.rows import add_once, found
from domain.errors import InvalidInput
from domain.imports import FILE_BYTES_MAX, check_file, header
from domain.mapping import read_mapping, settled_cut_over
from models import Import
from models.queries_jobs import IMPORTS, first_line, import_, imports, refused_rows
from models.session import database_now

KEYS_MAX: Final = 500

router = noun("imports", route_class=LargeRoute)
ImportId = Annotated[Identifier, Path(description="Id of the import")]


class ImportNew(Body):
    """A file to import. `mapping` says which column means what; docs/imports.md describes it."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "kind": "subscribers",
                    "file_name": "subscribers.csv",
                    "content": "id,mail,plan,price,since\n1,ada@example.com,Coffee box,19.00,2026-01-31\n",
                    "mapping": {
                        "external_id": "{id}",
                        "currency": "EUR",
                        "zone": "Europe/Berlin",
                        "interval": {"column": "plan", "values": {"Coffee box": "1 month"}},
                        "customer": {"email": "{mail}"},
                        "product": {"code": "coffee", "name": "{plan}"},
                        "amount": {"value": "{price}"},
                        "start": {"date": "{since}"},
                        "cut_over": "tomorrow",
                    },
                }
            ]
        }
    )

    kind: Literal["subscribers"] = "subscribers"
    file_name: Name
    content: str = Field(description="The CSV as text, at most 32 MiB")
    mapping: Annotated[dict[str, Any], Field(min_length=1, max_length=KEYS_MAX)]


class ImportView(View):
    """An import with its progress. `known` rows were applied by an earlier import."""

    id: str
    kind: str
    file_name: str
    status: str
    rows_total: int
    next_row: int
    applied: int
    known: int
    refused: int
    error: str | None
    created_at: Instant
    ended_at: Instant | None


@router.post("/imports", status_code=202)
async def create_import(body: ImportNew, services: ServicesDep, once: OnceDep) -> ImportView:
    """Take a file in and start applying it, row by row. A file or mapping that cannot be read is refused as a whole."""
    content = _content(body.content)
    plan = read_mapping(body.mapping)
    rows = await asyncio.to_thread(check_file, content, plan)
    async with services.database.session() as session:
        row = Import(
            id=once.id("imp"),
            kind=body.kind,
            file_name=body.file_name,
            mapping=body.mapping | {"cut_over": settled_cut_over(plan, await database_now(session))},
            content=content.encode(),
            status="pending",
            rows_total=rows,
        )
        view = ImportView.model_validate(await add_once(session, row))
    await services.commands.start_import(view.id)
    return view


@router.get("/imports")
async def list_imports(services: ServicesDep, query: Annotated[PageQuery, Query()]) -> Listed[ImportView]:
    """List imports, newest first."""
    async with services.database.session() as session:
        rows = await imports(session, after=query.after(IMPORTS), limit=query.limit)
        return listed(rows, IMPORTS, ImportView.model_validate)


@router.get("/imports/{import_id}")
async def get_import(import_id: ImportId, services: ServicesDep) -> ImportView:
    """Read one import's progress."""
    async with services.database.session() as session:
        return ImportView.model_validate(found(await import_(session, import_id), "import"))


@router.get(
    "/imports/{import_id}/refused",
    response_class=Response,
    responses={200: {"content": {"text/csv": {"schema": {"type": "string"}}}, "description": "The refused rows"}},
)
async def get_refused(import_id: ImportId, services: ServicesDep) -> Response:
    """The refused rows as CSV, each with the field and the rule it breaks. Cells that look like formulas are quoted."""
    async with services.database.session() as session:
        row = found(await import_(session, import_id), "import")
        columns = header(await first_line(session, import_id), row.mapping.get("delimiter", ","))
        rows = await refused_rows(session, import_id)
    lines = [csv_line(["row", "field", "reason", *columns])]
    lines += [csv_line([each.row, each.field, each.reason, *each.source]) for each in rows]
    headers = {"Content-Disposition": f'attachment; filename="refused-{import_id}.csv"'}
    return Response("".join(lines), media_type="text/csv; charset=utf-8", headers=headers)


def _content(text: str) -> str:
    """The file without its byte-order mark. Raises `InvalidInput` for one that is too large or no text."""
    try:
        size = len(text.encode())
    except UnicodeEncodeError as error:
        raise InvalidInput(
            "content", f"character {error.start + 1} is half a character: the file is not UTF-8"
        ) from None
    if not 0 < size <= FILE_BYTES_MAX:
        raise InvalidInput("content", f"has 1 to {FILE_BYTES_MAX} bytes; this file has {size}")
    return text.removeprefix("\N{ZERO WIDTH NO-BREAK SPACE}")
