"""The merchant's rules as they are set now; what was never set has its default."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncSession

from domain.business import (
    AGENT_RATE_DEFAULT,
    APPROVAL_HOURS_DEFAULT,
    BlacklistRules,
    Consequence,
    DiscountRules,
    DisputeRules,
    RefundRules,
    Running,
)
from domain.papers import Seller
from models.tasks import BusinessPolicy

REFUNDS = "refunds"
DISPUTES = "disputes"
SELLER = "seller"
DISCOUNTS = "discounts"
BLACKLIST = "blacklist"


async def refund_rules(connection: AsyncConnection | AsyncSession) -> RefundRules:
    """Key `refunds`: {"notify": [...], "approval_limits": {"EUR": 10000}, "approval_hours": 48}."""
    value = await _value(connection, REFUNDS)
    return RefundRules(
        notify=tuple(value.get("notify", ())),
        approval_limits=dict(value.get("approval_limits", {})),
        approval_hours=value.get("approval_hours", APPROVAL_HOURS_DEFAULT),
    )


async def dispute_rules(connection: AsyncConnection | AsyncSession) -> DisputeRules:
    """Key `disputes`: {"on_opened": "none", "on_lost": "cancel", "blacklist_on_lost": false}."""
    value, default = await _value(connection, DISPUTES), DisputeRules()
    return DisputeRules(
        on_opened=Consequence(value.get("on_opened", default.on_opened)),
        on_lost=Consequence(value.get("on_lost", default.on_lost)),
        blacklist_on_lost=value.get("blacklist_on_lost", default.blacklist_on_lost),
    )


async def blacklist_rules(connection: AsyncConnection | AsyncSession) -> BlacklistRules:
    """Key `blacklist`: {"email": "keep", "phone": "keep", "address": "keep"}."""
    return blacklist_rules_of(await _value(connection, BLACKLIST))


def blacklist_rules_of(value: Mapping[str, Any]) -> BlacklistRules:
    """From the row as it is set."""
    return BlacklistRules(**{kind: Running(said) for kind, said in value.items()})


async def discount_rules(connection: AsyncConnection | AsyncSession) -> DiscountRules:
    """Key `discounts`: {"agent_rate": 20000, "agent_amounts": {"EUR": 500}}."""
    value = await _value(connection, DISCOUNTS)
    return DiscountRules(value.get("agent_rate", AGENT_RATE_DEFAULT), dict(value.get("agent_amounts", {})))


async def seller(connection: AsyncConnection | AsyncSession) -> Seller:
    """Key `seller`: {"name": "…", "address": ["…"], "tax_id": "…", "email": "…"}."""
    return seller_of(await _value(connection, SELLER))


def seller_of(value: Mapping[str, Any]) -> Seller:
    """From the row as it was set at some time."""
    return Seller(
        name=value.get("name", ""),
        address=tuple(value.get("address", ())),
        tax_id=value.get("tax_id", ""),
        email=value.get("email", ""),
    )


async def _value(connection: AsyncConnection | AsyncSession, key: str) -> dict[str, Any]:
    return await connection.scalar(select(BusinessPolicy.value).where(BusinessPolicy.key == key)) or {}
