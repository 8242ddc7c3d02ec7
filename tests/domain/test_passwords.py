"""Which passwords are taken."""

from __future__ import annotations

import pytest

from domain.errors import InvalidInput
from domain.passwords import COMMONEST, PASSWORD_LENGTH_MAX, PASSWORD_LENGTH_MIN, accept_password

LOGIN = "ann.archer.smith@shop.example"


def refused(password: str) -> str:
    with pytest.raises(InvalidInput) as stopped:
        accept_password(password, login=LOGIN, names=("Ann Archer of Shop",), field="new")
    assert stopped.value.field == "new"
    assert password not in stopped.value.message
    return stopped.value.code


def test_a_long_one_is_taken_whatever_it_is_made_of() -> None:
    for password in ("quiet river 47", "älteste Brücke", "雨にも負けず風にも負けず雪", "x" * 195 + "abcde"):
        assert accept_password(password, login=LOGIN) == password


def test_the_same_word_typed_on_two_keyboards_is_the_same() -> None:
    assert accept_password("a\u0308lteste Brücke", login=LOGIN) == accept_password("älteste Brücke", login=LOGIN)


@pytest.mark.parametrize("length", [4, PASSWORD_LENGTH_MIN - 1, PASSWORD_LENGTH_MAX + 1])
def test_the_length_has_two_ends(length: int) -> None:
    assert refused(("abcdefgh17" * 21)[:length]) == "password_length"


@pytest.mark.parametrize("known", [LOGIN, LOGIN.upper(), "ann.archer.smith", "ann archer of SHOP"])
def test_what_everybody_knows_is_no_password(known: str) -> None:
    assert refused(known) == "password_is_login"


@pytest.mark.parametrize("common", ["Password1234", "qwertyuiop12", "aaaaaaaaaaaa", "abababababab", "111122223333"])
def test_what_everybody_tries_is_no_password(common: str) -> None:
    assert refused(common) == "password_common"


def test_the_list_holds_only_what_the_length_would_let_through() -> None:
    assert all(len(each) >= PASSWORD_LENGTH_MIN and each == each.casefold() for each in COMMONEST)
