"""Which token does what: test cards, test accounts, ready-made tokens, and the outcomes they lead to.

An outcome is a word:

    approve                 the charge is carried out
    soft:CODE  hard:CODE    declined with that code
    action                  the customer must confirm first (3-D Secure)
    error_before            status 500, nothing was carried out
    error_after             carried out, then status 500
    hang                    carried out, then no answer for `hang_seconds`
    hang_before             no answer for `hang_seconds`, then 500; nothing was carried out
    down                    status 503, nothing was carried out
"""

from __future__ import annotations

import hashlib
import secrets
from dataclasses import dataclass
from functools import lru_cache
from types import MappingProxyType
from typing import Final

SOFT_CODES: Final = (
    "insufficient_funds",
    "do_not_honor",
    "issuer_unavailable",
    "processing_error",
    "try_again_later",
    "velocity",
    "withdrawal_limit",
    "authentication_failed",
)
HARD_CODES: Final = (
    "stolen_card",
    "lost_card",
    "pickup_card",
    "expired_card",
    "invalid_number",
    "account_closed",
    "fraud",
    "no_such_token",
    "revoked",
)
OUTCOME_PATTERN: Final = (
    r"^(approve|action|error_before|error_after|hang|hang_before|down|(soft|hard):[a-z][a-z_]{0,63})$"
)

TEST_CARDS: Final = MappingProxyType(
    {
        "4242424242424242": "approve",
        "5555555555554444": "approve",
        "378282246310005": "approve",
        "4000000000001018": "soft:insufficient_funds",
        "4000000000001026": "soft:do_not_honor",
        "4000000000001034": "soft:issuer_unavailable",
        "4000000000001042": "soft:processing_error",
        "4000000000001059": "soft:try_again_later",
        "4000000000001067": "soft:velocity",
        "4000000000001075": "soft:withdrawal_limit",
        "4000000000001083": "soft:authentication_failed",
        "4000000000002016": "hard:stolen_card",
        "4000000000002024": "hard:lost_card",
        "4000000000002032": "hard:pickup_card",
        "4000000000002040": "hard:expired_card",
        "4000000000002057": "hard:invalid_number",
        "4000000000002065": "hard:account_closed",
        "4000000000002073": "hard:fraud",
        "4000000000002081": "hard:revoked",
        "4000000000003006": "action",
        "4000000000003014": "error_after",
        "4000000000003022": "error_before",
    }
)
"""Card number → outcome. Any other number that passes the Luhn check is approved."""

TEST_ACCOUNTS: Final = MappingProxyType(
    {
        "000123456789": "approve",
        "000111111116": "soft:insufficient_funds",
        "000111111113": "hard:account_closed",
    }
)
"""Bank account number → outcome. Any other account is approved."""

_MESSAGES: Final = MappingProxyType(
    {
        "insufficient_funds": "The account does not hold enough money.",
        "do_not_honor": "The issuer refused without a reason.",
        "issuer_unavailable": "The issuer cannot be reached.",
        "stolen_card": "The card is reported stolen.",
        "lost_card": "The card is reported lost.",
        "expired_card": "The card has expired.",
        "account_closed": "The account is closed.",
        "no_such_token": "No such token is known here.",
        "authentication_failed": "The customer did not confirm the payment.",
    }
)


@dataclass(frozen=True, slots=True)
class Token:
    """What the vault keeps of a card or account, and what charging it leads to."""

    token: str
    kind: str
    brand: str
    last4: str
    exp_month: int | None
    exp_year: int | None
    fingerprint: str
    outcome: str


_BRANDS: Final = MappingProxyType(
    {
        "ok_visa": ("card", "visa", "4242"),
        "ok_mastercard": ("card", "mastercard", "4444"),
        "ok_amex": ("card", "amex", "0005"),
        "ok_bank": ("bank", "bank", "6789"),
    }
)
PROFILES: Final = MappingProxyType(
    dict.fromkeys(_BRANDS, "approve")
    | {f"soft_{code}": f"soft:{code}" for code in SOFT_CODES}
    | {f"hard_{code}": f"hard:{code}" for code in HARD_CODES}
    | {
        "hard_stolen": "hard:stolen_card",
        "hard_lost": "hard:lost_card",
        "hard_expired": "hard:expired_card",
        "action": "action",
        "unknown_outcome": "error_after",
        "error_before": "error_before",
        "error_after": "error_after",
        "hang": "hang",
        "hang_before": "hang_before",
        "down": "down",
        "refund_fails": "approve",
        "refund_closed": "approve",
    }
)
"""Ready-made tokens: `tok_<profile>` and `tok_<profile>_<anything>` need no tokenising."""

_REFUND_FAILURES: Final = MappingProxyType({"refund_fails": "refund_declined", "refund_closed": "account_closed"})

# The longest name first, so that `tok_hard_stolen_card_7` is not `hard_stolen` with a tail.
_LONGEST_FIRST: Final = tuple(sorted(PROFILES, key=len, reverse=True))
_READY_EXPIRY: Final = (12, 2049)


def refund_failure(token: str) -> str | None:
    """The code with which every refund to this ready-made token fails, None: it does not."""
    profile = _profile(token)
    return _REFUND_FAILURES.get(profile) if profile else None


@lru_cache(maxsize=20_000)
def ready_made(token: str) -> Token | None:
    """The ready-made token of that name; None where the name follows no profile."""
    profile = _profile(token)
    if profile is None:
        return None
    kind, brand, last4 = _BRANDS.get(profile, ("card", "visa", "4000"))
    month, year = _READY_EXPIRY if kind == "card" else (None, None)
    return Token(token, kind, brand, last4, month, year, fingerprint(token), PROFILES[profile])


def tokenize_card(number: str, exp_month: int, exp_year: int) -> Token:
    """A new token for a card number that passed `luhn`; the number itself is not kept."""
    outcome = TEST_CARDS.get(number, "approve")
    return Token(_new_token(), "card", _brand(number), number[-4:], exp_month, exp_year, fingerprint(number), outcome)


def tokenize_account(account: str) -> Token:
    """A new token for a bank account."""
    outcome = TEST_ACCOUNTS.get(account, "approve")
    return Token(_new_token(), "bank", "bank", account[-4:], None, None, fingerprint(account), outcome)


def luhn(number: str) -> bool:
    """Whether the check digit of a card number is right (ISO/IEC 7812-1)."""
    doubled = (sum(divmod(2 * int(digit), 10)) for digit in number[-2::-2])
    return (sum(map(int, number[-1::-2])) + sum(doubled)) % 10 == 0


def fingerprint(secret: str) -> str:
    """The same for the same card or account, whatever its token."""
    return hashlib.sha256(f"sandbox:{secret}".encode()).hexdigest()[:24]


def message(code: str) -> str:
    """A decline code in words."""
    return _MESSAGES.get(code, f"Declined: {code.replace('_', ' ')}.")


def _profile(token: str) -> str | None:
    name = token.removeprefix("tok_")
    if name == token:
        return None
    return next((profile for profile in _LONGEST_FIRST if name == profile or name.startswith(f"{profile}_")), None)


def _new_token() -> str:
    return f"tok_{secrets.token_hex(12)}"


def _brand(number: str) -> str:
    match number[:2]:
        case "34" | "37":
            return "amex"
        case "51" | "52" | "53" | "54" | "55" | "22" | "23" | "24" | "25" | "26" | "27":
            return "mastercard"
        case two if two.startswith("4"):
            return "visa"
        case _:
            return "card"
