"""How percents travel: as text with a point, `12.5`, for a fraction is no number that JSON can hold exactly."""

from __future__ import annotations

from typing import Annotated, Final

from pydantic import Field, StringConstraints

from domain.discounts import WHOLE, percent
from domain.errors import InvalidInput

_DIGITS: Final = 3
_SCALE: Final = 10**_DIGITS

Percent = Annotated[
    str,
    StringConstraints(pattern=r"^[0-9]{1,3}(\.[0-9]{1,3})?$"),
    Field(description="Percent as text, with at most three digits after the point, such as `19` or `8.875`"),
]


def rate_of(text: str, field: str = "percent") -> int:
    """Thousandths of a percent. Raises `InvalidInput` above 100."""
    whole, _, rest = text.partition(".")
    rate = int(whole) * _SCALE + int(rest.ljust(_DIGITS, "0"))
    if rate > WHOLE:
        raise InvalidInput(field, "is 0 to 100")
    return rate


def percent_of(rate: int) -> str:
    """`8.875` of 8875."""
    return percent(rate).removesuffix(" %")
