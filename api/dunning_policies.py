"""Dunning policies: named schedules of retries, one of them the default."""

from __future__ import annotations

from typing import Annotated, Literal

from fastapi import Path, Query
from pydantic import ConfigDict, Field
from sqlalchemy import update
from sqlalchemy.ext.asyncio import AsyncSession

from api.context import OnceDep, ServicesDep
from api.fields import Body, Identifier, Instant, Name, View
from api.paging import Listed, PageQuery, listed
from api.routing import noun
from api.rows import add_once, found, replace_fields
from domain.terms import GRACE_DAYS_MAX, RETRIES_MAX, RETRY_GAP_DAYS_MAX
from models import DunningPolicy
from models.queries_catalogue import POLICIES, policies, policy

router = noun("dunning policies")
PolicyId = Annotated[Identifier, Path(description="Id of the dunning policy")]
EndAction = Literal["cancel", "pause", "stay_overdue"]


class RetryBody(Body):
    """So many local days after the attempt before, at this local hour."""

    after_days: Annotated[int, Field(ge=0, le=RETRY_GAP_DAYS_MAX)]
    hour: Annotated[int, Field(ge=0, le=23)]
    message: Literal["reminder", "final_notice", "none"] = Field(
        default="reminder", description="What the customer is sent when the attempt before it has failed"
    )


Retries = Annotated[list[RetryBody], Field(max_length=RETRIES_MAX)]
GraceDays = Annotated[int, Field(ge=0, le=GRACE_DAYS_MAX, description="How long access lasts after the first decline")]


class PolicyNew(Body):
    """A policy. It is pinned when dunning starts: a later change touches only what starts later."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "name": "gentle",
                    "retries": [{"after_days": 2, "hour": 9}, {"after_days": 5, "hour": 18, "message": "final_notice"}],
                    "grace_days": 10,
                    "end_action": "pause",
                }
            ]
        }
    )

    name: Name
    retries: Retries
    grace_days: GraceDays = 7
    end_action: EndAction = "cancel"
    is_default: bool = Field(default=False, description="True takes the place of the default there was")


class PolicyPatch(Body):
    """The fields to change."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"grace_days": 14, "is_default": True}]})

    name: Name = "-"
    retries: Retries = Field(default_factory=list)
    grace_days: GraceDays = 7
    end_action: EndAction = "cancel"
    is_default: bool = False


class RetryView(View):
    """One retry."""

    after_days: int
    hour: int
    message: str = "reminder"


class PolicyView(View):
    """A policy as it stands."""

    id: str
    name: str
    retries: list[RetryView]
    grace_days: int
    end_action: str
    is_default: bool
    created_at: Instant
    updated_at: Instant


@router.post("/dunning-policies", status_code=201)
async def create_policy(body: PolicyNew, services: ServicesDep, once: OnceDep) -> PolicyView:
    """Create a policy."""
    async with services.database.session() as session:
        if body.is_default:
            await _no_default(session)
        row = await add_once(session, DunningPolicy(id=once.id("dun"), **body.model_dump()))
        return PolicyView.model_validate(row)


@router.get("/dunning-policies")
async def list_policies(services: ServicesDep, query: Annotated[PageQuery, Query()]) -> Listed[PolicyView]:
    """List policies, newest first."""
    async with services.database.session() as session:
        rows = await policies(session, after=query.after(POLICIES), limit=query.limit)
        return listed(rows, POLICIES, PolicyView.model_validate)


@router.get("/dunning-policies/{policy_id}")
async def get_policy(policy_id: PolicyId, services: ServicesDep) -> PolicyView:
    """Read one policy."""
    async with services.database.session() as session:
        return PolicyView.model_validate(found(await policy(session, policy_id), "dunning policy"))


@router.patch("/dunning-policies/{policy_id}")
async def change_policy(policy_id: PolicyId, body: PolicyPatch, services: ServicesDep) -> PolicyView:
    """Change some fields. Dunning that is under way goes on by the policy it started with."""
    async with services.database.session() as session:
        row = found(await policy(session, policy_id), "dunning policy")
        fields = body.model_dump(exclude_unset=True)
        if fields.get("is_default"):
            await _no_default(session)
            await session.refresh(row)
        if replace_fields(row, fields):
            await session.flush()
            await session.refresh(row)
        return PolicyView.model_validate(row)


async def _no_default(session: AsyncSession) -> None:
    await session.execute(update(DunningPolicy).where(DunningPolicy.is_default).values(is_default=False))
