"""Refunds through HTTP alone: asked for, queued, approved, changed, taken out; and every refusal."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import httpx
import pytest

from api.keys import create_key
from domain.roles import Role
from tests.api.conftest import Caller
from tests.refund_shop import MONDAY, Sale, Till
from tests.stack_fixtures import Shop, at

WHY = {"reason": "arrived damaged"}


@dataclass(frozen=True)
class Desk:
    """Who sits at it, and the till behind."""

    agent: Caller
    lead: Caller
    other_lead: Caller
    till: Till

    async def opened(self, sale: Sale, body: dict[str, Any], *, by: Caller | None = None) -> dict[str, Any]:
        response = await (by or self.agent).post(f"/v1/charges/{sale.attempt}/refunds", body)
        assert response.status_code == 201, response.text
        return response.json()

    async def charge(self, sale: Sale) -> dict[str, Any]:
        return (await self.agent.get(f"/v1/charges/{sale.attempt}")).json()


@pytest.fixture(scope="module")
async def desk(shop: Shop) -> AsyncIterator[Desk]:
    keys = [
        await create_key(shop.database, name, role)
        for name, role in (("anna", Role.AGENT), ("lena", Role.LEAD), ("lars", Role.LEAD))
    ]
    async with httpx.AsyncClient(base_url=shop.stack.api_url, timeout=60, trust_env=False) as http:
        agent, lead, other = (Caller(http, key) for key in keys)
        yield Desk(agent, lead, other, Till(shop))


@pytest.fixture
async def limit(desk: Desk) -> AsyncIterator[None]:
    """Above five dollars a lead is needed, within a day."""
    rules = {"approval_limits": {"USD": 500}, "approval_hours": 24}
    assert (await desk.lead.put("/v1/rules/refunds", rules)).status_code == 200
    yield
    await desk.lead.put("/v1/rules/refunds", {})


def refused(response: httpx.Response) -> tuple[int, str, list[str]]:
    problem = response.json()
    return response.status_code, problem["code"], problem["allowed"]


@pytest.mark.stack
@pytest.mark.timeout(180)
async def test_a_settled_charge_goes_back_in_two_parts_and_never_above(desk: Desk) -> None:
    sale = await desk.till.sale(amount=1000)
    path = f"/v1/charges/{sale.attempt}/refunds"
    before = await desk.charge(sale)
    assert (before["settlement"], before["returned"], before["refundable"]) == ("settled", 0, 1000)
    first = await desk.agent.post(path, {"amount": 300, **WHY}, key="part-one")
    shown = first.json()
    assert (first.status_code, shown["status"], shown["kind"], shown["amount"]) == (201, "succeeded", "refund", 300)
    assert (shown["actor"], shown["reason"], shown["allowed"]) == ("anna", "arrived damaged", [])
    assert [each["status"] for each in shown["tries"]] == ["succeeded"]
    assert [each["kind"] for each in shown["events"]] == ["requested", "given_back"]
    assert (shown["credit_note"]["amount"], shown["credit_note"]["disposition"]) == (300, "refund")
    again = await desk.agent.post(path, {"amount": 300, **WHY}, key="part-one")
    assert again.json() == shown
    assert (await desk.charge(sale))["refundable"] == 700
    above = await desk.agent.post(path, {"amount": 701, **WHY})
    assert refused(above) == (409, "exceeds_refundable", ["refunds"])
    assert "7.00 USD" in above.json()["detail"]
    rest = await desk.opened(sale, WHY)
    assert rest["amount"] == 700
    after = await desk.charge(sale)
    assert (after["returned"], after["refundable"]) == (1000, 0)
    found = (await desk.agent.get("/v1/refunds", charge_id=sale.attempt)).json()["items"]
    assert {each["id"] for each in found} == {rest["id"], shown["id"]}
    await desk.till.audit(sale)


@pytest.mark.stack
@pytest.mark.timeout(180)
async def test_an_unsettled_charge_is_voided_in_full_or_given_back_from_its_invoice(desk: Desk) -> None:
    sale = await desk.till.sale(settled=False)
    early = await desk.agent.post(f"/v1/charges/{sale.attempt}/refunds", WHY)
    assert refused(early) == (409, "not_settled", ["void", "give-back"])
    part = await desk.agent.post(f"/v1/invoices/{sale.invoice}/give-back", {"amount": 400, **WHY})
    assert refused(part) == (409, "partial_unsettled", ["void", "give-back"])
    voided = await desk.agent.post(f"/v1/charges/{sale.attempt}/void", WHY)
    assert (voided.status_code, voided.json()["status"], voided.json()["kind"]) == (201, "succeeded", "void")
    shown = await desk.charge(sale)
    assert (shown["settlement"], shown["refundable"]) == ("voided", 0)
    twice = await desk.agent.post(f"/v1/invoices/{sale.invoice}/give-back", WHY)
    assert refused(twice)[:2] == (409, "already_voided")
    overtaken = await desk.till.sale(settled=False)
    await desk.till.script(overtaken, voids=["settles_first"])
    given = (await desk.agent.post(f"/v1/invoices/{overtaken.invoice}/give-back", WHY)).json()
    assert (given["status"], given["kind"], given["void_first"]) == ("succeeded", "refund", True)
    assert [(each["kind"], each["code"]) for each in given["tries"]] == [("void", "already_settled"), ("refund", None)]
    late = await desk.agent.post(f"/v1/charges/{overtaken.attempt}/void", WHY)
    assert refused(late) == (409, "exceeds_refundable", [])


@pytest.mark.stack
@pytest.mark.timeout(180)
async def test_the_queue_is_seen_tried_changed_and_emptied_by_hand(desk: Desk, shop: Shop) -> None:
    sale = await desk.till.sale()
    other = await shop.card(sale.customer, "tok_ok_visa")
    await desk.till.script(sale, refunds=["fail:busy", "fail:busy", "fail:closed_account"])
    queued = await desk.opened(sale, {"amount": 400, **WHY})
    path = f"/v1/refunds/{queued['id']}"
    assert (queued["status"], queued["allowed"]) == ("queued", ["try-now", "use-method", "take-out"])
    assert queued["next_try_at"] is not None
    mine = {"customer_id": sale.customer}
    queue = (await desk.agent.get("/v1/refunds", status="queued", **mine)).json()["items"]
    assert [each["id"] for each in queue] == [queued["id"]]
    assert (await desk.agent.get("/v1/refunds", status="succeeded", **mine)).json()["items"] == []
    assert len((await desk.agent.get("/v1/refunds", mode="test", **mine)).json()["items"]) == 1
    assert (await desk.agent.get("/v1/refunds", mode="live", **mine)).json()["items"] == []
    tried = (await desk.agent.post(f"{path}/try-now")).json()
    assert (tried["status"], tried["retries"], tried["next_try_at"]) == ("queued", 0, queued["next_try_at"])
    wrong = await desk.lead.post(f"{path}/approve")
    assert refused(wrong) == (409, "not_awaiting_approval", ["try-now", "use-method", "take-out"])
    moved = (await desk.agent.post(f"{path}/advance", {"days": 1})).json()
    assert (moved["status"], moved["retries"]) == ("queued", 1)
    changed = (await desk.agent.post(f"{path}/use-method", {"payment_method_id": other})).json()
    assert (changed["status"], changed["payment_method_id"]) == ("succeeded", other)
    assert [each["trigger"] for each in changed["tries"]] == ["request", "manual", "retry", "manual"]
    over = await desk.agent.post(f"{path}/take-out", WHY)
    assert refused(over) == (409, "refund_ended", [])
    assert refused(await desk.agent.post(f"{path}/advance", {"days": 1})) == (409, "refund_ended", [])
    await desk.till.script(sale, refunds=["fail:busy"])
    second = await desk.opened(sale, {"amount": 500, **WHY})
    out = (await desk.agent.post(f"/v1/refunds/{second['id']}/take-out", {"reason": "keeps it after all"})).json()
    assert (out["status"], out["events"][-1]["reason"]) == ("canceled", "keeps it after all")
    assert (await desk.charge(sale))["refundable"] == 600
    await desk.till.audit(sale)


@pytest.mark.stack
@pytest.mark.timeout(180)
@pytest.mark.usefixtures("limit")
async def test_above_the_limit_another_lead_decides(desk: Desk) -> None:
    sale = await desk.till.sale(amount=3000)
    small = await desk.opened(sale, {"amount": 500, **WHY})
    assert small["status"] == "succeeded"
    waiting = await desk.opened(sale, {"amount": 501, **WHY})
    path = f"/v1/refunds/{waiting['id']}"
    assert (waiting["status"], waiting["allowed"]) == ("awaiting_approval", ["approve", "decline", "take-out"])
    assert waiting["approval_deadline"] is not None
    for command, body in (("approve", None), ("decline", WHY)):
        agent = await desk.agent.post(f"{path}/{command}", body)
        assert (agent.status_code, agent.json()["code"]) == (403, "forbidden_role")
        assert agent.json()["roles"] == ["lead", "admin"]
    approved = (await desk.lead.post(f"{path}/approve", {"reason": "seen the photo"})).json()
    assert (approved["status"], approved["approved_by"]) == ("succeeded", "lena")
    own = await desk.opened(sale, {"amount": 600, **WHY}, by=desk.lead)
    mine = await desk.lead.post(f"/v1/refunds/{own['id']}/approve")
    assert refused(mine) == (409, "own_request", ["approve", "decline", "take-out"])
    declined = (await desk.other_lead.post(f"/v1/refunds/{own['id']}/decline", {"reason": "too much"})).json()
    assert (declined["status"], declined["events"][-1]["actor"]) == ("canceled", "lars")
    left = await desk.opened(sale, {"amount": 700, **WHY})
    lapsed = (await desk.agent.post(f"/v1/refunds/{left['id']}/advance", {"days": 2})).json()
    assert (lapsed["status"], lapsed["approved_by"]) == ("lapsed", None)
    assert (await desk.charge(sale))["returned"] == 1001
    await desk.till.audit(sale)


@pytest.mark.stack
@pytest.mark.timeout(180)
async def test_a_refund_moves_to_a_moment_only_forward(desk: Desk) -> None:
    sale = await desk.till.sale()
    await desk.till.script(sale, refunds=["fail:busy"])
    queued = await desk.opened(sale, WHY)
    path = f"/v1/refunds/{queued['id']}/advance"
    before = at(MONDAY, 9) - timedelta(days=30)
    for body, field in (
        ({"to": before.isoformat()}, "to"),
        ({}, "days"),
        ({"days": 1, "months": 1}, "days"),
        ({"days": 0}, "days"),
    ):
        response = await desk.agent.post(path, body)
        assert (response.status_code, response.json()["errors"][0]["field"]) == (422, field)
    first = await desk.agent.post(path, {"months": 1}, key="a-month")
    assert first.json()["status"] == "succeeded"
    assert (await desk.agent.post(path, {"months": 1}, key="a-month")).json() == first.json()


CHARGE, INVOICE, REFUND = "/v1/charges/att_x", "/v1/invoices/inv_x", "/v1/refunds/re_x"
BAD: list[tuple[str, Any, str]] = [
    (f"{CHARGE}/refunds", {}, "reason"),
    (f"{CHARGE}/refunds", {"reason": " "}, "reason"),
    (f"{CHARGE}/refunds", {"reason": "x" * 501}, "reason"),
    (f"{CHARGE}/refunds", {"reason": "a\nb"}, "reason"),
    (f"{CHARGE}/refunds", WHY | {"amount": 0}, "amount"),
    (f"{CHARGE}/refunds", WHY | {"amount": -1}, "amount"),
    (f"{CHARGE}/refunds", WHY | {"amount": 5.0}, "amount"),
    (f"{CHARGE}/refunds", WHY | {"amount": "5"}, "amount"),
    (f"{CHARGE}/refunds", WHY | {"amount": True}, "amount"),
    (f"{CHARGE}/refunds", WHY | {"amount": 10**16}, "amount"),
    (f"{CHARGE}/refunds", WHY | {"payment_method_id": "a/../b"}, "payment_method_id"),
    (f"{CHARGE}/refunds", WHY | {"actor": "somebody"}, "actor"),
    (f"{CHARGE}/void", {}, "reason"),
    (f"{CHARGE}/void", WHY | {"amount": 5}, "amount"),
    (f"{INVOICE}/give-back", {}, "reason"),
    (f"{INVOICE}/give-back", WHY | {"amount": 0}, "amount"),
    (f"{REFUND}/approve", {"actor": "somebody"}, "actor"),
    (f"{REFUND}/decline", {}, "reason"),
    (f"{REFUND}/decline", {"reason": ""}, "reason"),
    (f"{REFUND}/try-now", {"reason": 5}, "reason"),
    (f"{REFUND}/use-method", {}, "payment_method_id"),
    (f"{REFUND}/use-method", {"payment_method_id": None}, "payment_method_id"),
    (f"{REFUND}/take-out", {}, "reason"),
    (f"{REFUND}/advance", {"days": "1"}, "days"),
]


@pytest.mark.parametrize(("path", "body", "field"), BAD, ids=str)
async def test_a_bad_wish_is_refused(api: Caller, path: str, body: Any, field: str) -> None:
    response = await api.post(path, body)
    assert (response.status_code, response.json()["errors"][0]["field"]) == (422, field)


@pytest.mark.parametrize(
    ("path", "body"),
    [
        (f"{CHARGE}/refunds", WHY),
        (f"{CHARGE}/void", WHY),
        (f"{INVOICE}/give-back", WHY),
        (f"{REFUND}/approve", None),
        (f"{REFUND}/decline", WHY),
        (f"{REFUND}/try-now", None),
        (f"{REFUND}/use-method", {"payment_method_id": "pm_x"}),
        (f"{REFUND}/take-out", WHY),
        (f"{REFUND}/advance", {"days": 1}),
    ],
    ids=str,
)
async def test_what_is_not_there_is_404(api: Caller, path: str, body: Any) -> None:
    response = await api.post(path, body)
    assert (response.status_code, response.json()["code"]) == (404, "not_found")


@pytest.mark.parametrize(
    ("query", "field"),
    [("status=gone", "status"), ("kind=gift", "kind"), ("mode=dry", "mode"), ("customer_id=a/b", "customer_id"),
     ("attention=perhaps", "attention"), ("surprise=1", "surprise"), ("limit=0", "limit"), ("cursor=zzz", "cursor")],
)  # fmt: skip
async def test_a_bad_list_is_refused(api: Caller, query: str, field: str) -> None:
    response = await api.get(f"/v1/refunds?{query}")
    assert (response.status_code, response.json()["errors"][0]["field"]) == (422, field)


async def test_a_list_of_nothing_is_empty(api: Caller) -> None:
    assert (await api.get("/v1/refunds", customer_id="cus_nobody")).json() == {"items": [], "next_cursor": None}
    assert (await api.get("/v1/refunds/re_nobody")).status_code == 404
