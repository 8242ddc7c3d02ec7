"""What the blacklist takes for the same email, phone number, card and address, and what not."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.blacklist import Mark, MarkKind, Place, address_mark, email_mark, fingerprint_mark, marks, phone_mark
from domain.errors import InvalidInput


@pytest.mark.parametrize(
    ("written", "form"),
    [
        (" Jo.Doe+shop@GMail.com ", "jodoe@gmail.com"),
        ("jodoe@googlemail.com", "jodoe@gmail.com"),
        ("jo.doe+shop@outlook.com", "jo.doe@outlook.com"),  # dots count there
        ("jo.doe+shop@example.com", "jo.doe+shop@example.com"),  # who knows what that server does
        ("Jörg@Example.com", "jörg@example.com"),
        ("+@gmail.com", "+@gmail.com"),
        ('"a@b"@example.com', '"a@b"@example.com'),
    ],
)
def test_an_email_in_its_one_form(written: str, form: str) -> None:
    assert email_mark(written) == Mark(MarkKind.EMAIL, form)


@pytest.mark.parametrize("wrong", ["", "@", "a@", "@b", "no at", "a b@example.com"])
def test_no_email(wrong: str) -> None:
    with pytest.raises(InvalidInput):
        email_mark(wrong)


@pytest.mark.parametrize(
    "written", ["+49 30 901820", "0049 30 901820", "+49 (0)30/90 18-20", "+49.30.901820", "0049 (0)30 901820"]
)
def test_a_phone_number_in_its_one_form(written: str) -> None:
    assert phone_mark(written) == Mark(MarkKind.PHONE, "+4930901820")


@pytest.mark.parametrize(
    "wrong", ["", "030 901820", "+49", "+0 30 901820", "00 00 901820", "+123456789012345678", "+4 x"]
)
def test_a_number_without_country_is_nobody_s(wrong: str) -> None:
    with pytest.raises(InvalidInput):
        phone_mark(wrong)


def place(line1: str = "5 High Street", **other: str) -> Place:
    given: dict[str, Any] = {"line2": "Flat 2", "postal_code": "E1 6AN", "city": "London", "country": "GB"} | other
    return Place(line1, **given)


@pytest.mark.parametrize(
    "same",
    [
        place("5, HIGH  STREET"),
        place("5 High Street, Flat 2", line2=""),
        place("5 High-Street"),
        place(postal_code="e1-6an"),
        place(city="Tower Hamlets"),
        place("5 Hïgh Street"),
        place(country="gb"),
    ],
)
def test_the_same_address_however_it_is_written(same: Place) -> None:
    assert address_mark(same) == address_mark(place()) == Mark(MarkKind.ADDRESS, "5 high street flat 2|e1 6an|gb")


@pytest.mark.parametrize(
    "other",
    [place("55 High Street"), place(line2="Flat 3"), place(postal_code="E1 6AP"), place(country="IE"), place(line2="")],
)
def test_a_neighbour_is_somebody_else(other: Place) -> None:
    assert address_mark(other) != address_mark(place())


def test_the_city_counts_where_there_is_no_postal_code() -> None:
    dublin, cork = place(postal_code="", city="Dublin"), place(postal_code="", city="Cork")
    assert address_mark(dublin) == Mark(MarkKind.ADDRESS, "5 high street flat 2|dublin|gb")
    assert address_mark(dublin) != address_mark(cork)


@pytest.mark.parametrize("wrong", [place("", line2="."), place(postal_code="", city=" ")])
def test_too_little_of_an_address(wrong: Place) -> None:
    with pytest.raises(InvalidInput) as refused:
        address_mark(wrong)
    assert refused.value.field == "address"


def test_a_fingerprint_as_it_is() -> None:
    assert fingerprint_mark(" fp_Ab1 ") == Mark(MarkKind.FINGERPRINT, "fp_Ab1")
    with pytest.raises(InvalidInput):
        fingerprint_mark(" ")


def test_what_cannot_be_compared_is_left_out() -> None:
    found = marks(email="a@b.c", phone="030 901820", fingerprints=["", "fp"], places=[place(""), place("", line2="")])
    assert found == {email_mark("a@b.c"), fingerprint_mark("fp"), address_mark(place(""))}
    assert marks() == frozenset()


@given(st.text(), st.text(), st.text())
def test_any_text_is_a_mark_or_a_refusal_and_the_form_is_stable(one: str, two: str, three: str) -> None:
    for mark in marks(email=f"{one}@{two}", phone=f"+{one}", fingerprints=[three], places=[place(one, city=two)]):
        assert mark.value.strip() == mark.value
        if mark.kind is MarkKind.EMAIL:
            assert email_mark(mark.value) == mark
        if mark.kind is MarkKind.PHONE:
            assert phone_mark(mark.value) == mark
