"""The merchant's rules: when a refund needs a lead and whom to tell, what a dispute leads to; every change is kept."""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal

from fastapi import Query
from pydantic import AfterValidator, ConfigDict, Field, StringConstraints
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from api.context import CallerDep, ServicesDep
from api.fields import Body, Currency, Email, Instant, Minor, View
from api.paging import Listed, PageQuery, listed
from api.percents import Percent, percent_of, rate_of
from api.routing import noun
from domain.business import AGENT_RATE_DEFAULT, APPROVAL_HOURS_DEFAULT, Consequence
from models import BusinessPolicy, BusinessPolicyChange
from models.queries_business import (
    BLACKLIST,
    DISCOUNTS,
    DISPUTES,
    REFUNDS,
    SELLER,
    blacklist_rules,
    discount_rules,
    dispute_rules,
    refund_rules,
    seller,
)
from models.queries_tasks import RULE_CHANGES, rule, rule_changes

NOTIFY_MAX: Final = 20
APPROVAL_HOURS_MAX: Final = 720
SELLER_ADDRESS_LINES_MAX: Final = 6

router = noun("rules")
RunningName = Literal["keep", "stop"]
ConsequenceName = Literal["none", "pause", "cancel"]


def _one_line(value: str) -> str:
    if not value.isprintable():
        raise ValueError("must be one line of printable characters")
    return value


PrintedLine = Annotated[str, StringConstraints(strip_whitespace=True, max_length=80), AfterValidator(_one_line)]


def _each_once(addresses: list[str]) -> list[str]:
    if len({address.lower() for address in addresses}) < len(addresses):
        raise ValueError("names an address twice")
    return addresses


class RefundRulesBody(Body):
    """All rules of refunds, as they are from now on; a refund that was asked for already keeps those it met."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"notify": ["billing@example.com"], "approval_limits": {"EUR": 10000, "JPY": 0}, "approval_hours": 48}
            ]
        }
    )

    notify: Annotated[list[Email], Field(max_length=NOTIFY_MAX), AfterValidator(_each_once)] = Field(
        default_factory=list, description="Told when a refund leaves the queue without success"
    )
    approval_limits: dict[Currency, Minor] = Field(
        default_factory=dict,
        description="A refund above waits for a lead; 0 is every refund; a currency that is not named has no limit",
    )
    approval_hours: Annotated[int, Field(ge=1, le=APPROVAL_HOURS_MAX)] = Field(
        default=APPROVAL_HOURS_DEFAULT, description="How long it waits; then it lapses"
    )


class DisputeRulesBody(Body):
    """All rules of disputes: what an opened and a lost one do to the subscription."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"on_opened": "pause", "blacklist_on_lost": True}]})

    on_opened: ConsequenceName = Consequence.NONE.value
    on_lost: ConsequenceName = Consequence.CANCEL.value
    blacklist_on_lost: bool = False


class DiscountRulesBody(Body):
    """What an agent may give one customer without a lead."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"agent_percent": "10", "agent_amounts": {"EUR": 500}}]})

    agent_percent: Percent = percent_of(AGENT_RATE_DEFAULT)
    agent_amounts: dict[Currency, Minor] = Field(
        default_factory=dict, description="A currency that is not named takes a lead for any amount"
    )


class DiscountRulesView(View):
    """What an agent may give one customer."""

    agent_percent: str
    agent_amounts: dict[str, int]


class BlacklistRulesBody(Body):
    """What becomes of running subscriptions of somebody on the blacklist, by what they are known there."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"email": "stop", "phone": "keep", "address": "keep"}]})

    email: RunningName = "keep"
    phone: RunningName = "keep"
    address: RunningName = "keep"


class BlacklistRulesView(View):
    """These rules as they stand: `keep` bills as before, `stop` charges nothing from the next charge on."""

    email: str
    phone: str
    address: str


class SellerBody(Body):
    """Who the merchant is on invoices. An invoice keeps who it was when it was issued."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "name": "Example Boxes GmbH",
                    "address": ["Lindenstraße 12", "10969 Berlin", "Germany"],
                    "tax_id": "DE136695976",
                    "email": "billing@example.com",
                }
            ]
        }
    )

    name: Annotated[PrintedLine, Field(min_length=1)]
    address: Annotated[list[PrintedLine], Field(max_length=SELLER_ADDRESS_LINES_MAX)] = Field(default_factory=list)
    tax_id: PrintedLine = ""
    email: Email | Literal[""] = ""


class SellerView(View):
    """Who the merchant is on invoices; empty until it is set."""

    name: str
    address: list[str]
    tax_id: str
    email: str


class RefundRulesView(View):
    """The rules of refunds as they stand."""

    notify: list[str]
    approval_limits: dict[str, int]
    approval_hours: int


class DisputeRulesView(View):
    """The rules of disputes as they stand."""

    on_opened: str
    on_lost: str
    blacklist_on_lost: bool


class RuleChangeView(View):
    """One change of a set of rules. `old` is null where it had never been set before."""

    at: Instant
    actor: str
    old: dict[str, Any] | None
    new: dict[str, Any]


@router.get("/rules/refunds")
async def get_refund_rules(services: ServicesDep) -> RefundRulesView:
    """When a refund waits for a lead, for how long, and who is told when one fails for good."""
    async with services.database.session() as session:
        return RefundRulesView.model_validate(await refund_rules(session))


@router.put("/rules/refunds")
async def set_refund_rules(body: RefundRulesBody, services: ServicesDep, caller: CallerDep) -> RefundRulesView:
    """Set all rules of refunds; what is not sent has its default."""
    async with services.database.session() as session:
        await _set(session, REFUNDS, body, caller.name)
        return RefundRulesView.model_validate(await refund_rules(session))


@router.get("/rules/disputes")
async def get_dispute_rules(services: ServicesDep) -> DisputeRulesView:
    """What a dispute leads to."""
    async with services.database.session() as session:
        return DisputeRulesView.model_validate(await dispute_rules(session))


@router.put("/rules/disputes")
async def set_dispute_rules(body: DisputeRulesBody, services: ServicesDep, caller: CallerDep) -> DisputeRulesView:
    """Set all rules of disputes; what is not sent has its default."""
    async with services.database.session() as session:
        await _set(session, DISPUTES, body, caller.name)
        return DisputeRulesView.model_validate(await dispute_rules(session))


@router.get("/rules/discounts")
async def get_discount_rules(services: ServicesDep) -> DiscountRulesView:
    """What an agent may give one customer without a lead."""
    async with services.database.session() as session:
        rules = await discount_rules(session)
        return DiscountRulesView(agent_percent=percent_of(rules.agent_rate), agent_amounts=dict(rules.agent_amounts))


@router.put("/rules/discounts")
async def set_discount_rules(body: DiscountRulesBody, services: ServicesDep, caller: CallerDep) -> DiscountRulesView:
    """Set what an agent may give one customer without a lead."""
    value = {"agent_rate": rate_of(body.agent_percent, "agent_percent"), "agent_amounts": body.agent_amounts}
    async with services.database.session() as session:
        await _set(session, DISCOUNTS, value, caller.name)
    return await get_discount_rules(services)


@router.get("/rules/blacklist")
async def get_blacklist_rules(services: ServicesDep) -> BlacklistRulesView:
    """What becomes of running subscriptions of somebody on the blacklist."""
    async with services.database.session() as session:
        return BlacklistRulesView.model_validate(await blacklist_rules(session))


@router.put("/rules/blacklist")
async def set_blacklist_rules(body: BlacklistRulesBody, services: ServicesDep, caller: CallerDep) -> BlacklistRulesView:
    """Set all of these rules; what is not sent has its default. They hold from the next charge on."""
    async with services.database.session() as session:
        await _set(session, BLACKLIST, body, caller.name)
        return BlacklistRulesView.model_validate(await blacklist_rules(session))


@router.get("/rules/seller")
async def get_seller(services: ServicesDep) -> SellerView:
    """Who the merchant is on invoices."""
    async with services.database.session() as session:
        return SellerView.model_validate(await seller(session))


@router.put("/rules/seller")
async def set_seller(body: SellerBody, services: ServicesDep, caller: CallerDep) -> SellerView:
    """Set who the merchant is on invoices issued from now on."""
    async with services.database.session() as session:
        await _set(session, SELLER, body, caller.name)
        return SellerView.model_validate(await seller(session))


@router.get("/rules/{key}/changes")
async def list_rule_changes(
    key: Literal["refunds", "disputes", "blacklist", "seller", "discounts"],
    services: ServicesDep,
    query: Annotated[PageQuery, Query()],
) -> Listed[RuleChangeView]:
    """Who changed these rules, from what to what, newest first."""
    async with services.database.session() as session:
        rows = await rule_changes(session, key, after=query.after(RULE_CHANGES), limit=query.limit)
        return listed(rows, RULE_CHANGES, RuleChangeView.model_validate)


async def _set(session: AsyncSession, key: str, body: Body | dict[str, Any], actor: str) -> None:
    """Keep the rules and the line of the log; the same rules again leave no trace."""
    value = body.model_dump() if isinstance(body, Body) else body
    missing = insert(BusinessPolicy).values(key=key, value={}, updated_by=actor).on_conflict_do_nothing()
    await session.execute(missing)  # so that there is a row to lock, and two who set rules at once follow one another
    row = await rule(session, key)
    if row is not None and row.value != value:
        session.add(BusinessPolicyChange(key=key, actor=actor, old=row.value or None, new=value))
        row.value, row.updated_by = value, actor
        await session.flush()
