"""Which HTTP answer an error gets: one mapping, and every answer is a problem document (RFC 9457).

A problem has `type`, `title`, `status`, `detail`, and of our own: a stable `code`, `errors` (which field breaks
which rule), `allowed` (the commands that would be taken now) and `roles` (who may). Nothing internal is ever in it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from http import HTTPStatus
from typing import Any, Final

import structlog
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy.exc import DBAPIError, IntegrityError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from starlette.exceptions import HTTPException

from api.names import routes_of
from domain.errors import DunlinError, Forgotten, InvalidInput, Merged, NotFound, Refused, Unavailable
from providers.gateways.base import GatewayUnavailable, OutcomeUnknown

PROBLEM_JSON: Final = "application/problem+json"
RETRY_AFTER_S: Final = 2
FIELD_ERRORS_MAX: Final = 50

# What a client of Temporal says that was never connected; there is no type for it.
NEVER_CONNECTED: Final = "Failed client connect"

# What the tables say to a row of a forgotten customer.
FORGOTTEN_STATE: Final = "DL410"

_log = structlog.get_logger(__name__)
_UNPROCESSABLE: Final = 422
_CODES: Final = {400: "bad_request", 404: "not_found", 405: "method_not_allowed"}


class FieldError(BaseModel):
    """One field and the rule it breaks."""

    field: str = Field(description="Path of the field as sent, such as `interval.count` or `Idempotency-Key`")
    code: str = Field(description="Stable name of the rule")
    message: str


class Problem(BaseModel):
    """What went wrong, for people in `detail`, for programs in `code`."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "type": "about:blank",
                    "title": "Unprocessable Entity",
                    "status": 422,
                    "code": "invalid_input",
                    "detail": "interval.count: an interval is 1 to 120 months",
                    "errors": [
                        {
                            "field": "interval.count",
                            "code": "invalid_input",
                            "message": "an interval is 1 to 120 months",
                        }
                    ],
                }
            ]
        }
    )

    type: str = "about:blank"
    title: str
    status: int
    code: str
    detail: str
    errors: list[FieldError] | None = None
    allowed: list[str] | None = Field(default=None, description="Commands that would be taken now")
    roles: list[str] | None = Field(default=None, description="The roles of an API key that may do this")
    merged_into: str | None = Field(default=None, description="The customer that the one asked for was merged into")


class Unauthorized(DunlinError):
    """No key, or none that is known."""

    code = "unauthorized"


class Forbidden(DunlinError):
    """The caller is known and may not do this. `roles` may, where it is a matter of roles."""

    code = "forbidden_role"

    def __init__(self, message: str, *, roles: tuple[str, ...] | None = None, code: str | None = None) -> None:
        super().__init__(message, code=code)
        self.roles = roles


class TooManyTries(DunlinError):
    """Tries to sign in come too fast; after `wait_s` seconds one is heard."""

    code = "too_many_tries"

    def __init__(self, wait_s: int) -> None:
        super().__init__(f"Too many tries. The next one is heard in {wait_s} seconds.")
        self.wait_s = wait_s


class Busy(DunlinError):
    """The first request with this key is still at work."""

    code = "idempotency_in_progress"


def problem(  # one parameter for each part of a problem document
    status: int,
    code: str,
    detail: str,
    *,
    errors: Sequence[FieldError] = (),
    allowed: Iterable[str] | None = None,
    roles: Iterable[str] | None = None,
    merged_into: str | None = None,
    headers: dict[str, str] | None = None,
) -> Response:
    title = "Unprocessable Entity" if status == _UNPROCESSABLE else HTTPStatus(status).phrase
    body = Problem(
        title=title,
        status=status,
        code=code,
        detail=detail,
        errors=list(errors) or None,
        allowed=None if allowed is None else list(allowed),
        roles=None if roles is None else list(roles),
        merged_into=merged_into,
    )
    return JSONResponse(body.model_dump(exclude_none=True), status, headers, media_type=PROBLEM_JSON)


def answer(error: Exception) -> Response:  # noqa: C901, PLR0911, PLR0912 - one case for each error
    """The one place where an error becomes a status."""
    match error:
        case RequestValidationError():
            return _invalid([_field_error(each) for each in error.errors()[:FIELD_ERRORS_MAX]])
        case InvalidInput():
            return _invalid([FieldError(field=error.field, code=error.code, message=error.message)], error.code)
        case NotFound():
            return problem(404, error.code, error.message)
        case Merged():
            return problem(410, error.code, error.message, merged_into=error.merged_into)
        case Forgotten():
            return problem(410, error.code, error.message)
        case Refused(code="blacklisted"):
            return problem(403, error.code, error.message)
        case Refused():
            return problem(409, error.code, error.message, allowed=routes_of(error.allowed))
        case Busy():
            return problem(409, error.code, error.message, headers={"Retry-After": str(RETRY_AFTER_S)})
        case Unauthorized():
            return problem(401, error.code, error.message, headers={"WWW-Authenticate": 'Bearer realm="dunlin"'})
        case TooManyTries():
            return problem(429, error.code, error.message, headers={"Retry-After": str(error.wait_s)})
        case Forbidden():
            return problem(403, error.code, error.message, roles=error.roles)
        case HTTPException():
            return _http(error)
        case Unavailable():
            return _unavailable(error.message)
        case GatewayUnavailable() | OutcomeUnknown():
            return _unavailable("The payment gateway does not answer.")
        case IntegrityError():
            return _constraint(error)
        case DBAPIError() if getattr(error.orig, "sqlstate", None) == FORGOTTEN_STATE:
            return answer(Forgotten())
        case _ if _is_outage(error):
            _log.warning("part_unavailable", error=type(error).__name__)
            return _unavailable("The database or Temporal does not answer.")
        case _:
            _log.error("unexpected_error", exc_info=error)
            return problem(500, "internal_error", "Something went wrong here; it is logged. Repeat with the same key.")


def install(app: FastAPI) -> None:
    """Problem documents also where no route of ours was reached: unknown paths and methods."""

    async def on_error(_: Request, error: Exception) -> Response:
        return answer(error)

    app.add_exception_handler(HTTPException, on_error)
    app.add_exception_handler(Exception, on_error)


def _invalid(errors: list[FieldError], code: str = "invalid_input") -> Response:
    first = errors[0]
    return problem(_UNPROCESSABLE, code, f"{first.field}: {first.message}", errors=errors)


def _constraint(error: IntegrityError) -> Response:
    """What the database refused. Constraint names carry the field: `uq_customers_external_id`."""
    cause = error.orig.__cause__ if error.orig is not None else None
    name, table = str(getattr(cause, "constraint_name", "")), str(getattr(cause, "table_name", ""))
    kind, _, field = name.partition(f"_{table}_")
    if kind == "uq" and field:
        taken = FieldError(field=field, code="already_exists", message="is taken by another one")
        return problem(409, "already_exists", f"{field}: {taken.message}", errors=[taken])
    _log.error("constraint_violated", constraint=name)
    return problem(500, "internal_error", "Something went wrong here; it is logged.")


def _unavailable(detail: str) -> Response:
    return problem(503, "unavailable", detail, headers={"Retry-After": str(RETRY_AFTER_S)})


def _http(error: HTTPException) -> Response:
    if error.status_code == 400:  # noqa: PLR2004 - how FastAPI tells of a body it cannot read
        return _invalid([FieldError(field="body", code="unreadable", message="the body is not readable JSON")])
    code = _CODES.get(error.status_code, "http_error")
    details = {404: "There is nothing at this address.", 405: "This address does not take this method."}
    headers = dict(error.headers) if error.headers else None
    return problem(error.status_code, code, details.get(error.status_code, "Refused."), headers=headers)


def _field_error(found: dict[str, Any]) -> FieldError:
    """Pydantic's finding in our words: the path without where it was sent, never the value."""
    where, *path = (str(part) for part in found["loc"])
    if found["type"] == "json_invalid":
        return FieldError(field="body", code="json_invalid", message=f"not JSON at character {path[0]}")
    message = str(found["msg"]).removeprefix("Value error, ")
    return FieldError(field=".".join(path) or where, code=str(found["type"]), message=message[:1].lower() + message[1:])


def _is_outage(error: Exception) -> bool:
    if isinstance(error, RuntimeError) and str(error).startswith(NEVER_CONNECTED):
        return True
    if isinstance(error, DBAPIError) and error.connection_invalidated:
        return True
    return isinstance(error, OperationalError | InterfaceError | PoolTimeout | ConnectionError | TimeoutError)
