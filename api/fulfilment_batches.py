"""Batches: what is to be shipped as a file that people fetch, and the file of tracking numbers that they bring back."""

from __future__ import annotations

import csv
import io
from datetime import UTC, datetime
from typing import Annotated, Final

from fastapi import Path, Query, Response
from pydantic import BaseModel, ConfigDict, Field

from api.context import CallerDep, OnceDep, ServicesDep
from api.fields import Body, Identifier, Instant, View
from api.paging import Listed, PageQuery, listed
from api.routing import noun
from api.rows import found
from domain.csv_cells import csv_line, undefuse
from domain.errors import InvalidInput
from domain.fulfilment import Heard, is_fulfilment
from models.queries_fulfilment import BATCHES, batch, batch_rows, batches
from models.session import database_now
from workflows.commands import BatchOrder, ParcelWord

BATCH_MAX: Final = 500
ROWS_MAX: Final = 1000
CELL_LENGTH_MAX: Final = 200
CONTENT_LENGTH_MAX: Final = 500_000
COLUMNS: Final = (
    "fulfilment_id", "reference", "recipient", "line1", "line2", "city", "region", "postal_code", "country", "product",
    "description", "option", "quantity",
)  # fmt: skip
NEEDED: Final = ("fulfilment_id", "carrier", "tracking")
TAKEN: Final = frozenset({*NEEDED, "status", "at"})

router = noun("fulfilments")
BatchId = Annotated[Identifier, Path(description="Id of the batch")]


class BatchNew(Body):
    """How much goes into the file; the oldest first. Parcels of test-mode subscriptions have files of their own."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"limit": 200}]})

    limit: Annotated[int, Field(ge=1, le=BATCH_MAX)] = BATCH_MAX
    test_mode: bool = False


class BatchView(View):
    """A file of parcels. `left_out`: looked at, and not in it: no address, or a payment that is not good."""

    id: str
    actor: str
    test_mode: bool
    fulfilments: int
    left_out: int
    created_at: Instant


class TrackingNew(Body):
    """What became of parcels, as CSV: fulfilment_id, carrier, tracking, and if wanted status and at."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"content": "fulfilment_id,carrier,tracking\nful_k3jq5xw2m4,DHL,00340434161094042557\n"}]
        }
    )

    content: Annotated[str, Field(min_length=1, max_length=CONTENT_LENGTH_MAX)] = Field(
        description=f"The file, at most {ROWS_MAX} rows. status: shipped (as without it), delivered or returned"
    )


class TrackingRow(BaseModel):
    """What came of one row: `unknown` (no such fulfilment), `nothing new`, or the status it has now."""

    row: int
    fulfilment_id: str
    outcome: str


class TrackingTaken(BaseModel):
    """Row by row, in the order of the file."""

    items: list[TrackingRow]


@router.post("/fulfilment-batches", status_code=201)
async def create_fulfilment_batch(body: BatchNew, services: ServicesDep, once: OnceDep, caller: CallerDep) -> BatchView:
    """Hand off what is pending as one file. Only where no provider takes parcels one by one."""
    order = BatchOrder(once.id("fulb"), caller.name, body.test_mode, body.limit)
    return await get_fulfilment_batch(await services.commands.fulfilments.hand_off_batch(order), services)


@router.get("/fulfilment-batches")
async def list_fulfilment_batches(services: ServicesDep, query: Annotated[PageQuery, Query()]) -> Listed[BatchView]:
    """List batches, newest first."""
    async with services.database.session() as session:
        rows = await batches(session, after=query.after(BATCHES), limit=query.limit)
        return listed(rows, BATCHES, BatchView.model_validate)


@router.get("/fulfilment-batches/{batch_id}")
async def get_fulfilment_batch(batch_id: BatchId, services: ServicesDep) -> BatchView:
    """Read one batch."""
    async with services.database.session() as session:
        return BatchView.model_validate(found(await batch(session, batch_id), "batch"))


@router.get(
    "/fulfilment-batches/{batch_id}/file",
    response_class=Response,
    responses={200: {"content": {"text/csv": {"schema": {"type": "string"}}}, "description": "The file"}},
)
async def get_fulfilment_batch_file(batch_id: BatchId, services: ServicesDep) -> Response:
    """The file of a batch: one line for each parcel that is still to go. Cells that look like formulas are quoted."""
    async with services.database.session() as session:
        found(await batch(session, batch_id), "batch")
        rows = await batch_rows(session, batch_id)
    lines = [csv_line(COLUMNS)]
    lines += [csv_line(row[name] for name in COLUMNS) for row in rows if row["status"] == "handed_off"]
    headers = {"Content-Disposition": f'attachment; filename="{batch_id}.csv"'}
    return Response("".join(lines), media_type="text/csv; charset=utf-8", headers=headers)


@router.post("/fulfilment-tracking")
async def take_fulfilment_tracking(
    body: TrackingNew, services: ServicesDep, once: OnceDep, caller: CallerDep
) -> TrackingTaken:
    """Take tracking numbers back from a file. The same file again changes nothing."""
    async with services.database.session() as session:
        now = await database_now(session)
    words = _words(body.content, now, caller.name)
    outcomes = await services.commands.fulfilments.hear_many(words, once.id("track"))
    return TrackingTaken(
        items=[
            TrackingRow(row=number, fulfilment_id=word.fulfilment_id, outcome=outcome)
            for number, (word, outcome) in enumerate(zip(words, outcomes, strict=True), start=2)
        ]
    )


def _words(content: str, now: datetime, actor: str) -> list[ParcelWord]:
    """The rows, all of them read before any is taken. Raises `InvalidInput` naming the row."""
    lines = csv.reader(io.StringIO(content.removeprefix("\N{ZERO WIDTH NO-BREAK SPACE}")), strict=True)
    try:
        head, *rows = [line for line in lines if line]
    except (csv.Error, ValueError) as error:
        raise InvalidInput("content", f"is not a CSV file with a header: {error}") from None
    missing = [name for name in NEEDED if name not in head]
    if missing or not set(head) <= TAKEN or len(set(head)) != len(head):
        raise InvalidInput("content", f"has the columns {', '.join(NEEDED)}, and may have status and at")
    if not 1 <= len(rows) <= ROWS_MAX:
        raise InvalidInput("content", f"has 1 to {ROWS_MAX} rows")
    return [_word(number, head, row, now, actor) for number, row in enumerate(rows, start=2)]


def _word(number: int, head: list[str], row: list[str], now: datetime, actor: str) -> ParcelWord:
    if len(row) != len(head):
        raise _bad(number, f"has {len(row)} cells, the header has {len(head)}")
    cells = {name: undefuse(cell.strip()) for name, cell in zip(head, row, strict=True)}
    if any(len(cell) > CELL_LENGTH_MAX or not cell.isprintable() for cell in cells.values()):
        raise _bad(number, f"a cell is at most {CELL_LENGTH_MAX} printable characters")
    if not is_fulfilment(cells["fulfilment_id"]):
        raise _bad(number, "fulfilment_id is not one of ours")
    status = cells.get("status") or Heard.SHIPPED.value
    if status not in set(Heard):
        raise _bad(number, "status is shipped, delivered or returned")
    if status == Heard.SHIPPED and not cells["carrier"]:
        raise _bad(number, "carrier is missing")
    at = now.replace(microsecond=0) if not cells.get("at") else _moment(number, cells["at"])
    return ParcelWord(cells["fulfilment_id"], Heard(status), at, actor, cells["carrier"], cells["tracking"])


def _moment(number: int, said: str) -> datetime:
    try:
        moment = datetime.fromisoformat(said)
    except ValueError:
        raise _bad(number, "at is an RFC 3339 time with offset") from None
    if moment.tzinfo is None:
        raise _bad(number, "at is an RFC 3339 time with offset")
    return moment.astimezone(UTC).replace(microsecond=0)


def _bad(number: int, rule: str) -> InvalidInput:
    return InvalidInput("content", f"row {number}: {rule}")
