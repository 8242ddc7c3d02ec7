"""The merchant's rules over the API: what was set is what refunds and disputes read, and every change is kept."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from api.app import create_app
from api.context import Services
from api.keys import create_key
from domain.business import Consequence, DisputeRules, RefundRules
from domain.roles import Role
from models.queries_business import dispute_rules, refund_rules
from models.session import Database
from tests.api.conftest import Caller

REFUNDS = "/v1/rules/refunds"
DISPUTES = "/v1/rules/disputes"


@pytest.fixture
async def lead(fresh_database: Database) -> AsyncIterator[Caller]:
    """A lead of a shop that never set a rule."""
    services = Services(fresh_database, None, {})  # pyright: ignore[reportArgumentType] - never asked here
    transport = httpx.ASGITransport(create_app(services), raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://api") as client:
        yield Caller(client, await create_key(fresh_database, "lea", Role.LEAD))


async def test_a_shop_that_set_nothing_has_the_defaults(lead: Caller) -> None:
    assert (await lead.get(REFUNDS)).json() == {"notify": [], "approval_limits": {}, "approval_hours": 48}
    assert (await lead.get(DISPUTES)).json() == {
        "on_opened": "none",
        "on_lost": "cancel",
        "blacklist_on_lost": False,
    }
    assert (await lead.get(f"{REFUNDS}/changes")).json()["items"] == []


async def test_what_is_set_is_what_refunds_read(lead: Caller, fresh_database: Database) -> None:
    body = {"notify": ["A@Example.com", "b@example.com"], "approval_limits": {"EUR": 10000, "JPY": 0}}
    answer = await lead.put(REFUNDS, body)
    assert answer.status_code == 200
    assert answer.json() == {
        "notify": ["A@example.com", "b@example.com"],
        "approval_limits": {"EUR": 10000, "JPY": 0},
        "approval_hours": 48,
    }
    assert (await lead.get(REFUNDS)).json() == answer.json()
    async with fresh_database.begin() as connection:
        assert await refund_rules(connection) == RefundRules(
            ("A@example.com", "b@example.com"), {"EUR": 10000, "JPY": 0}, 48
        )


async def test_what_is_set_is_what_disputes_read(lead: Caller, fresh_database: Database) -> None:
    await lead.put(DISPUTES, {"on_opened": "pause", "on_lost": "none", "blacklist_on_lost": True})
    async with fresh_database.begin() as connection:
        assert await dispute_rules(connection) == DisputeRules(Consequence.PAUSE, Consequence.NONE, True)


async def test_every_change_is_kept_with_who_and_from_what_to_what(lead: Caller, fresh_database: Database) -> None:
    first, second = {"approval_hours": 24}, {"approval_hours": 24, "notify": ["a@example.com"]}
    whole: dict[str, Any] = {"notify": [], "approval_limits": {}, "approval_hours": 24}
    await lead.put(REFUNDS, first)
    await lead.put(REFUNDS, first)
    boss = Caller(lead.http, await create_key(fresh_database, "boss"))
    await boss.put(REFUNDS, second)
    await boss.put(DISPUTES, {})
    log = (await lead.get(f"{REFUNDS}/changes")).json()["items"]
    assert [(each["actor"], each["old"], each["new"]) for each in log] == [
        ("boss", whole, whole | second),
        ("lea", None, whole),
    ]
    assert [each["actor"] for each in (await lead.get(f"{DISPUTES}/changes")).json()["items"]] == ["boss"]


@pytest.mark.parametrize("role", [Role.AGENT, Role.OPS])
async def test_rules_are_for_leads(lead: Caller, fresh_database: Database, role: Role) -> None:
    other = Caller(lead.http, await create_key(fresh_database, "other", role))
    for path in (REFUNDS, DISPUTES):
        refused = await other.put(path, {})
        assert (refused.status_code, refused.json()["code"]) == (403, "forbidden_role")
        assert refused.json()["roles"] == ["lead", "admin"]
        assert (await other.get(path)).status_code == 200


BAD: list[tuple[str, dict[str, Any], str]] = [
    (REFUNDS, {"notify": ["nobody"]}, "notify.0"),
    (REFUNDS, {"notify": "a@example.com"}, "notify"),
    (REFUNDS, {"notify": ["a@example.com", "A@example.com"]}, "notify"),
    (REFUNDS, {"notify": [f"a{number}@example.com" for number in range(21)]}, "notify"),
    (REFUNDS, {"approval_limits": {"EUR": -1}}, "approval_limits.EUR"),
    (REFUNDS, {"approval_limits": {"EUR": 10.5}}, "approval_limits.EUR"),
    (REFUNDS, {"approval_limits": {"EUR": "100"}}, "approval_limits.EUR"),
    (REFUNDS, {"approval_limits": {"EUR": None}}, "approval_limits.EUR"),
    (REFUNDS, {"approval_limits": {"eur": 100}}, "approval_limits.eur.[key]"),
    (REFUNDS, {"approval_limits": {"XAU": 100}}, "approval_limits.XAU.[key]"),
    (REFUNDS, {"approval_hours": 0}, "approval_hours"),
    (REFUNDS, {"approval_hours": 721}, "approval_hours"),
    (REFUNDS, {"approval_hours": True}, "approval_hours"),
    (REFUNDS, {"surprise": 1}, "surprise"),
    (DISPUTES, {"on_lost": "shout"}, "on_lost"),
    (DISPUTES, {"on_opened": None}, "on_opened"),
    (DISPUTES, {"blacklist_on_lost": "yes"}, "blacklist_on_lost"),
    (DISPUTES, {"surprise": 1}, "surprise"),
]


@pytest.mark.parametrize(("path", "wrong", "field"), BAD, ids=str)
async def test_a_bad_rule_is_refused_and_nothing_is_set(
    api: Caller, path: str, wrong: dict[str, Any], field: str
) -> None:
    before = (await api.get(path)).json()
    response = await api.put(path, wrong)
    assert (response.status_code, response.json()["errors"][0]["field"]) == (422, field)
    assert (await api.get(path)).json() == before


async def test_there_are_no_other_rules(api: Caller) -> None:
    response = await api.get("/v1/rules/weather/changes")
    assert (response.status_code, response.json()["errors"][0]["field"]) == (422, "key")
