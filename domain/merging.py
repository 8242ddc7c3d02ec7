"""Whether two customers may become one, and when it may be taken back."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

UNDO_FOR: Final = timedelta(days=30)
CHILDREN_MAX: Final = 1000
# What was on its way when the rows moved arrives late: a request of that moment, mail, a refund in its queue of three
# days. It is moved at these times after the merge, and once more before the end.
SWEEPS_AFTER: Final = (timedelta(minutes=2), timedelta(days=1), timedelta(days=4))


class MergeStatus(StrEnum):
    """Where a merge stands; the last two are over."""

    RUNNING = "running"
    DONE = "done"
    UNDOING = "undoing"
    UNDONE = "undone"
    FINAL = "final"


@dataclass(frozen=True, slots=True)
class Party:
    """A customer as far as it decides. `busy`: rows move into or out of it now. `payer_id`: whose cards are charged."""

    id: str
    merged_into: str | None
    parent_id: str | None
    payer_id: str
    children: int
    has_login: bool
    login_disabled: bool
    busy: bool


@dataclass(frozen=True, slots=True)
class Objection:
    """Why not: a stable code and a sentence."""

    code: str
    message: str


def objection(master: Party, loser: Party) -> Objection | None:  # noqa: PLR0911 - the table of rules
    """Why `loser` may not go into `master` now; None if it may."""
    for party in (master, loser):
        if party.merged_into is not None:
            return Objection("merged", f"{party.id} was merged into {party.merged_into}.")
    if master.busy or loser.busy:
        return Objection("merge_running", "Another merge of one of them is under way; try again when it is done.")
    if master.parent_id == loser.id:
        return Objection("parent_into_child", "A parent does not go into its own child: merge the child into it.")
    if loser.children and master.parent_id is not None:
        return Objection("third_level", f"{loser.id} has children, and {master.id} is a child: it can have none.")
    if loser.children + master.children > CHILDREN_MAX:
        return Objection("too_many", f"A parent has at most {CHILDREN_MAX} children.")
    if _pays(loser) != _pays(master) and loser.payer_id != master.payer_id:
        return Objection("paid_by_parent", "A parent pays for one of them and not for the other; end that tie first.")
    if loser.login_disabled and not master.login_disabled:
        return Objection(
            "login_disabled", f"{loser.id} may not sign in: enable that login, or disable the one of {master.id} too."
        )
    return None


def _pays(party: Party) -> str | None:
    """The parent that pays for it, if one does."""
    return None if party.payer_id == party.id else party.payer_id


def undo_objection(status: MergeStatus, undo_until: datetime | None, now: datetime, master: Party) -> Objection | None:
    """Why it cannot be taken back now; None if it can. The master's own later merge has to be taken back first."""
    if status in {MergeStatus.UNDOING, MergeStatus.UNDONE}:
        return Objection("undone", "This merge is being undone, or was.")
    if status is MergeStatus.RUNNING:
        return Objection("merge_running", "The rows still move; try again when it is done.")
    if status is MergeStatus.FINAL or undo_until is None or now >= undo_until:
        return Objection("undo_over", f"A merge can be undone for {UNDO_FOR.days} days.")
    if master.merged_into is not None:
        return Objection("merged_on", f"{master.id} was itself merged into {master.merged_into}; undo that one first.")
    if master.busy:
        return Objection("merge_running", "Another merge into this customer is under way; try again when it is done.")
    return None
