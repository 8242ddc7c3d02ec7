"""One POST, one effect: whether a request is the first of its key, a repetition, or another one under a used key.

The first claims the key and works; its answer is kept. The same request again gets that answer; another one under
the same key is refused. A crash in the middle frees the key when the claim runs out, and since the ids of all that
is created come from the key (`Once.id`), the repetition finds what the first had already done.

Answers are kept for `KEPT`; each new key takes a few of the older ones away, so the table needs no cleaning.

422 and 5xx answers are not kept: after the first nothing was done and the key may be used for the corrected
request; after the second the same request may be sent again.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Final
from urllib.parse import quote

from fastapi import Request
from fastapi.responses import Response
from sqlalchemy import Delete, Update, delete, func, literal, select, tuple_, update
from sqlalchemy.dialects.postgresql import insert

from api.errors import PROBLEM_JSON, Busy
from api.keys import Caller
from domain.errors import InvalidInput
from domain.ids import derive
from models import IdempotencyRecord
from models.queries_access import idempotency_record
from models.session import Database

HEADER: Final = "Idempotency-Key"
REPLAYED: Final = "Idempotent-Replayed"
KEY_LENGTH_MAX: Final = 255
KEPT: Final = timedelta(hours=72)
SWEPT_PER_CLAIM_MAX: Final = 5  # more than one, or what was left over once would stay for ever
CLAIM_MAX: Final = timedelta(seconds=90)  # above any request's time, so two never work on one key

_UNPROCESSABLE: Final = 422
_SERVER_ERROR: Final = 500


@dataclass(frozen=True, slots=True)
class Once:
    """The identity of one POST: whose key, which key."""

    caller: str
    key: str

    def id(self, prefix: str) -> str:
        """The id of what this request creates: the same whenever it is repeated."""
        return derive(prefix, self.caller, self.key)


@dataclass(frozen=True, slots=True)
class Asked:
    """A POST as far as repeating it goes: whether route and digest are the same."""

    once: Once
    route: str
    digest: str


def asked(request: Request, caller: Caller, digest: str) -> Asked:
    """Raises `InvalidInput` naming the header where it is missing or not 1 to 255 visible ASCII characters."""
    key = request.headers.get(HEADER)
    if key is None:
        raise InvalidInput(HEADER, "every POST needs this header", code="idempotency_key_required")
    if not 1 <= len(key) <= KEY_LENGTH_MAX or not all("!" <= character <= "~" for character in key):
        raise InvalidInput(HEADER, f"is 1 to {KEY_LENGTH_MAX} visible ASCII characters", code="idempotency_key_invalid")
    # Quoted, for the path comes decoded and may hold what a column of text does not take.
    route = f"{request.method} {quote(request.url.path)}?{request.url.query}"
    return Asked(Once(caller.key_id, key), route, digest)


async def claim(database: Database, what: Asked) -> Response | None:
    """None: this request is to be worked on. A response: it was, and that was the answer.

    Raises `InvalidInput` for a key used for something else, `Busy` while the first is at work.
    """
    until = func.now() + literal(CLAIM_MAX)
    mine = (
        insert(IdempotencyRecord)
        .values(caller_id=what.once.caller, key=what.once.key, route=what.route, digest=what.digest, locked_until=until)
        .on_conflict_do_update(
            index_elements=[IdempotencyRecord.caller_id, IdempotencyRecord.key],
            set_={"locked_until": until},
            where=(
                IdempotencyRecord.status.is_(None)
                & (IdempotencyRecord.locked_until <= func.now())
                & (IdempotencyRecord.digest == what.digest)
                & (IdempotencyRecord.route == what.route)
            ),
        )
        .returning(IdempotencyRecord.key)
    )
    async with database.session() as session:
        if await session.scalar(mine) is not None:
            await session.execute(_sweep())
            return None
        record = await idempotency_record(session, what.once.caller, what.once.key)
    if record is None:  # freed between the two statements: as good as busy, the caller repeats
        raise Busy("The first request with this key has only just ended; repeat it.")
    if (record.digest, record.route) != (what.digest, what.route):
        raise InvalidInput(HEADER, "this key was used for another request", code="idempotency_key_reused")
    if record.status is None:
        raise Busy("The first request with this key is still at work; repeat it in a moment.")
    media = PROBLEM_JSON if record.status >= 400 else "application/json"  # noqa: PLR2004 - where HTTP's errors begin
    return Response(record.body, record.status, {REPLAYED: "true"}, media)


def _sweep() -> Delete:
    """Take some answers away that are older than `KEPT`; one in use, or in other hands, is left alone."""
    old = (
        select(IdempotencyRecord.caller_id, IdempotencyRecord.key)
        .where(IdempotencyRecord.created_at < func.now() - literal(KEPT), IdempotencyRecord.locked_until < func.now())
        .order_by(IdempotencyRecord.created_at)
        .limit(SWEPT_PER_CLAIM_MAX)
        .with_for_update(skip_locked=True)
        .cte("old")
    )
    return delete(IdempotencyRecord).where(
        tuple_(IdempotencyRecord.caller_id, IdempotencyRecord.key).in_(select(old.c.caller_id, old.c.key))
    )


async def intend(database: Database, once: Once, intention: str) -> str:
    """What the first try of this request meant to do; this is the first one where nothing was noted yet.

    For what is said relative to the moment ("30 days further"): a repetition must mean the same as the first try.
    """
    noted = (
        update(IdempotencyRecord)
        .where(IdempotencyRecord.caller_id == once.caller, IdempotencyRecord.key == once.key)
        .values(body=func.coalesce(IdempotencyRecord.body, intention))
        .returning(IdempotencyRecord.body)
    )
    async with database.begin() as connection:
        return (await connection.execute(noted)).scalar_one() or intention


def settled(what: Asked, response: Response) -> Delete | Update:
    """The statement that keeps the answer, or frees the key (see above)."""
    record = (IdempotencyRecord.caller_id == what.once.caller) & (IdempotencyRecord.key == what.once.key)
    if response.status_code == _UNPROCESSABLE:
        return delete(IdempotencyRecord).where(record)
    if response.status_code >= _SERVER_ERROR:
        # The row stays, and with it the digest: part of the work may be done under ids made from this key.
        return update(IdempotencyRecord).where(record).values(locked_until=func.now())
    body = bytes(response.body).decode()
    return update(IdempotencyRecord).where(record).values(status=response.status_code, body=body)
