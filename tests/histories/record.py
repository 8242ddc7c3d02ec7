"""Records the histories anew: `python -m tests.histories.record [scenario …]`. A scenario is a story worth replaying.

Record again only when a workflow was changed on purpose and no run of the old code is left; until then a history that
no longer replays is a deploy that would stop subscriptions (see docs/operations.md).
"""

from __future__ import annotations

import asyncio
import json
import sys
import sysconfig
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from datetime import timedelta
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

import httpx
from temporalio.client import Client

import settings
from activities.disputes import GatewayEventRequest
from activities.merges import MergeRequest, UndoMerge
from activities.runs import BillingSegment
from api.keys import create_key
from domain.errors import Refused
from domain.messages import (
    Cancel,
    ChangeTerms,
    CollectNow,
    ForceBill,
    GrantCredit,
    Pause,
    PlaceHold,
    ReleaseHold,
    Restart,
    Resume,
    Skip,
    When,
)
from domain.refund_messages import Approve, RefundMode, TryNow
from domain.terms import Trigger
from local.stack import Stack
from models.session import Database
from tests.api.conftest import Caller
from tests.api.test_orders import BROKE, customer, done, ordered, price
from tests.refund_shop import Till
from tests.stack_fixtures import Shop, at
from workflows.commands import workflow_id
from workflows.converter import data_converter
from workflows.merge import MergeWorkflow
from workflows.refund_commands import refund_workflow_id
from workflows.time_travel import TimeTravel

FOLDER: Final = Path(__file__).parent
ROOT: Final = FOLDER.parents[1]
QUIET_S: Final = 1.0  # what has acted goes on as a new run once it is quiet
VISA = "tok_ok_visa"


async def renewals(shop: Shop) -> list[str]:
    sub = (await shop.start(await shop.customer(VISA), await shop.terms(trial_days=7), start_at=at("2028-01-24", 9))).id
    await shop.until(sub, at("2028-04-05", 9))
    return [workflow_id(sub)]


async def dunning(shop: Shop) -> list[str]:
    customer = await shop.customer(VISA)
    sub = (await shop.start(customer, await shop.terms(), start_at=at("2027-03-05", 9))).id
    await shop.script(await shop.token(customer), "approve", *["soft:insufficient_funds"] * 2, "hard:stolen_card")
    await shop.until(sub, at("2027-04-10", 9))
    await shop.send(sub, CollectNow())
    await shop.send(sub, CollectNow(await shop.card(customer, VISA), "card_update"))
    await shop.until(sub, at("2027-05-06", 9))
    return [workflow_id(sub)]


async def gateway_trouble(shop: Shop) -> list[str]:
    customer = await shop.customer(VISA)
    sub = (await shop.start(customer, await shop.terms(), start_at=at("2027-03-05", 9))).id
    await shop.script(await shop.token(customer), "down", "error_after", "error_before", "approve", "action")
    await shop.until(sub, at("2027-05-07", 9))
    return [workflow_id(sub)]


async def commands(shop: Shop) -> list[str]:
    customer = await shop.customer(VISA)
    sub = (await shop.start(customer, await shop.terms(), start_at=at("2027-03-05", 9), notice_days=3)).id
    await shop.until(sub, at("2027-03-06", 9))
    await shop.send(sub, Skip(1))
    await shop.send(sub, GrantCredit(300, "USD"))
    await shop.send(sub, PlaceHold("ops", at("2027-06-01", 9)), reason="a question")
    try:
        await shop.send(sub, ForceBill())
    except Refused:
        await shop.send(sub, ReleaseHold())
    await shop.send(sub, Skip(0))
    await shop.send(sub, ForceBill())
    await shop.until(sub, at("2027-05-06", 9))
    await shop.send(sub, ChangeTerms(await shop.terms(2000)))
    await shop.send(sub, Pause(When.NOW))
    await shop.send(sub, Resume())
    await shop.send(sub, Cancel(When.NOW), reason="moving")
    await shop.send(sub, Restart())
    await shop.until(sub, at("2027-06-30", 9))
    return [workflow_id(sub)]


async def billing_run(shop: Shop) -> list[str]:
    terms = await shop.terms()
    sub = (await shop.start(await shop.customer(VISA), terms, trigger=Trigger.EXTERNAL)).id
    await shop.commands.start_billing_run("run_1", BillingSegment(product_id=terms.product_id), "record")
    await shop.client.get_workflow_handle("billing-run:run_1").result()
    await shop.commands.settled(sub)
    return [workflow_id(sub), "billing-run:run_1"]


async def dispute(shop: Shop) -> list[str]:
    sub = (await shop.start(await shop.customer(VISA), await shop.terms())).id
    data = {"dispute_id": "dp_1", "reference": (await shop.attempts(sub))[0]["reference"], "amount": 1000}
    lost = GatewayEventRequest("sandbox", "evt_1", "dispute.lost", at("2027-03-05", 9), data | {"currency": "USD"})
    await shop.commands.take_gateway_event(lost)
    await shop.client.get_workflow_handle("gateway-event:sandbox:evt_1").result()
    return [workflow_id(sub), "gateway-event:sandbox:evt_1"]


async def refunds(shop: Shop) -> list[str]:
    """The queue to its end, a lost answer, a try by hand, a void that settlement overtakes, an approval, a refusal."""
    till = Till(shop)
    await till.rules(approval_limits={"USD": 1500})
    sale, unsettled, large = await till.sale(), await till.sale(settled=False), await till.sale(amount=2000)
    await till.script(sale, refunds=[*["fail:closed_account"] * 4, "fail:busy", "error_before"])
    given_up = await till.open(sale, amount=100)
    await till.until(given_up.id, at("2027-03-05", 12))
    by_hand = await till.open(sale, amount=200)
    by_hand = await till.send(by_hand.id, TryNow())
    await till.until(by_hand.id, at("2027-03-01", 12))
    await till.script(unsettled, voids=["settles_first"])
    overtaken = await till.open(unsettled, RefundMode.VOID_FIRST)
    approved = await till.open(large)
    await till.send(approved.id, Approve())
    refused = till.wish(large)
    with suppress(Refused):
        await shop.commands.refunds.open(refused)
    ids = (given_up.id, by_hand.id, overtaken.id, approved.id, refused.id)
    return [refund_workflow_id(each) for each in ids]


async def orders(shop: Shop) -> list[str]:
    """Edited, declined and paid otherwise; a lost answer; cancelled with what it began; lapsed, and over."""
    live = Caller(shop.http, await create_key(shop.database, "record"))
    monthly, once = await price(live, 1900), await price(live, 4000, one_time=True)
    buyer = await customer(live, BROKE)
    both = [{"price_id": monthly}, {"price_id": once}]
    edited = await ordered(live, customer_id=buyer, lines=[{"price_id": once}], place=True)
    edited = await done(live, edited, "lines", {"lines": both})
    edited = await done(live, edited, "pay", {"total": 5900})
    good = await live.made(f"/v1/customers/{buyer}/payment-methods", {"token": VISA})
    edited = await done(live, edited, "pay", {"total": 5900, "payment_method_id": good["id"]})
    unsure = await ordered(live, customer_id=await customer(live, "tok_error_after"), lines=both)
    unsure = await done(live, unsure, "pay", {"total": 5900})
    canceled = await ordered(live, customer_id=await customer(live, VISA), lines=both, pay={"total": 5900})
    canceled = await done(live, canceled, "cancel")
    lapsed = await ordered(live, customer_id=buyer, lines=both, place=True)
    await TimeTravel(shop.client).advance(shop.client.get_workflow_handle(f"order:{lapsed['id']}"), timedelta(days=62))
    return [f"order:{each['id']}" for each in (edited, unsure, canceled, lapsed)]


async def holds(shop: Shop) -> list[str]:
    """Authorised, and captured; released and paid otherwise; gone when it was to be captured; run out by the clock."""
    live = Caller(shop.http, await create_key(shop.database, "record"))
    monthly, later = await price(live, 1900), {"capture": "later"}
    buyer = await customer(live, VISA)
    wanted = {"customer_id": buyer, "lines": [{"price_id": monthly}], "pay": later}
    captured, released, gone, left = [await ordered(live, **wanted) for _ in range(4)]
    await done(live, captured, "capture")
    await done(live, released, "release")
    await done(live, released, "pay")
    reference = gone["charges"][0]["reference"]
    (await shop.http.post(f"{shop.stack.gateway_url}/v1/charges/{reference}/void")).raise_for_status()
    await done(live, gone, "capture")
    await done(live, gone, "cancel")
    await TimeTravel(shop.client).advance(shop.client.get_workflow_handle(f"order:{left['id']}"), timedelta(days=8))
    return [f"order:{each['id']}" for each in (captured, released, gone, left)]


async def merge(shop: Shop) -> list[str]:
    """Undone by the one, final for the other after thirty days."""
    asked: list[MergeRequest] = []
    travel = TimeTravel(shop.client)
    for number in (1, 2):
        master, loser = await shop.customer(VISA), await shop.customer(VISA)
        await shop.start(loser, await shop.terms())
        asked.append(MergeRequest(f"mrg_{number}", master, loser, "lena", "the same person"))
        await travel.client.start_workflow(
            MergeWorkflow.run,
            asked[-1],
            id=f"merge:{asked[-1].merge_id}",
            task_queue=shop.stack.settings.temporal_task_queue,
        )
        await shop.commands.merges.moved(asked[-1].merge_id)
    await shop.commands.merges.undo(UndoMerge("undo_1", "mrg_1", "lena", "two people"))
    final = shop.client.get_workflow_handle("merge:mrg_2")
    await travel.advance(final, timedelta(days=31))
    await final.result()
    return ["merge:mrg_1", "merge:mrg_2"]


SCENARIOS: Final = MappingProxyType(
    {
        story.__name__: story
        for story in (renewals, dunning, gateway_trouble, commands, billing_run, dispute, refunds, orders, holds, merge)
    }
)


@asynccontextmanager
async def own_shop() -> AsyncGenerator[Shop]:
    async with Stack(settings.Settings(gateway_timeout_s=2), ephemeral=True) as stack:
        await stack.migrate()
        await stack.start_worker()
        await stack.start_api()
        database = Database.connect(stack.database_url, application_name="record", pool_max=5)
        client = await Client.connect(stack.temporal_address, data_converter=data_converter)
        async with httpx.AsyncClient(base_url=stack.api_url, timeout=60, trust_env=False) as http:
            yield Shop(stack, database, client, http)
        await database.close()


async def record(shop: Shop, story: Callable[[Shop], Awaitable[list[str]]]) -> list[dict[str, Any]]:
    """Every run of the workflows of a story, oldest first."""
    runs: list[dict[str, Any]] = []
    workflows = await story(shop)
    await asyncio.sleep(QUIET_S)
    for workflow in workflows:
        chain: list[dict[str, Any]] = []
        run: str | None = (await shop.client.get_workflow_handle(workflow).describe()).run_id
        while run:
            history = await shop.client.get_workflow_handle(workflow, run_id=run).fetch_history()
            run = history.events[0].workflow_execution_started_event_attributes.continued_execution_run_id
            chain.insert(0, {"workflow": workflow, "history": history.to_json_dict()})
        runs += chain
    return runs


async def main(names: list[str]) -> None:
    async with own_shop() as shop:
        for name in names or list(SCENARIOS):
            runs = await record(shop, SCENARIOS[name])
            lines = ",\n".join(json.dumps(run, ensure_ascii=False, separators=(",", ":")) for run in runs)
            # The stack trace of a refusal names files: of the project, not of the machine that recorded it.
            lines = lines.replace(f"{sysconfig.get_path('purelib')}/", "").replace(f"{ROOT}/", "")
            (FOLDER / f"{name}.json").write_text(f"[\n{lines}\n]\n")
            print(f"{name}: {len(runs)} runs, {sum(len(run['history']['events']) for run in runs)} events")  # noqa: T201


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1:]))
