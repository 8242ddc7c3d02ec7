"""Whatever is asked and answered, in any order: what an order never does.

`OrderStory` checks the books, the invoices and the state after every step (see `order_stories.py`); the walks below add
what only a whole life shows. `DUNLIN_TEST_DEPTH=deep` walks more often.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, timedelta

from hypothesis import given, note
from hypothesis import strategies as st

from domain.discounts import Discount, DiscountSource
from domain.errors import InvalidInput, Refused
from domain.order_commands import ALLOWED_IN, allowed
from domain.order_messages import CancelOrder, OrderCommand, Pay, Place, SetBuyer, SetLines
from domain.order_state import OrderLine, OrderStatus, order_subscription_id
from domain.tax import NO_TAX, TaxRate, TaxStatus, TaxTerms
from tests.domain.order_stories import FINAL, OrderStory, item, lines, number, plan
from tests.domain.stories import Bank, at, price

BY_VALUE = {"changed_meanwhile", "price_changed", "method_refused"}
NOW = at("2026-03-02 10:00")
TAXES = (
    NO_TAX,
    TaxTerms(TaxStatus.TAXABLE, "DE", (TaxRate("de", "DE", "standard", 19_000, False, date(2020, 1, 1)),)),
    TaxTerms(TaxStatus.TAXABLE, "FR", (TaxRate("fr", "FR", "standard", 20_000, True, date(2020, 1, 1)),)),
)
HALF = Discount("red_1", "Half", DiscountSource.COUPON, NOW, rate=50_000, coupon_id="cpn")
THREE = Discount("dis_1", "Three", DiscountSource.CUSTOMER, NOW, amount=300)
words = st.sampled_from(["soft", "soft", "hard", "down", "lost", "never", "action", "paid"])
amounts = st.sampled_from([999, 5000, 1, 999, 5000, 0])
discounts = st.sampled_from([(), (HALF,), (THREE,), (HALF, THREE)])


def _plan(amount: int, fee: int, trial: tuple[int, int], days: int | None, given: tuple[Discount, ...]) -> OrderLine:
    terms = price(amount, setup_fee=fee, trial_days=trial[0], trial_amount=trial[1])
    return plan(terms, start_at=None if days is None else NOW + timedelta(days=days), discounts=given)


of_a_plan = st.builds(
    _plan,
    amounts,
    st.sampled_from([0, 300]),
    st.sampled_from([(0, 0), (0, 0), (7, 0), (7, 100)]),
    st.sampled_from([None, None, -1, 5, 40]),
    discounts,
)
things = st.one_of(st.builds(item, amounts, st.integers(1, 2)), of_a_plan)
taken = st.lists(things, min_size=1, max_size=3)
ordered = st.one_of(taken, taken, st.lists(st.builds(item, amounts, st.integers(0, 1)), max_size=2))
methods = st.sampled_from([None, None, None, "visa", "master"])


def _lines(wanted: Sequence[OrderLine], revision: int | None) -> SetLines:
    return SetLines(lines(*wanted), revision)


pays = st.builds(Pay, methods, st.sampled_from([None, None, None, 999]), st.sampled_from(["order", "link"]))
hours = st.sampled_from([0, 0, 0, 0, 1, 25])
KINDS: dict[str, st.SearchStrategy[tuple[OrderCommand | str, int]]] = {
    "pay": st.tuples(pays, hours),
    "edit": st.tuples(st.builds(_lines, ordered, st.sampled_from([None, None, 1, 2])), hours),
    "place": st.tuples(st.just(Place()), hours),
    "buyer": st.tuples(
        st.builds(SetBuyer, st.sampled_from(["cus_1", "cus_2"]), st.just(0), st.sampled_from(TAXES)), hours
    ),
    "cancel": st.tuples(st.builds(CancelOrder, st.booleans(), st.booleans()), hours),
    "bank": st.tuples(st.sampled_from(["pending", "settled", "disputed"]), st.sampled_from([0, 24 * 16, 24 * 31])),
}
OFTEN = ("pay",) * 8 + ("edit",) * 4 + ("place", "buyer", "cancel", "bank")
acts = st.sampled_from(OFTEN).flatmap(KINDS.__getitem__)


def ask(story: OrderStory, command: OrderCommand) -> None:
    """It is taken where it is allowed, and refused where it is not; a refusal changes nothing."""
    before, open_now = story.state, allowed(story.state)
    refusal = refused(story, command)
    if isinstance(command, SetBuyer):
        assert refusal is None, "that is never refused"
    elif refusal is None:
        assert command.kind in open_now
    else:
        assert story.state == before
        by_value = isinstance(refusal, InvalidInput) or refusal.code in BY_VALUE
        assert by_value == (command.kind in open_now)


def refused(story: OrderStory, command: OrderCommand) -> InvalidInput | Refused | None:
    try:
        story.does(command)
    except (InvalidInput, Refused) as refusal:
        return refusal
    return None


@given(
    taken, st.sampled_from(TAXES), st.lists(words, min_size=10, max_size=30), st.lists(acts, min_size=8, max_size=25)
)
def test_any_life_of_an_order_keeps_its_promises(
    wanted: list[OrderLine], tax: TaxTerms, answers: list[str], moves: list[tuple[OrderCommand | str, int]]
) -> None:
    bank = Bank(answers, methods=("visa", "master"))
    story = OrderStory(*wanted, bank=bank, tax=tax)
    for act, later in moves:
        story.until_instant(story.now + timedelta(hours=later))
        note(f"{story.now} {story.state.status} {act}")
        if isinstance(act, str):
            story.world.disputed = "open" if act == "disputed" else None
            story.world.settlement = "settled" if act == "settled" else story.world.settlement
            continue
        calls, over = bank.calls, story.state.status in FINAL | {OrderStatus.PAID}
        ask(story, act)
        assert not over or bank.calls == calls, "nothing is charged once it is paid or over"
        assert set(allowed(story.state)) <= set(ALLOWED_IN)
    whole(story)


def whole(story: OrderStory) -> None:
    """What a whole life shows."""
    kinds, state = story.kinds, story.state
    assert kinds.count("order_paid") <= 1
    assert kinds.count("order_canceled") + kinds.count("order_lapsed") == (state.status in FINAL)
    assert kinds.count("invoice_issued") == state.invoices
    assert [entry.data["revision"] for entry in story.timeline if entry.kind == "lines_changed"] == list(
        range(2, state.revision + 1)
    )
    assert bool(story.paid) <= ("order_paid" in kinds)
    asked = [(invoice, attempt) for invoice, attempt, _ in story.bank.keys]
    assert asked == sorted(asked, key=lambda key: (number_of(story, key[0]), key[1])), "attempts only go on"
    assert story.world.captured >= story.world.returned >= 0
    if "order_paid" in kinds:
        begun = {order_subscription_id(state.id, line.position) for line in state.lines if line.terms is not None}
        assert set(story.starts) == begun, "all that was bought begins"
        prepaid = [start.prepaid for start in story.starts.values() if start.prepaid is not None]
        assert sum(each.amount for each in prepaid) <= story.world.captured
        assert {each.invoice_id for each in prepaid} <= {state.invoice_id}
    else:
        assert story.starts == {}
        assert not story.balances["cash:sandbox"]


def number_of(story: OrderStory, invoice: str) -> int:
    issued = [entry.data for entry in story.timeline if entry.kind == "invoice_issued"]
    return next(number(data["sequence"]) for data in issued if data["invoice_id"] == invoice)


@given(
    taken,
    st.lists(words, min_size=1, max_size=6).map(lambda answers: [*answers, "paid"]),
    st.booleans(),
    st.booleans(),
    st.sampled_from(["pending", "settled", "disputed"]),
)
def test_a_preview_is_what_a_cancellation_then_does(
    wanted: list[OrderLine], answers: list[str], give_back: bool, end: bool, charge: str
) -> None:
    story = OrderStory(*wanted, bank=Bank(answers)).does(Pay())
    story.until_instant(story.now + timedelta(days=2))
    if "cancel_order" not in allowed(story.state):
        return
    story.world.disputed = "open" if charge == "disputed" else None
    story.world.settlement = charge
    told = story.preview(give_back=give_back, end_subscriptions=end)
    before = len(story.timeline)
    story.does(CancelOrder(give_back, end))
    kinds = [entry.kind for entry in story.timeline[before:]]
    effects = [each.effect for each in told]
    assert ("invoice_voided" in kinds) == any(each.on == "invoice" for each in told)
    assert kinds.count("subscription_ended") == effects.count("end")
    back = sum(each.amount or 0 for each in told if each.on == "payment")
    assert back == story.world.returned
    assert ("money_back" in kinds) == (back > 0)
    assert story.state.status is OrderStatus.CANCELED


@given(taken, st.lists(words, min_size=4, max_size=12))
def test_left_to_itself_every_order_is_closed_in_the_end(wanted: list[OrderLine], answers: list[str]) -> None:
    story = OrderStory(*wanted, bank=Bank([*answers, "soft"])).does(Pay())
    story.until_instant(story.now + timedelta(days=500))
    assert story.is_closed
    assert (story.state.status is OrderStatus.PAID) == ("order_paid" in story.kinds)
