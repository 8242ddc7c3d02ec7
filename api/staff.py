"""Who of the merchant may sign in: accounts, one-time passwords, disabling. The API and the command line use it.

Whatever takes something from somebody (role, password, access) ends their sessions in the same transaction.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from datetime import timedelta
from typing import Final

from pydantic import TypeAdapter, ValidationError
from sqlalchemy import delete
from sqlalchemy.ext.asyncio import AsyncSession

from api.fields import Email, Name
from api.passwords import Passwords
from api.sessions import end_all
from domain.errors import InvalidInput, NotFound, Refused
from domain.ids import derive
from domain.roles import Role
from models import Person, RecoveryCode
from models.queries_people import is_key_named, is_named, people, person, person_by_email
from models.session import Database, database_now

ONE_TIME_FOR: Final = timedelta(hours=72)
LISTED_MAX: Final = 1000
BY_COMMAND_LINE: Final = "command line"
ONE_TIME_GROUPS: Final = 4
ONE_TIME_GROUP_LETTERS: Final = 5
_LETTERS: Final = "abcdefghjkmnpqrstuvwxyz23456789"  # none that is read as another one


async def add_person(
    session: AsyncSession, *, person_id: str | None, email: str, name: str, role: Role, by: str
) -> Person:
    """Somebody who cannot sign in yet: a one-time password is made for them later.

    Raises `InvalidInput` where a working API key has the name: on a timeline nobody could tell the two apart.
    """
    if await is_key_named(session, name):
        raise InvalidInput("name", "is that of an API key; on a timeline nobody could tell the two apart")
    person_id = person_id or derive("per", email.casefold())
    row = Person(id=person_id, email=email, name=name, role=role.value, created_by=by)
    session.add(row)
    await session.flush()
    return row


def new_one_time_password() -> str:
    """Twenty random letters and digits, in groups that can be read out: about 99 bits."""
    groups = ("".join(secrets.choice(_LETTERS) for _ in range(ONE_TIME_GROUP_LETTERS)) for _ in range(ONE_TIME_GROUPS))
    return "-".join(groups)


async def set_one_time_password(session: AsyncSession, row: Person, hashed: str) -> None:
    """It holds for `ONE_TIME_FOR`, and only to set another one. Their sessions end."""
    row.password_hash = hashed
    row.password_at = now = await database_now(session)
    row.one_time_until = now + ONE_TIME_FOR
    await end_all(session, row.id, "one_time_password")


async def set_password(session: AsyncSession, row: Person, hashed: str) -> None:
    """Their own, from now on. Every session ends, this one too."""
    row.password_hash, row.one_time_until = hashed, None
    row.password_at = await database_now(session)
    await end_all(session, row.id, "password_changed")


async def change_role(session: AsyncSession, row: Person, role: Role) -> None:
    if row.role != role.value:
        row.role = role.value
        await end_all(session, row.id, "role_changed")


async def disable(session: AsyncSession, row: Person) -> None:
    if row.disabled_at is None:
        row.disabled_at = await database_now(session)
        await end_all(session, row.id, "disabled")


async def forget_second_factor(session: AsyncSession, row: Person) -> None:
    row.totp_secret = row.totp_pending = row.totp_step = None
    await session.execute(delete(RecoveryCode).where(RecoveryCode.person_id == row.id))


async def invite(database: Database, *, email: str, name: str, role: Role) -> str:
    """Somebody new with a one-time password, which is returned and can be seen only here: for the command line.

    Raises `InvalidInput` for an address or a name that will not do, or that somebody has already.
    """
    try:
        email, name = TypeAdapter(Email).validate_python(email), TypeAdapter(Name).validate_python(name.strip())
    except ValidationError as error:
        raise InvalidInput("email or name", error.errors()[0]["msg"]) from None
    password = new_one_time_password()
    hashed = await Passwords().hash(password)
    async with database.session() as session:
        if await person_by_email(session, email) is not None or await is_named(session, name):
            raise InvalidInput("email or name", "somebody has that already", code="already_exists")
        row = await add_person(session, person_id=None, email=email, name=name, role=role, by=BY_COMMAND_LINE)
        await set_one_time_password(session, row, hashed)
    return password


async def let_in_again(database: Database, email: str) -> str:
    """A one-time password for somebody who is shut out: enabled, without a second factor. Raises `NotFound`."""
    password = new_one_time_password()
    hashed = await Passwords().hash(password)
    async with database.session() as session:
        found = await person_by_email(session, email)
        row = await person(session, found.id, lock=True) if found is not None else None
        if row is None:
            raise NotFound(f"there is nobody with the login {email!r}")
        row.disabled_at = None
        await forget_second_factor(session, row)
        await set_one_time_password(session, row, hashed)
    return password


async def everybody(database: Database) -> Sequence[Person]:
    """The first `LISTED_MAX`, newest first."""
    async with database.session() as session:
        return (await people(session, after=None, limit=LISTED_MAX)).rows


def refuse_own(row: Person, caller_id: str) -> None:
    """Raises `Refused`: nobody takes the last admin away by taking themself away."""
    if row.id == caller_id:
        raise Refused("own_account", "This is your own account: another admin does that.")
