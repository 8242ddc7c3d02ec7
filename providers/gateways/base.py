"""What every payment gateway is to us: calls by our own reference, answers as values, outages as exceptions."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from domain.declines import DeclineKind
from domain.money import Money


class GatewayUnavailable(Exception):
    """The gateway surely did not take the order (refused connection, 503): it may be sent again later."""


class OutcomeUnknown(Exception):
    """The answer was lost (timeout, 500, broken connection): the order may have been carried out. Look it up."""


class OrderRefused(Exception):
    """The gateway will not take this order as it is written (a 4xx): repeating it cannot help, a person must look.

    Never a decline, which is a value. `code` is the gateway's.
    """

    def __init__(self, code: str, message: str) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code


class AnswerStatus(StrEnum):
    """What the gateway says of one order."""

    APPROVED = "approved"
    DECLINED = "declined"
    ACTION_REQUIRED = "action_required"
    VOIDED = "voided"
    NOT_FOUND = "not_found"


@dataclass(frozen=True, slots=True)
class Order:
    """One movement of money asked of a gateway.

    `reference` is ours, made from business identity; it is the idempotency key and the look-up key.
    """

    reference: str
    token: str
    amount: Money
    description: str


@dataclass(frozen=True, slots=True)
class Answer:
    """The gateway's word on one reference.

    `code` and `decline` are set when declined, `action_url` when the customer must act.
    """

    status: AnswerStatus
    gateway_id: str | None = None
    code: str | None = None
    decline: DeclineKind | None = None
    message: str = ""
    action_url: str | None = None


@dataclass(frozen=True, slots=True)
class MethodDetails:
    """What may be shown of a token: never the number."""

    token: str
    kind: str
    brand: str
    last4: str
    exp_month: int | None
    exp_year: int | None
    fingerprint: str


class Gateway(Protocol):
    """Every call is safe to repeat with the same reference.

    Raises `GatewayUnavailable` when the order was surely not taken, `OutcomeUnknown` when it may have been.
    """

    @property
    def name(self) -> str: ...

    @property
    def is_sandbox(self) -> bool: ...

    async def sale(self, order: Order) -> Answer: ...

    async def authorize(self, order: Order) -> Answer: ...

    async def capture(self, authorization: str, order: Order) -> Answer: ...

    async def void(self, reference: str) -> Answer: ...

    async def lookup(self, reference: str) -> Answer: ...

    async def describe(self, token: str) -> MethodDetails | None: ...
