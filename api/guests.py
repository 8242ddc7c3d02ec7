"""Verified addresses, and guests who go by them into the customer they are: not by a name, nor by what was typed."""

from __future__ import annotations

from typing import Final

from sqlalchemy.ext.asyncio import AsyncSession

from api.context import Services
from domain.blacklist import email_mark
from domain.errors import Refused
from domain.ids import derive
from models import Customer, CustomerChange, Task
from models.queries_customers import any_customer
from models.queries_merges import verified_alike
from models.session import database_now
from workflows.commands import MergeRequest

GUEST: Final = "guest"
SYSTEM: Final = "system"
NOT_MERGED: Final = "guest_not_merged"  # the kind of the task


async def verify(session: AsyncSession, row: Customer, actor: str) -> None:
    """Note that the address is proved to be theirs."""
    row.verified_email = email_mark(row.email).value
    row.verified_at, row.verified_by = await database_now(session), actor
    session.add(CustomerChange(customer_id=row.id, actor=actor, field="verified_email", old=None, new="yes"))
    await session.flush()
    await session.refresh(row)


async def merge_guests(services: Services, customer_id: str) -> str | None:
    """Merge the guests that this customer's verified address meets; returns whom this one itself went into.

    Both sides have proved the same address. Where several customers have, nobody can tell which one it is: a person
    may merge them. A merge that a rule forbids opens a task; one that was undone is not made again.
    """
    async with services.database.session() as session:
        row = await any_customer(session, customer_id)
        if row is None or row.verified_email is None:
            return None
        alike = await verified_alike(session, row.verified_email)
    masters = [each for each in alike if not each.guest]
    if len(masters) != 1:
        return None
    (master,) = masters
    for guest in alike:
        if guest.guest and customer_id in {guest.id, master.id}:
            await _merge(services, master.id, guest.id)
    async with services.database.session() as session:
        row = await any_customer(session, customer_id)
        return None if row is None else row.merged_into


async def _merge(services: Services, master_id: str, guest_id: str) -> None:
    wish = MergeRequest(derive("mrg", GUEST, guest_id, master_id), master_id, guest_id, SYSTEM, "same address", GUEST)
    try:
        await services.commands.merges.start(wish)
    except Refused as refused:
        async with services.database.session() as session:
            task_id = derive("task", NOT_MERGED, guest_id, master_id)
            if await session.get(Task, task_id) is None:
                session.add(_task(task_id, master_id, guest_id, refused.message))


def _task(task_id: str, master_id: str, guest_id: str, why: str) -> Task:
    return Task(
        id=task_id,
        kind=NOT_MERGED,
        title="A guest is a customer, and could not be merged",
        next_action=f"{guest_id} has the verified address of {master_id}. {why} Merge them when that is settled.",
        customer_id=master_id,
        subject_kind="customer",
        subject_id=guest_id,
        opened_by=SYSTEM,
    )
