"""Which declines are worth trying again: soft ones pass with time, hard ones need another card.

The table is per gateway, because the same word means different things in different houses. A code nobody has
classified yet is SOFT: trying once more costs little, giving up on a good customer costs the customer.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType
from typing import Final


class DeclineKind(StrEnum):
    """Whether the same card may be tried again later."""

    SOFT = "soft"
    HARD = "hard"


_SANDBOX: Final[Mapping[str, DeclineKind]] = MappingProxyType(
    {
        # The card is good, the moment is not.
        "insufficient_funds": DeclineKind.SOFT,
        "do_not_honor": DeclineKind.SOFT,
        "issuer_unavailable": DeclineKind.SOFT,
        "processing_error": DeclineKind.SOFT,
        "try_again_later": DeclineKind.SOFT,
        "velocity": DeclineKind.SOFT,
        "withdrawal_limit": DeclineKind.SOFT,
        # The customer did not, or would not, confirm: asking again may go another way.
        "authentication_failed": DeclineKind.SOFT,
        # Nothing that time does makes this card good again.
        "stolen_card": DeclineKind.HARD,
        "lost_card": DeclineKind.HARD,
        "pickup_card": DeclineKind.HARD,
        "expired_card": DeclineKind.HARD,
        "invalid_number": DeclineKind.HARD,
        "account_closed": DeclineKind.HARD,
        "fraud": DeclineKind.HARD,
        "no_such_token": DeclineKind.HARD,
        "revoked": DeclineKind.HARD,
    }
)

DECLINES: Final[Mapping[str, Mapping[str, DeclineKind]]] = MappingProxyType({"sandbox": _SANDBOX})
"""Gateway name → its decline code → kind. Documented for merchants in `docs/policies.md` (`decline_map`)."""


_REFUSED: Final = "The bank does not allow payments with this card."
# Code → what a customer is told. Of a card that is said to be stolen nobody is told more than that it is refused.
_WORDS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "insufficient_funds": "There is not enough money on the account.",
        "do_not_honor": "The bank refused the payment without saying why.",
        "issuer_unavailable": "The bank could not be reached.",
        "processing_error": "The payment could not be processed.",
        "try_again_later": "The bank asks to try again later.",
        "velocity": "The card was used too often within a short time.",
        "withdrawal_limit": "The limit of the card is reached.",
        "authentication_failed": "The payment was not confirmed.",
        "authentication_expired": "The payment was not confirmed in time.",
        "authorisation_gone": "The amount that was reserved is not reserved any more.",
        "stolen_card": _REFUSED,
        "lost_card": _REFUSED,
        "pickup_card": _REFUSED,
        "fraud": _REFUSED,
        "revoked": _REFUSED,
        "expired_card": "The card has expired.",
        "invalid_number": "The number of the card is not valid.",
        "account_closed": "The account is closed.",
        "no_such_token": "The card is no longer known to the payment company.",
    }
)


def in_words(code: str | None) -> str:
    """A decline in words for the customer, whatever the gateway calls it."""
    return _WORDS.get(code or "", "The bank did not accept the payment.")


def decline_kind(gateway: str, code: str) -> DeclineKind:
    """Classify a gateway's decline code; unknown codes and unknown gateways are SOFT."""
    return DECLINES.get(gateway, {}).get(code, DeclineKind.SOFT)
