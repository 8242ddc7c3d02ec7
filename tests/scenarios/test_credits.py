"""Vouchers and credit notes over HTTP, on subscriptions that use the credit up month by month."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import httpx
import pytest

from api.keys import create_key
from domain.credits import FromVoucher, Transfer
from domain.messages import Cancel, RefundChoice, When
from tests.api.conftest import Caller
from tests.stack_fixtures import NUMBERS, Shop, at

pytestmark = [pytest.mark.stack, pytest.mark.timeout(180)]

VISA = "tok_ok_visa"
START = at("2027-03-05", 9)


@dataclass(frozen=True)
class Desk:
    """Somebody with a key, and the shop behind."""

    api: Caller
    shop: Shop

    async def running(self) -> str:
        """A subscription at 10.00 a month whose first month is paid."""
        state = await self.shop.start(await self.shop.customer(VISA), await self.shop.terms(1000), start_at=START)
        await self.shop.until(state.id, START)
        return state.id

    async def voucher(self, amount: int, **more: Any) -> dict[str, Any]:
        return await self.api.made("/v1/vouchers", {"amount": amount, "currency": "USD", "test_mode": True} | more)

    async def redeem(self, voucher: str, sub: str, amount: int | None = None, *, key: str | None = None) -> Any:
        return await self.api.post(
            f"/v1/vouchers/{voucher}/redeem", {"subscription_id": sub, "amount": amount}, key=key
        )

    async def left(self, voucher: str) -> int:
        return (await self.api.get(f"/v1/vouchers/{voucher}")).json()["balance"]

    async def in_transit(self, sub: str) -> int:
        rows = await self.shop.rows(
            "SELECT coalesce(sum(amount), 0)::bigint AS sum FROM ledger_postings JOIN ledger_entries AS e"
            " ON e.id = entry_id WHERE e.subscription_id = :sub AND account = 'credit_in_transit'",
            sub=sub,
        )
        return rows[0]["sum"]


@pytest.fixture(scope="module")
async def desk(shop: Shop) -> AsyncIterator[Desk]:
    key = await create_key(shop.database, "lena")
    async with httpx.AsyncClient(base_url=shop.stack.api_url, timeout=60, trust_env=False) as http:
        yield Desk(Caller(http, key), shop)


def refused(response: httpx.Response) -> tuple[int, str]:
    return response.status_code, response.json()["code"]


async def test_a_voucher_and_a_credit_note_pay_the_next_months(desk: Desk) -> None:
    sub = await desk.running()
    voucher = await desk.voucher(2500, reason="won in a raffle")
    key = f"redeem-{next(NUMBERS)}"
    granted = await desk.redeem(voucher["code"].lower(), sub, 1500, key=key)
    assert granted.status_code == 201, granted.text
    assert (granted.json()["status"], granted.json()["amount"]) == ("granted", 1500)
    again = await desk.redeem(voucher["code"].lower(), sub, 1500, key=key)
    assert (again.json(), again.headers["Idempotent-Replayed"]) == (granted.json(), "true")
    assert await desk.left(voucher["id"]) == 1000

    invoice = (await desk.shop.invoices(sub))[0]
    path = f"/v1/invoices/{invoice['id']}"
    note = await desk.api.made(f"{path}/credit-notes", {"amount": 700, "reason": "delivered late"})
    assert note["number"] == f"CN-{invoice['number'].rpartition('-')[0]}-0001"
    over = await desk.api.post(f"{path}/credit-notes", {"amount": 301, "reason": "even later"})
    assert refused(over) == (409, "credit_exceeds_invoice")
    assert "300 USD" in over.json()["detail"]
    shown = (await desk.api.get(path)).json()
    assert (shown["status"], shown["total"], shown["credited"], shown["credit_notes"]) == ("paid", 1000, 700, [note])

    await desk.shop.until(sub, at("2027-06-06", 9))
    months = [(row["credit_applied"], row["amount_due"]) for row in await desk.shop.invoices(sub)]
    assert months == [(0, 1000), (1000, 0), (1000, 0), (200, 800)], "no card is charged before the credit is used up"
    customer = invoice["customer_id"]
    credits_ = (await desk.api.get(f"/v1/customers/{customer}/credits", mode="test")).json()
    assert credits_["balances"] == [
        {"currency": "USD", "amount": 0, "subscriptions": [{"subscription_id": sub, "amount": 0}]}
    ]
    moves = [(each["kind"], each["amount"]) for each in credits_["movements"]["items"]]
    assert moves[:3] == [("invoice_issued", -200), ("invoice_issued", -1000), ("invoice_issued", -1000)]
    assert sorted(moves[3:]) == [("credit_granted", 700), ("credit_granted", 1500)]
    assert await desk.in_transit(sub) == 0
    books = (await desk.api.get("/v1/ledger/trial-balance", mode="test")).json()
    assert books["balanced"]
    assert {"account": f"voucher:{voucher['id']}", "currency": "USD", "amount": -1000} in books["accounts"]
    await desk.shop.audit(sub)


async def test_what_the_subscription_refuses_goes_back_where_it_was(desk: Desk) -> None:
    sub, voucher = await desk.running(), await desk.voucher(800)
    invoice = (await desk.shop.invoices(sub))[0]["id"]
    await desk.shop.send(sub, Cancel(When.NOW))
    refusal = await desk.redeem(voucher["id"], sub)
    assert refused(refusal) == (409, "not_while_canceled")
    assert "restart" in refusal.json()["allowed"]
    shown = (await desk.api.get(f"/v1/vouchers/{voucher['id']}")).json()
    moves = sorted((each["kind"], each["amount"]) for each in shown["movements"])
    assert (shown["balance"], moves) == (800, [("given_back", 800), ("issued", 800), ("redeemed", -800)])
    noted = await desk.api.post(f"/v1/invoices/{invoice}/credit-notes", {"amount": 100, "reason": "sorry"})
    assert refused(noted) == (409, "not_while_canceled")
    shown = (await desk.api.get(f"/v1/invoices/{invoice}")).json()
    assert (shown["credited"], shown["credit_notes"]) == (0, [])
    assert await desk.in_transit(sub) == 0
    other = await desk.running()
    moved = {"amount": 100, "reason": "sorry", "subscription_id": other}
    assert refused(await desk.api.post(f"/v1/invoices/{invoice}/credit-notes", moved)) == (409, "other_customer")


async def test_what_a_credit_note_gave_back_is_not_credited_at_the_end_as_well(desk: Desk) -> None:
    sub = await desk.running()
    invoice = (await desk.shop.invoices(sub))[0]["id"]
    await desk.api.made(f"/v1/invoices/{invoice}/credit-notes", {"amount": 900, "reason": "never delivered"})
    ended = await desk.shop.send(sub, Cancel(When.NOW, RefundChoice.CREDIT))
    assert ended.credit == 900 + 100


async def test_adjusted_and_ended_by_the_subscription_s_own_clock(desk: Desk) -> None:
    sub, ends = await desk.running(), at("2027-05-01", 0)
    voucher = await desk.voucher(1000, expires_at=ends.isoformat(), code=f"May-{next(NUMBERS)}")
    path = f"/v1/vouchers/{voucher['code']}"
    adjusted = await desk.api.post(f"{path}/adjust", {"amount": -400, "reason": "issued too high"})
    assert (adjusted.status_code, adjusted.json()["balance"]) == (200, 600)
    assert refused(await desk.api.post(f"{path}/adjust", {"amount": -601, "reason": "more"})) == (
        409, "exceeds_balance",
    )  # fmt: skip
    assert refused(await desk.redeem(voucher["id"], sub, 601)) == (409, "exceeds_balance")
    taken = await desk.api.post("/v1/vouchers", {"amount": 1, "currency": "USD", "code": voucher["code"].lower()})
    assert (taken.status_code, taken.json()["errors"][0]["field"]) == (422, "code")
    await desk.shop.until(sub, ends - timedelta(days=1))
    assert (await desk.redeem(voucher["id"], sub, 100)).status_code == 201
    await desk.shop.until(sub, ends)
    assert refused(await desk.redeem(voucher["id"], sub, 100)) == (409, "voucher_expired")
    assert await desk.left(voucher["id"]) == 500


async def test_a_worker_that_dies_with_money_in_transit(desk: Desk) -> None:
    """The subscription is busy with a charge that hangs, the money has left the voucher: then nothing answers."""
    shop = desk.shop
    sub, voucher = await desk.running(), (await desk.voucher(700))["id"]
    token = await shop.token((await shop.subscription(sub))["customer_id"])
    await shop.script(token, "hang", hang_seconds=30)
    arriving = asyncio.create_task(shop.until(sub, at("2027-04-05", 9)))

    async def hanging() -> bool:
        return "charge hang" in await shop.calls(token)

    await shop.eventually(hanging, "the charge hangs")
    transfer = Transfer(f"ctr_kill_{next(NUMBERS)}", sub, FromVoucher(voucher), at("2027-04-05", 9), "test", "gift")
    first = asyncio.create_task(shop.commands.credits.transfer(transfer))

    async def taken() -> bool:
        return await desk.left(voucher) == 0

    await shop.eventually(taken, "the money is in transit")
    await shop.stack.kill("worker")
    first.cancel()
    await asyncio.gather(first, return_exceptions=True)
    await shop.stack.restart("worker")
    await arriving
    await shop.commands.credits.transfer(transfer)
    granted = [each["data"] for each in await shop.events(sub) if each["kind"] == "credit_granted"]
    assert [(each["amount"], each["source"], each["transfer_id"]) for each in granted] == [
        (700, "voucher", transfer.id)
    ]
    assert await desk.in_transit(sub) == 0
    assert (await shop.commands.state(sub)).credit == 700
    await shop.audit_books(sub)


async def test_the_nightly_schedule_takes_what_is_left(desk: Desk) -> None:
    """Its end is brought near by the database: no clock of ours can be moved for a schedule."""
    voucher = await desk.voucher(900)
    await desk.shop.execute("UPDATE vouchers SET expires_at = issued_at WHERE id = :id", id=voucher["id"])
    assert (await desk.api.post("/v1/schedules/voucher-expiry/trigger")).status_code == 202

    async def ended() -> bool:
        return (await desk.api.get(f"/v1/vouchers/{voucher['id']}")).json()["expired_at"] is not None

    await desk.shop.eventually(ended, "the voucher has ended")
    assert await desk.left(voucher["id"]) == 0
