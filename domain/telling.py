"""Which lines of a timeline are told to the customer: one decision for each change of state.

A step writes several lines, and more than one of them may have a letter: dunning that runs out also ends the
subscription. The customer gets one letter, the one that says most. `overtaken_by` says the same of letters that wait:
one that is no longer true when its turn comes is not sent.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from domain.state import Entry
from domain.terms import RetryMessage

_BY_KIND: Final[Mapping[str, str]] = MappingProxyType(
    {
        "payment_succeeded": "receipt",
        "renewal_notice": "renewal_notice",
        "dunning_exhausted": "dunning_exhausted",
        "access_stopped": "access_stopped",
        "action_required": "action_required",
        "trial_started": "trial_started",
        "cancel_planned": "cancel_planned",
        "canceled": "canceled",
        "paused": "paused",
        "resumed": "resumed",
    }
)
_FAILED: Final[Mapping[str, str | None]] = MappingProxyType(
    {
        RetryMessage.REMINDER: "payment_failed",
        RetryMessage.FINAL_NOTICE: "payment_final_notice",
        RetryMessage.NONE: None,
    }
)
_FAILURES: Final = frozenset({"payment_failed", "payment_final_notice", "dunning_exhausted"})
# What came of a charge.
OUTCOMES: Final = frozenset({"receipt", "action_required", *_FAILURES})

# Template → those that, told in the same step, say it as well or say what is true instead.
_SAID_BY: Final[Mapping[str, frozenset[str]]] = MappingProxyType(
    {
        "renewal_notice": OUTCOMES | {"canceled", "paused"},
        "payment_failed": frozenset({"receipt", "canceled", "dunning_exhausted"}),
        "payment_final_notice": frozenset({"receipt", "canceled", "dunning_exhausted"}),
        "action_required": frozenset({"receipt", "canceled", *_FAILURES}),
        "access_stopped": frozenset({"receipt", "canceled", "paused", *_FAILURES}),
        "trial_started": frozenset({"canceled"}),
        "cancel_planned": frozenset({"canceled", "dunning_exhausted"}),
        "canceled": frozenset({"dunning_exhausted"}),
        "paused": frozenset({"dunning_exhausted", "canceled"}),
        "resumed": OUTCOMES | {"canceled"},
    }
)
# Of these only the last one is true.
_TURNS: Final = frozenset({"cancel_planned", "paused", "resumed"})

# Template → later letters of the same subscription after which it is no longer true.
_OVERTAKEN_BY: Final[Mapping[str, frozenset[str]]] = MappingProxyType(
    {
        "renewal_notice": frozenset({"receipt", "canceled"}),
        "payment_failed": frozenset({"receipt", "canceled", *_FAILURES}),
        "payment_final_notice": frozenset({"receipt", "canceled", "dunning_exhausted"}),
        "action_required": frozenset({"receipt", "canceled", *_FAILURES}),
        "access_stopped": frozenset({"receipt", "canceled"}),
        "dunning_exhausted": frozenset({"receipt"}),
        "cancel_planned": frozenset({"canceled"}),
        "paused": frozenset({"resumed", "canceled"}),
    }
)


@dataclass(frozen=True, slots=True)
class Telling:
    """An entry that becomes a letter. `also`: what happened in the same step and gets none of its own."""

    entry: Entry
    template: str
    also: frozenset[str] = frozenset()


def tellings(entries: Sequence[Entry]) -> tuple[Telling, ...]:
    """The letters that these entries of one step become, in their order. Of several payments each has its receipt."""
    wanted = [(entry, template) for entry in entries if (template := _template_for(entry)) is not None]
    told = {template for _, template in wanted}
    last = {template: entry.seq for entry, template in wanted}
    turn = max((seq for template, seq in last.items() if template in _TURNS), default=0)
    kept: list[tuple[Entry, str]] = []
    for entry, template in wanted:
        if _SAID_BY.get(template, frozenset()) & told:
            continue
        if template in _TURNS and entry.seq < turn:
            continue
        if template != "receipt" and entry.seq < last[template]:
            continue
        kept.append((entry, template))
    silent = frozenset(told - {template for _, template in kept})
    return tuple(Telling(entry, template, silent) for entry, template in kept)


def overtaken_by(template: str) -> frozenset[str]:
    """The later letters of the same subscription after which this one, still unsent, is not true any more."""
    return _OVERTAKEN_BY.get(template, frozenset())


def overtaking() -> tuple[tuple[str, str], ...]:
    """All pairs of an overtaken template and one that overtakes it."""
    return tuple((old, new) for old, later in sorted(_OVERTAKEN_BY.items()) for new in sorted(later))


def _template_for(entry: Entry) -> str | None:
    if entry.kind == "retry_planned":
        return _FAILED[RetryMessage(str(entry.data["message"]))]
    return _BY_KIND.get(entry.kind)


def lines_of(template: str) -> tuple[str, str | None] | None:
    """The kind of line that becomes this letter, and its notice where several letters come from one kind."""
    for message, name in _FAILED.items():
        if name == template:
            return "retry_planned", str(message)
    return next(((kind, None) for kind, name in _BY_KIND.items() if name == template), None)
