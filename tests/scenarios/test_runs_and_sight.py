"""Billing runs from anywhere, catching up, the forecast kept, and what operators see in Temporal."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from temporalio.api.sdk.v1 import WorkflowMetadata

from activities.runs import BillingSegment
from domain.errors import Unavailable
from domain.explain import SENTENCES, sentence
from domain.forecast import Assume, forecast
from domain.messages import BillDue, Envelope, ForceBill
from domain.terms import DEFAULT_DUNNING, Trigger
from tests.stack_fixtures import DAILY, NUMBERS, Shop, at
from workflows.commands import workflow_id
from workflows.policies import STEP_RETRY, TROUBLE_RETRY_AFTER
from workflows.time_travel import TimeTravel

pytestmark = [pytest.mark.stack, pytest.mark.timeout(240)]

VISA = "tok_ok_visa"


async def run_to_its_end(shop: Shop, run: str, segment: BillingSegment) -> dict[str, int]:
    await shop.commands.start_billing_run(run, segment, "test")
    return await shop.client.get_workflow_handle(f"billing-run:{run}").result()


async def test_runs_called_from_everywhere_bill_each_cycle_once_and_never_early(shop: Shop) -> None:
    terms = await shop.terms()
    subs = [(await shop.start(await shop.customer(VISA), terms, trigger=Trigger.EXTERNAL)).id for _ in range(6)]
    segment = BillingSegment(product_id=terms.product_id)
    for moved in (timedelta(0), timedelta(days=20), timedelta(days=20)):
        if moved:
            await asyncio.gather(*(shop.commands.advance(sub, moved) for sub in subs))
        runs = [f"run-{next(NUMBERS)}" for _ in range(5)]
        await asyncio.gather(*(run_to_its_end(shop, run, segment) for run in [*runs, *runs]))
        late = [Envelope(f"due-{next(NUMBERS)}", BillDue("x"), "test") for _ in range(3)]
        await asyncio.gather(*(shop.commands.send(subs[0], envelope) for envelope in late))
    for sub in subs:
        invoices = await shop.invoices(sub)
        assert [row["cycle"] for row in invoices] == [1, 2], "at once, not after 20 days, and after 40"
        assert all(row["issued_at"] >= row["period_start"] for row in invoices)
        await shop.audit(sub)


async def test_a_run_writes_down_what_became_of_each(shop: Shop) -> None:
    terms = await shop.terms()
    good = (await shop.start(await shop.customer(VISA), terms, trigger=Trigger.EXTERNAL)).id
    broke_customer = await shop.customer("tok_soft_velocity")
    broke = (await shop.start(broke_customer, terms, trigger=Trigger.EXTERNAL)).id
    run = f"run-{next(NUMBERS)}"
    verdicts = await run_to_its_end(shop, run, BillingSegment(product_id=terms.product_id))
    assert verdicts == {"billed": 1, "open": 1}
    items = await shop.rows("SELECT subscription_id, verdict FROM billing_run_items WHERE run_id = :run", run=run)
    assert {item["subscription_id"]: item["verdict"] for item in items} == {good: "billed", broke: "open"}


async def test_what_fell_due_while_everything_was_down_is_billed_once_it_is_up(shop: Shop) -> None:
    due = datetime.now(UTC).replace(microsecond=0) + timedelta(seconds=3)
    terms = await shop.terms(interval=DAILY)
    subs = [(await shop.start(await shop.customer(VISA), terms, start_at=due, test_mode=False)).id for _ in range(5)]
    await shop.stack.stop("worker")
    await shop.stack.kill("temporal")
    await asyncio.sleep(4)
    await shop.stack.restart("temporal")
    await shop.stack.restart("worker")

    async def billed() -> bool:
        return all([[row["status"] for row in await shop.invoices(sub)] == ["paid"] for sub in subs])

    await shop.eventually(billed, "what fell due is billed", within_s=60)
    await shop.audit(*subs)


@pytest.mark.parametrize("assume", list(Assume))
async def test_the_forecast_is_what_then_happens(shop: Shop, assume: Assume) -> None:
    customer = await shop.customer(VISA)
    terms = await shop.terms(trial_days=7, setup_fee=300)
    sub = (await shop.start(customer, terms, start_at=at("2028-01-24", 9), notice_days=3)).id
    await shop.until(sub, at("2028-01-25", 9))
    if assume is Assume.CARD_FAILS:
        await shop.script(await shop.token(customer), then="soft:velocity")
    state = await shop.commands.state(sub)
    seen = forecast(state, at("2028-01-25", 9), cycles=3, assume=assume, policy=DEFAULT_DUNNING)
    await shop.until(sub, seen[-1].at)
    happened = [event for event in await shop.events(sub) if event["seq"] > state.seq]
    assert [(event["at"], event["kind"]) for event in happened] == [(each.at, each.kind) for each in seen]
    # Who takes the money is not foreseen; how much, and every date, is.
    unforeseen = {"method_id", "gateway", "gateway_id", "code"}

    def foreseeable(data: dict[str, Any]) -> dict[str, Any]:
        return {name: value for name, value in data.items() if name not in unforeseen}

    assert [foreseeable(event["data"]) for event in happened] == [foreseeable(dict(each.data)) for each in seen]
    assert {event["kind"] for event in happened} <= set(SENTENCES)
    assert all("{" not in sentence(event["kind"], event["data"]) for event in happened)


async def test_operators_find_subscriptions_by_status_customer_and_next_due(shop: Shop) -> None:
    customer = await shop.customer(VISA)
    sub = (await shop.start(customer, await shop.terms(trial_days=7), start_at=at("2028-01-24", 9))).id
    await shop.until(sub, at("2028-01-25", 9))

    async def found(query: str) -> list[str]:
        found = shop.client.list_workflows(f"DunlinCustomer = '{customer}' AND ExecutionStatus = 'Running' AND {query}")
        return [each.id async for each in found]

    async def trialing() -> bool:
        return await found("DunlinStatus = 'trialing' AND DunlinDunning = 'none'") == [workflow_id(sub)]

    await shop.eventually(trialing, "it is listed as trialing")
    await shop.script(await shop.token(customer), then="soft:velocity")
    await shop.until(sub, at("2028-02-01", 9))

    async def overdue() -> bool:
        return await found("DunlinStatus = 'overdue' AND DunlinDunning = 'default'") == [workflow_id(sub)]

    await shop.eventually(overdue, "it is listed as overdue")
    assert await found("DunlinNextDue > '2028-02-01T00:00:00Z'") == [workflow_id(sub)]


async def test_a_step_that_cannot_write_goes_on_once_it_can(shop: Shop) -> None:
    sub = (await shop.start(await shop.customer(VISA), await shop.terms(), start_at=at("2027-03-05", 9))).id
    await shop.until(sub, at("2027-03-05", 10))
    await shop.execute("ALTER TABLE attempts RENAME TO attempts_away")
    try:
        moving = asyncio.create_task(shop.until(sub, at("2027-04-05", 10)))

        async def failing() -> bool:
            described = await shop.client.get_workflow_handle(workflow_id(sub)).describe()
            return bool(described.raw_description.pending_activities) or moving.done()

        await shop.eventually(failing, "the step fails")
        await asyncio.sleep(2)
    finally:
        await shop.execute("ALTER TABLE attempts_away RENAME TO attempts")
    try:
        await moving
    except Unavailable:
        await shop.commands.settled(sub)
    assert [row["status"] for row in await shop.invoices(sub)] == ["paid", "paid"]
    await shop.audit(sub)


async def details(shop: Shop, sub: str) -> str:
    """What Temporal's UI says of this subscription."""
    handle = shop.client.get_workflow_handle(workflow_id(sub))
    said = await handle.query("__temporal_workflow_metadata", result_type=WorkflowMetadata)
    return said.current_details


async def test_a_step_that_fails_three_times_for_our_own_reasons_says_so_and_goes_on_by_itself(shop: Shop) -> None:
    sub = (await shop.start(await shop.customer(VISA), await shop.terms())).id
    # The database takes no attempt of this subscription for a while; all others go on.
    await shop.execute(f"ALTER TABLE attempts ADD CONSTRAINT no_room CHECK (subscription_id <> '{sub}') NOT VALID")
    try:
        asking = asyncio.create_task(shop.send(sub, ForceBill()))

        async def stuck() -> bool:
            return "**Stuck**" in await details(shop, sub)

        await shop.eventually(stuck, "the trouble is shown")

        async def listed() -> bool:
            found = {each.id: each.trouble for each in await shop.commands.in_trouble(100)}
            return 'violates check constraint "no_room"' in found.get(workflow_id(sub), "")

        await shop.eventually(listed, "it is in the list of what is stuck")
        assert 'violates check constraint "no_room"' in await details(shop, sub)
        history = await shop.client.get_workflow_handle(workflow_id(sub)).fetch_history()
        tried = [
            event.activity_task_started_event_attributes.attempt
            for event in history.events
            if event.HasField("activity_task_started_event_attributes")
        ]
        assert tried == [1, STEP_RETRY.maximum_attempts], "the first charge went well, this one was tried three times"
    finally:
        await shop.execute("ALTER TABLE attempts DROP CONSTRAINT no_room")
    assert [row["status"] for row in await shop.invoices(sub)] == ["paid"], "nothing of the failed step stays"
    # By an hour: its end must not pass by the wall clock while the step is under way (see `workflows.journey`).
    clock = TimeTravel(shop.client)
    await clock.advance(shop.client.get_workflow_handle(workflow_id(sub)), TROUBLE_RETRY_AFTER + timedelta(hours=1))
    assert (await asking).period is not None, "who asked gets the answer that was held up"
    assert [row["status"] for row in await shop.invoices(sub)] == ["paid", "paid"]
    assert "Stuck" not in await details(shop, sub)

    async def gone() -> bool:
        return workflow_id(sub) not in {each.id for each in await shop.commands.in_trouble(100)}

    await shop.eventually(gone, "it has left the list")
    assert (await details(shop, sub)).startswith("**active**")
    await shop.audit(sub)
