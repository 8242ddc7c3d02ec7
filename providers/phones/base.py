"""What every phone switch is to us: asked to ring an agent and put a customer through, by our own id of the call."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol


class CallRefused(Exception):
    """The switch will not place this call, and says why."""


class SwitchUnreachable(Exception):
    """The switch was not reached: no call was placed."""


class CallUnknown(Exception):
    """The switch was asked and its answer is lost: the call may be ringing. Never asked again by itself."""


@dataclass(frozen=True, slots=True)
class Call:
    """`reference` is our own id of the call, the same in every repetition. `number` is `+` and digits (E.164)."""

    reference: str
    number: str
    agent: str
    customer_id: str


class PhoneSwitch(Protocol):
    """Raises `CallRefused`, `SwitchUnreachable` or `CallUnknown`; returning means the call is being placed."""

    async def place(self, call: Call) -> None: ...

    async def aclose(self) -> None: ...
