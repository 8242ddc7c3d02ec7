"""How a refund reaches the books: from the lines of its timeline follow holds, ledger, credit note, letters, tasks.

What follows from a line happens in the transaction that writes the line, and only there, so a repetition adds nothing.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import TextClause, text
from sqlalchemy.ext.asyncio import AsyncConnection

from activities.credit_notes import taxes_of_credit, write_credit_note
from activities.ledger import DoubleEntry, post
from activities.parcels import stop_unpaid
from activities.refund_letters import tell_customer, tell_staff
from activities.tasks import NewTask, close_task, open_task
from domain.errors import Broken
from domain.ids import derive
from domain.ledger import RECEIVABLE, REVENUE, Posting, cash, parted
from domain.money import Money
from domain.refund_state import RefundKind, RefundState
from domain.refunds import attention
from domain.state import Entry

_RELEASING = frozenset({"taken_out", "approval_declined", "approval_lapsed", "exhausted", "failed"})
_ANSWERS = frozenset({"given_back", "try_failed", "never_arrived"})


def note_id(state: RefundState) -> str:
    """The id of the credit note that documents a refund."""
    return derive("cn", state.id)


async def write_refund(
    connection: AsyncConnection, state: RefundState, entries: Sequence[Entry], now: datetime, *, first: bool = False
) -> tuple[str, ...]:
    """Write the refund's row and these lines with all that follows; returns what is to be dispatched.

    These are its unsent messages, and parcels that are to be asked back because their payment is.

    Safe to repeat with the same lines. `first`: another outcome of the same step must not have been written in the
    meantime; raises `IntegrityError` where one was.
    """
    await connection.execute(_ROW, _row(state, now))
    told = [
        {
            "seq": entry.seq,
            "at": entry.at.isoformat(),
            "kind": entry.kind,
            "actor": entry.actor,
            "reason": entry.reason,
            "data": entry.data,
        }
        for entry in entries
    ]
    written = await connection.execute(_FIRST if first else _AGAIN, {"refund": state.id, "events": json.dumps(told)})
    fresh = set(written.scalars())
    for entry in entries:
        if entry.seq in fresh:
            await _follow(connection, state, entry)
    due = await connection.execute(_DUE, {"refund": state.id, "invoice": state.invoice_id})
    return tuple(due.scalars())


async def _follow(connection: AsyncConnection, state: RefundState, entry: Entry) -> None:
    """What one new line leads to."""
    if entry.kind == "requested":
        await _hold(connection, state, state.amount)
    if entry.kind in _RELEASING:
        await _hold(connection, state, -state.amount)
    if entry.kind == "given_back":
        await _given_back(connection, state, entry)
    if entry.kind in {"exhausted", "failed"}:
        await open_task(connection, _gave_up(state, entry))
        await tell_staff(connection, state, entry)
    if entry.kind in {"outcome_overdue", "answer_overdue"}:
        await open_task(connection, _unknown(state))
    if entry.kind in _ANSWERS:
        await close_task(connection, _unknown(state).id, actor="system", outcome="the gateway has answered")


async def _hold(connection: AsyncConnection, state: RefundState, amount: int) -> None:
    """Reserve on the charge and its invoice, below zero: release. Check constraints keep both within what there is."""
    await connection.execute(_HOLD_CHARGE, {"attempt": state.attempt_id, "amount": amount})
    await connection.execute(_HOLD_INVOICE, {"invoice": state.invoice_id, "amount": amount})


async def _given_back(connection: AsyncConnection, state: RefundState, entry: Entry) -> None:
    """The invoice stays paid: a credit note corrects it, and the money leaves what the gateway holds for us."""
    taxes = await taxes_of_credit(connection, state.invoice_id, state.amount)
    number = await write_credit_note(
        connection,
        id=note_id(state),
        invoice_id=state.invoice_id,
        customer_id=state.customer_id,
        refund_id=state.id,
        amount=state.amount,
        taxes=taxes,
        currency=state.currency,
        disposition=state.kind.value,
        reason=state.reason,
        actor=state.actor,
        at=entry.at,
        zone=state.zone,
        test_mode=state.test_mode,
    )
    sides = parted(REVENUE, state.amount, taxes)
    await _post(connection, state, entry, "credit_note", sides, RECEIVABLE, f"credit note {number}")
    paid_out = f"{state.kind.value} of {state.sale}"
    owed = [(RECEIVABLE, state.amount)]
    await _post(connection, state, entry, state.kind.value, owed, cash(state.gateway), paid_out)
    if state.kind is RefundKind.VOID:
        await connection.execute(_VOIDED, {"attempt": state.attempt_id})
    await stop_unpaid(connection, state.invoice_id)
    await tell_customer(connection, state, entry)


async def _post(
    connection: AsyncConnection,
    state: RefundState,
    entry: Entry,
    kind: str,
    debits: Sequence[tuple[str, int]],
    credit: str,
    words: str,
) -> None:
    moved = [*debits, (credit, -state.amount)]
    sides = [Posting(account, amount, state.currency) for account, amount in moved]
    await post(
        connection,
        DoubleEntry(
            id=derive("led", state.id, "credit_note" if kind == "credit_note" else "money"),
            at=entry.at,
            kind=kind,
            postings=sides,
            description=words,
            test_mode=state.test_mode,
            customer_id=state.customer_id,
            subscription_id=state.subscription_id,
            invoice_id=state.invoice_id,
            subject_id=state.id,
        ),
    )


def _gave_up(state: RefundState, entry: Entry) -> NewTask:
    amount = Money(state.amount, state.currency)
    return NewTask(
        kind="refund_exhausted",
        title=f"Refund of {amount} did not succeed: {entry.data['code']}",
        next_action="give the money back in another way: another method, account credit, or by hand at the gateway",
        subject_kind="refund",
        subject_id=state.id,
        customer_id=state.customer_id,
        detail={"charge": state.sale, "code": entry.data["code"], "retries": state.retries},
    )


def _unknown(state: RefundState) -> NewTask:
    return NewTask(
        kind="refund_unknown",
        title=f"{state.gateway} does not say whether {Money(state.amount, state.currency)} went back",
        next_action="look the refund up at the gateway; it goes on by itself as soon as the gateway answers",
        subject_kind="refund",
        subject_id=state.id,
        customer_id=state.customer_id,
        detail={"charge": state.sale, "try": state.number},
    )


def _row(state: RefundState, now: datetime) -> dict[str, Any]:
    if state.seq < 1:
        raise Broken(f"refund {state.id} has no line in its timeline")
    return {
        "id": state.id,
        "attempt": state.attempt_id,
        "invoice": state.invoice_id,
        "subscription": state.subscription_id,
        "order": state.order_id,
        "customer": state.customer_id,
        "kind": state.kind.value,
        "void_first": state.void_first,
        "amount": state.amount,
        "currency": state.currency,
        "gateway": state.gateway,
        "method": state.payment_method_id,
        "status": state.status,
        "reason": state.reason,
        "actor": state.actor,
        "retries": state.retries,
        "next_try_at": state.retry_at or state.not_before,
        "deadline": state.approval_deadline,
        "approved_by": state.approved_by,
        "attention": attention(state),
        "requested_at": state.requested_at,
        "ended_at": state.ended_at,
        "now": now,
        "seq": state.seq,
        "test_mode": state.test_mode,
    }


_ROW: TextClause = text(
    """
INSERT INTO refunds AS r (
    id, attempt_id, invoice_id, subscription_id, order_id, customer_id, kind, void_first, amount, currency, gateway,
    payment_method_id, status, reason, actor, retries, next_try_at, approval_deadline, approved_by, attention,
    requested_at, ended_at, virtual_now, event_seq, test_mode
) VALUES (
    :id, :attempt, :invoice, :subscription, :order, :customer, :kind, :void_first, :amount, :currency, :gateway,
    :method, :status, :reason, :actor, :retries, :next_try_at, :deadline, :approved_by, :attention,
    :requested_at, :ended_at, :now, :seq, :test_mode
) ON CONFLICT (id) DO UPDATE SET
    kind = excluded.kind, payment_method_id = excluded.payment_method_id, status = excluded.status,
    retries = excluded.retries, next_try_at = excluded.next_try_at, approved_by = excluded.approved_by,
    attention = excluded.attention, ended_at = excluded.ended_at, virtual_now = excluded.virtual_now,
    event_seq = excluded.event_seq, updated_at = now()
WHERE r.event_seq <= excluded.event_seq
"""
)
_EVENTS = """
INSERT INTO refund_events (refund_id, seq, at, kind, actor, reason, data)
SELECT :refund, seq, at, kind, actor, reason, data
FROM jsonb_to_recordset(CAST(:events AS jsonb))
    AS e(seq int, at timestamptz, kind text, actor text, reason text, data jsonb)
/* again */
RETURNING seq
"""
_FIRST: TextClause = text(_EVENTS)
_AGAIN: TextClause = text(_EVENTS.replace("/* again */", "ON CONFLICT DO NOTHING"))
_DUE: TextClause = text(
    """
SELECT id FROM messages WHERE refund_id = :refund AND status = 'pending'
UNION ALL SELECT id FROM fulfilments WHERE invoice_id = :invoice AND withdrawal = 'due' ORDER BY id
"""
)
_HOLD_CHARGE: TextClause = text("UPDATE attempts SET returned = returned + :amount WHERE id = :attempt")
_HOLD_INVOICE: TextClause = text("UPDATE invoices SET credited = credited + :amount WHERE id = :invoice")
_VOIDED: TextClause = text("UPDATE attempts SET settlement = 'voided' WHERE id = :attempt")
