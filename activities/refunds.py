"""One try to give money back: intent, call, outcome. Run it twice and the customer gets it once.

The opening holds the amount on its charge and invoice, under their lock, before any gateway is asked. A try found
pending means that a call may have been made whose answer nobody kept: the gateway is asked before anything is sent.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection
from temporalio import activity

from activities.alive import alive
from activities.courier import Courier
from activities.paid_back import Listener, tell_paid_back
from activities.refund_books import note_id, write_refund
from activities.refund_told import refund_told
from domain.errors import Broken, NotFound, Refused
from domain.facts import Recorded
from domain.money import Money
from domain.refund_commands import Returnable, begin, opened
from domain.refund_messages import (
    OpenRefund,
    RefundResult,
    RefusedOpening,
    Returned,
    ReturnFailed,
    ReturnNeverArrived,
    ReturnOutcome,
    ReturnParked,
    ReturnTaken,
    ReturnUnknown,
)
from domain.refund_state import FINAL, RefundKind, RefundState
from domain.refunds import ALREADY_VOIDED, METHOD_NOT_ALLOWED, apply
from models.queries_business import refund_rules
from models.session import Database
from providers.gateways.base import (
    AnswerStatus,
    Gateway,
    GatewayUnavailable,
    Given,
    GivenStatus,
    OrderRefused,
    OutcomeUnknown,
    RefundOrder,
)

DISPUTED = "disputed"
NO_SUCH_CHARGE = "no_such_charge"


@dataclass(frozen=True, slots=True)
class OpenRequest:
    """What opening needs: the wish, and the time by the wall clock."""

    wanted: OpenRefund
    now: datetime


@dataclass(frozen=True, slots=True)
class RefundRequest:
    """What a step's activity needs: the refund before it and its own time."""

    state: RefundState
    now: datetime


@dataclass(frozen=True, slots=True)
class Try:
    """A try that may be sent (`fresh`), or must be asked for. `obstacle`: why it is not to be sent at all."""

    reference: str
    token: str | None
    fresh: bool
    obstacle: str | None


def reference(state: RefundState) -> str:
    """Our name of the running try at the gateway: `refund:{refund}:{number}`, or `void:…`."""
    return f"{state.kind.value}:{state.id}:{state.number}"


class Refunds:
    """Activities that give money back. `gateway` gives the gateway of a name; `listener` hears of what went back."""

    def __init__(
        self, database: Database, gateway: Callable[[str], Gateway], courier: Courier, listener: Listener
    ) -> None:
        self._database = database
        self._gateway = gateway
        self._courier = courier
        self._listener = listener

    @activity.defn(name="open_refund")
    @alive
    async def open_refund(self, request: OpenRequest) -> RefundResult:
        """Check the rules and hold the amount, under the charge's lock; a refusal is a value and writes nothing."""
        wanted = request.wanted
        async with self._database.begin() as connection:
            await connection.execute(_LOCK, {"attempt": wanted.attempt_id})
            row = (
                await connection.execute(_CHARGE, {"attempt": wanted.attempt_id, "method": wanted.payment_method_id})
            ).one_or_none()
            if row is None:
                missing = NotFound(f"there is no charge {wanted.attempt_id}")
                return RefundResult(refusal=RefusedOpening.of(missing))
            charge = _returnable(row)
            known = (await connection.execute(_KNOWN, {"refund": wanted.id})).one_or_none()
            if known is not None:
                return RefundResult(state=_again(wanted, charge, known, request.now))
            # An order has no clock of its own: it is sold today, also in test mode.
            own = row.virtual_now if charge.test_mode and row.virtual_now is not None else request.now
            ahead = max(own - request.now, timedelta(0))
            ahead_s = int(ahead.total_seconds())
            now = request.now + timedelta(seconds=ahead_s)
            try:
                state = begin(wanted, charge, await refund_rules(connection), now, ahead_s)
            except Refused as refusal:
                return RefundResult(refusal=RefusedOpening.of(refusal))
            await write_refund(connection, state, state.journal, now)
        return RefundResult(state=replace(state, journal=()))

    @activity.defn(name="give_back")
    @alive
    async def give_back(self, request: RefundRequest) -> ReturnOutcome:
        """Make the running try, and write down what came of it."""
        state = request.state
        async with self._database.begin() as connection:
            letters = await write_refund(connection, state, state.journal, request.now)
            done = await refund_told(connection, state)
            tried = await _intend(connection, state, request.now) if done is None else None
        if tried is None:
            return await self._repeat(request, done, letters)
        if not tried.fresh:
            known = await self._look_up(state, tried)
            if not isinstance(known, ReturnNeverArrived):
                return await self._conclude(request, known, letters)
        if tried.obstacle is not None:
            return await self._conclude(request, ReturnFailed(state.number, tried.obstacle), letters)
        return await self._conclude(request, await self._send(state, tried), letters)

    @activity.defn(name="ask_return")
    @alive
    async def ask_return(self, request: RefundRequest) -> ReturnOutcome:
        """Ask what became of the try whose outcome is missing."""
        state = request.state
        async with self._database.begin() as connection:
            letters = await write_refund(connection, state, state.journal, request.now)
            done = await refund_told(connection, state)
        if done is not None:
            return await self._repeat(request, done, letters)
        outcome = await self._look_up(state, Try(reference(state), None, fresh=False, obstacle=None))
        return await self._conclude(request, outcome, letters)

    @activity.defn(name="record_refund")
    @alive
    async def record_refund(self, request: RefundRequest) -> Recorded:
        """Write all lines of the journal; safe to repeat."""
        async with self._database.begin() as connection:
            letters = await write_refund(connection, request.state, request.state.journal, request.now)
        await self._courier.dispatch(letters)
        return Recorded(request.state.seq)

    async def _send(self, state: RefundState, tried: Try) -> ReturnOutcome:
        gateway, number = self._gateway(state.gateway), state.number
        try:
            if state.kind is RefundKind.VOID:
                given = await gateway.void_sale(state.sale)
            else:
                amount = Money(state.amount, state.currency)
                given = await gateway.refund(RefundOrder(tried.reference, state.sale, amount, tried.token))
        except GatewayUnavailable:
            return ReturnParked(number)
        except OutcomeUnknown:
            return ReturnUnknown(number)
        except OrderRefused as refused:
            return ReturnFailed(number, refused.code, str(refused))
        if given.status is GivenStatus.NOT_FOUND:
            return ReturnFailed(number, NO_SUCH_CHARGE, "the gateway does not know the charge")
        return _outcome(state, given)

    async def _look_up(self, state: RefundState, tried: Try) -> ReturnOutcome:
        """A void has no name of its own at the gateway: the charge itself says whether it is voided."""
        gateway = self._gateway(state.gateway)
        try:
            if state.kind is RefundKind.REFUND:
                return _outcome(state, await gateway.find_refund(tried.reference))
            charge = await gateway.lookup(state.sale)
        except (GatewayUnavailable, OutcomeUnknown):
            return ReturnUnknown(state.number)
        if charge.status is AnswerStatus.VOIDED:
            return Returned(state.number, charge.gateway_id)
        return ReturnNeverArrived(state.number)

    async def _conclude(self, request: RefundRequest, outcome: ReturnOutcome, letters: Sequence[str]) -> ReturnOutcome:
        """Write the outcome and all that follows from it, then see to these and to the `letters` written before."""
        state = apply(request.state, outcome, request.now)
        fresh = state.journal[len(request.state.journal) :]
        async with self._database.begin() as connection:
            await _answered(connection, request, outcome)
            messages = await write_refund(connection, state, fresh, request.now, first=True)
        return await self._see_to(state, outcome, sorted({*letters, *messages}))

    async def _repeat(
        self, request: RefundRequest, done: ReturnOutcome | None, letters: Sequence[str]
    ) -> ReturnOutcome:
        """The step was made before and its outcome is in the books: give it again, and see to the letters."""
        if done is None:
            raise Broken(f"try {request.state.number} of refund {request.state.id} has no outcome to repeat")
        return await self._see_to(request.state, done, letters)

    async def _see_to(self, state: RefundState, outcome: ReturnOutcome, letters: Sequence[str]) -> ReturnOutcome:
        """What is left to do once the outcome is in the books."""
        await self._courier.dispatch(letters)
        if isinstance(outcome, Returned):
            await tell_paid_back(self._database, self._listener, note_id(state))
        return outcome


def _outcome(state: RefundState, given: Given) -> ReturnOutcome:
    match given.status:
        case GivenStatus.SUCCEEDED:
            return Returned(state.number, given.gateway_id)
        case GivenStatus.PENDING:
            return ReturnTaken(state.number, given.gateway_id)
        case GivenStatus.NOT_FOUND:
            return ReturnNeverArrived(state.number)
        case GivenStatus.FAILED:
            code = given.code or "failed"
            if state.kind is RefundKind.VOID and code == ALREADY_VOIDED:
                return Returned(state.number, given.gateway_id)  # what was wished is so
            return ReturnFailed(state.number, code, given.message)


def _returnable(row: Any) -> Returnable:
    return Returnable(
        attempt_id=row.id,
        invoice_id=row.invoice_id,
        subscription_id=row.subscription_id,
        order_id=row.order_id,
        customer_id=row.customer_id,
        zone=row.time_zone,
        gateway=row.gateway or "",
        sale=row.reference,
        status=row.status,
        settlement=row.settlement,
        amount=row.amount,
        currency=row.currency,
        returned=row.returned,
        invoice_left=row.invoice_left,
        disputed=row.disputed,
        method_fits=row.method_fits,
        test_mode=row.test_mode,
    )


def _again(wanted: OpenRefund, charge: Returnable, row: Any, wall: datetime) -> RefundState:
    """The refund that an earlier run of the opening made, as it was then; or as it ended, if it is over by now."""
    ahead_s = int((row.requested_at - wall).total_seconds()) if charge.test_mode else 0
    state = opened(
        wanted, charge, RefundKind(row.kind), row.amount, row.approval_deadline, row.requested_at, max(ahead_s, 0)
    )
    if row.ended_at is not None:
        phase = next(phase for phase in FINAL if phase.value == row.status)
        return replace(state, phase=phase, ended_at=row.ended_at, seq=row.event_seq, retries=row.retries)
    if row.tries or row.approved_by is not None:
        raise Broken(f"refund {wanted.id} is under way without its workflow")
    return replace(state, seq=row.event_seq)


async def _intend(connection: AsyncConnection, state: RefundState, now: datetime) -> Try:
    """Write the try before it is made. One that is there already may have been sent, unless it is parked."""
    ours = reference(state)
    fresh = await connection.scalar(
        _INTEND,
        {
            "refund": state.id,
            "number": state.number,
            "kind": state.kind.value,
            "trigger": state.trigger,
            "reference": ours,
            "method": state.payment_method_id,
            "at": now,
        },
    )
    found = (
        await connection.execute(_OBSTACLES, {"attempt": state.attempt_id, "method": state.payment_method_id})
    ).one()
    obstacle = DISPUTED if found.disputed else None
    if state.payment_method_id is not None and found.token is None:
        obstacle = METHOD_NOT_ALLOWED
    return Try(ours, found.token, fresh is not None, obstacle)


async def _answered(connection: AsyncConnection, request: RefundRequest, outcome: ReturnOutcome) -> None:
    """The try's row: what the gateway said of it, and that nothing is known where it did not."""
    await connection.execute(
        _ANSWERED,
        {
            "refund": request.state.id,
            "number": request.state.number,
            "status": _STATUS[outcome.kind],
            "settlement": "pending" if _is_refunded(request.state, outcome) else None,
            "gateway_id": outcome.gateway_id if isinstance(outcome, Returned | ReturnTaken) else None,
            "code": outcome.code if isinstance(outcome, ReturnFailed) else None,
            "message": outcome.message if isinstance(outcome, ReturnFailed) else "",
            "at": request.now,
        },
    )


def _is_refunded(state: RefundState, outcome: ReturnOutcome) -> bool:
    """A refund is settled by the gateway like a charge; a void leaves nothing to settle."""
    return isinstance(outcome, Returned) and state.kind is RefundKind.REFUND


_STATUS = {
    "returned": "succeeded",
    "return_failed": "failed",
    "return_taken": "pending",
    "return_unknown": "unknown",
    "return_parked": "parked",
    "return_never_arrived": "parked",
}

_LOCK = text(
    """
SELECT a.id FROM attempts AS a JOIN invoices AS i ON i.id = a.invoice_id
WHERE a.id = :attempt FOR NO KEY UPDATE OF a, i
"""
)
# A lost dispute took the money back already; only a won one leaves it with us.
_DISPUTED = "(SELECT d.status FROM disputes AS d WHERE d.attempt_id = a.id AND d.status <> 'won' LIMIT 1)"
_METHOD = "m.id = :method AND m.customer_id = a.customer_id AND m.gateway = a.gateway AND m.removed_at IS NULL"
_CHARGE = text(
    f"""
SELECT a.id, a.invoice_id, a.subscription_id, a.order_id, a.customer_id, a.reference, a.gateway, a.status, a.settlement,
    a.amount, a.currency, a.returned, a.test_mode, i.total - i.credited AS invoice_left, c.time_zone, s.virtual_now,
    {_DISPUTED} AS disputed,
    CAST(:method AS text) IS NULL OR EXISTS (SELECT 1 FROM payment_methods AS m WHERE {_METHOD}) AS method_fits
FROM attempts AS a
JOIN invoices AS i ON i.id = a.invoice_id
JOIN customers AS c ON c.id = a.customer_id
LEFT JOIN subscriptions AS s ON s.id = a.subscription_id
WHERE a.id = :attempt
"""  # noqa: S608 - put together from constants
)
_KNOWN = text(
    """
SELECT r.kind, r.amount, r.status, r.retries, r.requested_at, r.approval_deadline, r.approved_by, r.ended_at,
    r.event_seq, EXISTS (SELECT 1 FROM refund_tries AS t WHERE t.refund_id = r.id) AS tries
FROM refunds AS r WHERE r.id = :refund
"""
)
_INTEND = text(
    """
INSERT INTO refund_tries AS t (refund_id, number, kind, trigger, reference, payment_method_id, status, at)
VALUES (:refund, :number, :kind, :trigger, :reference, :method, 'pending', :at)
ON CONFLICT (refund_id, number) DO UPDATE SET status = 'pending' WHERE t.status = 'parked'
RETURNING t.number
"""
)
_OBSTACLES = text(
    f"""
SELECT {_DISPUTED} AS disputed, m.token FROM attempts AS a LEFT JOIN payment_methods AS m ON {_METHOD}
WHERE a.id = :attempt
"""  # noqa: S608 - put together from constants
)
_ANSWERED = text(
    """
UPDATE refund_tries SET status = :status, settlement = :settlement, gateway_id = coalesce(:gateway_id, gateway_id),
    code = :code, message = :message, answered_at = :at
WHERE refund_id = :refund AND number = :number
"""
)
