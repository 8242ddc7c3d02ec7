"""A shop that gives money back: charges to return, the gateway's script for returns, and what must always hold."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from domain.refund_messages import OpenRefund, RefundCommand, RefundEnvelope, RefundMode
from domain.refund_state import RefundState
from tests.stack_fixtures import NUMBERS, Shop, at

AGENT = "agent anna"
LEAD = "lead lena"
MONDAY = "2027-03-01"


@dataclass(frozen=True, slots=True)
class Sale:
    """A charge that went through, and whose it is."""

    attempt: str
    invoice: str
    reference: str
    subscription: str
    customer: str
    amount: int


class Till:
    """Opens and commands refunds as the API will, and reads what came of them."""

    def __init__(self, shop: Shop) -> None:
        self.shop = shop

    async def sale(self, *, amount: int = 1000, settled: bool = True) -> Sale:
        """A subscription's first charge, on a Monday at nine in New York."""
        customer = await self.shop.customer("tok_ok_visa")
        start = at(MONDAY, 9)
        sub = (await self.shop.start(customer, await self.shop.terms(amount), start_at=start)).id
        await self.shop.until(sub, start)
        row = (await self.shop.attempts(sub))[0]
        sale = Sale(row["id"], row["invoice_id"], row["reference"], sub, customer, row["amount"])
        if settled:
            await self.settle(sale)
        return sale

    async def settle(self, sale: Sale) -> None:
        """The gateway closes its batch, and its report has been read."""
        answer = await self.shop.http.post(
            f"{self.shop.stack.gateway_url}/control/settle", json={"references": [sale.reference]}
        )
        answer.raise_for_status()
        await self.shop.execute("UPDATE attempts SET settlement = 'settled' WHERE id = :id", id=sale.attempt)

    async def script(self, sale: Sale, **outcomes: Any) -> None:
        """`refunds=[…]`, `voids=[…]`, `refunds_then=…`: what the gateway does with returns of this sale."""
        url = f"{self.shop.stack.gateway_url}/control/returns/{sale.reference}/script"
        (await self.shop.http.put(url, json=outcomes)).raise_for_status()

    def wish(
        self, sale: Sale, mode: RefundMode = RefundMode.REFUND, amount: int | None = None, **more: Any
    ) -> OpenRefund:
        given: dict[str, Any] = {"id": f"ref_{next(NUMBERS)}", "actor": AGENT, "test_mode": True} | more
        return OpenRefund(attempt_id=sale.attempt, mode=mode, reason="asked by mail", amount=amount, **given)

    async def open(
        self, sale: Sale, mode: RefundMode = RefundMode.REFUND, amount: int | None = None, **more: Any
    ) -> RefundState:
        return await self.shop.commands.refunds.open(self.wish(sale, mode, amount, **more))

    async def send(
        self, refund: str, command: RefundCommand, *, actor: str = LEAD, key: str | None = None
    ) -> RefundState:
        envelope = RefundEnvelope(key or f"key-{next(NUMBERS)}", command, actor, "a reason")
        return await self.shop.commands.refunds.send(refund, envelope)

    async def until(self, refund: str, moment: datetime) -> RefundState:
        """Move the refund's own clock to a second past this moment."""
        now = await self.shop.commands.refunds.virtual_now(refund)
        return await self.shop.commands.refunds.advance(refund, moment + timedelta(seconds=1) - now)

    async def rules(self, **rules: Any) -> None:
        """The merchant's rules for refunds, as the API writes them; without any they are the default ones."""
        await self.shop.execute("DELETE FROM business_policies WHERE key = 'refunds'")
        if rules:
            await self.shop.execute(
                "INSERT INTO business_policies (key, value, updated_by)"
                " VALUES ('refunds', CAST(:value AS jsonb), 'test')",
                value=json.dumps(rules),
            )

    async def dispute(self, sale: Sale) -> str:
        """The customer's bank disputes the charge; only our books know, the gateway's are another test's."""
        identity = f"dp_{next(NUMBERS)}"
        await self.shop.execute(
            "INSERT INTO disputes (id, gateway, gateway_id, attempt_id, invoice_id, subscription_id, customer_id,"
            " amount, currency, status, opened_at, test_mode)"
            " SELECT CAST(:id AS text), gateway, CAST(:id AS text), id, invoice_id, subscription_id, customer_id,"
            " amount, currency, 'opened', now(), true FROM attempts WHERE id = :attempt",
            id=identity,
            attempt=sale.attempt,
        )
        return identity

    # What came of it

    async def row(self, refund: str) -> dict[str, Any]:
        return (await self.shop.rows("SELECT * FROM refunds WHERE id = :id", id=refund))[0]

    async def tries(self, refund: str) -> list[dict[str, Any]]:
        return await self.shop.rows("SELECT * FROM refund_tries WHERE refund_id = :id ORDER BY number", id=refund)

    async def kinds(self, refund: str) -> list[str]:
        rows = await self.shop.rows("SELECT kind FROM refund_events WHERE refund_id = :id ORDER BY seq", id=refund)
        return [row["kind"] for row in rows]

    async def held(self, sale: Sale) -> tuple[int, int]:
        """What is given back or held on the charge, and on its invoice."""
        row = (
            await self.shop.rows(
                "SELECT a.returned, i.credited FROM attempts AS a JOIN invoices AS i ON i.id = a.invoice_id"
                " WHERE a.id = :id",
                id=sale.attempt,
            )
        )[0]
        return row["returned"], row["credited"]

    async def audit(self, sale: Sale) -> None:
        """The books of this sale: what went back is in the ledger, in the credit notes and at the gateway, once."""
        refunds = await self.shop.rows("SELECT * FROM refunds WHERE attempt_id = :id", id=sale.attempt)
        given = sum(row["amount"] for row in refunds if row["status"] == "succeeded")
        ended = {"succeeded", "failed", "canceled", "lapsed"}
        reserved = sum(row["amount"] for row in refunds if row["status"] not in ended)
        assert await self.held(sale) == (given + reserved, given + reserved)
        sides = await self.shop.rows(
            "SELECT account, sum(p.amount)::bigint AS balance FROM ledger_postings AS p"
            " JOIN ledger_entries AS e ON e.id = p.entry_id WHERE e.invoice_id = :id GROUP BY account",
            id=sale.invoice,
        )
        balances = {side["account"]: side["balance"] for side in sides if side["balance"]}
        kept = sale.amount - given
        assert balances == ({"cash:sandbox": kept, "revenue": -kept} if kept else {})
        notes = await self.shop.rows(
            "SELECT * FROM credit_notes WHERE invoice_id = :id ORDER BY number", id=sale.invoice
        )
        assert sum(note["amount"] for note in notes) == given
        assert len(notes) == sum(row["status"] == "succeeded" for row in refunds)
        assert await self.at_gateway(sale) == given
        invoice = (await self.shop.rows("SELECT status FROM invoices WHERE id = :id", id=sale.invoice))[0]
        assert invoice["status"] == "paid", "a refund does not reopen an invoice"
        for row in refunds:
            seqs = [
                line["seq"]
                for line in await self.shop.rows(
                    "SELECT seq FROM refund_events WHERE refund_id = :id ORDER BY seq", id=row["id"]
                )
            ]
            assert seqs == list(range(1, len(seqs) + 1)), "the timeline has no gap"
            assert row["event_seq"] == len(seqs)

    async def at_gateway(self, sale: Sale) -> int:
        """What the gateway itself says went back of this sale."""
        charge = (await self.shop.charges(sale.reference))[0]
        back = charge["amount"] if charge["state"] == "voided" else 0
        tries = await self.shop.rows(
            "SELECT t.reference FROM refund_tries AS t JOIN refunds AS r ON r.id = t.refund_id"
            " WHERE r.attempt_id = :id AND t.kind = 'refund'",
            id=sale.attempt,
        )
        for row in tries:
            url = f"{self.shop.stack.gateway_url}/v1/refunds"
            answer = await self.shop.http.get(url, params={"reference": row["reference"]})
            if answer.status_code == 200 and answer.json()["status"] == "succeeded":
                back += answer.json()["amount"]
        return back
