"""One attempt to collect an invoice: intent, call, outcome. Run it twice and the customer pays once.

The attempt's row is written before the gateway is called. A row found pending means that a call may have been made
whose answer nobody kept: the gateway is then asked by our reference before anything is sent. It is the same for a
subscription's invoice and an order's; what differs is in `Books`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Generic, Protocol, TypeVar, assert_never

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from activities.attempts import Attempt, Owner, answered, find, intend, stored
from activities.books import Method, Payer, payer
from activities.courier import Courier
from activities.holds import UNDER_WAY, ask, outcome_of_hold, status_after
from activities.told import Told, outcome_of
from domain.collection import ACTION_EXPIRED
from domain.declines import DeclineKind
from domain.errors import Broken
from domain.facts import (
    ActionRequired,
    Authorised,
    Charged,
    Declined,
    NeverArrived,
    NoMethod,
    Outcome,
    Parked,
    Unknown,
)
from domain.links import NO_LINKS, LinkMaker
from domain.money import Money
from domain.order_state import OrderState
from domain.state import Act, Collecting, Entry, Phase, State
from domain.terms import DEFAULT_DUNNING, DunningTerms, EndAction, Retry, RetryMessage
from models.session import Database
from providers.gateways.base import Answer, AnswerStatus, Gateway, GatewayUnavailable, Order, OutcomeUnknown

S = TypeVar("S", State, OrderState)


class Books(Protocol[S]):
    """What a debtor's books are: whose an attempt is, what an outcome leads to, and how that is written."""

    def owner(self, state: S) -> Owner:
        """Whose invoice it is, and the name of the running attempt."""
        ...

    def apply(self, state: S, outcome: Outcome, now: datetime) -> S:
        """The state after an outcome."""
        ...

    async def write(
        self,
        connection: AsyncConnection,
        state: S,
        entries: Sequence[Entry],
        to: Payer,
        now: datetime,
        *,
        first: bool = False,
        tell: Sequence[Entry] | None = None,
    ) -> tuple[str, ...]:
        """Write these lines and all that follows; returns the ids of the messages to send (see `write_books`)."""
        ...

    async def told(self, connection: AsyncConnection, state: S) -> Told | None:
        """The line that an earlier run of this step wrote."""
        ...


class Collector(Generic[S]):
    """Collects the open invoices of one kind of debtor. `gateway` gives the gateway of a name."""

    def __init__(
        self,
        database: Database,
        gateway: Callable[[str], Gateway],
        courier: Courier,
        books: Books[S],
        links: LinkMaker = NO_LINKS,
    ) -> None:
        self._links = links
        self._database = database
        self._gateway = gateway
        self._courier = courier
        self._books = books

    async def charge(self, state: S, now: datetime) -> Outcome:
        """Try to collect the open invoice with the next method, and write down what came of it."""
        collecting, owner = _collecting(state), self._books.owner(state)
        async with self._database.begin() as connection:
            to = await payer(connection, state.customer_id, self._links)
            # What there is to tell of them is decided with the outcome: one change of state, one letter.
            await self._books.write(connection, state, state.journal, to, now, tell=())
            methods = self._eligible(state, collecting, to)
            done = await self._books.told(connection, state)
            attempt = None
            if collecting.act in UNDER_WAY:
                attempt = await ask(connection, collecting) if done is None else None
            elif collecting.amount_due and done is None:
                attempt = await intend(connection, owner, collecting, methods, now)
        if done is not None:
            return await self._repeat(state, now, to, done)
        if collecting.amount_due == 0:
            return await self._conclude(state, now, to, None, Charged(collecting.attempt, 0), None)
        if attempt is None and collecting.act in UNDER_WAY:
            raise Broken(f"attempt {collecting.attempt} of invoice {collecting.invoice_id} was never authorised")
        if attempt is None:
            policy = await self._policy(owner, to)
            return await self._conclude(state, now, to, None, NoMethod(collecting.attempt, policy), None)
        answer = await self._send_once(owner, collecting, attempt, methods)
        outcome = await self._outcome(owner, collecting, to, attempt, answer, methods)
        return await self._conclude(state, now, to, attempt, outcome, answer)

    async def ask_gateway(self, state: S, now: datetime, *, give_up: bool) -> Outcome:
        """Ask what became of the attempt whose answer is missing; `give_up` withdraws it first."""
        collecting, owner = _collecting(state), self._books.owner(state)
        async with self._database.begin() as connection:
            to = await payer(connection, state.customer_id, self._links)
            # A command may have come in just when it was time to ask: its lines belong to the books as well.
            if state.journal:
                await self._books.write(connection, state, state.journal, to, now, tell=())
            done = await self._books.told(connection, state)
            attempt = await find(connection, collecting)
        if done is not None:
            return await self._repeat(state, now, to, done)
        if attempt is None:
            raise Broken(f"attempt {collecting.attempt} of invoice {collecting.invoice_id} was never intended")
        answer = await self._look_up(attempt, withdraw=give_up)
        if answer is None and collecting.phase is Phase.ACTION:
            answer = Answer(AnswerStatus.ACTION_REQUIRED, action_url=attempt.action_url)
        outcome: Outcome
        if answer is None:
            outcome = Unknown(collecting.attempt, attempt.gateway)
        else:
            methods = self._eligible(state, collecting, to)
            outcome = await self._outcome(owner, collecting, to, attempt, answer, methods)
        return await self._conclude(state, now, to, attempt, outcome, answer)

    def _eligible(self, state: S, collecting: Collecting, to: Payer) -> list[Method]:
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
        self, owner: Owner, collecting: Collecting, attempt: Attempt, methods: Sequence[Method]
    ) -> Answer | GatewayUnavailable | None:
        """The gateway's answer; None if it is lost. Nothing is sent before a pending attempt is asked for.

        A method that may be charged no more is asked for and not sent to: the gateway then has never seen the attempt.
        """
        on_hold = collecting.act in UNDER_WAY
        if attempt.status in {"approved", "declined", "authorised", "released"}:
            return stored(attempt)
        if attempt.status in {"pending", "unknown", "action_required", *UNDER_WAY.values()}:
            known = await self._look_up(attempt)
            untouched = AnswerStatus.AUTHORISED if on_hold else AnswerStatus.NOT_FOUND
            if known is None or known.status is not untouched:
                return known
            if not on_hold and all(method.id != attempt.method_id for method in methods):
                return known
        order = Order(
            reference=attempt.reference,
            token=attempt.token,
            amount=Money(collecting.amount_due, owner.currency),
            description=owner.description,
        )
        try:
            return await self._send(collecting.act, order, self._gateway(attempt.gateway))
        except GatewayUnavailable as down:
            return down
        except OutcomeUnknown:
            return None

    async def _send(self, act: Act, order: Order, gateway: Gateway) -> Answer:
        match act:
            case Act.SALE:
                return await gateway.sale(order)
            case Act.AUTHORISE:
                return await gateway.authorise(order)
            case Act.CAPTURE:
                return await gateway.capture(order.reference, order)
            case Act.RELEASE:
                return await gateway.release(order.reference)
            case _:
                assert_never(act)

    async def _look_up(self, attempt: Attempt, *, withdraw: bool = False) -> Answer | None:
        gateway = self._gateway(attempt.gateway)
        try:
            if withdraw:
                await gateway.void(attempt.reference)
            return await gateway.lookup(attempt.reference)
        except (GatewayUnavailable, OutcomeUnknown):
            return None

    async def _outcome(  # noqa: PLR0911 - one for each case
        self,
        owner: Owner,
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
        if collecting.act in UNDER_WAY:
            return outcome_of_hold(collecting, attempt, answer, await self._policy(owner, to))
        match answer.status:
            case AnswerStatus.APPROVED:
                return Charged(number, collecting.amount_due, attempt.method_id, attempt.gateway, answer.gateway_id)
            case AnswerStatus.AUTHORISED:
                if collecting.act is not Act.AUTHORISE:
                    raise Broken(f"{attempt.reference} was to be taken, and the gateway has only set it aside")
                return Authorised(number, collecting.amount_due, attempt.method_id, attempt.gateway, answer.gateway_id)
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
                    policy=await self._policy(owner, to),
                    gateway=attempt.gateway,
                )

    async def _conclude(
        self,
        before: S,
        now: datetime,
        to: Payer,
        attempt: Attempt | None,
        outcome: Outcome,
        answer: Answer | GatewayUnavailable | None,
    ) -> Outcome:
        """Write the outcome and all that follows from it, with the letters of the whole step, and see to these."""
        state = self._books.apply(before, outcome, now)
        fresh = state.journal[len(before.journal) :]
        async with self._database.begin() as connection:
            if attempt is not None:
                status = status_after(_collecting(before).act, outcome)
                after = state.collecting.held_until if state.collecting is not None else None
                await answered(connection, attempt, outcome, answer, now, status=status, held_until=after)
            messages = await self._books.write(connection, state, fresh, to, now, first=True, tell=state.journal)
        await self._courier.dispatch(messages)
        return outcome

    async def _repeat(self, before: S, now: datetime, to: Payer, done: Told) -> Outcome:
        """The step was made before and its outcome is in the books: give it again, and see to the letters."""
        policy = await self._policy(self._books.owner(before), to)
        outcome = outcome_of(done, _collecting(before).attempt, policy)
        state = self._books.apply(before, outcome, now)
        async with self._database.begin() as connection:
            fresh = state.journal[len(before.journal) :]
            messages = await self._books.write(connection, state, fresh, to, now, tell=state.journal)
        await self._courier.dispatch(messages)
        return outcome

    async def _policy(self, owner: Owner, to: Payer) -> DunningTerms:
        """The dunning policy in force: the customer's, else the product's, else the default one."""
        async with self._database.begin() as connection:
            row = (
                await connection.execute(_POLICY, {"wanted": to.dunning_policy_id, "product": owner.product_id})
            ).one_or_none()
        if row is None:
            return DEFAULT_DUNNING
        retries = tuple(
            Retry(retry["after_days"], retry["hour"], RetryMessage(retry.get("message", RetryMessage.REMINDER)))
            for retry in row.retries
        )
        return DunningTerms(row.id, row.name, retries, row.grace_days, EndAction(row.end_action))


def _collecting(state: State | OrderState) -> Collecting:
    if state.collecting is None:
        raise Broken(f"{state.id} has no open invoice")
    return state.collecting


_POLICY = text(
    """
SELECT p.id, p.name, p.retries, p.grace_days, p.end_action FROM dunning_policies AS p
LEFT JOIN products ON products.id = :product
WHERE p.id = :wanted OR p.id = products.dunning_policy_id OR p.is_default
ORDER BY (p.id = :wanted) DESC NULLS LAST, (p.id = products.dunning_policy_id) DESC NULLS LAST
LIMIT 1
"""
)
