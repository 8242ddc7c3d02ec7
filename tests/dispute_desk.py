"""A merchant's books and a gateway's events, as tests of disputes use them: one charge of 12.00 EUR for each sale."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any

from sqlalchemy import text
from temporalio.testing import ActivityEnvironment

from activities.disputes import Disputes, GatewayEventRequest, TakenEvent
from domain.messages import Envelope
from domain.state import State
from models.session import Database

NUMBERS = count(1)
SOLD = datetime(2027, 3, 1, 9, tzinfo=UTC)
DEADLINE = datetime(2027, 3, 12, 9, tzinfo=UTC)
DAYS = {"opened": 2, "evidence_due": 5, "won": 20, "lost": 20}

SALE = """
INSERT INTO customers (id, email, currency, invoice_prefix)
VALUES ('cus_' || :n, 'jo' || :n || '@gmail.com', 'EUR', 'C' || :n);
INSERT INTO payment_methods (id, customer_id, gateway, token, kind, fingerprint)
VALUES ('pm_' || :n, 'cus_' || :n, 'sandbox', 'tok', 'card', 'fp_' || :n);
INSERT INTO invoices (id, number, customer_id, subscription_id, cycle, reason, currency, total, credit_applied,
    amount_due, status, issued_at, local_date, test_mode)
VALUES ('in_' || :n, 'N' || :n, 'cus_' || :n, 'sub_' || :n, 1, 'cycle', 'EUR', 1200, 0,
    1200, 'paid', :at, '2027-03-01', :test_mode);
INSERT INTO attempts (id, invoice_id, subscription_id, customer_id, number, reference, trigger, payment_method_id,
    gateway, amount, currency, status, at, test_mode)
VALUES ('att_' || :n, 'in_' || :n, 'sub_' || :n, 'cus_' || :n, 1, 'charge:' || :n, 'timer', 'pm_' || :n,
    'sandbox', 1200, 'EUR', 'approved', :at, :test_mode)
"""


class Door:
    """Keeps what it is asked; answers as it is told."""

    def __init__(self, *answers: Exception | None) -> None:
        self.asked: list[tuple[str, Envelope]] = []
        self._answers = list(answers)

    async def send(self, subscription_id: str, envelope: Envelope) -> State:
        self.asked.append((subscription_id, envelope))
        answer = self._answers.pop(0) if self._answers else None
        if answer is not None:
            raise answer
        return None  # pyright: ignore[reportReturnType] - nobody reads the state here


class Desk:
    """A merchant's books, and the gateway's events as they come in."""

    def __init__(self, database: Database, door: Door | None = None) -> None:
        self.database = database
        self.door = door or Door()
        self.parcels: list[str] = []
        self.disputes = Disputes(database, self.door, self)

    async def dispatch(self, messages: Sequence[str]) -> None:
        """What is asked back from its provider."""
        self.parcels.extend(messages)

    async def rows(self, statement: str, **parameters: Any) -> list[dict[str, Any]]:
        async with self.database.begin() as connection:
            return [dict(row) for row in (await connection.execute(text(statement), parameters)).mappings()]

    async def execute(self, statement: str, **parameters: Any) -> None:
        async with self.database.begin() as connection:
            await connection.execute(text(statement), parameters)

    async def sale(self, *, at: datetime = SOLD, test_mode: bool = False, name: str | None = None) -> str:
        """A paid charge of 12.00 EUR; its name is part of all names around it."""
        number = name or f"d{next(NUMBERS)}"
        given: dict[str, Any] = {"n": number, "at": at, "test_mode": test_mode}
        for statement in SALE.split(";"):
            await self.execute(statement, **{key: given[key] for key in given if f":{key}" in statement})
        return number

    async def hear(self, sale: str, word: str, event_id: str | None = None, **data: Any) -> TakenEvent:
        return await ActivityEnvironment().run(self.disputes.take, event(sale, word, event_id, **data))

    async def dispute(self, sale: str) -> dict[str, Any]:
        (row,) = await self.rows("SELECT * FROM disputes WHERE gateway_id = :name", name=f"dp_{sale}")
        return row

    async def accounts(self, sale: str) -> dict[str, int]:
        found = await self.rows(
            "SELECT account, sum(p.amount)::bigint AS balance FROM ledger_postings AS p JOIN ledger_entries AS e"
            " ON e.id = p.entry_id WHERE e.subscription_id = :id GROUP BY account HAVING sum(p.amount) <> 0",
            id=f"sub_{sale}",
        )
        return {row["account"]: row["balance"] for row in found}

    async def entries(self, sale: str) -> dict[str, str]:
        """Kind → id of every entry."""
        found = await self.rows("SELECT id, kind FROM ledger_entries WHERE subscription_id = :id", id=f"sub_{sale}")
        return {row["kind"]: row["id"] for row in found}

    async def tasks(self, sale: str) -> dict[str, tuple[str, str, datetime | None]]:
        """Kind → status, outcome and deadline of each task about the dispute."""
        found = await self.rows(
            "SELECT t.* FROM tasks AS t JOIN gateway_events AS e ON e.subject_id = t.subject_id"
            " WHERE e.body -> 'data' ->> 'dispute_id' = :name",
            name=f"dp_{sale}",
        )
        return {row["kind"]: (row["status"], row["outcome"], row["deadline"]) for row in found}

    async def outcomes(self, sale: str) -> list[tuple[str, bool]]:
        """What each event led to, and whether it is done with."""
        found = await self.rows(
            "SELECT outcome, handled_at FROM gateway_events WHERE body -> 'data' ->> 'dispute_id' = :name"
            " ORDER BY received_at",
            name=f"dp_{sale}",
        )
        return [(row["outcome"], row["handled_at"] is not None) for row in found]

    async def rule(self, **rules: Any) -> None:
        await self.execute(
            "INSERT INTO business_policies (key, value, updated_by) VALUES ('disputes', CAST(:value AS jsonb), 'test')",
            value=str(rules).replace("'", '"').replace("True", "true"),
        )


def event(sale: str, word: str, event_id: str | None = None, **data: Any) -> GatewayEventRequest:
    told = {
        "dispute_id": f"dp_{sale}",
        "reference": f"charge:{sale}",
        "amount": 1200,
        "fee": 1500,
        "currency": "EUR",
        "reason": "fraudulent",
        "evidence_due_at": DEADLINE.isoformat(),
    }
    at = SOLD + timedelta(days=DAYS[word])
    return GatewayEventRequest("sandbox", event_id or f"evt_{next(NUMBERS)}", f"dispute.{word}", at, told | data)
