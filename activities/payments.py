"""One attempt to collect an invoice: intent, call, outcome. Run it twice and the customer pays once.

The attempt's row is written before the gateway is called. A row found pending means that a call may have been made
whose answer nobody kept: the gateway is then asked by our reference before anything is sent.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection
from temporalio import activity

from activities.alive import alive
from activities.books import Method, Payer, payer, write_books
from activities.courier import Courier
from activities.told import Told, outcome_of, told
from domain.collection import ACTION_EXPIRED
from domain.declines import DeclineKind
from domain.errors import Broken
from domain.facts import ActionRequired, Charged, Declined, NeverArrived, NoMethod, Outcome, Parked, Unknown
from domain.ids import derive
from domain.lifecycle import apply
from domain.links import NO_LINKS, LinkMaker
from domain.money import Money
from domain.state import Collecting, InvoiceReason, Phase, State
from domain.terms import DEFAULT_DUNNING, DunningTerms, EndAction, Retry, RetryMessage
from models.session import Database
from providers.gateways.base import Answer, AnswerStatus, Gateway, GatewayUnavailable, Order, OutcomeUnknown


@dataclass(frozen=True, slots=True)
class StepRequest:
    """What a step's activity needs: the state before it and the subscription's own time.

    `give_up`: the customer's time to confirm is over, withdraw the order before asking.
    """

    state: State
    now: datetime
    give_up: bool = False


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


def reference(state: State, collecting: Collecting) -> str:
    """Our name of an attempt at the gateway: `charge:{subscription}:{cycle}:{attempt}`.

    Invoices that are not for a cycle say so within the cycle's part.
    """
    cycle = str(collecting.cycle)
    if collecting.reason is not InvoiceReason.CYCLE:
        cycle = f"{cycle}-{collecting.reason.value}{collecting.sequence}"
    return f"charge:{state.id}:{cycle}:{collecting.attempt}"


class Payments:
    """Activities that move money. `gateway` gives the gateway of a name."""

    def __init__(
        self, database: Database, gateway: Callable[[str], Gateway], courier: Courier, links: LinkMaker = NO_LINKS
    ) -> None:
        self._links = links
        self._database = database
        self._gateway = gateway
        self._courier = courier

    @activity.defn(name="charge")
    @alive
    async def charge(self, request: StepRequest) -> Outcome:
        """Try to collect the open invoice with the next method, and write down what came of it."""
        state, collecting = request.state, _collecting(request.state)
        async with self._database.begin() as connection:
            to = await payer(connection, state.customer_id, self._links)
            # What there is to tell of them is decided with the outcome: one change of state, one letter.
            await write_books(connection, state, state.journal, to, request.now, tell=())
            methods = self._eligible(state, collecting, to)
            done = await told(connection, state)
            attempt = None
            if collecting.amount_due and done is None:
                attempt = await _intend(connection, state, collecting, methods, request.now)
        if done is not None:
            return await self._repeat(request, to, done)
        if collecting.amount_due == 0:
            return await self._conclude(request, to, None, Charged(collecting.attempt, 0), None)
        if attempt is None:
            policy = await self._policy(state, to)
            return await self._conclude(request, to, None, NoMethod(collecting.attempt, policy), None)
        answer = await self._send_once(state, collecting, attempt, methods)
        outcome = await self._outcome(state, collecting, to, attempt, answer, methods)
        return await self._conclude(request, to, attempt, outcome, answer)

    @activity.defn(name="ask_gateway")
    @alive
    async def ask_gateway(self, request: StepRequest) -> Outcome:
        """Ask what became of the attempt whose answer is missing; `give_up` withdraws it first."""
        state, collecting = request.state, _collecting(request.state)
        async with self._database.begin() as connection:
            to = await payer(connection, state.customer_id, self._links)
            # A command may have come in just when it was time to ask: its lines belong to the books as well.
            if state.journal:
                await write_books(connection, state, state.journal, to, request.now, tell=())
            done = await told(connection, state)
            attempt = await _find(connection, collecting)
        if done is not None:
            return await self._repeat(request, to, done)
        if attempt is None:
            raise Broken(f"attempt {collecting.attempt} of invoice {collecting.invoice_id} was never intended")
        answer = await self._look_up(attempt, withdraw=request.give_up)
        if answer is None and collecting.phase is Phase.ACTION:
            answer = Answer(AnswerStatus.ACTION_REQUIRED, action_url=attempt.action_url)
        outcome: Outcome
        if answer is None:
            outcome = Unknown(collecting.attempt, attempt.gateway)
        else:
            methods = self._eligible(state, collecting, to)
            outcome = await self._outcome(state, collecting, to, attempt, answer, methods)
        return await self._conclude(request, to, attempt, outcome, answer)

    def _eligible(self, state: State, collecting: Collecting, to: Payer) -> list[Method]:
        """The methods that may be charged now, best first. A test subscription never reaches a real gateway."""
        if collecting.use_method is not None:
            wanted = [method for method in to.methods if method.id == collecting.use_method]
        else:
            spent = {*collecting.tried, *collecting.refused}
            wanted = [method for method in to.methods if method.id not in spent]
        if state.test_mode:
            wanted = [method for method in wanted if self._gateway(method.gateway).is_sandbox]
        return wanted

    async def _send_once(
        self, state: State, collecting: Collecting, attempt: Attempt, methods: Sequence[Method]
    ) -> Answer | GatewayUnavailable | None:
        """The gateway's answer; None if it is lost. Nothing is sent before a pending attempt is asked for.

        A method that may be charged no more is asked for and not sent to: the gateway then has never seen the attempt.
        """
        gateway = self._gateway(attempt.gateway)
        if attempt.status in {"approved", "declined"}:
            return _stored(attempt)
        if attempt.status in {"pending", "unknown", "action_required"}:
            known = await self._look_up(attempt)
            if known is None or known.status is not AnswerStatus.NOT_FOUND:
                return known
            if all(method.id != attempt.method_id for method in methods):
                return known
        order = Order(
            reference=attempt.reference,
            token=attempt.token,
            amount=Money(collecting.amount_due, state.currency),
            description=f"{state.terms.product_name}, cycle {collecting.cycle}",
        )
        try:
            return await gateway.sale(order)
        except GatewayUnavailable as down:
            return down
        except OutcomeUnknown:
            return None

    async def _look_up(self, attempt: Attempt, *, withdraw: bool = False) -> Answer | None:
        gateway = self._gateway(attempt.gateway)
        try:
            if withdraw:
                await gateway.void(attempt.reference)
            return await gateway.lookup(attempt.reference)
        except (GatewayUnavailable, OutcomeUnknown):
            return None

    async def _outcome(
        self,
        state: State,
        collecting: Collecting,
        to: Payer,
        attempt: Attempt,
        answer: Answer | GatewayUnavailable | None,
        methods: Sequence[Method],
    ) -> Outcome:
        number = collecting.attempt
        if answer is None:
            return Unknown(number, attempt.gateway)
        if isinstance(answer, GatewayUnavailable):
            return Parked(number, attempt.gateway)
        match answer.status:
            case AnswerStatus.APPROVED:
                return Charged(number, collecting.amount_due, attempt.method_id, attempt.gateway, answer.gateway_id)
            case AnswerStatus.NOT_FOUND:
                return NeverArrived(number)
            case AnswerStatus.ACTION_REQUIRED:
                return ActionRequired(number, attempt.method_id or "", answer.action_url or "", attempt.gateway)
            case AnswerStatus.DECLINED | AnswerStatus.VOIDED:
                withdrawn = answer.status is AnswerStatus.VOIDED
                return Declined(
                    attempt=number,
                    method_id=attempt.method_id or "",
                    code=ACTION_EXPIRED if withdrawn else answer.code or "declined",
                    decline=answer.decline or DeclineKind.SOFT,
                    another=any(method.id != attempt.method_id for method in methods),
                    policy=await self._policy(state, to),
                    gateway=attempt.gateway,
                )

    async def _conclude(
        self,
        request: StepRequest,
        to: Payer,
        attempt: Attempt | None,
        outcome: Outcome,
        answer: Answer | GatewayUnavailable | None,
    ) -> Outcome:
        """Write the outcome and all that follows from it, with the letters of the whole step, and see to these."""
        state = apply(request.state, outcome, request.now)
        fresh = state.journal[len(request.state.journal) :]
        async with self._database.begin() as connection:
            if attempt is not None:
                await _answered(connection, attempt, outcome, answer, request.now)
            messages = await write_books(connection, state, fresh, to, request.now, first=True, tell=state.journal)
        await self._courier.dispatch(messages)
        return outcome

    async def _repeat(self, request: StepRequest, to: Payer, done: Told) -> Outcome:
        """The step was made before and its outcome is in the books: give it again, and see to the letters."""
        outcome = outcome_of(done, _collecting(request.state).attempt, await self._policy(request.state, to))
        state = apply(request.state, outcome, request.now)
        async with self._database.begin() as connection:
            fresh = state.journal[len(request.state.journal) :]
            messages = await write_books(connection, state, fresh, to, request.now, tell=state.journal)
        await self._courier.dispatch(messages)
        return outcome

    async def _policy(self, state: State, to: Payer) -> DunningTerms:
        """The dunning policy in force: the customer's, else the product's, else the default one."""
        async with self._database.begin() as connection:
            row = (
                await connection.execute(_POLICY, {"wanted": to.dunning_policy_id, "product": state.terms.product_id})
            ).one_or_none()
        if row is None:
            return DEFAULT_DUNNING
        retries = tuple(
            Retry(retry["after_days"], retry["hour"], RetryMessage(retry.get("message", RetryMessage.REMINDER)))
            for retry in row.retries
        )
        return DunningTerms(row.id, row.name, retries, row.grace_days, EndAction(row.end_action))


_POLICY = text(
    """
SELECT p.id, p.name, p.retries, p.grace_days, p.end_action FROM dunning_policies AS p
LEFT JOIN products ON products.id = :product
WHERE p.id = :wanted OR p.id = products.dunning_policy_id OR p.is_default
ORDER BY (p.id = :wanted) DESC NULLS LAST, (p.id = products.dunning_policy_id) DESC NULLS LAST
LIMIT 1
"""
)

_INTEND = text(
    """
INSERT INTO attempts (
    id, invoice_id, subscription_id, customer_id, payer_id, number, reference, trigger, payment_method_id, gateway,
    amount, currency, status, at, test_mode
) VALUES (
    :id, :invoice, :subscription, CAST(:customer AS text),
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
    answered_at = :at
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
}


async def _intend(
    connection: AsyncConnection, state: State, collecting: Collecting, methods: Sequence[Method], now: datetime
) -> Attempt | None:
    """Write the attempt before it is made, with the best of the methods; None where there is nothing to make it with.

    One that is there already stays as it was made. Only where it surely took nothing and its method may be charged no
    more (removed, say) does it go on with another one.
    """
    ours = reference(state, collecting)
    identity = derive("att", ours)
    if methods and await connection.scalar(
        _INTEND,
        {
            "id": identity,
            "invoice": collecting.invoice_id,
            "subscription": state.id,
            "customer": state.customer_id,
            "number": collecting.attempt,
            "reference": ours,
            "trigger": collecting.trigger,
            "method": methods[0].id,
            "gateway": methods[0].gateway,
            "amount": collecting.amount_due,
            "currency": state.currency,
            "at": now,
            "test_mode": state.test_mode,
        },
    ):
        return _intended(identity, ours, methods[0])
    known = await _find(connection, collecting)
    if known is None and methods:
        raise Broken(f"attempt {ours} is neither new nor known")
    if known is None or known.status != "parked":
        return known
    if not methods:
        return None
    method = next((method for method in methods if method.id == known.method_id), methods[0])
    if await connection.scalar(_INTEND_AGAIN, {"id": identity, "method": method.id}):
        return _intended(identity, ours, method)
    return await _find(connection, collecting)  # another run of this step was first


def _intended(identity: str, ours: str, method: Method) -> Attempt:
    return Attempt(identity, ours, "intended", method.id, method.gateway, None, None, None, None, method.token)


async def _find(connection: AsyncConnection, collecting: Collecting) -> Attempt | None:
    row = (
        await connection.execute(_FIND, {"invoice": collecting.invoice_id, "number": collecting.attempt})
    ).one_or_none()
    if row is None:
        return None
    return Attempt(
        row.id, row.reference, row.status, row.payment_method_id, row.gateway, row.gateway_id, row.code, row.decline,
        row.action_url, row.token,
    )  # fmt: skip


async def _answered(
    connection: AsyncConnection,
    attempt: Attempt,
    outcome: Outcome,
    answer: Answer | GatewayUnavailable | None,
    now: datetime,
) -> None:
    said = answer if isinstance(answer, Answer) else None
    parameters: dict[str, Any] = {
        "id": attempt.id,
        "status": _STATUS[outcome.kind],
        "settlement": "pending" if isinstance(outcome, Charged) else None,
        "gateway_id": said.gateway_id if said else None,
        "code": outcome.code if isinstance(outcome, Declined) else None,
        "decline": outcome.decline.value if isinstance(outcome, Declined) else None,
        "message": said.message if said else "",
        "action_url": said.action_url if said else None,
        "at": now,
    }
    await connection.execute(_ANSWERED, parameters)


def _stored(attempt: Attempt) -> Answer:
    """What the gateway said when this very attempt was made before."""
    if attempt.status == "approved":
        return Answer(AnswerStatus.APPROVED, attempt.gateway_id)
    kind = DeclineKind(attempt.decline) if attempt.decline else None
    return Answer(AnswerStatus.DECLINED, attempt.gateway_id, attempt.code, kind)


def _collecting(state: State) -> Collecting:
    if state.collecting is None:
        raise Broken(f"subscription {state.id} has no open invoice")
    return state.collecting
