"""A shop on the whole stack, as tests drive it: commands through `workflows.commands`, facts read where they are kept.

What happened is read from PostgreSQL, from the gateway's own books and from the mail sink, never from our own word.
"""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any
from zoneinfo import ZoneInfo

import httpx
import pytest
from sqlalchemy import text
from temporalio.client import Client

from domain.calendar import Interval, Unit
from domain.messages import Command, Envelope, Start
from domain.state import State
from domain.terms import DunningTerms, Terms
from local.stack import Stack
from models.session import Database
from workflows.commands import Commands, workflow_id
from workflows.converter import data_converter

NUMBERS = count(1)
NEW_YORK = "America/New_York"
MONTHLY = Interval(1, Unit.MONTH)
DAILY = Interval(1, Unit.DAY)
EVENTUALLY_S = 30.0
LEASE_OVER_S = 180.0


def at(day: str, hour: int, minute: int = 0, zone: str = NEW_YORK) -> datetime:
    """A local wall time as an instant."""
    local = datetime.fromisoformat(f"{day}T{hour:02}:{minute:02}:00").replace(tzinfo=ZoneInfo(zone))
    return local.astimezone(UTC)


class Shop:
    """Customers, subscriptions, and everything that can be asked about them."""

    def __init__(self, stack: Stack, database: Database, client: Client, http: httpx.AsyncClient) -> None:
        self.stack = stack
        self.database = database
        self.client = client
        self.http = http
        self.commands = Commands(client, stack.settings.temporal_task_queue)
        self._customer_of: dict[str, str] = {}

    # Reference data

    async def customer(
        self, *tokens: str, zone: str = NEW_YORK, policy: DunningTerms | None = None, email: str | None = None
    ) -> str:
        """A customer with these cards, in this order of use; their own email."""
        number = next(NUMBERS)
        identity = f"cus_{number}"
        if policy is not None:
            await self.policy(policy)
        await self.execute(
            "INSERT INTO customers (id, email, currency, invoice_prefix, first_name, time_zone, dunning_policy_id)"
            " VALUES (:id, :email, 'USD', :prefix, 'Ann', :zone, :policy)",
            id=identity,
            email=f"{identity}@example.com" if email is None else email,
            prefix=f"C{number}",
            zone=zone,
            policy=policy.id if policy else None,
        )
        for token in tokens:
            await self.card(identity, token)
        return identity

    async def card(self, customer: str, token: str) -> str:
        """One more card, used after those that are there. A token gets a tail of its own: it is this test's alone."""
        number = next(NUMBERS)
        identity = f"pm_{number}"
        await self.execute(
            "INSERT INTO payment_methods (id, customer_id, gateway, token, kind, brand, last4, position)"
            " VALUES (:id, :customer, 'sandbox', :token, 'card', 'visa', '4242', :number)",
            id=identity,
            customer=customer,
            token=f"{token}_{number}",
            number=number,
        )
        return identity

    async def token(self, customer: str) -> str:
        """The token of a customer's first card."""
        rows = await self.rows(
            "SELECT token FROM payment_methods WHERE customer_id = :customer ORDER BY position", customer=customer
        )
        return rows[0]["token"]

    async def policy(self, policy: DunningTerms) -> None:
        retries = [
            {"after_days": retry.after_days, "hour": retry.hour, "message": retry.message.value}
            for retry in policy.retries
        ]
        await self.execute(
            "INSERT INTO dunning_policies (id, name, retries, grace_days, end_action)"
            " VALUES (:id, :name, CAST(:retries AS jsonb), :grace, :action)",
            id=policy.id,
            name=policy.name,
            retries=json.dumps(retries),
            grace=policy.grace_days,
            action=policy.end_action.value,
        )

    async def terms(self, amount: int = 1000, interval: Interval = MONTHLY, **more: Any) -> Terms:
        """A price of a product of its own."""
        number = next(NUMBERS)
        product, price = f"prod_{number}", f"price_{number}"
        await self.execute(
            "INSERT INTO products (id, code, name) VALUES (:id, :code, 'Box')", id=product, code=f"story-{number}"
        )
        await self.execute(
            "INSERT INTO prices (id, product_id, code, currency, unit_amount, interval_count, interval_unit)"
            " VALUES (:id, :product, 'p', 'USD', :amount, :count, :unit)",
            id=price,
            product=product,
            amount=amount,
            count=interval.count,
            unit=interval.unit.value,
        )
        return Terms(price, product, "Box", amount, "USD", 1, interval, **more)

    # Subscriptions

    async def start(self, customer: str, terms: Terms, *, zone: str = NEW_YORK, **more: Any) -> State:
        """A subscription in test mode, unless told otherwise; the answer comes when it is in the books."""
        given: dict[str, Any] = {"test_mode": True} | more
        identity = given.pop("id", f"sub_{next(NUMBERS)}")
        self.knows(identity, customer)
        state = await self.commands.start(Start(identity, customer, zone, terms, "test", **given))
        assert state is not None
        return state

    def knows(self, subscription: str, customer: str) -> None:
        """Whose it is, for the audit."""
        self._customer_of[subscription] = customer

    async def send(self, subscription: str, command: Command, *, key: str | None = None, reason: str = "") -> State:
        envelope = Envelope(key or f"key-{next(NUMBERS)}", command, "test", reason)
        return await self.commands.send(subscription, envelope)

    async def until(self, subscription: str, moment: datetime) -> State:
        """Move the subscription's own clock to a second past this moment."""
        now = await self.commands.virtual_now(subscription)
        return await self.commands.advance(subscription, moment + timedelta(seconds=1) - now)

    # What happened

    async def rows(self, statement: str, **parameters: Any) -> list[dict[str, Any]]:
        async with self.database.begin() as connection:
            return [dict(row) for row in (await connection.execute(text(statement), parameters)).mappings()]

    async def execute(self, statement: str, **parameters: Any) -> None:
        async with self.database.begin() as connection:
            await connection.execute(text(statement), parameters)

    async def events(self, subscription: str) -> list[dict[str, Any]]:
        return await self.rows(
            "SELECT * FROM subscription_events WHERE subscription_id = :id ORDER BY seq", id=subscription
        )

    async def kinds(self, subscription: str) -> list[str]:
        return [event["kind"] for event in await self.events(subscription)]

    async def story(self, subscription: str, *kinds: str, zone: str = NEW_YORK) -> list[str]:
        """The timeline as lines "local day, hour:minute, kind"; with `kinds`, of these only."""
        return [
            f"{event['at'].astimezone(ZoneInfo(zone)):%Y-%m-%d %H:%M} {event['kind']}"
            for event in await self.events(subscription)
            if not kinds or event["kind"] in kinds
        ]

    async def invoices(self, subscription: str) -> list[dict[str, Any]]:
        return await self.rows(
            "SELECT * FROM invoices WHERE subscription_id = :id ORDER BY issued_at, cycle, number", id=subscription
        )

    async def attempts(self, subscription: str) -> list[dict[str, Any]]:
        return await self.rows(
            "SELECT * FROM attempts WHERE subscription_id = :id ORDER BY at, number", id=subscription
        )

    async def subscription(self, subscription: str) -> dict[str, Any]:
        return (await self.rows("SELECT * FROM subscriptions WHERE id = :id", id=subscription))[0]

    # The gateway and the mail sink

    async def script(self, token: str, *outcomes: str, then: str | None = None, hang_seconds: float = 5) -> None:
        body = {"outcomes": outcomes, "then": then, "hang_seconds": hang_seconds}
        answer = await self.http.put(f"{self.stack.gateway_url}/control/tokens/{token}/script", json=body)
        answer.raise_for_status()

    async def outage(self, *, down: bool) -> None:
        (await self.http.put(f"{self.stack.gateway_url}/control/outage", json={"down": down})).raise_for_status()

    async def calls(self, token: str | None = None, *, reference: str | None = None) -> list[str]:
        """The gateway's log of what came in for a card or a reference: "charge approve", "lookup not_found"."""
        asked = {"token": token} if reference is None else {"reference": reference}
        answer = await self.http.get(f"{self.stack.gateway_url}/control/calls", params=asked)
        return [f"{call['call']} {call['outcome']}" for call in answer.json()["calls"]]

    async def charges(self, reference: str) -> list[dict[str, Any]]:
        """Every charge that the gateway has under a reference of ours."""
        answer = await self.http.get(f"{self.stack.gateway_url}/v1/charges", params={"reference": reference})
        return [] if answer.status_code == 404 else answer.json()["charges"]

    async def mails(self, customer: str) -> list[str]:
        """The subjects of what arrived for a customer, in order of arrival."""
        answer = await self.http.get(
            f"{self.stack.mailsink_url}/messages", params={"to": f"{customer}@example.com", "limit": 1000}
        )
        return [mail["subject"] for mail in answer.json()["messages"]]

    async def history_length(self, subscription: str) -> int:
        return len((await self.client.get_workflow_handle(workflow_id(subscription)).fetch_history()).events)

    async def eventually(self, true: Callable[[], Awaitable[bool]], what: str, within_s: float = EVENTUALLY_S) -> None:
        """Wait until it is so; how long it takes is not the point."""
        try:
            async with asyncio.timeout(within_s):
                while not await true():  # noqa: ASYNC110 - what is waited for is in another process
                    await asyncio.sleep(0.1)
        except TimeoutError:
            pytest.fail(f"never came true: {what}")

    # What must always hold

    async def audit(self, *subscriptions: str) -> None:
        """Books, ledger, gateway and mail of these subscriptions agree; nothing is doubled, nothing is missing."""
        await self.audit_books(*subscriptions)
        for customer in {self._customer_of[each] for each in subscriptions}:
            await self._audit_mail(customer)

    async def audit_books(self, *subscriptions: str) -> None:
        """As `audit`, but for the mail."""
        for subscription in subscriptions:
            await self._audit_money(subscription)
            await self._audit_timeline(subscription)
        await self._audit_series({self._customer_of[each] for each in subscriptions})

    async def _audit_money(self, subscription: str) -> None:
        captured = 0
        for attempt in await self.attempts(subscription):
            charges = await self.charges(attempt["reference"])
            assert len(charges) <= 1, f"charged twice: {attempt['reference']}"
            taken = sum(charge["captured_amount"] for charge in charges)
            if attempt["status"] == "unknown":
                continue  # the gateway may hold money, and nobody claims to know
            assert (taken > 0) == (attempt["status"] == "approved"), (attempt["reference"], attempt["status"], charges)
            assert taken in {0, attempt["amount"]}
            captured += taken
        invoices = await self.invoices(subscription)
        paid = sum(invoice["amount_due"] for invoice in invoices if invoice["status"] == "paid")
        assert paid == captured, "what is paid is what the gateway holds"
        sides = await self.rows(
            "SELECT account, sum(p.amount)::bigint AS balance FROM ledger_postings AS p"
            " JOIN ledger_entries AS e ON e.id = p.entry_id WHERE e.subscription_id = :id GROUP BY account",
            id=subscription,
        )
        balances = {side["account"]: side["balance"] for side in sides}
        assert sum(balances.values()) == 0
        assert balances.get("cash:sandbox", 0) == captured
        owed = sum(invoice["amount_due"] for invoice in invoices if invoice["status"] == "open")
        assert balances.get("receivable", 0) == owed
        identities = [(invoice["cycle"], invoice["reason"], invoice["sequence"]) for invoice in invoices]
        assert len(identities) == len(set(identities))

    async def _audit_timeline(self, subscription: str) -> None:
        events = await self.events(subscription)
        assert [event["seq"] for event in events] == list(range(1, len(events) + 1)), "the timeline has no gap"
        told = Counter(event["data"].get("invoice_id") for event in events if event["kind"] == "invoice_issued")
        invoices = await self.invoices(subscription)
        assert told == Counter(invoice["id"] for invoice in invoices)
        closing = {"payment_succeeded": "paid", "invoice_settled": "paid", "invoice_voided": "void"}
        closing["invoice_written_off"] = "uncollectible"
        closed = {event["data"]["invoice_id"]: closing[event["kind"]] for event in events if event["kind"] in closing}
        assert {invoice["id"]: invoice["status"] for invoice in invoices if invoice["status"] != "open"} == closed
        row = await self.subscription(subscription)
        assert row["event_seq"] == len(events), "the list shows the state after the last line"

    async def _audit_series(self, customers: set[str]) -> None:
        for customer in customers:
            numbers = await self.rows(
                "SELECT number, invoice_prefix, invoice_seq FROM invoices JOIN customers ON customers.id = customer_id"
                " WHERE customer_id = :customer ORDER BY number",
                customer=customer,
            )
            prefix = f"{numbers[0]['invoice_prefix']}-" if numbers else ""
            assert [row["number"] for row in numbers] == [f"{prefix}{i:04}" for i in range(1, len(numbers) + 1)]
            assert all(row["invoice_seq"] == len(numbers) for row in numbers)

    async def _audit_mail(self, customer: str) -> None:
        async def sent() -> bool:
            return not await self.rows(
                "SELECT id FROM messages WHERE customer_id = :customer AND status = 'pending'", customer=customer
            )

        # A letter in the hands of a worker that was killed is taken up again when its lease is over.
        await self.eventually(sent, f"every message to {customer} is sent", within_s=LEASE_OVER_S)
        rows = await self.rows("SELECT subject FROM messages WHERE customer_id = :customer", customer=customer)
        assert Counter(await self.mails(customer)) == Counter(row["subject"] for row in rows)


async def audit_all(shop: Shop, subscriptions: Sequence[str]) -> None:
    """`Shop.audit` for many, a few at a time."""
    gate = asyncio.Semaphore(8)

    async def one(subscription: str) -> None:
        async with gate:
            await shop.audit(subscription)

    await asyncio.gather(*(one(subscription) for subscription in subscriptions))


@pytest.fixture(scope="session")
async def shop(stack: Stack) -> AsyncIterator[Shop]:
    """The shop on the stack that all tests of this process share."""
    database = Database.connect(stack.database_url, application_name="tests", pool_max=10, check_connections=True)
    client = await Client.connect(stack.temporal_address, data_converter=data_converter)
    async with httpx.AsyncClient(timeout=30, trust_env=False) as http:
        yield Shop(stack, database, client, http)
    await database.close()
