"""What callers of the sandbox gateway may say, strictly: unknown fields and wrong types are refused by name."""

from __future__ import annotations

import base64
import binascii
from typing import Annotated, Any, ClassVar, Final, Literal

from pydantic import AfterValidator, AwareDatetime, BaseModel, ConfigDict, Discriminator, Field, Tag

from local.gateway.cards import OUTCOME_PATTERN, luhn

AMOUNT_MAX: Final = 1_000_000_000_000
SCRIPT_OUTCOMES_MAX: Final = 1_000
HANG_SECONDS_MAX: Final = 600.0
HANG_SECONDS: Final = 30.0
REFERENCES_MAX: Final = 1_000
PIECES_MAX: Final = 100
LATE_SECONDS_MAX: Final = 24 * 3600.0
EVENT_FIELDS_MAX: Final = 50
DISPUTE_FEE: Final = 1500


def _card_number(value: str) -> str:
    if not luhn(value):
        raise ValueError("the check digit is wrong")
    return value


def _printable(value: str) -> str:
    if not value.isprintable():
        raise ValueError("must be printable characters")
    return value


def _webhook_secret(value: str) -> str:
    try:
        secret = base64.b64decode(value.removeprefix("whsec_"), validate=True)
    except binascii.Error as error:
        raise ValueError("must be whsec_ and base64") from error
    if not SECRET_BYTES_MIN <= len(secret) <= SECRET_BYTES_MAX or not value.startswith("whsec_"):
        raise ValueError(f"must be whsec_ and base64 of {SECRET_BYTES_MIN} to {SECRET_BYTES_MAX} bytes")
    return value


# As the Standard Webhooks rules have it.
SECRET_BYTES_MIN: Final = 24
SECRET_BYTES_MAX: Final = 64
NAME_LENGTH_MAX: Final = 200
Name = Annotated[str, Field(min_length=1, max_length=NAME_LENGTH_MAX), AfterValidator(_printable)]
Amount = Annotated[int, Field(gt=0, le=AMOUNT_MAX)]
Currency = Annotated[str, Field(pattern=r"^[A-Z]{3}$")]
Outcome = Annotated[str, Field(pattern=OUTCOME_PATTERN)]
_FAIL: Final = "fail:[a-z][a-z_]{0,63}"
_TROUBLE: Final = "error_before|error_after|hang|hang_before|down"
Finish = Annotated[str, Field(pattern=rf"^(succeed|{_FAIL})$")]
RefundOutcome = Annotated[
    str, Field(pattern=rf"^(succeed|{_FAIL}|pending|pending:succeed|pending:{_FAIL}|{_TROUBLE})$")
]
VoidOutcome = Annotated[str, Field(pattern=rf"^(succeed|{_FAIL}|settles_first|{_TROUBLE})$")]
CaptureOutcome = Annotated[str, Field(pattern=rf"^(succeed|gone|{_TROUBLE})$")]
Moment = Annotated[AwareDatetime, Field(strict=False)]
HttpUrl = Annotated[str, Field(pattern=r"^https?://[^\s/]+(/\S*)?$", max_length=500)]
WebhookSecret = Annotated[str, AfterValidator(_webhook_secret)]


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


class RenewedCard(Strict):
    """What stands on the new card of the same account; without `last4` its number is the same."""

    exp_month: Annotated[int, Field(ge=1, le=12)]
    exp_year: Annotated[int, Field(ge=2000, le=2100)]
    last4: Annotated[str, Field(pattern=r"^[0-9]{4}$")] | None = None


class Outage(Strict):
    down: bool


class NewRefund(Strict):
    """`charge`: the gateway's id, or the merchant's reference of the sale. `token`: another method to give it to."""

    reference: Name
    charge: Name
    amount: Amount
    currency: Currency
    token: Name | None = None


class ReturnsScripts(Strict):
    """One outcome for each refund, void and capture of a sale, or of a token's sales; then `…_then`, or the usual."""

    refunds: Annotated[list[RefundOutcome], Field(max_length=SCRIPT_OUTCOMES_MAX)] = []
    refunds_then: RefundOutcome | None = None
    voids: Annotated[list[VoidOutcome], Field(max_length=SCRIPT_OUTCOMES_MAX)] = []
    voids_then: VoidOutcome | None = None
    captures: Annotated[list[CaptureOutcome], Field(max_length=SCRIPT_OUTCOMES_MAX)] = []
    captures_then: CaptureOutcome | None = None
    hang_seconds: Annotated[float, Field(ge=0, le=HANG_SECONDS_MAX)] = HANG_SECONDS


class RefundFinish(Strict):
    outcome: Finish


class Settle(Strict):
    """Which transactions a batch takes (all, unless `references` or `until` say less), and how it is reported."""

    references: Annotated[list[Name], Field(max_length=REFERENCES_MAX)] | None = None
    until: Moment | None = None
    pieces: Annotated[int, Field(ge=1, le=PIECES_MAX)] = 1
    late_seconds: Annotated[float, Field(ge=0, le=LATE_SECONDS_MAX)] = 0.0
    twice: bool = False


class Settling(Strict):
    """Seconds between automatic batches, null for none."""

    every_seconds: Annotated[float, Field(ge=0.05, le=LATE_SECONDS_MAX)] | None


class Change(Strict):
    """What to make wrong in the books."""

    amount: Amount | None = None
    state: Annotated[str, Field(pattern=r"^[a-z_]{1,20}$")] | None = None


class ForeignSale(Strict):
    """A sale that the merchant never asked for."""

    reference: Name
    amount: Amount
    currency: Currency
    token: Name
    state: Literal["authorised", "captured", "settled"] = "captured"


class NewDispute(Strict):
    """`charge`: id or reference of the sale; all of it, unless `amount` says less. `fee` leaves when it is lost."""

    charge: Name
    amount: Amount | None = None
    reason: Name = "fraudulent"
    fee: Annotated[int, Field(ge=0, le=AMOUNT_MAX)] = DISPUTE_FEE
    evidence_due_at: Moment | None = None


class NewEvent(Strict):
    """Any event, signed and sent like the gateway's own; it changes nothing in the books."""

    type: Annotated[str, Field(pattern=r"^[a-z_]+(\.[a-z_]+)+$", max_length=100)]
    data: Annotated[dict[str, Any], Field(max_length=EVENT_FIELDS_MAX)]


class WebhookTarget(Strict):
    """Where events go and how. A `url` or `secret` that is left out stays; the rest goes back to the usual."""

    url: HttpUrl | None = None
    secret: WebhookSecret | None = None
    twice: bool = False
    hold: bool = False
    bad_signature: bool = False


class Release(Strict):
    """Held events in this order; without it in the order in which they happened."""

    events: Annotated[list[Name], Field(max_length=REFERENCES_MAX)] | None = None


class Delivery(Strict):
    """`age_seconds` dates the signature back."""

    bad_signature: bool = False
    age_seconds: Annotated[float, Field(ge=0, le=LATE_SECONDS_MAX)] = 0.0
