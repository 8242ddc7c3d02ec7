"""Passwords of members, checked for the merchant's site: whether somebody may sign in there now, and no more than that.

The site asks; it never reads a password or its hash. A name that is not there and a wrong password get the same
answer, after the same work. Wrong tries are counted by `domain.lockout`, so guessing is slow and nobody can lock
somebody else out.
"""

from __future__ import annotations

import hashlib
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, StringConstraints
from sqlalchemy.ext.asyncio import AsyncSession

from api.context import CallerDep, Services, ServicesDep
from api.customer_logins import Password, give_password, standing
from api.fields import Body, Instant, Name
from api.routing import SecretRoute, noun
from api.tries import HeldBack, Try, count, succeeded, take_off
from domain.errors import InvalidInput, Refused
from domain.lockout import KNOWN_FOR
from domain.logins import Answer, judge, login_key
from domain.passwords import accept_password, normal
from models import Customer, CustomerLogin
from models.queries_customers import any_customer
from models.queries_logins import last_from, login_named, note_place
from models.session import database_now

router = noun("membership", route_class=SecretRoute)
Place = Annotated[
    str,
    StringConstraints(min_length=1, max_length=200),
    Field(
        description="Who tries, as the site can tell: the token of a device that has signed in before, or an address"
    ),
]


class CheckBody(Body):
    """What somebody typed at the site, and from where."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"login": "ada.byron", "password": "seven kites over Bergen", "place": "203.0.113.9"}]
        }
    )

    login: Name
    password: Password
    place: Place


class ChangeBody(CheckBody):
    """The password as it is, and the one to come."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "login": "ada.byron",
                    "password": "seven kites over Bergen",
                    "new_password": "eight boats off Bergen",
                    "place": "203.0.113.9",
                }
            ]
        }
    )

    new_password: Password


class CheckView(BaseModel):
    """`valid`: this customer may sign in now. Else `answer` says why not; what it is about is told to nobody who does
    not have the right password.
    """

    valid: bool
    answer: Answer
    customer_id: str | None = None
    session_version: int | None = Field(default=None, description="Keep it with the session; another one ends it")
    disabled_until: Instant | None = Field(default=None, description="With `disabled`; null is for good")
    wait_s: int | None = Field(default=None, description="With `wait`: seconds until a try is looked at")


@router.post("/membership/check")
async def check_membership(body: CheckBody, services: ServicesDep) -> CheckView:
    """Whether this name and password may sign in now. Only `valid` lets anybody in."""
    view, _ = await _checked(services, body)
    return view


@router.post("/membership/change-password")
async def change_membership_password(body: ChangeBody, services: ServicesDep, caller: CallerDep) -> CheckView:
    """Change a password with the one before: what a forced change asks for. Open sessions end."""
    accept_password(body.new_password, login=body.login, field="new_password")
    if normal(body.new_password) == normal(body.password):
        raise InvalidInput("new_password", "is another one than before", code="password_unchanged")
    view, before = await _checked(services, body)
    if view.customer_id is None or before is None or view.answer not in {Answer.OK, Answer.MUST_CHANGE}:
        return view
    kept = await services.passwords.hash(body.new_password)
    async with services.database.session() as session:
        owner = await any_customer(session, view.customer_id, lock=True)
        row = await login_named(session, login_key(body.login), lock=True)
        if owner is None or row is None or row.password_hash != before:
            raise Refused("password_changed", "This password was changed in the meantime.")
        accept_password(body.new_password, login=body.login, names=_names(owner), field="new_password")
        await give_password(session, row, kept, must_change=False, actor=caller.name)
        await session.flush()
        answer = judge(standing(row), await database_now(session), right=True)
        return _view(row, answer)


async def _checked(services: Services, body: CheckBody) -> tuple[CheckView, str | None]:
    """The answer, and the hash that the password was compared with."""
    key, place = login_key(body.login), hashlib.sha256(body.place.encode()).hexdigest()
    async with services.database.session() as session:
        now = await database_now(session)
        last = await last_from(session, key, place)
        tried = Try(f"member:{key}", place, known=last is not None and now - last < KNOWN_FOR)
        held = await count(session, tried)
        row = await login_named(session, key)
        kept = row.password_hash if row is not None else None
    if held is not None:
        return _held(held), None
    right = await services.passwords.matches(kept, body.password)
    async with services.database.session() as session:
        return await _answered(session, key, tried, kept, right=right), kept


async def _answered(session: AsyncSession, key: str, tried: Try, kept: str | None, *, right: bool) -> CheckView:
    """What it comes to as things stand now: while it was compared, the login may have been disabled."""
    row = await login_named(session, key, lock=True)
    if not right or row is None or row.password_hash != kept:
        return CheckView(valid=False, answer=Answer.WRONG)
    now = await database_now(session)
    answer = judge(standing(row), now, right=True)
    if answer is Answer.OK:
        await succeeded(session, tried)
        await note_place(session, row.customer_id, tried.place, now)
    else:
        await take_off(session, tried)
    return _view(row, answer)


def _view(row: CustomerLogin, answer: Answer) -> CheckView:
    disabled = answer is Answer.DISABLED
    return CheckView(
        valid=answer is Answer.OK,
        answer=answer,
        customer_id=row.customer_id,
        session_version=row.session_version if answer is Answer.OK else None,
        disabled_until=row.disabled_until if disabled else None,
    )


def _held(held: HeldBack) -> CheckView:
    return CheckView(valid=False, answer=Answer.WAIT, wait_s=held.wait_s)


def _names(owner: Customer) -> tuple[str, ...]:
    return owner.email, owner.first_name, owner.last_name, owner.company
