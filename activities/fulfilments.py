"""What is done for a fulfilment: handed off, asked back, commanded by people, heard of from its provider.

Intent, call, outcome: the row says `sending` before the provider is called, under an id that is the provider's key. Run
any of it twice and one parcel goes out.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection
from temporalio import activity

from activities.alive import alive
from activities.courier import Courier
from activities.parcels import Held, Line, halt, has_address, hold, pin, reship, save, unsent
from domain.errors import DunlinError, NotFound, Refused
from domain.fulfilment import (
    Command,
    Fulfilment,
    Heard,
    Rest,
    Send,
    Stop,
    Wait,
    Withdraw,
    Withdrawal,
    handle,
    hear,
    next_step,
    not_taken,
    sending,
    taken,
    withdrawn,
)
from models.session import Database
from providers.fulfilment.base import (
    FulfilmentProvider,
    Item,
    NobodyToAsk,
    Parcel,
    ParcelRefused,
    ProviderUnknown,
    ProviderUnreachable,
    TooLate,
)

TRIES_BEFORE_ATTENTION: Final = 3
# What waits for the world to change is looked at again after so long, unless somebody says so earlier.
LOOK_AFTER_S: Final = 3_600
REFUSED_LOOK_AFTER_S: Final = 6 * 3_600
BACKOFF_S: Final = (2, 10, 30, 60, 300, 900, 3_600)
AT_ONCE: Final = 0


@dataclass(frozen=True, slots=True)
class Seen:
    """When to look again; None: it goes on by itself, or by somebody's command."""

    again_after_s: int | None = None


@dataclass(frozen=True, slots=True)
class FulfilmentOrder:
    """A command of a person or program. `id` is its identity: the same one again is not done twice."""

    id: str
    fulfilment_id: str
    command: Command
    actor: str
    reason: str = ""
    carrier: str = ""
    tracking: str = ""


@dataclass(frozen=True, slots=True)
class Ordered:
    """What came of it: the fulfilment to look at, or why it was refused (the parts of the error)."""

    fulfilment_id: str | None = None
    code: str | None = None
    message: str = ""
    allowed: tuple[str, ...] = ()

    @classmethod
    def refused(cls, error: Refused | NotFound) -> Ordered:
        return cls(None, error.code, error.message, error.allowed if isinstance(error, Refused) else ())

    def as_error(self) -> DunlinError:
        if self.code == NotFound.code:
            return NotFound(self.message)
        return Refused(self.code or "refused", self.message, allowed=self.allowed)


@dataclass(frozen=True, slots=True)
class ParcelWord:
    """What somebody outside says of a parcel. `actor` is the provider, or who brought its file."""

    fulfilment_id: str
    what: Heard
    at: datetime
    actor: str
    carrier: str = ""
    tracking: str = ""


class Fulfilments:
    """Activities of fulfilments. `delay`: how long a paid parcel waits, in case the payment is taken back at once."""

    def __init__(
        self,
        database: Database,
        provider: FulfilmentProvider,
        courier: Courier,
        *,
        delay: timedelta = timedelta(0),
        takes_test_mode: bool = False,
    ) -> None:
        self._database = database
        self._provider = provider
        self._courier = courier
        self._delay_s = int(delay.total_seconds())
        self._takes_test_mode = takes_test_mode

    @activity.defn(name="see_to_fulfilment")
    @alive
    async def see_to(self, fulfilment_id: str) -> Seen:
        """Do the one thing that is next for it; safe to repeat."""
        async with self._database.begin() as connection:
            held = await hold(connection, fulfilment_id)
            if held is None:
                return Seen()
            step = next_step(
                held.fulfilment,
                held.payment,
                is_due=held.row.age_s >= self._delay_s,
                has_address=await has_address(connection, held),
                by_itself=not self._provider.by_batch and (self._takes_test_mode or not held.row.test_mode),
            )
            match step:
                case Rest():
                    return Seen()
                case Stop():
                    await halt(connection, held)
                    return Seen(AT_ONCE)
                case Wait():
                    return await self._wait(connection, held, step)
                case Send():
                    parcel = await self._intend(connection, held, step)
                case Withdraw():
                    await self._try(connection, held, held.fulfilment)
                    parcel = None
        if parcel is not None and isinstance(step, Send):
            return await self._hand_off(parcel, fresh=step.fresh)
        return await self._withdraw(held.id, held.row.reason)

    @activity.defn(name="command_fulfilment")
    async def command(self, order: FulfilmentOrder) -> Ordered:
        """Do what somebody asks, once for each id; a refusal is a value and changes nothing."""
        async with self._database.begin() as connection:
            held = await hold(connection, order.fulfilment_id)
            if held is None:
                return Ordered.refused(NotFound(f"there is no fulfilment {order.fulfilment_id}"))
            known = (await connection.execute(_KNOWN, {"id": held.id, "command": order.id})).one_or_none()
            if known is None:
                try:
                    identity = await _obey(connection, held, order)
                except Refused as refused:
                    return Ordered.refused(refused)
            else:
                identity = known.data.get("by", held.id)
            letters = await unsent(connection, [held.id])
        await self._courier.dispatch([*letters, identity])
        return Ordered(identity)

    @activity.defn(name="hear_of_parcel")
    async def hear_of(self, word: ParcelWord) -> str:
        """`unknown`, `nothing new`, or the status it has now. The same words in any order end the same."""
        async with self._database.begin() as connection:
            held = await hold(connection, word.fulfilment_id)
            if held is None:
                return "unknown"
            after = hear(held.fulfilment, word.what, word.at, carrier=word.carrier, tracking=word.tracking)
            if after != held.fulfilment:
                said = {"carrier": word.carrier, "tracking": word.tracking}
                data = {name: value for name, value in said.items() if value}
                await save(connection, held, after, Line(word.what.value, word.actor, data=data, at=word.at))
            letters = await unsent(connection, [held.id])
        await self._courier.dispatch(letters)
        return "nothing new" if after == held.fulfilment else after.status.value

    @activity.defn(name="hear_of_parcels")
    async def hear_of_many(self, words: list[ParcelWord]) -> list[str]:
        """`hear_of_parcel` for the rows of a file, in their order."""
        said: list[str] = []
        for word in words:
            said.append(await self.hear_of(word))
            activity.heartbeat()
        return said

    async def _wait(self, connection: AsyncConnection, held: Held, step: Wait) -> Seen:
        attention = step.why if step.attention else None
        if attention != held.row.attention:
            line = None if attention is None else Line("waits", reason=attention)
            await save(connection, held, held.fulfilment, line, attention=attention)
        left = self._delay_s - held.row.age_s
        return Seen(max(int(left) + 1, 1) if left > 0 else LOOK_AFTER_S)

    async def _intend(self, connection: AsyncConnection, held: Held, step: Send) -> Parcel:
        """The intent, and the parcel as it is pinned: the first time, and again only where it surely did not arrive."""
        await self._try(connection, held, sending(held.fulfilment))
        if step.fresh:
            await pin(connection, held, self._provider.name)
        return await parcel_of(connection, held.id)

    @staticmethod
    async def _try(connection: AsyncConnection, held: Held, after: Fulfilment) -> None:
        """A call is intended."""
        await save(connection, held, after, None, attention=held.row.attention, tries=held.row.tries + 1)

    async def _hand_off(self, parcel: Parcel, *, fresh: bool) -> Seen:
        reference: str | None = None
        trouble: Exception | None = None
        try:
            reference = await self._provider.hand_off(parcel)
        except (ParcelRefused, ProviderUnreachable, ProviderUnknown) as error:
            trouble = error
        async with self._database.begin() as connection:
            held = await hold(connection, parcel.id)
            if held is None:
                return Seen()
            if trouble is None:
                await connection.execute(_REFERENCE, {"id": held.id, "reference": reference})
                data = {"provider": self._provider.name, "reference": reference}
                await save(connection, held, taken(held.fulfilment), Line("handed_off", data=data))
            elif isinstance(trouble, ParcelRefused):
                attention = f"{self._provider.name} does not take it: {trouble}"
                line = Line("refused", self._provider.name, str(trouble))
                await save(connection, held, not_taken(held.fulfilment), line, attention=attention)
            else:
                surely = fresh and isinstance(trouble, ProviderUnreachable)
                after = not_taken(held.fulfilment) if surely else held.fulfilment
                await self._troubled(connection, held, str(trouble), after)
            tries = held.row.tries
            waits = held.fulfilment.withdrawal is Withdrawal.DUE
        if waits:
            return Seen(AT_ONCE)  # it was stopped while it was being handed off
        if trouble is None:
            return Seen()
        return Seen(REFUSED_LOOK_AFTER_S if isinstance(trouble, ParcelRefused) else _backoff(tries))

    async def _withdraw(self, fulfilment_id: str, reason: str) -> Seen:
        how, trouble = Withdrawal.DONE, ""
        try:
            await self._provider.withdraw(fulfilment_id, reason)
        except TooLate as late:
            how, trouble = Withdrawal.REFUSED, str(late)
        except NobodyToAsk:
            how = Withdrawal.BY_HAND
        except (ProviderUnreachable, ProviderUnknown) as error:
            how, trouble = Withdrawal.DUE, str(error)
        async with self._database.begin() as connection:
            held = await hold(connection, fulfilment_id)
            if held is None:
                return Seen()
            if how is Withdrawal.DUE:
                await self._troubled(connection, held, trouble, held.fulfilment)
                return Seen(_backoff(held.row.tries))
            line = Line(f"withdrawal_{how.value}", self._provider.name, trouble)
            await save(connection, held, withdrawn(held.fulfilment, how), line)
        return Seen()

    async def _troubled(self, connection: AsyncConnection, held: Held, trouble: str, after: Fulfilment) -> None:
        """An outage: one line when it begins, and people are told when it lasts."""
        long = held.row.tries >= TRIES_BEFORE_ATTENTION
        line = Line("not_answered", self._provider.name, trouble) if held.row.tries == 1 else None
        await save(connection, held, after, line, attention=trouble if long else None, tries=held.row.tries)


async def parcel_of(connection: AsyncConnection, fulfilment_id: str) -> Parcel:
    """What is handed off, as it is pinned."""
    row = (await connection.execute(_PARCEL, {"id": fulfilment_id})).one()
    return Parcel(
        id=row.id,
        reference=row.reference,
        recipient=row.recipient,
        address=row.address or {},
        items=(Item(row.code, row.description, row.option, row.quantity),),
        replaces=row.replaces_id,
        test_mode=row.test_mode,
    )


async def _obey(connection: AsyncConnection, held: Held, order: FulfilmentOrder) -> str:
    """Do it; returns the fulfilment to look at. Raises `Refused`."""
    after = handle(
        held.fulfilment, order.command, held.payment, held.moment, carrier=order.carrier, tracking=order.tracking
    )
    said = {"carrier": order.carrier, "tracking": order.tracking}
    line = Line(
        _LINES[order.command],
        order.actor,
        order.reason,
        {name: value for name, value in said.items() if value},
        command_id=order.id,
    )
    identity = held.id
    if order.command is Command.RESHIP:
        identity = await reship(connection, held, line)
        line = Line(line.kind, line.actor, line.reason, {"by": identity}, command_id=order.id)
    reason = order.reason if order.command in {Command.CANCEL, Command.RETURN} else None
    await save(connection, held, after, line, reason=reason)
    return identity


def _backoff(tries: int) -> int:
    return BACKOFF_S[min(max(tries - 1, 0), len(BACKOFF_S) - 1)]


_LINES: Final = {
    Command.HAND_OFF: "hand_off_asked",
    Command.SHIP: "shipped",
    Command.DELIVER: "delivered",
    Command.RETURN: "returned",
    Command.RESHIP: "reshipped",
    Command.CANCEL: "canceled",
}
_KNOWN = text("SELECT data FROM fulfilment_events WHERE fulfilment_id = :id AND command_id = :command")
_REFERENCE = text("UPDATE fulfilments SET provider_reference = coalesce(:reference, provider_reference) WHERE id = :id")
_PARCEL = text(
    """
SELECT f.id, f.recipient, f.address, f.description, f.quantity, f.replaces_id, f.test_mode, p.code,
    coalesce(pr.option, '') AS option,
    CASE WHEN f.order_id IS NOT NULL THEN f.order_id ELSE concat(f.subscription_id, ' / ', f.cycle) END AS reference
FROM fulfilments AS f JOIN products AS p ON p.id = f.product_id LEFT JOIN prices AS pr ON pr.id = f.price_id
WHERE f.id = :id
"""
)
