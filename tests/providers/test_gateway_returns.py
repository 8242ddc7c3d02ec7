"""What every gateway adapter owes us of money back, held against the sandbox in its own process."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any

import pytest

from domain.money import Money
from local.ports import HeldPort
from providers.gateways.base import (
    AnswerStatus,
    GatewayUnavailable,
    Given,
    GivenStatus,
    Order,
    OrderRefused,
    OutcomeUnknown,
    RefundOrder,
    SettledLine,
    TheirTransaction,
)
from providers.gateways.sandbox import SandboxGateway
from tests.servers import Server

pytestmark = pytest.mark.stack
NUMBER = count(1)
SUCCEEDED = GivenStatus.SUCCEEDED


class Till:
    """One gateway and its control, for short stories."""

    def __init__(self, gateway: SandboxGateway, server: Server) -> None:
        self.gateway = gateway
        self.server = server

    async def sold(self, profile: str = "ok_visa", minor: int = 2000, *, settled: bool = False) -> Order:
        number = next(NUMBER)
        one = Order(f"charge:sold_{number}:1:1", f"tok_{profile}_s{number}", Money(minor, "EUR"), "Streaming, March")
        await self.gateway.sale(one)
        if settled:
            await self.control("POST", "/settle", references=[one.reference])
        return one

    async def control(self, method: str, path: str, **body: Any) -> dict[str, Any]:
        response = await self.server.http.request(method, f"/control{path}", json=body)
        assert response.is_success, response.text
        return response.json()

    async def script(self, name: str, **outcomes: Any) -> None:
        await self.control("PUT", f"/returns/{name}/script", **outcomes)

    async def cash(self) -> dict[str, int]:
        books = await self.server.http.get("/control/books")
        return books.json()["cash"].get("EUR", {"net": 0, "voided": 0, "refunded": 0})

    def refund(self, one: Order, minor: int | None = None, **more: Any) -> RefundOrder:
        amount = Money(minor, "EUR") if minor is not None else one.amount
        return RefundOrder(f"refund:{next(NUMBER)}:1", one.reference, amount, **more)


@pytest.fixture
def till(gateway: SandboxGateway, sandbox: Server) -> Till:
    return Till(gateway, sandbox)


@asynccontextmanager
async def hasty(server: Server) -> AsyncGenerator[SandboxGateway]:
    """An adapter that does not wait long."""
    gateway = SandboxGateway(server.url, timeout_s=0.3, calls_per_second_max=100)
    try:
        yield gateway
    finally:
        await gateway.aclose()


# Voids


async def test_a_sale_is_voided_in_full_and_twice_is_as_once(till: Till) -> None:
    before = (await till.cash())["net"]
    one = await till.sold()
    voided = await till.gateway.void_sale(one.reference)
    assert voided.status is SUCCEEDED
    assert await till.gateway.void_sale(one.reference) == voided
    assert (await till.gateway.lookup(one.reference)).status is AnswerStatus.VOIDED
    assert (await till.cash())["net"] == before


async def test_a_settled_sale_is_not_voided(till: Till) -> None:
    one = await till.sold(settled=True)
    late = await till.gateway.void_sale(one.reference)
    assert (late.status, late.code) == (GivenStatus.FAILED, "already_settled")
    assert (await till.gateway.lookup(one.reference)).status is AnswerStatus.APPROVED


async def test_settlement_overtakes_a_void_and_the_refund_follows(till: Till) -> None:
    one = await till.sold()
    await till.script(one.reference, voids=["settles_first"])
    assert (await till.gateway.void_sale(one.reference)).code == "already_settled"
    assert (await till.gateway.refund(till.refund(one))).status is SUCCEEDED


async def test_what_cannot_be_voided_is_told_as_a_value(till: Till) -> None:
    declined = await till.sold("hard_stolen")
    waiting = await till.sold("action")
    refused = await till.sold()
    await till.script(refused.token, voids=["fail:void_window_closed"])
    codes = [(await till.gateway.void_sale(one.reference)).code for one in (declined, waiting, refused)]
    assert codes == ["wrong_state", "wrong_state", "void_window_closed"]
    assert (await till.gateway.void_sale("charge:nobody:1:1")).status is GivenStatus.NOT_FOUND
    assert (await till.gateway.void_sale(refused.reference)).status is SUCCEEDED, "its script is used up"


@pytest.mark.parametrize(
    ("outcome", "error", "found"),
    [
        ("error_before", OutcomeUnknown, AnswerStatus.APPROVED),
        ("hang_before", OutcomeUnknown, AnswerStatus.APPROVED),
        ("error_after", OutcomeUnknown, AnswerStatus.VOIDED),
        ("hang", OutcomeUnknown, AnswerStatus.VOIDED),
        ("down", GatewayUnavailable, AnswerStatus.APPROVED),
    ],
)
async def test_a_void_without_an_answer_is_found_by_looking_the_sale_up(
    till: Till, sandbox: Server, outcome: str, error: type[Exception], found: AnswerStatus
) -> None:
    one = await till.sold()
    await till.script(one.reference, voids=[outcome], hang_seconds=60)
    async with hasty(sandbox) as gateway:
        with pytest.raises(error):
            await gateway.void_sale(one.reference)
    assert (await till.gateway.lookup(one.reference)).status is found
    assert (await till.gateway.void_sale(one.reference)).status is SUCCEEDED


# Refunds


async def test_money_is_given_back_once_however_often_it_is_sent(till: Till) -> None:
    one = await till.sold(settled=True)
    before, order = (await till.cash())["refunded"], till.refund(one, 700)
    answers = await asyncio.gather(*(till.gateway.refund(order) for _ in range(5)))
    assert answers[0].status is SUCCEEDED
    assert answers == [answers[0]] * 5
    assert await till.gateway.find_refund(order.reference) == answers[0]
    assert (await till.cash())["refunded"] == before + 700
    with pytest.raises(OrderRefused, match="idempotency_mismatch"):
        await till.gateway.refund(replace(order, amount=Money(701, "EUR")))


async def test_parts_are_given_back_up_to_what_was_captured(till: Till) -> None:
    one = await till.sold(minor=2000, settled=True)
    codes = [(await till.gateway.refund(till.refund(one, minor))).code for minor in (1200, 801, 800, 1)]
    assert codes == [None, "exceeds_captured", None, "exceeds_captured"]


async def test_a_pending_refund_counts_and_a_failed_one_does_not(till: Till) -> None:
    one = await till.sold(minor=2000, settled=True)
    await till.script(one.reference, refunds=["pending", "fail:account_closed"])
    waiting = till.refund(one, 2000)
    assert (await till.gateway.refund(waiting)).status is GivenStatus.PENDING
    assert (await till.gateway.refund(till.refund(one, 1))).code == "exceeds_captured"
    await till.control("POST", f"/refunds/{waiting.reference}/finish", outcome="fail:account_closed")
    assert (await till.gateway.find_refund(waiting.reference)).code == "account_closed"
    assert (await till.gateway.refund(till.refund(one))).code == "account_closed"
    assert (await till.gateway.refund(till.refund(one))).status is SUCCEEDED


@pytest.mark.parametrize(
    ("profile", "settled", "change", "code"),
    [
        ("ok_visa", False, {}, "not_settled"),
        ("hard_stolen", False, {}, "not_captured"),
        ("action", False, {}, "not_captured"),
        ("ok_visa", True, {"amount": Money(2000, "USD")}, "currency_mismatch"),
        ("ok_visa", True, {"sale": "charge:nobody:1:1"}, "no_such_charge"),
        ("ok_visa", True, {"token": "tok_ok_mastercard"}, "method_not_allowed"),
        ("ok_bank", True, {"token": "tok_ok_visa"}, "method_not_allowed"),
        ("ok_visa", True, {"token": "tok_nothing"}, "method_not_allowed"),
        ("refund_fails", True, {}, "refund_declined"),
        ("ok_visa", True, {"token": "tok_refund_closed"}, "account_closed"),
    ],
)
async def test_a_refund_that_cannot_be_is_a_value(
    till: Till, profile: str, settled: bool, change: dict[str, Any], code: str
) -> None:
    one, before = await till.sold(profile, settled=settled), (await till.cash())["refunded"]
    order = replace(till.refund(one), **change)
    answer = await till.gateway.refund(order)
    assert (answer.status, answer.code) == (GivenStatus.FAILED, code)
    assert answer.message
    assert await till.gateway.refund(order) == answer
    assert (await till.cash())["refunded"] == before


async def test_a_voided_sale_has_nothing_to_give_back(till: Till) -> None:
    one = await till.sold()
    await till.gateway.void_sale(one.reference)
    assert (await till.gateway.refund(till.refund(one))).code == "already_voided"


@pytest.mark.parametrize("token", ["tok_ok_visa_second", "tok_ok_bank"])
async def test_another_method_gets_it_where_that_is_allowed(till: Till, token: str) -> None:
    one = await till.sold(settled=True)
    assert (await till.gateway.refund(till.refund(one, token=token))).status is SUCCEEDED


@pytest.mark.parametrize(
    ("outcome", "error", "found"),
    [
        ("error_before", OutcomeUnknown, GivenStatus.NOT_FOUND),
        ("hang_before", OutcomeUnknown, GivenStatus.NOT_FOUND),
        ("error_after", OutcomeUnknown, SUCCEEDED),
        ("hang", OutcomeUnknown, SUCCEEDED),
        ("down", GatewayUnavailable, GivenStatus.NOT_FOUND),
    ],
)
async def test_a_refund_without_an_answer_is_found_by_our_reference(
    till: Till, sandbox: Server, outcome: str, error: type[Exception], found: GivenStatus
) -> None:
    one = await till.sold(settled=True)
    order, before = till.refund(one), (await till.cash())["refunded"]
    await till.script(one.token, refunds=[outcome], hang_seconds=60)
    async with hasty(sandbox) as gateway:
        with pytest.raises(error):
            await gateway.refund(order)
    assert (await till.gateway.find_refund(order.reference)).status is found
    assert (await till.gateway.refund(order)).status is SUCCEEDED
    assert (await till.cash())["refunded"] == before + 2000


@pytest.mark.parametrize(
    ("then", "status", "code"),
    [("succeed", SUCCEEDED, None), ("fail:expired_card", GivenStatus.FAILED, "expired_card")],
)
async def test_a_refund_may_be_decided_later(till: Till, then: str, status: GivenStatus, code: str | None) -> None:
    one = await till.sold(settled=True)
    order = till.refund(one)
    await till.script(one.reference, refunds=[f"pending:{then}"])
    taken = await till.gateway.refund(order)
    assert taken.status is GivenStatus.PENDING
    found = await till.gateway.find_refund(order.reference)
    assert (found.status, found.code) == (status, code)
    assert await till.gateway.refund(order) == taken, "a key's answer never changes"


async def test_a_refund_nobody_asked_for_is_not_found(gateway: SandboxGateway) -> None:
    assert await gateway.find_refund("refund:never:1") == Given(GivenStatus.NOT_FOUND)


async def test_no_gateway_took_nothing_and_a_broken_line_leaves_it_open(till: Till) -> None:
    async def hang_up(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.close()

    server = await asyncio.start_server(hang_up, "127.0.0.1", 0)
    one = Order("charge:far:1:1", "tok_ok_visa", Money(1, "EUR"), "")
    now = datetime.now(UTC)
    with HeldPort() as nobody_listens:
        ports = (nobody_listens.number, server.sockets[0].getsockname()[1])
        for port, moving in zip(ports, (GatewayUnavailable, OutcomeUnknown), strict=True):
            far = SandboxGateway(f"http://127.0.0.1:{port}", timeout_s=2, calls_per_second_max=100)
            with pytest.raises(moving):
                await far.void_sale(one.reference)
            with pytest.raises(moving):
                await far.refund(till.refund(one))
            with pytest.raises(GatewayUnavailable):
                await far.find_refund("refund:far:1")
            with pytest.raises(GatewayUnavailable):
                await far.settlements(None)
            with pytest.raises(GatewayUnavailable):
                await far.transactions(now, now, None)
            await far.aclose()
    server.close()
    await server.wait_closed()


async def test_an_outage_is_no_answer_to_any_call(till: Till) -> None:
    one = await till.sold(settled=True)
    now = datetime.now(UTC)
    await till.control("PUT", "/outage", down=True)
    try:
        for call in (
            lambda: till.gateway.void_sale(one.reference),
            lambda: till.gateway.refund(till.refund(one)),
            lambda: till.gateway.find_refund("refund:x:1"),
            lambda: till.gateway.settlements(None),
            lambda: till.gateway.transactions(now, now, None),
        ):
            with pytest.raises(GatewayUnavailable):
                await call()
    finally:
        await till.control("PUT", "/outage", down=False)


# Reports


async def all_lines(gateway: SandboxGateway, cursor: str | None) -> tuple[list[SettledLine], str]:
    lines: list[SettledLine] = []
    while True:
        page = await gateway.settlements(cursor)
        lines, cursor = [*lines, *page.lines], page.cursor
        if not page.more:
            return lines, cursor


async def test_settled_sales_and_refunds_are_reported_in_order_from_where_the_reader_was(till: Till) -> None:
    _, start = await all_lines(till.gateway, None)
    one, two = await till.sold(minor=300), await till.sold(minor=500)
    await till.control("POST", "/settle", references=[one.reference, two.reference])
    back = till.refund(one, 100)
    await till.gateway.refund(back)
    first, middle = await all_lines(till.gateway, start)
    await till.control("POST", "/settle", references=[back.reference])
    second, end = await all_lines(till.gateway, middle)
    seen = [(line.kind, line.reference, line.amount.minor) for line in first + second]
    assert seen == [("sale", one.reference, 300), ("sale", two.reference, 500), ("refund", back.reference, 100)]
    assert first[0].batch_id == first[1].batch_id != second[0].batch_id
    assert first[0].settled_at <= second[0].settled_at
    assert await all_lines(till.gateway, end) == ([], end)
    assert (await all_lines(till.gateway, start))[0] == first + second, "a cursor stays good"


async def test_a_report_in_pieces_and_twice_and_page_by_page_loses_no_line(till: Till, sandbox: Server) -> None:
    _, start = await all_lines(till.gateway, None)
    sold = [await till.sold(minor=100 + number) for number in range(5)]
    names = [one.reference for one in sold]
    await till.control("POST", "/settle", references=names, pieces=2, twice=True)
    small = SandboxGateway(sandbox.url, timeout_s=2, calls_per_second_max=100, page_size=2)
    lines, end = await all_lines(small, start)
    assert [line.reference for line in lines] == names * 2
    assert (await small.settlements(start)).more
    first = await till.gateway.settlements(start)
    assert (len(first.lines), first.more) == (3, True), "a page tells of one piece only"
    assert not (await small.settlements(end)).lines
    await small.aclose()


async def test_a_late_report_comes_behind_the_readers_place(till: Till) -> None:
    _, start = await all_lines(till.gateway, None)
    late, early = await till.sold(), await till.sold()
    await till.control("POST", "/settle", references=[late.reference], late_seconds=3600)
    await till.control("POST", "/settle", references=[early.reference])
    lines, place = await all_lines(till.gateway, start)
    assert [line.reference for line in lines] == [early.reference]
    await till.control("POST", "/settlements/report")
    lines, _ = await all_lines(till.gateway, place)
    assert [line.reference for line in lines] == [late.reference]


async def test_their_transactions_of_a_window_hold_sales_and_refunds_with_their_states(
    till: Till, sandbox: Server
) -> None:
    since = datetime.now(UTC) - timedelta(milliseconds=1)
    sold, voided, declined = await till.sold(), await till.sold(), await till.sold("hard_stolen")
    await till.gateway.void_sale(voided.reference)
    await till.control("POST", "/settle", references=[sold.reference])
    back, failed = till.refund(sold, 400), till.refund(sold, 9999)
    await till.gateway.refund(back)
    await till.gateway.refund(failed)
    until = datetime.now(UTC) + timedelta(milliseconds=2)
    small = SandboxGateway(sandbox.url, timeout_s=2, calls_per_second_max=100, page_size=2)
    rows: list[TheirTransaction] = []
    cursor: str | None = None
    while True:
        page = await small.transactions(since, until, cursor)
        rows, cursor = [*rows, *page.rows], page.cursor
        if cursor is None:
            break
    await small.aclose()
    assert {(row.kind, row.reference, row.amount.minor, row.state) for row in rows} == {
        ("sale", sold.reference, 2000, "settled"),
        ("sale", voided.reference, 2000, "voided"),
        ("sale", declined.reference, 2000, "declined"),
        ("refund", back.reference, 400, "succeeded"),
        ("refund", failed.reference, 9999, "failed"),
    }
    assert [row.at for row in rows] == sorted(row.at for row in rows)
    assert len(rows) == 5
    assert not (await till.gateway.transactions(since - timedelta(days=9), since - timedelta(days=8), None)).rows


async def test_a_capture_is_reported_under_its_own_reference(till: Till) -> None:
    since = datetime.now(UTC) - timedelta(milliseconds=1)
    number = next(NUMBER)
    one = Order(f"charge:held_{number}:1:1", f"tok_ok_visa_h{number}", Money(2000, "EUR"), "")
    await till.gateway.authorise(one)
    taken = replace(one, reference=f"{one.reference}:capture", amount=Money(1500, "EUR"))
    await till.gateway.capture(one.reference, taken)
    rows = (await till.gateway.transactions(since, datetime.now(UTC) + timedelta(seconds=1), None)).rows
    assert [(row.reference, row.amount.minor, row.state) for row in rows] == [(taken.reference, 1500, "captured")]
    _, start = await all_lines(till.gateway, None)
    await till.control("POST", "/settle", references=[taken.reference])
    assert [line.reference for line in (await all_lines(till.gateway, start))[0]] == [taken.reference]
    assert (await till.gateway.refund(till.refund(taken, 1500))).status is SUCCEEDED
