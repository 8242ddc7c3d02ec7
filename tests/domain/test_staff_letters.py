"""Letters of staff: which blanks a template has, and what may fill them."""

from __future__ import annotations

import pytest

from domain.errors import InvalidInput
from domain.letters import EVENTS
from domain.staff_letters import TEMPLATES, accept_values


@pytest.mark.parametrize("template", TEMPLATES)
def test_every_template_takes_what_fits_its_blanks(template: str) -> None:
    accept_values(template, dict.fromkeys(EVENTS[template].blanks, "something"))


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
