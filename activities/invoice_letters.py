"""An invoice sent by email: set as a file, kept as it was sent, put on its way, once for each wish."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession
from temporalio import activity

from activities.courier import Courier
from activities.letters import columns_of
from activities.outbox import NewMessage, put
from domain.errors import Broken
from domain.ids import derive
from domain.letters import Reader
from domain.links import ID_PREFIX, LinkKind, LinkMaker, new_link
from models.queries_letters import letter_set
from models.queries_links import keep_link
from models.queries_papers import invoice_paper
from models.session import Database
from providers.documents.press import Press
from providers.letters.desk import compose

TEMPLATE = "invoice"
OPEN = "open"


@dataclass(frozen=True, slots=True)
class InvoiceLetterRequest:
    """Send invoice `invoice_id` as message `id`, made from the wish. `at`: when it was wished."""

    id: str
    invoice_id: str
    actor: str
    at: datetime


class InvoiceLetters:
    """The activity behind the door `workflows.message_commands`."""

    def __init__(self, database: Database, courier: Courier, press: Press, links: LinkMaker) -> None:
        self._links = links
        self._database = database
        self._courier = courier
        self._press = press

    @activity.defn(name="send_invoice")
    async def send_invoice(self, request: InvoiceLetterRequest) -> str:
        """Keep the file, write the message's row once, see to its sending; returns its id. Safe to repeat."""
        async with self._database.begin() as connection:
            known = (await connection.execute(_KNOWN, {"id": request.id})).one_or_none()
        if known is None:
            await self._write(request)
        await self._courier.dispatch([request.id])
        return request.id

    async def _write(self, request: InvoiceLetterRequest) -> None:
        # No transaction is held open while the file is set.
        async with self._database.begin() as connection:
            paper = await invoice_paper(AsyncSession(connection), request.invoice_id)
            to = (await connection.execute(_TO, {"invoice": request.invoice_id})).one_or_none()
            letters = await letter_set(connection)
        if paper is None or to is None:
            raise Broken(f"invoice {request.invoice_id} is missing")
        content = await self._press.invoice(paper)
        document = derive("doc", request.invoice_id, hashlib.sha256(content).hexdigest())
        name = " ".join(part for part in (to.first_name, to.last_name) if part) or to.company
        reader = Reader(name, to.email, to.language, to.time_zone, to.first_name, to.last_name, to.company)
        at = max(request.at, to.issued_at)  # a test subscription's invoice is ahead of the wall clock
        pays = None
        if paper.left_to_pay > 0 and to.status == OPEN:
            pays = new_link(derive(ID_PREFIX, request.id), LinkKind.PAY_INVOICE, request.invoice_id, at)
        facts = {
            "number": paper.number,
            "date": paper.on.isoformat(),
            "total": paper.total,
            "balance": paper.left_to_pay,
            "currency": paper.currency,
            "subscription": paper.subscription,
            "payment_link": self._links.url(pays) if pays is not None else "",
        }
        letter = compose(letters, TEMPLATE, facts, reader)
        kept = {"id": document, "invoice": request.invoice_id, "name": f"{paper.number}.pdf", "content": content}
        async with self._database.begin() as connection:
            await connection.execute(_KEEP, kept)
            if pays is not None:
                await keep_link(connection, pays, customer_id=to.customer_id, actor="letter")
            message = NewMessage(
                id=request.id,
                customer_id=to.customer_id,
                recipient=to.email,
                at=at,
                subscription_id=to.subscription_id,
                order_id=to.order_id,
                document_id=document,
                requested_by=request.actor,
                **columns_of(letter),
            )
            await put(connection, message)


_KNOWN = text("SELECT id FROM messages WHERE id = :id")
_TO = text(
    """
SELECT i.customer_id, i.subscription_id, i.order_id, i.issued_at, i.status, c.email, c.first_name, c.last_name,
    c.company,
    c.language, c.time_zone
FROM invoices AS i JOIN customers AS c ON c.id = i.customer_id WHERE i.id = :invoice
"""
)
_KEEP = text(
    """
INSERT INTO documents (id, invoice_id, name, content) VALUES (:id, :invoice, :name, :content) ON CONFLICT DO NOTHING
"""
)
