"""What a value may look like on its way in, and how it looks on its way out. Strict: nothing is guessed or cut."""

from __future__ import annotations

import re
import unicodedata
from contextlib import suppress
from datetime import UTC, datetime
from typing import Annotated, Any, Final

from babel import Locale, UnknownLocaleError
from email_validator import EmailNotValidError, validate_email
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, PlainSerializer, StringConstraints

from domain.calendar import zone_of
from domain.errors import InvalidInput
from domain.money import MINOR_MAX, is_currency
from domain.terms import QUANTITY_MAX
from models.written import phone_written

INSTANT_YEAR_MIN: Final = 1970
INSTANT_YEAR_MAX: Final = 2199  # a timer longer than 292 years does not fit Temporal's nanoseconds

_RFC3339: Final = re.compile(r"\d{4}-\d{2}-\d{2}[Tt]\d{2}:\d{2}:\d{2}(\.\d{1,6})?([Zz]|[+-]\d{2}:\d{2})", re.ASCII)
_LANGUAGE: Final = re.compile(r"[a-z]{2,3}(-[A-Za-z0-9]{2,8}){0,3}", re.ASCII)
_TERRITORIES: Final = [str(code) for code in Locale("en").territories]
_COUNTRIES: Final = frozenset(code for code in _TERRITORIES if re.fullmatch("[A-Z]{2}", code))
_NOT_COUNTRIES: Final = frozenset({"EU", "EZ", "UN", "XA", "XB", "ZZ", "QO"})  # Unicode's own, no country's


class Body(BaseModel):
    """A body as sent: unknown fields and wrong types are refused, "5", 5.0 and true are not 5."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class View(BaseModel):
    """Something shown, read from a row or a value."""

    model_config = ConfigDict(from_attributes=True, frozen=True)


class Query(BaseModel):
    """Query parameters: text by nature, so types are read from it; unknown names are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)


def _no_control(text: str) -> str:
    if any(unicodedata.category(character) in {"Cc", "Cs", "Zl", "Zp"} for character in text):
        raise ValueError("must be one line without control characters")
    return text


def _instant(value: Any) -> datetime:
    """RFC 3339 with offset, as whole seconds in UTC."""
    if isinstance(value, datetime) and value.tzinfo is not None:
        return value
    if not isinstance(value, str) or not _RFC3339.fullmatch(value):
        raise ValueError("must be an RFC 3339 time with offset, such as 2026-01-31T09:00:00Z")
    try:
        moment = datetime.fromisoformat(value.upper()).astimezone(UTC).replace(microsecond=0)
    except (ValueError, OverflowError):
        raise ValueError("there is no such date or time") from None
    if not INSTANT_YEAR_MIN <= moment.year <= INSTANT_YEAR_MAX:
        raise ValueError(f"must lie in the years {INSTANT_YEAR_MIN} to {INSTANT_YEAR_MAX}")
    return moment


def _email(value: str) -> str:
    try:
        return validate_email(value, check_deliverability=False, test_environment=True).normalized
    except EmailNotValidError as error:
        raise ValueError(str(error)) from None


def _phone(value: str) -> str:
    try:
        return phone_written(value)
    except InvalidInput as error:
        raise ValueError(error.message) from None


def _zone(value: str) -> str:
    try:
        zone_of(value)
    except InvalidInput as error:
        raise ValueError(error.message) from None
    return value


def _currency(value: str) -> str:
    if not is_currency(value):
        raise ValueError("must be an active ISO 4217 code, such as EUR")
    return value


def _language(value: str) -> str:
    with suppress(ValueError, UnknownLocaleError):
        if _LANGUAGE.fullmatch(value) and Locale.parse(value, sep="-"):
            return value
    raise ValueError("must be a language tag, such as en or pt-BR")


def country_code(value: str) -> str:
    if value not in _COUNTRIES or value in _NOT_COUNTRIES:
        raise ValueError("must be an ISO 3166-1 code of two letters, such as DE")
    return value


def _rfc3339(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat().replace("+00:00", "Z")


Instant = Annotated[
    datetime,
    BeforeValidator(_instant),
    PlainSerializer(_rfc3339, return_type=str),
    Field(json_schema_extra={"format": "date-time", "examples": ["2026-01-31T09:00:00Z"]}),
]
Line = Annotated[str, StringConstraints(max_length=200), AfterValidator(_no_control)]
Name = Annotated[str, StringConstraints(min_length=1, max_length=200, pattern=r"\S"), AfterValidator(_no_control)]
Reason = Annotated[str, StringConstraints(max_length=500), AfterValidator(_no_control)]
Paragraph = Annotated[str, StringConstraints(max_length=2000), AfterValidator(_no_control)]
Code = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")]
Identifier = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_-]{1,64}$")]
ExternalId = Annotated[str, StringConstraints(min_length=1, max_length=128, pattern=r"^[!-~]+$")]
Token = Annotated[str, StringConstraints(min_length=1, max_length=255, pattern=r"^[!-~]+$")]
Email = Annotated[
    str, StringConstraints(max_length=254), AfterValidator(_email), Field(json_schema_extra={"format": "email"})
]
Phone = Annotated[
    str,
    StringConstraints(max_length=32, pattern=r"^(\+?[0-9][0-9 ().\-/]*)?$"),
    AfterValidator(_phone),
    Field(description="With the country code, in any writing; kept as `+` and digits (E.164). Empty for none"),
]
Zone = Annotated[str, StringConstraints(max_length=64), AfterValidator(_zone)]
Currency = Annotated[str, StringConstraints(pattern=r"^[A-Z]{3}$"), AfterValidator(_currency)]
Language = Annotated[str, StringConstraints(max_length=35), AfterValidator(_language)]
Country = Annotated[str, StringConstraints(pattern=r"^[A-Z]{2}$"), AfterValidator(country_code)]
Minor = Annotated[int, Field(ge=0, le=MINOR_MAX, description="Minor units of `currency`, such as cents")]
Quantity = Annotated[int, Field(ge=1, le=QUANTITY_MAX)]
NoticeDays = Annotated[int, Field(ge=0, le=60, description="Days before a renewal; 0 is off")]
