"""When goods go out and what stops them: what is done next for a fulfilment, and what each word about it changes.

    pending → sending → handed_off → shipped → delivered → returned
       └─────────┴──────────┴→ stopped (by its payment), canceled (by a person)

Nothing is handed off, and nothing ships by hand, while its payment is anything but good. What the world says (a parcel
left, arrived, came back) is never refused, may come twice and in any order, and the same words end in the same state.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from typing import Final, assert_never

from domain.errors import Refused
from domain.ids import derive
from domain.state import Entry

PREFIX: Final = "ful"


class Status(StrEnum):
    """SENDING: the hand-off is under way, or its answer was lost. STOPPED: by its payment; CANCELED: by a person."""

    PENDING = "pending"
    SENDING = "sending"
    HANDED_OFF = "handed_off"
    SHIPPED = "shipped"
    DELIVERED = "delivered"
    RETURNED = "returned"
    CANCELED = "canceled"
    STOPPED = "stopped"


class Withdrawal(StrEnum):
    """What was handed off is taken back. BY_HAND: no machine can be asked, a person has to. REFUSED: too late."""

    NONE = "none"
    DUE = "due"
    DONE = "done"
    BY_HAND = "by_hand"
    REFUSED = "refused"


class Standing(StrEnum):
    """How its payment stands. RETURNING: it is being given back in full, and the gateway has not said so yet."""

    GOOD = "good"
    OPEN = "open"
    RETURNING = "returning"
    VOIDED = "voided"
    REFUNDED = "refunded"
    DISPUTED = "disputed"

    @property
    def is_lost(self) -> bool:
        return self in {Standing.VOIDED, Standing.REFUNDED, Standing.DISPUTED}


@dataclass(frozen=True, slots=True)
class Fulfilment:
    """One delivery, as far as it decides what may be done. `tracked_at`: of which moment `tracking` is."""

    status: Status = Status.PENDING
    withdrawal: Withdrawal = Withdrawal.NONE
    carrier: str = ""
    tracking: str = ""
    tracked_at: datetime | None = None
    shipped_at: datetime | None = None
    delivered_at: datetime | None = None
    returned_at: datetime | None = None
    replaced: bool = False


# ---------------------------------------------------------------- what makes one


def ships(entry: Entry) -> bool:
    """Whether this line of a journal sends goods: it says so where what is physical was paid (`domain.collection`).

    By card, by credit, or because it costs nothing. A paid trial ships as cycle 0. A change that was paid ships where
    its cycle has not shipped yet: another interval begins a cycle of its own. A charge by hand ships nothing.
    """
    return entry.data.get("ships") is True


def is_fulfilment(identity: str) -> bool:
    """Whether this is the id of a fulfilment; messages and parcels are dispatched together."""
    return identity.startswith(f"{PREFIX}_")


def cycle_fulfilment_id(subscription: str, cycle: int) -> str:
    """The id of what a cycle ships: it exists once, however often the cycle's payment is told."""
    return derive(PREFIX, subscription, str(cycle))


def order_fulfilment_id(order: str, position: int) -> str:
    """The id of what a line of an order ships."""
    return derive(PREFIX, "order", order, str(position))


def replacement_id(fulfilment: str) -> str:
    """The id of what is shipped in its place: one that was shipped again is not shipped again a second time."""
    return derive(PREFIX, "reship", fulfilment)


def standing(*, invoice: str, amount_due: int, returned: int, held: int, voided: bool, disputed: bool) -> Standing:
    """The payment of an invoice. Amounts in minor units: `returned` went back, `held` went back or is on its way.

    A payment given back in part is good: the goods are still wanted. A dispute that was won is none.
    """
    if disputed:
        return Standing.DISPUTED
    if voided:
        return Standing.VOIDED
    if invoice != "paid":
        return Standing.OPEN
    if amount_due and returned >= amount_due:
        return Standing.REFUNDED
    if amount_due and held >= amount_due:
        return Standing.RETURNING
    return Standing.GOOD


# ---------------------------------------------------------------- what is done next


@dataclass(frozen=True, slots=True)
class Send:
    """Hand it off. `fresh`: surely for the first time."""

    fresh: bool


@dataclass(frozen=True, slots=True)
class Withdraw:
    """Ask the provider not to ship it."""


@dataclass(frozen=True, slots=True)
class Stop:
    """Its payment is lost."""

    why: Standing


@dataclass(frozen=True, slots=True)
class Wait:
    """Look again later. `attention`: a person should know why it waits."""

    why: str
    attention: bool = False


@dataclass(frozen=True, slots=True)
class Rest:
    """Nothing is to be done by itself."""


Step = Send | Withdraw | Stop | Wait | Rest


def next_step(fulfilment: Fulfilment, payment: Standing, *, is_due: bool, has_address: bool, by_itself: bool) -> Step:
    """`is_due`: the days between payment and hand-off are over. `by_itself`: there is a provider to be called."""
    if fulfilment.withdrawal is Withdrawal.DUE:
        return Withdraw()
    if fulfilment.status not in {Status.PENDING, Status.SENDING}:
        return Rest()
    if payment.is_lost:
        return Stop(payment)
    return _hand_off(fulfilment, payment, is_due=is_due, has_address=has_address) if by_itself else Rest()


def _hand_off(fulfilment: Fulfilment, payment: Standing, *, is_due: bool, has_address: bool) -> Step:
    if payment is not Standing.GOOD:
        return Wait(f"its payment is {payment}")
    if not is_due:
        return Wait("the time between payment and hand-off is not over")
    if fulfilment.status is Status.PENDING and not has_address:
        return Wait("the customer has no address to ship to", attention=True)
    return Send(fresh=fulfilment.status is Status.PENDING)


def sending(fulfilment: Fulfilment) -> Fulfilment:
    """The intent of a hand-off, written before the call."""
    return replace(fulfilment, status=Status.SENDING)


def taken(fulfilment: Fulfilment) -> Fulfilment:
    """The provider has it. What was decided or heard while it was asked stays."""
    return replace(fulfilment, status=Status.HANDED_OFF) if fulfilment.status is Status.SENDING else fulfilment


def not_taken(fulfilment: Fulfilment) -> Fulfilment:
    """The provider surely does not have it: it refused, or was not reached by the first call."""
    if fulfilment.status is Status.SENDING:
        return replace(fulfilment, status=Status.PENDING)
    if fulfilment.withdrawal is Withdrawal.DUE:
        return replace(fulfilment, withdrawal=Withdrawal.DONE)
    return fulfilment


def withdrawn(fulfilment: Fulfilment, how: Withdrawal) -> Fulfilment:
    """What came of asking the provider not to ship it. Too late: it is on its way, and people have to see to it."""
    if fulfilment.withdrawal is not Withdrawal.DUE:
        return fulfilment
    late = how is Withdrawal.REFUSED
    return replace(fulfilment, withdrawal=how, status=Status.HANDED_OFF if late else fulfilment.status)


def stop(fulfilment: Fulfilment) -> Fulfilment:
    """Its payment is lost: what is not out yet stays in; what was handed off is asked back, once."""
    if fulfilment.status is Status.PENDING:
        return replace(fulfilment, status=Status.STOPPED)
    if fulfilment.status in {Status.SENDING, Status.HANDED_OFF} and fulfilment.withdrawal is Withdrawal.NONE:
        return replace(fulfilment, status=Status.STOPPED, withdrawal=Withdrawal.DUE)
    return fulfilment


# ---------------------------------------------------------------- what the world says


class Heard(StrEnum):
    """What became of a parcel."""

    SHIPPED = "shipped"
    DELIVERED = "delivered"
    RETURNED = "returned"


def hear(fulfilment: Fulfilment, what: Heard, at: datetime, *, carrier: str = "", tracking: str = "") -> Fulfilment:
    """After this word, whatever was heard before it. The first moment of each kind and the latest tracking count."""
    after = fulfilment
    if (carrier or tracking) and (
        after.tracked_at is None or (at, tracking, carrier) > (after.tracked_at, after.tracking, after.carrier)
    ):
        after = replace(after, carrier=carrier, tracking=tracking, tracked_at=at)
    match what:
        case Heard.SHIPPED:
            after = replace(after, shipped_at=_first(after.shipped_at, at))
        case Heard.DELIVERED:
            after = replace(after, delivered_at=_first(after.delivered_at, at))
        case Heard.RETURNED:
            after = replace(after, returned_at=_first(after.returned_at, at))
        case _:
            assert_never(what)
    # It is out: there is nothing left to take back.
    late = Withdrawal.REFUSED if after.withdrawal in {Withdrawal.DUE, Withdrawal.BY_HAND} else after.withdrawal
    return replace(after, status=_outside(after), withdrawal=late)


def _outside(fulfilment: Fulfilment) -> Status:
    if fulfilment.returned_at is not None:
        return Status.RETURNED
    return Status.DELIVERED if fulfilment.delivered_at is not None else Status.SHIPPED


def _first(known: datetime | None, at: datetime) -> datetime:
    return at if known is None else min(known, at)


# ---------------------------------------------------------------- what people may ask


class Command(StrEnum):
    """What people may do with one."""

    HAND_OFF = "hand_off"
    SHIP = "ship"
    DELIVER = "deliver"
    RETURN = "return"
    RESHIP = "reship"
    CANCEL = "cancel"


_ALLOWED: Final[Mapping[Status, tuple[Command, ...]]] = {
    Status.PENDING: (Command.HAND_OFF, Command.SHIP, Command.CANCEL),
    Status.SENDING: (Command.HAND_OFF, Command.CANCEL),
    Status.HANDED_OFF: (Command.SHIP, Command.CANCEL),
    Status.SHIPPED: (Command.DELIVER, Command.RETURN, Command.RESHIP),
    Status.DELIVERED: (Command.RETURN, Command.RESHIP),
    Status.RETURNED: (Command.RESHIP,),
    Status.CANCELED: (Command.RESHIP,),
    Status.STOPPED: (Command.RESHIP,),
}
# They send goods: only for a payment that is good.
_SENDS: Final = frozenset({Command.HAND_OFF, Command.SHIP, Command.RESHIP})


def allowed(fulfilment: Fulfilment, payment: Standing) -> tuple[Command, ...]:
    """The commands that would be taken now."""
    return tuple(
        command
        for command in _ALLOWED[fulfilment.status]
        if (payment is Standing.GOOD or command not in _SENDS)
        and (command is not Command.RESHIP or not (fulfilment.replaced or fulfilment.withdrawal is Withdrawal.DUE))
        and (command is not Command.CANCEL or fulfilment.withdrawal is Withdrawal.NONE)
    )


def handle(
    fulfilment: Fulfilment, command: Command, payment: Standing, at: datetime, *, carrier: str = "", tracking: str = ""
) -> Fulfilment:
    """The fulfilment after a command. Raises `Refused` with what is allowed.

    After a reship it is `replaced`; the new one begins as any other.
    """
    now = allowed(fulfilment, payment)
    if command not in now:
        raise _refusal(fulfilment, command, payment, tuple(each.value for each in now))
    match command:
        case Command.HAND_OFF:
            return fulfilment
        case Command.SHIP:
            return hear(fulfilment, Heard.SHIPPED, at, carrier=carrier, tracking=tracking)
        case Command.DELIVER:
            return hear(fulfilment, Heard.DELIVERED, at)
        case Command.RETURN:
            return hear(fulfilment, Heard.RETURNED, at)
        case Command.RESHIP:
            return replace(fulfilment, replaced=True)
        case Command.CANCEL:
            out = Withdrawal.NONE if fulfilment.status is Status.PENDING else Withdrawal.DUE
            return replace(fulfilment, status=Status.CANCELED, withdrawal=out)
        case _:
            assert_never(command)


def _refusal(fulfilment: Fulfilment, command: Command, payment: Standing, now: tuple[str, ...]) -> Refused:
    if command not in _ALLOWED[fulfilment.status]:
        status = fulfilment.status.replace("_", " ")
        return Refused("wrong_state", f"This fulfilment is {status}.", allowed=now)
    if command in _SENDS and payment is not Standing.GOOD:
        return Refused("payment_not_good", f"Nothing is shipped: its payment is {payment}.", allowed=now)
    if command is Command.RESHIP and fulfilment.replaced:
        return Refused("already_reshipped", "It was shipped again already; reship the one in its place.", allowed=now)
    return Refused("withdrawal_open", "The provider has been asked not to ship it, and that stands.", allowed=now)
