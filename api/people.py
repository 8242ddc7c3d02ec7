"""The people who serve customers, kept by admins: who may sign in, in which role."""

from __future__ import annotations

from typing import Annotated, Final

from fastapi import Path, Query, Response
from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from api.context import CallerDep, OnceDep, ServicesDep
from api.fields import Body, Email, Identifier, Instant, Name, View
from api.paging import Listed, PageQuery, listed
from api.routing import ShownOnceRoute, noun
from api.rows import found
from api.sessions import end_all
from api.sign_in import SessionView
from api.staff import (
    add_person,
    change_role,
    disable,
    forget_second_factor,
    new_one_time_password,
    refuse_own,
    set_one_time_password,
)
from domain.errors import Refused
from domain.roles import Role
from models import Person
from models.queries_people import PEOPLE, SESSIONS, people, person, sessions_of

NAME_LENGTH_MAX: Final = 100

router = noun("people")
shown_once = noun("people", route_class=ShownOnceRoute)
PersonId = Annotated[Identifier, Path(description="Id of the person")]


class PersonNew(Body):
    """Somebody new. `name` stands as actor on all they do, so nobody else and no API key has it."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"email": "ann@shop.example", "name": "ann", "role": "agent"}]}
    )

    email: Email
    name: Annotated[Name, StringConstraints(max_length=NAME_LENGTH_MAX)]
    role: Annotated[Role, Field(strict=False)]


class PersonPatch(Body):
    """What may be changed. Another role ends their sessions."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"role": "lead"}]})

    role: Annotated[Role, Field(strict=False)]


class PersonView(BaseModel):
    """A person. `status`: `invited` (no password yet), `must_change` (a one-time one), `active`, `disabled`."""

    id: str
    email: str
    name: str
    role: Role
    status: str
    second_factor: bool
    one_time_until: Instant | None
    signed_in_at: Instant | None
    disabled_at: Instant | None
    created_by: str
    created_at: Instant


class OneTimePassword(View):
    """To be handed over in person. It holds until then, and must be changed at the first sign-in. Shown once."""

    password: str
    one_time_until: Instant | None


@router.post("/people", status_code=201)
async def create_person(body: PersonNew, services: ServicesDep, once: OnceDep, caller: CallerDep) -> PersonView:
    """Add somebody. They can sign in once they were given a one-time password."""
    async with services.database.session() as session:
        row = await person(session, once.id("per"))
        if row is None:
            row = await add_person(
                session,
                person_id=once.id("per"),
                email=body.email,
                name=body.name.strip(),
                role=body.role,
                by=caller.name,
            )
            await session.refresh(row)
        return _view(row)


@router.get("/people")
async def list_people(services: ServicesDep, query: Annotated[PageQuery, Query()]) -> Listed[PersonView]:
    """List people, newest first, the disabled ones included."""
    async with services.database.session() as session:
        rows = await people(session, after=query.after(PEOPLE), limit=query.limit)
        return listed(rows, PEOPLE, _view)


@router.get("/people/{person_id}")
async def get_person(person_id: PersonId, services: ServicesDep) -> PersonView:
    """Read one person."""
    async with services.database.session() as session:
        return _view(found(await person(session, person_id), "person"))


@router.patch("/people/{person_id}")
async def change_person(person_id: PersonId, body: PersonPatch, services: ServicesDep, caller: CallerDep) -> PersonView:
    """Give somebody another role; their sessions end."""
    async with services.database.session() as session:
        row = found(await person(session, person_id, lock=True), "person")
        refuse_own(row, caller.key_id)
        await change_role(session, row, body.role)
        return _view(row)


@shown_once.post("/people/{person_id}/one-time-password", status_code=201)
async def give_one_time_password(person_id: PersonId, services: ServicesDep, caller: CallerDep) -> OneTimePassword:
    """Make a password for somebody new, or who forgot theirs. Their sessions end; it must be changed at once."""
    password = new_one_time_password()
    hashed = await services.passwords.hash(password)
    async with services.database.session() as session:
        row = found(await person(session, person_id, lock=True), "person")
        refuse_own(row, caller.key_id)
        _refuse_disabled(row)
        await set_one_time_password(session, row, hashed)
        return OneTimePassword(password=password, one_time_until=row.one_time_until)


@router.post("/people/{person_id}/disable")
async def disable_person(person_id: PersonId, services: ServicesDep, caller: CallerDep) -> PersonView:
    """Let somebody in no more. Their sessions end at once; what they did stays in their name."""
    async with services.database.session() as session:
        row = found(await person(session, person_id, lock=True), "person")
        refuse_own(row, caller.key_id)
        await disable(session, row)
        return _view(row)


@router.post("/people/{person_id}/enable")
async def enable_person(person_id: PersonId, services: ServicesDep) -> PersonView:
    """Let somebody in again, with the password they had."""
    async with services.database.session() as session:
        row = found(await person(session, person_id, lock=True), "person")
        row.disabled_at = None
        return _view(row)


@router.delete("/people/{person_id}/second-factor", status_code=204)
async def remove_second_factor_of(person_id: PersonId, services: ServicesDep, caller: CallerDep) -> Response:
    """Take the second factor off somebody who lost it. Their sessions end."""
    async with services.database.session() as session:
        row = found(await person(session, person_id, lock=True), "person")
        refuse_own(row, caller.key_id)
        await forget_second_factor(session, row)
        await end_all(session, row.id, "second_factor_removed")
    return Response(status_code=204)


@router.get("/people/{person_id}/sessions")
async def list_person_sessions(
    person_id: PersonId, services: ServicesDep, query: Annotated[PageQuery, Query()]
) -> Listed[SessionView]:
    """The sessions of one person, newest first."""
    async with services.database.session() as session:
        found(await person(session, person_id), "person")
        rows = await sessions_of(session, person_id, after=query.after(SESSIONS), limit=query.limit)
        return listed(rows, SESSIONS, SessionView.model_validate)


@router.delete("/people/{person_id}/sessions", status_code=204)
async def end_person_sessions(person_id: PersonId, services: ServicesDep) -> Response:
    """End all sessions of one person."""
    async with services.database.session() as session:
        found(await person(session, person_id), "person")
        await end_all(session, person_id, "ended_by_admin")
    return Response(status_code=204)


def _refuse_disabled(row: Person) -> None:
    if row.disabled_at is not None:
        raise Refused("disabled", "This person is disabled: enable them first.")


def _view(row: Person) -> PersonView:
    return PersonView(
        id=row.id,
        email=row.email,
        name=row.name,
        role=Role(row.role),
        status=_status(row),
        second_factor=row.totp_secret is not None,
        one_time_until=row.one_time_until,
        signed_in_at=row.signed_in_at,
        disabled_at=row.disabled_at,
        created_by=row.created_by,
        created_at=row.created_at,
    )


def _status(row: Person) -> str:
    if row.disabled_at is not None:
        return "disabled"
    if row.password_hash is None:
        return "invited"
    return "active" if row.one_time_until is None else "must_change"
