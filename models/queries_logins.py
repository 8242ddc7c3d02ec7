"""Reads of customers' logins and of the places they have signed in from."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from models.logins import CustomerLogin, LoginPlace


async def login_of(session: AsyncSession, customer_id: str, *, lock: bool = False) -> CustomerLogin | None:
    return await session.get(CustomerLogin, customer_id, with_for_update=lock or None)


async def login_named(session: AsyncSession, login_key: str, *, lock: bool = False) -> CustomerLogin | None:
    statement = select(CustomerLogin).where(CustomerLogin.login_key == login_key)
    return (await session.scalars(statement.with_for_update() if lock else statement)).one_or_none()


async def last_from(session: AsyncSession, login_key: str, place: str) -> datetime | None:
    """When this login was last signed in with from there."""
    statement = (
        select(LoginPlace.last_at)
        .join(CustomerLogin, CustomerLogin.customer_id == LoginPlace.customer_id)
        .where(CustomerLogin.login_key == login_key, LoginPlace.place == place)
    )
    return await session.scalar(statement)


async def note_place(session: AsyncSession, customer_id: str, place: str, at: datetime) -> None:
    """A right password came from there."""
    written = insert(LoginPlace).values(customer_id=customer_id, place=place, last_at=at)
    await session.execute(
        written.on_conflict_do_update(
            index_elements=[LoginPlace.customer_id, LoginPlace.place], set_={"last_at": written.excluded.last_at}
        )
    )
