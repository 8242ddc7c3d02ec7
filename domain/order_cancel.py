"""What a cancellation of an order will do, said before it is done: to its payment, its subscriptions, what is sent."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

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


def effects(
    *,
    status: OrderStatus,
    currency: str,
    open_invoice: tuple[str, int] | None,
    sale: Sale | None,
    subscriptions: Sequence[tuple[str, str]],
    fulfilments: Sequence[tuple[str, str]],
    give_back: bool,
    end_subscriptions: bool,
) -> tuple[Effect, ...]:
    """What would happen now, in the order in which it happens; amounts in minor units.

    `open_invoice`: its id and amount. `subscriptions` and `fulfilments`: id and status of each.
    """
    found: list[Effect] = []
    if open_invoice is not None:
        identity, amount = open_invoice
        text = f"The invoice over {Money(amount, currency)} is voided: nothing is owed any more."
        found.append(Effect("invoice", identity, "void", text, amount))
    for identity, state in fulfilments:
        found.append(_fulfilment(identity, state))
    for identity, state in subscriptions:
        found.append(_subscription(identity, state, end=end_subscriptions))
    if status is OrderStatus.PAID:
        found.append(_payment(sale, currency, give_back=give_back))
    return tuple(found)


def _fulfilment(identity: str, state: str) -> Effect:
    if state in {"waiting", "ready", "held", "pending"}:
        return Effect("fulfilment", identity, "cancel", "It is not sent.")
    return Effect("fulfilment", identity, "stays", f"It is {state} already and stays as it is.")


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
