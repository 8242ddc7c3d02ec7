"""Notes on a customer: internal ones for staff, public ones that the customer may read; nothing said is ever lost."""

from __future__ import annotations

import unicodedata
from typing import Annotated, Final, Literal

from fastapi import Path, Query, Response
from pydantic import AfterValidator, ConfigDict, StringConstraints

from api.context import CallerDep, OnceDep, ServicesDep
from api.customers import CustomerId
from api.fields import Body, Identifier, Instant, View
from api.paging import Listed, PageQuery, listed
from api.routing import noun
from api.rows import found
from domain.errors import Refused
from models import Note, NoteVersion
from models.queries_customers import customer
from models.queries_relations import NOTES, note, note_versions, notes
from models.session import database_now

NOTE_LENGTH_MAX: Final = 10_000
VERSIONS_MAX: Final = 100

router = noun("notes")
NoteId = Annotated[Identifier, Path(description="Id of the note")]
Visibility = Literal["internal", "public"]


def plain(text: str) -> str:
    """Lines of text: of control characters only the line feed and the tab."""
    if any(unicodedata.category(character) in {"Cc", "Cs"} and character not in "\n\t" for character in text):
        raise ValueError("must be text; of control characters only line feeds and tabs")
    return text


Text = Annotated[str, StringConstraints(min_length=1, max_length=NOTE_LENGTH_MAX, pattern=r"\S"), AfterValidator(plain)]


class NoteNew(Body):
    """A note to be. `internal` is never shown to the customer; `public` is."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"visibility": "internal", "text": "Prefers to be called after six."}]}
    )

    text: Text
    visibility: Visibility = "internal"


class NotePatch(Body):
    """What to change; what is not sent stays."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"text": "Prefers to be called after seven."}]})

    text: Text = "-"
    visibility: Visibility = "internal"


class NoteView(View):
    """A note as it stands. `version` counts its wordings."""

    id: str
    customer_id: str
    visibility: str
    text: str
    version: int
    author: str
    created_at: Instant
    edited_by: str | None
    edited_at: Instant | None
    removed_by: str | None
    removed_at: Instant | None


class NoteVersionView(View):
    """One wording of a note, and who wrote it so."""

    version: int
    visibility: str
    text: str
    author: str
    at: Instant


class NoteQuery(PageQuery):
    """Which notes: those that stand, unless `removed`."""

    visibility: Visibility | None = None
    removed: bool = False


@router.post("/customers/{customer_id}/notes", status_code=201)
async def add_note(
    customer_id: CustomerId, body: NoteNew, services: ServicesDep, once: OnceDep, caller: CallerDep
) -> NoteView:
    """Write a note."""
    async with services.database.session() as session:
        found(await customer(session, customer_id), "customer")
        row = await note(session, customer_id, once.id("note"))
        if row is None:
            row = Note(
                id=once.id("note"),
                customer_id=customer_id,
                visibility=body.visibility,
                text=body.text,
                version=1,
                author=caller.name,
            )
            session.add(row)
            await session.flush()
            session.add(_version(row, caller.name))
            await session.flush()
        return NoteView.model_validate(row)


@router.get("/customers/{customer_id}/notes")
async def list_notes(
    customer_id: CustomerId, services: ServicesDep, query: Annotated[NoteQuery, Query()]
) -> Listed[NoteView]:
    """The notes on a customer, newest first."""
    async with services.database.session() as session:
        found(await customer(session, customer_id), "customer")
        rows = await notes(
            session,
            customer_id,
            visibility=query.visibility,
            removed=query.removed,
            after=query.after(NOTES),
            limit=query.limit,
        )
        return listed(rows, NOTES, NoteView.model_validate)


@router.patch("/customers/{customer_id}/notes/{note_id}")
async def edit_note(
    customer_id: CustomerId, note_id: NoteId, body: NotePatch, services: ServicesDep, caller: CallerDep
) -> NoteView:
    """Change its text or who may read it. The wording before is kept."""
    async with services.database.session() as session:
        row = found(await note(session, customer_id, note_id, lock=True), "note")
        if row.removed_at is not None:
            raise Refused("note_removed", f"This note was removed by {row.removed_by}; write another one.")
        wanted = {name: getattr(body, name) for name in body.model_fields_set}
        if any(getattr(row, name) != value for name, value in wanted.items()):
            if row.version >= VERSIONS_MAX:
                raise Refused("too_many", f"A note has at most {VERSIONS_MAX} wordings; write another one.")
            for name, value in wanted.items():
                setattr(row, name, value)
            row.version += 1
            row.edited_by, row.edited_at = caller.name, await database_now(session)
            session.add(_version(row, caller.name))
            await session.flush()
        return NoteView.model_validate(row)


@router.delete("/customers/{customer_id}/notes/{note_id}", status_code=204)
async def remove_note(customer_id: CustomerId, note_id: NoteId, services: ServicesDep, caller: CallerDep) -> Response:
    """Take a note off. It stays among the removed ones, with who did it."""
    async with services.database.session() as session:
        row = found(await note(session, customer_id, note_id, lock=True), "note")
        if row.removed_at is None:
            row.removed_at, row.removed_by = await database_now(session), caller.name
    return Response(status_code=204)


@router.get("/customers/{customer_id}/notes/{note_id}/versions")
async def list_note_versions(
    customer_id: CustomerId, note_id: NoteId, services: ServicesDep
) -> Listed[NoteVersionView]:
    """Every wording of a note, newest first."""
    async with services.database.session() as session:
        row = found(await note(session, customer_id, note_id), "note")
        return Listed(items=[NoteVersionView.model_validate(each) for each in await note_versions(session, row.id)])


def _version(row: Note, author: str) -> NoteVersion:
    return NoteVersion(note_id=row.id, version=row.version, visibility=row.visibility, text=row.text, author=author)
