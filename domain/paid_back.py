"""Money of an invoice that went back, or on account: what of a period was not kept is never credited again."""

from __future__ import annotations

from dataclasses import dataclass, replace

from domain.money import Money
from domain.state import RECENT_COMMANDS_MAX, InvoiceReason, State


@dataclass(frozen=True, slots=True)
class PaidBack:
    """A credit note took `amount` (minor units) off an invoice. `id` is the note's: a second telling changes nothing.

    `cycle` and `reason` are the invoice's, and say for which period it was paid.
    """

    id: str
    cycle: int
    reason: InvoiceReason
    amount: int


def paid_back(state: State, told: PaidBack) -> State:
    """The state after it: less counts as paid for the period (it caps later credits, policy `credit_capped_at_paid`).

    The invoice of a change made when a period was billed ahead has paid for both: what is more than the last one's is
    of the one that runs. Of older periods nothing is left to credit.
    """
    if told.id in state.recent_commands or told.reason not in {InvoiceReason.CYCLE, InvoiceReason.CHANGE}:
        return state
    state = replace(state, recent_commands=(*state.recent_commands, told.id)[-RECENT_COMMANDS_MAX:])
    amount = told.amount
    if state.period_price is not None and state.period_price.treatment is not None:
        # What counts as paid is without the tax on top of it.
        amount = state.period_price.treatment.base(Money(amount, state.currency)).minor
    if told.cycle == state.cycle - 1:
        last = min(state.paid_for_period, amount)
        state = replace(state, paid_for_period=state.paid_for_period - last)
        rest = amount - last if told.reason is InvoiceReason.CHANGE else 0
    else:
        rest = amount if told.cycle == state.cycle - 2 else 0
    running = state.running
    if running is None or not rest:
        return state
    return replace(state, running=replace(running, paid=max(running.paid - rest, 0)))
