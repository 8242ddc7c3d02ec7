"""What a cancellation of an order will do, said before it is done: to its payment, its subscriptions, what is sent."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from domain.fulfilment import Fulfilment, Status, Withdrawal, stop
from domain.money import Money
from domain.order_state import OrderStatus

ENDED = "canceled"


@dataclass(frozen=True, slots=True)
class Sale:
    """The charge that paid an order. `left` may still be given back; `disputed`: its dispute's status."""

    settlement: str | None
    left: int
    disputed: str | None


@dataclass(frozen=True, slots=True)
class Effect:
    """One thing that happens. `on`: payment, invoice, subscription or fulfilment; `effect` says what, in one word."""

    on: str
    id: str | None
    effect: str
    text: str
    amount: int | None = None


@dataclass(frozen=True, slots=True)
class Sent:
    """A parcel that the order has paid. `of_subscription`: the first cycle of one that it started."""

    id: str
    fulfilment: Fulfilment
    of_subscription: bool


def stays_in(*, of_subscription: bool, give_back: bool, end_subscriptions: bool) -> bool:
    """Whether a parcel is stopped: all are, but that of a subscription that goes on and whose money is kept."""
    return not of_subscription or give_back or end_subscriptions


def effects(
    *,
    status: OrderStatus,
    currency: str,
    open_invoice: tuple[str, int] | None,
    held: tuple[str, int] | None = None,
    sale: Sale | None,
    subscriptions: Sequence[tuple[str, str]],
    fulfilments: Sequence[Sent],
    give_back: bool,
    end_subscriptions: bool,
) -> tuple[Effect, ...]:
    """What would happen now, in the order in which it happens; amounts in minor units.

    `open_invoice`: its id and amount. `held`: the charge that is authorised and its amount. `subscriptions`: id and
    status of each.
    """
    found: list[Effect] = []
    if held is not None:
        charge, amount = held
        text = f"The authorisation of {Money(amount, currency)} is released: nothing was taken."
        found.append(Effect("payment", charge, "release", text, amount))
    if open_invoice is not None:
        identity, amount = open_invoice
        text = f"The invoice over {Money(amount, currency)} is voided: nothing is owed any more."
        found.append(Effect("invoice", identity, "void", text, amount))
    for each in fulfilments:
        stopped = stays_in(
            of_subscription=each.of_subscription, give_back=give_back, end_subscriptions=end_subscriptions
        )
        found.append(_fulfilment(each, stopped=stopped))
    for identity, state in subscriptions:
        found.append(_subscription(identity, state, end=end_subscriptions))
    if status is OrderStatus.PAID:
        found.append(_payment(sale, currency, give_back=give_back))
    return tuple(found)


def _fulfilment(sent: Sent, *, stopped: bool) -> Effect:
    before, after = sent.fulfilment, stop(sent.fulfilment)
    if not stopped and before.status in {Status.PENDING, Status.SENDING, Status.HANDED_OFF}:
        return Effect("fulfilment", sent.id, "stays", "It is sent: its subscription goes on.")
    if before == after:
        said = before.status.replace("_", " ")
        return Effect("fulfilment", sent.id, "stays", f"It is {said} already and stays as it is.")
    if after.withdrawal is Withdrawal.DUE:
        return Effect("fulfilment", sent.id, "ask_back", "It was handed off: the provider is asked not to ship it.")
    return Effect("fulfilment", sent.id, "stop", "It is not sent.")


def _subscription(identity: str, state: str, *, end: bool) -> Effect:
    if state == ENDED:
        return Effect("subscription", identity, "stays", "It has ended already.")
    if not end:
        return Effect("subscription", identity, "stays", "It goes on and bills its next cycles.")
    return Effect(
        "subscription", identity, "end", "It ends now. What its later cycles have billed is not touched by this."
    )


def _payment(sale: Sale | None, currency: str, *, give_back: bool) -> Effect:
    if sale is None:
        return Effect("payment", None, "none", "Nothing was charged for this order.")
    if not give_back:
        return Effect("payment", None, "kept", "The money is kept.", 0)
    if sale.disputed is not None:
        return Effect("payment", None, "kept", f"The charge is disputed ({sale.disputed}): no money goes back.", 0)
    money = Money(sale.left, currency)
    if sale.left == 0:
        return Effect("payment", None, "kept", "Its money went back already.", 0)
    if sale.settlement == "pending":
        text = f"The charge of {money} is voided; where settlement is faster it is refunded."
        return Effect("payment", None, "void", text, sale.left)
    return Effect("payment", None, "refund", f"The charge is settled: {money} are refunded.", sale.left)
