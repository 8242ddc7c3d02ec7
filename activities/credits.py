"""Money is taken from a voucher or an invoice, and handed to a subscription as credit; or it goes back where it was.

Two steps, each safe to repeat and to be killed anywhere: `take_credit` puts the money in transit in one transaction;
`hand_over_credit` asks the books whether the subscription has it already before asking the subscription.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol, assert_never

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection
from temporalio import activity

from activities.alive import alive
from activities.credit_notes import read, taxes_of_credit, write_credit_note, written
from activities.ledger import DoubleEntry, post
from activities.paid_back import Listener, tell_paid_back
from activities.vouchers import By, locked, move
from domain.credits import (
    FromInvoice,
    FromVoucher,
    Granted,
    PaidInvoice,
    Receiver,
    Refusal,
    Taken,
    Transfer,
    check_creditable,
    credit_sides,
)
from domain.errors import Broken, InvalidInput, NotFound, Refused
from domain.ids import derive
from domain.messages import Envelope, GrantCredit
from domain.state import State
from domain.tax import TaxShare
from domain.vouchers import Move, redeemable
from models.session import Database


class Door(Listener, Protocol):
    """How a subscription is asked and told (`workflows.commands` is the real one)."""

    async def send(self, subscription_id: str, envelope: Envelope) -> State: ...


@dataclass(frozen=True, slots=True)
class HandOver:
    """What is in transit, and the time now by the subscription's clock."""

    transfer: Transfer
    taken: Taken
    now: datetime


class Credits:
    """Activities of a transfer. A refusal is a value; what cannot be done now raises, to be tried again."""

    def __init__(self, database: Database, door: Door) -> None:
        self._database = database
        self._door = door

    @activity.defn(name="take_credit")
    async def take_credit(self, transfer: Transfer) -> Taken | Refusal:
        """Put the money in transit, once for each transfer."""
        try:
            async with self._database.begin() as connection:
                receiver = await _receiver(connection, transfer.subscription_id)
                match transfer.source:
                    case FromVoucher():
                        return await _take_from_voucher(connection, transfer, transfer.source, receiver)
                    case FromInvoice():
                        return await _take_from_invoice(connection, transfer, transfer.source, receiver)
                    case _:
                        assert_never(transfer.source)
        except Refused as refused:
            return Refusal.of(refused)

    @activity.defn(name="hand_over_credit")
    @alive
    async def hand_over_credit(self, request: HandOver) -> Granted | Refusal:
        """Give it to the subscription; what it refuses goes back to its source.

        Raises `Unavailable` while the subscription cannot be asked.
        """
        transfer = request.transfer
        async with self._database.begin() as connection:
            before = await _ended(connection, transfer.id)
            has_it = await connection.scalar(
                _HAS_IT, {"subscription": transfer.subscription_id, "transfer": transfer.id}
            )
        if before is not None:
            return await self._told(transfer, before)
        if has_it is None:
            try:
                await self._door.send(transfer.subscription_id, _grant(request))
            except (Refused, InvalidInput, NotFound) as refused:
                return await self._give_back(request, Refusal.of(refused))
        return await self._end_granted(request)

    async def _end_granted(self, request: HandOver) -> Granted | Refusal:
        transfer = request.transfer
        async with self._database.begin() as connection:
            row = (await connection.execute(_GRANTED, {"id": transfer.id, "now": request.now})).one_or_none()
            if row is None:
                return await _end_of(connection, transfer.id)
            if isinstance(transfer.source, FromInvoice):
                await _write_note(connection, transfer, transfer.source, request.taken, read(row.taxes))
        return await self._told(transfer, Granted(transfer.id))

    async def _told(self, transfer: Transfer, end: Granted | Refusal) -> Granted | Refusal:
        """What was credited is not paid any more: the invoice's own subscription hears of it."""
        if isinstance(end, Granted) and isinstance(transfer.source, FromInvoice):
            await tell_paid_back(self._database, self._door, transfer.source.note_id)
        return end

    async def _give_back(self, request: HandOver, refusal: Refusal) -> Granted | Refusal:
        transfer, taken = request.transfer, request.taken
        async with self._database.begin() as connection:
            told: dict[str, Any] = {"code": refusal.code, "detail": refusal.message}
            row = (await connection.execute(_GIVEN_BACK, {"id": transfer.id, "now": request.now, **told})).one_or_none()
            if row is None:
                return await _end_of(connection, transfer.id)
            match transfer.source:
                case FromVoucher():
                    voucher = await locked(connection, transfer.source.voucher_id)
                    by = _by(transfer, row.customer_id, "given_back", request.now)
                    await move(connection, voucher, Move.GIVEN_BACK, taken.amount, by)
                    await connection.execute(_NOT_EXPIRED, {"id": voucher.id})
                case FromInvoice():
                    invoice = transfer.source.invoice_id
                    await connection.execute(_CREDITED, {"id": invoice, "amount": -taken.amount})
                    taxes = read(row.taxes)
                    entry = _note_entry(
                        transfer, transfer.source, -taken.amount, taken.currency, taxes, request.now, row
                    )
                    await post(connection, entry)
                case _:
                    assert_never(transfer.source)
        return Refusal(refusal.code, refusal.message, refusal.allowed)


def _grant(request: HandOver) -> Envelope:
    transfer, taken = request.transfer, request.taken
    command = GrantCredit(taken.amount, taken.currency, transfer.source.kind, transfer.id)
    return Envelope(derive("cmd", transfer.id), command, transfer.actor, transfer.reason)


async def _take_from_voucher(
    connection: AsyncConnection, transfer: Transfer, source: FromVoucher, receiver: Receiver
) -> Taken:
    voucher = await locked(connection, source.voucher_id)
    known = await _known(connection, transfer.id)
    if known is not None:
        return known
    amount = redeemable(voucher, receiver, source.amount, transfer.at)
    await _open(connection, transfer, receiver, source.voucher_id, None, Taken(amount, voucher.currency), ())
    by = _by(transfer, receiver.customer_id, "taken", transfer.at)
    await move(connection, voucher, Move.REDEEMED, -amount, by)
    return Taken(amount, voucher.currency)


async def _take_from_invoice(
    connection: AsyncConnection, transfer: Transfer, source: FromInvoice, receiver: Receiver
) -> Taken:
    row = (await connection.execute(_INVOICE, {"id": source.invoice_id})).one_or_none()
    if row is None:
        raise Refused("no_invoice", "there is no such invoice")
    known = await _known(connection, transfer.id)
    if known is not None:
        return known
    invoice = PaidInvoice(row.number, row.customer_id, row.currency, row.status, row.total, row.credited, row.test_mode)
    check_creditable(invoice, receiver, source.amount)
    await connection.execute(_CREDITED, {"id": source.invoice_id, "amount": source.amount})
    taken = Taken(source.amount, invoice.currency)
    taxes = await taxes_of_credit(connection, source.invoice_id, source.amount)
    await _open(connection, transfer, receiver, source.note_id, source.invoice_id, taken, taxes)
    await post(connection, _note_entry(transfer, source, taken.amount, taken.currency, taxes, transfer.at, row))
    return taken


def _by(transfer: Transfer, customer_id: str, step: str, at: datetime) -> By:
    return By(
        id=derive("led", transfer.id, step),
        at=at,
        actor=transfer.actor,
        reason=transfer.reason,
        customer_id=customer_id,
        subscription_id=transfer.subscription_id,
    )


def _note_entry(
    transfer: Transfer,
    source: FromInvoice,
    amount: int,
    currency: str,
    taxes: Sequence[TaxShare],
    at: datetime,
    row: Any,
) -> DoubleEntry:
    """What a credit note moves, or (below zero) moved before it was refused."""
    step, kind = ("taken", "credit_note_issued") if amount > 0 else ("given_back", "credit_note_withdrawn")
    return DoubleEntry(
        id=derive("led", transfer.id, step),
        at=at,
        kind=kind,
        postings=credit_sides(amount, currency, taxes),
        description=kind.replace("_", " "),
        test_mode=row.test_mode,
        customer_id=row.customer_id,
        subscription_id=transfer.subscription_id,
        invoice_id=source.invoice_id,
        subject_id=source.note_id,
    )


async def _open(
    connection: AsyncConnection,
    transfer: Transfer,
    receiver: Receiver,
    source_id: str,
    invoice_id: str | None,
    taken: Taken,
    taxes: Sequence[TaxShare],
) -> None:
    await connection.execute(
        _OPEN,
        {
            "id": transfer.id,
            "source": transfer.source.kind,
            "source_id": source_id,
            "subscription": receiver.id,
            "customer": receiver.customer_id,
            "invoice": invoice_id,
            "amount": taken.amount,
            "taxes": written(taxes),
            "currency": taken.currency,
            "actor": transfer.actor,
            "at": transfer.at,
        },
    )


async def _write_note(
    connection: AsyncConnection, transfer: Transfer, source: FromInvoice, taken: Taken, taxes: Sequence[TaxShare]
) -> None:
    row = (await connection.execute(_READER, {"id": source.invoice_id})).one()
    await write_credit_note(
        connection,
        id=source.note_id,
        invoice_id=source.invoice_id,
        customer_id=row.customer_id,
        refund_id=None,
        amount=taken.amount,
        taxes=taxes,
        currency=taken.currency,
        disposition="credit",
        reason=transfer.reason,
        actor=transfer.actor,
        at=transfer.at,
        zone=row.time_zone,
        test_mode=row.test_mode,
    )


async def _receiver(connection: AsyncConnection, subscription_id: str) -> Receiver:
    row = (await connection.execute(_RECEIVER, {"id": subscription_id})).one_or_none()
    if row is None:
        raise Refused("no_subscription", "there is no such subscription")
    return Receiver(row.id, row.customer_id, row.currency, row.test_mode)


async def _known(connection: AsyncConnection, transfer_id: str) -> Taken | None:
    """What this very transfer took before. Asked after its source is locked, so two tries never both find nothing."""
    row = (await connection.execute(_TRANSFER, {"id": transfer_id})).one_or_none()
    return None if row is None else Taken(row.amount, row.currency)


async def _ended(connection: AsyncConnection, transfer_id: str) -> Granted | Refusal | None:
    """How it ended; None while it is under way."""
    row = (await connection.execute(_TRANSFER, {"id": transfer_id})).one_or_none()
    if row is None:
        raise Broken(f"transfer {transfer_id} was never begun")
    match row.status:
        case "granted":
            return Granted(transfer_id)
        case "given_back":
            return Refusal(row.code, row.detail)
        case _:
            return None


async def _end_of(connection: AsyncConnection, transfer_id: str) -> Granted | Refusal:
    """How another try ended it."""
    end = await _ended(connection, transfer_id)
    if end is None:
        raise Broken(f"transfer {transfer_id} is neither under way nor ended")
    return end


_RECEIVER = text("SELECT id, customer_id, currency, test_mode FROM subscriptions WHERE id = :id")
_INVOICE = text(
    """
SELECT number, customer_id, currency, status, total, credited, test_mode FROM invoices WHERE id = :id
FOR NO KEY UPDATE
"""
)
_READER = text(
    """
SELECT i.customer_id, i.test_mode, c.time_zone FROM invoices AS i JOIN customers AS c ON c.id = i.customer_id
WHERE i.id = :id
"""
)
_CREDITED = text("UPDATE invoices SET credited = credited + :amount WHERE id = :id")
_TRANSFER = text("SELECT amount, currency, status, code, detail FROM credit_transfers WHERE id = :id")
_OPEN = text(
    """
INSERT INTO credit_transfers (
    id, source, source_id, subscription_id, customer_id, invoice_id, amount, taxes, currency, status, actor, at
) VALUES (
    :id, :source, :source_id, :subscription, :customer, :invoice, :amount, CAST(:taxes AS jsonb), :currency,
    'pending', :actor, :at
)
"""
)
# The line of the timeline is written in the transaction of the grant: where it is, the subscription has the money.
_HAS_IT = text(
    """
SELECT seq FROM subscription_events
WHERE subscription_id = :subscription AND kind = 'credit_granted' AND data ->> 'transfer_id' = :transfer
"""
)
_GRANTED = text(
    """
UPDATE credit_transfers SET status = 'granted', ended_at = :now WHERE id = :id AND status = 'pending' RETURNING taxes
"""
)
_GIVEN_BACK = text(
    """
UPDATE credit_transfers SET status = 'given_back', code = :code, detail = :detail, ended_at = :now
WHERE id = :id AND status = 'pending' RETURNING customer_id, taxes,
    (SELECT test_mode FROM subscriptions WHERE subscriptions.id = credit_transfers.subscription_id) AS test_mode
"""
)
_NOT_EXPIRED = text("UPDATE vouchers SET expired_at = NULL WHERE id = :id")
