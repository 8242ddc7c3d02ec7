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


def decline_kind(gateway: str, code: str) -> DeclineKind:
    """Classify a gateway's decline code; unknown codes and unknown gateways are SOFT."""
    return DECLINES.get(gateway, {}).get(code, DeclineKind.SOFT)
