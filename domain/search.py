"""What somebody typed into the search box may mean, and which misspelt word is near enough to the right one."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from domain.errors import InvalidInput

QUERY_LENGTH_MIN: Final = 2
QUERY_LENGTH_MAX: Final = 200
WORDS_MAX: Final = 6  # of a query; more are not looked at
PHONE_DIGITS_MIN: Final = 6
SIMILAR_LENGTH_MIN: Final = 3  # in two letters there is no telling an error from another word
SIMILAR_MAX: Final = 12
LONG_WORD: Final = 6  # from this length on two errors are forgiven, below only one

_LAST4: Final = re.compile(r"[0-9]{4}", re.ASCII)
_PHONE: Final = re.compile(r"\+?[0-9 ()./-]+", re.ASCII)


@dataclass(frozen=True, slots=True)
class Asked:
    """A query as the exact indexes need it. `phone` is backwards, without zeros in front; None: it cannot be one."""

    text: str
    last4: str | None
    phone: str | None


def asked(query: str) -> Asked:
    """Raises `InvalidInput` for a query too short or too long to be looked for."""
    text = " ".join(query.split())
    if not QUERY_LENGTH_MIN <= len(text) <= QUERY_LENGTH_MAX:
        raise InvalidInput("q", f"is {QUERY_LENGTH_MIN} to {QUERY_LENGTH_MAX} characters")
    return Asked(text, text if _LAST4.fullmatch(text) else None, _phone(text))


def _phone(text: str) -> str | None:
    if not _PHONE.fullmatch(text):
        return None
    digits = re.sub(r"[^0-9]", "", text.replace("(0)", "")).lstrip("0")
    return digits[::-1] if len(digits) >= PHONE_DIGITS_MIN else None


def near(word: str, candidates: Iterable[str]) -> list[str]:
    """Those that differ from the word by few typing errors, nearest first; at most `SIMILAR_MAX`.

    A swap of two neighbours is one error, like a letter too many, too few or wrong.
    """
    if len(word) < SIMILAR_LENGTH_MIN:
        return []
    errors_max = 2 if len(word) >= LONG_WORD else 1
    found = sorted(
        (errors, each) for each in set(candidates) if (errors := distance(word, each, errors_max)) is not None
    )
    return [each for _, each in found[:SIMILAR_MAX]]


def swaps(word: str) -> list[str]:
    """The word with each pair of neighbours swapped: in a short word this error leaves nothing alike to look by."""
    if len(word) < SIMILAR_LENGTH_MIN:
        return []
    return [word[:at] + word[at + 1] + word[at] + word[at + 2 :] for at in range(len(word) - 1)]


def distance(one: str, other: str, errors_max: int) -> int | None:
    """Typing errors between two words (optimal string alignment); None where there are more than `errors_max`."""
    if abs(len(one) - len(other)) > errors_max:
        return None
    before, row = list[int](), list(range(len(other) + 1))
    for i, letter in enumerate(one, 1):
        before_that, before, row = before, row, [i]
        for j, its in enumerate(other, 1):
            cost = min(before[j] + 1, row[j - 1] + 1, before[j - 1] + (letter != its))
            if i > 1 and j > 1 and letter == other[j - 2] and one[i - 2] == its:
                cost = min(cost, before_that[j - 2] + 1)
            row.append(cost)
        if min(row) > errors_max and min(before) > errors_max:
            return None
    return row[-1] if row[-1] <= errors_max else None
