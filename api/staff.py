"""Who of the merchant may sign in: accounts, one-time passwords, disabling. The API and the command line use it.

Whatever takes something from somebody (role, password, access) ends their sessions in the same transaction.
"""

from __future__ import annotations

import secrets
from datetime import timedelta
from typing import Final

from sqlalchemy import delete
from sqlalchemy.ext.asyncio import AsyncSession

from api.sessions import end_all
from domain.errors import InvalidInput, Refused
from domain.ids import derive
from domain.roles import Role
from models import Person, RecoveryCode
from models.queries_people import is_key_named
from models.session import database_now

ONE_TIME_FOR: Final = timedelta(hours=72)
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


async def set_one_time_password(session: AsyncSession, person: Person, hashed: str) -> None:
    """It holds for `ONE_TIME_FOR`, and only to set another one. Their sessions end."""
    person.password_hash = hashed
    person.password_at = now = await database_now(session)
    person.one_time_until = now + ONE_TIME_FOR
    await end_all(session, person.id, "one_time_password")


async def set_password(session: AsyncSession, person: Person, hashed: str) -> None:
    """Their own, from now on. Every session ends, this one too."""
    person.password_hash, person.one_time_until = hashed, None
    person.password_at = await database_now(session)
    await end_all(session, person.id, "password_changed")


async def change_role(session: AsyncSession, person: Person, role: Role) -> None:
    if person.role != role.value:
        person.role = role.value
        await end_all(session, person.id, "role_changed")


async def disable(session: AsyncSession, person: Person) -> None:
    if person.disabled_at is None:
        person.disabled_at = await database_now(session)
        await end_all(session, person.id, "disabled")


async def forget_second_factor(session: AsyncSession, person: Person) -> None:
    person.totp_secret = person.totp_pending = person.totp_step = None
    await session.execute(delete(RecoveryCode).where(RecoveryCode.person_id == person.id))


def refuse_own(person: Person, caller_id: str) -> None:
    """Raises `Refused`: nobody takes the last admin away by taking themself away."""
    if person.id == caller_id:
        raise Refused("own_account", "This is your own account: another admin does that.")
