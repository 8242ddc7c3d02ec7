"""Vouchers are issued, adjusted and expired here; every change of a balance is one entry and one movement, once.

A voucher's row is locked before its balance is read, so that two who redeem at once never take more than there is.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection
from temporalio import activity

from activities.ledger import DoubleEntry, balance, post
from domain import ledger
from domain.credits import Refusal
from domain.errors import InvalidInput, Refused
from domain.ids import derive
from domain.vouchers import (
    CODE_SEED_BYTES,
    AdjustVoucher,
    IssueVoucher,
    Move,
    Moved,
    Voucher,
    check_adjust,
    check_issue,
    code_from,
    code_of,
    sides,
)
from models.session import Database

EXPIRED_AT_ONCE_MAX: Final = 200


class Vouchers:
    """Activities on vouchers. A refusal is a value."""

    def __init__(self, database: Database) -> None:
        self._database = database

    @activity.defn(name="issue_voucher")
    async def issue_voucher(self, request: IssueVoucher) -> Moved | Refusal:
        """Issue it once for each id."""
        # By chance and not from the id: who knows how ids are made must not know codes. A repeat finds the row.
        code = code_of(request.code) if request.code else code_from(secrets.token_bytes(CODE_SEED_BYTES))
        try:
            check_issue(request.amount, request.expires_at, request.at)
            async with self._database.begin() as connection:
                await issue(connection, request, code)
        except (InvalidInput, Refused) as refused:
            return Refusal.of(refused)
        return Moved(request.id)

    @activity.defn(name="adjust_voucher")
    async def adjust_voucher(self, request: AdjustVoucher) -> Moved | Refusal:
        """Change its balance once for each id of a change."""
        try:
            async with self._database.begin() as connection:
                found = await locked(connection, request.voucher_id)
                if not await _is_moved(connection, request.id):
                    check_adjust(found, request.amount, request.at)
                    by = By(request.id, request.at, request.actor, request.reason)
                    await move(connection, found, Move.ADJUSTED, request.amount, by)
        except Refused as refused:
            return Refusal.of(refused)
        return Moved(request.voucher_id)

    @activity.defn(name="expire_vouchers")
    async def expire_vouchers(self, now: datetime) -> int:
        """Take off what is left on vouchers whose end has come; returns how many were ended. Fewer than
        `EXPIRED_AT_ONCE_MAX`: there are no more.
        """
        async with self._database.begin() as connection:
            due = (await connection.scalars(_ENDED, {"now": now, "limit": EXPIRED_AT_ONCE_MAX})).all()
        for voucher_id in due:
            async with self._database.begin() as connection:
                await _expire(connection, voucher_id, now)
        return len(due)


@dataclass(frozen=True, slots=True)
class By:
    """The identity of a movement (and of its ledger entry), when, by whom, why, and for which subscription."""

    id: str
    at: datetime
    actor: str
    reason: str
    customer_id: str | None = None
    subscription_id: str | None = None


async def locked(connection: AsyncConnection, voucher_id: str) -> Voucher:
    """The voucher with its balance, held until the commit. Raises `Refused` where there is none."""
    row = (await connection.execute(_LOCK, {"id": voucher_id})).one_or_none()
    if row is None:
        raise Refused("no_voucher", "there is no such voucher")
    # After the lock: only now does the balance hold still.
    left = -await balance(connection, ledger.voucher(row.id), row.currency)
    return Voucher(row.id, row.currency, row.customer_id, row.expires_at, row.test_mode, left)


async def move(connection: AsyncConnection, of: Voucher, why: Move, amount: int, by: By) -> None:
    """Change the balance of a locked voucher by so much, once for each id: a ledger entry and its movement."""
    entry = DoubleEntry(
        id=by.id,
        at=by.at,
        kind=f"voucher_{why.value}",
        postings=sides(why, of.id, amount, of.currency),
        description=f"voucher {why.value.replace('_', ' ')}",
        test_mode=of.test_mode,
        customer_id=by.customer_id or of.customer_id,
        subscription_id=by.subscription_id,
        subject_id=of.id,
    )
    if await post(connection, entry):
        await connection.execute(
            _MOVEMENT,
            {
                "id": by.id,
                "voucher": of.id,
                "kind": why.value,
                "amount": amount,
                "subscription": by.subscription_id,
                "actor": by.actor,
                "reason": by.reason,
                "at": by.at,
            },
        )


async def issue(connection: AsyncConnection, request: IssueVoucher, code: str) -> None:
    """Write a voucher with what it is worth, once for each id. Raises `InvalidInput` where another one has the code."""
    written = await connection.scalar(
        _ISSUE,
        {
            "id": request.id,
            "code": code,
            "customer": request.customer_id,
            "currency": request.currency,
            "issued": request.amount,
            "expires_at": request.expires_at,
            "reason": request.reason,
            "actor": request.actor,
            "test_mode": request.test_mode,
            "at": request.at,
        },
    )
    if written is None and await connection.scalar(_OWNER, {"code": code}) not in {None, request.id}:
        raise InvalidInput("code", "another voucher has this code", code="taken")
    issued = await locked(connection, request.id)
    by = By(derive("led", request.id, Move.ISSUED), request.at, request.actor, request.reason)
    await move(connection, issued, Move.ISSUED, request.amount, by)


async def _expire(connection: AsyncConnection, voucher_id: str, now: datetime) -> None:
    """Take off what is left. A voucher that another try has ended meanwhile is left alone."""
    ending = await locked(connection, voucher_id)
    if await connection.scalar(_END, {"id": voucher_id, "now": now}) is None or ending.balance == 0:
        return
    # It may end again, when a redemption under way then gave its money back: each end is a movement of its own.
    before = await connection.scalar(_ENDS_BEFORE, {"id": voucher_id, "kind": Move.EXPIRED})
    by = By(derive("led", voucher_id, Move.EXPIRED, str(before)), now, "system", "its end has come")
    await move(connection, ending, Move.EXPIRED, -ending.balance, by)


async def _is_moved(connection: AsyncConnection, movement_id: str) -> bool:
    return await connection.scalar(_KNOWN, {"id": movement_id}) is not None


_LOCK = text("SELECT id, currency, customer_id, expires_at, test_mode FROM vouchers WHERE id = :id FOR NO KEY UPDATE")
_ISSUE = text(
    """
INSERT INTO vouchers (
    id, code, customer_id, currency, issued, expires_at, reason, actor, test_mode, issued_at
) VALUES (:id, :code, :customer, :currency, :issued, :expires_at, :reason, :actor, :test_mode, :at)
ON CONFLICT DO NOTHING RETURNING id
"""
)
_OWNER = text("SELECT id FROM vouchers WHERE code = :code")
_MOVEMENT = text(
    """
INSERT INTO voucher_movements (id, voucher_id, kind, amount, subscription_id, actor, reason, at)
VALUES (:id, :voucher, :kind, :amount, :subscription, :actor, :reason, :at)
"""
)
_KNOWN = text("SELECT id FROM voucher_movements WHERE id = :id")
_ENDED = text(
    "SELECT id FROM vouchers WHERE expired_at IS NULL AND expires_at <= :now ORDER BY expires_at, id LIMIT :limit"
)
_END = text("UPDATE vouchers SET expired_at = :now WHERE id = :id AND expired_at IS NULL RETURNING id")
_ENDS_BEFORE = text("SELECT count(*) FROM voucher_movements WHERE voucher_id = :id AND kind = :kind")
