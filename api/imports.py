"""Imports: a CSV file with a mapping, its progress, and the refused rows with their reasons."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from types import MappingProxyType
from typing import Annotated, Any, Final, Literal

from fastapi import Path, Query
from fastapi.responses import StreamingResponse
from pydantic import ConfigDict, Field
from sqlalchemy.ext.asyncio import AsyncSession

from api.context import CallerDep, OnceDep, Services, ServicesDep
from api.fields import Body, Identifier, Instant, Name, View
from api.paging import Listed, PageQuery, listed
from api.roles import admit
from api.routing import LargeRoute, noun
from api.rows import add_once, found
from domain.csv_cells import csv_line
from domain.errors import InvalidInput
from domain.import_fields import Kind
from domain.imports import FILE_BYTES_MAX, check_file, header
from domain.mapping import Plan, own_mapping, read_mapping, settled_cut_over
from models import Import
from models.queries_jobs import IMPORTS, first_line, import_, imports, refused_rows
from models.session import database_now

KEYS_MAX: Final = 500
# What is told of each refused row, before its cells.
TOLD: Final = ("row", "field", "reason")
# A file gives a command as often as it has rows: who brings it must be one who may give that command.
STANDS_FOR: Final[Mapping[Kind, str]] = MappingProxyType({Kind.VOUCHERS: "issue_voucher"})

router = noun("imports", route_class=LargeRoute)
ImportId = Annotated[Identifier, Path(description="Id of the import")]


class ImportNew(Body):
    """A file to import. `mapping` says which column means what; without one it is a file that was exported here."""

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
                },
                {
                    "kind": "notes",
                    "file_name": "notes.csv",
                    "content": "no,who,said\n77,ada-1,Prefers to be called after six.\n",
                    "mapping": {"external_id": "old-note-{no}", "customer": "{who}", "text": "{said}"},
                },
            ]
        }
    )

    kind: Literal["subscribers", "customers", "addresses", "payment-methods", "notes", "vouchers"] = "subscribers"
    file_name: Name
    content: str = Field(description="The CSV as text, at most 32 MiB")
    mapping: Annotated[dict[str, Any], Field(min_length=1, max_length=KEYS_MAX)] | None = Field(
        default=None, description="Needed for subscribers; docs/imports.md describes it"
    )


class ImportView(View):
    """An import with its progress. `known` rows were applied by an earlier import."""

    id: str
    kind: str
    file_name: str
    actor: str
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
async def create_import(body: ImportNew, services: ServicesDep, once: OnceDep, caller: CallerDep) -> ImportView:
    """Take a file in and start applying it, row by row. A file or mapping that cannot be read is refused as a whole."""
    kind = Kind(body.kind)
    if kind in STANDS_FOR:
        admit(caller, STANDS_FOR[kind], reading=False)
    content = _content(body.content)
    mapping = dict(body.mapping or own_mapping(kind))
    plan = read_mapping(mapping, kind)
    try:
        rows = await asyncio.to_thread(check_file, content, plan)
    except InvalidInput as error:
        if body.mapping is not None:
            raise
        raise InvalidInput(
            error.field, f"{error.message}; without a mapping it is a file that was exported here"
        ) from error
    async with services.database.session() as session:
        row = Import(
            id=once.id("imp"),
            kind=kind,
            file_name=body.file_name,
            actor=caller.name,
            mapping=mapping | await _settled(session, plan),
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
    response_class=StreamingResponse,
    responses={200: {"content": {"text/csv": {"schema": {"type": "string"}}}, "description": "The refused rows"}},
)
async def get_refused(import_id: ImportId, services: ServicesDep) -> StreamingResponse:
    """The refused rows as CSV, each with the field and the rule it breaks. Cells that look like formulas are quoted.

    The file has the delimiter of the one that was brought: corrected, it is brought with the same mapping.
    """
    async with services.database.session() as session:
        row = found(await import_(session, import_id), "import")
        delimiter = str(row.mapping.get("delimiter", ","))
        columns = header(await first_line(session, import_id), delimiter)
    headers = {"Content-Disposition": f'attachment; filename="refused-{import_id}.csv"'}
    lines = _refused_lines(services, import_id, columns, delimiter)
    return StreamingResponse(lines, media_type="text/csv; charset=utf-8", headers=headers)


async def _refused_lines(
    services: Services, import_id: str, columns: Sequence[str], delimiter: str
) -> AsyncIterator[str]:
    # Where the file has such a column itself, it can still be brought again.
    yield csv_line([*(f"refused_{name}" if name in columns else name for name in TOLD), *columns], delimiter)
    async with services.database.session() as session:
        async for part in refused_rows(session, import_id):
            yield "".join(csv_line([each.row, each.field, each.reason, *each.source], delimiter) for each in part)


async def _settled(session: AsyncSession, plan: Plan) -> dict[str, str]:
    """What must not depend on when the file is read."""
    return {} if plan.cut_over is None else {"cut_over": settled_cut_over(plan, await database_now(session))}


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
