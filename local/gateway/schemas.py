"""What callers of the sandbox gateway may say, strictly: unknown fields and wrong types are refused by name."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Final, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Discriminator, Field, Tag

from local.gateway.cards import OUTCOME_PATTERN, luhn

AMOUNT_MAX: Final = 1_000_000_000_000
SCRIPT_OUTCOMES_MAX: Final = 1_000
HANG_SECONDS_MAX: Final = 600.0
HANG_SECONDS: Final = 30.0


def _card_number(value: str) -> str:
    if not luhn(value):
        raise ValueError("the check digit is wrong")
    return value


def _printable(value: str) -> str:
    if not value.isprintable():
        raise ValueError("must be printable characters")
    return value


NAME_LENGTH_MAX: Final = 200
Name = Annotated[str, Field(min_length=1, max_length=NAME_LENGTH_MAX), AfterValidator(_printable)]
Amount = Annotated[int, Field(gt=0, le=AMOUNT_MAX)]
Currency = Annotated[str, Field(pattern=r"^[A-Z]{3}$")]
Outcome = Annotated[str, Field(pattern=OUTCOME_PATTERN)]


class Strict(BaseModel):
    model_config: ClassVar[ConfigDict] = ConfigDict(strict=True, extra="forbid", frozen=True)


class NewCard(Strict):
    number: Annotated[str, Field(pattern=r"^[0-9]{12,19}$"), AfterValidator(_card_number)]
    exp_month: Annotated[int, Field(ge=1, le=12)]
    exp_year: Annotated[int, Field(ge=2000, le=2100)]
    cvc: Annotated[str, Field(pattern=r"^[0-9]{3,4}$")] | None = None
    name: Name | None = None


class NewAccount(Strict):
    account: Annotated[str, Field(pattern=r"^[A-Z0-9]{4,34}$")]
    name: Name | None = None


METHOD_TAGS: Final = ("a card", "an account")


def _method_tag(value: Any) -> str:
    # By the one field only an account has, so that an error speaks of what was meant.
    return METHOD_TAGS["account" in value] if isinstance(value, dict) else METHOD_TAGS[0]


NewMethod = Annotated[
    Annotated[NewCard, Tag("a card")] | Annotated[NewAccount, Tag("an account")], Discriminator(_method_tag)
]


class NewCharge(Strict):
    """Amounts are whole minor units of `currency`. `capture` false only authorises."""

    reference: Name
    token: Name
    amount: Amount
    currency: Currency
    description: Annotated[str, Field(max_length=500)] = ""
    capture: bool = True


class NewCapture(Strict):
    """All of it, unless `amount` says less. `reference` is the merchant's own name for the capture."""

    reference: Name | None = None
    amount: Amount | None = None


class Completion(Strict):
    outcome: Literal["approve", "decline"]


class TokenScript(Strict):
    """One outcome for each new charge of the token, then `then`, or without it the token's own ways."""

    outcomes: Annotated[list[Outcome], Field(max_length=SCRIPT_OUTCOMES_MAX)]
    then: Outcome | None = None
    hang_seconds: Annotated[float, Field(ge=0, le=HANG_SECONDS_MAX)] = HANG_SECONDS


class Outage(Strict):
    down: bool
