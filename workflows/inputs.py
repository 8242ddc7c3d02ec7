"""What workflows are given when they begin. The sandbox passes it through: types are looked up in their own module."""

from __future__ import annotations

from dataclasses import dataclass

from domain.messages import Start
from domain.state import State


@dataclass(frozen=True, slots=True)
class SubscriptionInput:
    """A new subscription (`start`), or the one that the run before left (`state`)."""

    start: Start | None = None
    state: State | None = None
