"""Discounts and tax over whole lives, through HTTP in virtual time on the real parts: what each invoice says."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from itertools import count
from typing import Any

import httpx
import pytest

from api.keys import create_key
from local.stack import Stack
from models.session import Database
from tests.api.conftest import KEYS, Caller
from tests.api.test_subscriptions import done, live, new_customer, new_price, started

__all__ = ["live"]

pytestmark = [pytest.mark.stack, pytest.mark.timeout(180)]

AT_ONCE = 100
PLACES = count(100)


async def place(live: Caller, customer: str, country: str, region: str = "") -> None:
    body = {"kind": "billing", "line1": "1", "city": "X", "country": country, "region": region, "is_default": True}
    await live.made(f"/v1/customers/{customer}/addresses", body)


def new_region() -> str:
    """A region of Germany that no other test has rates for."""
    return f"T{next(PLACES) % 1000:02d}"[-3:]


async def rate(live: Caller, region: str, percent: str, valid_from: str, **more: Any) -> dict[str, Any]:
    body = {"place": f"DE-{region}", "percent": percent, "valid_from": valid_from}
    return await live.made("/v1/tax-rates", body | more)


async def bills(live: Caller, subscription: dict[str, Any]) -> list[dict[str, Any]]:
    """With their lines, the oldest first."""
    listed = (await live.get("/v1/invoices", subscription_id=subscription["id"], limit=100)).json()["items"]
    return [(await live.get(f"/v1/invoices/{each['id']}")).json() for each in reversed(listed)]


def told(bill: dict[str, Any]) -> tuple[str, int, int, int]:
    return bill["local_date"], bill["discount"], bill["tax"], bill["total"]


def adds_up(bill: dict[str, Any]) -> None:
    lines = bill["lines"]
    assert sum(line["gross"] for line in lines) == bill["total"]
    assert sum(line["tax"] for line in lines) == bill["tax"] == sum(bill["taxes"].values())
    assert sum(line["discount"] for line in lines) == bill["discount"]
    assert sum(line["amount"] for line in lines) == bill["subtotal"]
    assert sum(each["net"] + each["tax"] for each in bill["tax_rates"]) in {0, bill["total"]}
    for line in lines:
        assert line["net"] + line["tax"] == line["gross"]
        assert sum(share["amount"] for share in line["discounts"]) == line["discount"]


async def audited(live: Caller, subscription: dict[str, Any]) -> dict[str, int]:
    """Its ledger: every entry balances; account → balance."""
    query = {"subscription_id": subscription["id"], "limit": 100}
    entries = (await live.get("/v1/ledger/entries", **query)).json()["items"]
    assert entries
    accounts: dict[str, int] = {}
    for entry in entries:
        assert sum(side["amount"] for side in entry["postings"]) == 0
        for side in entry["postings"]:
            accounts[side["account"]] = accounts.get(side["account"], 0) + side["amount"]
    return accounts


async def test_a_coupon_for_three_cycles_over_a_trial_and_a_skip(live: Caller) -> None:
    coupon = await live.made("/v1/coupons", {"name": "Half off", "percent": "50", "cycles": 3})
    code = f"HALF-{next(KEYS)}"
    await live.made(f"/v1/coupons/{coupon['id']}/promotion-codes", {"code": code})
    customer = await new_customer(live)
    price = await new_price(live, 2000, trial_days=14, trial_amount=100)
    sub = await started(live, customer, price, start_at="2027-01-01T09:00:00+01:00", promotion_code=code.lower())
    assert [each["cycles_left"] for each in sub["live"]["discounts"]] == [3]
    await done(live, sub, "advance", {"to": "2027-01-20T12:00:00Z"})
    await done(live, sub, "skip", {"cycles": 1})
    foreseen = (await live.get(f"/v1/subscriptions/{sub['id']}/forecast", cycles=4)).json()["items"]
    await done(live, sub, "advance", {"to": "2027-05-20T12:00:00Z"})
    found = await bills(live, sub)
    assert [told(bill) for bill in found] == [
        ("2027-01-01", 0, 0, 100),
        ("2027-01-15", 1000, 0, 1000),
        ("2027-03-15", 1000, 0, 1000),
        ("2027-04-15", 1000, 0, 1000),
        ("2027-05-15", 0, 0, 2000),
    ]
    plan = [each["data"]["total"] for each in foreseen if each["kind"] == "invoice_issued"]
    assert plan == [1000, 1000, 2000]
    assert found[1]["lines"][0]["discounts"] == [
        {"id": sub["live"]["discounts"][0]["id"], "name": "Half off", "amount": 1000}
    ]
    for bill in found:
        adds_up(bill)
    redemptions = (await live.get(f"/v1/coupons/{coupon['id']}/redemptions")).json()["items"]
    assert [(each["subscription_id"], each["status"]) for each in redemptions] == [(sub["id"], "applied")]
    assert (await live.get(f"/v1/coupons/{coupon['id']}")).json()["redeemed"] == 1
    await audited(live, sub)


async def test_vat_19_16_19_with_an_upgrade_in_a_period_that_began_before(live: Caller) -> None:
    region, customer = new_region(), await new_customer(live)
    await rate(live, region, "19", "2007-01-01", valid_until="2028-07-01")
    await rate(live, region, "16", "2028-07-01", valid_until="2029-01-01")
    await rate(live, region, "19", "2029-01-01")
    await place(live, customer, "DE", region)
    basic, better = await new_price(live, 10_000), await new_price(live, 20_000)
    sub = await started(live, customer, basic, start_at="2028-06-16T10:00:00+02:00")
    assert [each["percent"] for each in sub["live"]["tax"]["rates"]] == ["19", "16", "19"]
    await done(live, sub, "advance", {"to": "2028-07-01T07:00:00Z"})
    preview = (await live.post(f"/v1/subscriptions/{sub['id']}/change/preview", {"price_id": better})).json()
    assert preview["net"] == 5650
    await done(live, sub, "change", {"price_id": better})
    await done(live, sub, "advance", {"to": "2029-01-20T12:00:00Z"})
    found = await bills(live, sub)
    assert [told(bill) for bill in found] == [
        ("2028-06-16", 0, 1900, 11_900),
        ("2028-07-01", 0, 650, 5650),
        *((f"2028-{month:02}-16", 0, 3200, 23_200) for month in range(7, 13)),
        ("2029-01-16", 0, 3800, 23_800),
    ]
    # Half a period is given back as it was charged, with 19 %, and the rest of it bears 16 %.
    assert [(line["amount"], line["tax_percent"], line["tax"]) for line in found[1]["lines"]] == [
        (-5000, "19", -950), (10_000, "16", 1600),
    ]  # fmt: skip
    assert [(each["percent"], each["net"], each["tax"]) for each in found[1]["tax_rates"]] == [
        ("19", -5000, -950), ("16", 10_000, 1600),
    ]  # fmt: skip
    for bill in found:
        adds_up(bill)
    accounts = await audited(live, sub)
    assert accounts[f"tax:DE-{region}"] == -sum(bill["tax"] for bill in found)
    assert accounts["revenue"] == -sum(bill["total"] - bill["tax"] for bill in found)


async def test_a_rate_made_later_reaches_who_runs_already_before_it_is_valid(live: Caller) -> None:
    region, customer = new_region(), await new_customer(live)
    await place(live, customer, "DE", region)
    sub = await started(live, customer, await new_price(live, 1000), start_at="2027-01-31T09:00:00+01:00")
    assert sub["live"]["tax"] == {"status": "taxable", "place": "", "rates": []}
    await rate(live, region, "7.5", "2027-03-01")
    seen: list[dict[str, Any]] = []
    for _ in range(100):
        runs = (await live.get("/v1/tax-runs")).json()["items"]
        if all(run["status"] == "done" for run in runs):
            seen = runs
            break
        await asyncio.sleep(0.1)
    assert seen
    assert seen[0]["failed"] == 0
    sub = (await live.get(f"/v1/subscriptions/{sub['id']}")).json()
    assert [each["percent"] for each in sub["live"]["tax"]["rates"]] == ["7.5"]
    foreseen = (await live.get(f"/v1/subscriptions/{sub['id']}/forecast", cycles=3)).json()["items"]
    plan = [each["data"]["tax"] for each in foreseen if each["kind"] == "invoice_issued"]
    await done(live, sub, "advance", {"to": "2027-04-01T12:00:00Z"})
    assert [bill["tax"] for bill in await bills(live, sub)] == plan == [0, 0, 75]


async def test_a_changed_country_and_a_checked_number_change_the_next_bill(live: Caller) -> None:
    region = new_region()
    await rate(live, region, "19", "2007-01-01")
    customer = await new_customer(live)
    sub = await started(live, customer, await new_price(live, 1000), start_at="2027-01-31T09:00:00+01:00")
    await done(live, sub, "advance", {"to": "2027-02-01T12:00:00Z"})
    await place(live, customer, "DE", region)
    await done(live, sub, "advance", {"to": "2027-03-01T12:00:00Z"})
    wrong = await live.patch(f"/v1/customers/{customer}", {"tax_status": "reverse_charge", "tax_id": "ATU13585628"})
    assert wrong.status_code == 422
    right = await live.patch(f"/v1/customers/{customer}", {"tax_status": "reverse_charge", "tax_id": "ATU13585627"})
    assert right.status_code == 200, right.text
    await done(live, sub, "advance", {"to": "2027-04-01T12:00:00Z"})
    found = await bills(live, sub)
    assert [told(bill)[2:] for bill in found] == [(0, 1000), (190, 1190), (0, 1000)]
    assert [bill["lines"][0]["tax_reason"] for bill in found] == [None, None, "reverse_charge"]
    file = await live.get(f"/v1/invoices/{found[1]['id']}/pdf")
    assert file.content.startswith(b"%PDF-")


async def test_many_partial_credits_of_an_invoice_add_up_to_its_tax(live: Caller) -> None:
    region, customer = new_region(), await new_customer(live)
    await rate(live, region, "19", "2007-01-01")
    await place(live, customer, "DE", region)
    sub = await started(live, customer, await new_price(live, 1003), start_at="2027-01-31T09:00:00+01:00")
    await done(live, sub, "advance", {"to": "2027-02-01T12:00:00Z"})
    (bill,) = await bills(live, sub)
    assert (bill["tax"], bill["total"]) == (191, 1194)
    parts = [1, 1, 1, 7, 333, 333, 333]
    parts.append(bill["total"] - sum(parts))
    for part in parts:
        await live.made(f"/v1/invoices/{bill['id']}/credit-notes", {"amount": part, "reason": "late"})
    notes = (await live.get(f"/v1/invoices/{bill['id']}")).json()["credit_notes"]
    assert sum(note["taxes"].get(f"DE-{region}", 0) for note in notes) == 191
    assert all(0 <= note["taxes"].get(f"DE-{region}", 0) <= note["amount"] for note in notes)
    accounts = await audited(live, sub)
    assert (accounts["revenue"], accounts[f"tax:DE-{region}"]) == (0, 0)


async def test_a_refund_gives_its_tax_back(live: Caller) -> None:
    region, customer = new_region(), await new_customer(live)
    await rate(live, region, "19", "2007-01-01")
    await place(live, customer, "DE", region)
    sub = await started(live, customer, await new_price(live, 1000), start_at="2027-01-31T09:00:00+01:00")
    await done(live, sub, "advance", {"to": "2027-02-01T12:00:00Z"})
    (bill,) = await bills(live, sub)
    response = await live.post(f"/v1/invoices/{bill['id']}/give-back", {"reason": "broken"})
    assert response.status_code in {200, 201}, response.text
    accounts = await audited(live, sub)
    assert {name: amount for name, amount in accounts.items() if amount} == {}


@pytest.fixture(scope="module")
async def crowd(stack: Stack) -> Any:
    database = Database.connect(stack.database_url, application_name="tests", pool_max=1)
    key = await create_key(database, "crowd")
    await database.close()
    limits = httpx.Limits(max_connections=AT_ONCE)
    async with httpx.AsyncClient(base_url=stack.api_url, timeout=120, trust_env=False, limits=limits) as client:
        yield Caller(client, key)


async def test_a_hundred_redeem_the_last_one_at_once_and_one_has_it(crowd: Caller) -> None:
    coupon = await crowd.made("/v1/coupons", {"name": "The last one", "percent": "100", "limit_total": 1})
    code = f"LAST-{next(KEYS)}"
    await crowd.made(f"/v1/coupons/{coupon['id']}/promotion-codes", {"code": code, "limit_total": 50})
    customer, price = await new_customer(crowd), await new_price(crowd, 1000)
    sub = await started(crowd, customer, price, start_at="2028-01-01T09:00:00+01:00")
    path = f"/v1/subscriptions/{sub['id']}/discounts"
    answers = await asyncio.gather(*(crowd.post(path, {"promotion_code": code}) for _ in range(AT_ONCE)))
    statuses = sorted(answer.status_code for answer in answers)
    assert statuses == [200, *[409] * (AT_ONCE - 1)]
    assert {answer.json()["code"] for answer in answers if answer.status_code == 409} <= {"coupon_used_up"}
    assert (await crowd.get(f"/v1/coupons/{coupon['id']}")).json()["redeemed"] == 1
    codes = (await crowd.get(f"/v1/coupons/{coupon['id']}/promotion-codes")).json()["items"]
    assert [each["redeemed"] for each in codes] == [1]
    assert len((await crowd.get(f"/v1/subscriptions/{sub['id']}")).json()["live"]["discounts"]) == 1


async def test_one_key_redeems_once_however_often_it_is_sent(crowd: Caller) -> None:
    coupon = await crowd.made("/v1/coupons", {"name": "Two", "amount": 300, "currency": "EUR", "limit_total": 2})
    customer, price = await new_customer(crowd), await new_price(crowd, 1000)
    sub = await started(crowd, customer, price, start_at="2028-01-01T09:00:00+01:00")
    path, key = f"/v1/subscriptions/{sub['id']}/discounts", f"again-{next(KEYS)}"
    for _ in range(3):
        answer = await crowd.post(path, {"coupon_id": coupon["id"]}, key=key)
        assert answer.status_code == 200, answer.text
    assert (await crowd.get(f"/v1/coupons/{coupon['id']}")).json()["redeemed"] == 1
    # What the subscription refuses is given back: it has this coupon already.
    twice = await crowd.post(path, {"coupon_id": coupon["id"]})
    assert (twice.status_code, twice.json()["code"]) == (409, "discount_running")
    assert (await crowd.get(f"/v1/coupons/{coupon['id']}")).json()["redeemed"] == 1
    discount = (await crowd.get(f"/v1/subscriptions/{sub['id']}")).json()["live"]["discounts"][0]["id"]
    assert (await crowd.delete(f"{path}/{discount}")).status_code == 200
    assert (await crowd.get(f"/v1/subscriptions/{sub['id']}")).json()["live"]["discounts"] == []


@pytest.mark.parametrize(
    ("coupon", "code"),
    [
        ({"percent": "10", "valid_until": "2020-01-01T00:00:00Z"}, "coupon_expired"),
        ({"percent": "10", "valid_from": "2100-01-01T00:00:00Z"}, "coupon_not_yet_valid"),
        ({"amount": 100, "currency": "USD"}, "currency_mismatch"),
        ({"percent": "10", "products": "another"}, "wrong_product"),
    ],
)
async def test_a_code_that_does_not_fit_starts_nothing(live: Caller, coupon: dict[str, Any], code: str) -> None:
    if coupon.get("products"):
        other = await live.made("/v1/products", {"code": f"other-{next(KEYS)}", "name": "Other"})
        coupon = coupon | {"products": [other["id"]]}
    made = await live.made("/v1/coupons", {"name": "X"} | coupon)
    word = f"CODE-{next(KEYS)}"
    await live.made(f"/v1/coupons/{made['id']}/promotion-codes", {"code": word})
    customer, price = await new_customer(live), await new_price(live)
    body = {"customer_id": customer, "price_id": price, "test_mode": True, "promotion_code": word}
    answer = await live.post("/v1/subscriptions", body)
    assert (answer.status_code, answer.json()["code"]) == (409, code)
    assert (await live.get("/v1/subscriptions", customer_id=customer)).json()["items"] == []
    unknown = await live.post("/v1/subscriptions", body | {"promotion_code": "NO-SUCH-CODE"})
    assert (unknown.status_code, unknown.json()["errors"][0]["code"]) == (422, "unknown_code")


async def test_a_limit_for_each_customer_and_a_code_that_is_used_up(live: Caller) -> None:
    coupon = await live.made("/v1/coupons", {"name": "Once each", "percent": "10", "limit_per_customer": 1})
    word = f"EACH-{next(KEYS)}"
    await live.made(f"/v1/coupons/{coupon['id']}/promotion-codes", {"code": word, "limit_total": 2})
    price, customers = await new_price(live), [await new_customer(live) for _ in range(3)]
    codes: list[str] = []
    for customer in (customers[0], customers[0], customers[1], customers[2]):
        body = {"customer_id": customer, "price_id": price, "test_mode": True, "promotion_code": word}
        answer = await live.post("/v1/subscriptions", body)
        codes.append("started" if answer.status_code == 201 else answer.json()["code"])
    assert codes == ["started", "coupon_used_up_by_customer", "started", "code_used_up"]


async def test_a_start_that_is_refused_gives_its_redemption_back(live: Caller) -> None:
    coupon = await live.made("/v1/coupons", {"name": "X", "percent": "10", "limit_total": 1})
    word = f"BACK-{next(KEYS)}"
    await live.made(f"/v1/coupons/{coupon['id']}/promotion-codes", {"code": word})
    customer, price = await new_customer(live), await new_price(live)
    body = {"customer_id": customer, "price_id": price, "test_mode": True, "promotion_code": word}
    late = await live.post("/v1/subscriptions", body | {"start_at": "2020-01-01T00:00:00Z"})
    assert late.status_code == 422
    assert (await live.get(f"/v1/coupons/{coupon['id']}")).json()["redeemed"] == 0
    assert (await live.post("/v1/subscriptions", body)).status_code == 201


async def test_a_customers_discount_is_on_all_subscriptions_until_it_is_ended(live: Caller) -> None:
    customer, price = await new_customer(live), await new_price(live, 1000)
    first = await started(live, customer, price, start_at="2027-01-31T09:00:00+01:00")
    given = await live.made(f"/v1/customers/{customer}/discounts", {"name": "Sorry", "percent": "10"})
    second = await started(live, customer, price, start_at="2027-01-31T09:00:00+01:00")
    for sub in (first, second):
        await done(live, sub, "advance", {"to": "2027-02-01T12:00:00Z"})
        assert [told(bill)[1] for bill in await bills(live, sub)] == [100]
    assert (await live.delete(f"/v1/customers/{customer}/discounts/{given['id']}")).status_code == 204
    assert (await live.delete(f"/v1/customers/{customer}/discounts/{given['id']}")).status_code == 204
    for sub in (first, second):
        await done(live, sub, "advance", {"to": "2027-03-01T12:00:00Z"})
        assert [told(bill)[1] for bill in await bills(live, sub)] == [100, 0]
    shown = (await live.get(f"/v1/customers/{customer}/discounts")).json()["items"]
    assert [each["ended_at"] is None for each in shown] == [False]


async def test_rates_do_not_overlap_and_the_past_stays(live: Caller) -> None:
    region = new_region()
    first = await rate(live, region, "19", "2007-01-01")
    body = {"place": f"DE-{region}", "percent": "20", "valid_from": "2027-01-01"}
    overlap = await live.post("/v1/tax-rates", body)
    assert (overlap.status_code, overlap.json()["code"]) == (409, "rate_overlaps")
    today = datetime.now(UTC).date().isoformat()
    past = await live.post(f"/v1/tax-rates/{first['id']}/end", {"valid_until": today})
    assert past.status_code == 422
    ended = await live.post(f"/v1/tax-rates/{first['id']}/end", {"valid_until": "2127-01-01"})
    assert ended.json()["valid_until"] == "2127-01-01"
    await live.made("/v1/tax-rates", body | {"valid_from": "2127-01-01"})
    both = await asyncio.gather(
        *(live.post("/v1/tax-rates", body | {"category": "books", "percent": str(n)}) for n in range(1, 9))
    )
    assert sorted(answer.status_code for answer in both) == [201, *[409] * 7]
    valid = (await live.get("/v1/tax-rates", place=f"DE-{region}", on="2126-12-31")).json()["items"]
    assert {(each["category"]) for each in valid} == {"standard", "books"}
