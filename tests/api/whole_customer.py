"""A customer with so many of everything, written straight into the books."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import insert

from models import (
    ActivityLine,
    Address,
    Attempt,
    Basket,
    CreditNote,
    Customer,
    CustomerChange,
    CustomerDiscount,
    Difference,
    Dispute,
    Fulfilment,
    FulfilmentBatch,
    FulfilmentEvent,
    Invoice,
    LedgerEntry,
    LedgerPosting,
    Message,
    Note,
    Order,
    PaymentMethod,
    PointMovement,
    Price,
    Product,
    Refund,
    Review,
    Subscription,
    Task,
    Voucher,
)
from models.session import Database

START = datetime(2027, 1, 31, 23, 30, tzinfo=UTC)
PAID = 1000


def moment(number: int) -> datetime:
    return START + timedelta(minutes=number)


async def add(database: Database, model: type[Any], *rows: dict[str, Any]) -> None:
    async with database.begin() as connection:
        await connection.execute(insert(model), list(rows))


async def customer(database: Database, name: str, **more: Any) -> str:
    """A customer `cus_{name}`."""
    row = {"id": f"cus_{name}", "email": f"{name}@example.com", "currency": "EUR", "invoice_prefix": name.upper()}
    await add(database, Customer, row | more)
    return row["id"]


async def entry(
    database: Database,
    identity: str,
    customer_id: str,
    kind: str,
    *sides: tuple[str, int],
    currency: str = "EUR",
    test_mode: bool = False,
) -> None:
    """A double entry."""
    header = {"id": identity, "at": START, "kind": kind, "customer_id": customer_id, "description": ""}
    async with database.begin() as connection:
        await connection.execute(insert(LedgerEntry).values(**header, test_mode=test_mode))
        for position, (account, amount) in enumerate(sides, start=1):
            posting = {"entry_id": identity, "position": position, "account": account, "amount": amount}
            await connection.execute(insert(LedgerPosting).values(**posting, currency=currency))


async def whole_customer(database: Database, name: str, count: int) -> str:
    """A customer with `count` of each kind of thing; every charge was paid, none is settled."""
    owner = await customer(database, name)
    mine = {"customer_id": owner}
    ids = [f"{name}_{number}" for number in range(count)]
    money = {"currency": "EUR", "amount": PAID, "test_mode": False}
    numbered = list(enumerate(ids))
    await add(database, Customer, *(
        {"id": f"cus_c{i}", "email": f"{i}@example.com", "currency": "EUR", "invoice_prefix": i, "parent_id": owner}
        for i in ids
    ))  # fmt: skip
    await add(database, Product, *({"id": f"prod_{i}", "code": i, "name": "Box"} for i in ids))
    await add(database, Price, *(
        {"id": f"price_{i}", "product_id": f"prod_{i}", "code": "m", "currency": "EUR", "unit_amount": PAID,
         "interval_count": 1, "interval_unit": "month"}
        for i in ids
    ))  # fmt: skip
    await add(database, Address, *(
        mine | {"id": f"adr_{i}", "kind": "billing", "line1": "1 Road", "city": "Ulm", "country": "DE"} for i in ids
    ))  # fmt: skip
    await add(database, PaymentMethod, *(
        mine | {"id": f"pm_{i}", "gateway": "sandbox", "token": f"tok_{i}", "kind": "card", "last4": "4242",
                "position": n}
        for n, i in numbered
    ))  # fmt: skip
    await add(database, Subscription, *(
        mine | money | {"id": f"sub_{i}", "product_id": f"prod_{i}", "price_id": f"price_{i}", "status": "active",
                        "access": "active", "quantity": 1, "cycle": 1, "trigger": "timer", "event_seq": 1,
                        "virtual_now": START}
        for i in ids
    ))  # fmt: skip
    await add(database, Order, *(
        mine | {"id": f"ord_{i}", "number": f"O-{name}-{n}", "channel": "phone", "agent": "ann", "status": "draft",
                "currency": "EUR", "total": PAID, "revision": 1, "event_seq": 1, "created_at": moment(n),
                "test_mode": False}
        for n, i in numbered
    ))  # fmt: skip
    await add(database, Basket, *(
        mine | {"id": f"bsk_{i}", "agent": "ann", "currency": "EUR", "lines": list[str](), "total": PAID, "revision": 1,
                "test_mode": False, "expires_at": moment(n)}
        for n, i in numbered
    ))  # fmt: skip
    billed = [mine | {"id": f"in_{i}", "subscription_id": f"sub_{i}"} for i in ids]
    await add(database, Invoice, *(
        row | {"number": f"{name}-{n}", "cycle": 1, "reason": "cycle", "currency": "EUR", "total": PAID,
               "credit_applied": 0, "amount_due": PAID, "status": "open", "issued_at": moment(n),
               "local_date": "2027-01-31", "test_mode": False}
        for n, row in enumerate(billed)
    ))  # fmt: skip
    about = [mine | money | {"invoice_id": f"in_{i}", "subscription_id": f"sub_{i}"} for i in ids]
    await add(database, Attempt, *(
        row | {"id": f"ch_{i}", "number": 1, "reference": f"ref_{i}", "trigger": "due", "gateway": "sandbox",
               "payment_method_id": f"pm_{i}", "status": "approved", "settlement": "pending", "at": moment(n)}
        for (n, i), row in zip(numbered, about, strict=True)
    ))  # fmt: skip
    charged = [row | {"attempt_id": f"ch_{i}"} for row, i in zip(about, ids, strict=True)]
    await add(database, Refund, *(
        row | {"id": f"re_{i}", "kind": "refund", "gateway": "sandbox", "status": "succeeded", "reason": "broken",
               "actor": "ann", "requested_at": moment(n), "virtual_now": START, "event_seq": 1}
        for (n, i), row in zip(numbered, charged, strict=True)
    ))  # fmt: skip
    await add(database, Dispute, *(
        row | {"id": f"dis_{i}", "gateway": "sandbox", "gateway_id": f"gd_{i}", "status": "opened",
               "opened_at": moment(n)}
        for (n, i), row in zip(numbered, charged, strict=True)
    ))  # fmt: skip
    await add(database, FulfilmentBatch, *({"id": f"fulb_{i}", "actor": "ann", "test_mode": False} for i in ids))
    await add(database, Fulfilment, *(
        mine | {"id": f"ful_{i}", "subscription_id": f"sub_{i}", "cycle": 1, "invoice_id": f"in_{i}",
                "product_id": f"prod_{i}", "price_id": f"price_{i}", "description": "Box", "quantity": 1,
                "test_mode": False, "at": moment(n)}
        for n, i in numbered
    ))  # fmt: skip
    await add(database, FulfilmentEvent, *(
        {"fulfilment_id": f"ful_{i}", "seq": 1, "at": moment(n), "kind": "created", "actor": "system"}
        for n, i in numbered
    ))  # fmt: skip
    await add(database, CreditNote, *(
        mine | money | {"id": f"cn_{i}", "number": f"CN-{i}", "invoice_id": f"in_{i}", "disposition": "credit",
                        "reason": "", "actor": "ann", "at": moment(n), "local_date": "2027-01-31"}
        for n, i in numbered
    ))  # fmt: skip
    await add(database, Voucher, *(
        mine | {"id": f"vch_{i}", "code": f"CODE-{i}", "currency": "EUR", "issued": 500, "reason": "", "actor": "ann",
                "test_mode": False, "issued_at": moment(n)}
        for n, i in numbered
    ))  # fmt: skip
    await add(database, Task, *(
        mine | {"id": f"task_{i}", "kind": "manual", "title": "Call", "opened_by": "ann", "opened_at": moment(n)}
        for n, i in numbered
    ))  # fmt: skip
    await add(database, Message, *(
        mine | {"id": f"msg_{i}", "template": "receipt", "recipient": "a@example.com", "subject": "Paid", "body": "",
                "status": "sent", "at": moment(n)}
        for n, i in numbered
    ))  # fmt: skip
    await add(database, CustomerDiscount, *(
        mine | {"id": f"cdis_{i}", "name": "Friend", "rate": 1000, "amount": 0, "reason": "loyal", "actor": "ann"}
        for i in ids
    ))  # fmt: skip
    await add(database, Note, *(
        mine | {"id": f"note_{i}", "visibility": "internal", "text": "called", "author": "ann"} for i in ids
    ))  # fmt: skip
    await add(database, Review, *(
        mine | {"id": f"rev_{i}", "product_id": f"prod_{i}", "rating": 5, "text": "good", "recorded_by": "ann"}
        for i in ids
    ))  # fmt: skip
    await add(database, PointMovement, *(
        mine | {"id": f"pt_{i}", "seq": n + 1, "amount": 1, "balance": n + 1, "reason": "", "actor": "ann"}
        for n, i in numbered
    ))  # fmt: skip
    await add(database, ActivityLine, *(
        mine | {"caller_id": "key", "actor": "ann", "role": "agent", "command": "change_customer", "status": 200,
                "replayed": False}
        for _ in ids
    ))  # fmt: skip
    await add(database, CustomerChange, *(mine | {"actor": "ann", "field": "phone"} for _ in ids))
    await add(database, Difference, *(
        mine | {"id": f"diff_{i}", "gateway": "sandbox", "reference": f"ref_{i}", "kind": "amount", "currency": "EUR",
                "run_id": "run", "found_at": moment(n)}
        for n, i in numbered
    ))  # fmt: skip
    for i in ids:
        paid = ("cash:sandbox", PAID), ("receivable", -PAID)
        await entry(database, f"led_{i}", owner, "payment_succeeded", *paid)
    return owner
