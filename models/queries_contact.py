"""Reads of calls and of letters that staff wish to send."""

from __future__ import annotations

from typing import Final

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from models.contact import PhoneCall
from models.paging import KeyPart, Keyset, Page, page

CALLS: Final = Keyset("phone_calls", (PhoneCall.at, PhoneCall.id))


async def phone_call(session: AsyncSession, call_id: str, *, lock: bool = False) -> PhoneCall | None:
    return await session.get(PhoneCall, call_id, with_for_update=lock or None)


async def phone_calls(
    session: AsyncSession, customer_id: str, *, after: tuple[KeyPart, ...] | None, limit: int
) -> Page[PhoneCall]:
    return await page(
        session, select(PhoneCall).where(PhoneCall.customer_id == customer_id), CALLS, after=after, limit=limit
    )
