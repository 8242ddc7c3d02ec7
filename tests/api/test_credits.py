"""Vouchers, credit notes, customers' credit and the trial balance: input, lists, and what is read from the books."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from activities.credit_notes import write_credit_note
from activities.ledger import DoubleEntry, post
from activities.vouchers import Vouchers
from domain.credits import Refusal
from domain.ledger import CREDIT_GIVEN, CUSTOMER_CREDIT, Posting
from domain.vouchers import IssueVoucher
from models.session import Database
from tests.activities.credit_bench import Bench
from tests.api.conftest import KEYS, Caller

NOON = datetime(2026, 5, 1, 12, tzinfo=UTC)
VOUCHER: dict[str, Any] = {"amount": 5000, "currency": "EUR"}


async def grant(database: Database, customer: str, amount: int, at: datetime, **more: Any) -> str:
    """An entry as a grant of credit makes it."""
    identity = f"led_{next(KEYS)}"
    given: dict[str, Any] = {"test_mode": False, "subscription_id": "sub_a", "customer_id": customer} | more
    currency = given.pop("currency", "EUR")
    sides = (Posting(CREDIT_GIVEN, amount, currency), Posting(CUSTOMER_CREDIT, -amount, currency))
    async with database.begin() as connection:
        await post(connection, DoubleEntry(identity, at, "credit_granted", sides, "credit granted", **given))
    return identity


async def issued(database: Database, **more: Any) -> str:
    given: dict[str, Any] = {"id": f"vch_{next(KEYS)}", "amount": 5000, "currency": "EUR", "at": NOON} | more
    answer = await Vouchers(database).issue_voucher(IssueVoucher(**given, actor="ann", reason="gift"))
    assert not isinstance(answer, Refusal), answer
    return answer.voucher_id


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"amount": 0}, "amount"),
        ({"amount": -1}, "amount"),
        ({"amount": 10**12 + 1}, "amount"),
        ({"amount": "5"}, "amount"),
        ({"currency": "EURO"}, "currency"),
        ({"code": "no spaces"}, "code"),
        ({"expires_at": "2026-01-01"}, "expires_at"),
        ({"customer_id": "cus_nobody"}, "customer_id"),
        ({"balance": 5}, "balance"),
    ],
)
async def test_what_is_no_voucher(api: Caller, change: dict[str, Any], field: str) -> None:
    response = await api.post("/v1/vouchers", VOUCHER | change)
    assert (response.status_code, response.json()["errors"][0]["field"]) == (422, field)


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"amount": 0, "reason": "x"}, "amount"),
        ({"amount": 5}, "reason"),
        ({"amount": 5, "reason": ""}, "reason"),
        ({"amount": 5, "reason": "  "}, "reason"),
    ],
)
async def test_what_is_no_adjustment(api: Caller, database: Database, body: dict[str, Any], field: str) -> None:
    response = await api.post(f"/v1/vouchers/{await issued(database)}/adjust", body)
    assert (response.status_code, response.json()["errors"][0]["field"]) == (422, field)


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"subscription_id": "sub_nobody"}, "subscription_id"),
        ({"subscription_id": "sub_nobody", "amount": 0}, "amount"),
        ({}, "subscription_id"),
    ],
)
async def test_what_is_no_redemption(api: Caller, database: Database, body: dict[str, Any], field: str) -> None:
    response = await api.post(f"/v1/vouchers/{await issued(database)}/redeem", body)
    assert (response.status_code, response.json()["errors"][0]["field"]) == (422, field)


async def test_a_voucher_that_is_not_there(api: Caller) -> None:
    for path, body in (("adjust", {"amount": 5, "reason": "x"}), ("redeem", {"subscription_id": "sub_a"})):
        assert (await api.post(f"/v1/vouchers/vch_nobody/{path}", body)).status_code == 404
    for path in ("vouchers/vch_nobody", "credit-notes/cn_nobody", "customers/cus_nobody/credits"):
        assert (await api.get(f"/v1/{path}")).status_code == 404
    note = await api.post("/v1/invoices/inv_nobody/credit-notes", {"amount": 5, "reason": "late"})
    assert note.status_code == 404


async def test_vouchers_are_found_by_id_code_and_customer(
    api: Caller, database: Database, customer: dict[str, Any]
) -> None:
    mine = await issued(database, customer_id=customer["id"], code=f"Gift-{next(KEYS)}", expires_at=NOON.replace(2030))
    newer = await issued(database, customer_id=customer["id"], at=NOON + timedelta(days=1))
    shown = (await api.get(f"/v1/vouchers/{mine}")).json()
    assert (shown["balance"], shown["issued"], shown["expires_at"]) == (5000, 5000, "2030-05-01T12:00:00Z")
    assert [(each["kind"], each["amount"], each["actor"]) for each in shown["movements"]] == [("issued", 5000, "ann")]
    for code in (shown["code"], shown["code"].lower()):
        assert (await api.get(f"/v1/vouchers/{code}")).json() == shown
    page = (await api.get("/v1/vouchers", customer_id=customer["id"], limit=1)).json()
    assert [(each["id"], each["balance"]) for each in page["items"]] == [(newer, 5000)]
    rest = await api.get("/v1/vouchers", customer_id=customer["id"], limit=1, cursor=page["next_cursor"])
    assert [each["id"] for each in rest.json()["items"]] == [mine]
    assert (await api.get("/v1/vouchers", customer_id=customer["id"], test_mode=True)).json()["items"] == []


@pytest.mark.parametrize(
    ("body", "field"),
    [({"amount": 0, "reason": "x"}, "amount"), ({"amount": 5}, "reason"), ({"amount": 5, "reason": " "}, "reason")],
)
async def test_what_is_no_credit_note(api: Caller, body: dict[str, Any], field: str) -> None:
    response = await api.post("/v1/invoices/inv_nobody/credit-notes", body)
    assert (response.status_code, response.json()["errors"][0]["field"]) == (422, field)


async def test_an_invoice_shows_what_corrects_it(api: Caller, fresh: Bench) -> None:
    sub = await fresh.subscription()
    invoice = await fresh.invoice(sub)
    customer = fresh.states[sub].customer_id
    for number in (1, 2):
        async with fresh.database.begin() as connection:
            await write_credit_note(
                connection,
                id=f"cn_{sub}_{number}",
                invoice_id=invoice,
                customer_id=customer,
                refund_id=None,
                amount=number * 100,
                taxes=(),
                currency="USD",
                disposition="credit" if number == 1 else "refund",
                reason="late",
                actor="ann",
                at=NOON + timedelta(days=number),
                zone="UTC",
                test_mode=True,
            )
    shown = (await api.get(f"/v1/invoices/{invoice}")).json()
    assert [note["amount"] for note in shown["credit_notes"]] == [100, 200]
    listed = (await api.get("/v1/credit-notes", customer_id=customer)).json()["items"]
    assert listed == shown["credit_notes"][::-1]
    only = (await api.get("/v1/credit-notes", invoice_id=invoice, disposition="refund")).json()["items"]
    assert [note["amount"] for note in only] == [200]
    assert (await api.get(f"/v1/credit-notes/{only[0]['id']}")).json() == only[0]
    assert (await api.get("/v1/credit-notes", customer_id=customer, test_mode=False)).json()["items"] == []


@pytest.fixture
def fresh(database: Database) -> Bench:
    return Bench(database)


async def test_credit_is_the_balance_of_the_books(api: Caller, database: Database, customer: dict[str, Any]) -> None:
    of = customer["id"]
    for amount, sub, more in (
        (500, "sub_a", {}),
        (-200, "sub_a", {}),
        (70, "sub_b", {}),
        (900, "sub_a", {"currency": "USD"}),
        (11, "sub_t", {"test_mode": True}),
    ):
        await grant(database, of, amount, NOON + timedelta(hours=amount), subscription_id=sub, **more)
    shown = (await api.get(f"/v1/customers/{of}/credits")).json()
    assert shown["balances"] == [
        {
            "currency": "EUR",
            "amount": 370,
            "subscriptions": [{"subscription_id": "sub_a", "amount": 300}, {"subscription_id": "sub_b", "amount": 70}],
        },
        {"currency": "USD", "amount": 900, "subscriptions": [{"subscription_id": "sub_a", "amount": 900}]},
    ]
    assert [each["amount"] for each in shown["movements"]["items"]] == [900, 500, 70, -200]
    page = (await api.get(f"/v1/customers/{of}/credits", limit=3)).json()["movements"]
    rest = (await api.get(f"/v1/customers/{of}/credits", limit=3, cursor=page["next_cursor"])).json()["movements"]
    assert [each["amount"] for each in rest["items"]] == [-200]
    test = (await api.get(f"/v1/customers/{of}/credits", mode="test")).json()
    assert [each["amount"] for each in test["balances"]] == [11]


async def test_the_trial_balance_at_an_instant_has_what_happened_at_it(
    api: Caller, database: Database, customer: dict[str, Any]
) -> None:
    """Up to and with `at`: an entry of that very second is in, one of the next second is not."""
    moment = datetime(2021, 2, 3, 4, 5, 6, tzinfo=UTC)  # before all that other tests write
    for amount, second in ((1, -1), (10, 0), (100, 1)):
        at = moment + timedelta(seconds=second, microseconds=999_999)
        await grant(database, customer["id"], amount, at, currency="CHF")

    async def given(at: str) -> int:
        books = (await api.get("/v1/ledger/trial-balance", at=at)).json()
        assert books["balanced"]
        assert not any(books["sums"].values())
        return sum(each["amount"] for each in books["accounts"] if each["account"] == CREDIT_GIVEN)

    assert await given("2021-02-03T04:05:04Z") == 0
    assert await given("2021-02-03T04:05:05Z") == 1
    assert await given("2021-02-03T04:05:06Z") == 11
    assert await given("2021-02-03T05:05:06.9+01:00") == 11
    assert await given("2021-02-03T04:05:07Z") == 111
