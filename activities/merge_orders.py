"""How orders follow a customer that is merged, and go back; and what goes back takes along of the books.

An order is told by a command, as a subscription is: a charge in flight ends first, and what it starts then is the new
customer's. One that has no workflow any more is only a row.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any, Final, Protocol

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from activities.ledger import DoubleEntry, post
from domain.errors import Broken, NotFound
from domain.ids import derive
from domain.ledger import BETWEEN_CUSTOMERS, CUSTOMER_CREDIT, RECEIVABLE, Posting
from domain.order_messages import OrderEnvelope, SetBuyer
from domain.order_state import OrderState
from domain.state import SYSTEM
from models.customers import Customer
from models.queries_tax import tax_terms
from models.session import Database

ORDERS: Final = "orders.customer_id"
ORDERS_PER_PAGE: Final = 20


class OrderDoor(Protocol):
    """How an order is asked."""

    async def send(self, order_id: str, envelope: OrderEnvelope) -> OrderState: ...


class Door(Protocol):
    @property
    def orders(self) -> OrderDoor: ...


class MergedOrders:
    """The next orders of a merge, there or back; safe to repeat."""

    def __init__(self, database: Database, door: Door) -> None:
        self._database = database
        self._door = door

    async def there(self, merge_id: str, master: str, loser: str) -> bool:
        """Tell the loser's orders; whether there were any. Written before any is told, as of subscriptions."""
        async with self._database.begin() as connection:
            values = {"merge": merge_id, "loser": loser, "what": ORDERS, "limit": ORDERS_PER_PAGE}
            ids = list((await connection.execute(_INTEND, values)).scalars())
        for order in ids:
            await self._tell(merge_id, order, master, f"{loser} was merged")
            async with self._database.begin() as connection:
                await connection.execute(_OWN, {"id": order, "owner": master})
        return bool(ids)

    async def back(self, merge_id: str, master: str, loser: str, now: datetime) -> bool:
        """Tell those that had moved; whether there were any."""
        values = {"merge": merge_id, "what": ORDERS}
        async with self._database.begin() as connection:
            ids = list((await connection.execute(_LEFT, values | {"limit": ORDERS_PER_PAGE})).scalars())
        for order in ids:
            await self._tell(merge_id, order, loser, "the merge was undone")
            async with self._database.begin() as connection:
                await connection.execute(_OWN, {"id": order, "owner": loser})
                await hand_over(connection, (merge_id, master, loser), now, order_id=order)
                await connection.execute(_UNDONE, values | {"row": order})
        return bool(ids)

    async def _tell(self, merge_id: str, order: str, customer_id: str, why: str) -> None:
        async with self._database.session() as session:
            owner = await session.get(Customer, customer_id)
            if owner is None:
                raise Broken(f"customer {customer_id} is missing")
            command = SetBuyer(customer_id, owner.notice_days, await tax_terms(session, customer_id))
        try:
            identity = derive("cmd", merge_id, order, customer_id)
            await self._door.orders.send(order, OrderEnvelope(identity, command, SYSTEM, why))
        except NotFound:
            return  # it was closed long ago: its row is all that is left of it


async def hand_over(
    connection: AsyncConnection,
    parties: tuple[str, str, str],
    now: datetime,
    *,
    subscription_id: str | None = None,
    order_id: str | None = None,
) -> None:
    """A subscription or an order that goes back takes along what it owes and has on account.

    `parties`: merge, master, loser. Its open invoices are the loser's again. What was booked for the master meanwhile
    stays as it is, and what that leaves owed or on account is booked over: each customer's accounts say what is.
    """
    merge_id, master, loser = parties
    values: dict[str, Any] = {
        "subscription": subscription_id, "order": order_id, "master": master, "loser": loser,
        "accounts": [RECEIVABLE, CUSTOMER_CREDIT],
    }  # fmt: skip
    await connection.execute(_OPEN_INVOICES, values)
    for row in (await connection.execute(_HELD if order_id is None else _HELD_BY_ORDER, values)).all():
        for customer, sign in ((master, -1), (loser, 1)):
            sides = (
                Posting(row.account, sign * row.amount, row.currency),
                Posting(BETWEEN_CUSTOMERS, -sign * row.amount, row.currency),
            )
            about = (merge_id, subscription_id or order_id or "", customer, row.account, row.currency)
            entry = DoubleEntry(
                id=derive("led", *about, str(row.test_mode)),
                at=now,
                kind="customer_changed",
                postings=sides,
                description="merge undone",
                test_mode=row.test_mode,
                customer_id=customer,
                subscription_id=subscription_id,
                subject_id=merge_id,
            )
            await post(connection, entry)


_INTEND = text(
    """
WITH picked AS (SELECT id FROM orders WHERE customer_id = CAST(:loser AS text) ORDER BY id LIMIT :limit)
INSERT INTO merge_moves (merge_id, what, row_id, old_owner) SELECT :merge, :what, id, CAST(:loser AS text) FROM picked
ON CONFLICT (merge_id, what, row_id) DO UPDATE SET undone_at = NULL
RETURNING row_id
"""
)
_LEFT = text(
    """
SELECT row_id FROM merge_moves WHERE merge_id = :merge AND what = :what AND undone_at IS NULL
ORDER BY row_id LIMIT :limit
"""
)
_UNDONE = text("UPDATE merge_moves SET undone_at = now() WHERE merge_id = :merge AND what = :what AND row_id = :row")
_OWN = text("UPDATE orders SET customer_id = :owner WHERE id = :id")
_OPEN_INVOICES = text(
    """
UPDATE invoices SET customer_id = :loser
WHERE (subscription_id = CAST(:subscription AS text) OR order_id = CAST(:order AS text))
    AND customer_id = :master AND status = 'open'
"""
)
_HELD = text(
    """
SELECT p.account, p.currency, e.test_mode, sum(p.amount)::bigint AS amount
FROM ledger_entries AS e JOIN ledger_postings AS p ON p.entry_id = e.id
WHERE e.customer_id = :master AND e.subscription_id = :subscription AND p.account = ANY(:accounts)
GROUP BY p.account, p.currency, e.test_mode HAVING sum(p.amount) <> 0
"""
)
_HELD_BY_ORDER = text(
    """
SELECT p.account, p.currency, e.test_mode, sum(p.amount)::bigint AS amount
FROM invoices AS i JOIN ledger_entries AS e ON e.invoice_id = i.id JOIN ledger_postings AS p ON p.entry_id = e.id
WHERE i.order_id = :order AND e.customer_id = :master AND e.subscription_id IS NULL AND p.account = ANY(:accounts)
GROUP BY p.account, p.currency, e.test_mode HAVING sum(p.amount) <> 0
"""
)
