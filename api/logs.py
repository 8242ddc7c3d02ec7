"""The logs, searched: who gave which command, who looked at whom. They only grow; nothing here writes one."""

from __future__ import annotations

from typing import Annotated, Literal

from fastapi import Query
from pydantic import Field

from api.context import ServicesDep
from api.fields import Code, Identifier, Instant, Name, View
from api.paging import Listed, PageQuery, listed
from api.routing import noun
from models.queries_logs import ACCESS, ACTIVITY, LogFilter, access, activity

router = noun("logs")
CommandName = Annotated[Code, Field(description="Named like the function behind its route, such as `change_customer`")]


class ActivityView(View):
    """A command that came through the API, done or refused: `status` is that of its answer.

    `subject_id` is what its path names besides the customer; `created_id`, what came into being. `replayed`: nothing
    was done, it was the kept answer of an earlier request.
    """

    id: int
    at: Instant
    caller_id: str
    actor: str
    role: str
    command: str
    customer_id: str | None
    subject_id: str | None
    created_id: str | None
    idempotency_key: str | None
    status: int
    replayed: bool


class AccessView(View):
    """A look at a customer, a file that was taken, or a sign-in, from which `address`."""

    id: int
    at: Instant
    kind: str
    caller_id: str | None
    actor: str
    role: str | None
    what: str
    customer_id: str | None
    subject_id: str | None
    address: str | None


class _LogQuery(PageQuery):
    actor: Name | None = None
    customer_id: Identifier | None = None
    subject_id: Identifier | None = None
    command: CommandName | None = None
    since: Instant | None = None
    until: Annotated[Instant | None, Field(description="Not included")] = None

    def wanted(self) -> LogFilter:
        return LogFilter(self.actor, self.customer_id, self.subject_id, self.command, self.since, self.until)


class ActivityQuery(_LogQuery):
    """Which commands."""

    status: Annotated[int | None, Field(ge=100, le=599)] = None


class AccessQuery(_LogQuery):
    """Which looks; `command` is the one that reads, such as `get_customer`."""

    kind: Literal["customer", "file", "sign_in"] | None = None


@router.get("/logs/activity")
async def list_activity(services: ServicesDep, query: Annotated[ActivityQuery, Query()]) -> Listed[ActivityView]:
    """Who gave which command, newest first."""
    async with services.database.session() as session:
        rows = await activity(
            session, query.wanted(), status=query.status, after=query.after(ACTIVITY), limit=query.limit
        )
        return listed(rows, ACTIVITY, ActivityView.model_validate)


@router.get("/logs/access")
async def list_access(services: ServicesDep, query: Annotated[AccessQuery, Query()]) -> Listed[AccessView]:
    """Who looked at whom, took a file or signed in, newest first."""
    async with services.database.session() as session:
        rows = await access(session, query.wanted(), kind=query.kind, after=query.after(ACCESS), limit=query.limit)
        return listed(rows, ACCESS, AccessView.model_validate)
