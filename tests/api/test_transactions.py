"""One list of charges, refunds and voids: every filter, every page, and the story of one."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import update

from api.transactions import before_tax
from models import Attempt, Invoice, PaymentMethod, Refund, RefundTry, SubscriptionEvent
from models.session import Database
from tests.api.conftest import KEYS, Caller
from tests.api.whole_customer import PAID, add, moment, whole_customer

MANY = 5


class Till:
    """A customer with five charges of 10.00, each refunded at the same instant, and a void of the last."""

    def __init__(self, name: str, owner: str, card: str) -> None:
        self.name = name
        self.owner = owner
        self.card = card
        self.charges = [f"ch_{name}_{n}" for n in range(MANY)]
        self.refunds = [f"re_{name}_{n}" for n in range(MANY)]


@pytest.fixture
async def till(database: Database) -> Till:
    number = next(KEYS)
    name, card = f"till{number}", f"{5000 + number}"
    owner = await whole_customer(database, name, MANY)
    till = Till(name, owner, card)
    async with database.begin() as connection:
        paid_with = update(PaymentMethod).where(PaymentMethod.id == f"pm_{name}_2")
        await connection.execute(paid_with.values(last4=card, brand="visa", removed_at=moment(9)))
        await connection.execute(update(Attempt).where(Attempt.id == till.charges[0]).values(status="declined"))
        await connection.execute(
            update(Attempt).where(Attempt.id == till.charges[1]).values(amount=250, test_mode=True)
        )
        await connection.execute(update(Refund).where(Refund.id == till.refunds[4]).values(kind="void"))
    told = {"subscription_id": f"sub_{name}_3", "seq": 1, "at": moment(3), "kind": "invoice_issued", "actor": "system"}
    data: dict[str, Any] = {"invoice_id": f"in_{name}_3", "price_id": f"price_{name}_3", "quantity": 1, "cycle": 1}
    data |= {"total": PAID, "amount_due": PAID, "currency": "EUR", "reason": "cycle", "trigger": "due", "cause": "due"}
    await add(database, SubscriptionEvent, told | {"reason": "", "data": data})
    tried = {
        "refund_id": till.refunds[3],
        "number": 1,
        "kind": "refund",
        "trigger": "request",
        "reference": f"rt_{name}",
    }
    await add(database, RefundTry, tried | {"status": "succeeded", "settlement": "settled", "at": moment(3)})
    return till


async def ids(api: Caller, till: Till, **query: Any) -> list[str]:
    response = await api.get("/v1/transactions", customer_id=till.owner, **query)
    assert response.status_code == 200, response.text
    return [row["id"] for row in response.json()["items"]]


async def test_every_page_goes_on_where_the_last_one_ended(api: Caller, till: Till) -> None:
    whole = await ids(api, till)
    assert sorted(whole) == sorted(till.charges + till.refunds)
    seen, cursor = list[str](), None
    while True:
        query = {"limit": 3} | ({} if cursor is None else {"cursor": cursor})
        page = (await api.get("/v1/transactions", customer_id=till.owner, **query)).json()
        seen += [row["id"] for row in page["items"]]
        cursor = page["next_cursor"]
        if cursor is None:
            break
    assert seen == whole


async def test_each_filter_finds_its_own(api: Caller, till: Till) -> None:
    charges, refunds = till.charges, till.refunds
    assert set(await ids(api, till, kind="charge")) == set(charges)
    assert set(await ids(api, till, kind="refund")) == set(refunds[:4])
    assert await ids(api, till, kind="void") == [refunds[4]]
    assert await ids(api, till, status="declined") == [charges[0]]
    assert set(await ids(api, till, status="succeeded")) == set(refunds)
    assert await ids(api, till, settlement="settled") == [refunds[3]]
    assert set(await ids(api, till, settlement="pending")) == set(charges)
    assert await ids(api, till, amount_max=PAID - 1) == [charges[1]]
    assert set(await ids(api, till, amount_min=PAID)) == {*charges, *refunds} - {charges[1]}
    assert await ids(api, till, currency="USD") == []
    assert await ids(api, till, gateway="elsewhere") == []
    assert await ids(api, till, mode="test") == [charges[1]]
    assert set(await ids(api, till, since=_text(moment(3)))) == {*charges[3:], *refunds[3:]}
    assert set(await ids(api, till, until=_text(moment(1)))) == {charges[0], refunds[0]}


async def test_a_card_finds_its_charges_and_refunds_over_all_customers_even_removed(api: Caller, till: Till) -> None:
    response = await api.get("/v1/transactions", card_last4=till.card)
    assert {row["id"] for row in response.json()["items"]} == {till.charges[2], till.refunds[2]}
    assert {(row["brand"], row["last4"]) for row in response.json()["items"]} == {("visa", till.card)}
    assert set(await ids(api, till, card_brand="visa", card_last4=till.card)) == {till.charges[2], till.refunds[2]}
    assert await ids(api, till, card_brand="amex", card_last4=till.card) == []


async def test_one_is_read_with_its_story(api: Caller, till: Till) -> None:
    refund = (await api.get(f"/v1/transactions/{till.refunds[3]}")).json()
    assert (refund["kind"], refund["charge_id"], refund["settlement"]) == ("refund", till.charges[3], "settled")
    assert [row["id"] for row in refund["returns"]] == [till.refunds[3]]
    for link in refund["links"].values():
        answer = await api.get(link)
        assert answer.status_code == 200, answer.text
    assert [each["id"] for each in refund["disputes"]] == [f"dis_{till.name}_3"]
    assert [link["what"] for link in refund["story"]][:2] == ["trigger", "terms"]
    charge = (await api.get(f"/v1/transactions/{till.charges[3]}")).json()
    assert (charge["kind"], charge["charge_id"]) == ("charge", None)
    assert charge["again"] == f"/v1/invoices/in_{till.name}_3/pay"
    assert charge["returns"] == refund["returns"]
    assert (await api.get("/v1/transactions/ch_none")).status_code == 404


async def test_amounts_the_wrong_way_round_are_refused(api: Caller) -> None:
    response = await api.get("/v1/transactions", amount_min=2, amount_max=1)
    assert (response.status_code, response.json()["errors"][0]["field"]) == (422, "amount_min")


@pytest.mark.parametrize(
    ("tax", "subtotal", "discount", "total", "amount", "asked"),
    [(0, 0, 0, 1000, 1000, 1000), (190, 1000, 0, 1190, 1190, 1000), (160, 1000, 0, 1000, 1000, 1000),
     (171, 1000, 100, 1071, 1071, 900), (190, 1000, 0, 1190, 595, 500)],
)  # fmt: skip
def test_tax_is_not_put_on_tax(tax: int, subtotal: int, discount: int, total: int, amount: int, asked: int) -> None:
    """None, on top, contained, after a discount, and where credit had covered half."""
    owed = Invoice(tax=tax, subtotal=subtotal, discount=discount, total=total, currency="EUR")
    assert before_tax(owed, amount) == asked


def _text(moment: Any) -> str:
    return moment.isoformat()
