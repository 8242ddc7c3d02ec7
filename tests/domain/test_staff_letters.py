"""Letters from a template: blanks are filled once, and nothing but blanks is filled."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.errors import InvalidInput
from domain.staff_letters import SUBJECT_LENGTH_MAX, TEMPLATES, accept_values, write


def test_a_letter_greets_and_is_signed() -> None:
    letter = write("staff_missed_call", {"topic": "your order"}, name="Ada Byron", agent="ann")
    assert letter.subject == "We tried to reach you"
    assert letter.body == (
        "Hello Ada Byron,\n\nwe tried to reach you by telephone about your order.\nWhen may we call again?\n\n"
        "ann\nYou can reply to this message.\n"
    )


@given(text=st.text(), name=st.text(), template=st.sampled_from(sorted(TEMPLATES)))
def test_what_is_put_in_is_text_and_fills_no_other_blank(text: str, name: str, template: str) -> None:
    """`{agent}`, `{0.__class__}` and `%s` in a value come out as they are."""
    values = dict.fromkeys(TEMPLATES[template].blanks, f"{text}{{agent}}{{name.__class__}}")
    letter = write(template, values, name=name, agent="ann")
    assert len(letter.subject) <= SUBJECT_LENGTH_MAX
    assert "\n" not in letter.subject
    if values:
        assert f"{text}{{agent}}{{name.__class__}}" in letter.body
    assert "ann\nYou can reply" in letter.body


@pytest.mark.parametrize("template", sorted(TEMPLATES))
def test_every_template_can_be_filled(template: str) -> None:
    values = dict.fromkeys(TEMPLATES[template].blanks, "something")
    accept_values(template, values)
    letter = write(template, values, name="", agent="ann")
    assert "{" not in letter.subject + letter.body
    assert letter.body.startswith("Hello customer,")


@pytest.mark.parametrize(
    ("template", "values", "field"),
    [
        ("receipt", {}, "template"),
        ("staff_thanks", {}, "values.topic"),
        ("staff_thanks", {"topic": " "}, "values.topic"),
        ("staff_thanks", {"topic": "x", "name": "Eve"}, "values.name"),
        ("staff_thanks", {"topic": "x", "agent": "the boss"}, "values.agent"),
        ("staff_payment_method", {"topic": "x"}, "values.topic"),
    ],
    ids=str,
)
def test_what_does_not_fit_is_refused(template: str, values: dict[str, str], field: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        accept_values(template, values)
    assert refused.value.field == field
