"""What is said about an order: how it begins, commands to it, facts back from the world, steps to take.

Each command, fact and step has a literal `kind`, by which it is told apart when it travels as JSON.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from domain.facts import Outcome, Recorded
from domain.order_state import Channel, DueLine, OrderLine
from domain.steps import AskGateway, Charge, End, Record, Wait
from domain.tax import NO_TAX, TaxTerms


@dataclass(frozen=True, slots=True)
class OpenOrder:
    """Begin an order. `id` comes from the caller's idempotency key or a basket's id: the same id is the same order.

    `funnel` and `page` say where it was sold. `dues`: what is due now, where it was promised before (a basket); None is
    what the lines ask for today.
    """

    id: str
    customer_id: str
    zone: str
    currency: str
    channel: Channel
    agent: str
    lines: tuple[OrderLine, ...]
    dues: tuple[DueLine, ...] | None = None
    test_mode: bool = False
    external_id: str | None = None
    basket_id: str | None = None
    funnel: str = ""
    page: str = ""
    notice_days: int = 0
    request_id: str | None = None
    tax: TaxTerms = NO_TAX


# ---------------------------------------------------------------- commands


@dataclass(frozen=True, slots=True)
class SetLines:
    """Other lines in place of those there are. `revision`: the one that was looked at; another one refuses."""

    lines: tuple[OrderLine, ...]
    revision: int | None = None
    kind: Literal["set_lines"] = "set_lines"


@dataclass(frozen=True, slots=True)
class Place:
    """Issue the invoice without charging it: the customer pays later, by a link or another call."""

    kind: Literal["place"] = "place"


@dataclass(frozen=True, slots=True)
class Pay:
    """Charge what is due now, with this method or the customer's order of use; places the order first.

    `total`: what the payer was shown, in minor units; another one refuses. `hold`: only set it aside, for a capture.
    """

    method_id: str | None = None
    total: int | None = None
    trigger: str = "order"
    hold: bool = False
    kind: Literal["pay"] = "pay"


@dataclass(frozen=True, slots=True)
class CaptureOrder:
    """Take what is set aside, all of it. `amount`: what the caller wants to take, in minor units; another one refuses.

    None takes what is due.
    """

    amount: int | None = None
    kind: Literal["capture_order"] = "capture_order"


@dataclass(frozen=True, slots=True)
class ReleaseOrder:
    """Give back what is set aside; the order is open again."""

    kind: Literal["release_order"] = "release_order"


@dataclass(frozen=True, slots=True)
class CancelOrder:
    """End the order. What is set aside for it is given back first.

    Of a paid one `give_back` returns its money; `end_subscriptions` ends what it started, now.
    """

    give_back: bool = True
    end_subscriptions: bool = True
    kind: Literal["cancel_order"] = "cancel_order"


@dataclass(frozen=True, slots=True)
class SetBuyer:
    """It goes on under another customer, into whom its own was merged, or back; its next edit is taxed so."""

    customer_id: str
    notice_days: int
    tax: TaxTerms = NO_TAX
    kind: Literal["set_buyer"] = "set_buyer"


OrderCommand = SetLines | Place | Pay | CaptureOrder | ReleaseOrder | CancelOrder | SetBuyer


@dataclass(frozen=True, slots=True)
class OrderEnvelope:
    """A command with who, why, and its identity (the caller's idempotency key)."""

    id: str
    command: OrderCommand
    actor: str
    reason: str = ""


# ---------------------------------------------------------------- facts


@dataclass(frozen=True, slots=True)
class Started:
    """The subscription of this line has begun."""

    position: int
    subscription_id: str
    kind: Literal["started"] = "started"


@dataclass(frozen=True, slots=True)
class Lapsed:
    """Nobody paid in time."""

    kind: Literal["lapsed"] = "lapsed"


@dataclass(frozen=True, slots=True)
class HoldEnding:
    """What is set aside will soon be given back, and nobody has captured it yet."""

    kind: Literal["hold_ending"] = "hold_ending"


@dataclass(frozen=True, slots=True)
class HoldEnded:
    """What is set aside was not captured in time."""

    kind: Literal["hold_ended"] = "hold_ended"


@dataclass(frozen=True, slots=True)
class EndedSubscription:
    """A subscription of a cancelled order was asked to end; `refusal`: the code of why it did not."""

    subscription_id: str
    refusal: str | None = None


@dataclass(frozen=True, slots=True)
class StoppedParcel:
    """A parcel of a cancelled order, and where it stands: stopped, asked back (`withdrawal`), or out already."""

    fulfilment_id: str
    status: str
    withdrawal: str
    stopped: bool


@dataclass(frozen=True, slots=True)
class Undone:
    """What a cancellation led to. `refund_id` is set where money goes back; `refusal`: the code of why it does not."""

    subscriptions: tuple[EndedSubscription, ...] = ()
    refund_id: str | None = None
    refund_status: str | None = None
    refusal: str | None = None
    parcels: tuple[StoppedParcel, ...] = ()
    kind: Literal["undone"] = "undone"


OrderFact = Outcome | Recorded | Started | Lapsed | HoldEnding | HoldEnded | Undone

# ---------------------------------------------------------------- steps


@dataclass(frozen=True, slots=True)
class StartLine:
    """Start the subscription of this line, whose first cycle the order has paid."""

    position: int


@dataclass(frozen=True, slots=True)
class Undo:
    """End the subscriptions of a cancelled order and give its money back."""


@dataclass(frozen=True, slots=True)
class OrderTick:
    """Time alone changes the state: apply the fact, no activity."""

    fact: Lapsed | HoldEnding | HoldEnded


OrderStep = OrderTick | Charge | AskGateway | StartLine | Undo | Record | Wait | End
