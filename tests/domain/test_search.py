"""Which words are near enough, and what a query may be besides words."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.errors import InvalidInput
from domain.search import SIMILAR_MAX, asked, distance, near, swaps

WORDS = st.text("abcde", min_size=3, max_size=9)


@pytest.mark.parametrize(
    ("one", "other", "errors"),
    [
        ("smith", "smith", 0),
        ("smith", "smiht", 1),
        ("smith", "smth", 1),
        ("smith", "smithe", 1),
        ("smith", "smyth", 1),
        ("smith", "symth", 2),
        ("smith", "jones", None),
        ("ab", "abcde", None),
    ],
)
def test_typing_errors_are_counted(one: str, other: str, errors: int | None) -> None:
    assert distance(one, other, 2) == errors


def naive(one: str, other: str) -> int:
    """The definition itself, by recursion."""
    if not one or not other:
        return len(one) + len(other)
    best = min(naive(one[1:], other) + 1, naive(one, other[1:]) + 1, naive(one[1:], other[1:]) + (one[0] != other[0]))
    if len(one) > 1 and len(other) > 1 and one[0] == other[1] and one[1] == other[0]:
        best = min(best, naive(one[2:], other[2:]) + 1)
    return best


@given(st.text("abc", max_size=5), st.text("abc", max_size=5), st.integers(0, 5))
def test_the_count_is_the_one_of_the_definition(one: str, other: str, most: int) -> None:
    errors = naive(one, other)
    assert distance(one, other, most) == (errors if errors <= most else None)


@given(WORDS, st.data())
def test_one_error_in_a_word_is_always_forgiven(word: str, data: st.DataObject) -> None:
    at = data.draw(st.integers(0, len(word) - 1))
    letter = data.draw(st.sampled_from("xyz"))
    kinds = [word[:at] + word[at + 1 :], word[:at] + letter + word[at:], word[:at] + letter + word[at + 1 :]]
    wrong = data.draw(st.sampled_from(kinds))
    if len(wrong) >= 3:
        assert near(wrong, [word, "zzzzzzzzzzzz"]) == [word]


@given(WORDS)
def test_a_swap_is_undone_by_a_swap(word: str) -> None:
    assert len(swaps(word)) == len(word) - 1
    assert all(word in swaps(swapped) for swapped in swaps(word))


def test_of_very_short_words_nothing_is_near() -> None:
    assert near("ab", ["ac", "abc"]) == []
    assert swaps("ab") == []
    assert len(near("aaaaaa", [f"aaaaa{letter}" for letter in "bcdefghijklmnopqrst"])) == SIMILAR_MAX


@pytest.mark.parametrize(
    ("typed", "phone"),
    [
        ("+49 (0)30 901820", "0281090394"),
        ("0049 30/901820", "0281090394"),
        ("030-90.18.20", "02810903"),
        ("12345", None),
        ("00000000", None),
        ("30 901820 x", None),
        ("\u0663456789", None),
    ],
)
def test_a_phone_number_is_known_however_it_is_written(typed: str, phone: str | None) -> None:
    assert asked(typed).phone == phone


@pytest.mark.parametrize("typed", ["", " x ", "y" * 201])
def test_too_little_or_too_much_is_refused(typed: str) -> None:
    with pytest.raises(InvalidInput, match="2 to 200"):
        asked(typed)
