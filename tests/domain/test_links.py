"""Links: what is signed, what a change of any part of it does, and when one works no more."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.errors import Refused
from domain.ids import derive
from domain.links import LIFE, TOKEN_LENGTH, Link, LinkKind, LinkMaker, Standing, link_id_of, new_link, standing

NOW = datetime(2027, 3, 1, 12, 30, 15, 999, tzinfo=UTC)
MAKER = LinkMaker(bytes(range(32)), "https://pay.example.com")
LINK = new_link(derive("lnk", "one"), LinkKind.PAY_INVOICE, "in_1", NOW)


def test_a_token_is_short_names_its_link_and_says_nothing_else() -> None:
    token = MAKER.token(LINK)
    assert (len(token), token.isascii()) == (TOKEN_LENGTH, True) == (40, True)
    assert link_id_of(token) == LINK.id
    assert MAKER.url(LINK) == f"https://pay.example.com/link/{token}"
    assert MAKER.is_of(token, LINK)
    assert MAKER.token(LINK) == token, "made again it is the same"


@pytest.mark.parametrize(
    "other",
    [
        replace(LINK, kind=LinkKind.UPDATE_CARD),
        replace(LINK, subject_id="in_2"),
        replace(LINK, expires_at=LINK.expires_at + timedelta(seconds=1)),
        replace(LINK, id=derive("lnk", "two")),
    ],
)
def test_a_token_is_of_no_other_link(other: Link) -> None:
    assert not MAKER.is_of(MAKER.token(LINK), other)


def test_another_installation_makes_other_tokens_and_none_without_a_key() -> None:
    assert not LinkMaker(bytes(32), MAKER.address).is_of(MAKER.token(LINK), LINK)
    with pytest.raises(Refused, match="DUNLIN_SECRET_KEY"):
        LinkMaker().token(LINK)


@given(st.integers(0, 39), st.sampled_from("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"))
def test_one_other_letter_anywhere_is_another_token(place: int, letter: str) -> None:
    token = MAKER.token(LINK)
    changed = token[:place] + letter + token[place + 1 :]
    assert MAKER.is_of(changed, LINK) == (changed == token)
    if place >= 20:
        assert link_id_of(changed) == LINK.id, "what is wrong is the code"


@given(st.text(max_size=60))
def test_whatever_stands_there_is_read_as_an_id_or_as_nothing(text: str) -> None:
    found = link_id_of(text)
    assert found is None or (len(found), found[:4]) == (28, "lnk_")


def test_it_works_until_the_instant_of_its_end() -> None:
    assert LINK.expires_at == NOW.replace(microsecond=0) + LIFE[LinkKind.PAY_INVOICE]
    just_before = LINK.expires_at - timedelta(seconds=1)
    assert standing(LINK, just_before, used_at=None, revoked_at=None) is Standing.OPEN
    assert standing(LINK, just_before, used_at=NOW, revoked_at=None) is Standing.USED
    assert standing(LINK, LINK.expires_at, used_at=NOW, revoked_at=None) is Standing.EXPIRED
    assert standing(LINK, LINK.expires_at, used_at=NOW, revoked_at=NOW) is Standing.REVOKED
