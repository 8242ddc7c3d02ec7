"""A bookkeeper with an API key and a gateway beside: everything by HTTP, nothing of ours is imported."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Final
from uuid import uuid4

import httpx

# No other test's money is in it, so the two books are compared whole.
CURRENCY: Final = "NOK"
FEE: Final = 1500
WAIT_S_MAX: Final = 60.0
CARD: Final = "tok_ok_visa"


@dataclass
class Sale:
    """A captured charge as the model has it. Amounts in minor units.

    `held` is given back or reserved for it, `given` really went back, `noted` is on account. `overtaken`: the gateway
    has settled it and we have not heard. `queued` are refunds that failed and wait; `disputes` have status and amount.
    """

    charge: str
    invoice: str
    reference: str
    amount: int
    settled: bool = False
    overtaken: bool = False
    voided: bool = False
    held: int = 0
    given: int = 0
    noted: int = 0
    queued: dict[str, int] = field(default_factory=dict[str, int])
    disputes: dict[str, tuple[str, int]] = field(default_factory=dict[str, tuple[str, int]])

    @property
    def left(self) -> int:
        return self.amount - self.held - self.noted

    @property
    def disputed(self) -> bool:
        """Money that the bank has, or has taken for good, is not ours to give back."""
        return any(status != "won" for status, _ in self.disputes.values())

    @property
    def cash(self) -> int:
        """What the gateway holds of it for us."""
        taken = sum(amount for status, amount in self.disputes.values() if status != "won")
        fees = sum(FEE for status, _ in self.disputes.values() if status == "lost")
        return self.amount - self.given - taken - fees


class MoneyDesk:
    """Asks the API and drives the gateway; one for a whole test."""

    def __init__(self, api_url: str, gateway_url: str, key: str) -> None:
        headers = {"Authorization": f"Bearer {key}"}
        self.api: Final = httpx.Client(base_url=f"{api_url}/v1", headers=headers, timeout=60, trust_env=False)
        self.gateway: Final = httpx.Client(base_url=gateway_url, timeout=60, trust_env=False)
        self._begun: Final = datetime.now(UTC) - timedelta(minutes=1)
        self._price: Final = self._made("/prices", self._price_body())["id"]

    def close(self) -> None:
        self.api.close()
        self.gateway.close()

    def post(self, path: str, body: dict[str, Any], key: str | None = None) -> httpx.Response:
        return self.api.post(path, json=body, headers={"Idempotency-Key": key or uuid4().hex})

    def read(self, path: str, **query: Any) -> Any:
        answer = self.api.get(path, params=query)
        assert answer.is_success, answer.text
        return answer.json()

    def control(self, method: str, path: str, body: Any = None) -> httpx.Response:
        return self.gateway.request(method, f"/control/{path}", json=body)

    def subscription(self) -> str:
        """A running one that bills nothing by itself while the test lasts."""
        email = f"{uuid4().hex}@example.com"
        customer = self._made("/customers", {"email": email, "currency": CURRENCY})["id"]
        self._made(f"/customers/{customer}/payment-methods", {"token": f"{CARD}_{uuid4().hex}"})
        return self._made("/subscriptions", {"customer_id": customer, "price_id": self._price})["id"]

    def sale(self, subscription: str, amount: int) -> Sale:
        """A charge by hand that goes through."""
        body = {"amount": amount, "currency": CURRENCY, "description": "Something more"}
        answer = self.post(f"/subscriptions/{subscription}/charge", body)
        assert answer.status_code == 200, answer.text
        newest = self.read("/charges", subscription_id=subscription, limit=1)["items"][0]
        assert (newest["status"], newest["amount"]) == ("approved", amount)
        return Sale(newest["id"], newest["invoice_id"], newest["reference"], amount)

    def settle(self, sales: list[Sale], **how: Any) -> None:
        """The gateway closes a batch of these, and its report is read."""
        self.control("POST", "settle", {"references": [sale.reference for sale in sales]} | how).raise_for_status()
        self.run("/settlement-runs", {})

    def run(self, path: str, body: dict[str, Any]) -> None:
        begun = self.post(path, body)
        assert begun.status_code == 202, begun.text
        self.until(lambda: self.read(f"{path}/{begun.json()['id']}")["status"] == "done", f"{path} is done")

    def until(self, true: Callable[[], bool], what: str) -> None:
        deadline = time.monotonic() + WAIT_S_MAX
        while not true():
            assert time.monotonic() < deadline, f"never came true: {what}"
            time.sleep(0.05)

    def dispute_is(self, name: str, sale: Sale, status: str) -> bool:
        found = self.read("/disputes", charge_id=sale.charge, limit=100)["items"]
        return any((each["gateway_id"], each["status"]) == (name, status) for each in found)

    def our_cash(self) -> int:
        """What our ledger says the gateway holds; the books balance in every currency."""
        balance = self.read("/ledger/trial-balance", mode="live")
        assert balance["balanced"], balance["sums"]
        accounts = {(each["account"], each["currency"]): each["amount"] for each in balance["accounts"]}
        return accounts.get(("cash:sandbox", CURRENCY), 0)

    def their_cash(self) -> int:
        """What the gateway's own books say it holds."""
        return self.control("GET", "books").raise_for_status().json()["cash"].get(CURRENCY, {}).get("net", 0)

    def differences(self, sales: list[Sale]) -> list[Any]:
        """What a reconciliation of everything since the beginning finds about these."""
        self.run("/reconciliation-runs", {"since": self._begun.isoformat(timespec="seconds"), "in_flight_s": 0})
        return [each for sale in sales for each in self.read("/differences", reference=sale.reference)["items"]]

    def _price_body(self) -> dict[str, Any]:
        code = f"money-{uuid4().hex}"
        product = self._made("/products", {"code": code, "name": "Money"})["id"]
        interval = {"unit": "month", "count": 1}
        return {
            "product_id": product, "code": code, "currency": CURRENCY, "unit_amount": 100, "interval": interval,
            "trial_days": 30,
        }  # fmt: skip

    def _made(self, path: str, body: dict[str, Any]) -> Any:
        answer = self.post(path, body)
        assert answer.status_code == 201, answer.text
        return answer.json()
