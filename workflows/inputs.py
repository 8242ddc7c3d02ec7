"""What workflows are given when they begin. The sandbox passes it through: types are looked up in their own module."""

from __future__ import annotations

from dataclasses import dataclass

from domain.errors import Broken
from domain.messages import Start
from domain.order_messages import OpenOrder
from domain.order_state import OrderState
from domain.refund_messages import OpenRefund
from domain.refund_state import RefundState
from domain.state import State


@dataclass(frozen=True, slots=True)
class SubscriptionInput:
    """A new subscription (`start`), or the one that the run before left (`state`)."""

    start: Start | None = None
    state: State | None = None


@dataclass(frozen=True, slots=True)
class RefundInput:
    """A wish to give money back (`wanted`), or the refund that the run before left (`state`)."""

    wanted: OpenRefund | None = None
    state: RefundState | None = None


@dataclass(frozen=True, slots=True)
class OrderInput:
    """A new order (`wanted`), or the one that the run before left (`state`)."""

    wanted: OpenOrder | None = None
    state: OrderState | None = None

    def opening(self) -> OpenOrder:
        """What a new order begins with. Raises `Broken` where there is nothing."""
        if self.wanted is None:
            raise Broken("an order needs a wish or a state")
        return self.wanted
