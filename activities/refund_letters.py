"""Who is told of a refund, and in which words: the customer when money went back, staff when it did not."""

from __future__ import annotations

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from activities.letters import columns_of, known_as
from activities.outbox import NewMessage, put
from domain.errors import Broken
from domain.ids import derive
from domain.letters import Reader
from domain.money import Money
from domain.refund_state import RefundKind, RefundState
from domain.state import Entry
from models.queries_business import refund_rules
from models.queries_letters import letter_set
from providers.letters.desk import compose

STAFF_TEMPLATE = "refund_exhausted"
_SENT = {RefundKind.REFUND: "refund_sent", RefundKind.VOID: "void_sent"}


async def tell_customer(connection: AsyncConnection, state: RefundState, entry: Entry) -> None:
    """The money is on its way: how much, for what, to which method, and when to expect it."""
    row = (
        await connection.execute(_TO, {"attempt": state.attempt_id, "method": state.payment_method_id})
    ).one_or_none()
    if row is None:
        raise Broken(f"the customer of refund {state.id} is missing")
    if not row.email:
        return
    name = " ".join(part for part in (row.first_name, row.last_name) if part) or row.company
    facts = {
        **entry.data,
        "product": row.product,
        "subscription": state.subscription_id,
        "method": known_as(row.brand, row.last4) if row.last4 else "",
    }
    reader = Reader(name, row.email, row.language, row.time_zone, row.first_name, row.last_name, row.company)
    letter = compose(await letter_set(connection), _SENT[state.kind], facts, reader)
    await put(
        connection,
        NewMessage(
            id=derive("msg", state.id, str(entry.seq)),
            customer_id=state.customer_id,
            recipient=row.email,
            at=entry.at,
            subscription_id=state.subscription_id,
            order_id=state.order_id,
            refund_id=state.id,
            **columns_of(letter),
        ),
    )


async def tell_staff(connection: AsyncConnection, state: RefundState, entry: Entry) -> None:
    """It left the queue without success: each address of the merchant's rules gets a message of its own."""
    amount, code = Money(state.amount, state.currency), entry.data["code"]
    for address in (await refund_rules(connection)).notify:
        await put(
            connection,
            NewMessage(
                id=derive("msg", state.id, str(entry.seq), address),
                customer_id=state.customer_id,
                template=STAFF_TEMPLATE,
                recipient=address,
                subject=f"Refund of {amount} did not succeed: {code}",
                body=(
                    f"The {state.kind.value} of {amount} for customer {state.customer_id} left the queue after"
                    f" {state.retries} daily retries: {code}.\n\nRefund {state.id}, charge {state.sale}, asked for by"
                    f" {state.actor}: {state.reason or 'no reason given'}.\n\nThe money has not gone back, and nothing"
                    " will be tried by itself. A task is open for it.\n"
                ),
                at=entry.at,
                subscription_id=state.subscription_id,
                order_id=state.order_id,
                refund_id=state.id,
                audience="staff",
            ),
        )


_TO = text(
    """
SELECT c.email, c.first_name, c.last_name, c.company, c.language, c.time_zone, coalesce(p.name, o.number) AS product,
    coalesce(m.brand, '') AS brand, coalesce(m.last4, '') AS last4
FROM attempts AS a
JOIN customers AS c ON c.id = a.customer_id
LEFT JOIN subscriptions AS s ON s.id = a.subscription_id
LEFT JOIN products AS p ON p.id = s.product_id
LEFT JOIN orders AS o ON o.id = a.order_id
LEFT JOIN payment_methods AS m ON m.id = coalesce(:method, a.payment_method_id)
WHERE a.id = :attempt
"""
)
