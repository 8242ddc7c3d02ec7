"""One decision to send for each change of state: no step tells a customer two things that do not go together."""

from __future__ import annotations

from datetime import UTC, datetime
from itertools import count

import pytest

from domain.state import Entry
from domain.telling import overtaken_by, overtaking, tellings

NOW = datetime(2026, 1, 31, 9, tzinfo=UTC)
_SEQ = count(1)


def entries(*kinds: str) -> list[Entry]:
    return [
        Entry(
            next(_SEQ),
            NOW,
            kind.removesuffix("!"),
            "system",
            "",
            {"message": "final_notice" if kind[-1] == "!" else "reminder"},
        )
        for kind in kinds
    ]


@pytest.mark.parametrize(
    ("kinds", "told"),
    [
        # The first card declines and the backup pays: the decline is no letter.
        (["payment_declined", "payment_succeeded"], ["receipt"]),
        # A lost answer that turns out to be a payment, or a decline.
        (["outcome_unknown"], []),
        (["outcome_unknown", "payment_succeeded"], ["receipt"]),
        (["payment_declined", "dunning_started", "grace_started", "retry_planned"], ["payment_failed"]),
        # No days of grace: that access stopped is said in the letter of the failure.
        (["payment_declined", "dunning_started", "access_stopped", "retry_planned"], ["payment_failed"]),
        (["payment_declined", "retry_planned!"], ["payment_final_notice"]),
        # The end of dunning, and what it does.
        (["payment_declined", "dunning_exhausted", "invoice_written_off", "canceled"], ["dunning_exhausted"]),
        (["payment_declined", "dunning_exhausted", "paused"], ["dunning_exhausted"]),
        (["access_stopped", "dunning_exhausted", "canceled"], ["dunning_exhausted"]),
        # It goes on and is billed at once: what came of the charge says so.
        (["resumed", "invoice_issued", "payment_succeeded"], ["receipt"]),
        (["resumed", "invoice_issued", "payment_declined", "retry_planned"], ["payment_failed"]),
        (["resumed", "action_required"], ["action_required"]),
        # A forced bill of a cycle that a notice was just written for.
        (["renewal_notice", "force_asked", "invoice_issued", "payment_succeeded"], ["receipt"]),
        # An end that had to wait for the gateway's answer.
        (["cancel_planned", "payment_succeeded", "canceled"], ["receipt", "canceled"]),
        (["cancel_planned", "canceled"], ["canceled"]),
        # A change of mind before anything was written.
        (["paused", "resumed"], ["resumed"]),
        # Both are true, and neither says the other.
        (["trial_started", "payment_succeeded"], ["trial_started", "receipt"]),
        (["payment_succeeded", "payment_succeeded"], ["receipt", "receipt"]),
    ],
    ids=str,
)
def test_what_a_step_tells(kinds: list[str], told: list[str]) -> None:
    assert [each.template for each in tellings(entries(*kinds))] == told


def test_a_letter_knows_what_else_happened() -> None:
    (letter,) = tellings(entries("access_stopped", "retry_planned"))
    assert letter.also == {"access_stopped"}


def test_what_waits_is_overtaken_by_what_is_true_later() -> None:
    """Never `renewed` and then `failed`: a failure that could not be sent yet is not sent after the payment."""
    for failure in ("payment_failed", "payment_final_notice", "dunning_exhausted", "action_required"):
        assert "receipt" in overtaken_by(failure)
    assert not overtaken_by("receipt")
    assert not overtaken_by("refund_sent")
    assert ("payment_failed", "receipt") in overtaking()
    assert all(old != "receipt" for old, _ in overtaking())
