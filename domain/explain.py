"""The timeline in plain words: one sentence for each kind of entry, and where a subscription stands now."""

from __future__ import annotations

from datetime import datetime
from types import MappingProxyType
from typing import assert_never

from domain.collection import LOOKUPS_BEFORE_ATTENTION, PARKED_BEFORE_ATTENTION
from domain.discounts import percent
from domain.lifecycle import next_step
from domain.money import Money
from domain.state import Datum, EntryData, Phase, State
from domain.steps import AskGateway, Charge, End, Record, Tick, Wait

# Kind of entry → sentence. {amount} and {total} are money, {span}, {cause} and {days_before} are made of several
# fields (`_derived`), the other names are fields of the entry's data. Instants stay as they are, ISO 8601 in UTC: a
# screen shows them in the customer's zone.
SENTENCES = MappingProxyType(
    {
        "created": "Created; starts {starts_at}.",
        "started": "Started.",
        "cycle_prepaid": "Cycle {cycle} was paid with its order: {amount}.",
        "taken_over": "Taken over from another system; cycle {first_cycle} is the first billed here.",
        "trial_started": "Trial started; it ends {until}.",
        "trial_moved": "Trial moved; it ends {until}.",
        "trial_ended_early": "Trial ended early.",
        "trial_ended": "Trial ended.",
        "invoice_issued": "Invoice of {total} issued for {cause}{within}; {amount_due} due.",
        "payment_succeeded": "Paid {amount} by {gateway} (attempt {attempt}).",
        "invoice_settled": "Nothing was left to pay.",
        "payment_declined": "Payment of {amount} declined: {code} ({decline}), attempt {attempt}.",
        "no_payment_method": "There was no payment method to charge.",
        "gateway_down": "The gateway {gateway} is down; the charge is parked.",
        "outcome_unknown": "The answer of {gateway} was lost; it is asked what became of attempt {attempt}.",
        "action_required": "The customer must confirm the payment by {deadline}.",
        "dunning_started": "Dunning started by policy {policy}.",
        "retry_planned": "Retry {retry} of {retries} planned for {retry_at}.",
        "dunning_ended": "Dunning ended: the invoice is paid.",
        "dunning_exhausted": "Dunning used its last attempt: {end_action}.",
        "grace_started": "Access goes on until {until} although the payment failed.",
        "access_started": "Access started.",
        "access_stopped": "Access stopped.",
        "notice_set": "{days_before}.",
        "customer_set": "Goes on under customer {after}; before, it was {before}.",
        "collection_asked": "Collection asked for now: {trigger}.",
        "charge_asked": "Charge of {amount} asked for: {description}.",
        "invoice_voided": "Invoice of {amount} voided: nothing is owed on it.",
        "invoice_written_off": "Invoice written off: {amount}.",
        "cycle_skipped": "Cycle {cycle} skipped.",
        "cycles_not_billed": "{span} not billed: {why}.",
        "skip_planned": "{span} will be skipped.",
        "skip_undone": "Planned skips taken back.",
        "renewal_notice": "The customer is told: {amount} is due {due_at}.",
        "change_planned": "New terms planned for cycle {cycle}: {price_id}.",
        "terms_changed": "New terms: {price_id}.",
        "date_changed": "Next billing date moved from {old_due} to {new_due}.",
        "added_time_waived": "Waived: {amount} for added days, as no invoice follows the end.",
        "force_asked": "Cycle {cycle} billed by force.",
        "pause_asked": "Pause asked for, to begin {when}.",
        "pause_undone": "Planned pause taken back.",
        "paused": "Paused.",
        "resumed": "Resumed; a new period starts.",
        "cancel_planned": "Will be cancelled at {ends_at}.",
        "cancel_undone": "Cancellation taken back.",
        "canceled": "Cancelled.",
        "restarted": "Restarted; a new period starts.",
        "credit_granted": "Credit of {amount} granted {source}; balance {balance}.",
        "discount_added": "Discount {name}: {off}{lasting}.",
        "discount_ended": "Discount {name} ended: {why}.",
        "tax_set": "Taxed from now on: {taxed}.",
        "hold_placed": "Put on hold by {owner} until {expires_at}.",
        "hold_released": "Hold released.",
        "hold_expired": "Hold expired.",
        "order_created": "Order of {lines} lines taken; {total} due when it is placed.",
        "lines_changed": "Order changed, revision {revision}: {lines} lines, {total} due when it is placed.",
        "order_placed": "Order placed; the customer pays later.",
        "payment_asked": "Payment asked for.",
        "payment_authorised": "{amount} authorised by {gateway} until {until}, nothing taken yet (attempt {attempt}).",
        "capture_asked": "Capture asked for.",
        "release_asked": "Release of the authorisation asked for.",
        "authorisation_ending": "The authorisation runs out at {until}, and nobody has captured it yet.",
        "authorisation_expired": "The authorisation ran out without a capture; it is given back.",
        "authorisation_released": "The authorisation of {amount} was given back: nothing was taken.",
        "order_paid": "Order paid: {amount}.",
        "subscription_started": "Line {position} started subscription {subscription_id}.",
        "order_lapsed": "Nobody paid in time: the order lapsed.",
        "cancel_asked": "Cancellation asked for.",
        "parcel_stopped": "Parcel {fulfilment_id} was stopped.",
        "parcel_stays": "Parcel {fulfilment_id} stays as it is: {status}.",
        "subscription_ended": "Subscription {subscription_id} ended.",
        "subscription_kept": "Subscription {subscription_id} was not ended: {code}.",
        "money_back": "The money goes back: refund {refund_id}, {status}.",
        "money_kept": "No money goes back: {code}.",
        "order_canceled": "Order cancelled.",
    }
)

_MONEY = frozenset({"amount", "total", "subtotal", "discount", "tax", "amount_due", "credit_applied", "balance"})

# Field → its value → how that reads within the sentence. Another value reads as it is written, without underscores.
_WORDS = MappingProxyType(
    {
        "when": {"now": "at once", "period_end": "when the period ends"},
        "end_action": {
            "cancel": "the subscription is cancelled",
            "pause": "the subscription is paused",
            "stay_overdue": "the subscription stays overdue",
        },
        "source": {
            "unused": "for unused time",
            "agent": "by an agent",
            "voucher": "from a voucher",
            "credit_note": "from a credit note",
        },
        "trigger": {
            "manual": "by hand",
            "force_bill": "by hand, as a forced bill",
            "card_update": "there is a new card",
            "link": "the customer pays by a link",
            "pay": "the invoice is to be paid",
        },
        "why": {
            "catch-up policy": "the catch-up policy leaves out what is so late",
            "used_up": "its cycles are used up",
            "ended": "its time is over",
            "removed": "it was taken back",
        },
    }
)

_CAUSES = MappingProxyType(
    {"trial": "the trial", "change": "a change in cycle {cycle}", "one_off": "a charge by hand", "order": "the order"}
)

WHATS = MappingProxyType(
    {
        "start": "the subscription starts",
        "open_cycle": "the cycle is billed",
        "skip_cycle": "the cycle is skipped",
        "notice": "the customer is told of the next renewal",
        "pause": "the pause begins",
        "resume": "the pause ends",
        "cancel": "the cancellation takes effect",
        "hold_expired": "the hold expires",
        "grace_ended": "the days of grace end",
        "retry": "the open invoice is tried again",
    }
)


def sentence(kind: str, data: EntryData) -> str:
    """One entry in words, with amounts in major units."""
    currency = data.get("currency")

    def shown(name: str, value: Datum) -> object:
        if name in _MONEY and isinstance(value, int) and isinstance(currency, str):
            return Money(value, currency)
        if name in _WORDS and isinstance(value, str):
            return _WORDS[name].get(value, value.replace("_", " "))
        return value

    fields = {name: shown(name, value) for name, value in data.items()}
    return SENTENCES[kind].format_map(fields | _derived(data))


def _derived(data: EntryData) -> dict[str, str]:
    """Words that take more than one field: which cycles, what an invoice is for, how early a notice is sent."""
    words: dict[str, str] = {}
    first, cycles, days = data.get("first"), data.get("cycles"), data.get("days")
    if isinstance(first, int) and isinstance(cycles, int):
        words["span"] = f"Cycle {first}" if cycles == 1 else f"Cycles {first} to {first + cycles - 1}"
    if "reason" in data:
        words["cause"] = _CAUSES.get(str(data["reason"]), "cycle {cycle}").format_map(data)
    if isinstance(days, int):
        early = f"{days} day before a renewal" if days == 1 else f"{days} days before a renewal"
        words["days_before"] = f"Notices are sent {early}" if days else "No notices are sent before a renewal"
    if "total" in data:
        words["within"] = _within(data)
    if "discount_id" in data and "rate" in data:
        words |= _discount(data)
    if "rates" in data:
        words["taxed"] = _taxed(data)
    return words


def _within(data: EntryData) -> str:
    """What discounts and tax have in an invoice's total; nothing where they have no part in it."""
    currency = str(data["currency"])
    parts = [
        f"{Money(amount, currency)} {said}"
        for said, amount in (("of discounts", data.get("discount")), ("of tax", data.get("tax")))
        if isinstance(amount, int) and amount
    ]
    return f", with {' and '.join(parts)}" if parts else ""


def _discount(data: EntryData) -> dict[str, str]:
    rate, amount, cycles, until = data["rate"], data["amount"], data["cycles"], data["until"]
    off = f"{percent(rate)} off" if isinstance(rate, int) and rate else ""
    if isinstance(amount, int) and amount:
        off = f"{Money(amount, str(data['currency']))} off"
    lasting = f" for {cycles} billed cycles" if cycles else ""
    return {"off": off, "lasting": f"{lasting} until {until}" if until else lasting or " until taken back"}


def _taxed(data: EntryData) -> str:
    place = f" in {data['place']}" if data["place"] else ""
    return str(data["status"]).replace("_", " ") + place


def next_in_words(state: State, now: datetime) -> tuple[str, datetime | None]:
    """What happens next and when (None: when a command comes)."""
    step = next_step(state, now)
    match step:
        case Wait():
            return step.why, step.until
        case Tick():
            return WHATS[step.fact.what], now
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
