"""What ships, what stops it, and what words about a parcel change: stories and properties over any order of events."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import permutations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.calendar import Interval, Unit
from domain.errors import Refused
from domain.fulfilment import (
    Command,
    Fulfilment,
    Heard,
    Rest,
    Send,
    Standing,
    Status,
    Stop,
    Wait,
    Withdraw,
    Withdrawal,
    allowed,
    cycle_fulfilment_id,
    handle,
    hear,
    is_fulfilment,
    next_step,
    not_taken,
    replacement_id,
    sending,
    ships,
    standing,
    stop,
    taken,
    withdrawn,
)
from domain.messages import ChangeTerms, ChargeNow, GrantCredit, Skip, When
from tests.domain.stories import Bank, Story, price

NOON = datetime(2027, 3, 5, 12, tzinfo=UTC)
READY = {"is_due": True, "has_address": True, "by_itself": True}
FULL = 1900


def paid(**changed: object) -> Standing:
    """How a payment of 19.00 stands."""
    facts = {"invoice": "paid", "amount_due": FULL, "returned": 0, "held": 0, "voided": False, "disputed": False}
    return standing(**facts | changed)  # pyright: ignore[reportArgumentType] - fields by name


def sent(story: Story) -> list[object]:
    """The cycles that shipped, in order; each has one id, however often it is told."""
    return list(dict.fromkeys(entry.data["cycle"] for entry in story.timeline if ships(entry)))


def handed_off() -> Fulfilment:
    return taken(sending(Fulfilment()))


# ---------------------------------------------------------------- what makes one


def test_each_paid_cycle_of_something_physical_ships_and_nothing_else_does() -> None:
    story = Story(price(physical=True), now="2026-01-31 10:00", bank=Bank())
    assert sent(story) == [1]
    story.does(ChargeNow(300, "EUR", "gift wrap"))
    assert sent(story) == [1], "a charge by hand ships nothing"
    story.bank.says("soft")
    story.until("2026-02-28 12:00")
    assert sent(story) == [1], "a declined payment ships nothing"
    story.bank.says("paid")
    story.until("2026-03-02 12:00")
    assert sent(story) == [1, 2], "dunning has collected it"
    story.does(Skip(1)).until("2026-05-01 12:00")
    assert sent(story) == [1, 2, 4]


def test_what_is_not_physical_never_ships() -> None:
    assert sent(Story(now="2026-01-31 10:00").until("2026-06-01 00:00")) == []


def test_what_costs_nothing_or_is_covered_by_credit_ships() -> None:
    free = Story(price(0, physical=True), now="2026-01-31 10:00").until("2026-02-28 12:00")
    assert sent(free) == [1, 2]
    covered = Story(price(physical=True), now="2026-01-31 10:00").does(GrantCredit(1000, "EUR"))
    assert sent(covered.until("2026-02-28 12:00")) == [1, 2]
    assert covered.last("invoice_settled")["amount"] == 0


def test_a_paid_trial_ships_as_cycle_0_and_a_free_one_does_not() -> None:
    paid_trial = Story(price(physical=True, trial_days=14, trial_amount=100), now="2026-01-15 10:00")
    assert sent(paid_trial) == [0]
    assert sent(paid_trial.until("2026-01-30 00:00")) == [0, 1]
    free_trial = Story(price(physical=True, trial_days=14), now="2026-01-15 10:00")
    assert sent(free_trial) == []
    assert sent(free_trial.until("2026-01-30 00:00")) == [1]


def test_a_dearer_box_in_mid_period_ships_nothing_more_and_another_interval_ships_its_own_cycle() -> None:
    story = Story(price(physical=True), now="2026-01-31 10:00").until("2026-02-10 10:00")
    story.does(ChangeTerms(price(2000, physical=True)))
    assert sent(story) == [1]
    weekly = price(900, physical=True, interval=Interval(1, Unit.WEEK))
    story.does(ChangeTerms(weekly, When.NOW))
    assert sent(story) in ([1], [1, 2]), "where something was left to pay"
    assert sent(story.until("2026-02-18 12:00"))[:3] == [1, 2, 3]


def test_ids_are_of_what_is_shipped() -> None:
    first = cycle_fulfilment_id("sub_1", 1)
    assert first == cycle_fulfilment_id("sub_1", 1) != cycle_fulfilment_id("sub_1", 2)
    assert is_fulfilment(first)
    assert is_fulfilment(replacement_id(first))
    assert not is_fulfilment("msg_k3jq5xw2m4")


# ---------------------------------------------------------------- its payment


@pytest.mark.parametrize(
    ("changed", "stands"),
    [
        ({}, Standing.GOOD),
        ({"invoice": "open"}, Standing.OPEN),
        ({"invoice": "uncollectible"}, Standing.OPEN),
        ({"invoice": "void"}, Standing.OPEN),
        ({"held": FULL - 1, "returned": FULL - 1}, Standing.GOOD),
        ({"held": FULL}, Standing.RETURNING),
        ({"held": FULL, "returned": FULL}, Standing.REFUNDED),
        ({"held": FULL, "returned": FULL, "voided": True}, Standing.VOIDED),
        ({"disputed": True}, Standing.DISPUTED),
        ({"amount_due": 0}, Standing.GOOD),
    ],
)
def test_how_a_payment_stands(changed: dict[str, object], stands: Standing) -> None:
    assert paid(**changed) is stands


@pytest.mark.parametrize("lost", [Standing.VOIDED, Standing.REFUNDED, Standing.DISPUTED])
def test_a_lost_payment_stops_what_is_not_out_and_asks_back_what_was_handed_off(lost: Standing) -> None:
    assert next_step(Fulfilment(), lost, **READY) == Stop(lost)
    assert stop(Fulfilment()) == Fulfilment(Status.STOPPED)
    back = stop(handed_off())
    assert (back.status, back.withdrawal) == (Status.STOPPED, Withdrawal.DUE)
    assert next_step(back, lost, **READY) == Withdraw()
    assert next_step(stop(sending(Fulfilment())), lost, **READY) == Withdraw(), "it may have arrived"
    shipped = hear(handed_off(), Heard.SHIPPED, NOON)
    assert stop(shipped) == shipped


def test_it_waits_for_its_payment_its_time_and_its_address() -> None:
    fresh = Fulfilment()
    assert isinstance(next_step(fresh, Standing.OPEN, **READY), Wait)
    assert isinstance(next_step(fresh, Standing.RETURNING, **READY), Wait)
    assert isinstance(next_step(fresh, Standing.GOOD, **READY | {"is_due": False}), Wait)
    nowhere = next_step(fresh, Standing.GOOD, **READY | {"has_address": False})
    assert nowhere == Wait("the customer has no address to ship to", attention=True)
    assert next_step(fresh, Standing.GOOD, **READY | {"by_itself": False}) == Rest()
    assert next_step(fresh, Standing.GOOD, **READY) == Send(fresh=True)
    assert next_step(sending(fresh), Standing.GOOD, **READY) == Send(fresh=False)
    assert next_step(handed_off(), Standing.GOOD, **READY) == Rest()


def test_what_came_of_asking_back() -> None:
    asked = stop(handed_off())
    assert withdrawn(asked, Withdrawal.DONE) == replace(asked, withdrawal=Withdrawal.DONE)
    late = withdrawn(asked, Withdrawal.REFUSED)
    assert (late.status, late.withdrawal) == (Status.HANDED_OFF, Withdrawal.REFUSED)
    assert stop(late) == late, "it is asked back once"
    assert withdrawn(asked, Withdrawal.BY_HAND).status is Status.STOPPED
    assert not_taken(stop(sending(Fulfilment()))).withdrawal is Withdrawal.DONE
    assert not_taken(sending(Fulfilment())) == Fulfilment()
    assert withdrawn(handed_off(), Withdrawal.DONE) == handed_off()


# ---------------------------------------------------------------- words of the world

WORDS = [
    (Heard.SHIPPED, 0, "DHL", "1"),
    (Heard.SHIPPED, 1, "DHL", "2"),
    (Heard.DELIVERED, 2, "", ""),
    (Heard.RETURNED, 3, "", ""),
]


def test_the_same_words_in_any_order_and_twice_end_the_same() -> None:
    ends: set[Fulfilment] = set()
    for words in permutations([*WORDS, WORDS[0], WORDS[2]]):
        parcel = handed_off()
        for what, hours, carrier, tracking in words:
            parcel = hear(parcel, what, NOON + timedelta(hours=hours), carrier=carrier, tracking=tracking)
        ends.add(parcel)
    (end,) = ends
    assert (end.status, end.tracking, end.shipped_at) == (Status.RETURNED, "2", NOON)


def test_what_left_although_it_was_asked_back_is_told_as_it_is() -> None:
    out = hear(stop(handed_off()), Heard.SHIPPED, NOON, carrier="DHL")
    assert (out.status, out.withdrawal) == (Status.SHIPPED, Withdrawal.REFUSED)


# ---------------------------------------------------------------- people


def test_each_status_takes_its_commands() -> None:
    good = Standing.GOOD
    assert allowed(Fulfilment(), good) == (Command.HAND_OFF, Command.SHIP, Command.CANCEL)
    assert allowed(sending(Fulfilment()), good) == (Command.HAND_OFF, Command.CANCEL)
    assert allowed(handed_off(), good) == (Command.SHIP, Command.CANCEL)
    shipped = handle(Fulfilment(), Command.SHIP, good, NOON, carrier="DHL", tracking="1")
    assert (shipped.status, shipped.carrier, shipped.shipped_at) == (Status.SHIPPED, "DHL", NOON)
    there = handle(shipped, Command.DELIVER, good, NOON)
    back = handle(there, Command.RETURN, good, NOON)
    assert [each.status for each in (there, back)] == [Status.DELIVERED, Status.RETURNED]
    again = handle(back, Command.RESHIP, good, NOON)
    assert allowed(again, good) == ()
    with pytest.raises(Refused) as refused:
        handle(again, Command.RESHIP, good, NOON)
    assert refused.value.code == "already_reshipped"
    canceled = handle(handed_off(), Command.CANCEL, good, NOON)
    assert (canceled.status, canceled.withdrawal) == (Status.CANCELED, Withdrawal.DUE)
    with pytest.raises(Refused) as refused:
        handle(canceled, Command.RESHIP, good, NOON)
    assert refused.value.code == "withdrawal_open"
    assert handle(Fulfilment(), Command.CANCEL, good, NOON).withdrawal is Withdrawal.NONE


@pytest.mark.parametrize("payment", [each for each in Standing if each is not Standing.GOOD])
@pytest.mark.parametrize("command", [Command.SHIP, Command.HAND_OFF, Command.RESHIP])
def test_no_command_ships_what_is_not_paid(payment: Standing, command: Command) -> None:
    parcel = Fulfilment(Status.STOPPED) if command is Command.RESHIP else Fulfilment()
    with pytest.raises(Refused) as refused:
        handle(parcel, command, payment, NOON)
    assert refused.value.code == "payment_not_good"
    assert command.value not in refused.value.allowed


# ---------------------------------------------------------------- any order of events

HAPPENS = st.one_of(
    st.sampled_from(list(Standing)),
    st.sampled_from(list(Command)),
    st.sampled_from(["look", "taken", "not_taken", "withdrawn", "late"]),
)


def commanded(parcel: Fulfilment, command: Command, payment: Standing) -> Fulfilment:
    if command not in allowed(parcel, payment):
        return parcel
    assert payment is Standing.GOOD or command not in {Command.SHIP, Command.HAND_OFF, Command.RESHIP}
    return handle(parcel, command, payment, NOON)


def looked_at(parcel: Fulfilment, payment: Standing) -> Fulfilment:
    match next_step(parcel, payment, **READY):
        case Send():
            assert payment is Standing.GOOD
            return sending(parcel)
        case Stop():
            return stop(parcel)
        case _:
            return parcel


def answered(parcel: Fulfilment, word: str) -> Fulfilment:
    match word:
        case "taken":
            return taken(parcel)
        case "not_taken":
            return not_taken(parcel)
        case _:
            return withdrawn(parcel, Withdrawal.DONE if word == "withdrawn" else Withdrawal.REFUSED)


@given(st.lists(HAPPENS, max_size=30))
def test_no_order_of_events_sends_what_is_not_paid(events: list[Standing | Command | str]) -> None:
    """The payment changes, people command, the provider answers: a call or a command that sends finds it good."""
    parcel, payment = Fulfilment(), Standing.OPEN
    for event in events:
        if isinstance(event, Standing):
            payment = event
            parcel = stop(parcel) if payment.is_lost else parcel
        elif isinstance(event, Command):
            parcel = commanded(parcel, event, payment)
        else:
            parcel = looked_at(parcel, payment) if event == "look" else answered(parcel, event)
        assert not payment.is_lost or parcel.status not in {Status.PENDING, Status.SENDING}


@given(st.sampled_from(list(Status)), st.sampled_from(list(Withdrawal)), st.sampled_from(list(Standing)), st.booleans())
def test_what_is_allowed_is_what_is_taken(
    status: Status, withdrawal: Withdrawal, payment: Standing, replaced: bool
) -> None:
    parcel = Fulfilment(status, withdrawal, replaced=replaced)
    now = allowed(parcel, payment)
    for command in Command:
        if command in now:
            handle(parcel, command, payment, NOON)
        else:
            with pytest.raises(Refused) as refused:
                handle(parcel, command, payment, NOON)
            assert refused.value.allowed == tuple(each.value for each in now)
