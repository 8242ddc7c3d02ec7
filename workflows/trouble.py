"""What a workflow shows while a step of it fails for our own reasons: words in Temporal's UI, and two attributes."""

from __future__ import annotations

from typing import Any, Final

from temporalio import workflow
from temporalio.common import SearchAttributeKey, SearchAttributeUpdate
from temporalio.exceptions import ActivityError

with workflow.unsafe.imports_passed_through():
    from workflows.policies import TROUBLE_RETRY_AFTER

TROUBLE: Final = SearchAttributeKey.for_keyword("DunlinTrouble")
TROUBLE_SINCE: Final = SearchAttributeKey.for_datetime("DunlinTroubleSince")
TROUBLE_LENGTH_MAX: Final = 200  # a server on PostgreSQL keeps 255 characters of a keyword


class Trouble:
    """One for each run; `show` and `clear` cost a history event only where something changes."""

    def __init__(self) -> None:
        self._shown: str | None = None

    def show(self, error: ActivityError, **who: str) -> None:
        """Say what fails, and since when; `who` goes to the log."""
        trouble = str(error.cause or error)
        workflow.logger.error("step failed", extra={**who, "trouble": trouble})
        workflow.set_current_details(f"**Stuck**: {trouble}\n\nThe step is tried again every {TROUBLE_RETRY_AFTER}.")
        found = trouble[:TROUBLE_LENGTH_MAX]
        if found == self._shown:
            return
        changed: list[SearchAttributeUpdate[Any]] = [TROUBLE.value_set(found)]
        if self._shown is None:
            changed.append(TROUBLE_SINCE.value_set(workflow.now()))
        _upsert(changed)
        self._shown = found

    def clear(self) -> None:
        """The step went through."""
        if self._shown is not None:
            _upsert([TROUBLE.value_unset(), TROUBLE_SINCE.value_unset()])
            self._shown = None


def _upsert(changed: list[SearchAttributeUpdate[Any]]) -> None:
    workflow.upsert_search_attributes(changed)  # pyright: ignore[reportUnknownMemberType] - the SDK leaves a type open
