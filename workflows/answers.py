"""How what Temporal answers becomes an answer or an error of ours: one patience and one tree of errors for any door."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from temporalio.client import (
    WorkflowHandle,
    WorkflowQueryFailedError,
    WorkflowUpdateFailedError,
    WorkflowUpdateRPCTimeoutOrCancelledError,
)
from temporalio.exceptions import ApplicationError
from temporalio.service import RPCError, RPCStatusCode

from domain.errors import Broken, DunlinError, InvalidInput, NotFound, Refused, Unavailable

T = TypeVar("T")

ANSWER_TIMEOUT_S = 40
# Between two runs a workflow is for a moment neither here nor there.
RETRIES_MAX = 40
RETRY_AFTER_S = 0.05

_BETWEEN_RUNS = frozenset({RPCStatusCode.FAILED_PRECONDITION, RPCStatusCode.ABORTED})
_AWAY = frozenset(
    {
        RPCStatusCode.UNAVAILABLE,
        RPCStatusCode.DEADLINE_EXCEEDED,
        RPCStatusCode.CANCELLED,
        RPCStatusCode.RESOURCE_EXHAUSTED,
    }
)


async def answered(
    call: Callable[[], Awaitable[T]], timeout_s: float = ANSWER_TIMEOUT_S, *, noun: str = "subscription"
) -> T:
    """The call's answer, with Temporal's errors turned into ours; patient while a workflow changes runs."""
    try:
        async with asyncio.timeout(timeout_s):
            for _ in range(RETRIES_MAX - 1):
                try:
                    return await call()
                except RPCError as error:
                    if error.status not in _BETWEEN_RUNS:
                        raise
                    await asyncio.sleep(RETRY_AFTER_S)
            return await call()
    except WorkflowUpdateFailedError as error:
        raise _refused(error) from error
    except RPCError as error:
        if error.status is RPCStatusCode.NOT_FOUND:
            raise NotFound(f"there is no such {noun}, or it was closed for good") from error
        raise away(error) from error
    except (TimeoutError, WorkflowUpdateRPCTimeoutOrCancelledError) as error:
        raise Unavailable("no answer in time; the command may yet take effect: repeat it with the same key") from error
    except WorkflowQueryFailedError as error:
        raise Unavailable(f"the {noun} could not be asked; try again") from error


async def updated(
    handle: WorkflowHandle[Any, Any], update: Any, args: list[Any], *, identity: str | None, noun: str = "subscription"
) -> Any:
    """The answer of a workflow's update; `identity` None gives it one of its own. Errors as of `answered`."""
    # The SDK's overloads cannot be told apart by a strict checker where update and handle are any workflow's.
    execute: Any = handle.execute_update  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]
    return await answered(lambda: execute(update, args=args, id=identity), noun=noun)


def away(error: RPCError) -> DunlinError:
    """Temporal itself failed: for now, or because of what we asked."""
    if error.status in _AWAY:
        return Unavailable(f"Temporal does not answer: {error.message}")
    return Broken(f"Temporal refused: {error.message}")


def _refused(error: WorkflowUpdateFailedError) -> DunlinError:
    """The refusal that the workflow raised with `workflows.refusals.refuse`, as it was."""
    cause = error.cause
    if not isinstance(cause, ApplicationError) or not cause.details:
        return Broken(f"the command failed: {cause}")
    said: dict[str, Any] = cause.details[0]
    code, message = str(said["code"]), str(said["message"])
    if "allowed" in said:
        return Refused(code, message, allowed=tuple(said["allowed"]))
    if "field" in said:
        return InvalidInput(str(said["field"]), message, code=code)
    return NotFound(message) if code == NotFound.code else Broken(message)
