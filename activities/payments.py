"""What moves a subscription's money: one attempt to collect its open invoice, and the question what became of it.

How an attempt is made once is in `activities.collector`; here is what is a subscription's of it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy.ext.asyncio import AsyncConnection
from temporalio import activity

from activities.alive import alive
from activities.attempts import Owner
from activities.books import Payer, write_books
from activities.collector import Collector
from activities.courier import Courier
from activities.told import Told, told
from domain.errors import Broken
from domain.facts import Outcome
from domain.lifecycle import apply
from domain.links import NO_LINKS, LinkMaker
from domain.state import Collecting, Entry, InvoiceReason, State
from models.session import Database
from providers.gateways.base import Gateway


@dataclass(frozen=True, slots=True)
class StepRequest:
    """What a step's activity needs: the state before it and the subscription's own time.

    `give_up`: the customer's time to confirm is over, withdraw the order before asking.
    """

    state: State
    now: datetime
    give_up: bool = False


def reference(state: State, collecting: Collecting) -> str:
    """Our name of an attempt at the gateway: `charge:{subscription}:{cycle}:{attempt}`.

    Invoices that are not for a cycle say so within the cycle's part.
    """
    cycle = str(collecting.cycle)
    if collecting.reason is not InvoiceReason.CYCLE:
        cycle = f"{cycle}-{collecting.reason.value}{collecting.sequence}"
    return f"charge:{state.id}:{cycle}:{collecting.attempt}"


class SubscriptionBooks:
    """A subscription as a debtor (see `activities.collector.Books`)."""

    def owner(self, state: State) -> Owner:
        collecting = state.collecting
        if collecting is None:
            raise Broken(f"subscription {state.id} has no open invoice")
        return Owner(
            reference=reference(state, collecting),
            description=f"{state.terms.product_name}, cycle {collecting.cycle}",
            customer_id=state.customer_id,
            currency=state.currency,
            test_mode=state.test_mode,
            subscription_id=state.id,
            product_id=state.terms.product_id,
        )

    def apply(self, state: State, outcome: Outcome, now: datetime) -> State:
        return apply(state, outcome, now)

    async def write(
        self,
        connection: AsyncConnection,
        state: State,
        entries: Sequence[Entry],
        to: Payer,
        now: datetime,
        *,
        first: bool = False,
        tell: Sequence[Entry] | None = None,
    ) -> tuple[str, ...]:
        return await write_books(connection, state, entries, to, now, first=first, tell=tell)

    async def told(self, connection: AsyncConnection, state: State) -> Told | None:
        return await told(connection, state)


class Payments:
    """Activities that move money. `gateway` gives the gateway of a name."""

    def __init__(
        self, database: Database, gateway: Callable[[str], Gateway], courier: Courier, links: LinkMaker = NO_LINKS
    ) -> None:
        self._collector = Collector(database, gateway, courier, SubscriptionBooks(), links)

    @activity.defn(name="charge")
    @alive
    async def charge(self, request: StepRequest) -> Outcome:
        """Try to collect the open invoice with the next method, and write down what came of it."""
        return await self._collector.charge(request.state, request.now)

    @activity.defn(name="ask_gateway")
    @alive
    async def ask_gateway(self, request: StepRequest) -> Outcome:
        """Ask what became of the attempt whose answer is missing; `give_up` withdraws it first."""
        return await self._collector.ask_gateway(request.state, request.now, give_up=request.give_up)
