"""Reads for keys and repeated requests."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from models.access import ApiKey, IdempotencyRecord


async def key_by_digest(session: AsyncSession, digest: str) -> ApiKey | None:
    """The key with that digest, unless revoked."""
    statement = select(ApiKey).where(ApiKey.digest == digest, ApiKey.revoked_at.is_(None))
    return (await session.scalars(statement)).one_or_none()


async def keys(session: AsyncSession) -> Sequence[ApiKey]:
    return (await session.scalars(select(ApiKey).order_by(ApiKey.created_at, ApiKey.id))).all()


async def idempotency_record(session: AsyncSession, caller_id: str, key: str) -> IdempotencyRecord | None:
    return await session.get(IdempotencyRecord, (caller_id, key))
