"""What a gateway says of one transaction now, asked beyond its daily report, and what follows for its difference."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, Final

from sqlalchemy import Row, text
from sqlalchemy.ext.asyncio import AsyncConnection
from temporalio import activity

from activities.alive import alive
from activities.differences import Compared, close, keep, ours, reported
from activities.ledger import DoubleEntry, post
from domain.errors import Broken, Refused
from domain.ids import derive
from domain.ledger import RECONCILIATION, Posting, cash
from domain.reconciliation import Finding, Mismatch, Transaction, compare
from models.session import Database
from providers.gateways.base import AnswerStatus, Gateway, GatewayUnavailable, GivenStatus, OutcomeUnknown

# Around the gateway's own time of a transaction, and around ours, where it is not known there.
NEAR_THEIRS: Final = timedelta(seconds=2)
NEAR_OURS: Final = timedelta(minutes=2)
PAGES_MAX: Final = 20

ADOPTED: Final = "reconciliation_adopted"
_EVERY: Final = frozenset(Mismatch)


@dataclass(frozen=True, slots=True)
class ResolveRequest:
    """A person's word on a difference. Action: recheck, adopt, dismiss. `command_id` is the identity of the command."""

    difference_id: str
    action: str
    actor: str
    reason: str
    command_id: str
    now: datetime


@dataclass(frozen=True, slots=True)
class Resolved:
    """What became of it. Without a code it was carried out; else why not, and what would be taken now."""

    code: str | None = None
    message: str = ""
    allowed: tuple[str, ...] = ()


class Differences:
    """The activity that carries out what people decide on differences."""

    def __init__(self, database: Database, gateways: Mapping[str, Gateway]) -> None:
        self._database = database
        self._gateways = gateways

    @activity.defn(name="resolve_difference")
    @alive
    async def resolve_difference(self, request: ResolveRequest) -> Resolved:
        """Carry out a command on a difference, once. A refusal is a value, with a code of its own."""
        async with self._database.begin() as connection:
            row = (await connection.execute(_READ, {"id": request.difference_id})).one_or_none()
            here = await ours(connection, row.gateway, [row.reference]) if row is not None else []
        if row is None:
            return Resolved("not_found", "there is no such difference")
        theirs: list[Transaction] = []
        if request.action != "dismiss" and row.status == "open":
            try:
                theirs = await theirs_now(self._gateways[row.gateway], row, here)
            except (GatewayUnavailable, OutcomeUnknown):
                return Resolved("unavailable", f"the gateway {row.gateway} does not answer; nothing was changed")
        try:
            async with self._database.begin() as connection:
                await self._decide(connection, request, theirs)
        except Refused as refused:
            return Resolved(refused.code, refused.message, refused.allowed)
        return Resolved()

    async def _decide(self, connection: AsyncConnection, request: ResolveRequest, theirs: list[Transaction]) -> None:
        row = (await connection.execute(_LOCK, {"id": request.difference_id})).one()
        if row.command_id == request.command_id:
            return  # this very command, repeated
        if row.status != "open":
            raise Refused("difference_closed", f"this difference was closed before: {row.status}")
        if request.action == "dismiss":
            await _close(connection, request, "dismissed", "dismissed")
            return
        standing = await _standing(connection, row, theirs, request.now)
        if not any(each.mismatch == row.kind for each in standing):
            await _close(connection, request, "gone", "equal")
        finding = await recheck(connection, row, theirs, row.run_id, request.now)
        if request.action == "adopt" and finding is not None:
            await _adopt(connection, request, row, finding)


async def theirs_now(gateway: Gateway, row: Row[Any], here: Iterable[Transaction]) -> list[Transaction]:
    """What the gateway has of a difference's reference at this moment: from its report near that time, else by look-up.

    A look-up tells the state only; the amount is then the last one told.
    """
    own = next(iter(here), None)
    told = row.theirs.get("at")
    near = datetime.fromisoformat(told) if told else own.at if own else None
    if near is not None:
        margin = NEAR_THEIRS if told else NEAR_OURS
        found = await in_report(gateway, row.reference, near, margin)
        if found:
            return found
    return await _looked_up(gateway, row, own)


async def is_there(gateway: Gateway, one: Transaction) -> bool:
    """Whether the gateway knows this reference at all, whenever it was made."""
    if one.kind == "refund":
        return (await gateway.find_refund(one.reference)).status is not GivenStatus.NOT_FOUND
    return (await gateway.lookup(one.reference)).status is not AnswerStatus.NOT_FOUND


async def recheck(
    connection: AsyncConnection, row: Row[Any], theirs: list[Transaction], run_id: str, now: datetime
) -> Finding | None:
    """Compare both sides as they are now; the difference as it still stands, None where it is gone."""
    standing = await _standing(connection, row, theirs, now)
    await keep(connection, Compared(row.gateway, [row.reference], _EVERY, standing, standing), run_id, now)
    return next((each for each in standing if each.mismatch == row.kind), None)


async def _standing(
    connection: AsyncConnection, row: Row[Any], theirs: list[Transaction], now: datetime
) -> list[Finding]:
    here = await ours(connection, row.gateway, [row.reference])
    return [
        each
        for each in compare(here, theirs, now=now, in_flight=timedelta(0))
        # Found under its reference, so it is there: it only lies outside what was asked for.
        if each.mismatch is not Mismatch.MISSING_THERE or not theirs
    ]


async def _adopt(connection: AsyncConnection, request: ResolveRequest, row: Row[Any], finding: Finding) -> None:
    """Book what the gateway says: what our books lack, what was adopted of this transaction before included."""
    here, theirs = finding.ours, finding.theirs
    if here is not None and here.open_since is not None:
        raise _not_adopted("outcome_open", f"our own outcome is still open ({here.state}): it is asked for by itself")
    if theirs is not None and theirs.open_since is not None:
        raise _not_adopted("outcome_open", "the gateway has yet to say what became of it")
    if here is not None and theirs is not None and here.currency != theirs.currency:
        raise _not_adopted("currency_differs", f"{here.currency} here and {theirs.currency} there are no one amount")
    currency = finding.transaction.currency
    amount = finding.owed
    if amount == 0:
        raise _not_adopted("nothing_to_adopt", "both sides moved the same money: there is nothing to book")
    entry = DoubleEntry(
        id=derive("led", ADOPTED, row.id),
        at=request.now,
        kind=ADOPTED,
        postings=[Posting(cash(row.gateway), amount, currency), Posting(RECONCILIATION, -amount, currency)],
        description=f"As the gateway's books say: {row.reference}, {row.kind}",
        test_mode=bool(await connection.scalar(_TEST_MODE, {"gateway": row.gateway, "reference": row.reference})),
        customer_id=row.customer_id,
        subject_id=row.id,
    )
    if not await post(connection, entry):
        raise Broken(f"difference {row.id} is open, but was adopted before")
    await _close(connection, request, "fixed", "adopted", amount)


async def _close(
    connection: AsyncConnection, request: ResolveRequest, status: str, resolution: str, adopted: int | None = None
) -> None:
    await close(
        connection,
        request.difference_id,
        status,
        actor=request.actor,
        resolution=resolution,
        now=request.now,
        reason=request.reason,
        command_id=request.command_id,
        adopted=adopted,
    )


def _not_adopted(code: str, message: str) -> Refused:
    return Refused(code, f"{message}; recheck it later, or dismiss it with a reason", allowed=("recheck", "dismiss"))


async def in_report(gateway: Gateway, reference: str, near: datetime, margin: timedelta) -> list[Transaction]:
    """What the gateway reports of a reference around a time of its own."""
    since, until, found = near - margin, near + margin, list[Transaction]()
    cursor: str | None = None
    for _ in range(PAGES_MAX):
        page = await gateway.transactions(since, until, cursor)
        found += [reported(each) for each in page.rows if each.reference == reference]
        cursor = page.cursor
        if cursor is None:
            break
    return found


_SALES: Final = {
    AnswerStatus.APPROVED: "captured",
    AnswerStatus.AUTHORISED: "authorised",
    AnswerStatus.DECLINED: "declined",
    AnswerStatus.ACTION_REQUIRED: "action_required",
    AnswerStatus.VOIDED: "voided",
}
_REFUNDS: Final = {GivenStatus.SUCCEEDED: "succeeded", GivenStatus.FAILED: "failed", GivenStatus.PENDING: "pending"}


async def _looked_up(gateway: Gateway, row: Row[Any], own: Transaction | None) -> list[Transaction]:
    last = _last_told(row) or own
    if last is None:
        raise Broken(f"difference {row.id} is on neither side")
    if last.kind == "refund":
        given = await gateway.find_refund(row.reference)
        state, gateway_id = _REFUNDS.get(given.status), given.gateway_id
    else:
        answer = await gateway.lookup(row.reference)
        state, gateway_id = _SALES.get(answer.status), answer.gateway_id
    if state is None:
        return []
    moved = replace(last, state=state, gateway_id=gateway_id, open_since=last.at if state == "pending" else None)
    # Whether it is settled is not told: what was known of that stays, if the money is where it was.
    return [replace(moved, state=last.state) if moved.moved == last.moved != 0 else moved]


def _last_told(row: Row[Any]) -> Transaction | None:
    side: dict[str, Any] = row.theirs
    if not side:
        return None
    at = datetime.fromisoformat(side["at"])
    return Transaction(
        side["kind"], row.reference, side["amount"], side["currency"], side["state"], side["gateway_id"], at
    )


_READ = text("SELECT * FROM differences WHERE id = :id")
_LOCK = text("SELECT * FROM differences WHERE id = :id FOR UPDATE")
_TEST_MODE = text(
    """
SELECT test_mode FROM attempts WHERE gateway = :gateway AND reference = :reference
UNION ALL
SELECT r.test_mode FROM refund_tries AS t JOIN refunds AS r ON r.id = t.refund_id
WHERE r.gateway = :gateway AND t.reference = :reference
LIMIT 1
"""
)
