"""What a change would do, told by the code that does it and refused where it would be refused."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from domain.commands import handle
from domain.messages import ChangeTerms, Envelope, When
from domain.plan import due_at
from domain.state import Line, State


@dataclass(frozen=True, slots=True)
class ChangePreview:
    """What a change of terms would do: the lines of its invoice (none when later), and the next due date.

    `net` is what is charged now, with discounts and tax (minor units; negative becomes credit).
    """

    when: When
    lines: tuple[Line, ...]
    net: int
    next_due: datetime | None


def preview_change(
    state: State, command: ChangeTerms, now: datetime, *, expected_cycle: int | None = None
) -> ChangePreview:
    """What the command would do at `now`. Raises `Refused` or `InvalidInput` as the command would."""
    after = handle(state, Envelope("preview", command, "preview", expected_cycle=expected_cycle), now)
    written = after.journal[len(state.journal) :]
    issued = [entry for entry in written if entry.kind == "invoice_issued"]
    lines = issued[0].lines if issued else ()
    planned = any(entry.kind == "change_planned" for entry in written)
    when = When.PERIOD_END if planned else When.NOW
    return ChangePreview(when, lines, sum(line.gross for line in lines), due_at(after))
