"""What every gateway adapter owes us, held against the sandbox in its own process."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from itertools import count
from typing import Any

import pytest

from domain.declines import DECLINES, DeclineKind
from domain.errors import InvalidInput
from domain.money import Money
from local.ports import HeldPort
from providers.gateways.base import Answer, AnswerStatus, GatewayUnavailable, Order, OrderRefused, OutcomeUnknown
from providers.gateways.registry import open_gateway
from providers.gateways.sandbox import SandboxGateway
from tests.servers import Server

pytestmark = pytest.mark.stack
NUMBER = count(1)


def order(profile: str, minor: int = 1999) -> Order:
    number = next(NUMBER)
    return Order(f"charge:sub_{number}:1:1", f"tok_{profile}_{number}", Money(minor, "EUR"), "Streaming, March")


async def script(sandbox: Server, token: str, *outcomes: str, **more: Any) -> None:
    response = await sandbox.http.put(f"/control/tokens/{token}/script", json={"outcomes": outcomes, **more})
    assert response.status_code == 200, response.text


async def calls(sandbox: Server, one: Order) -> list[str]:
    response = await sandbox.http.get("/control/calls", params={"reference": one.reference})
    return [call["outcome"] for call in response.json()["calls"]]


async def captured(sandbox: Server) -> int:
    return (await sandbox.http.get("/control/books")).json()["captured"].get("EUR", 0)


async def test_a_sale_moves_the_money_once_however_often_it_is_sent(gateway: SandboxGateway, sandbox: Server) -> None:
    one, before = order("ok_visa"), await captured(sandbox)
    answers = await asyncio.gather(*(gateway.sale(one) for _ in range(5)))
    assert answers[0].status is AnswerStatus.APPROVED
    assert answers == [answers[0]] * 5
    assert await captured(sandbox) == before + 1999
    assert sorted(await calls(sandbox, one)) == ["approve", *["replay"] * 4]


async def test_the_same_reference_with_another_amount_is_refused(gateway: SandboxGateway) -> None:
    one = order("ok_visa")
    await gateway.sale(one)
    with pytest.raises(OrderRefused, match="idempotency_mismatch"):
        await gateway.sale(replace(one, amount=Money(1, "EUR")))


@pytest.mark.parametrize(
    ("profile", "code", "kind"),
    [
        ("soft_insufficient_funds", "insufficient_funds", DeclineKind.SOFT),
        ("hard_stolen", "stolen_card", DeclineKind.HARD),
        ("no_profile", "no_such_token", DeclineKind.HARD),
    ],
)
async def test_a_decline_is_a_value(gateway: SandboxGateway, profile: str, code: str, kind: DeclineKind) -> None:
    one = order(profile)
    answer = await gateway.sale(one)
    assert (answer.status, answer.code, answer.decline) == (AnswerStatus.DECLINED, code, kind)
    assert await gateway.sale(one) == answer
    assert await gateway.lookup(one.reference) == answer


async def test_every_decline_the_gateway_documents_is_in_our_table(sandbox: Server) -> None:
    documented = (await sandbox.http.get("/control/cards")).json()
    outcomes = {*documented["cards"].values(), *documented["accounts"].values(), *documented["tokens"].values()}
    declines = {code: kind for kind, _, code in (outcome.partition(":") for outcome in outcomes) if code}
    assert declines == {code: kind.value for code, kind in DECLINES["sandbox"].items()}


async def test_an_unreachable_gateway_surely_took_nothing() -> None:
    with HeldPort() as nobody_listens:
        gateway = SandboxGateway(f"http://127.0.0.1:{nobody_listens.number}", timeout_s=2, calls_per_second_max=10)
        with pytest.raises(GatewayUnavailable):
            await gateway.sale(order("ok_visa"))
        await gateway.aclose()


async def test_a_gateway_that_is_down_says_so_and_nothing_happened(gateway: SandboxGateway, sandbox: Server) -> None:
    one = order("ok_visa")
    await sandbox.http.put("/control/outage", json={"down": True})
    try:
        with pytest.raises(GatewayUnavailable):
            await gateway.sale(one)
        with pytest.raises(GatewayUnavailable):
            await gateway.lookup(one.reference)
        with pytest.raises(GatewayUnavailable):
            await gateway.describe(one.token)
    finally:
        await sandbox.http.put("/control/outage", json={"down": False})
    assert (await gateway.lookup(one.reference)).status is AnswerStatus.NOT_FOUND
    assert (await gateway.sale(one)).status is AnswerStatus.APPROVED


@pytest.mark.parametrize("profile", ["unknown_outcome", "error_after"])
async def test_an_answer_lost_after_charging_is_found_by_look_up(gateway: SandboxGateway, profile: str) -> None:
    one = order(profile)
    with pytest.raises(OutcomeUnknown):
        await gateway.sale(one)
    found = await gateway.lookup(one.reference)
    assert found.status is AnswerStatus.APPROVED
    assert await gateway.sale(one) == found


async def test_an_answer_lost_before_charging_is_found_missing(gateway: SandboxGateway, sandbox: Server) -> None:
    one = order("ok_visa")
    await script(sandbox, one.token, "error_before")
    with pytest.raises(OutcomeUnknown):
        await gateway.sale(one)
    assert await gateway.lookup(one.reference) == Answer(AnswerStatus.NOT_FOUND)
    assert (await gateway.sale(one)).status is AnswerStatus.APPROVED
    assert await calls(sandbox, one) == ["error_before", "not_found", "approve"]


@pytest.mark.parametrize(
    ("outcome", "found"), [("hang", AnswerStatus.APPROVED), ("hang_before", AnswerStatus.NOT_FOUND)]
)
async def test_a_gateway_that_never_answers_leaves_the_outcome_unknown(
    sandbox: Server, outcome: str, found: AnswerStatus
) -> None:
    one = order("ok_visa")
    await script(sandbox, one.token, outcome, hang_seconds=60)
    gateway = SandboxGateway(sandbox.url, timeout_s=0.3, calls_per_second_max=10)
    with pytest.raises(OutcomeUnknown):
        await gateway.sale(one)
    assert (await gateway.lookup(one.reference)).status is found
    await gateway.aclose()


async def test_a_connection_that_breaks_leaves_the_outcome_unknown() -> None:
    async def hang_up(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.close()

    server = await asyncio.start_server(hang_up, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    gateway = SandboxGateway(f"http://127.0.0.1:{port}", timeout_s=2, calls_per_second_max=10)
    with pytest.raises(OutcomeUnknown):
        await gateway.sale(order("ok_visa"))
    with pytest.raises(GatewayUnavailable):
        await gateway.lookup("charge:sub_0:1:1")
    await gateway.aclose()
    server.close()
    await server.wait_closed()


async def test_money_is_set_aside_then_taken_and_both_can_be_repeated(gateway: SandboxGateway, sandbox: Server) -> None:
    one, before = order("ok_mastercard"), await captured(sandbox)
    authorised = await gateway.authorise(one)
    assert authorised.status is AnswerStatus.AUTHORISED
    assert await gateway.authorise(one) == authorised == await gateway.lookup(one.reference)
    assert await captured(sandbox) == before
    capture = replace(one, reference=f"{one.reference}:capture", amount=Money(1500, "EUR"))
    assert (await gateway.lookup(capture.reference)).status is AnswerStatus.NOT_FOUND
    taken = await gateway.capture(one.reference, capture)
    assert await gateway.capture(one.reference, capture) == taken
    assert await gateway.lookup(capture.reference) == taken
    assert await captured(sandbox) == before + 1500
    with pytest.raises(OrderRefused, match="too_much"):
        await gateway.capture(one.reference, replace(capture, amount=Money(2000, "EUR")))


async def test_a_capture_under_the_name_of_its_authorisation_is_found_by_it(
    gateway: SandboxGateway, sandbox: Server
) -> None:
    one, before = order("ok_mastercard"), await captured(sandbox)
    await gateway.authorise(one)
    answers = await asyncio.gather(*(gateway.capture(one.reference, one) for _ in range(5)))
    assert answers == [answers[0]] * 5 == [await gateway.lookup(one.reference)] * 5
    assert answers[0].status is AnswerStatus.APPROVED
    assert await captured(sandbox) == before + 1999
    assert (await gateway.authorise(one)).status is AnswerStatus.AUTHORISED, "a key's answer never changes: look it up"


async def test_what_was_set_aside_is_given_back_and_cannot_be_taken_then(
    gateway: SandboxGateway, sandbox: Server
) -> None:
    one, before = order("ok_visa"), await captured(sandbox)
    await gateway.authorise(one)
    released = await gateway.release(one.reference)
    assert released.status is AnswerStatus.VOIDED
    assert await gateway.release(one.reference) == released
    assert await gateway.capture(one.reference, one) == released, "a value: there is nothing to take"
    assert await captured(sandbox) == before
    assert (await gateway.release("charge:nobody:1:1")).status is AnswerStatus.NOT_FOUND
    assert (await gateway.capture("charge:nobody:1:1", one)).status is AnswerStatus.NOT_FOUND


async def test_a_release_that_comes_after_settlement_says_that_it_was_taken(
    gateway: SandboxGateway, sandbox: Server
) -> None:
    one = order("ok_visa")
    await gateway.authorise(one)
    await gateway.capture(one.reference, one)
    await sandbox.http.post("/control/settle", json={"references": [one.reference]})
    assert (await gateway.release(one.reference)).status is AnswerStatus.APPROVED


@pytest.mark.parametrize(
    ("outcome", "found"), [("error_after", AnswerStatus.APPROVED), ("error_before", AnswerStatus.AUTHORISED)]
)
async def test_a_lost_answer_to_a_capture_is_found_by_look_up(
    gateway: SandboxGateway, sandbox: Server, outcome: str, found: AnswerStatus
) -> None:
    one = order("ok_visa")
    await gateway.authorise(one)
    await sandbox.http.put(f"/control/returns/{one.reference}/script", json={"captures": [outcome]})
    with pytest.raises(OutcomeUnknown):
        await gateway.capture(one.reference, one)
    assert (await gateway.lookup(one.reference)).status is found
    assert (await gateway.capture(one.reference, one)).status is AnswerStatus.APPROVED


async def test_an_authorisation_that_ended_at_the_gateway_is_a_value(gateway: SandboxGateway, sandbox: Server) -> None:
    one = order("ok_visa")
    await gateway.authorise(one)
    await sandbox.http.put(f"/control/returns/{one.reference}/script", json={"captures": ["gone"]})
    assert (await gateway.capture(one.reference, one)).status is AnswerStatus.VOIDED
    assert (await gateway.release(one.reference)).status is AnswerStatus.VOIDED


@pytest.mark.parametrize("answer", ["approve", "decline"])
async def test_a_customer_who_is_asked_authorises_and_pays_nothing_yet(
    gateway: SandboxGateway, sandbox: Server, answer: str
) -> None:
    one, before = order("action"), await captured(sandbox)
    asked = await gateway.authorise(one)
    assert asked.status is AnswerStatus.ACTION_REQUIRED
    await sandbox.http.post(asked.action_url or "", data={"outcome": answer})
    found = AnswerStatus.AUTHORISED if answer == "approve" else AnswerStatus.DECLINED
    assert (await gateway.lookup(one.reference)).status is found
    assert await captured(sandbox) == before


async def test_a_void_undoes_a_charge_in_full_and_can_be_repeated(gateway: SandboxGateway, sandbox: Server) -> None:
    one, before = order("ok_bank"), await captured(sandbox)
    sold = await gateway.sale(one)
    voided = await gateway.void(one.reference)
    assert voided.status is AnswerStatus.VOIDED
    assert await gateway.void(one.reference) == voided
    assert (await gateway.lookup(one.reference)).status is AnswerStatus.VOIDED
    assert await captured(sandbox) == before
    assert await gateway.sale(one) == sold, "a key's answer never changes"
    assert (await gateway.void("charge:nobody:1:1")).status is AnswerStatus.NOT_FOUND


@pytest.mark.parametrize(("outcome", "found"), [("approve", AnswerStatus.APPROVED), ("decline", AnswerStatus.DECLINED)])
async def test_a_customer_is_asked_and_the_look_up_knows_what_was_said(
    gateway: SandboxGateway, sandbox: Server, outcome: str, found: AnswerStatus
) -> None:
    one = order("action")
    asked = await gateway.sale(one)
    assert asked.status is AnswerStatus.ACTION_REQUIRED
    assert asked.action_url is not None
    assert "Approve" in (await sandbox.http.get(asked.action_url)).text
    assert (await sandbox.http.post(asked.action_url, data={"outcome": outcome})).status_code == 200
    assert (await gateway.lookup(one.reference)).status is found
    action = asked.action_url.rsplit("/", 1)[1]
    other = "decline" if outcome == "approve" else "approve"
    changed = await sandbox.http.post(f"/v1/actions/{action}/complete", json={"outcome": other})
    assert changed.json()["error"]["code"] == "wrong_state"


async def test_a_charge_that_waits_for_its_customer_can_be_given_up(gateway: SandboxGateway) -> None:
    one = order("action")
    await gateway.sale(one)
    assert (await gateway.void(one.reference)).status is AnswerStatus.VOIDED
    assert (await gateway.lookup(one.reference)).status is AnswerStatus.VOIDED


async def test_a_declined_charge_cannot_be_voided(gateway: SandboxGateway) -> None:
    one = order("hard_stolen")
    await gateway.sale(one)
    with pytest.raises(OrderRefused, match="wrong_state"):
        await gateway.void(one.reference)


async def test_a_token_is_described_without_its_number(gateway: SandboxGateway) -> None:
    card = await gateway.describe("tok_ok_visa_cust123")
    assert card is not None
    assert (card.kind, card.brand, card.last4, card.exp_month) == ("card", "visa", "4242", 12)
    bank = await gateway.describe("tok_ok_bank_cust123")
    assert bank is not None
    assert (bank.kind, bank.exp_month, bank.exp_year) == ("bank", None, None)
    assert await gateway.describe("tok_nothing") is None


def test_an_unknown_gateway_is_refused_by_name() -> None:
    with pytest.raises(InvalidInput, match="sandbox"):
        open_gateway("moon", "http://127.0.0.1:1", timeout_s=1, calls_per_second_max=1)
