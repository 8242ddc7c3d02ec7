"""The second part of the story: money that goes back, or is taken back."""

from __future__ import annotations

import asyncio
from typing import Final

from examples.demo import shown
from examples.demo.chapters import chapter, wait_for
from examples.demo.scene import Scene
from examples.demo.servers import Json, Problem

NOTIFY: Final = "refunds@example.com"


@chapter("A refund that fails: once a day for three days, then people are told", "Wilma")
async def refund_queue(s: Scene) -> None:
    await s.subscribe("coffee", "4 May 09:00")
    await s.until("6 May")
    (charge,) = await s.charges()
    early = await s.refund_refused(charge, "refunds", amount=700, reason="arrived damaged")
    s.expect("before settlement a refund is refused", "not_settled", early)
    await s.settle(charge)
    late = await s.refund_refused(charge, "void", reason="arrived damaged")
    s.expect("after it a void is", "already_settled", late)
    await s.gateway.script_returns(charge["reference"], refunds=["fail:refund_declined"] * 4)
    refund = await s.give_back(f"/v1/charges/{charge['id']}/refunds", amount=700, reason="arrived damaged")
    s.expect("the first call failed: it is in the queue", "queued", refund["status"])
    held = await s.api.get(f"/v1/charges/{charge['id']}")
    s.expect("what it holds cannot be given back twice", 1200, held["refundable"])
    refund = await s.days(refund, 4)
    s.expect("after three retries it leaves the queue", ("failed", 3), (refund["status"], refund["retries"]))
    days = [shown.day(shown.moment(each["at"], s.who.zone)) for each in refund["tries"]]
    s.expect("one call, then a retry on each of three days", ["4 May", "5 May", "6 May", "7 May"], days)
    tasks = await s.api.all("/v1/tasks", customer_id=s.who.id)
    s.expect("a task is open", ["refund_exhausted"], [task["kind"] for task in tasks if task["status"] == "open"])
    told = await s.api.all("/v1/messages", refund_id=refund["id"])
    s.expect("the notify list is told", [NOTIFY], [message["recipient"] for message in told])
    await s.gateway.script_returns(charge["reference"], refunds=["fail:refund_declined", "fail:refund_declined"])
    second = await s.give_back(f"/v1/charges/{charge['id']}/refunds", amount=700, reason="once more, by the agent")
    second = await s.days(second, 3)
    s.expect("the next one succeeds on its second day", ("succeeded", 2), (second["status"], second["retries"]))
    s.tell(f"Credit note {second['credit_note']['number']} documents it; the invoice stays as it was.")
    await s.expect_paid("4 May 19.00")


# What the second is told: the money is held by the first, or went back already. It is a matter of milliseconds.
_TOO_LATE = frozenset({"exceeds_refundable", "already_voided"})


@chapter("A void that loses the race, and one that wins it", "Sefa")
async def void_race(s: Scene) -> None:
    await s.subscribe("studio", "3 Mar 09:00")
    await s.until("4 Apr")
    first, second = await s.charges()
    s.tell("Two agents press at once: give back the payment of March.")
    path = f"/v1/invoices/{first['invoice_id']}/give-back"
    results = await asyncio.gather(*(_pressed(s, path) for _ in range(2)))
    served = [word for word in results if word not in _TOO_LATE]
    s.expect("one of two agents is served", ["succeeded"], served)
    await s.gateway.script_returns(second["reference"], voids=["settles_first"])
    refund = await s.give_back(f"/v1/invoices/{second['invoice_id']}/give-back", reason="never used it")
    s.expect(
        "settlement overtook the void; a refund followed",
        [("void", "failed", "already_settled"), ("refund", "succeeded", None)],
        [(each["kind"], each["status"], each["code"]) for each in refund["tries"]],
    )
    charges = [await s.api.get(f"/v1/charges/{charge['id']}") for charge in (first, second)]
    s.expect("nothing is left to give back", [0, 0], [charge["refundable"] for charge in charges])


@chapter("A voucher pays first, a credit note after it", "Rosa")
async def voucher(s: Scene) -> None:
    await s.subscribe("studio", "6 Feb 09:00")
    await s.until("8 Feb")
    wanted = {"amount": 2000, "currency": "USD", "reason": "a gift", "test_mode": True}
    issued = await s.api.post("/v1/vouchers", wanted)
    await s.api.post(f"/v1/vouchers/{issued['id']}/redeem", {"subscription_id": s.subscription, "amount": 1500})
    (invoice,) = await s.api.all("/v1/invoices", subscription_id=s.subscription)
    note = {"amount": 300, "reason": "a day without service"}
    await s.api.post(f"/v1/invoices/{invoice['id']}/credit-notes", note)
    await s.catch_up()
    left = await s.api.get(f"/v1/vouchers/{issued['id']}")
    s.expect("5.00 are left on the voucher", 500, left["balance"])
    await s.until("7 May")
    # 15.00 of the voucher and 3.00 of the credit note: all of March, half of April.
    await s.expect_paid("6 Feb 12.00", "6 Apr 6.00", "6 May 12.00")


@chapter("A payment is disputed, and the dispute lost", "Yusuf")
async def dispute(s: Scene) -> None:
    await s.subscribe("weekend", "1 Jul 09:00")
    await s.until("5 Jul")
    (charge,) = await s.charges()
    await s.settle(charge)
    name = await s.gateway.dispute(charge["reference"], reason="product_not_received", fee=1500)
    opened = await wait_for(lambda: _dispute(s, "opened"))
    s.tell(f"The gateway takes {shown.amount(opened['amount'], 'GBP')} back: dispute {opened['status']}.")
    blocked = await s.refund_refused(charge, "refunds", reason="to be nice")
    s.expect("what is disputed is not refunded as well", "disputed", blocked)
    await s.gateway.decide(name, "lost")
    lost = await wait_for(lambda: _dispute(s, "lost"))
    s.tell(f"Lost: {shown.amount(lost['amount'], 'GBP')} and a fee of {shown.amount(lost['fee'], 'GBP')} are gone.")
    await wait_for(lambda: _ended(s))
    await s.catch_up()
    await s.expect_status("canceled")


async def _pressed(s: Scene, path: str) -> str:
    try:
        return (await s.give_back(path, reason="charged by mistake"))["status"]
    except Problem as problem:
        s.tell(f"The other agent is refused: {problem.status} {problem.code}.")
        return problem.code


async def _dispute(s: Scene, status: str) -> Json | None:
    found = await s.api.all("/v1/disputes", customer_id=s.who.id)
    return next((each for each in found if each["status"] == status), None)


async def _ended(s: Scene) -> Json | None:
    detail = await s.detail()
    return detail if detail["status"] == "canceled" else None
