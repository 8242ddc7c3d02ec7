"""The one tree of refusals: what went wrong, in words, with a code that never changes.

    DunlinError                     code, message
    ├── InvalidInput                a field breaks a rule; nothing was changed        (HTTP 422)
    │   └── CurrencyMismatch        two currencies in one sum
    ├── NotFound                    no such thing                                      (HTTP 404)
    ├── Merged                      a customer that went into another; says which      (HTTP 410)
    ├── Refused                     right input, wrong moment; says what is allowed    (HTTP 409)
    ├── Unavailable                 a part of the system is down; safe to repeat later    (HTTP 503)
    └── Broken                      an invariant does not hold: a bug, never an answer (HTTP 500)

The HTTP status is chosen at the edge (`api.errors`), never here.
"""

from __future__ import annotations


class DunlinError(Exception):
    """Base of all our errors. `code` is stable and machine-readable; `message` is for people."""

    code = "error"

    def __init__(self, message: str, *, code: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        if code is not None:
            self.code = code


class InvalidInput(DunlinError):
    """A value breaks a rule. `field` names it as the caller wrote it."""

    code = "invalid_input"

    def __init__(self, field: str, message: str, *, code: str | None = None) -> None:
        super().__init__(message, code=code)
        self.field = field


class CurrencyMismatch(InvalidInput):
    """Amounts of two currencies met where one was needed."""

    code = "currency_mismatch"


class NotFound(DunlinError):
    """There is no such thing, or not for this caller."""

    code = "not_found"


class Merged(DunlinError):
    """The customer was merged; `merged_into` is the one that goes on."""

    code = "merged"

    def __init__(self, customer_id: str, merged_into: str) -> None:
        super().__init__(f"{customer_id} was merged into {merged_into}; use that one.")
        self.merged_into = merged_into


class Forgotten(DunlinError):
    """The customer was made anonymous: nothing is written to them again."""

    code = "forgotten"

    def __init__(self) -> None:
        super().__init__("This customer was made anonymous at their own wish: nothing is written to them again.")


class Refused(DunlinError):
    """The input is right, the moment is not. `allowed` names the commands that would be accepted now."""

    code = "refused"

    def __init__(self, code: str, message: str, *, allowed: tuple[str, ...] = ()) -> None:
        super().__init__(message, code=code)
        self.allowed = allowed


class Unavailable(DunlinError):
    """A part of the system does not answer. The same request may be repeated, it will not be done twice."""

    code = "unavailable"


class Broken(DunlinError):
    """Something that must never be is: the code is wrong, not the caller."""

    code = "broken"
