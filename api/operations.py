"""For operators: is it alive, what is stuck, what runs by the clock."""

from __future__ import annotations

from dataclasses import asdict
from datetime import datetime
from typing import Annotated, Final

from fastapi import APIRouter, Path, Query, Request
from fastapi.responses import JSONResponse, Response
from pydantic import BaseModel, ConfigDict, Field

from api import errors
from api.context import CallerDep, ServicesDep, services
from api.fields import Body, Instant, Reason, View
from api.names import ROUTES
from api.paging import Listed, PageQuery, cursor_of
from api.routing import noun
from domain.errors import NotFound, Unavailable
from domain.money import CURRENCIES
from models.queries_operations import STUCK, Stuck, now_of, stuck
from models.session import revision_of_code
from workflows.commands import InTrouble

STEPS_MAX: Final = 1_000  # Temporal lists them in an order of its own, so all are read

router = noun("operations")
public = APIRouter(tags=["operations"])
ScheduleId = Annotated[str, Path(pattern=r"^[a-z0-9-]{1,64}$", description="Id of the schedule")]


class Health(BaseModel):
    """Which parts answer."""

    database: bool
    temporal: bool


class Meta(BaseModel):
    """What a caller may want to know before the first request."""

    gateways: list[str]
    migration: str | None
    caller: str
    role: str
    currencies: list[str]
    commands: list[str]


class StuckView(View):
    """Something that waits for a person, or has been tried for too long."""

    kind: str = Field(
        description="`subscription`, `charge`, `refund`, `message`, `message_template`, `difference`,"
        " `gateway_event`, `fulfilment`, `order`, `task`, `step`"
    )
    id: str
    subscription_id: str | None
    customer_id: str | None
    why: str
    since: Instant
    age_s: int
    owner: str | None = Field(description="Who has its open task; null is nobody yet")
    task_id: str | None
    next_action: str


class StuckList(Listed[StuckView]):
    """The oldest first. While Temporal does not answer, its `step`s are missing."""

    temporal: bool = Field(description="Whether Temporal was asked for steps that fail")
    steps_cut: bool = Field(description="So many steps fail that not all of them are here; their cause is one, mostly")


class StuckQuery(PageQuery):
    """How much, and from which age on."""

    older_than_minutes: Annotated[int, Field(ge=0, le=100_000)] = 15


class ScheduleView(View):
    """A Temporal Schedule of this installation."""

    id: str
    note: str
    paused: bool
    every_s: int
    last_at: Instant | None
    next_at: Instant | None
    runs: int


class ScheduleList(BaseModel):
    """All of them."""

    items: list[ScheduleView]


class Note(Body):
    """Why, for the next person who looks."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"reason": "the gateway is being moved tonight"}]})

    reason: Reason = ""


@public.get(
    "/health",
    responses={200: {"model": Health}, 503: {"model": Health, "description": "A part does not answer"}},
)
async def health(request: Request) -> Response:
    """Whether the database and Temporal can be reached. Needs no key."""
    reached = services(request)
    found = Health(database=await reached.database.is_reachable(), temporal=await _temporal(request))
    return JSONResponse(found.model_dump(), 200 if found.database and found.temporal else 503)


@router.get("/meta")
async def read_meta(services: ServicesDep, caller: CallerDep) -> Meta:
    """What this installation is, and who is asking."""
    return Meta(
        gateways=sorted(services.gateways),
        migration=revision_of_code(),
        caller=caller.name,
        role=caller.role.value,
        currencies=sorted(CURRENCIES),
        commands=sorted(ROUTES.values()),
    )


@router.get("/stuck")
async def list_stuck(services: ServicesDep, query: Annotated[StuckQuery, Query()]) -> StuckList:
    """What needs a person or is tried for too long, with the next thing to do. Nothing is dropped in silence."""
    after = query.after(STUCK)
    async with services.database.session() as session:
        rows = await stuck(session, after=after, limit=query.limit + 1, older_than_minutes=query.older_than_minutes)
        now = await now_of(session)
    try:
        steps = [_step(each) for each in await services.commands.in_trouble(STEPS_MAX)]
    except Unavailable:
        steps = None
    rows += [each for each in steps or () if after is None or each.key > after]
    rows.sort(key=lambda each: each.key)
    shown, rest = rows[: query.limit], rows[query.limit :]
    return StuckList(
        items=[_stuck_view(each, now) for each in shown],
        next_cursor=cursor_of(STUCK, shown[-1].key) if rest else None,
        temporal=steps is not None,
        steps_cut=len(steps or ()) == STEPS_MAX,
    )


@router.get("/schedules")
async def list_schedules(services: ServicesDep) -> ScheduleList:
    """What runs by the clock."""
    return ScheduleList(items=[ScheduleView.model_validate(each) for each in await services.commands.schedules()])


@router.post("/schedules/{schedule_id}/trigger", status_code=202)
async def trigger_schedule(schedule_id: ScheduleId, services: ServicesDep) -> ScheduleView:
    """Run it now, besides its times."""
    await services.commands.trigger_schedule(schedule_id)
    return await _schedule(services, schedule_id)


@router.post("/schedules/{schedule_id}/pause")
async def pause_schedule(schedule_id: ScheduleId, services: ServicesDep, caller: CallerDep, body: Note) -> ScheduleView:
    """Stop it until resumed."""
    await services.commands.pause_schedule(schedule_id, f"{caller.name}: {body.reason or 'paused'}")
    return await _schedule(services, schedule_id)


@router.post("/schedules/{schedule_id}/resume")
async def resume_schedule(
    schedule_id: ScheduleId, services: ServicesDep, caller: CallerDep, body: Note
) -> ScheduleView:
    """Let it run by its times again."""
    await services.commands.resume_schedule(schedule_id, f"{caller.name}: {body.reason or 'resumed'}")
    return await _schedule(services, schedule_id)


def _step(each: InTrouble) -> Stuck:
    kind, _, identity = each.id.partition(":")
    return Stuck(
        "step",
        each.id,
        identity if kind == "subscription" else None,
        each.customer_id,
        each.trouble,
        each.since,
        "mend the cause; the step is tried again by itself, twice a minute",
    )


def _stuck_view(each: Stuck, now: datetime) -> StuckView:
    return StuckView(**asdict(each), age_s=max(int((now - each.since).total_seconds()), 0))


async def _schedule(services: ServicesDep, schedule_id: str) -> ScheduleView:
    for each in await services.commands.schedules():
        if each.id == schedule_id:
            return ScheduleView.model_validate(each)
    raise NotFound("There is no such schedule.")


async def _temporal(request: Request) -> bool:
    try:
        return await services(request).commands.alive()
    except Exception as error:  # noqa: BLE001 - the question is whether it answers, not why not
        errors.answer(error)
        return False
