"""The row of one try to collect an invoice: written before the gateway is called, and again with what it said."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from activities.books import Method
from domain.declines import DeclineKind
from domain.errors import Broken
from domain.facts import Charged, Declined, Outcome
from domain.ids import derive
from domain.state import Collecting
from providers.gateways.base import Answer, AnswerStatus, GatewayUnavailable


@dataclass(frozen=True, slots=True)
class Owner:
    """Whose invoice an attempt is to collect: a subscription's or an order's; and our name of the attempt.

    `description` is what the gateway is told. `product_id`: whose dunning policy counts, None for an order.
    """

    reference: str
    description: str
    customer_id: str
    currency: str
    test_mode: bool
    subscription_id: str | None = None
    order_id: str | None = None
    product_id: str | None = None


@dataclass(frozen=True, slots=True)
class Attempt:
    """An attempt's row as far as it decides what may be done."""

    id: str
    reference: str
    status: str
    method_id: str | None
    gateway: str
    gateway_id: str | None
    code: str | None
    decline: str | None
    action_url: str | None
    token: str


_INTEND = text(
    """
INSERT INTO attempts (
    id, invoice_id, subscription_id, order_id, customer_id, payer_id, number, reference, trigger, payment_method_id,
    gateway, amount, currency, status, at, test_mode
) VALUES (
    :id, :invoice, :subscription, :order, CAST(:customer AS text),
    (SELECT m.customer_id FROM payment_methods AS m
        WHERE m.id = CAST(:method AS text) AND m.customer_id <> CAST(:customer AS text)),
    :number, :reference, :trigger, CAST(:method AS text), :gateway, :amount, :currency, 'pending', :at, :test_mode
) ON CONFLICT DO NOTHING
RETURNING id
"""
)

_FIND = text(
    """
SELECT a.id, a.reference, a.status, a.payment_method_id, a.gateway, a.gateway_id, a.code, a.decline, a.action_url,
    m.token
FROM attempts AS a JOIN payment_methods AS m ON m.id = a.payment_method_id
WHERE a.invoice_id = :invoice AND a.number = :number
"""
)

# The attempt took nothing: it is intended anew, before it is sent again.
_INTEND_AGAIN = text(
    """
UPDATE attempts AS a SET status = 'pending', payment_method_id = m.id, gateway = m.gateway,
    payer_id = nullif(m.customer_id, a.customer_id)
FROM payment_methods AS m
WHERE m.id = :method AND a.id = :id AND a.status = 'parked'
RETURNING a.id
"""
)

_ANSWERED = text(
    """
UPDATE attempts SET status = :status, settlement = :settlement, gateway_id = coalesce(:gateway_id, gateway_id),
    code = :code, decline = :decline, message = :message, action_url = coalesce(:action_url, action_url),
    answered_at = :at, held_until = coalesce(:held_until, held_until)
WHERE id = :id
"""
)

_STATUS = {
    "charged": "approved",
    "declined": "declined",
    "parked": "parked",
    "never_arrived": "parked",
    "unknown": "unknown",
    "action_required": "action_required",
    "authorised": "authorised",
    "released": "released",
}

# Status of a row → what the gateway had said; of a decline there is more to say.
_SAID = {
    "approved": AnswerStatus.APPROVED,
    "authorised": AnswerStatus.AUTHORISED,
    "released": AnswerStatus.VOIDED,
}


async def intend(
    connection: AsyncConnection, owner: Owner, collecting: Collecting, methods: Sequence[Method], now: datetime
) -> Attempt | None:
    """Write the attempt before it is made, with the best of the methods; None where there is nothing to make it with.

    One that is there already stays as it was made. Only where it surely took nothing and its method may be charged no
    more (removed, say) does it go on with another one.
    """
    ours = owner.reference
    identity = derive("att", ours)
    if methods and await connection.scalar(
        _INTEND,
        {
            "id": identity,
            "invoice": collecting.invoice_id,
            "subscription": owner.subscription_id,
            "order": owner.order_id,
            "customer": owner.customer_id,
            "number": collecting.attempt,
            "reference": ours,
            "trigger": collecting.trigger,
            "method": methods[0].id,
            "gateway": methods[0].gateway,
            "amount": collecting.amount_due,
            "currency": owner.currency,
            "at": now,
            "test_mode": owner.test_mode,
        },
    ):
        return _intended(identity, ours, methods[0])
    known = await find(connection, collecting)
    if known is None and methods:
        raise Broken(f"attempt {ours} is neither new nor known")
    if known is None or known.status != "parked":
        return known
    if not methods:
        return None
    method = next((method for method in methods if method.id == known.method_id), methods[0])
    if await connection.scalar(_INTEND_AGAIN, {"id": identity, "method": method.id}):
        return _intended(identity, ours, method)
    return await find(connection, collecting)  # another run of this step was first


def _intended(identity: str, ours: str, method: Method) -> Attempt:
    return Attempt(identity, ours, "intended", method.id, method.gateway, None, None, None, None, method.token)


async def find(connection: AsyncConnection, collecting: Collecting) -> Attempt | None:
    """The running attempt's row."""
    row = (
        await connection.execute(_FIND, {"invoice": collecting.invoice_id, "number": collecting.attempt})
    ).one_or_none()
    if row is None:
        return None
    return Attempt(
        row.id, row.reference, row.status, row.payment_method_id, row.gateway, row.gateway_id, row.code, row.decline,
        row.action_url, row.token,
    )  # fmt: skip


async def answered(
    connection: AsyncConnection,
    attempt: Attempt,
    outcome: Outcome,
    answer: Answer | GatewayUnavailable | None,
    now: datetime,
    *,
    status: str | None = None,
    held_until: datetime | None = None,
) -> None:
    """Write what the gateway said, or that it said nothing. `status`: another one than this outcome mostly leads to."""
    said = answer if isinstance(answer, Answer) else None
    parameters: dict[str, Any] = {
        "id": attempt.id,
        "status": status or _STATUS[outcome.kind],
        "settlement": "pending" if isinstance(outcome, Charged) else None,
        "gateway_id": said.gateway_id if said else None,
        "code": outcome.code if isinstance(outcome, Declined) else None,
        "decline": outcome.decline.value if isinstance(outcome, Declined) else None,
        "message": said.message if said else "",
        "action_url": said.action_url if said else None,
        "at": now,
        "held_until": held_until,
    }
    await connection.execute(_ANSWERED, parameters)


def stored(attempt: Attempt) -> Answer:
    """What the gateway said when this very attempt was made before."""
    if attempt.status in _SAID:
        return Answer(_SAID[attempt.status], attempt.gateway_id)
    kind = DeclineKind(attempt.decline) if attempt.decline else None
    return Answer(AnswerStatus.DECLINED, attempt.gateway_id, attempt.code, kind)
