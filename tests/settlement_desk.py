"""A bookkeeper's desk: the real activities on a database and the sandbox gateway, without workflows.

Charges are made at the gateway and written as the charging activity writes them; a test plays the workflow.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any

from sqlalchemy import text
from temporalio.testing import ActivityEnvironment

from activities.gateway_runs import GatewayRun, GatewayRunRequest, OpenRequest, StepRequest
from activities.ledger import DoubleEntry, post
from activities.recheck import Differences, Resolved, ResolveRequest
from activities.reconciliation import Reconciliations
from activities.settlement import Settlements
from domain.ledger import RECEIVABLE, Posting, cash
from domain.money import Money
from models.session import Database
from providers.gateways.base import Order, RefundOrder
from providers.gateways.sandbox import SandboxGateway
from tests.servers import Server

NUMBERS = count(1)
CURRENCY = "EUR"


class Desk:
    """Books and gateway; `twice` runs every step a second time, as after a lost answer."""

    def __init__(self, database: Database, server: Server, gateway: SandboxGateway, *, twice: bool = True) -> None:
        self.database = database
        self.server = server
        self.gateway = gateway
        self.twice = twice
        gateways = {gateway.name: gateway}
        self.settlements = Settlements(database, gateways)
        self.reconciliations = Reconciliations(database, gateways)
        self.differences = Differences(database, gateways)

    # What is there

    async def rows(self, statement: str, **parameters: Any) -> list[dict[str, Any]]:
        async with self.database.begin() as connection:
            return [dict(row) for row in (await connection.execute(text(statement), parameters)).mappings()]

    async def execute(self, statement: str, **parameters: Any) -> None:
        async with self.database.begin() as connection:
            await connection.execute(text(statement), parameters)

    async def attempt(self, reference: str) -> dict[str, Any]:
        return (await self.rows("SELECT * FROM attempts WHERE reference = :reference", reference=reference))[0]

    async def mine(self, table: str) -> list[dict[str, Any]]:
        """The rows of a table that are about this desk's gateway."""
        return await self.rows(f"SELECT * FROM {table} WHERE gateway = :gateway", gateway=self.gateway.name)  # noqa: S608

    async def found(self, status: str | None = None) -> list[dict[str, Any]]:
        """Differences, oldest first."""
        rows = sorted(await self.mine("differences"), key=lambda row: (row["found_at"], row["reference"], row["kind"]))
        return [row for row in rows if status in {None, row["status"]}]

    async def tasks(self) -> list[tuple[str, str]]:
        """(subject, status) of the tasks about differences."""
        rows = await self.rows(
            "SELECT t.subject_id, t.status FROM tasks AS t JOIN differences AS d ON d.id = t.subject_id"
            " WHERE t.kind = 'reconciliation' AND d.gateway = :gateway ORDER BY t.opened_at, t.id",
            gateway=self.gateway.name,
        )
        return [(row["subject_id"], row["status"]) for row in rows]

    async def run_row(self, run_id: str) -> dict[str, Any]:
        return (await self.rows("SELECT * FROM settlement_runs WHERE id = :id", id=run_id))[0]

    async def cash(self) -> int:
        """What our books say lies at the gateway."""
        found = await self.rows(
            "SELECT coalesce(sum(amount), 0)::bigint AS held FROM ledger_postings WHERE account = :account",
            account=cash(self.gateway.name),
        )
        return found[0]["held"]

    async def trial_balance(self) -> int:
        return (await self.rows("SELECT coalesce(sum(amount), 0)::bigint AS sum FROM ledger_postings"))[0]["sum"]

    async def their_cash(self) -> int:
        """What the gateway's own report says of the same money, transaction by transaction."""
        now = datetime.now(UTC)
        page = await self.gateway.transactions(now - timedelta(days=1), now + timedelta(minutes=1), None)
        signs = {
            ("sale", "captured"): 1,
            ("sale", "settled"): 1,
            ("refund", "succeeded"): -1,
            ("refund", "settled"): -1,
        }
        return sum(signs.get((row.kind, row.state), 0) * row.amount.minor for row in page.rows)

    # What happens

    async def charged(
        self,
        status: str = "approved",
        amount: int = 1000,
        *,
        sent: bool = True,
        age: timedelta = timedelta(minutes=2),
        **more: Any,
    ) -> str:
        """A charge, sent to the gateway and held here with this status. Its reference."""
        number = next(NUMBERS)
        reference = f"charge:sub_desk_{number}:1:1"
        gateway_id = None
        if sent:
            order = Order(reference, f"tok_ok_visa_{number}", Money(amount, CURRENCY), "Box")
            gateway_id = (await self.gateway.sale(order)).gateway_id
        await self.execute(
            "INSERT INTO customers (id, email, currency, invoice_prefix) VALUES (:id, 'a@example.com', 'EUR', :prefix)",
            id=f"cus_desk_{number}",
            prefix=f"DESK{number}",
        )
        await self.execute(
            "INSERT INTO invoices (id, number, customer_id, subscription_id, cycle, reason, currency, total,"
            " credit_applied, amount_due, status, issued_at, local_date, test_mode) VALUES (:id, :number, :customer,"
            " :sub, 1, 'cycle', 'EUR', :amount, 0, :amount, 'open', now(), '2027-03-05', false)",
            id=f"inv_desk_{number}",
            number=f"DESK{number}-1",
            customer=f"cus_desk_{number}",
            sub=f"sub_desk_{number}",
            amount=amount,
        )
        approved = status == "approved"
        row = {
            "id": f"att_desk_{number}",
            "invoice": f"inv_desk_{number}",
            "customer": f"cus_desk_{number}",
            "sub": f"sub_desk_{number}",
            "reference": reference,
            "amount": amount,
            "gateway": self.gateway.name,
            "status": status,
            "settlement": "pending" if approved else None,
            "gateway_id": gateway_id if status != "unknown" else None,
            "recorded": datetime.now(UTC) - age,
        }
        await self.execute(
            "INSERT INTO attempts (id, invoice_id, subscription_id, customer_id, number, reference, trigger, gateway,"
            " amount, currency, status, settlement, gateway_id, at, answered_at, test_mode, recorded_at) VALUES (:id,"
            " :invoice, :sub, :customer, 1, :reference, 'due', :gateway, :amount, 'EUR', :status, :settlement,"
            " :gateway_id, '2031-01-01T00:00:00Z', '2031-01-01T00:00:00Z', false, :recorded)",
            **(row | more),
        )
        if approved:
            await self._book(reference, amount)
        return reference

    async def refunded(self, sale: str, amount: int, status: str = "succeeded") -> str:
        """A part of a settled charge given back, sent to the gateway and held here with this status."""
        number = next(NUMBERS)
        reference = f"refund:ref_desk_{number}:1"
        given = await self.gateway.refund(RefundOrder(reference, sale, Money(amount, CURRENCY)))
        charge = await self.attempt(sale)
        await self._wish(number, charge, "refund", amount)
        await self.execute(
            "INSERT INTO refund_tries (refund_id, number, kind, trigger, reference, status, gateway_id, at)"
            " VALUES (:id, 1, 'refund', 'request', :reference, :status, :gateway_id, '2031-01-01T00:00:00Z')",
            id=f"ref_desk_{number}",
            reference=reference,
            status=status,
            gateway_id=given.gateway_id,
        )
        if status == "succeeded":
            await self._book(reference, -amount)
        return reference

    async def voiding(self, sale: str) -> None:
        """A void of a charge is under way: asked for, not answered."""
        number = next(NUMBERS)
        charge = await self.attempt(sale)
        await self._wish(number, charge, "void", charge["amount"])
        await self.execute(
            "INSERT INTO refund_tries (refund_id, number, kind, trigger, reference, status, at)"
            " VALUES (:id, 1, 'void', 'request', :reference, 'pending', '2031-01-01T00:00:00Z')",
            id=f"ref_desk_{number}",
            reference=f"void:ref_desk_{number}:1",
        )

    async def learns(self, sale: str) -> None:
        """The subscription's own look-up has its answer: approved."""
        await self.execute(
            "UPDATE attempts SET status = 'approved', settlement = 'pending' WHERE reference = :reference",
            reference=sale,
        )

    async def _wish(self, number: int, charge: dict[str, Any], kind: str, amount: int) -> None:
        await self.execute(
            "INSERT INTO refunds (id, attempt_id, invoice_id, subscription_id, customer_id, kind, amount, currency,"
            " gateway, status, reason, actor, requested_at, virtual_now, event_seq, test_mode) VALUES (:id, :attempt,"
            " :invoice, :sub, :customer, :kind, :amount, 'EUR', :gateway, 'pending', 'broken', 'ann', now(), now(),"
            " 1, false)",
            id=f"ref_desk_{number}",
            gateway=self.gateway.name,
            attempt=charge["id"],
            invoice=charge["invoice_id"],
            sub=charge["subscription_id"],
            customer=charge["customer_id"],
            kind=kind,
            amount=amount,
        )

    async def _book(self, reference: str, amount: int) -> None:
        sides = [Posting(cash(self.gateway.name), amount, CURRENCY), Posting(RECEIVABLE, -amount, CURRENCY)]
        entry = DoubleEntry(f"led:{reference}", datetime.now(UTC), "test", sides, "", test_mode=False)
        async with self.database.begin() as connection:
            await post(connection, entry)

    # The gateway's side

    async def control(self, method: str, path: str, body: Any = None) -> Any:
        response = await self.server.http.request(method, f"/control{path}", json=body)
        assert response.is_success, response.text
        return response.json()

    async def settle(self, **how: Any) -> Any:
        return await self.control("POST", "/settle", how)

    async def foreign(self, reference: str, amount: int = 500, state: str = "captured") -> None:
        """A transaction at the gateway that we never made."""
        body = {"reference": reference, "amount": amount, "currency": CURRENCY, "token": "tok_ok_visa", "state": state}
        await self.control("POST", "/transactions", body)

    async def spoil(self, reference: str, **change: Any) -> None:
        await self.control("PATCH", f"/transactions/{reference}", change)

    async def drop(self, reference: str) -> None:
        await self.control("DELETE", f"/transactions/{reference}")

    # What we do about it

    async def read_reports(self, *, in_flight_s: int = 0, from_start: bool = False) -> dict[str, Any]:
        """A settlement run from its begin to its end; its row."""
        run_id = f"run_{next(NUMBERS)}"
        asked = GatewayRunRequest(run_id, self.gateway.name, "test", in_flight_s=in_flight_s, from_start=from_start)
        return await self._play(asked, self.settlements.open_settlement, self.settlements.settle_page)

    async def reconcile(
        self,
        *,
        days: float | None = 1,
        since: datetime | None = None,
        until: datetime | None = None,
        in_flight_s: int = 0,
    ) -> dict[str, Any]:
        """A reconciliation run over the last days, None: over the window that the Schedule asks for; its row."""
        begin = since if days is None else since or datetime.now(UTC) - timedelta(days=days)
        asked = GatewayRunRequest(f"run_{next(NUMBERS)}", self.gateway.name, "test", begin, until, in_flight_s)
        opening, page = self.reconciliations.open_reconciliation, self.reconciliations.reconcile_page
        return await self._play(asked, opening, page)

    async def resolve(self, difference: str, action: str, key: str = "", reason: str = "") -> Resolved:
        command = key or f"cmd_{next(NUMBERS)}"
        request = ResolveRequest(difference, action, "ann", reason, command, datetime.now(UTC))
        answers = [await self._once(self.differences.resolve_difference, request) for _ in range(1 + self.twice)]
        assert answers == [answers[0]] * len(answers)
        return answers[0]

    async def _play(self, asked: GatewayRunRequest, opening: Any, page: Any) -> dict[str, Any]:
        # The gateway's clock shows whole milliseconds; what happens in the one that ends a window is the next one's.
        await asyncio.sleep(0.002)
        request = OpenRequest(asked, datetime.now(UTC))
        opened = [await self._once(opening, request) for _ in range(1 + self.twice)]
        assert opened == [opened[0]] * len(opened)
        run: GatewayRun | None = opened[0][0]
        while run is not None:
            step = StepRequest(run, datetime.now(UTC))
            results = [await self._once(page, step) for _ in range(1 + self.twice)]
            run = results[0]
        return await self.run_row(asked.run_id)

    async def _once(self, step: Any, request: Any) -> Any:
        return await ActivityEnvironment().run(step, request)


@asynccontextmanager
async def new_desk(database: Database, server: Server) -> AsyncGenerator[Desk]:
    """A desk whose gateway has a name of its own: many share a database."""
    (await server.http.post("/control/reset")).raise_for_status()
    gateway = SandboxGateway(server.url, timeout_s=2, calls_per_second_max=1000)
    gateway.name = f"sandbox_{next(NUMBERS)}"
    try:
        yield Desk(database, server, gateway)
    finally:
        await gateway.aclose()
