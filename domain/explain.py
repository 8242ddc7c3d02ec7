"""The timeline in plain words: one sentence for each kind of entry, and where a subscription stands now."""

from __future__ import annotations

from datetime import datetime
from types import MappingProxyType
from typing import assert_never

from domain.collection import LOOKUPS_BEFORE_ATTENTION, PARKED_BEFORE_ATTENTION
from domain.lifecycle import next_step
from domain.money import Money
from domain.state import EntryData, Phase, State
from domain.steps import AskGateway, Charge, End, Record, Tick, Wait

# Kind of entry → sentence; {amount} and {total} are money, the other names are fields of the entry's data.
SENTENCES = MappingProxyType(
    {
        "created": "Created; starts {starts_at}.",
        "started": "Started.",
        "taken_over": "Taken over from another system; cycle {first_cycle} is the first billed here.",
        "trial_started": "Trial started; it ends {until}.",
        "trial_moved": "Trial moved; it ends {until}.",
        "trial_ended_early": "Trial ended early.",
        "trial_ended": "Trial ended.",
        "invoice_issued": "Invoice for {total} issued (cycle {cycle}, {reason}); {amount_due} due.",
        "payment_succeeded": "Paid {amount} by {gateway} (attempt {attempt}).",
        "invoice_settled": "Nothing was left to pay.",
        "payment_declined": "Payment of {amount} declined: {code} ({decline}), attempt {attempt}.",
        "no_payment_method": "There was no payment method to charge.",
        "gateway_down": "The gateway {gateway} is down; the charge is parked.",
        "outcome_unknown": "The answer of {gateway} was lost; it is asked what became of attempt {attempt}.",
        "action_required": "The customer must confirm the payment until {deadline}.",
        "dunning_started": "Dunning started by policy {policy}.",
        "retry_planned": "Retry {retry} of {retries} planned for {retry_at}.",
        "dunning_ended": "Dunning ended: the invoice is paid.",
        "dunning_exhausted": "Dunning used its last attempt; next: {end_action}.",
        "grace_started": "Access goes on until {until} although the payment failed.",
        "access_started": "Access started.",
        "access_stopped": "Access stopped.",
        "notice_set": "Notices are sent {days} day(s) before a renewal (0: none).",
        "collection_asked": "Collection asked for now ({trigger}).",
        "charge_asked": "Charge of {amount} asked for: {description}.",
        "invoice_voided": "Invoice of {amount} voided: the charge failed.",
        "invoice_written_off": "Invoice written off: {amount}.",
        "cycle_skipped": "Cycle {cycle} skipped.",
        "cycles_not_billed": "{cycles} cycle(s) from cycle {first} not billed: {why}.",
        "skip_planned": "{cycles} cycle(s) from cycle {first} will be skipped.",
        "skip_undone": "Planned skips taken back.",
        "renewal_notice": "The customer is told: {amount} is due {due_at}.",
        "change_planned": "New terms planned for cycle {cycle}: {price_id}.",
        "terms_changed": "New terms: {price_id}.",
        "date_changed": "Next billing date moved from {old_due} to {new_due}.",
        "added_time_waived": "Waived: {amount} for added days, as no invoice follows the end.",
        "force_asked": "Cycle {cycle} billed by force.",
        "pause_asked": "Pause asked for ({when}).",
        "pause_undone": "Planned pause taken back.",
        "paused": "Paused.",
        "resumed": "Resumed; a new period starts.",
        "cancel_planned": "Will be cancelled at {ends_at}.",
        "cancel_undone": "Cancellation taken back.",
        "canceled": "Cancelled.",
        "restarted": "Restarted; a new period starts.",
        "credit_granted": "Credit of {amount} granted ({source}); balance {balance}.",
        "hold_placed": "Put on hold by {owner} until {expires_at}.",
        "hold_released": "Hold released.",
        "hold_expired": "Hold expired.",
    }
)

_MONEY = frozenset({"amount", "total", "amount_due", "credit_applied", "balance"})


def sentence(kind: str, data: EntryData) -> str:
    """One entry in words, with amounts in major units."""
    currency = data.get("currency")

    def shown(name: str) -> object:
        value = data.get(name)
        if name in _MONEY and isinstance(value, int) and isinstance(currency, str):
            return Money(value, currency)
        return value

    return SENTENCES[kind].format_map({name: shown(name) for name in data})


def next_in_words(state: State, now: datetime) -> tuple[str, datetime | None]:
    """What happens next and when (None: when a command comes)."""
    step = next_step(state, now)
    match step:
        case Wait():
            return step.why, step.until
        case Tick():
            return step.fact.what.replace("_", " "), now
        case Charge():
            return "the charge is tried", now
        case AskGateway():
            return "the gateway is asked about the last charge", now
        case Record():
            return "the timeline is written", now
        case End():
            return "the subscription is closed for good", now
        case _:
            assert_never(step)


def attention(state: State) -> str | None:
    """Why a person should look at this subscription; None if all goes its way."""
    collecting = state.collecting
    if state.hold is not None:
        return f"on hold by {state.hold.owner}"
    if collecting is None:
        return None
    if collecting.phase is Phase.UNKNOWN and collecting.lookups >= LOOKUPS_BEFORE_ATTENTION:
        return "the outcome of a charge is still unknown"
    if collecting.phase is Phase.PARKED and collecting.parked >= PARKED_BEFORE_ATTENTION:
        return "the gateway has been down for long"
    if collecting.phase is Phase.EXHAUSTED:
        return "overdue, and no retry is left"
    return None
