"""What there is to do next for a subscription, as `lifecycle.next_step` says it and the workflow does it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from domain.facts import TimePassed


@dataclass(frozen=True, slots=True)
class Wait:
    """Nothing to do until `until` (None: until a command comes). `why` is for people."""

    until: datetime | None
    why: str


@dataclass(frozen=True, slots=True)
class Tick:
    """Time alone changes the state: apply the fact, no activity."""

    fact: TimePassed


@dataclass(frozen=True, slots=True)
class Charge:
    """Try to collect the open invoice: attempt row, gateway, outcome."""


@dataclass(frozen=True, slots=True)
class AskGateway:
    """Look up the attempt whose answer is missing. `give_up`: withdraw it, the customer's time is over."""

    give_up: bool = False


@dataclass(frozen=True, slots=True)
class Record:
    """Write the journal to the books before waiting."""


@dataclass(frozen=True, slots=True)
class End:
    """The subscription was cancelled long ago: its workflow ends."""


Step = Wait | Tick | Charge | AskGateway | Record | End
