"""Vouchers and transfers: each step twice, cut anywhere, and many at once: no money made, none lost."""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import replace
from datetime import timedelta
from random import Random

import pytest

from activities.vouchers import EXPIRED_AT_ONCE_MAX
from domain.credits import Granted, Refusal
from domain.vouchers import IssueVoucher, Moved
from models.session import Database
from tests.activities.credit_bench import NOW, NUMBERS, Bench
from tests.activities.test_twice import Cut, Scissors

pytestmark = pytest.mark.timeout(120)
SEAMS_MAX = 30
LATER = NOW + timedelta(days=40)


@pytest.fixture
def bench(fresh_database: Database) -> Bench:
    return Bench(fresh_database)


async def test_a_voucher_redeemed_in_part_and_then_in_whole(bench: Bench) -> None:
    voucher, sub = await bench.voucher(5000), await bench.subscription()
    first = bench.redemption(voucher, sub, 1200)
    assert await bench.run(first) == Granted(first.id)
    assert await bench.left(voucher) == 3800
    assert await bench.run(bench.redemption(voucher, sub)) != first
    assert await bench.left(voucher) == 0
    assert bench.states[sub].credit == 5000
    assert +await bench.accounts() == {"credit_given": 5000}
    assert (await bench.accounts())["customer_credit"] == -5000
    moves = await bench.rows("SELECT kind, amount FROM voucher_movements ORDER BY recorded_at, amount DESC")
    assert [(row.kind, row.amount) for row in moves] == [("issued", 5000), ("redeemed", -1200), ("redeemed", -3800)]


@pytest.mark.parametrize("source", ["voucher", "invoice"])
@pytest.mark.parametrize("canceled", [False, True], ids=["granted", "refused"])
async def test_a_transfer_cut_at_every_seam_and_run_again(bench: Bench, source: str, canceled: bool) -> None:
    seams = cut = 0
    while cut < SEAMS_MAX:
        sub = await bench.subscription(canceled=canceled)
        voucher, invoice = await bench.voucher(1000), await bench.invoice(sub, 1000)
        transfer = bench.redemption(voucher, sub, 700) if source == "voucher" else bench.crediting(invoice, sub, 700)
        scissors = Scissors(cut)
        try:
            first = await bench.run(transfer, scissors)
        except Cut:
            first = None
        again = await bench.run(transfer)
        assert (await bench.accounts())["credit_in_transit"] == 0
        credited = (await bench.rows("SELECT credited FROM invoices WHERE id = :id", id=invoice))[0].credited
        notes = await bench.rows("SELECT number FROM credit_notes WHERE invoice_id = :id", id=invoice)
        if canceled:
            assert isinstance(again, Refusal)
            assert again.code == "not_while_canceled"
            assert (await bench.status(transfer), await bench.granted(transfer)) == ("given_back", [])
            assert (await bench.left(voucher), credited, len(notes)) == (1000, 0, 0)
        else:
            assert again == Granted(transfer.id)
            assert (await bench.status(transfer), await bench.granted(transfer)) == ("granted", [700])
            expected = (300, 0, 0) if source == "voucher" else (1000, 700, 1)
            assert (await bench.left(voucher), credited, len(notes)) == expected
        if first is not None:
            assert replace(first, allowed=()) == again if isinstance(first, Refusal) else first == again
            seams = scissors.passed
            break
        cut += 1
    assert cut == seams, "cut at every seam"
    assert cut > 6


async def test_the_subscription_is_not_asked_twice_although_it_has_forgotten_the_command(bench: Bench) -> None:
    """The answer was lost, and so many commands came since that the subscription knows this one no more."""
    voucher, sub = await bench.voucher(1000), await bench.subscription()
    transfer = bench.redemption(voucher, sub, 700)
    with pytest.raises(Cut):
        await bench.run(transfer, Scissors(7))
    assert await bench.granted(transfer) == [700]
    bench.states[sub] = replace(bench.states[sub], recent_commands=())
    assert await bench.run(transfer) == Granted(transfer.id)
    assert await bench.granted(transfer) == [700]
    assert bench.states[sub].credit == 700


async def test_many_at_once_never_take_more_than_there_is(bench: Bench) -> None:
    voucher, sub = await bench.voucher(1000), await bench.subscription()
    transfers = [bench.redemption(voucher, sub, 300) for _ in range(5)]
    answers = await asyncio.gather(*(bench.run(transfer) for transfer in transfers))
    assert sum(isinstance(answer, Granted) for answer in answers) == 3
    refused = [answer for answer in answers if isinstance(answer, Refusal)]
    assert {answer.code for answer in refused} == {"exceeds_balance"}
    assert await bench.left(voucher) == 100
    assert bench.states[sub].credit == 900


async def test_one_transfer_many_times_at_once_is_one(bench: Bench) -> None:
    voucher, sub = await bench.voucher(1000), await bench.subscription()
    transfer = bench.redemption(voucher, sub, 300)
    for _ in range(2):
        answers = await asyncio.gather(*(bench.run(transfer) for _ in range(4)))
        assert set(answers) == {Granted(transfer.id)}
    assert (await bench.left(voucher), await bench.granted(transfer)) == (700, [300])


async def test_issued_once_for_each_id_also_at_once(bench: Bench) -> None:
    request = IssueVoucher("vch_same", 5000, "USD", NOW, "ann", "gift")
    answers = await asyncio.gather(*(bench.issue(request) for _ in range(4)))
    assert set(answers) == {Moved("vch_same")}
    assert await bench.issue(request) == Moved("vch_same")
    assert await bench.left("vch_same") == 5000
    codes = await bench.rows("SELECT code FROM vouchers")
    assert len(codes) == 1
    assert len(codes[0].code) == 19


async def test_a_code_of_ones_own_is_had_once(bench: Bench) -> None:
    mine = IssueVoucher("vch_1", 5000, "USD", NOW, "ann", "gift", code="Summer-26")
    assert await bench.issue(mine) == Moved("vch_1")
    taken = await bench.issue(replace(mine, id="vch_2", code="SUMMER-26"))
    assert (taken.code, taken.field) == ("taken", "code")
    assert [row.code for row in await bench.rows("SELECT code FROM vouchers")] == ["SUMMER-26"]


async def test_what_cannot_be_issued_leaves_nothing(bench: Bench) -> None:
    refused = await bench.issue(IssueVoucher("vch_1", 5000, "USD", NOW, "ann", "gift", expires_at=NOW))
    assert refused.field == "expires_at"
    assert await bench.rows("SELECT id FROM vouchers") == []


async def test_adjusted_once_for_each_id_and_never_below_zero(bench: Bench) -> None:
    voucher = await bench.voucher(1000)
    for _ in range(2):
        assert await bench.adjust(voucher, -600, identity="led_one") == Moved(voucher)
    assert await bench.left(voucher) == 400
    answers = await asyncio.gather(*(bench.adjust(voucher, -150) for _ in range(4)))
    assert sum(answer == Moved(voucher) for answer in answers) == 2
    assert await bench.left(voucher) == 100
    assert (await bench.adjust("vch_nobody", 1)).code == "no_voucher"


async def test_what_is_left_at_the_end_is_taken_off_once(bench: Bench) -> None:
    voucher, forever = await bench.voucher(1000, expires_at=LATER), await bench.voucher(500)
    assert await bench.expire(LATER - timedelta(seconds=1)) == 0
    await asyncio.gather(*(bench.expire(LATER) for _ in range(3)))
    assert await bench.expire(LATER) == 0
    assert (await bench.left(voucher), await bench.left(forever)) == (0, 500)
    assert (await bench.accounts())["voucher_breakage"] == -1000
    sub = await bench.subscription()
    refused = await bench.run(bench.redemption(voucher, sub, 1, at=LATER))
    assert isinstance(refused, Refusal)
    assert refused.code == "voucher_expired"
    assert (await bench.adjust(voucher, 5, at=LATER)).code == "voucher_expired"


async def test_a_redemption_refused_after_the_end_gives_back_and_the_next_night_takes_it(bench: Bench) -> None:
    sub = await bench.subscription(canceled=True)
    voucher = await bench.voucher(1000, expires_at=LATER)
    transfer = bench.redemption(voucher, sub, 700)
    with pytest.raises(Cut):
        await bench.run(transfer, Scissors(3))  # in transit
    assert await bench.expire(LATER) == 1
    assert isinstance(await bench.run(transfer), Refusal)
    assert await bench.left(voucher) == 700
    assert await bench.expire(LATER + timedelta(days=1)) == 1
    assert await bench.left(voucher) == 0
    assert (await bench.accounts())["voucher_breakage"] == -1000


async def test_more_vouchers_end_than_one_page_holds(bench: Bench) -> None:
    many = EXPIRED_AT_ONCE_MAX + 5
    await bench.execute(
        "INSERT INTO vouchers (id, code, currency, issued, expires_at, reason, actor, test_mode, issued_at)"
        " SELECT 'vch_' || n, 'C' || n, 'USD', 1, :end, '', 'ann', false, :end FROM generate_series(1, :many) AS n",
        end=LATER,
        many=many,
    )
    assert [await bench.expire(LATER) for _ in range(3)] == [EXPIRED_AT_ONCE_MAX, 5, 0]


@pytest.mark.parametrize(
    ("voucher", "code"),
    [
        ({"customer_id": "another"}, "other_customer"),
        ({"currency": "EUR"}, "currency_mismatch"),
        ({"test_mode": False}, "other_mode"),
    ],
)
async def test_what_does_not_fit_takes_nothing(bench: Bench, voucher: dict[str, object], code: str) -> None:
    if "customer_id" in voucher:
        voucher = {"customer_id": await bench.customer()}
    issued, sub = await bench.voucher(1000, **voucher), await bench.subscription()
    refused = await bench.run(bench.redemption(issued, sub))
    assert isinstance(refused, Refusal)
    assert refused.code == code
    assert await bench.rows("SELECT id FROM credit_transfers") == []
    assert bench.asked == 0


async def test_nobody_to_give_it_to(bench: Bench) -> None:
    refused = await bench.run(bench.redemption(await bench.voucher(), "sub_nobody"))
    assert isinstance(refused, Refusal)
    assert refused.code == "no_subscription"


async def test_an_invoice_is_never_credited_above_its_total(bench: Bench) -> None:
    sub = await bench.subscription()
    invoice = await bench.invoice(sub, 1000)
    transfers = [bench.crediting(invoice, sub, 300) for _ in range(5)]
    answers = await asyncio.gather(*(bench.run(transfer) for transfer in transfers))
    assert sum(isinstance(answer, Granted) for answer in answers) == 3
    over = next(answer for answer in answers if isinstance(answer, Refusal))
    assert over.code == "credit_exceeds_invoice"
    notes = await bench.rows("SELECT number, amount, disposition, local_date FROM credit_notes ORDER BY number")
    prefix = bench.states[sub].customer_id.replace("cus_", "P")
    assert [note.number for note in notes] == [f"CN-{prefix}-000{i}" for i in (1, 2, 3)]
    assert {(note.amount, note.disposition, note.local_date) for note in notes} == {(300, "credit", "2027-03-05")}
    assert (await bench.rows("SELECT credited FROM invoices"))[0].credited == 900
    accounts = await bench.accounts()
    assert (accounts["revenue"], accounts["customer_credit"], accounts["credit_in_transit"]) == (900, -900, 0)


async def test_what_a_refund_has_reserved_is_not_credited_again(bench: Bench) -> None:
    sub = await bench.subscription()
    invoice = await bench.invoice(sub, 1000)
    await bench.execute("UPDATE invoices SET credited = 800 WHERE id = :id", id=invoice)
    refused = await bench.run(bench.crediting(invoice, sub, 201))
    assert isinstance(refused, Refusal)
    assert "200 USD" in refused.message
    assert isinstance(await bench.run(bench.crediting(invoice, sub, 200)), Granted)


@pytest.mark.parametrize("status", ["open", "uncollectible", "void"])
async def test_only_paid_invoices_are_credited(bench: Bench, status: str) -> None:
    sub = await bench.subscription()
    invoice = await bench.invoice(sub, 1000, status)
    refused = await bench.run(bench.crediting(invoice, sub, 1))
    assert isinstance(refused, Refusal)
    assert refused.code == f"invoice_{status}"
    assert (await bench.rows("SELECT credited FROM invoices"))[0].credited == 0


async def test_a_number_is_not_used_up_by_a_refusal(bench: Bench) -> None:
    customer = await bench.customer()
    gone, alive = await bench.subscription(customer, canceled=True), await bench.subscription(customer)
    invoice = await bench.invoice(alive, 1000)
    assert isinstance(await bench.run(bench.crediting(invoice, gone, 100)), Refusal)
    assert isinstance(await bench.run(bench.crediting(invoice, alive, 100)), Granted)
    assert [row.number[-5:] for row in await bench.rows("SELECT number FROM credit_notes")] == ["-0001"]


@pytest.mark.parametrize("seed", range(3))
async def test_any_order_of_things_agrees_with_a_plain_number(bench: Bench, seed: int) -> None:
    """Issue, adjust, redeem, be refused, expire, repeat: a dict of numbers beside the books."""
    chance = Random(seed)  # noqa: S311 - an order of events, no secret
    sub, gone = await bench.subscription(), await bench.subscription(canceled=True)
    left: Counter[str] = Counter()
    ends: dict[str, int] = {}
    given, broken, credit, day = 0, 0, 0, 0
    for _ in range(60):
        now = NOW + timedelta(days=day)
        voucher = chance.choice(sorted(ends)) if ends else ""
        dead = bool(voucher) and ends[voucher] <= day
        amount = chance.randint(1, 900)
        match chance.choice(["issue", "adjust", "adjust", "redeem", "redeem", "refused", "expire", "day"]):
            case "issue":
                voucher, ends_in = f"vch_{next(NUMBERS)}", day + chance.randint(1, 6)
                await bench.issue(
                    IssueVoucher(
                        voucher, amount, "USD", now, "a", "", test_mode=True, expires_at=NOW + timedelta(days=ends_in)
                    )
                )
                left[voucher], ends[voucher], given = amount, ends_in, given + amount
            case "adjust" if voucher:
                change = chance.choice([-amount, amount])
                answer = await bench.adjust(voucher, change, at=now)
                assert isinstance(answer, Moved) == (not dead and left[voucher] + change >= 0)
                if isinstance(answer, Moved):
                    left[voucher], given = left[voucher] + change, given + change
            case "redeem" | "refused" as step if voucher:
                transfer = bench.redemption(voucher, sub if step == "redeem" else gone, amount, now)
                answer = await bench.run(transfer)
                assert isinstance(answer, Granted) == (step == "redeem" and not dead and amount <= left[voucher])
                if isinstance(answer, Granted):
                    left[voucher], credit = left[voucher] - amount, credit + amount
                if chance.random() < 0.3:
                    await bench.run(transfer)
            case "expire":
                await bench.expire(now)
                for each in (each for each, end in ends.items() if end <= day):
                    broken, left[each] = broken + left[each], 0
            case _:
                day += 1
        books = await bench.accounts()
        assert {each: -books[f"voucher:{each}"] for each in ends} == {each: left[each] for each in ends}
        assert (books["credit_given"], -books["voucher_breakage"]) == (given, broken)
        assert (-books["customer_credit"], books["credit_in_transit"]) == (credit, 0)
        assert bench.states[sub].credit == credit
