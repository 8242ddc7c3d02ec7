"""What follows a failed payment: when to try again, how long access lasts, and how dunning ends."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

from domain.calendar import days_later
from domain.errors import Broken
from domain.state import Access, Collecting, Dunning, Phase, State, Status
from domain.terms import DunningTerms


def retry_at(policy: DunningTerms, used: int, last: datetime, zone: str) -> datetime | None:
    """When the next automatic retry is due: local days after the last attempt, at the policy's local hour.

    None when all are used. An hour that has passed already on that day moves to the next day.
    """
    if used >= len(policy.retries):
        return None
    retry = policy.retries[used]
    at = days_later(last, retry.after_days, zone, retry.hour)
    return at if at > last else days_later(last, retry.after_days + 1, zone, retry.hour)


def round_failed(state: State, now: datetime, policy: DunningTerms) -> State:
    """Every method at hand declined, or there was none: begin dunning, or go on with it.

    Only automatic retries use up the policy; a try by hand leaves its next date as it was.
    """
    collecting = _collecting(state)
    dunning = collecting.dunning
    if dunning is None:
        state = _begin(state, now, policy)
        dunning = Dunning(policy, now, used=0, retry_at=retry_at(policy, 0, now, state.zone))
    elif not collecting.manual:
        used = dunning.used + 1
        dunning = replace(dunning, used=used, retry_at=retry_at(dunning.policy, used, now, state.zone))
    collecting = replace(collecting, dunning=dunning, manual=False, use_method=None, tried=(), phase=Phase.DUNNING)
    if dunning.retry_at is None:
        return replace(state, collecting=replace(collecting, phase=Phase.EXHAUSTED))
    state = state.note(
        now,
        "retry_planned",
        invoice_id=collecting.invoice_id,
        retry=dunning.used + 1,
        retries=len(dunning.policy.retries),
        retry_at=dunning.retry_at.isoformat(),
        message=dunning.policy.retries[dunning.used].message.value,
        amount=collecting.amount_due,
        currency=state.currency,
        grace_until=state.grace_until.isoformat() if state.grace_until else None,
    )
    return replace(state, collecting=collecting)


def is_exhausted(collecting: Collecting) -> bool:
    """No automatic retry is left."""
    return collecting.dunning is not None and collecting.dunning.retry_at is None


def grace_ended(state: State, now: datetime) -> State:
    """The days of grace are over: access stops until the invoice is paid."""
    return replace(state.note(now, "access_stopped"), access=Access.STOPPED, grace_until=None)


def _begin(state: State, now: datetime, policy: DunningTerms) -> State:
    collecting = _collecting(state)
    state = state.note(now, "dunning_started", invoice_id=collecting.invoice_id, policy=policy.name)
    state = replace(state, status=Status.OVERDUE)
    if state.access is not Access.ACTIVE:
        return state
    until = days_later(now, policy.grace_days, state.zone)
    if policy.grace_days == 0:
        return grace_ended(state, now)
    state = state.note(now, "grace_started", until=until.isoformat())
    return replace(state, access=Access.GRACE, grace_until=until)


def _collecting(state: State) -> Collecting:
    if state.collecting is None:
        raise Broken(f"subscription {state.id} has no open invoice")
    return state.collecting
