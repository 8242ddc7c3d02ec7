"""Keys for programs, kept by admins: each in a role, for some of its commands where scopes say so, shown once."""

from __future__ import annotations

from typing import Annotated, Any, Final

from fastapi import Path, Query, Response
from pydantic import ConfigDict, Field
from sqlalchemy import func

from api.context import CallerDep, OnceDep, ServicesDep
from api.fields import Body, Code, Identifier, Instant, Name, View
from api.keys import add_key
from api.paging import Listed, PageQuery, listed
from api.routing import ShownOnceRoute, noun
from api.rows import found
from domain.errors import Refused
from domain.roles import COMMANDS, READ, Role
from models.queries_people import API_KEYS, api_key, api_keys

SCOPES_MAX: Final = len({*COMMANDS, READ})

router = noun("API keys")
shown_once = noun("API keys", route_class=ShownOnceRoute)
KeyId = Annotated[Identifier, Path(description="Id of the key")]


class KeyNew(Body):
    """A key. `scopes`: the commands it may give, of those of its role, and `read`; empty is all of them."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"name": "shop", "role": "agent", "scopes": ["read", "create_customer"]}]}
    )

    name: Name
    role: Annotated[Role, Field(strict=False)]
    scopes: Annotated[list[Code], Field(max_length=SCOPES_MAX)] = Field(default_factory=list)


class KeyView(View):
    """What may be shown of a key: never the key. `used_at` is when it was used last, within five minutes."""

    id: str
    name: str
    role: Role
    scopes: list[Any]
    prefix: str
    created_by: str | None
    created_at: Instant
    used_at: Instant | None
    revoked_at: Instant | None


class KeyMade(KeyView):
    """A new key with the key itself, shown once."""

    key: str


@shown_once.post("/api-keys", status_code=201)
async def create_api_key(body: KeyNew, services: ServicesDep, once: OnceDep, caller: CallerDep) -> KeyMade:
    """Make an API key and show it, once."""
    async with services.database.session() as session:
        if await api_key(session, once.id("key")) is not None:  # by an interrupted try of this very request
            raise Refused("shown_once", "This key was made and not shown: revoke it and make another.")
        key, row = await add_key(
            session, body.name, body.role, scopes=frozenset(body.scopes), created_by=caller.name, key_id=once.id("key")
        )
        await session.refresh(row)
        return KeyMade(key=key, **dict(KeyView.model_validate(row)))


@router.get("/api-keys")
async def list_api_keys(services: ServicesDep, query: Annotated[PageQuery, Query()]) -> Listed[KeyView]:
    """List keys, newest first, the revoked ones included."""
    async with services.database.session() as session:
        rows = await api_keys(session, after=query.after(API_KEYS), limit=query.limit)
        return listed(rows, API_KEYS, KeyView.model_validate)


@router.delete("/api-keys/{key_id}", status_code=204)
async def revoke_api_key(key_id: KeyId, services: ServicesDep) -> Response:
    """End a key at once. It stays in the list."""
    async with services.database.session() as session:
        row = found(await api_key(session, key_id), "API key")
        if row.revoked_at is None:
            row.revoked_at = func.now()
    return Response(status_code=204)
