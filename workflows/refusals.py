"""How a workflow refuses: the error ends the update that asked, never the workflow."""

from __future__ import annotations

from typing import Any, NoReturn

from temporalio.exceptions import ApplicationError

from domain.errors import DunlinError, InvalidInput, Refused


def refuse(error: DunlinError) -> NoReturn:
    """The parts of the refusal travel as details (see `workflows.answers`)."""
    details: dict[str, Any] = {"code": error.code, "message": error.message}
    if isinstance(error, Refused):
        details["allowed"] = list(error.allowed)
    if isinstance(error, InvalidInput):
        details["field"] = error.field
    raise ApplicationError(error.message, details, type=type(error).__name__, non_retryable=True) from None
