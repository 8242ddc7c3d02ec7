"""What follows a declined card: retries at local dates, grace, each end action, and the ways back."""

from __future__ import annotations

import pytest

from domain.messages import CollectNow, Restart
from domain.terms import DunningTerms, EndAction, Retry, RetryMessage
from tests.stack_fixtures import NUMBERS, Shop, at

pytestmark = [pytest.mark.stack, pytest.mark.timeout(120)]

VISA = "tok_ok_visa"
BROKE = "tok_soft_insufficient_funds"
STOLEN = "tok_hard_stolen"


def policy(action: EndAction, grace_days: int = 4) -> DunningTerms:
    retries = (Retry(2, 9), Retry(3, 18, RetryMessage.FINAL_NOTICE))
    name = f"{action} {next(NUMBERS)}"
    return DunningTerms(name, name, retries, grace_days, action)


async def overdue(shop: Shop, customer: str) -> str:
    """A subscription whose first payment worked and whose second is due on the 4th of November, and will not.

    The first Sunday of November ends daylight saving in New York; nine o'clock stays nine o'clock.
    """
    state = await shop.start(customer, await shop.terms(), start_at=at("2027-10-04", 14))
    await shop.until(state.id, at("2027-10-04", 15))
    await shop.script(await shop.token(customer), then="soft:insufficient_funds")
    return state.id


DECLINES = [
    "2027-11-04 14:00 invoice_issued",
    "2027-11-04 14:00 payment_declined",
    "2027-11-04 14:00 dunning_started",
    "2027-11-04 14:00 grace_started",
    "2027-11-04 14:00 retry_planned",
    "2027-11-06 09:00 payment_declined",
    "2027-11-06 09:00 retry_planned",
    "2027-11-08 14:00 access_stopped",
    "2027-11-09 18:00 payment_declined",
    "2027-11-09 18:00 dunning_exhausted",
]


@pytest.mark.parametrize(
    ("action", "end", "status"),
    [
        (EndAction.CANCEL, ["2027-11-09 18:00 invoice_written_off", "2027-11-09 18:00 canceled"], "canceled"),
        (EndAction.PAUSE, ["2027-11-09 18:00 paused"], "paused"),
        (EndAction.STAY_OVERDUE, [], "overdue"),
    ],
)
async def test_every_retry_and_then_the_end(shop: Shop, action: EndAction, end: list[str], status: str) -> None:
    customer = await shop.customer(VISA, policy=policy(action))
    sub = await overdue(shop, customer)
    state = await shop.until(sub, at("2027-12-20", 9))
    story = await shop.story(sub)
    assert story[story.index("2027-11-04 14:00 invoice_issued") :] == DECLINES + end
    assert (state.status, state.access) == (status, "stopped")
    assert await shop.calls(await shop.token(customer)) == ["charge approve", *["charge soft:insufficient_funds"] * 3]
    mails = [mail.split(":")[0].split(" of ")[0] for mail in await audited_mails(shop, sub, customer)]
    # Access that stopped, and the end of dunning with what it does: one letter each.
    assert sorted(mails) == sorted(["Receipt", "Your payment", "Last try", "Box", "Box"])


async def audited_mails(shop: Shop, sub: str, customer: str) -> list[str]:
    await shop.audit(sub)
    return await shop.mails(customer)


async def test_a_cancelled_debtor_may_restart_and_pays_a_new_period(shop: Shop) -> None:
    customer = await shop.customer(VISA, policy=policy(EndAction.CANCEL, grace_days=0))
    sub = await overdue(shop, customer)
    await shop.until(sub, at("2027-12-20", 9))
    await shop.script(await shop.token(customer), then="approve")
    state = await shop.send(sub, Restart())
    assert (state.status, state.access) == ("active", "active")
    assert [(row["status"], row["cycle"]) for row in await shop.invoices(sub)] == [
        ("paid", 1), ("uncollectible", 2), ("paid", 3),
    ]  # fmt: skip
    await shop.audit(sub)


async def test_the_backup_card_is_tried_at_once(shop: Shop) -> None:
    customer = await shop.customer(BROKE, VISA)
    state = await shop.start(customer, await shop.terms(), start_at=at("2027-03-05", 9))
    await shop.until(state.id, at("2027-03-05", 10))
    assert (await shop.story(state.id))[1:] == [
        "2027-03-05 09:00 started",
        "2027-03-05 09:00 invoice_issued",
        "2027-03-05 09:00 payment_declined",
        "2027-03-05 09:00 payment_succeeded",
        "2027-03-05 09:00 access_started",
    ]
    attempts = await shop.attempts(state.id)
    assert [(row["number"], row["status"], row["trigger"]) for row in attempts] == [
        (1, "declined", "due"), (2, "approved", "backup_method"),
    ]  # fmt: skip
    await shop.audit(state.id)


async def test_a_stolen_card_is_never_tried_again_and_a_new_one_keeps_the_anchor(shop: Shop) -> None:
    customer = await shop.customer(VISA)
    sub = await overdue(shop, customer)
    stolen = await shop.token(customer)
    await shop.script(stolen, then="hard:stolen_card")
    await shop.until(sub, at("2027-11-10", 12))
    assert (await shop.calls(stolen)).count("charge hard:stolen_card") == 1
    assert (await shop.commands.state(sub)).access == "grace"
    card = await shop.card(customer, VISA)
    state = await shop.send(sub, CollectNow(card, "card_update"))
    assert (state.status, state.access, state.collecting) == ("active", "active", None)
    await shop.script(stolen, then="approve")
    await shop.until(sub, at("2027-12-05", 9))
    assert await shop.story(sub, "payment_succeeded", "dunning_ended") == [
        "2027-10-04 14:00 payment_succeeded",
        "2027-11-10 12:00 payment_succeeded",
        "2027-11-10 12:00 dunning_ended",
        "2027-12-04 14:00 payment_succeeded",
    ]
    await shop.audit(sub)


async def test_nothing_to_charge_is_a_failed_attempt_and_asks_for_a_card(shop: Shop) -> None:
    customer = await shop.customer(policy=policy(EndAction.STAY_OVERDUE, grace_days=1))
    state = await shop.start(customer, await shop.terms(), start_at=at("2027-03-05", 9))
    await shop.until(state.id, at("2027-03-05", 10))
    assert (await shop.story(state.id))[2:] == [
        "2027-03-05 09:00 invoice_issued",
        "2027-03-05 09:00 no_payment_method",
        "2027-03-05 09:00 dunning_started",
        "2027-03-05 09:00 retry_planned",
    ]
    await shop.card(customer, VISA)
    await shop.until(state.id, at("2027-03-07", 10))
    assert (await shop.story(state.id))[-3:] == [
        "2027-03-07 09:00 payment_succeeded",
        "2027-03-07 09:00 access_started",
        "2027-03-07 09:00 dunning_ended",
    ]
    mails = await audited_mails(shop, state.id, customer)
    assert [mail.split(" of ")[0].split(":")[0] for mail in mails] == ["Your payment", "Receipt"]


async def test_a_try_by_hand_uses_up_no_retry(shop: Shop) -> None:
    customer = await shop.customer(VISA, policy=policy(EndAction.STAY_OVERDUE, grace_days=30))
    sub = await overdue(shop, customer)
    await shop.until(sub, at("2027-11-05", 9))
    state = await shop.send(sub, CollectNow())
    assert state.collecting is not None
    assert state.collecting.dunning is not None
    assert (state.collecting.dunning.used, state.collecting.dunning.retry_at) == (0, at("2027-11-06", 9))
    await shop.until(sub, at("2027-12-20", 9))
    declined = await shop.story(sub, "payment_declined")
    assert [line[:16] for line in declined] == [
        "2027-11-04 14:00", "2027-11-05 09:00", "2027-11-06 09:00", "2027-11-09 18:00",
    ]  # fmt: skip
    await shop.audit(sub)
