"""Who may sign in: decided from how the login stands and what time it is, with nothing else known."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.logins import Answer, Standing, judge, login_key

NOW = datetime(2027, 3, 5, 12, tzinfo=UTC)
LATER = NOW + timedelta(hours=1)


@pytest.mark.parametrize(
    ("standing", "answer"),
    [
        (Standing(), Answer.OK),
        (Standing(must_change=True), Answer.MUST_CHANGE),
        (Standing(disabled=True), Answer.DISABLED),
        (Standing(disabled=True, disabled_until=LATER), Answer.DISABLED),
        (Standing(disabled=True, disabled_until=NOW), Answer.OK),
        (Standing(must_change=True, disabled=True), Answer.DISABLED),
        (Standing(must_change=True, disabled=True, disabled_until=NOW), Answer.MUST_CHANGE),
    ],
    ids=str,
)
def test_a_right_password(standing: Standing, answer: Answer) -> None:
    assert judge(standing, NOW, right=True) is answer


@given(
    standing=st.builds(Standing, st.booleans(), st.booleans(), st.none() | st.sampled_from([NOW, LATER])),
)
def test_a_wrong_password_learns_nothing(standing: Standing) -> None:
    assert judge(standing, NOW, right=False) is Answer.WRONG


@pytest.mark.parametrize("written", ["Ada.Byron", " ada.byron ", "ADA.BYRON", "\uff41da.byron"])
def test_case_width_and_space_make_no_other_login(written: str) -> None:
    assert login_key(written) == "ada.byron"


@given(written=st.text(max_size=20))
def test_the_compared_form_is_settled(written: str) -> None:
    assert login_key(login_key(written)) == login_key(written)
