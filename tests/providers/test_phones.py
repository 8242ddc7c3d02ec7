"""What the answers of a phone switch mean, asked over real HTTP."""

from __future__ import annotations

import pytest

from providers.phones.base import Call, CallRefused, CallUnknown, SwitchUnreachable
from providers.phones.http import HookSwitch
from tests.phone_switch import fake_switch

CALL = Call("call_1", "+4930901820", "ann", "cus_1")


@pytest.mark.parametrize(
    ("answer", "outcome"),
    [
        (200, None),
        (202, None),
        (302, CallUnknown),
        (403, CallRefused),
        (422, CallRefused),
        (408, CallUnknown),
        (429, CallUnknown),
        (500, CallUnknown),
        ("drop", CallUnknown),
    ],
    ids=str,
)
async def test_an_answer_of_the_switch(answer: int | str, outcome: type[Exception] | None) -> None:
    async with fake_switch() as switch:
        switch.answer = answer
        hook = HookSwitch(switch.url, timeout_s=5)
        if outcome is None:
            await hook.place(CALL)
        else:
            with pytest.raises(outcome):
                await hook.place(CALL)
        await hook.aclose()
    assert switch.asked == [{"reference": "call_1", "number": "+4930901820", "agent": "ann", "customer_id": "cus_1"}]
    assert switch.keys == ["call_1"]


async def test_a_switch_that_is_not_there_has_placed_no_call() -> None:
    async with fake_switch() as switch:
        url = switch.url
    hook = HookSwitch(url, timeout_s=5)
    with pytest.raises(SwitchUnreachable):
        await hook.place(CALL)
    await hook.aclose()
