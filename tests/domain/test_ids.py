"""Ids are made from what things are: one that changed would bill again what is billed already."""

from domain.ids import derive


def test_an_id_never_changes() -> None:
    assert derive("inv", "a", "bc") == "inv_mjgojyrkugl5uq576o6li4l6"
    assert derive("sub") == "sub_4oymiquy7qobjgx36tejs35z"


def test_parts_are_joined_so_that_they_cannot_be_mistaken() -> None:
    assert (
        len({derive("inv", "a", "bc"), derive("inv", "ab", "c"), derive("inv", "abc"), derive("att", "a", "bc")}) == 4
    )
